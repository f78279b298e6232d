//! What a written status means for the metrics of checkpoints in stores.

use super::context::Context;
use crate::{
    api::task::{Checkpoint, CurrentAttempt, LongTask, Transition},
    contract::agent::SaveName,
    runtime::key::ObjectKey,
    task::plan::PodFacts,
};

/// Counts the save that a write has recorded, and the restore of an attempt that it shows to have started. Once for each write
/// that the API server took.
pub(super) fn record(context: &Context, key: &ObjectKey, task: &LongTask, change: &Transition<'_>) {
    let saved = saved_checkpoint(task, change);
    let started = started_attempt(change);
    if saved.is_none() && started.is_none() {
        return;
    }
    let pods = context.pods.of(key);
    let pod_of = |attempt: i64| pods.iter().find(|pod| pod.attempt == attempt);
    if let Some(checkpoint) = saved {
        let bytes = checkpoint.size_bytes.and_then(|bytes| u64::try_from(bytes).ok()).unwrap_or_default();
        context.metrics.checkpoint_saved_bytes.inc_by(bytes);
        if let Some(seconds) = pod_of(checkpoint.attempt).and_then(|pod| save_seconds(context, pod, checkpoint)) {
            context.metrics.checkpoint_save.observe(seconds);
        }
    }
    if let Some(seconds) = started.and_then(|attempt| pod_of(attempt.number)).and_then(|pod| restore_seconds(pod)) {
        context.metrics.checkpoint_restore.observe(seconds);
    }
}

/// The checkpoint that was recorded, if an agent has saved it.
fn saved_checkpoint<'a>(task: &LongTask, change: &Transition<'a>) -> Option<&'a Checkpoint> {
    let checkpoint = change.after.checkpoint.as_ref().filter(|_| change.checkpoints > 0)?;
    SaveName::in_uri(checkpoint.uri.as_deref()?, task.metadata.uid.as_deref()?)?;
    Some(checkpoint)
}

/// The attempt that the status shows for the first time to have come past its restore: it runs, or has ended.
fn started_attempt<'a>(change: &Transition<'a>) -> Option<&'a CurrentAttempt> {
    if let Some(end) = change.attempt_ended {
        return Some(end.attempt).filter(|attempt| attempt.started_at.is_none());
    }
    let attempt = change.after.live_attempt().filter(|attempt| attempt.started_at.is_some())?;
    let before = change.before.and_then(|before| before.live_attempt());
    let is_known = before.is_some_and(|before| before.number == attempt.number && before.started_at.is_some());
    (!is_known).then_some(attempt)
}

/// How long the save of this checkpoint took, as the pod's agent left it behind or posted it.
fn save_seconds(context: &Context, pod: &PodFacts, checkpoint: &Checkpoint) -> Option<f64> {
    let left = pod.agent.as_ref().and_then(|agent| agent.last_word.as_ref()).and_then(|word| word.header.save.clone());
    let reports = [left, context.live.save_of(&pod.uid)];
    let of_this = reports
        .into_iter()
        .flatten()
        .find(|save| save.error.is_none() && Some(save.path.as_str()) == checkpoint.path.as_deref())?;
    seconds(of_this.seconds)
}

/// How long the checkpoint's restore took, if there was one and it was restored.
fn restore_seconds(pod: &PodFacts) -> Option<f64> {
    let word = pod.agent.as_ref()?.restore.as_ref()?;
    word.restored.as_ref().and_then(|_| seconds(word.seconds))
}

fn seconds(whole: u64) -> Option<f64> {
    u32::try_from(whole).ok().map(f64::from)
}
