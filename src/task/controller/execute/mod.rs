//! Carries out a plan, word for word: status first, then the steps in order; events follow behind. It never decides:
//! [`refusal`] says what a failed write means.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions},
    core::DynamicObject,
};
use serde_json::{Value, json};
use tokio::time::Instant;
use tracing::{debug, info};

use super::{
    context::Context,
    observe::as_task,
    publish::publish,
    refusal::{self, Taken},
    spans, status_metrics, stored_metrics,
};
use crate::{
    api::{
        labels,
        parent::ParentKind,
        task::{LongTask, LongTaskStatus, Transition},
    },
    runtime::{call::call, error::Error, key::ObjectKey, watch::strip_unread_fields},
    task::plan::{ClaimRef, Plan, PodRef, Refusal, RefusedStep, Step, TaskEvent, Wake},
};

/// What became of a plan.
#[derive(Debug)]
pub(super) enum Executed {
    /// All was done; the pod, if there was one to create, at that time.
    Done { wake: Wake, created: Option<Instant> },
    /// The API server refused some of it: an observation, to be planned with. The task is as it was written, or as it was
    /// read when nothing was.
    Refused(Option<Arc<LongTask>>, Refusals),
    /// The task got its definition, and is so now: what comes next can be planned.
    FilledIn(Arc<LongTask>),
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
    if let [Step::FillIn(filled)] = steps.as_slice() {
        return fill_in_and_tell(context, &key, task, filled, events).await;
    }
    let taken = take_all(context, &key, task, steps).await;
    for event in events {
        info!(reason = %event.reason, pod = event.pod.as_ref().map(|pod| pod.name.as_str()), "{}", event.note);
        publish(context, task, event);
    }
    let (refusals, created) = taken?;
    Ok(if refusals.is_empty() { Executed::Done { wake, created } } else { Executed::Refused(written, refusals) })
}

/// Fills a task in, and tells so when it is done: there is no status in such a plan that would be written before.
async fn fill_in_and_tell(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    filled: &DynamicObject,
    events: Vec<TaskEvent>,
) -> Result<Executed, Error> {
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let stored =
        match call("fill in task", context.raw_tasks_api(&key.namespace).replace(&key.name, &params, filled)).await {
            Ok(stored) => stored,
            Err(error) => {
                return Ok(match refusal::judge_fill_in(context, key, task, filled, error).await? {
                    Some(refused) => Executed::Refused(None, Refusals { create: None, steps: vec![refused] }),
                    None => Executed::TaskGone,
                });
            }
        };
    for event in events {
        info!(reason = %event.reason, "{}", event.note);
        publish(context, task, event);
    }
    let mut filled = call("read task", async { as_task(&stored) }).await?;
    strip_unread_fields(&mut filled);
    let filled = Arc::new(filled);
    context.written.keep(key.clone(), Arc::clone(&filled));
    Ok(Executed::FilledIn(filled))
}

/// Counts and shows what a write has brought about, and plans from it until the watch tells of it.
fn learn_written(context: &Context, key: &ObjectKey, task: &LongTask, mut stored: LongTask) -> Arc<LongTask> {
    strip_unread_fields(&mut stored);
    if let Some(after) = &stored.status {
        let change = Transition::between(task.status.as_ref(), after);
        status_metrics::record(&context.metrics, ParentKind::of(task), &change, context.clock.now());
        stored_metrics::record(context, key, task, &change);
        if let Some(lag) = report_lag(context, &change) {
            context.metrics.report_lag.observe(lag.as_secs_f64());
        }
        spans::emit(&context.traces, task, &change);
    }
    let stored = Arc::new(stored);
    context.written.keep(key.clone(), Arc::clone(&stored));
    stored
}

/// How long the report had to wait that a write has recorded while its program runs.
fn report_lag(context: &Context, change: &Transition<'_>) -> Option<Duration> {
    let pod = change.after.live_attempt()?.pod_uid.as_ref()?;
    context.live.age_of(pod, change.report?.revision)
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
        let (is_create, is_claim) = (matches!(step, Step::CreatePod(_)), matches!(step, Step::CreateClaim(_)));
        match take(context, key, task, step).await {
            Ok(Taken::Done) => {}
            Ok(Taken::CreateRefused(refusal)) => {
                refusals.create = Some(refusal);
                if is_claim {
                    // No pod without it. The next plan has the steps behind it again.
                    break;
                }
            }
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
    match call("write status", api.replace_status(&key.name, &params, &next)).await {
        Ok(stored) => Ok(Some(stored)),
        Err(error) => refusal::judge_status(context, key, task, error).await.map(|()| None),
    }
}

async fn take(context: &Context, key: &ObjectKey, task: &LongTask, step: Step) -> Result<Taken, Error> {
    let answer = match &step {
        Step::CreateClaim(claim) => return create_claim(context, key, task, claim).await,
        Step::CreatePod(pod) => return create_pod(context, key, task, pod).await,
        Step::DeleteClaim(claim) => return delete_claim(context, key, claim.clone()).await,
        Step::DeleteTask => return delete_task(context, key, task).await,
        // Alone in its plan, which is carried out before.
        Step::FillIn(_) => return Ok(Taken::Done),
        Step::ReleasePod(pod) => return release(context, key, pod.clone()).await,
        Step::LowerDeadline { pod, seconds } => lower_deadline(context, key, pod, *seconds).await.map(Some),
        Step::RestoreLabel(pod) => patch_pod(context, key, pod, "restore label", with_label(key, pod)).await.map(Some),
        Step::ReturnQuota(pod) => patch_pod(context, key, pod, "return quota", without_successor(pod)).await.map(Some),
        Step::DeletePod(pod) => delete_pod(context, key, pod).await,
    };
    changed(context, key, step, answer).await
}

/// Releases a pod; its task may be gone.
pub(super) async fn release(context: &Context, key: &ObjectKey, pod: PodRef) -> Result<Taken, Error> {
    let answer = patch_pod(context, key, &pod, "release pod", without_finalizer(&pod)).await;
    changed(context, key, Step::ReleasePod(pod), answer.map(Some)).await
}

/// What became of a step that changes a pod: the answer is the pod as it is now, or none when it was removed at once.
async fn changed(
    context: &Context,
    key: &ObjectKey,
    step: Step,
    answer: Result<Option<Pod>, Error>,
) -> Result<Taken, Error> {
    match answer {
        Ok(Some(pod)) => {
            context.pods.learn(&pod);
            Ok(refusal::judge_answer(step, &pod))
        }
        Ok(None) => Ok(Taken::Done),
        Err(error) => refusal::judge_pod_change(context, key, step, error).await,
    }
}

/// Creates a pod by POST, never by apply: an apply would bring back a pod that has come and gone.
async fn create_pod(context: &Context, key: &ObjectKey, task: &LongTask, pod: &Pod) -> Result<Taken, Error> {
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let lists = context.pods.lists();
    match context.leadership.create("create pod", context.pods_api(&key.namespace).create(&params, pod)).await {
        Ok(pod) => {
            context.pods.learn_created(&pod, lists);
            Ok(Taken::Done)
        }
        Err(error @ Error::NotLeading { .. }) => Err(error),
        Err(error) => refusal::judge_create(context, key, task, &pod.name_any(), error).await,
    }
}

async fn create_claim(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    claim: &PersistentVolumeClaim,
) -> Result<Taken, Error> {
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    match context.leadership.create("create claim", context.claims_api(&key.namespace).create(&params, claim)).await {
        Ok(_) => Ok(Taken::Done),
        Err(error @ Error::NotLeading { .. }) => Err(error),
        Err(error) => refusal::judge_claim_create(context, key, task, &claim.name_any(), error).await,
    }
}

async fn delete_claim(context: &Context, key: &ObjectKey, claim: ClaimRef) -> Result<Taken, Error> {
    let preconditions = Preconditions { uid: Some(claim.uid.clone()), resource_version: None };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let api = context.claims_api(&key.namespace);
    match call("delete claim", api.delete(&claim.name, &params)).await {
        Ok(_) => Ok(Taken::Done),
        Err(error) => refusal::judge_claim_deletion(context, key, claim, error).await,
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
async fn delete_task(context: &Context, key: &ObjectKey, task: &LongTask) -> Result<Taken, Error> {
    let (uid, resource_version) = (task.metadata.uid.clone(), task.metadata.resource_version.clone());
    let preconditions = Preconditions { uid, resource_version };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    let api = context.tasks_api(&key.namespace);
    match call("delete task", api.delete(&key.name, &params)).await {
        Ok(_) => Ok(Taken::Done),
        Err(error) => refusal::judge_task_deletion(context, key, task, error).await,
    }
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

/// A patch that tells Kueue that no pod will take the place of this one.
fn without_successor(pod: &PodRef) -> Patch<Value> {
    Patch::Strategic(json!({ "metadata": { "uid": pod.uid, "annotations": { labels::KUEUE_RETRIABLE: "false" } } }))
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
