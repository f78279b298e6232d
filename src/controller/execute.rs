//! Carries out a plan, word for word: status first, then the steps in order; events follow behind. It never decides.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    context::{Context, call},
    error::Error,
    figures,
    pods::TaskKey,
    spans,
    watches::drop_ballast,
};
use crate::{
    api::{LongTask, LongTaskStatus, labels},
    plan::{Plan, PodRef, Refusal, Step, Wake, Words},
};

/// What became of a plan.
#[derive(Debug)]
pub(super) enum Executed {
    /// All was done; the pod, if there was one to create, at that time.
    Done { wake: Wake, created: Option<Instant> },
    /// The status is written, but the API server refused the pod: an observation, to be planned with. The task is as
    /// it was written.
    Refused(Arc<LongTask>, Refusal),
    /// The task is gone.
    TaskGone,
}

/// Carries out a plan. Stops at the first error; what was done stays done, and the next plan starts from there.
pub(super) async fn execute(context: &Context, task: &LongTask, plan: Plan) -> Result<Executed, Error> {
    let Plan { status, steps, events, wake } = plan;
    let key = TaskKey::of(task);
    let mut written = None;
    if let Some(status) = status {
        // Status first: a plan from a stale cache must lose here, before any pod exists.
        match write_status(context, &key, task, status).await {
            Ok(mut stored) => {
                drop_ballast(&mut stored);
                if let Some(after) = &stored.status {
                    figures::count(&context.metrics, task.status.as_ref(), after, context.clock.now());
                    spans::tell(&context.traces, task, after);
                }
                let stored = Arc::new(stored);
                context.written.keep(key.clone(), Arc::clone(&stored));
                written = Some(stored);
            }
            Err(error) if is_not_found(&error) => return Ok(Executed::TaskGone),
            Err(error) => return Err(error),
        }
    }
    let (mut refused, mut created) = (None, None);
    for step in steps {
        debug!(%step, "step");
        let is_create = matches!(step, Step::CreatePod(_));
        refused = refused.or(take(context, &key, task, step).await?);
        if is_create {
            created = Some(Instant::now());
        }
    }
    for event in events {
        info!(reason = %event.reason, pod = event.pod.as_ref().map(|pod| pod.name.as_str()), "{}", event.note);
        context.events.publish(task, event);
    }
    Ok(match (refused, written) {
        (Some(refusal), Some(task)) => Executed::Refused(task, refusal),
        (Some(_) | None, _) => Executed::Done { wake, created },
    })
}

async fn write_status(
    context: &Context,
    key: &TaskKey,
    task: &LongTask,
    status: LongTaskStatus,
) -> Result<LongTask, Error> {
    let mut task = task.clone();
    task.status = Some(status);
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let api = context.tasks_api(&key.namespace);
    call("write status", api.replace_status(&key.name, &params, &task)).await
}

async fn take(context: &Context, key: &TaskKey, task: &LongTask, step: Step) -> Result<Option<Refusal>, Error> {
    match step {
        Step::CreatePod(pod) => create_pod(context, key, task, &pod).await,
        Step::LowerDeadline { pod, seconds } => {
            let patch = json!({ "spec": { "activeDeadlineSeconds": seconds } });
            patch_pod(context, key, &pod, "lower deadline", patch).await.map(|()| None)
        }
        Step::DeletePod(pod) => delete_pod(context, key, &pod).await.map(|()| None),
        Step::DeleteTask => delete_task(context, key, task).await.map(|()| None),
        Step::ReleasePod(pod) => release_pod(context, key, &pod).await.map(|()| None),
    }
}

/// Creates a pod by POST, never by apply: an apply would bring back a pod that has come and gone.
async fn create_pod(context: &Context, key: &TaskKey, task: &LongTask, pod: &Pod) -> Result<Option<Refusal>, Error> {
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let lists = context.pods.lists();
    let created = context.create("create pod", context.pods_api(&key.namespace).create(&params, pod)).await;
    let Err(Error::Call { what, source }) = created else {
        return created.map(|pod| {
            context.pods.learn_created(&pod, lists);
            None
        });
    };
    let kube::Error::Api(status) = &*source else { return Err(Error::Call { what, source }) };
    if status.is_already_exists() {
        return whose_name(context, key, task, &pod.name_any()).await;
    }
    if matches!(status.code, 400 | 403 | 422) {
        let reason = refusal_reason(&status.message, &status.reason);
        return Ok(Some(Refusal::Rejected(Words { reason, message: status.message.clone() })));
    }
    Err(Error::Call { what, source })
}

/// The name is taken: by this very attempt, whose answer got lost; by a pod on its way out; or by somebody else's.
async fn whose_name(context: &Context, key: &TaskKey, task: &LongTask, name: &str) -> Result<Option<Refusal>, Error> {
    let Some(pod) = call("read pod", context.pods_api(&key.namespace).get_opt(name)).await? else {
        return Ok(Some(Refusal::NameOfGoingPod));
    };
    let is_ours = pod.owner_references().iter().any(|owner| Some(&owner.uid) == task.metadata.uid.as_ref());
    Ok(match (is_ours, pod.metadata.deletion_timestamp) {
        (true, _) => None,
        (false, Some(_)) => Some(Refusal::NameOfGoingPod),
        (false, None) => Some(Refusal::NameTaken),
    })
}

/// One word for why a create was refused, for a condition and for columns.
fn refusal_reason(message: &str, reason: &str) -> String {
    if message.contains("exceeded quota") {
        "QuotaExceeded".into()
    } else if message.contains("violates PodSecurity") {
        "PodSecurityViolation".into()
    } else if reason.is_empty() {
        "Refused".into()
    } else {
        reason.to_owned()
    }
}

async fn delete_pod(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<(), Error> {
    let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let api = context.pods_api(&key.namespace);
    let answer = call("delete pod", api.delete(&pod.name, &params)).await;
    done_or_gone(answer.map(|answer| {
        if let Some(pod) = answer.left() {
            context.pods.learn(&pod);
        }
    }))
}

/// Deletes the task as it was read: one that was restarted in the meantime is another reading, and stays.
async fn delete_task(context: &Context, key: &TaskKey, task: &LongTask) -> Result<(), Error> {
    let (uid, resource_version) = (task.metadata.uid.clone(), task.metadata.resource_version.clone());
    let preconditions = Preconditions { uid, resource_version };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    let api = context.tasks_api(&key.namespace);
    match call("delete task", api.delete(&key.name, &params)).await {
        Err(error) if is_not_found(&error) => Ok(()),
        result => result.map(|_| ()),
    }
}

/// Drops our finalizer and nobody else's.
pub(super) async fn release_pod(context: &Context, key: &TaskKey, pod: &PodRef) -> Result<(), Error> {
    let patch = json!({ "metadata": { "$deleteFromPrimitiveList/finalizers": [labels::OUTCOME_FINALIZER] } });
    patch_pod(context, key, pod, "release pod", patch).await
}

async fn patch_pod(context: &Context, key: &TaskKey, pod: &PodRef, what: &str, mut patch: Value) -> Result<(), Error> {
    // The UID in a patch is a precondition: 409 when another pod has the name by now.
    patch["metadata"]["uid"] = json!(pod.uid);
    let params = PatchParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PatchParams::default() };
    let api = context.pods_api(&key.namespace);
    let answer = call(what, api.patch(&pod.name, &params, &Patch::Strategic(patch))).await;
    done_or_gone(answer.map(|pod| context.pods.learn(&pod)))
}

/// A pod that is gone, or another one by now, needs nothing done to it. A deadline that was lowered in the meantime
/// must not be raised: 422, and nothing is left to do.
fn done_or_gone(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(Error::Call { what, source }) if matches!(&*source, kube::Error::Api(status) if matches!(status.code, 404 | 409 | 422)) =>
        {
            debug!(%source, "{what}: nothing to do");
            Ok(())
        }
        other => other,
    }
}

fn is_not_found(error: &Error) -> bool {
    matches!(error, Error::Call { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 404))
}

#[cfg(test)]
mod tests;
