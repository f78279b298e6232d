//! What a task obeys that is a member of a set: the pause, the stop and the rounds of its set. It looks at the set; nobody
//! writes its spec.
//!
//! A set of a lower round than the task has taken part in is an old reading: it starts and stops nothing.

use super::{draft::Draft, round::is_new_round};
use crate::api::parent::Parent;

/// The parent, unless this reading of it is an old one.
pub(super) fn obeyed(draft: &Draft<'_>) -> Option<Parent> {
    draft.seen.parent.filter(|parent| parent.round >= draft.status.run.round)
}

/// Whether the task is to pause.
pub(super) fn suspends(draft: &Draft<'_>) -> bool {
    draft.spec.suspend || obeyed(draft).is_some_and(|parent| parent.suspend)
}

/// Whether the task is to end.
pub(super) fn cancels(draft: &Draft<'_>) -> bool {
    draft.spec.cancel || stops(draft)
}

/// Whether its set asks the task to end.
pub(super) fn stops(draft: &Draft<'_>) -> bool {
    obeyed(draft).is_some_and(|parent| parent.stop)
}

/// Whether it is not the task's turn: it starts nothing. What its user has restarted by hand goes on all the same.
pub(super) fn keeps_waiting(draft: &Draft<'_>) -> bool {
    match draft.seen.parent {
        None => false,
        Some(parent) if parent.round < draft.status.run.round => true,
        Some(parent) => !parent.active && draft.status.run.number <= 1,
    }
}

/// Whether this reading of the parent says itself that it is not the task's turn: then that is shown.
pub(super) fn is_inactive(draft: &Draft<'_>) -> bool {
    obeyed(draft).is_some_and(|parent| !parent.active)
}

/// The round that the task takes part in, to be recorded with whatever else is written.
///
/// One that has ended or is held takes part when it goes on, which may have to wait.
pub(super) fn round_to_note(draft: &Draft<'_>) -> Option<i64> {
    let parent = obeyed(draft).filter(|parent| parent.active)?;
    (!is_new_round(draft.seen.task, parent)).then_some(parent.round)
}
