//! The conditions of a task, and the operator's own reasons for them.

use strum::{Display, EnumIter, EnumMessage, EnumString, IntoEnumIterator, IntoStaticStr};

/// The conditions that a task can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, IntoStaticStr)]
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
    /// With `reporting.mode` Live: no reports arrive. The program runs on, and is read when its attempt ends.
    ReportsMissing,
    /// With a `checkpoint.store`: the newest checkpoint that the program reported cannot be saved. The program runs on.
    SaveFailing,
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
            Self::Blocked
            | Self::CheckpointStale
            | Self::AttemptOverdue
            | Self::ReportsMissing
            | Self::SaveFailing
            | Self::WriteRefused => true,
            Self::Complete | Self::Failed | Self::Finished | Self::Suspended | Self::Reconciling | Self::Stalled => {
                false
            }
        })
    }
}

/// The operator's own reasons for a condition that holds, or for one that does not.
///
/// A condition can have others: `Blocked` an [`AttemptReason`](super::AttemptReason) or whatever word the API server and
/// the kubelet use; `Failed`, `Finished` and `Stalled` a [`FailureReason`](super::FailureReason).
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Display, EnumIter, EnumMessage, EnumString, IntoStaticStr,
)]
pub enum ConditionReason {
    /// A quota refuses the pod.
    QuotaExceeded,
    /// Pod Security refuses the pod.
    PodSecurityViolation,
    /// The namespace is being deleted.
    NamespaceTerminating,
    /// An admission webhook does not answer.
    WebhookFailed,
    /// The API server does not answer in time.
    NoAnswer,
    /// The API server cannot be reached.
    NoConnection,
    /// The API server refuses a write and has no word for why.
    Refused,
    /// The API server's word: a policy refuses the write, or what it names is missing.
    Forbidden,
    /// The API server's word: the object is not valid.
    Invalid,
    /// The API server's word: it cannot take the object.
    BadRequest,
    /// A pod has the name of the next one, or a claim that of one of the task's own, and is not of this task.
    NameTaken,
    /// `restart.checkpointSequence` names a checkpoint that is not kept.
    UnknownCheckpoint,
    /// A pod that is not wanted any more has not ended.
    WaitingForOldPod,
    /// A pod of an earlier task of the same name has not ended.
    WaitingForOldTask,
    /// A claim that the next pod mounts is being deleted.
    WaitingForOldClaim,
    /// No scheduler has looked at the pod.
    NotScheduled,
    /// The kubelet of the pod's node says nothing.
    NodeNotResponding,
    /// The pod's volumes, network, sandbox or devices are not there.
    NotReadyToStart,
    /// An init container or a sidecar is at work.
    PodInitializing,
    /// The checkpoint to resume from is being restored.
    Restoring,
    /// A checkpoint in a store is to be resumed from, and the task has no `checkpoint.store`.
    StoreMissing,
    /// The task has a `checkpoint.store`, and the operator was installed without an image of the agent.
    AgentNotConfigured,
    /// The LongTaskTemplate that `spec.templateRef` names does not exist.
    TemplateNotFound,
    /// The task names a LongTaskTemplate, and sets a field itself that comes from it.
    SetByTemplate,
    /// The `inputSchema` of the LongTaskTemplate is not a schema that can be checked against.
    InvalidSchema,
    /// The operator runs with `--no-fill-in`, and the task is to be filled in from a LongTaskTemplate.
    FillInOff,
    /// `spec.input` is not the one that the run began with.
    InputChanged,
    /// The TaskQueue that `spec.queueName` names does not exist.
    QueueNotFound,
    /// The TaskQueue that `spec.queueName` names does not allow tasks of this namespace.
    QueueNotAllowed,
    /// The TaskQueue that `spec.queueName` names is in a namespace that the operator does not watch.
    QueueNotWatched,
    /// The containers are being made.
    ContainerCreating,
    /// The pod's deadline may not be lowered.
    StopRefused,
    /// A pod may not be deleted.
    DeletionRefused,
    /// The finalizer may not be taken off a pod.
    ReleaseRefused,
    /// The label may not be put back on a pod.
    LabelRefused,
    /// Kueue may not be told, by an annotation of a pod, that the quota is given back.
    QuotaReturnRefused,
    /// The task may not be deleted.
    TaskDeletionRefused,
    /// A claim may not be deleted.
    ClaimDeletionRefused,
    /// The API server takes a change, and something takes it back.
    TakenBack,
    /// The operator may not stop the pod.
    WriteRefused,
    /// The pod's node is heard of, and has not ended the pod.
    PodDoesNotEnd,
    /// No checkpoint was recorded for too long.
    NoCheckpoint,
    /// The agent in the pod has never been heard of.
    NeverHeard,
    /// The agent in the pod is not heard of any more.
    Silent,
    /// The operator was installed without what live reports need.
    NotConfigured,
    /// Reports arrive.
    Heard,
    /// The store refuses the credentials, or what is asked with them.
    AccessDenied,
    /// The bucket, the container or the directory of the store does not exist.
    NoSuchBucket,
    /// The store does not answer, or answers with a failure of its own.
    Unreachable,
    /// The program wrote to a checkpoint that it had reported as complete.
    ChangedWhileSaving,
    /// The program reported a path at which nothing is.
    NoSuchPath,
    /// The path, or a link below it, leads out of the directory of checkpoints.
    LeavesDirectory,
    /// The checkpoint has more files than a save may have.
    TooManyFiles,
    /// Something in the checkpoint cannot be read, or is nothing that can be saved.
    NotReadable,
    /// A save fails for a reason that this release does not know.
    SaveFailed,
    /// The newest checkpoint is saved.
    Saved,
    /// By the user's `spec.suspend`.
    SuspendedByUser,
    /// By the `spec.suspend` of the set that the task is a member of.
    SuspendedBySet,
    /// By the failure policy, for a human.
    Held,
    /// The program is done.
    Completed,
    /// The user cancelled the task.
    Cancelled,
    /// The set that the task is a member of stopped it.
    StoppedBySet,
    /// The run, or the attempt's main container, has started.
    Started,
    /// The user let the task go on.
    Resumed,
    /// A new restart token let a held task go on.
    Released,
    /// A new restart token began another run.
    Restarted,
    /// An edit waits for the next attempt.
    EditWaits,
    /// No edit waits any more.
    EditApplied,
    /// The task is suspended.
    Suspended,
    /// The task has ended.
    Finished,
    /// The attempt has ended.
    Ended,
    /// The pod could be created.
    Created,
    /// The attempt is not wanted any more.
    Withdrawn,
    /// The specification has been edited.
    Edited,
    /// The task may use its queue, or names none any more.
    QueueOpen,
    /// The old pod has ended.
    OldPodEnded,
    /// The restart token that named an unknown checkpoint is gone.
    TokenTakenBack,
    /// The age of the last checkpoint does not matter now.
    NotWatched,
    /// The last checkpoint is recent.
    Recent,
    /// The refused write is done, or not needed any more.
    Done,
    /// A pod may not be created, or a task not filled in. Never shown: such a refusal is shown as `Blocked`, by its cause.
    CreationRefused,
}

impl ConditionReason {
    /// The conditions that it can explain while they hold, in their message if not as their reason; none for a reason that
    /// only says why a condition does not hold.
    pub fn conditions(self) -> &'static [ConditionType] {
        use ConditionType as Type;
        match self {
            Self::QuotaExceeded
            | Self::PodSecurityViolation
            | Self::NamespaceTerminating
            | Self::WebhookFailed
            | Self::NoAnswer
            | Self::NoConnection
            | Self::Refused
            | Self::Forbidden
            | Self::Invalid
            | Self::BadRequest
            | Self::TakenBack => &[Type::Blocked, Type::WriteRefused],
            Self::NameTaken
            | Self::UnknownCheckpoint
            | Self::WaitingForOldPod
            | Self::WaitingForOldTask
            | Self::WaitingForOldClaim
            | Self::NotScheduled
            | Self::NotReadyToStart
            | Self::PodInitializing
            | Self::Restoring
            | Self::StoreMissing
            | Self::AgentNotConfigured
            | Self::TemplateNotFound
            | Self::SetByTemplate
            | Self::InvalidSchema
            | Self::FillInOff
            | Self::InputChanged
            | Self::QueueNotFound
            | Self::QueueNotAllowed
            | Self::QueueNotWatched
            | Self::ContainerCreating => &[Type::Blocked],
            Self::NodeNotResponding => &[Type::Blocked, Type::AttemptOverdue],
            Self::StopRefused
            | Self::DeletionRefused
            | Self::ReleaseRefused
            | Self::LabelRefused
            | Self::QuotaReturnRefused
            | Self::TaskDeletionRefused
            | Self::ClaimDeletionRefused => &[Type::WriteRefused],
            Self::WriteRefused | Self::PodDoesNotEnd => &[Type::AttemptOverdue],
            Self::NoCheckpoint => &[Type::CheckpointStale],
            Self::NeverHeard | Self::Silent | Self::NotConfigured => &[Type::ReportsMissing],
            Self::AccessDenied
            | Self::NoSuchBucket
            | Self::Unreachable
            | Self::ChangedWhileSaving
            | Self::NoSuchPath
            | Self::LeavesDirectory
            | Self::TooManyFiles
            | Self::NotReadable
            | Self::SaveFailed => &[Type::SaveFailing],
            Self::SuspendedByUser | Self::SuspendedBySet | Self::Held => &[Type::Suspended],
            Self::Completed => &[Type::Complete, Type::Finished],
            Self::Cancelled | Self::StoppedBySet => &[Type::Finished],
            Self::Started | Self::Resumed | Self::Released | Self::Restarted | Self::EditWaits | Self::EditApplied => {
                &[Type::Reconciling]
            }
            Self::Suspended
            | Self::Finished
            | Self::Ended
            | Self::Created
            | Self::Withdrawn
            | Self::Edited
            | Self::QueueOpen
            | Self::OldPodEnded
            | Self::TokenTakenBack
            | Self::NotWatched
            | Self::Recent
            | Self::Heard
            | Self::Saved
            | Self::Done
            | Self::CreationRefused => &[],
        }
    }
}

/// A condition has its reason as a text.
impl PartialEq<ConditionReason> for String {
    fn eq(&self, reason: &ConditionReason) -> bool {
        self == <&str>::from(*reason)
    }
}
