//! Carries out a plan, word for word: status first, then the steps in order; events follow behind. It never decides.
//! What the API server refuses is an observation ([`refusal`]).

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
    context::Context,
    publish::publish,
    refusal::{self, Taken, TaskNow},
    spans, status_metrics,
    watches::strip_unread_fields,
};
use crate::{
    api::{
        labels,
        task::{LongTask, LongTaskStatus},
    },
    runtime::{call::call, error::Error, key::ObjectKey},
    task::plan::{
        Cause, EventReason, EventType, LONGEST_NOTE, Plan, PodRef, Refusal, RefusedStep, Step, TaskEvent, Wake,
    },
    types::truncate,
};

/// What became of a plan.
#[derive(Debug)]
pub(super) enum Executed {
    /// All was done; the pod, if there was one to create, at that time.
    Done { wake: Wake, created: Option<Instant> },
    /// The API server refused some of it: an observation, to be planned with. The task is as it was written, or as it was
    /// read when nothing was.
    Refused(Option<Arc<LongTask>>, Refusals),
    /// The task is gone.
    TaskGone,
}

/// What the API server refused of a plan's steps.
#[derive(Clone, Debug, Default)]
pub(super) struct Refusals {
    pub(super) create: Option<Refusal>,
    pub(super) steps: Vec<RefusedStep>,
}

impl Refusals {
    fn is_empty(&self) -> bool {
        self.create.is_none() && self.steps.is_empty()
    }
}

/// Carries out a plan. Stops at the first error; what was done stays done and is told, and the next plan starts from there.
/// A refused step is no error: those behind it are taken all the same.
pub(super) async fn execute(context: &Context, task: &LongTask, plan: Plan) -> Result<Executed, Error> {
    let Plan { status, steps, events, wake, why: _ } = plan;
    let key = ObjectKey::of(task);
    let mut written = None;
    if let Some(status) = status {
        // Status first: a plan from a stale cache must lose here, before any pod exists.
        let Some(stored) = write_status(context, &key, task, status).await? else { return Ok(Executed::TaskGone) };
        written = Some(learn_written(context, &key, task, stored));
    }
    let taken = take_all(context, &key, task, steps).await;
    for event in events {
        info!(reason = %event.reason, pod = event.pod.as_ref().map(|pod| pod.name.as_str()), "{}", event.note);
        publish(context, task, event);
    }
    let (refusals, created) = taken?;
    Ok(if refusals.is_empty() { Executed::Done { wake, created } } else { Executed::Refused(written, refusals) })
}

/// Counts and shows what a write has brought about, and plans from it until the watch tells of it.
fn learn_written(context: &Context, key: &ObjectKey, task: &LongTask, mut stored: LongTask) -> Arc<LongTask> {
    strip_unread_fields(&mut stored);
    if let Some(after) = &stored.status {
        status_metrics::record(&context.metrics, task.status.as_ref(), after, context.clock.now());
        spans::emit(&context.traces, task, after);
    }
    let stored = Arc::new(stored);
    context.written.keep(key.clone(), Arc::clone(&stored));
    stored
}

/// Takes the steps in their order; tells what was refused, and when a pod was created.
async fn take_all(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    steps: Vec<Step>,
) -> Result<(Refusals, Option<Instant>), Error> {
    let (mut refusals, mut created) = (Refusals::default(), None);
    for step in steps {
        debug!(%step, "step");
        let is_create = matches!(step, Step::CreatePod(_));
        match take(context, key, task, step).await {
            Ok(Taken::Done) => {}
            Ok(Taken::CreateRefused(refusal)) => refusals.create = Some(refusal),
            Ok(Taken::Refused(step)) => refusals.steps.push(step),
            // What was refused before is told first; the next plan has the step that failed, too.
            Err(error) if !refusals.is_empty() => {
                debug!(%error, "a step failed after others were refused");
                break;
            }
            Err(error) => return Err(error),
        }
        if is_create {
            created = Some(Instant::now());
        }
    }
    Ok((refusals, created))
}

/// Writes the status; none when the task is gone.
async fn write_status(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    status: LongTaskStatus,
) -> Result<Option<LongTask>, Error> {
    let mut next = task.clone();
    next.status = Some(status);
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let api = context.tasks_api(&key.namespace);
    let error = match call("write status", api.replace_status(&key.name, &params, &next)).await {
        Ok(stored) => return Ok(Some(stored)),
        Err(error) => error,
    };
    let Error::Call { what, source } = error else { return Err(error) };
    let kube::Error::Api(answer) = &*source else { return Err(Error::Call { what, source }) };
    // A policy may refuse by the very codes that tell of a task that is gone or was changed.
    let now = match answer.code {
        404 | 409 => refusal::task_now(context, key, task).await?,
        _ => TaskNow::AsRead,
    };
    let error = match now {
        TaskNow::Gone => return Ok(None),
        TaskNow::Changed => return Err(Error::Call { what, source }),
        TaskNow::AsRead if answer.code == 429 || answer.code >= 500 => Error::Call { what, source },
        TaskNow::AsRead => Error::Refused { what, source },
    };
    if !error.may_pass() || context.backoffs.is_repeated(key) {
        publish_status_refused(context, task, &refusal::words(&error));
    }
    Err(error)
}

/// Where nothing can be written into the status, an event must do.
fn publish_status_refused(context: &Context, task: &LongTask, words: &Cause) {
    let note = format!(
        "The API server refuses to have the status of this task written ({}): {}. Nothing goes on before it does. What to \
         do: let the operator update longtasks/status; it is tried again within a minute.",
        words.reason, words.message
    );
    let event = TaskEvent {
        type_: EventType::Warning,
        reason: EventReason::WriteRefused,
        action: "StatusRefused".into(),
        note: truncate(&note, LONGEST_NOTE).into(),
        pod: None,
    };
    publish(context, task, event);
}

async fn take(context: &Context, key: &ObjectKey, task: &LongTask, step: Step) -> Result<Taken, Error> {
    if let Step::CreatePod(pod) = &step {
        return create_pod(context, key, task, pod).await;
    }
    let answer = match &step {
        Step::LowerDeadline { pod, seconds } => lower_deadline(context, key, pod, *seconds).await.map(Some),
        Step::ReleasePod(pod) => patch_pod(context, key, pod, "release pod", without_finalizer(pod)).await.map(Some),
        Step::RestoreLabel(pod) => patch_pod(context, key, pod, "restore label", with_label(key, pod)).await.map(Some),
        Step::DeletePod(pod) => delete_pod(context, key, pod).await,
        // A create was sent above.
        Step::CreatePod(_) | Step::DeleteTask => delete_task(context, key, task).await.map(|()| None),
    };
    match answer {
        Ok(Some(pod)) => {
            context.pods.learn(&pod);
            Ok(refusal::judge_answer(step, &pod))
        }
        Ok(None) => Ok(Taken::Done),
        Err(error) => refusal::judge(context, key, task, step, error).await,
    }
}

/// Releases a pod whose task is gone.
pub(super) async fn release(context: &Context, key: &ObjectKey, pod: PodRef) -> Result<Taken, Error> {
    let answer = patch_pod(context, key, &pod, "release pod", without_finalizer(&pod)).await;
    let step = Step::ReleasePod(pod);
    match answer {
        Ok(pod) => {
            context.pods.learn(&pod);
            Ok(refusal::judge_answer(step, &pod))
        }
        Err(error) => refusal::judge_of_pod(context, key, step, error).await,
    }
}

/// Creates a pod by POST, never by apply: an apply would bring back a pod that has come and gone.
async fn create_pod(context: &Context, key: &ObjectKey, task: &LongTask, pod: &Pod) -> Result<Taken, Error> {
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let lists = context.pods.lists();
    match context.create("create pod", context.pods_api(&key.namespace).create(&params, pod)).await {
        Ok(pod) => {
            context.pods.learn_created(&pod, lists);
            Ok(Taken::Done)
        }
        Err(error @ Error::NotLeading { .. }) => Err(error),
        Err(error) => refusal::judge_create(context, key, task, &pod.name_any(), error).await,
    }
}

/// Deletes a pod; returns it as it is while it goes.
async fn delete_pod(context: &Context, key: &ObjectKey, pod: &PodRef) -> Result<Option<Pod>, Error> {
    let preconditions = Preconditions { uid: Some(pod.uid.clone()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let api = context.pods_api(&key.namespace);
    Ok(call("delete pod", api.delete(&pod.name, &params)).await?.left())
}

/// Deletes the task as it was read: one that was restarted in the meantime is another reading, and stays.
async fn delete_task(context: &Context, key: &ObjectKey, task: &LongTask) -> Result<(), Error> {
    let (uid, resource_version) = (task.metadata.uid.clone(), task.metadata.resource_version.clone());
    let preconditions = Preconditions { uid, resource_version };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    let api = context.tasks_api(&key.namespace);
    call("delete task", api.delete(&key.name, &params)).await.map(|_| ())
}

/// A patch that takes our finalizer off, and nobody else's. The UID in it is a precondition: 409 when another pod has the
/// name by now.
fn without_finalizer(pod: &PodRef) -> Patch<Value> {
    let dropped = [labels::OUTCOME_FINALIZER];
    Patch::Strategic(json!({ "metadata": { "uid": pod.uid, "$deleteFromPrimitiveList/finalizers": dropped } }))
}

/// A patch that puts the label back by which the watch finds the pod.
fn with_label(task: &ObjectKey, pod: &PodRef) -> Patch<Value> {
    Patch::Strategic(json!({ "metadata": { "uid": pod.uid, "labels": { labels::TASK: task.name } } }))
}

/// Lowers the deadline of this pod, as long as nobody has deleted it: 422 otherwise. A change of the specification raises
/// the generation of a pod, and by the generation a pod that was deleted tells what was first, that or its end.
async fn lower_deadline(context: &Context, key: &ObjectKey, pod: &PodRef, seconds: i64) -> Result<Pod, Error> {
    let what = "lower deadline";
    let patch = serde_json::from_value(json!([
        { "op": "test", "path": "/metadata/uid", "value": pod.uid },
        // What is absent is as good as null.
        { "op": "test", "path": "/metadata/deletionTimestamp", "value": null },
        { "op": "add", "path": "/spec/activeDeadlineSeconds", "value": seconds },
    ]));
    let patch = patch
        .map_err(|error| Error::Call { what: what.to_owned(), source: Box::new(kube::Error::SerdeError(error)) })?;
    patch_pod(context, key, pod, what, Patch::Json(patch)).await
}

async fn patch_pod(
    context: &Context,
    key: &ObjectKey,
    pod: &PodRef,
    what: &str,
    patch: Patch<Value>,
) -> Result<Pod, Error> {
    let params = PatchParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PatchParams::default() };
    let api = context.pods_api(&key.namespace);
    call(what, api.patch(&pod.name, &params, &patch)).await
}

#[cfg(test)]
mod tests;
