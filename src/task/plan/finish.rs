//! How a run ends: done, failed or cancelled.

use jiff::Timestamp;

use super::{
    claims,
    draft::Draft,
    parent, queued,
    steps::{EventReason, Step},
};
use crate::{
    api::task::{ConditionReason, ConditionType, FailureReason, Limit, LongTaskStatus, Phase, PhaseReason, Reason},
    types::{counted, is_condition_true, time::after, truncate},
};

/// How much of a message is said again, in bytes.
const SHORT: usize = 128;

/// Why a task fails whose limit of time is reached.
pub(super) fn limit_message(limit: Limit, status: &LongTaskStatus) -> String {
    match limit {
        Limit::ActiveTime => format!("the attempts ran for {}s, limits.activeTime is used up", status.active_seconds),
        Limit::WallTime => "limits.wallTime since the start of the run is used up".to_owned(),
        Limit::Deadline => "limits.deadline has passed".to_owned(),
    }
}

/// Fails the task for good.
pub(super) fn fail(draft: &mut Draft<'_>, reason: FailureReason, message: &str) {
    // The whole is said once: a status has to stay small.
    end(draft, Phase::Failed, reason, "the task has failed, see the condition Failed");
    draft.set_phase_because(Phase::Failed, reason);
    draft.mark_true(ConditionType::Failed, reason, message);
    draft.mark_true(ConditionType::Stalled, reason, truncate(message, SHORT));
    draft.warning(EventReason::Failed, &format!("Failed ({reason}): {message}. The last checkpoint stays in status."));
}

/// The program is done.
pub(super) fn succeed(draft: &mut Draft<'_>) {
    let note = format!(
        "Succeeded after {} and {}, {}s of running time.",
        counted(draft.status.segment, "segment"),
        counted(draft.status.totals.attempts, "attempt"),
        draft.status.active_seconds
    );
    end(draft, Phase::Succeeded, ConditionReason::Completed, &note);
    draft.mark_true(ConditionType::Complete, ConditionReason::Completed, &note);
    draft.event(EventReason::Succeeded, &note);
}

/// The user has cancelled the task, or its set stops it.
pub(super) fn cancel(draft: &mut Draft<'_>) {
    if !draft.spec.cancel && parent::stops(draft) {
        end(draft, Phase::Cancelled, ConditionReason::StoppedBySet, "stopped by its set");
        draft.set_phase_because(Phase::Cancelled, PhaseReason::StoppedBySet);
        draft.event(EventReason::Cancelled, "Stopped by its set; the last checkpoint stays in status.");
        return;
    }
    end(draft, Phase::Cancelled, ConditionReason::Cancelled, "cancelled by the user");
    draft.event(EventReason::Cancelled, "Cancelled; the last checkpoint stays in status.");
}

/// The task has ended before: an edit starts nothing.
pub(super) fn rest(draft: &mut Draft<'_>) {
    for claim in claims::to_delete(draft) {
        draft.step(Step::DeleteClaim(claim));
    }
    let recorded = draft.seen.task.status.as_ref();
    let ended_before = recorded.is_some_and(|status| status.phase.is_some_and(Phase::is_terminal));
    let is_edit = ended_before && draft.status.observed_generation != draft.seen.generation();
    if is_edit && !is_condition_true(&draft.status.conditions, ConditionType::Blocked) {
        let note =
            "The task has ended: this change of its spec starts nothing. Set a new spec.restart.token to run it again.";
        draft.warning(EventReason::EditIgnored, note);
    }
}

/// Deletes a task that ended long enough ago.
pub(super) fn delete_when_expired(draft: &mut Draft<'_>) {
    if expires_at(draft).is_some_and(|due| due <= draft.now) {
        draft.step(Step::DeleteTask);
    }
}

/// When a task that has ended is deleted, if the user wants it to be.
pub(super) fn expires_at(draft: &Draft<'_>) -> Option<Timestamp> {
    // A set keeps its members as its own limits say.
    let is_asked = draft.status.live_attempt().is_none() && draft.seen.parent.is_none();
    let phase = draft.status.phase.filter(|_| is_asked)?;
    let (ttl, ended_at) = draft.spec.ttl_after(phase).zip(draft.status.completion_time)?;
    let due = after(ended_at, ttl.as_secs());
    // Its status is what gives its place in a queue back.
    Some(queued::place_free_at(draft).map_or(due, |free| due.max(free)))
}

/// Ends the run in a terminal phase.
fn end(draft: &mut Draft<'_>, phase: Phase, reason: impl Into<Reason>, message: &str) {
    // A segment that would have come next has not.
    draft.status.segment = draft.status.current_attempt.as_ref().map_or(draft.status.segment, |last| last.segment);
    draft.set_phase(phase);
    draft.status.completion_time = Some(draft.now);
    draft.status.next_attempt_time = None;
    if let Some(progress) = &mut draft.status.progress {
        progress.estimated_completion_time = None;
    }
    for over in [
        ConditionType::Blocked,
        ConditionType::AttemptOverdue,
        ConditionType::CheckpointStale,
        ConditionType::Suspended,
    ] {
        draft.mark_false(over, ConditionReason::Finished, "");
    }
    draft.mark_false(ConditionType::Reconciling, ConditionReason::Finished, "the task has ended");
    draft.mark_true(ConditionType::Finished, reason, message);
}
