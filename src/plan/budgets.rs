//! Retries in a row, each class of trouble by itself, against what the user allows.

use jiff::Timestamp;

use super::{outcome::Ending, progress::Merged};
use crate::api::{Budgets, CheckpointSource, Consecutive, FailureReason, LongTaskSpec, LongTaskStatus, Outcome};

/// How short a yielding attempt of an `External` task may be before it counts as a stall, in seconds: a program that
/// exits 75 at once must not loop for ever.
const SHORTEST_EXTERNAL_YIELD: i64 = 10;

/// A class of trouble that has a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Failure,
    Stall,
    StartFailure,
    Interruption,
}

/// The class that an attempt's end belongs to; none when it costs nothing.
pub(super) fn class_of(ending: &Ending, merged: Merged, spec: &LongTaskSpec, now: Timestamp) -> Option<Class> {
    let waits = ending.report.resume_after.is_some_and(|delay| delay.end(now, spec.retry.max_retry_after) > now);
    match ending.outcome {
        Outcome::Completed | Outcome::Stopped => None,
        Outcome::Yielded if waits => None,
        Outcome::TimeLimit | Outcome::Yielded => is_stall(ending, merged, spec).then_some(Class::Stall),
        Outcome::StartFailed => Some(Class::StartFailure),
        Outcome::Interrupted => Some(Class::Interruption),
        Outcome::Failed => Some(Class::Failure),
    }
}

/// Whether an attempt counts as progress although nothing was reported: the program keeps its own checkpoints, and it
/// ran to its limit or for a while.
pub(super) fn is_external_progress(ending: &Ending, merged: Merged, spec: &LongTaskSpec) -> bool {
    spec.checkpoint.source == CheckpointSource::External
        && !merged.completed_is_known
        && match ending.outcome {
            Outcome::TimeLimit => true,
            Outcome::Yielded => ending.active_seconds() >= SHORTEST_EXTERNAL_YIELD,
            Outcome::Completed | Outcome::Stopped | Outcome::StartFailed | Outcome::Interrupted | Outcome::Failed => {
                false
            }
        }
}

fn is_stall(ending: &Ending, merged: Merged, spec: &LongTaskSpec) -> bool {
    !merged.is_progress && !is_external_progress(ending, merged, spec)
}

/// Counts one more of the class; returns how many there are in a row.
pub(super) fn count(class: Class, status: &mut LongTaskStatus) -> i64 {
    let (in_a_row, total) = match class {
        Class::Failure => (&mut status.consecutive.failures, &mut status.totals.failures),
        Class::Stall => (&mut status.consecutive.stalls, &mut status.totals.stalls),
        Class::StartFailure => (&mut status.consecutive.start_failures, &mut status.totals.start_failures),
        Class::Interruption => (&mut status.consecutive.interruptions, &mut status.totals.interruptions),
    };
    *in_a_row = in_a_row.saturating_add(1);
    *total = total.saturating_add(1);
    *in_a_row
}

/// Sets every counter back: there was progress.
pub(super) fn reset(status: &mut LongTaskStatus) {
    status.consecutive = Consecutive::default();
}

/// The failure that `in_a_row` of a class mean, if that is more than its budget allows.
pub(super) fn exhausted(class: Class, in_a_row: i64, budgets: &Budgets) -> Option<FailureReason> {
    let (budget, reason) = match class {
        Class::Failure => (budgets.failures, FailureReason::FailureBudgetExhausted),
        Class::Stall => (budgets.stalls, FailureReason::NoProgress),
        Class::StartFailure => (budgets.start_failures, FailureReason::StartBudgetExhausted),
        Class::Interruption => (budgets.interruptions, FailureReason::InterruptionBudgetExhausted),
    };
    (budget >= 0 && in_a_row > i64::from(budget)).then_some(reason)
}
