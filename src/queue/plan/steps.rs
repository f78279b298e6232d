//! A plan: what to record, what to say, when to look again.

use jiff::Timestamp;
use strum::{Display, EnumIter, EnumMessage};

use crate::api::queue::TaskQueueStatus;

/// What follows from what was observed.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct QueuePlan {
    /// The status to write, over the reading that the plan was made from; none when there is nothing new. A call is nothing else.
    pub status: Option<TaskQueueStatus>,
    /// What to tell the user.
    pub events: Vec<QueueEvent>,
    /// For how many seconds each task had waited that is called by that write.
    pub waits: Vec<i64>,
    /// How many tasks wait then.
    pub waiting: usize,
    /// When to plan again, if nothing happens before.
    pub wake: QueueWake,
}

/// An event on the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueEvent {
    /// What happened, as one word in the past tense.
    pub reason: QueueEventReason,
    /// What happened and what happens next, for people.
    pub note: String,
}

/// What an event on a queue tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, EnumMessage)]
pub enum QueueEventReason {
    /// The user suspended the queue: nobody is called.
    Suspended,
    /// The user let it go on.
    Resumed,
    /// What the tasks depend on fails: nobody is called for a while.
    BreakerOpened,
    /// Those that were tried were healthy: all are called again.
    BreakerClosed,
    /// The queue cannot be read.
    Unreadable,
}

/// When to plan again if nothing happens before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueWake {
    /// Not before something changes.
    #[default]
    OnChange,
    /// At this time.
    At(Timestamp),
}
