//! The closed lists: how an attempt ended, why it was stopped, why a task failed.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Outcome {
    /// The program is done.
    Completed,
    /// The segment's time was used up.
    TimeLimit,
    /// The program ended with one of `continueExitCodes`: go on in a new segment.
    Yielded,
    /// The operator stopped it: suspend, cancel or a limit.
    Stopped,
    /// The main container never ran, for a reason that lies with the task.
    StartFailed,
    /// The cluster ended it: eviction, preemption, deletion, a lost node.
    Interrupted,
    /// The program failed.
    Failed,
}

impl Outcome {
    /// The outcome's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::TimeLimit => "TimeLimit",
            Self::Yielded => "Yielded",
            Self::Stopped => "Stopped",
            Self::StartFailed => "StartFailed",
            Self::Interrupted => "Interrupted",
            Self::Failed => "Failed",
        }
    }
}

/// Why an attempt ended as it did, where the outcome alone does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptReason {
    /// Interrupted: evicted by the API, a taint or the kubelet.
    Evicted,
    /// Interrupted: a pod of higher priority took its place.
    Preempted,
    /// Interrupted: somebody deleted the pod.
    Deleted,
    /// Interrupted: the kubelet refused to run the pod.
    Rejected,
    /// Interrupted: the pod or its node is gone.
    NodeLost,
    /// Interrupted: the cluster does not know how the container ended.
    Unknown,
    /// Failed: the program said that trying again is no use.
    Permanent,
    /// Failed: out of memory.
    OOMKilled,
    /// Failed: any other exit code.
    Error,
    /// Failed: the pod used more local storage than its own limit.
    StorageLimit,
    /// Cut by a limit of the task.
    Limit(Limit),
    /// Stopped by the operator.
    Stop(StopReason),
    /// Start failed: the container's or pod's own reason, such as `ErrImagePull`.
    Cluster(String),
}

/// Why the operator asked a running attempt to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum StopReason {
    /// `spec.suspend` was set.
    Suspend,
    /// `spec.cancel` was set.
    Cancel,
    /// The main container has ended, another one has not.
    MainEnded,
    /// The main container did not run within `startTimeout` of being scheduled.
    StartTimeout,
    /// The scheduler found no place within `schedulingTimeout`.
    SchedulingTimeout,
    /// A limit of the task was reached before the main container ran.
    Limit,
    /// The pod could not be scheduled or started, and the task has been edited since it was made.
    Outdated,
}

/// A limit of `spec.limits` that can cut a segment short.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Limit {
    /// `limits.activeTime`
    ActiveTime,
    /// `limits.wallTime`
    WallTime,
    /// `limits.deadline`
    Deadline,
}

/// Why a task failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// Too many failures in a row without progress.
    FailureBudgetExhausted,
    /// Too many segments in a row without progress.
    NoProgress,
    /// Too many failed starts in a row.
    StartBudgetExhausted,
    /// Too many interruptions in a row without progress.
    InterruptionBudgetExhausted,
    /// A rule of the failure policy has used up its limit.
    RuleLimitExceeded,
    /// The program reported a permanent error.
    PermanentError,
    /// A rule of the failure policy says so.
    FailedByRule,
    /// `limits.activeTime` is used up.
    ActiveTimeExceeded,
    /// `limits.wallTime` is used up.
    WallTimeExceeded,
    /// `limits.deadline` has passed.
    DeadlinePassed,
    /// `limits.segments` is used up.
    SegmentLimitReached,
    /// `limits.attempts` is used up.
    AttemptLimitReached,
}

impl FailureReason {
    /// Every reason.
    pub const ALL: [Self; 12] = [
        Self::FailureBudgetExhausted,
        Self::NoProgress,
        Self::StartBudgetExhausted,
        Self::InterruptionBudgetExhausted,
        Self::RuleLimitExceeded,
        Self::PermanentError,
        Self::FailedByRule,
        Self::ActiveTimeExceeded,
        Self::WallTimeExceeded,
        Self::DeadlinePassed,
        Self::SegmentLimitReached,
        Self::AttemptLimitReached,
    ];

    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::FailureBudgetExhausted => "FailureBudgetExhausted",
            Self::NoProgress => "NoProgress",
            Self::StartBudgetExhausted => "StartBudgetExhausted",
            Self::InterruptionBudgetExhausted => "InterruptionBudgetExhausted",
            Self::RuleLimitExceeded => "RuleLimitExceeded",
            Self::PermanentError => "PermanentError",
            Self::FailedByRule => "FailedByRule",
            Self::ActiveTimeExceeded => "ActiveTimeExceeded",
            Self::WallTimeExceeded => "WallTimeExceeded",
            Self::DeadlinePassed => "DeadlinePassed",
            Self::SegmentLimitReached => "SegmentLimitReached",
            Self::AttemptLimitReached => "AttemptLimitReached",
        }
    }
}

macro_rules! named_as_written {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }
    )*};
}
named_as_written!(Outcome, StopReason, Limit, FailureReason);

impl fmt::Display for AttemptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => limit.fmt(f),
            Self::Stop(reason) => reason.fmt(f),
            Self::Cluster(reason) => f.write_str(reason),
            // The kubelet's own word for it, which users search for.
            Self::StorageLimit => f.write_str("Evicted"),
            plain => fmt::Debug::fmt(plain, f),
        }
    }
}

impl From<Limit> for FailureReason {
    fn from(limit: Limit) -> Self {
        match limit {
            Limit::ActiveTime => Self::ActiveTimeExceeded,
            Limit::WallTime => Self::WallTimeExceeded,
            Limit::Deadline => Self::DeadlinePassed,
        }
    }
}
