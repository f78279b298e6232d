//! The definition of a task that names a LongTaskTemplate: copied once, before anything else is done about the task, and once
//! more for a run that asks for it anew.

use jiff::Timestamp;

use super::{
    blocked,
    draft::Draft,
    filling::{FILL_IN_REFUSED, Filling},
    next::Next,
    observed::Cause,
    refused::REFUSED_WAIT,
    steps::Step,
};
use crate::{
    api::task::{ConditionReason, ConditionType, FailureReason},
    types::{
        find_condition,
        time::{after, seconds_between},
    },
};

/// What comes next for a task that has no definition, or no valid input.
pub(super) fn obstacle(draft: &Draft<'_>) -> Option<Next> {
    match &draft.filling {
        Filling::Blocked(cause) if draft.spec.is_thin() => Some(Next::Block(cause.clone())),
        Filling::Invalid(message) => Some(Next::Fail(FailureReason::InvalidInput, message.clone())),
        Filling::Blocked(_) | Filling::NotNeeded | Filling::Now(_) => None,
    }
}

/// What keeps a task that has a definition from the one that it asks for anew.
pub(super) fn obstacle_to_renewal(draft: &Draft<'_>) -> Option<Cause> {
    match &draft.filling {
        Filling::Blocked(cause) if !draft.spec.is_thin() => Some(cause.clone()),
        _ => None,
    }
}

/// Takes back what was shown of a task that could not be filled in, once it is, or need not be.
pub(super) fn unblock_when_over(draft: &mut Draft<'_>) {
    let is_ours = |shown: &Cause| {
        let is_of_template = |reason| {
            use ConditionReason as Reason;
            matches!(
                reason,
                Reason::TemplateNotFound
                    | Reason::SetByTemplate
                    | Reason::InvalidSchema
                    | Reason::FillInOff
                    | Reason::TakenBack
            )
        };
        shown.reason.parse().is_ok_and(is_of_template) || shown.message.starts_with(FILL_IN_REFUSED)
    };
    let is_over = matches!(draft.filling, Filling::NotNeeded);
    if is_over && blocked::shown(draft).as_ref().is_some_and(is_ours) {
        blocked::unblock(draft, ConditionReason::Edited);
    }
}

/// When a task is tried to be filled in again that the API server just refused to have filled in.
pub(super) fn tried_again_at(draft: &Draft<'_>) -> Option<Timestamp> {
    draft.seen.refused_steps.iter().find(|refused| matches!(refused.step, Step::FillIn(_)))?;
    let since = find_condition(&draft.status.conditions, ConditionType::Blocked)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let waited = seconds_between(since, draft.now).clamp(*REFUSED_WAIT.start(), *REFUSED_WAIT.end());
    Some(after(draft.now, waited))
}
