//! A plan: what to record, what to do, what to say, when to look again.

use std::fmt;

use jiff::Timestamp;
use strum::{Display, EnumIter, EnumMessage};

use crate::api::set::LongTaskSetStatus;
pub use crate::types::EventType;

/// What follows from what was observed. The executor writes the status first, then takes the steps, then publishes the events.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct SetPlan {
    /// The status to write; none when nothing changed. A plan that creates or deletes a member always has one: the write
    /// carries the resourceVersion that the plan was made from, so that a stale plan is refused before it can do harm.
    pub status: Option<LongTaskSetStatus>,
    /// What to do: creates before deletes.
    pub steps: Vec<SetStep>,
    /// What to tell the user.
    pub events: Vec<SetEvent>,
    /// When to plan again, if nothing happens before.
    pub wake: SetWake,
}

/// One call to the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum SetStep {
    /// Create the member of this index. It exists already if it is the set's own.
    Create(u32),
    /// Delete a member as it was read: whoever has changed it since keeps it.
    Delete {
        /// The name of its LongTask.
        name: String,
        /// The UID.
        uid: String,
        /// The version of the reading.
        resource_version: String,
    },
    /// Delete the set itself: it ended long enough ago.
    DeleteSet,
}

impl fmt::Display for SetStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create(index) => write!(f, "create member {index}"),
            Self::Delete { name, resource_version, .. } => write!(f, "delete {name} at {resource_version}"),
            Self::DeleteSet => f.write_str("delete the set"),
        }
    }
}

/// An event on the set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetEvent {
    /// Whether it is a warning.
    pub type_: EventType,
    /// What happened, as one word in the past tense.
    pub reason: SetEventReason,
    /// What the operator was at. Events of one kind with the same action are folded into one by the cluster.
    pub action: String,
    /// What happened and what happens next, for people.
    pub note: String,
}

/// What an event on a set tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, EnumMessage)]
pub enum SetEventReason {
    /// Members failed.
    MembersFailed,
    /// The LongTaskTemplate was changed: members made from now on have the new edition.
    TemplateChanged,
    /// Results of members found no room in the status.
    ResultsDropped,
    /// No further member can be created, or all whose turn it is wait for a human.
    Blocked,
    /// The user paused the set.
    Suspended,
    /// The user let it go on.
    Resumed,
    /// A new restart token began another round.
    Restarted,
    /// The set succeeded.
    Succeeded,
    /// The set failed.
    Failed,
    /// The set was cancelled.
    Cancelled,
    /// The set cannot be read.
    Unreadable,
}

/// When to plan again if nothing happens before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SetWake {
    /// Not before something changes.
    #[default]
    OnChange,
    /// At once: there is more to do than fits into one pass.
    Now,
    /// At this time.
    At(Timestamp),
}
