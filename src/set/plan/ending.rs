//! How a round ends: all members are counted, or all have been asked to stop and have stopped.

use jiff::Timestamp;

use super::{draft::Draft, observed::BadInput, steps::SetEventReason};
use crate::{
    api::set::{RequestedSetStop, SetConditionReason, SetConditionType, SetFailureReason, SetPhase, SetStopReason},
    types::{counted, is_condition_true, time::after},
};

/// How a round ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Succeeded,
    Failed(SetFailureReason),
    Cancelled,
}

/// How the round ends now; none while members have their turn, or could have it.
pub(super) fn end(draft: &Draft<'_>) -> Option<End> {
    if !draft.active.is_empty() {
        return None;
    }
    if !draft.has_more_to_start() {
        let failed = draft.status.failed.indexes.len();
        let is_enough = failed <= draft.set.spec.tolerated();
        return Some(if is_enough { End::Succeeded } else { End::Failed(SetFailureReason::MembersFailed) });
    }
    let stop = draft.status.stop.as_ref()?;
    Some(stop.reason.failure().map_or(End::Cancelled, End::Failed))
}

/// Records why all members are to stop, if there is a reason and none was recorded.
pub(super) fn request_stop(draft: &mut Draft<'_>) {
    let is_all_counted = draft.active.is_empty() && !draft.has_more_to_start();
    if draft.status.stop.is_some() || is_all_counted {
        return;
    }
    if let Some(reason) = reason_to_stop(draft) {
        draft.status.stop = Some(RequestedSetStop { reason, request_time: draft.now });
    }
}

fn reason_to_stop(draft: &Draft<'_>) -> Option<SetStopReason> {
    let spec = &draft.set.spec;
    let has_passed = |end: Option<Timestamp>| end.is_some_and(|end| end <= draft.now);
    if spec.cancel {
        Some(SetStopReason::Cancelled)
    } else if has_passed(wall_time_end(draft)) {
        Some(SetStopReason::WallTimeExceeded)
    } else if has_passed(spec.limits.deadline) {
        Some(SetStopReason::DeadlinePassed)
    } else if draft.status.failed.indexes.len() > spec.most_failed() {
        Some(SetStopReason::TooManyFailed)
    } else {
        None
    }
}

/// When the wall time is used up; never while the user keeps the set suspended.
pub(super) fn wall_time_end(draft: &Draft<'_>) -> Option<Timestamp> {
    if is_condition_true(&draft.status.conditions, SetConditionType::Suspended) {
        return None;
    }
    let round = &draft.status.round;
    let allowed = draft.set.spec.limits.wall_time?.as_secs().saturating_add(round.suspended_seconds);
    Some(after(round.start_time?, allowed))
}

/// The members stop, each by its own write.
pub(super) fn stopping(draft: &mut Draft<'_>) {
    let Some(stop) = draft.status.stop.clone() else { return };
    draft.set_phase(SetPhase::Stopping, stop.reason.into());
    draft.mark_false(SetConditionType::Suspended, SetConditionReason::Created, "the members stop");
    draft.mark_false(SetConditionType::Blocked, SetConditionReason::Created, "");
    draft.status.progress.estimated_completion_time = None;
    let lacks_member = draft.active.iter().any(|index| !draft.seen.members.contains_key(&index));
    if lacks_member {
        let known = after(stop.request_time, super::count::CREATES_ARRIVE);
        draft.wake_at(if known > draft.now { known } else { after(draft.now, 5) });
    }
}

/// An input is wrong before any member was created.
pub(super) fn fail_before_the_start(draft: &mut Draft<'_>, bad: &BadInput) {
    let message = super::inputs::words(draft, bad);
    finish(draft, End::Failed(SetFailureReason::InvalidInput), &message);
}

/// Ends the round.
pub(super) fn carry_out(draft: &mut Draft<'_>, end: End) {
    let (succeeded, failed) = (draft.status.succeeded.count, draft.status.failed.count);
    let done = format!("{succeeded} of {} succeeded, {failed} failed", counted(i64::from(draft.total), "member"));
    let message = match end {
        End::Succeeded => done,
        End::Cancelled => format!("cancelled by the user: {done}"),
        End::Failed(reason) => {
            let why = match reason {
                SetFailureReason::MembersFailed => {
                    format!("spec.tolerateFailed allows {}", draft.set.spec.tolerated())
                }
                SetFailureReason::TooManyFailed => {
                    format!("spec.maxFailed allows {}, and the rest was stopped", draft.set.spec.most_failed())
                }
                SetFailureReason::WallTimeExceeded => {
                    "limits.wallTime since the start of the round is used up".to_owned()
                }
                SetFailureReason::DeadlinePassed => "limits.deadline has passed".to_owned(),
                SetFailureReason::InvalidInput => "an input is not valid".to_owned(),
            };
            format!("{done}; {why}")
        }
    };
    finish(draft, end, &message);
}

fn finish(draft: &mut Draft<'_>, end: End, message: &str) {
    draft.status.completion_time = Some(draft.now);
    draft.status.progress.estimated_completion_time = None;
    for over in [SetConditionType::Blocked, SetConditionType::Suspended] {
        draft.mark_false(over, SetConditionReason::Completed, "");
    }
    draft.mark_false(SetConditionType::Reconciling, SetConditionReason::Completed, "the set has ended");
    match end {
        End::Succeeded => {
            draft.set_phase(SetPhase::Succeeded, "");
            draft.mark_true(SetConditionType::Complete, SetConditionReason::Completed, message);
            draft.mark_true(SetConditionType::Finished, SetConditionReason::Completed, message);
            draft.event(SetEventReason::Succeeded, &format!("Succeeded: {message}."));
        }
        End::Cancelled => {
            draft.set_phase(SetPhase::Cancelled, "");
            draft.mark_true(SetConditionType::Finished, SetConditionReason::Cancelled, message);
            draft.event(SetEventReason::Cancelled, &format!("Cancelled: {message}."));
        }
        End::Failed(reason) => {
            draft.set_phase(SetPhase::Failed, reason.into());
            for type_ in [SetConditionType::Failed, SetConditionType::Finished, SetConditionType::Stalled] {
                draft.mark_true(type_, reason, message);
            }
            let note = format!(
                "Failed ({reason}): {message}. A new spec.restart.token begins another round with those that have not succeeded."
            );
            draft.warning(SetEventReason::Failed, &note);
        }
    }
}
