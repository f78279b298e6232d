//! The conditions of a task.

use std::fmt;

use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

/// The conditions that a task can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, IntoStaticStr)]
pub enum ConditionType {
    /// The program is done.
    Complete,
    /// The task ended without success.
    Failed,
    /// The task ended, one way or another; the reason says which.
    Finished,
    /// No pod runs: the user has suspended the task, or the failure policy holds it.
    Suspended,
    /// The next pod cannot be created or started; the message says why.
    Blocked,
    /// No checkpoint was recorded for longer than `checkpoint.staleAfter`.
    CheckpointStale,
    /// A pod runs past every limit that should have ended it.
    AttemptOverdue,
    /// The API server refuses a write that the task needs: to stop a pod, to delete or to release it.
    WriteRefused,
    /// Work goes on; for GitOps tools.
    Reconciling,
    /// A human must look; for GitOps tools. Only with Failed.
    Stalled,
}

impl ConditionType {
    /// Those that somebody may have to look after while the task goes on.
    pub fn troubles() -> impl Iterator<Item = Self> {
        Self::iter().filter(|type_| match type_ {
            Self::Blocked | Self::CheckpointStale | Self::AttemptOverdue | Self::WriteRefused => true,
            Self::Complete | Self::Failed | Self::Finished | Self::Suspended | Self::Reconciling | Self::Stalled => {
                false
            }
        })
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
