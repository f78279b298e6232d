//! What a pod tells of its start: how far it is, what troubles it, which init container failed.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateRunning, ContainerStateTerminated, ContainerStatus, Pod, PodStatus};

use super::{
    kubelet,
    observed::{Cause, FailedInit, Start, StartStage},
    pod_conditions::{condition, turned_at, words},
};
use crate::{
    api::task::AttemptReason,
    contract::agent::{RESTORE_CONTAINER, RestoreTrouble, RestoreWord},
};

/// The scheduler of a pod that names none.
const DEFAULT_SCHEDULER: &str = "default-scheduler";

/// How far the start of a pod is whose main container has not started.
pub(super) fn stage(pod: &Pod, status: &PodStatus) -> Start {
    let created = pod.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
    let is_bound = pod.spec.as_ref().is_some_and(|spec| spec.node_name.is_some());
    if !is_bound {
        return Start { stage: StartStage::Scheduler(scheduler(pod)), since: created };
    }
    let Some(seen_by_kubelet) = status.start_time.as_ref().map(|time| time.0) else {
        let bound = condition(status, "PodScheduled").and_then(turned_at);
        return Start { stage: StartStage::Kubelet, since: bound.unwrap_or(created) };
    };
    let is_prepared = condition(status, "PodReadyToStartContainers").is_none_or(|ready| ready.status == "True");
    if !is_prepared {
        return Start { stage: StartStage::Preparation, since: seen_by_kubelet };
    }
    if let Some((stage, running)) = initializing(pod, status) {
        return Start { stage, since: since(running).unwrap_or(seen_by_kubelet) };
    }
    let initialized = condition(status, "Initialized").filter(|condition| condition.status == "True");
    Start { stage: StartStage::Containers, since: initialized.and_then(turned_at).unwrap_or(seen_by_kubelet) }
}

fn scheduler(pod: &Pod) -> String {
    let named = pod.spec.as_ref().and_then(|spec| spec.scheduler_name.clone());
    named.unwrap_or_else(|| DEFAULT_SCHEDULER.to_owned())
}

fn since(running: &ContainerStateRunning) -> Option<Timestamp> {
    running.started_at.as_ref().map(|time| time.0)
}

/// The init container that runs and that the others wait for.
fn initializing<'a>(pod: &Pod, status: &'a PodStatus) -> Option<(StartStage, &'a ContainerStateRunning)> {
    status.init_container_statuses.iter().flatten().find_map(|container| {
        let running = container.state.as_ref()?.running.as_ref()?;
        let name = container.name.clone();
        match (is_sidecar(pod, &name), container.started) {
            (true, Some(true)) => None,
            (true, Some(false) | None) => Some((StartStage::Sidecar(name), running)),
            (false, _) if name == RESTORE_CONTAINER => Some((StartStage::Restore, running)),
            (false, _) => Some((StartStage::InitContainer(name), running)),
        }
    })
}

/// An init container that goes on beside the others: its end says nothing about theirs.
fn is_sidecar(pod: &Pod, name: &str) -> bool {
    let mut init = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
    init.any(|container| container.name == name && container.restart_policy.as_deref() == Some("Always"))
}

/// The first container that waits for something to be mended.
pub(super) fn trouble(pod: &Pod, status: &PodStatus) -> Option<Cause> {
    let mut init = status.init_container_statuses.iter().flatten();
    let mut all = init.clone().chain(status.container_statuses.iter().flatten());
    all.find_map(waiting).or_else(|| init.find_map(|container| crashing(pod, container)))
}

fn waiting(container: &ContainerStatus) -> Option<Cause> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let said = words(waiting.reason.as_ref(), waiting.message.as_ref())?;
    if kubelet::is_in_progress(&said.reason) {
        return None;
    }
    let message = if said.message.is_empty() { &said.reason } else { &said.message };
    Some(Cause { message: format!("container {}: {message}", container.name), reason: said.reason })
}

/// A sidecar that ended before the others could start, and is started again and again: the kubelet says so only while it
/// waits.
fn crashing(pod: &Pod, container: &ContainerStatus) -> Option<Cause> {
    let is_starting = container.restart_count > 0 && container.started != Some(true);
    let ended = container.last_state.as_ref()?.terminated.as_ref()?;
    (is_starting && is_sidecar(pod, &container.name)).then(|| Cause {
        reason: AttemptReason::CrashLoopBackOff.to_string(),
        message: format!("container {} ended with exit code {} and is started again", container.name, ended.exit_code),
    })
}

/// The first init container that did not end well. Not a sidecar: those are stopped with the pod, and may say so.
pub(super) fn failed_init(pod: &Pod, status: &PodStatus) -> Option<FailedInit> {
    let init = status.init_container_statuses.iter().flatten();
    init.filter(|container| !is_sidecar(pod, &container.name)).find_map(failed)
}

fn failed(container: &ContainerStatus) -> Option<FailedInit> {
    let ended = container.state.as_ref()?.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let reason = ended.reason.as_deref().filter(|reason| !matches!(*reason, "" | "Error" | "Completed"));
    if reason == Some(kubelet::STATUS_UNKNOWN) {
        return None;
    }
    let words = failed_restore(container, ended).unwrap_or_else(|| {
        let why = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let said = ended.message.as_deref().unwrap_or_default().trim();
        let colon = if said.is_empty() { "" } else { ": " };
        let (name, code) = (&container.name, ended.exit_code);
        let message = format!("init container {name} ended with exit code {code}{why}{colon}{said}");
        Cause { reason: AttemptReason::InitContainerFailed.to_string(), message }
    });
    Some(FailedInit {
        words,
        container: container.name.clone(),
        finished_at: ended.finished_at.as_ref().map(|time| time.0).filter(|time| time.as_second() > 0),
    })
}

/// Why the checkpoint was not restored, in the words of the container that was to.
fn failed_restore(container: &ContainerStatus, ended: &ContainerStateTerminated) -> Option<Cause> {
    let message = ended.message.as_ref().filter(|_| container.name == RESTORE_CONTAINER)?;
    let error = RestoreWord::read(message)?.error?;
    let reason = match error.reason {
        RestoreTrouble::Unreadable => AttemptReason::CheckpointUnreadable,
        RestoreTrouble::Unusable => AttemptReason::StoreUnusable,
        RestoreTrouble::Unreachable => AttemptReason::StoreUnreachable,
        RestoreTrouble::Failed | RestoreTrouble::Unknown => AttemptReason::InitContainerFailed,
    };
    Some(Cause { reason: reason.to_string(), message: format!("the checkpoint cannot be restored: {}", error.message) })
}
