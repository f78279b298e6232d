//! The input of a run: it is valid when the run begins, and it stays the same.

use super::{blocked, draft::Draft, next::Next, observed::Cause};
use crate::{
    api::task::{ConditionReason, FailureReason},
    start::{input, name::run_digest},
};

/// Whether the run cannot begin with the input that the task has. An edit of the template later on is no matter of the input.
pub(super) fn is_invalid(draft: &Draft<'_>) -> Option<Next> {
    let is_start = draft.status.totals.attempts == 0;
    if !is_start || draft.spec.is_thin() {
        return None;
    }
    let invalid = input::check_run(draft.spec.input.as_ref(), draft.spec.pod()).err()?;
    Some(Next::Fail(FailureReason::InvalidInput, invalid.to_string()))
}

/// Whether the input is another than the run's. The definition lets it change only with a new run, but overlooks a key that
/// was renamed.
pub(super) fn is_changed(draft: &Draft<'_>) -> Option<Next> {
    let known = draft.status.run.input_digest.as_ref()?;
    if run_digest(draft.spec.input.as_ref()).as_ref() == Some(known) {
        return None;
    }
    let message = "spec.input is not the one that this run began with";
    Some(Next::Block(Cause::new(ConditionReason::InputChanged, message)))
}

/// Records the input that a run begins with. Where an operator has written the status that did not know of inputs, it is
/// recorded with the next attempt.
pub(super) fn record(draft: &mut Draft<'_>) {
    if draft.status.run.input_digest.is_none() {
        draft.status.run.input_digest = run_digest(draft.spec.input.as_ref());
    }
}

/// Takes back what was shown of an input that had changed, once it is the run's again.
pub(super) fn unblock_when_over(draft: &mut Draft<'_>) {
    let is_shown = blocked::shown(draft).is_some_and(|shown| shown.is(ConditionReason::InputChanged));
    if is_shown && is_changed(draft).is_none() {
        blocked::unblock(draft, ConditionReason::Edited);
    }
}
