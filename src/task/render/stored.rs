//! Which checkpoints are saves in the task's store.

use crate::{
    api::task::{Checkpoint, LongTaskStatus},
    contract::agent::SaveName,
};

/// The saves that the status names: they stay.
pub fn saves_named(status: &LongTaskStatus, uid: &str) -> Vec<SaveName> {
    status.checkpoint.iter().chain(&status.checkpoint_history).filter_map(|known| save_of(known, uid)).collect()
}

/// The save that a checkpoint is, if the agent has stored it.
pub fn save_of(checkpoint: &Checkpoint, uid: &str) -> Option<SaveName> {
    SaveName::in_uri(checkpoint.uri.as_deref()?, uid)
}

/// Whether a checkpoint is a save in a store, of this task or of another: a status that was written back names those of the
/// task that it was saved of.
pub fn is_save(checkpoint: &Checkpoint) -> bool {
    checkpoint.uri.as_deref().is_some_and(SaveName::is_in)
}
