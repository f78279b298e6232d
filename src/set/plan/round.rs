//! Another round, by a new `spec.restart.token`.

use super::{draft::Draft, steps::SetEventReason};
use crate::{
    api::set::{Members, Round, SetConditionReason, SetConditionType, SetPhase},
    types::counted,
};

/// Begins another round for a new restart token: what has failed waits for its turn again. While the members stop, the token
/// waits.
pub(super) fn apply_restart_token(draft: &mut Draft<'_>) {
    let Some(restart) = &draft.set.spec.restart else { return };
    let is_known = draft.status.round.restart_token.as_ref() == Some(&restart.token);
    let is_stopping = draft.status.stop.is_some() && !draft.has_ended();
    if is_known || is_stopping {
        return;
    }
    let again = draft.status.failed.count.saturating_add(draft.status.waiting.count);
    let status = &mut draft.status;
    status.round = Round {
        number: status.round.number.saturating_add(1),
        restart_token: Some(restart.token.clone()),
        start_time: Some(draft.now),
        suspended_seconds: 0,
        succeeded_before: status.succeeded.count,
    };
    status.waiting = Members::from(status.waiting.indexes.union(&status.failed.indexes));
    status.failed = Members::default();
    status.last_failure = None;
    status.stop = None;
    status.completion_time = None;
    status.progress.estimated_completion_time = None;
    draft.set_phase(SetPhase::Running, "");
    for over in [
        SetConditionType::Complete,
        SetConditionType::Failed,
        SetConditionType::Finished,
        SetConditionType::Stalled,
        SetConditionType::Suspended,
        SetConditionType::Blocked,
    ] {
        draft.mark_false(over, SetConditionReason::Restarted, "");
    }
    draft.mark_true(SetConditionType::Reconciling, SetConditionReason::Restarted, "another round has started");
    let anew = if restart.renew { ", from the LongTaskTemplate as it is now" } else { "" };
    let note = format!(
        "Began round {}: {} wait for their turn again{anew}.",
        draft.status.round.number,
        counted(again, "member")
    );
    draft.event(SetEventReason::Restarted, &note);
}
