//! Pauses: on the user's wish, and by the failure policy, which holds a task for a human.

use super::{draft::Draft, parent, steps::EventReason};
use crate::{
    api::task::{ConditionReason, ConditionType, Consecutive, Phase, PhaseReason},
    types::{find_condition, is_condition_true, time::seconds_between},
};

/// No pod runs for as long as the user wants, or the set that the task is a member of.
pub(super) fn suspend(draft: &mut Draft<'_>) {
    let (phase, reason, message, who) = if draft.spec.suspend {
        let message = "no pod runs and everything is kept; set spec.suspend to false to go on";
        (PhaseReason::SuspendedByUser, ConditionReason::SuspendedByUser, message, "suspended by the user")
    } else {
        let message = "no pod runs and everything is kept; it goes on when its set is resumed";
        (PhaseReason::SuspendedBySet, ConditionReason::SuspendedBySet, message, "suspended by its set")
    };
    if !is_condition_true(&draft.status.conditions, ConditionType::Suspended) {
        draft.mark_false(ConditionType::Reconciling, ConditionReason::Suspended, who);
        let note = if draft.spec.suspend {
            "Suspended by the user; set spec.suspend to false to go on from here."
        } else {
            "Suspended by its set; it goes on from here when the set is resumed."
        };
        draft.event(EventReason::Suspended, note);
    }
    draft.mark_true(ConditionType::Suspended, reason, message);
    draft.set_phase_because(Phase::Suspended, phase);
}

/// It is not the turn of this member of a set. An old reading of the set says nothing about that, and nothing is shown.
pub(super) fn await_turn(draft: &mut Draft<'_>) {
    if parent::is_inactive(draft) {
        draft.set_phase_because(Phase::Pending, PhaseReason::InactiveInSet);
    }
}

/// Ends the user's pause once `spec.suspend` is taken back. One that the user ends by cancelling counts to the end.
pub(super) fn resume_when_asked(draft: &mut Draft<'_>) {
    let status = &draft.status;
    let is_suspended = is_condition_true(&status.conditions, ConditionType::Suspended) && !status.is_held();
    let is_under_way = status.live_attempt().is_some();
    let has_ended = status.phase.is_some_and(Phase::is_terminal);
    if !is_suspended || is_under_way || has_ended || parent::suspends(draft) || parent::cancels(draft) {
        return;
    }
    count_pause(draft);
    let was_by_set = find_condition(&draft.status.conditions, ConditionType::Suspended)
        .is_some_and(|condition| condition.reason == ConditionReason::SuspendedBySet);
    let who = if was_by_set { "its set" } else { "the user" };
    draft.mark_false(ConditionType::Suspended, ConditionReason::Resumed, &format!("resumed by {who}"));
    draft.mark_true(ConditionType::Reconciling, ConditionReason::Resumed, "the run goes on");
    draft.event(EventReason::Resumed, &format!("Resumed by {who}."));
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

/// No pod runs until a human lets the task go on.
pub(super) fn stay_held(draft: &mut Draft<'_>) {
    draft.set_phase_because(Phase::Suspended, PhaseReason::Held);
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
