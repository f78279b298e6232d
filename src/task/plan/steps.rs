//! A plan: what to record, what to do, what to say, when to look again.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::core::DynamicObject;
use strum::{Display, EnumIter, EnumMessage};

pub use crate::types::EventType;
use crate::{api::task::LongTaskStatus, types::truncate};

/// The longest note of an event that the API server takes, in bytes.
pub(super) const LONGEST_NOTE: usize = 1024;

/// What follows from what was observed. The executor writes the status first, then takes the steps in order, then
/// publishes the events, and stops at the first error.
#[derive(Clone, Debug, Default, PartialEq)]
#[must_use]
pub struct Plan {
    /// The status to write; none when nothing changed. A plan that creates a pod always has one: the write carries the
    /// resourceVersion that the plan was made from, so that a stale plan is refused before it can do harm.
    pub status: Option<LongTaskStatus>,
    /// What to do, in order.
    pub steps: Vec<Step>,
    /// What to tell the user.
    pub events: Vec<TaskEvent>,
    /// When to plan again, if nothing happens before.
    pub wake: Wake,
    /// What decided about an attempt that ended.
    pub why: Why,
}

/// What decided about an attempt that ended: for those who explain a plan. Nothing follows from it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Why {
    /// The rule of the failure policy that matched.
    pub rule: Option<String>,
    /// When the next attempt would start without jitter, where that is another time.
    pub before_jitter: Option<Timestamp>,
}

/// One call to the API server.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub enum Step {
    /// Create this claim, before a pod that mounts it.
    CreateClaim(Box<PersistentVolumeClaim>),
    /// Create this pod.
    CreatePod(Box<Pod>),
    /// Lower the pod's `activeDeadlineSeconds`: 1 stops it within a second and keeps its status.
    LowerDeadline {
        /// Which pod.
        pod: PodRef,
        /// The new value.
        seconds: i64,
    },
    /// Delete the pod.
    DeletePod(PodRef),
    /// Delete a claim: the task has succeeded, and its claims are not to be kept.
    DeleteClaim(ClaimRef),
    /// Delete the task itself: it ended long enough ago.
    DeleteTask,
    /// Write the task with the definition of its template, over the reading that has this resourceVersion.
    FillIn(Box<DynamicObject>),
    /// Put the label back by which the watch finds the pod: somebody has taken it off, or changed it.
    RestoreLabel(PodRef),
    /// Tell Kueue that no pod will take the place of this one in its group, so that the group's quota is free.
    ReturnQuota(PodRef),
    /// Drop our finalizer: the outcome is recorded, or nobody is left to record it.
    ReleasePod(PodRef),
}

/// A pod by name and UID: a step never hits another pod that took the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodRef {
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
}

/// A claim by name and UID: a step never hits another claim that took the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRef {
    /// The name.
    pub name: String,
    /// The UID.
    pub uid: String,
}

/// An event on the task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskEvent {
    /// Whether it is a warning.
    pub type_: EventType,
    /// What happened, as one word in the past tense.
    pub reason: EventReason,
    /// What the operator was at. Events of one kind with the same action and pod are folded into one by the cluster.
    pub action: String,
    /// What happened and what happens next, for people.
    pub note: String,
    /// The pod it is about.
    pub pod: Option<PodRef>,
}

/// What an event tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, EnumMessage)]
pub enum EventReason {
    /// An attempt was decided; its pod is being created.
    AttemptStarting,
    /// The main container runs.
    AttemptStarted,
    /// A segment ended and the next one follows.
    SegmentEnded,
    /// An attempt was interrupted by the cluster.
    AttemptInterrupted,
    /// An attempt failed.
    AttemptFailed,
    /// The main container could not be started.
    StartFailed,
    /// A running attempt was asked to stop.
    StopRequested,
    /// A pod runs past every limit.
    AttemptOverdue,
    /// The next pod cannot be created or started.
    Blocked,
    /// The API server refuses a write that the task needs.
    WriteRefused,
    /// Something in a report could not be used.
    ReportIgnored,
    /// The user paused the task.
    Suspended,
    /// The failure policy holds the task for a human.
    Held,
    /// The user let it go on.
    Resumed,
    /// The task succeeded.
    Succeeded,
    /// The task failed.
    Failed,
    /// The task was cancelled.
    Cancelled,
    /// The task cannot be read.
    Unreadable,
    /// The definition was copied from a LongTaskTemplate.
    FilledIn,
    /// A new restart token began another run.
    Restarted,
    /// A new restart token came while the run had not ended.
    RestartIgnored,
    /// The last checkpoint is older than the user wants.
    CheckpointStale,
    /// No reports arrive of a program that is to report while it runs.
    ReportsMissing,
    /// A checkpoint that the program reported cannot be saved.
    SaveFailing,
    /// To save a checkpoint takes longer than the grace period.
    GraceTooShort,
    /// A checkpoint that an earlier attempt had saved, and nobody recorded, was resumed from.
    CheckpointAdopted,
    /// The checkpoint to resume from cannot be read.
    CheckpointUnreadable,
    /// A finished task was edited, to no effect.
    EditIgnored,
    /// A rule of the failure policy never gets its turn.
    RuleNeverMatches,
}

/// When to plan again if nothing happens before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Wake {
    /// Not before something changes.
    #[default]
    OnChange,
    /// At this time.
    At(Timestamp),
}

impl From<Option<Timestamp>> for Wake {
    fn from(moment: Option<Timestamp>) -> Self {
        moment.map_or(Self::OnChange, Self::At)
    }
}

impl TaskEvent {
    /// A warning about no pod, with as much of the note as the API server takes.
    pub fn warning(reason: EventReason, action: &str, note: &str) -> Self {
        let note = truncate(note, LONGEST_NOTE).to_owned();
        Self { type_: EventType::Warning, reason, action: action.to_owned(), note, pod: None }
    }
}

impl Step {
    /// The pod that it is about, if that exists.
    pub fn pod(&self) -> Option<&PodRef> {
        match self {
            Self::CreateClaim(_) | Self::CreatePod(_) | Self::DeleteClaim(_) | Self::DeleteTask | Self::FillIn(_) => {
                None
            }
            Self::LowerDeadline { pod, .. }
            | Self::DeletePod(pod)
            | Self::RestoreLabel(pod)
            | Self::ReturnQuota(pod)
            | Self::ReleasePod(pod) => Some(pod),
        }
    }

    /// Whether it creates something.
    pub(super) fn is_create(&self) -> bool {
        matches!(self, Self::CreateClaim(_) | Self::CreatePod(_))
    }

    /// Whether it asks for the same of the same object.
    pub fn is_same_request(&self, other: &Self) -> bool {
        let is_of_one_kind = std::mem::discriminant(self) == std::mem::discriminant(other);
        is_of_one_kind && self.pod() == other.pod() && self.claim() == other.claim()
    }

    /// The name of the claim that it is about.
    fn claim(&self) -> Option<&str> {
        match self {
            Self::CreateClaim(claim) => claim.metadata.name.as_deref(),
            Self::DeleteClaim(claim) => Some(&claim.name),
            _ => None,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateClaim(claim) => {
                write!(f, "create claim {}", claim.metadata.name.as_deref().unwrap_or_default())
            }
            Self::CreatePod(pod) => write!(f, "create pod {}", pod.metadata.name.as_deref().unwrap_or_default()),
            Self::LowerDeadline { pod, seconds } => write!(f, "lower deadline of {} to {seconds}", pod.name),
            Self::DeletePod(pod) => write!(f, "delete pod {}", pod.name),
            Self::DeleteClaim(claim) => write!(f, "delete claim {}", claim.name),
            Self::DeleteTask => f.write_str("delete the task"),
            Self::FillIn(_) => f.write_str("fill in the task"),
            Self::RestoreLabel(pod) => write!(f, "restore the label of {}", pod.name),
            Self::ReturnQuota(pod) => write!(f, "return the quota of {}", pod.name),
            Self::ReleasePod(pod) => write!(f, "release pod {}", pod.name),
        }
    }
}
