//! Checkpoints that the agent has stored: adopted, fallen back from, kept from a pod that could not read them.

use super::{
    draft::Draft,
    observed::{Cause, PodFacts, Refusal},
    outcome::Ending,
    progress,
    steps::{EventReason, PodRef},
};
use crate::{
    api::task::{AttemptReason, Checkpoint, ConditionReason, LongTaskStatus},
    contract::agent::{Restored, SaveName},
    task::render,
};

/// What keeps a pod from being created that has to do with a store.
pub(super) fn obstacle(draft: &Draft<'_>) -> Option<Refusal> {
    let withheld = |reason: ConditionReason, words: &str| Some(Refusal::Withheld(Cause::new(reason, words)));
    let has_store = draft.spec.checkpoint.store.is_some();
    let named = draft.status.checkpoint.as_ref();
    if named.is_some_and(|named| !has_store && render::is_save(named)) {
        let words = "the checkpoint to resume from is in a store, and spec.checkpoint.store is not set";
        return withheld(ConditionReason::StoreMissing, words);
    }
    if has_store && draft.seen.live.agent.is_none() {
        let words = "the operator was installed without an image of the agent, which saves and restores checkpoints";
        return withheld(ConditionReason::AgentNotConfigured, words);
    }
    if has_store && render::is_for_windows(draft.seen.task) {
        return withheld(ConditionReason::Invalid, "spec.checkpoint.store is for Linux, and the pod is for Windows");
    }
    None
}

/// Records the checkpoint that the attempt has resumed from, if that is one that was saved and nobody was told of.
pub(super) fn adopt(draft: &mut Draft<'_>, pod: &PodFacts) {
    let Some(restored) = adopted(draft, pod).cloned() else { return };
    progress::adopt(&mut draft.status, &restored, &draft.spec.checkpoint, draft.now);
    let sequence = draft.status.checkpoint_sequence;
    let note = format!(
        "Adopted checkpoint {sequence} ({}), which attempt {} had saved and nobody had recorded.",
        restored.path, restored.attempt
    );
    draft.pod_event(Some(PodRef::to(pod)), EventReason::CheckpointAdopted, &note);
}

/// What the pod resumes from, if it is newer than what is recorded.
fn adopted<'a>(draft: &Draft<'_>, pod: &'a PodFacts) -> Option<&'a Restored> {
    let restored = pod.agent.as_ref()?.restore.as_ref()?.restored.as_ref().filter(|restored| restored.is_adopted)?;
    let name = SaveName::in_uri(&restored.uri, draft.seen.uid)?;
    let is_of_epoch = name.attempt >= draft.status.checkpoint_epoch;
    let is_newer = match &draft.status.checkpoint {
        None => true,
        Some(current) => render::save_of(current, draft.seen.uid).is_some_and(|current| name > current),
    };
    (is_of_epoch && is_newer).then_some(restored)
}

/// What is known of the end of an attempt that did not start since its checkpoint cannot be read.
pub(super) fn is_unreadable(ending: &Ending) -> bool {
    ending.reason == Some(AttemptReason::CheckpointUnreadable)
}

/// Tells that the checkpoint cannot be read, and from which one it goes on.
pub(super) fn tell_unreadable(draft: &mut Draft<'_>, pod: Option<&PodFacts>, words: &str) {
    let Some(named) = &draft.status.checkpoint else { return };
    let then = match draft.status.checkpoint_history.first() {
        Some(earlier) => format!("going back to checkpoint {}", earlier.sequence),
        None => "no earlier one is recorded".to_owned(),
    };
    let note = format!("Checkpoint {} cannot be read: {words}; {then}.", described(named));
    draft.pod_warning(pod.map(PodRef::to), EventReason::CheckpointUnreadable, &note);
}

/// The message of a task that fails, since nothing that is recorded can be read.
pub(super) fn nothing_left(status: &LongTaskStatus, words: &str) -> String {
    let named = status.checkpoint.as_ref().map(described).unwrap_or_default();
    format!(
        "checkpoint {named}, the last one that is recorded, cannot be read: {words}. To begin anew, set a new \
         spec.restart.token with from: Beginning"
    )
}

/// Such as `7 (step-900)`.
fn described(checkpoint: &Checkpoint) -> String {
    let path = checkpoint.path.as_ref().map(|path| format!(" ({path})")).unwrap_or_default();
    format!("{}{path}", checkpoint.sequence)
}

/// Checkpoints were dropped: what attempts so far have saved, and nobody recorded, is not adopted any more.
pub(super) fn begin_epoch(status: &mut LongTaskStatus) {
    let next = status.current_attempt.as_ref().map_or(1, |attempt| attempt.number.saturating_add(1));
    status.checkpoint_epoch = status.checkpoint_epoch.max(next);
}
