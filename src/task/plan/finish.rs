//! How a run ends: done, failed or cancelled.

use super::{draft::Draft, steps::EventReason};
use crate::{
    api::task::{ConditionReason, ConditionType, FailureReason, Limit, Phase, Reason},
    types::truncate,
};

/// How much of a message is said again, in bytes.
const SHORT: usize = 128;

/// Fails the task because a limit of time is reached.
pub(super) fn fail_by_limit(draft: &mut Draft<'_>, limit: Limit) {
    let message = match limit {
        Limit::ActiveTime => {
            format!("the attempts ran for {}s, limits.activeTime is used up", draft.status.active_seconds)
        }
        Limit::WallTime => "limits.wallTime since the start of the run is used up".to_owned(),
        Limit::Deadline => "limits.deadline has passed".to_owned(),
    };
    fail(draft, limit.into(), &message);
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

/// A number and its noun.
pub(super) fn counted(number: i64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

/// Ends the run in a terminal phase.
pub(super) fn end(draft: &mut Draft<'_>, phase: Phase, reason: impl Into<Reason>, message: &str) {
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
