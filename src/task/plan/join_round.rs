//! Another round of the set that a task is a member of.

use super::{blocked, draft::Draft, fill_in, parent, restart, round::is_new_round};
use crate::api::task::{Phase, Restart, RestartFrom};

/// Has a task go on in a round of its set that it has taken no part in: one that failed or was stopped in another run, one that
/// is held in the same. One that runs is not disturbed, and a success stays one.
pub(super) fn join_round(draft: &mut Draft<'_>) {
    let Some(parent) = parent::obeyed(draft).filter(|parent| is_new_round(draft.seen.task, *parent)) else { return };
    if let Some(cause) = fill_in::obstacle_to_renewal(draft) {
        // The run that asks for the template as it is now does not begin without it.
        return blocked::block(draft, &cause);
    }
    let token = draft.status.run.restart_token.clone();
    let again = Restart {
        token: token.clone().unwrap_or_default(),
        from: RestartFrom::Latest,
        checkpoint_sequence: None,
        renew: parent.renew,
    };
    match draft.status.phase {
        Some(Phase::Failed | Phase::Cancelled) => restart::begin_again(draft, &again),
        _ if draft.status.is_held() => restart::release(draft, &again),
        _ => return,
    }
    draft.status.run.restart_token = token;
    draft.status.run.round = parent.round;
}
