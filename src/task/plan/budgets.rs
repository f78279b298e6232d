//! Retries in a row, each class of trouble by itself, against what the user allows.

use jiff::Timestamp;

use super::{outcome::Ending, progress::Gain};
use crate::api::task::{Budgets, CheckpointSource, Consecutive, FailureReason, LongTaskSpec, LongTaskStatus, Outcome};

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
pub(super) fn class_of(ending: &Ending, gain: Gain, spec: &LongTaskSpec, now: Timestamp) -> Option<Class> {
    let waits = ending.report.resume_after.is_some_and(|delay| delay.end(now, spec.retry.max_retry_after) > now);
    match ending.outcome {
        Outcome::Completed | Outcome::Stopped => None,
        Outcome::Yielded if waits => None,
        Outcome::TimeLimit | Outcome::Yielded => is_stall(ending, gain, spec).then_some(Class::Stall),
        Outcome::StartFailed => Some(Class::StartFailure),
        Outcome::Interrupted => Some(Class::Interruption),
        Outcome::Failed => Some(Class::Failure),
    }
}

/// Whether an attempt counts as progress although nothing was reported: the program keeps its own checkpoints, and it
/// ran to its limit or for a while.
pub(super) fn is_external_progress(ending: &Ending, gain: Gain, spec: &LongTaskSpec) -> bool {
    spec.checkpoint.source == CheckpointSource::External
        && !gain.completed_is_known
        && match ending.outcome {
            Outcome::TimeLimit => true,
            Outcome::Yielded => ending.active_seconds() >= SHORTEST_EXTERNAL_YIELD,
            Outcome::Completed | Outcome::Stopped | Outcome::StartFailed | Outcome::Interrupted | Outcome::Failed => {
                false
            }
        }
}

fn is_stall(ending: &Ending, gain: Gain, spec: &LongTaskSpec) -> bool {
    !gain.is_progress && !is_external_progress(ending, gain, spec)
}

/// How many of the class there are in a row.
pub(super) fn in_a_row(class: Class, status: &LongTaskStatus) -> i64 {
    match class {
        Class::Failure => status.consecutive.failures,
        Class::Stall => status.consecutive.stalls,
        Class::StartFailure => status.consecutive.start_failures,
        Class::Interruption => status.consecutive.interruptions,
    }
}

/// Counts one more of the class.
pub(super) fn count(class: Class, status: &mut LongTaskStatus) {
    count_total(class, status);
    let in_a_row = match class {
        Class::Failure => &mut status.consecutive.failures,
        Class::Stall => &mut status.consecutive.stalls,
        Class::StartFailure => &mut status.consecutive.start_failures,
        Class::Interruption => &mut status.consecutive.interruptions,
    };
    *in_a_row = in_a_row.saturating_add(1);
}

/// Counts one more of the class in the totals only: a rule of its own counts it in a row.
pub(super) fn count_total(class: Class, status: &mut LongTaskStatus) {
    let total = match class {
        Class::Failure => &mut status.totals.failures,
        Class::Stall => &mut status.totals.stalls,
        Class::StartFailure => &mut status.totals.start_failures,
        Class::Interruption => &mut status.totals.interruptions,
    };
    *total = total.saturating_add(1);
}

/// Sets every counter back: there was progress.
pub(super) fn reset(status: &mut LongTaskStatus) {
    status.consecutive = Consecutive::default();
}

/// The reason to fail when the count exceeds the budget of its class.
pub(super) fn exhausted(class: Class, in_a_row: i64, budgets: &Budgets) -> Option<FailureReason> {
    let (budget, reason) = match class {
        Class::Failure => (budgets.failures, FailureReason::FailureBudgetExhausted),
        Class::Stall => (budgets.stalls, FailureReason::NoProgress),
        Class::StartFailure => (budgets.start_failures, FailureReason::StartBudgetExhausted),
        Class::Interruption => (budgets.interruptions, FailureReason::InterruptionBudgetExhausted),
    };
    (budget >= 0 && in_a_row > i64::from(budget)).then_some(reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_has_its_own_counter_and_total() {
        let mut status = LongTaskStatus::default();
        for class in [Class::Failure, Class::Stall, Class::Stall, Class::StartFailure, Class::Interruption] {
            count(class, &mut status);
        }
        let expected = Consecutive { failures: 1, stalls: 2, start_failures: 1, interruptions: 1 };
        assert_eq!(status.consecutive, expected);
        reset(&mut status);
        count(Class::Stall, &mut status);
        assert_eq!(in_a_row(Class::Stall, &status), 1);
        assert_eq!((status.consecutive.failures, status.totals.failures, status.totals.stalls), (0, 1, 3));
    }

    #[test]
    fn a_counter_stops_at_the_end_of_its_numbers() {
        let mut status = LongTaskStatus::default();
        status.consecutive.failures = i64::MAX;
        count(Class::Failure, &mut status);
        assert_eq!(in_a_row(Class::Failure, &status), i64::MAX);
    }

    #[test]
    fn a_budget_is_exhausted_by_one_more_than_it_allows() {
        let budgets = Budgets { failures: 0, stalls: 1, start_failures: 2, interruptions: -1 };
        for (class, allowed, reason) in [
            (Class::Failure, 0, FailureReason::FailureBudgetExhausted),
            (Class::Stall, 1, FailureReason::NoProgress),
            (Class::StartFailure, 2, FailureReason::StartBudgetExhausted),
        ] {
            assert_eq!(exhausted(class, allowed, &budgets), None);
            assert_eq!(exhausted(class, allowed + 1, &budgets), Some(reason));
        }
        assert_eq!(exhausted(Class::Interruption, i64::MAX, &budgets), None, "-1 is unlimited");
        let none = Budgets { interruptions: 0, ..budgets };
        assert_eq!(exhausted(Class::Interruption, 1, &none), Some(FailureReason::InterruptionBudgetExhausted));
    }
}
