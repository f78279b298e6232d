//! Pauses, on the user's wish.

use super::{draft::Draft, ending, steps::SetEventReason};
use crate::{
    api::set::{SetConditionReason, SetConditionType, SetPhase},
    types::{find_condition, is_condition_true, time::seconds_between},
};

/// Begins or ends a pause, as `spec.suspend` says. The members look at that themselves.
pub(super) fn follow(draft: &mut Draft<'_>) {
    let is_suspended = is_condition_true(&draft.status.conditions, SetConditionType::Suspended);
    match (draft.set.spec.suspend, is_suspended) {
        (true, false) => {
            let message = "every member writes a checkpoint and stops; set spec.suspend to false to go on";
            draft.mark_true(SetConditionType::Suspended, SetConditionReason::SuspendedByUser, message);
            draft.mark_false(SetConditionType::Reconciling, SetConditionReason::Suspended, "suspended by the user");
            draft.event(
                SetEventReason::Suspended,
                "Suspended by the user: every member writes a checkpoint and stops; set spec.suspend to false to go on.",
            );
        }
        (false, true) => {
            let since = find_condition(&draft.status.conditions, SetConditionType::Suspended)
                .map_or(draft.now, |condition| condition.last_transition_time.0);
            let paused = seconds_between(since, draft.now).max(0);
            draft.status.round.suspended_seconds = draft.status.round.suspended_seconds.saturating_add(paused);
            draft.mark_false(SetConditionType::Suspended, SetConditionReason::Resumed, "resumed by the user");
            draft.mark_true(SetConditionType::Reconciling, SetConditionReason::Resumed, "the round goes on");
            draft.event(SetEventReason::Resumed, "Resumed by the user.");
        }
        (true, true) | (false, false) => {}
    }
}

/// The set is suspended: nothing starts.
pub(super) fn suspended(draft: &mut Draft<'_>) {
    draft.set_phase(SetPhase::Suspended, SetConditionReason::SuspendedByUser.into());
    draft.mark_false(SetConditionType::Blocked, SetConditionReason::Suspended, "");
    draft.status.progress.estimated_completion_time = None;
    wake_at_limits(draft);
}

/// Looks again when a limit of time is reached.
pub(super) fn wake_at_limits(draft: &mut Draft<'_>) {
    for moment in [ending::wall_time_end(draft), draft.set.spec.limits.deadline].into_iter().flatten() {
        draft.wake_at(moment);
    }
}
