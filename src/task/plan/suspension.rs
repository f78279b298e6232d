//! Pauses: on the user's wish, and by the failure policy, which holds a task for a human.

use super::{draft::Draft, steps::EventReason};
use crate::{
    api::task::{ConditionReason, ConditionType, Consecutive, Phase, PhaseReason},
    types::{find_condition, is_condition_true, time::seconds_between},
};

pub(super) fn is_suspended(draft: &mut Draft<'_>) -> bool {
    if !draft.spec.suspend {
        return false;
    }
    if !is_condition_true(&draft.status.conditions, ConditionType::Suspended) {
        suspend(draft);
    }
    draft.set_phase_because(Phase::Suspended, PhaseReason::SuspendedByUser);
    draft.wake_at_next_limit();
    true
}

fn suspend(draft: &mut Draft<'_>) {
    let message = "no pod runs and everything is kept; set spec.suspend to false to go on";
    draft.mark_true(ConditionType::Suspended, ConditionReason::SuspendedByUser, message);
    draft.mark_false(ConditionType::Reconciling, ConditionReason::Suspended, "suspended by the user");
    draft.event(EventReason::Suspended, "Suspended by the user; set spec.suspend to false to go on from here.");
}

pub(super) fn resume_if_suspended(draft: &mut Draft<'_>) {
    let is_suspended = is_condition_true(&draft.status.conditions, ConditionType::Suspended);
    if draft.spec.suspend || !is_suspended || draft.status.is_held() {
        return;
    }
    count_pause(draft);
    draft.mark_false(ConditionType::Suspended, ConditionReason::Resumed, "resumed by the user");
    draft.mark_true(ConditionType::Reconciling, ConditionReason::Resumed, "the run goes on");
    draft.event(EventReason::Resumed, "Resumed by the user.");
}

/// A pause is over: its time is no time of the run.
fn count_pause(draft: &mut Draft<'_>) {
    let since = find_condition(&draft.status.conditions, ConditionType::Suspended)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let paused = seconds_between(since, draft.now).max(0);
    draft.status.run.suspended_seconds = draft.status.run.suspended_seconds.saturating_add(paused);
}

/// Holds the task for a human.
pub(super) fn hold(draft: &mut Draft<'_>, why: &str) {
    draft.status.next_attempt_time = None;
    let message = format!("{why}; everything is kept; set a new spec.restart.token to let it go on");
    draft.mark_true(ConditionType::Suspended, ConditionReason::Held, &message);
    draft.mark_false(ConditionType::Reconciling, ConditionReason::Held, "held by the failure policy");
    draft.warning(EventReason::Held, &format!("Held: {message}."));
}

/// Shows that the task is held, if it is.
pub(super) fn stays_held(draft: &mut Draft<'_>) -> bool {
    let is_held = draft.status.is_held();
    if is_held {
        draft.set_phase_because(Phase::Suspended, PhaseReason::Held);
        draft.wake_at_next_limit();
    }
    is_held
}

/// Lets a held task go on, with all counters at 0.
pub(super) fn release(draft: &mut Draft<'_>, from: &str) {
    draft.status.consecutive = Consecutive::default();
    draft.status.rule_counters.clear();
    count_pause(draft);
    draft.mark_false(ConditionType::Suspended, ConditionReason::Released, "released by a new restart token");
    draft.mark_true(ConditionType::Reconciling, ConditionReason::Released, "the run goes on");
    let note = format!("Released by a new restart token; the run goes on from {from} with all counters at 0.");
    draft.event(EventReason::Restarted, &note);
}
