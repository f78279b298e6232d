//! The closed lists: how an attempt ended, why it was stopped, why a task failed, why a phase is what it is.

use std::{borrow::Cow, fmt};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumMessage, EnumString, IntoStaticStr, VariantNames};

use super::ConditionReason;

/// How an attempt ended.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    EnumMessage,
    IntoStaticStr,
)]
pub enum Outcome {
    /// The program is done.
    Completed,
    /// The segment's time was used up.
    TimeLimit,
    /// The program ended with one of `continueExitCodes`: go on in a new segment.
    Yielded,
    /// The operator stopped it: suspend, cancel, a limit, or an edit of a task whose pod could not start.
    Stopped,
    /// The main container never ran, for a reason that lies with the task.
    StartFailed,
    /// The cluster ended it: eviction, preemption, deletion, a lost node.
    Interrupted,
    /// The program failed.
    Failed,
}

/// Why an attempt ended as it did, where the outcome alone does not say it.
// The list is closed: what the status shows for Failed, Interrupted and StartFailed, a rule can match. What only the other
// outcomes have is not in the schema.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    EnumIter,
    EnumMessage,
    EnumString,
    VariantNames,
)]
pub enum AttemptReason {
    /// Failed: an exit code, for no other reason.
    Error,
    /// Failed: the program reported that another try would fail as well.
    Permanent,
    /// Failed: out of memory.
    OOMKilled,
    /// Failed: the program gave no sign of life for `segment.heartbeatTimeout`.
    Hung,
    /// Failed: the program ended well, and its result did not reach the operator before its pod ended.
    ResultLost,
    /// Interrupted by an eviction by the API, a taint or the kubelet; or failed, or not started, by the pod's own limit
    /// of local storage.
    Evicted,
    /// Interrupted: a pod of higher priority took its place, or Kueue gave its quota to other work.
    Preempted,
    /// Interrupted: somebody deleted the pod.
    Deleted,
    /// Interrupted: the kubelet refused to run the pod there.
    Rejected,
    /// Interrupted: the node is gone.
    NodeLost,
    /// Interrupted: the cluster does not know how the container ended.
    Unknown,
    /// Interrupted: the store of checkpoints did not answer for 80 % of `segment.startTimeout`.
    StoreUnreachable,
    /// Start failed: the container could not be started, for no other reason.
    StartError,
    /// Start failed: the main container did not run within `segment.startTimeout`, for no other reason.
    StartTimeout,
    /// Start failed: the pod was not scheduled within `segment.schedulingTimeout`, for no other reason.
    SchedulingTimeout,
    /// Start failed: the scheduler found no node.
    Unschedulable,
    /// Start failed: somebody's gate kept the pod from the scheduler.
    SchedulingGated,
    /// Start failed: the scheduler itself had an error.
    SchedulerError,
    /// Start failed: an init container failed.
    InitContainerFailed,
    /// Start failed: the checkpoint to resume from cannot be read in its store. The next attempt resumes from the one before.
    CheckpointUnreadable,
    /// Start failed: the store of checkpoints refuses, or is not the one in which the task's are.
    StoreUnusable,
    /// Start failed: the image could not be pulled.
    ErrImagePull,
    /// Start failed: the image could not be pulled, and the kubelet waited to pull it again.
    ImagePullBackOff,
    /// Start failed: the image's name is not a valid one.
    InvalidImageName,
    /// Start failed: the image is not on the node, and may not be pulled.
    ErrImageNeverPull,
    /// Start failed: the container runtime could not look at the image.
    ImageInspectError,
    /// Start failed: the registry did not answer.
    RegistryUnavailable,
    /// Start failed: the image's signature is not valid.
    SignatureValidationFailed,
    /// Start failed: something that the container's configuration names is missing.
    CreateContainerConfigError,
    /// Start failed: the container runtime could not create the container.
    CreateContainerError,
    /// Start failed: the container runtime could not start the container.
    RunContainerError,
    /// Start failed: the kubelet could not prepare the container.
    PreCreateHookError,
    /// Start failed: the kubelet could not prepare the start of the container.
    PreStartHookError,
    /// Start failed: a container's postStart hook failed.
    PostStartHookError,
    /// Start failed: a sidecar that the main container waits for ended again and again.
    CrashLoopBackOff,
    /// Start failed: the pod is for another operating system than the node's.
    PodOSNotSupported,
    /// Start failed: the pod's label names another operating system than the node's.
    PodOSSelectorNodeLabelDoesNotMatch,
    /// Start failed: the kubelet does not allow a sysctl of the pod.
    SysctlForbidden,
    /// Start failed: the node cannot enforce the pod's AppArmor profile.
    AppArmor,
    /// Start failed: the kubelet does not support sidecars.
    InitContainerRestartPolicyForbidden,
    /// Start failed: the kubelet does not support resources of a pod as a whole.
    PodLevelResourcesNotSupported,
    /// Start failed: the node's container runtime does not support `supplementalGroupsPolicy`.
    SupplementalGroupsPolicyNotSupported,
    /// Start failed: the pod's resources leave none for a container that needs them.
    EmptyPodSharedPoolError,
    /// Time limit: cut by a limit of the task.
    #[serde(skip)]
    #[strum(disabled)]
    Limit(Limit),
    /// Stopped by the operator.
    #[serde(skip)]
    #[strum(disabled)]
    Stop(StopReason),
}

impl AttemptReason {
    /// The outcomes that it can come with.
    pub fn outcomes(self) -> &'static [Outcome] {
        match self {
            Self::Error | Self::Permanent | Self::OOMKilled | Self::Hung | Self::ResultLost => &[Outcome::Failed],
            Self::Evicted => &[Outcome::Interrupted, Outcome::Failed, Outcome::StartFailed],
            Self::Preempted
            | Self::Deleted
            | Self::Rejected
            | Self::NodeLost
            | Self::Unknown
            | Self::StoreUnreachable => &[Outcome::Interrupted],
            Self::StartError
            | Self::StartTimeout
            | Self::SchedulingTimeout
            | Self::Unschedulable
            | Self::SchedulingGated
            | Self::SchedulerError
            | Self::InitContainerFailed
            | Self::CheckpointUnreadable
            | Self::StoreUnusable
            | Self::ErrImagePull
            | Self::ImagePullBackOff
            | Self::InvalidImageName
            | Self::ErrImageNeverPull
            | Self::ImageInspectError
            | Self::RegistryUnavailable
            | Self::SignatureValidationFailed
            | Self::CreateContainerConfigError
            | Self::CreateContainerError
            | Self::RunContainerError
            | Self::PreCreateHookError
            | Self::PreStartHookError
            | Self::PostStartHookError
            | Self::CrashLoopBackOff
            | Self::PodOSNotSupported
            | Self::PodOSSelectorNodeLabelDoesNotMatch
            | Self::SysctlForbidden
            | Self::AppArmor
            | Self::InitContainerRestartPolicyForbidden
            | Self::PodLevelResourcesNotSupported
            | Self::SupplementalGroupsPolicyNotSupported
            | Self::EmptyPodSharedPoolError => &[Outcome::StartFailed],
            Self::Limit(_) => &[Outcome::TimeLimit],
            Self::Stop(_) => &[Outcome::Stopped],
        }
    }

    /// Whether a rule that names this reason matches an end that is recorded with that one.
    pub fn matches(self, recorded: Self) -> bool {
        // A permanent error is asked for after the rules; to them it is an exit code as well.
        self == recorded || (self == Self::Error && recorded == Self::Permanent)
    }
}

/// Why the operator asked a running attempt to stop.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    EnumMessage,
    IntoStaticStr,
    VariantNames,
)]
pub enum StopReason {
    /// `spec.suspend` was set.
    Suspend,
    /// `spec.cancel` was set.
    Cancel,
    /// The main container has ended, another one has not.
    MainEnded,
    /// The segment's time was used up, and the API server refused to lower the pod's deadline: it was deleted instead.
    TimeLimit,
    /// The main container did not run within `startTimeout` of being scheduled.
    StartTimeout,
    /// The scheduler found no place within `schedulingTimeout`.
    SchedulingTimeout,
    /// A limit of the task was reached before the main container ran.
    Limit,
    /// The pod could not be scheduled or started, and the task has been edited since it was made.
    Outdated,
    /// The program gave no sign of life for `segment.heartbeatTimeout`.
    Hung,
}

/// A limit of `spec.limits` that can cut a segment short.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    EnumMessage,
    IntoStaticStr,
    VariantNames,
)]
pub enum Limit {
    /// `limits.activeTime`
    ActiveTime,
    /// `limits.wallTime`
    WallTime,
    /// `limits.deadline`
    Deadline,
}

/// Why a task failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, EnumMessage, EnumString, IntoStaticStr)]
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
    /// No checkpoint that is recorded can be read in its store.
    CheckpointUnreadable,
    /// `spec.input` is too large, does not fit the template's `inputSchema`, or lacks what the template refers to.
    InvalidInput,
}

/// Why a task that has not ended is in its phase, where no other list says it.
///
/// The phase's reason can also be a [`StopReason`], an [`Outcome`] with its [`AttemptReason`], a [`FailureReason`], or the
/// reason of the condition `Blocked`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, EnumMessage, IntoStaticStr)]
pub enum PhaseReason {
    /// Waiting: for the delay before a retry.
    Backoff,
    /// Waiting: until the program wants to go on.
    ResumeAfter,
    /// Suspended: by the user.
    SuspendedByUser,
    /// Suspended: by the failure policy, for a human.
    Held,
    /// Pending: a pod that is not wanted any more has not ended.
    WaitingForOldPod,
    /// Pending: a pod of an earlier task of the same name has not ended.
    WaitingForOldTask,
    /// Pending: it is not the turn of this member of a set, or its set is not there any more.
    InactiveInSet,
    /// Pending: it waits in its TaskQueue for its next attempt.
    Queued,
    /// Suspended: by the set that the task is a member of.
    SuspendedBySet,
    /// Cancelled: by the set that the task is a member of.
    StoppedBySet,
}

/// A reason in one word: from one of the closed lists, or the cluster's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason(Cow<'static, str>);

impl Reason {
    /// The cluster's own word, as it came.
    pub fn of_cluster(word: impl Into<String>) -> Self {
        Self(Cow::Owned(word.into()))
    }
}

macro_rules! closed_lists {
    ($($list:ty),*) => {$(
        impl From<$list> for Reason {
            fn from(reason: $list) -> Self {
                Self(Cow::Borrowed(reason.into()))
            }
        }
    )*};
}
closed_lists!(Outcome, StopReason, Limit, FailureReason, PhaseReason, ConditionReason);

impl From<AttemptReason> for Reason {
    fn from(reason: AttemptReason) -> Self {
        match reason {
            AttemptReason::Limit(limit) => limit.into(),
            AttemptReason::Stop(reason) => reason.into(),
            named => Self(Cow::Owned(named.to_string())),
        }
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0.into_owned()
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AttemptReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limit(limit) => limit.fmt(f),
            Self::Stop(reason) => reason.fmt(f),
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

#[cfg(test)]
mod tests {
    use serde_json::json;
    use strum::IntoEnumIterator;

    use super::*;

    #[test]
    fn a_rule_names_a_reason_as_the_status_shows_it() {
        for reason in AttemptReason::iter() {
            assert_eq!(serde_json::to_value(reason).expect("a word"), json!(reason.to_string()));
            assert_eq!(reason.to_string().parse(), Ok(reason));
        }
    }

    #[test]
    fn a_rule_can_name_the_reasons_of_trouble_and_no_others() {
        let is_trouble = |outcome| matches!(outcome, Outcome::Failed | Outcome::StartFailed | Outcome::Interrupted);
        for reason in AttemptReason::iter() {
            let outcomes = reason.outcomes();
            assert!(!outcomes.is_empty() && outcomes.iter().copied().all(is_trouble), "{reason}");
        }
        for reason in [AttemptReason::Limit(Limit::Deadline), AttemptReason::Stop(StopReason::Cancel)] {
            assert!(!reason.outcomes().iter().copied().any(is_trouble), "{reason}");
            assert!(serde_json::to_value(reason).is_err(), "{reason}");
        }
    }

    #[test]
    fn a_permanent_error_is_matched_by_its_name_and_as_an_error() {
        use AttemptReason::{Error, OOMKilled, Permanent};
        assert!(Permanent.matches(Permanent) && Error.matches(Permanent) && Error.matches(Error));
        assert!(!Permanent.matches(Error) && !OOMKilled.matches(Permanent));
    }
}
