//! What an edit of the specification means for an attempt: nothing, unless its pod would be another.

use super::{draft::Draft, observed::PodFacts};
use crate::{
    api::task::{ConditionReason, ConditionType, CurrentAttempt},
    task::render,
    types::{find_condition, is_condition_true},
};

/// Whether the specification has been edited since the attempt was made, so that its pod would be another one now.
pub(super) fn makes_another_pod(draft: &Draft<'_>, attempt: &CurrentAttempt) -> bool {
    attempt.generation != draft.seen.generation()
        && attempt.template_hash.as_ref().is_none_or(|hash| *hash != render::template_hash(draft.seen.task))
}

/// Likewise, or that a rule gave the pod more memory than rules now give.
pub(super) fn outdates(draft: &Draft<'_>, attempt: &CurrentAttempt, pod: &PodFacts) -> bool {
    let is_edited = attempt.generation != draft.seen.generation();
    (is_edited && pod.raised_memory != draft.status.memory) || makes_another_pod(draft, attempt)
}

/// The digest that the next attempt is made from. The one of the attempt before, unless there was an edit since: to make
/// one takes as long as to make a pod.
pub(super) fn hash_of_next(draft: &Draft<'_>) -> String {
    let before = draft.status.current_attempt.as_ref();
    let known = before.filter(|attempt| attempt.generation == draft.seen.generation());
    known.and_then(|attempt| attempt.template_hash.clone()).unwrap_or_else(|| render::template_hash(draft.seen.task))
}

/// An edit came while the pod was being created, and the create from before it was first.
pub(super) fn know_what_it_was_made_from(draft: &mut Draft<'_>, pod: &PodFacts) {
    if let Some(generation) = pod.generation {
        draft.update_attempt(|attempt| {
            attempt.generation = generation;
            attempt.template_hash.clone_from(&pod.template_hash);
            attempt.pod_group.clone_from(&pod.pod_group);
        });
    }
}

/// A change of the template or the segment has no effect on an attempt that runs: say so, or it looks forgotten. One that
/// was taken back is forgotten.
pub(super) fn show_waiting(draft: &mut Draft<'_>, attempt: &CurrentAttempt) {
    if !is_condition_true(&draft.status.conditions, ConditionType::Reconciling) {
        return;
    }
    if !makes_another_pod(draft, attempt) {
        return waits_no_more(draft);
    }
    let message = format!(
        "attempt {} runs generation {} of the spec; what generation {} changes in spec.template or spec.segment takes \
         effect when it ends",
        attempt.number,
        attempt.generation,
        draft.seen.generation(),
    );
    draft.mark_true(ConditionType::Reconciling, ConditionReason::EditWaits, &message);
}

/// No edit waits: the attempt that it waited for has ended, or it was taken back.
pub(super) fn waits_no_more(draft: &mut Draft<'_>) {
    let reconciling = find_condition(&draft.status.conditions, ConditionType::Reconciling);
    if reconciling.is_some_and(|condition| condition.reason == ConditionReason::EditWaits) {
        let message = "the run goes on with the spec as edited";
        draft.mark_true(ConditionType::Reconciling, ConditionReason::EditApplied, message);
    }
}
