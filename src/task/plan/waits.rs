//! What a pod waits for before its main container runs: the one list of such states, with how long each may last before
//! it is shown.

use jiff::Timestamp;

use super::observed::{Cause, PodFacts, Start, StartStage};
use crate::{api::task::ConditionReason, types::time::after};

/// A volume claim binds within a second, and the room of a pod that is just leaving is free soon.
const UNSCHEDULED: i64 = 3;
/// What takes a moment on a busy cluster: a scheduler's look, a kubelet's, volumes and a network.
const UNTOLD: i64 = 10;
/// To restore a checkpoint takes its time.
const RESTORING: i64 = 30;
/// What is work in progress: init containers, pulls. It may last; from then on it is said that it does.
const IN_PROGRESS: i64 = 15;

/// What a pod waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wait<'a> {
    /// The cluster says what is the matter.
    Told(&'a Cause),
    /// A stage that every start goes through.
    Stage(&'a StartStage),
}

/// From when what the pod waits for is worth showing; none when its main container has started.
pub(super) fn shown_from(pod: &PodFacts) -> Option<Timestamp> {
    if pod.unscheduled.is_some() {
        return Some(after(pod.creation_time, UNSCHEDULED));
    }
    if pod.trouble.is_some() {
        return Some(pod.creation_time);
    }
    let Start { stage, since } = pod.start.as_ref()?;
    let patience = match stage {
        StartStage::Scheduler(_) | StartStage::Kubelet | StartStage::Preparation => UNTOLD,
        StartStage::Restore => RESTORING,
        StartStage::InitContainer(_) | StartStage::Sidecar(_) | StartStage::Containers => IN_PROGRESS,
    };
    Some(after(*since, patience))
}

/// What the pod waits for; none when its main container has started.
pub(super) fn wait(pod: &PodFacts) -> Option<Wait<'_>> {
    let told = pod.unscheduled.as_ref().or(pod.trouble.as_ref()).map(Wait::Told);
    told.or_else(|| pod.start.as_ref().map(|start| Wait::Stage(&start.stage)))
}

impl Wait<'_> {
    /// The reason in one word.
    pub(super) fn reason(&self) -> &str {
        match self {
            Self::Told(cause) => &cause.reason,
            Self::Stage(stage) => reason_of(stage).into(),
        }
    }

    /// Whether it may be nothing but work in progress.
    pub(super) fn is_progress(&self) -> bool {
        match self {
            Self::Told(_) | Self::Stage(StartStage::Scheduler(_) | StartStage::Kubelet | StartStage::Preparation) => {
                false
            }
            Self::Stage(
                StartStage::Restore | StartStage::InitContainer(_) | StartStage::Sidecar(_) | StartStage::Containers,
            ) => true,
        }
    }

    /// The reason, and what is waited for.
    pub(super) fn cause(&self, pod: &PodFacts) -> Cause {
        match self {
            Self::Told(cause) => (*cause).clone(),
            Self::Stage(stage) => Cause::new(reason_of(stage), message(stage, pod)),
        }
    }
}

fn reason_of(stage: &StartStage) -> ConditionReason {
    match stage {
        StartStage::Scheduler(_) => ConditionReason::NotScheduled,
        StartStage::Kubelet => ConditionReason::NodeNotResponding,
        StartStage::Preparation => ConditionReason::NotReadyToStart,
        StartStage::Restore => ConditionReason::Restoring,
        StartStage::InitContainer(_) | StartStage::Sidecar(_) => ConditionReason::PodInitializing,
        StartStage::Containers => ConditionReason::ContainerCreating,
    }
}

fn message(stage: &StartStage, pod: &PodFacts) -> String {
    let name = &pod.name;
    let look = format!("see the events in `kubectl describe pod {name}`");
    let node = pod.node.as_deref().unwrap_or_default();
    match stage {
        StartStage::Scheduler(scheduler) => format!("scheduler {scheduler} has said nothing about pod {name}; {look}"),
        StartStage::Kubelet => format!("the kubelet of node {node} has said nothing about pod {name}; {look}"),
        StartStage::Preparation => {
            format!("the volumes, the network or the devices of pod {name} are not ready; {look}")
        }
        StartStage::Restore => {
            format!("the checkpoint is being restored; see `kubectl logs {name} -c longtask-restore`")
        }
        StartStage::InitContainer(container) => {
            format!("init container {container} has not ended; see `kubectl logs {name} -c {container}`")
        }
        StartStage::Sidecar(container) => format!("sidecar {container} has not passed its startup probe; {look}"),
        StartStage::Containers => {
            let what = "an image is being pulled, or a postStart hook runs";
            format!("the containers of pod {name} are being made: {what}; {look}")
        }
    }
}

/// Whether the reason names a stage that every start goes through, and no cause of its own: what is too long there is told
/// by the timeout that ends it.
pub(super) fn is_stage(reason: &str) -> bool {
    matches!(
        reason.parse(),
        Ok(ConditionReason::NotScheduled
            | ConditionReason::NodeNotResponding
            | ConditionReason::NotReadyToStart
            | ConditionReason::PodInitializing
            | ConditionReason::Restoring
            | ConditionReason::ContainerCreating)
    )
}
