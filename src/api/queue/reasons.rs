//! The closed lists of a queue: its conditions, with their reasons.

use strum::{Display, EnumIter, EnumMessage, EnumString, IntoStaticStr};

/// The conditions that a queue can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, IntoStaticStr)]
pub enum QueueConditionType {
    /// The user has suspended the queue: nobody is called, and who runs, runs on.
    Suspended,
    /// The breaker does not let all be called who wait: what the tasks depend on fails.
    BreakerOpen,
}

/// The operator's own reasons for a condition of a queue.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, EnumString, IntoStaticStr,
)]
pub enum QueueConditionReason {
    /// Suspended: by `spec.suspend`.
    SuspendedByUser,
    /// The user let the queue go on.
    Resumed,
    /// BreakerOpen: so many counted failures ended in the time that counts, or a probe failed. Nobody is called.
    DependencyFailing,
    /// BreakerOpen: a few tasks are called as probes.
    Probing,
    /// The breaker is closed: probes were healthy.
    DependencyHealthy,
    /// The user took the breaker off.
    BreakerRemoved,
}
