//! The rounds of the set that a task is a member of.

use crate::api::{
    parent::Parent,
    task::{LongTask, Phase},
};

/// Whether a task that has ended without success, or is held, is to go on because of its parent's round.
pub(super) fn is_new_round(task: &LongTask, parent: Parent) -> bool {
    let Some(status) = &task.status else { return false };
    let is_still = matches!(status.phase, Some(Phase::Failed | Phase::Cancelled)) || status.is_held();
    is_still && parent.active && parent.round > status.run.round
}
