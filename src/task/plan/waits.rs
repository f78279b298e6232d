//! What a pod waits for before its main container runs: the one list of such states, with how long each may last before
//! it is shown.

use jiff::Timestamp;

use super::observed::{Cause, PodFacts, Start, StartStage};
use crate::{api::task::ConditionReason, types::time::after};

/// A volume claim binds within a second, and the room of a pod that is just leaving is free soon.
const UNSCHEDULED: i64 = 3;
/// What takes a moment on a busy cluster: a scheduler's look, a kubelet's, volumes and a network.
const UNTOLD: i64 = 10;
/// What is work in progress: init containers, pulls. It may last; from then on it is said that it does.
const IN_PROGRESS: i64 = 15;

/// What a pod waits for, worth showing from a moment on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wait {
    /// The reason in one word, and what is waited for.
    pub(super) cause: Cause,
    /// Whether it may be nothing but work in progress.
    pub(super) is_progress: bool,
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
        StartStage::InitContainer(_) | StartStage::Sidecar(_) | StartStage::Containers => IN_PROGRESS,
    };
    Some(after(*since, patience))
}

/// What the pod waits for; none when its main container has started.
pub(super) fn wait(pod: &PodFacts) -> Option<Wait> {
    if let Some(cause) = pod.unscheduled.as_ref().or(pod.trouble.as_ref()) {
        return Some(Wait { cause: cause.clone(), is_progress: false });
    }
    let name = &pod.name;
    let look = format!("see the events in `kubectl describe pod {name}`");
    let node = pod.node.as_deref().unwrap_or_default();
    let (reason, message, is_progress) = match &pod.start.as_ref()?.stage {
        StartStage::Scheduler(scheduler) => (
            ConditionReason::NotScheduled,
            format!("scheduler {scheduler} has said nothing about pod {name}; {look}"),
            false,
        ),
        StartStage::Kubelet => (
            ConditionReason::NodeNotResponding,
            format!("the kubelet of node {node} has said nothing about pod {name}; {look}"),
            false,
        ),
        StartStage::Preparation => (
            ConditionReason::NotReadyToStart,
            format!("the volumes, the network or the devices of pod {name} are not ready; {look}"),
            false,
        ),
        StartStage::InitContainer(container) => (
            ConditionReason::PodInitializing,
            format!("init container {container} has not ended; see `kubectl logs {name} -c {container}`"),
            true,
        ),
        StartStage::Sidecar(container) => (
            ConditionReason::PodInitializing,
            format!("sidecar {container} has not passed its startup probe; {look}"),
            true,
        ),
        StartStage::Containers => {
            let what = "an image is being pulled, or a postStart hook runs";
            (
                ConditionReason::ContainerCreating,
                format!("the containers of pod {name} are being made: {what}; {look}"),
                true,
            )
        }
    };
    Some(Wait { cause: Cause::new(reason, message), is_progress })
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
            | ConditionReason::ContainerCreating)
    )
}
