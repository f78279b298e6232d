//! The closed lists of a set: its conditions with their reasons, why it failed, why its members were stopped.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumMessage, EnumString, IntoStaticStr};

/// The conditions that a set can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, IntoStaticStr)]
pub enum SetConditionType {
    /// Enough members have succeeded, and all have ended.
    Complete,
    /// The set ended without success.
    Failed,
    /// The set ended, one way or another; the reason says which.
    Finished,
    /// The user has suspended the set, and with it all members.
    Suspended,
    /// No further member can be created, or all that could go on wait for a human; the message says why.
    Blocked,
    /// Work goes on; for GitOps tools.
    Reconciling,
    /// A human must look; for GitOps tools. Only with Failed.
    Stalled,
}

/// The operator's own reasons for a condition of a set. `Blocked` can have the API server's own words as well, and `Failed`,
/// `Finished` and `Stalled` have a [`SetFailureReason`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, EnumString, IntoStaticStr,
)]
pub enum SetConditionReason {
    /// Blocked: the LongTaskTemplate that `spec.templateRef` names does not exist.
    TemplateNotFound,
    /// Blocked: the `inputSchema` of the LongTaskTemplate is not a schema that can be checked against.
    InvalidSchema,
    /// Blocked: the LongTaskTemplate was changed, and the input of a member does not fit it any more.
    InvalidInput,
    /// Blocked: `spec.items` or `spec.input` is not what the set began with.
    ItemsChanged,
    /// Blocked: a LongTask has the name of a member, and is not of this set.
    NameTaken,
    /// Blocked: all members whose turn it is are held, or suspended by their user.
    MembersHeld,
    /// Blocked: a quota refuses a member.
    QuotaExceeded,
    /// Blocked: the namespace is being deleted.
    NamespaceTerminating,
    /// Blocked: an admission webhook does not answer.
    WebhookFailed,
    /// Blocked: the API server does not answer in time.
    NoAnswer,
    /// Blocked: the API server cannot be reached.
    NoConnection,
    /// Blocked: the API server refuses a member and has no word for why.
    Refused,
    /// Suspended: by `spec.suspend`.
    SuspendedByUser,
    /// Complete, Finished: all members have ended, and enough of them well.
    Completed,
    /// Finished: the user cancelled the set.
    Cancelled,
    /// Reconciling: the set has started.
    Started,
    /// Reconciling: the user let the set go on.
    Resumed,
    /// Reconciling: a new restart token began another round.
    Restarted,
    /// The set is suspended.
    Suspended,
    /// Members are created again.
    Created,
}

/// Why a set makes no further members for now though nothing is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, EnumIter, EnumMessage, IntoStaticStr)]
pub enum SetPhaseReason {
    /// Running: so many tasks wait in the queue of the members as its `maxWaiting` says. It goes on when fewer do.
    QueueFull,
}

/// Why a set failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumIter, EnumMessage, EnumString, IntoStaticStr)]
pub enum SetFailureReason {
    /// All members have ended, and more of them failed than `tolerateFailed` allows.
    MembersFailed,
    /// More members failed than `maxFailed` allows; the rest was stopped.
    TooManyFailed,
    /// `limits.wallTime` is used up.
    WallTimeExceeded,
    /// `limits.deadline` has passed.
    DeadlinePassed,
    /// The input of a member is too large, or does not fit the LongTaskTemplate. No member was created.
    InvalidInput,
}

/// Why all members of a set were asked to stop.
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
pub enum SetStopReason {
    /// More members failed than `maxFailed` allows.
    TooManyFailed,
    /// `limits.wallTime` is used up.
    WallTimeExceeded,
    /// `limits.deadline` has passed.
    DeadlinePassed,
    /// `spec.cancel` was set.
    Cancelled,
}

impl SetStopReason {
    /// As what the set fails once its members have stopped; none when it ends as Cancelled.
    pub fn failure(self) -> Option<SetFailureReason> {
        match self {
            Self::TooManyFailed => Some(SetFailureReason::TooManyFailed),
            Self::WallTimeExceeded => Some(SetFailureReason::WallTimeExceeded),
            Self::DeadlinePassed => Some(SetFailureReason::DeadlinePassed),
            Self::Cancelled => None,
        }
    }
}
