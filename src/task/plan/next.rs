//! What comes next: the answer to the plan's questions, as a value.

use std::{fmt, sync::Arc};

use jiff::Timestamp;

use super::observed::{Cause, PodFacts, Refusal};
use crate::api::task::{FailureReason, PhaseReason};

/// What comes next for a task.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// The attempt's pod exists and has not ended: record what it does, and keep it to its time.
    KeepUp(Arc<PodFacts>),
    /// The task has ended. It is deleted when its time to live is over.
    Rest,
    /// The program is done.
    Succeed,
    /// The user has cancelled the task.
    Cancel,
    /// The task fails for good, with a message for the user.
    Fail(FailureReason, String),
    /// Nothing can start, and nothing is tried again before something changes: show why.
    Block(Cause),
    /// The failure policy holds the task.
    StayHeld,
    /// The user has suspended the task.
    Suspend,
    /// It is not the turn of this member of a set.
    AwaitTurn,
    /// A pod that is not part of this history must be gone first.
    WaitForPod(Arc<PodFacts>, PhaseReason),
    /// The next attempt starts then.
    WaitUntil(Timestamp),
    /// The task waits in its queue until it is called.
    Queued,
    /// The create that was refused is tried again then.
    CreateAt(Timestamp),
    /// The API server refuses the pod: show it, and try again.
    ShowRefusal(Refusal),
    /// Create the pod of the attempt that is decided.
    Create,
    /// Decide the next attempt, and create its pod.
    Start,
}

impl fmt::Display for Next {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepUp(pod) => write!(f, "keep up with pod {}", pod.name),
            Self::Rest => f.write_str("rest"),
            Self::Succeed => f.write_str("succeed"),
            Self::Cancel => f.write_str("cancel"),
            Self::Fail(reason, _) => write!(f, "fail: {reason}"),
            Self::Block(cause) => write!(f, "show that it cannot start: {}", cause.reason),
            Self::StayHeld => f.write_str("stay held"),
            Self::Suspend => f.write_str("suspend"),
            Self::AwaitTurn => f.write_str("wait for its turn"),
            Self::WaitForPod(pod, reason) => write!(f, "wait for pod {}: {reason}", pod.name),
            Self::WaitUntil(time) => write!(f, "wait until {time}"),
            Self::Queued => f.write_str("wait in the queue"),
            Self::CreateAt(time) => write!(f, "create again at {time}"),
            Self::ShowRefusal(_) => f.write_str("show the refusal"),
            Self::Create => f.write_str("create the pod"),
            Self::Start => f.write_str("start an attempt"),
        }
    }
}
