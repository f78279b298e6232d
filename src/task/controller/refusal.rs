//! What it means that a write failed: done all the same, to be tried again, or refused. Told by reading again, never by the
//! code alone: policies and webhooks refuse by any.

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    ResourceExt,
    core::{DynamicObject, PartialObjectMeta, Status},
};

use super::{context::Context, publish::publish};
use crate::{
    api::{
        labels,
        task::{ConditionReason, LongTask},
    },
    runtime::{call::call, error::Error, key::ObjectKey},
    start::answer::cause,
    task::plan::{Cause, ClaimRef, PodFacts, Refusal, RefusedStep, Step, refused_status_event},
};

/// What became of a step.
#[derive(Debug)]
pub(super) enum Taken {
    /// It is done, or there is nothing left to do.
    Done,
    /// The create is refused.
    CreateRefused(Refusal),
    /// Another step is refused.
    Refused(RefusedStep),
}

/// Judges a write of the status that did not succeed. Returns when the task is gone, and there is no status to write.
///
/// A refusal is told by an event: without a status there is nowhere else to show it.
///
/// # Errors
/// [`Error::Refused`] when the API server refuses the status; else the write's own error, and when nothing can be read.
pub(super) async fn judge_status(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    error: Error,
) -> Result<(), Error> {
    let Some(code) = error.code() else { return Err(error) };
    // A policy may refuse by the very codes that tell of a task that is gone or was changed.
    let now = if matches!(code, 404 | 409) { task_now(context, key, task).await? } else { TaskNow::AsRead };
    let error = match now {
        TaskNow::Gone => return Ok(()),
        TaskNow::Changed => return Err(error),
        TaskNow::AsRead if error.may_pass() => error,
        TaskNow::AsRead => error.into_refused(),
    };
    if !error.may_pass() || context.backoffs.is_repeated(key) {
        publish(context, task, refused_status_event(&words(&error)));
    }
    Err(error)
}

/// Judges a deletion of the task that did not succeed.
///
/// # Errors
/// The step's own error when the task was changed, or when the error may pass and has come for the first time; and when
/// nothing can be read.
pub(super) async fn judge_task_deletion(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    error: Error,
) -> Result<Taken, Error> {
    match task_now(context, key, task).await? {
        TaskNow::Gone => Ok(Taken::Done),
        TaskNow::Changed => Err(error),
        TaskNow::AsRead => refused(context, key, Step::DeleteTask, error),
    }
}

/// Judges a write of the task's definition that did not succeed; none when the task is gone.
///
/// # Errors
/// As [`judge_task_deletion`].
pub(super) async fn judge_fill_in(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    filled: &DynamicObject,
    error: Error,
) -> Result<Option<RefusedStep>, Error> {
    match task_now(context, key, task).await? {
        TaskNow::Gone => Ok(None),
        TaskNow::Changed => Err(error),
        TaskNow::AsRead => {
            let words = words_worth_showing(context, key, error)?;
            Ok(Some(RefusedStep { step: Step::FillIn(Box::new(filled.clone())), words }))
        }
    }
}

/// Judges a change of a pod, other than its creation, that did not succeed.
///
/// # Errors
/// The step's own error when that may pass and has come for the first time, and when nothing can be read.
pub(super) async fn judge_pod_change(
    context: &Context,
    key: &ObjectKey,
    step: Step,
    error: Error,
) -> Result<Taken, Error> {
    if is_done(context, key, &step).await? { Ok(Taken::Done) } else { refused(context, key, step, error) }
}

fn refused(context: &Context, key: &ObjectKey, step: Step, error: Error) -> Result<Taken, Error> {
    let words = words_worth_showing(context, key, error)?;
    Ok(Taken::Refused(RefusedStep { step, words }))
}

/// What became of a change of a pod that the API server took: a webhook or a policy may have taken it back.
pub(super) fn judge_answer(step: Step, pod: &Pod) -> Taken {
    // A pod that was removed at once is answered as it was.
    if matches!(step, Step::DeletePod(_)) || has_effect(&step, pod) {
        return Taken::Done;
    }
    let message = "it takes the change and something, such as a mutating webhook or policy, takes it back";
    Taken::Refused(RefusedStep { step, words: Cause::new(ConditionReason::TakenBack, message) })
}

/// Judges a create that did not succeed.
///
/// # Errors
/// As [`judge_pod_change`].
pub(super) async fn judge_create(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    pod: &str,
    error: Error,
) -> Result<Taken, Error> {
    if error.is_uncertain() {
        context.late_creates.add(key, pod);
    }
    match call("read pod", context.pods_api(&key.namespace).get_opt(pod)).await? {
        // By this very attempt: the answer got lost.
        Some(found) if is_of(&found, task) => Ok(Taken::Done),
        Some(found) if found.metadata.deletion_timestamp.is_some() => {
            Ok(Taken::CreateRefused(Refusal::NameOfTerminatingPod))
        }
        Some(found) => Ok(Taken::CreateRefused(Refusal::NameTaken(owner(&found)))),
        None if error.answer().is_some_and(Status::is_already_exists) => {
            Ok(Taken::CreateRefused(Refusal::NameOfTerminatingPod))
        }
        None => {
            let words = words_worth_showing(context, key, error)?;
            Ok(Taken::CreateRefused(Refusal::Rejected(words)))
        }
    }
}

/// Judges the creation of a claim that did not succeed.
///
/// # Errors
/// As [`judge_pod_change`], and the create's own error when another has made a claim of that name meanwhile: it is looked at
/// before a pod mounts it.
pub(super) async fn judge_claim_create(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    claim: &str,
    error: Error,
) -> Result<Taken, Error> {
    match call("read claim", context.claims_api(&key.namespace).get_metadata_opt(claim)).await? {
        Some(found) if found.metadata.deletion_timestamp.is_some() => {
            Ok(Taken::CreateRefused(Refusal::ClaimGoing(claim.to_owned())))
        }
        // By this very attempt: the answer got lost.
        Some(found) if found.labels().get(labels::TASK_UID) == task.metadata.uid.as_ref() => Ok(Taken::Done),
        Some(_) => Err(error),
        None => {
            let words = words_worth_showing(context, key, error)?;
            Ok(Taken::CreateRefused(Refusal::ClaimRejected(claim.to_owned(), words)))
        }
    }
}

/// Judges the deletion of a claim that did not succeed.
///
/// # Errors
/// As [`judge_pod_change`].
pub(super) async fn judge_claim_deletion(
    context: &Context,
    key: &ObjectKey,
    claim: ClaimRef,
    error: Error,
) -> Result<Taken, Error> {
    let found = call("read claim", context.claims_api(&key.namespace).get_metadata_opt(&claim.name)).await?;
    let is_there = |found: &PartialObjectMeta<PersistentVolumeClaim>| {
        found.metadata.uid.as_ref() == Some(&claim.uid) && found.metadata.deletion_timestamp.is_none()
    };
    if found.as_ref().is_some_and(is_there) {
        refused(context, key, Step::DeleteClaim(claim), error)
    } else {
        Ok(Taken::Done)
    }
}

fn is_of(pod: &Pod, task: &LongTask) -> bool {
    pod.owner_references().iter().any(|owner| Some(&owner.uid) == task.metadata.uid.as_ref())
}

/// What owns a pod, as users name it.
fn owner(pod: &Pod) -> Option<String> {
    let owner = pod.owner_references().first()?;
    Some(format!("{} {}", owner.kind, owner.name))
}

/// Whether what the step is for is so, whoever did it.
async fn is_done(context: &Context, key: &ObjectKey, step: &Step) -> Result<bool, Error> {
    let Some(reference) = step.pod() else { return Ok(false) };
    let found = call("read pod", context.pods_api(&key.namespace).get_opt(&reference.name)).await?;
    let Some(pod) = found.filter(|pod| pod.metadata.uid.as_ref() == Some(&reference.uid)) else { return Ok(true) };
    context.pods.learn(&pod);
    Ok(has_effect(step, &pod))
}

/// Whether the pod is as the step wants it to be.
fn has_effect(step: &Step, pod: &Pod) -> bool {
    let is_going = pod.metadata.deletion_timestamp.is_some();
    match step {
        Step::CreateClaim(_) | Step::CreatePod(_) | Step::DeleteClaim(_) | Step::FillIn(_) => true,
        Step::LowerDeadline { seconds, .. } => {
            let deadline = pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            is_going
                || matches!(phase, Some("Succeeded" | "Failed"))
                || deadline.is_some_and(|deadline| deadline <= *seconds)
        }
        Step::DeletePod(_) | Step::DeleteTask => is_going,
        Step::RestoreLabel(_) => PodFacts::of(pod).is_some_and(|pod| pod.has_task_label),
        Step::ReturnQuota(_) => PodFacts::of(pod).is_some_and(|pod| pod.returns_quota),
        Step::ReleasePod(_) => {
            let mut finalizers = pod.metadata.finalizers.iter().flatten();
            finalizers.all(|finalizer| finalizer != labels::OUTCOME_FINALIZER)
        }
    }
}

/// The task as the API server has it, after it did not take a status.
#[derive(Debug, PartialEq, Eq)]
enum TaskNow {
    Gone,
    Changed,
    AsRead,
}

async fn task_now(context: &Context, key: &ObjectKey, task: &LongTask) -> Result<TaskNow, Error> {
    let live = call("read task", context.tasks_api(&key.namespace).get_metadata_opt(&key.name)).await?;
    Ok(match live.filter(|live| live.metadata.uid == task.metadata.uid) {
        None => TaskNow::Gone,
        Some(live) if live.metadata.resource_version == task.metadata.resource_version => TaskNow::AsRead,
        Some(_) => TaskNow::Changed,
    })
}

/// The server's words; the error itself when it may pass, and did not come twice in a row.
fn words_worth_showing(context: &Context, key: &ObjectKey, error: Error) -> Result<Cause, Error> {
    if error.may_pass() && !context.backoffs.is_repeated(key) {
        return Err(error);
    }
    Ok(words(&error))
}

/// An error in one word and the server's own sentence.
fn words(error: &Error) -> Cause {
    cause(error.answer(), error.is_late(), error.to_string())
}
