//! From caches to facts, with a live read wherever a cache would have to prove an absence.

use std::sync::Arc;

use kube::ResourceExt;

use super::context::Context;
use crate::{
    api::task::{CurrentAttempt, LongTask, LongTaskStatus},
    runtime::{call::call, error::Error, key::ObjectKey},
    task::plan::{CurrentPod, Observed, PodFacts},
};

/// Everything that a plan for this task is made from.
pub(super) async fn observe<'a>(context: &Context, task: &'a LongTask) -> Result<Observed<'a>, Error> {
    context.pods.filled().await;
    let key = ObjectKey::of(task);
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let (own, other): (Vec<_>, Vec<_>) = context.pods.of(&key).into_iter().partition(|pod| pod.task_uid == uid);
    let foreign = if other.is_empty() || !is_live(context, &key, uid).await? { Vec::new() } else { other };
    // A pod with our labels but without our owner reference is somebody else's; but when the task goes with
    // --cascade=orphan, its pods lose the reference before it is gone.
    let is_going = task.metadata.deletion_timestamp.is_some();
    let (pods, disowned): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|pod| is_going || pod.owner_uid.as_deref() == Some(uid));
    let foreign = foreign.into_iter().chain(disowned).collect();
    let current = match task.status.as_ref().and_then(LongTaskStatus::live_attempt) {
        Some(attempt) => sight(context, &key, uid, attempt, &pods).await?,
        None => CurrentPod::None,
    };
    let late_creates = context.late_creates.of(&key);
    let live = context.live.of(&current);
    Ok(Observed { task, uid, pods, foreign, current, refusal: None, refused_steps: Vec::new(), late_creates, live })
}

async fn sight(
    context: &Context,
    key: &ObjectKey,
    uid: &str,
    attempt: &CurrentAttempt,
    known: &[Arc<PodFacts>],
) -> Result<CurrentPod, Error> {
    let cached = known.iter().find(|pod| pod.is_of(attempt));
    if let Some(pod) = cached.filter(|pod| !pod.lacks_last_word()) {
        return Ok(CurrentPod::Found(Arc::clone(pod)));
    }
    // The task's watch and the pods' watch lag independently: only the API server can say that it is not there, or that
    // nothing more was heard of it.
    let name = &attempt.pod_name;
    let pod = call("read pod", context.pods_api(&key.namespace).get_opt(name)).await?;
    let ours = pod
        .and_then(|pod| PodFacts::of(&pod))
        .filter(|pod| pod.is_of(attempt) && pod.task_uid == uid && pod.owner_uid.as_deref() == Some(uid));
    Ok(ours.map_or(CurrentPod::Gone, |pod| CurrentPod::Found(Arc::new(pod))))
}

/// Whether the task of this name is, right now, the one with this UID.
async fn is_live(context: &Context, key: &ObjectKey, uid: &str) -> Result<bool, Error> {
    let live = call("read task", context.tasks_api(&key.namespace).get_metadata_opt(&key.name)).await?;
    Ok(live.is_some_and(|task| task.uid().as_deref() == Some(uid)))
}
