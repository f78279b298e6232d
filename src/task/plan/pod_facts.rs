//! From a pod to the few facts about it that decide.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateTerminated, ContainerStatus, Pod, PodCondition, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::OwnerReference,
};

use super::{
    kubelet,
    observed::{
        AgentFacts, Cause, ConditionFacts, ContainerEnd, Deletion, Disruption, MainContainer, PodFacts, PodPhase,
    },
    pod_conditions::{condition, turned_at, words},
    start,
};
use crate::{
    api::{
        labels,
        task::{AttemptReason, CurrentAttempt},
    },
    contract::agent::{self, LastWord, RestoreWord},
    types::{MemorySize, time::after},
};

impl AgentFacts {
    /// Whether the program has reported anything: then it has run.
    fn has_heard(&self) -> bool {
        self.last_word.as_ref().is_some_and(|word| word.header.revision > 0)
    }
}

impl PodFacts {
    /// The facts of a pod of ours; none when it cannot be told which task and attempt it is of.
    ///
    /// Identity is told by what users cannot or need not change: the name and the owner. Labels are asked only where
    /// those do not tell, for orphans and copies.
    ///
    /// What its agent has left behind is among them for as long as our finalizer holds the pod: it is long, and once the
    /// outcome is recorded, nobody asks for it any more.
    pub fn of(pod: &Pod) -> Option<Self> {
        Self::with_words_if(has_outcome_finalizer(pod), pod)
    }

    /// The same, and what its agent has left behind in any case: somebody has taken our finalizer off too early, or has
    /// written an older status back.
    pub fn with_words(pod: &Pod) -> Option<Self> {
        Self::with_words_if(true, pod)
    }

    fn with_words_if(has_words: bool, pod: &Pod) -> Option<Self> {
        let spec = pod.spec.as_ref();
        let nothing = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&nothing);
        let scheduled = condition(status, "PodScheduled");
        let is_bound = scheduled.is_some_and(|condition| condition.status == "True");
        let node = spec.and_then(|spec| spec.node_name.clone());
        let creation_time = pod.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default();
        let owner_uid = controller_uid(pod);
        let main = main_container(pod, status);
        Some(Self {
            name: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone()?,
            task_uid: owner_uid.clone().or_else(|| label(pod, labels::TASK_UID).cloned())?,
            attempt: attempt_number(pod)?,
            owner_uid,
            has_task_label: has_task_label(pod),
            has_finalizer: has_outcome_finalizer(pod),
            phase: phase(status),
            words: words(status.reason.as_ref(), status.message.as_ref()),
            is_turned_away: kubelet::has_turned_away(status),
            start_time: status.start_time.as_ref().map(|time| time.0),
            active_deadline: spec.and_then(|spec| spec.active_deadline_seconds),
            generation: annotation(pod, labels::GENERATION).and_then(|generation| generation.parse().ok()),
            template_hash: annotation(pod, labels::TEMPLATE_HASH).cloned(),
            raised_memory: annotation(pod, labels::RAISED_MEMORY).and_then(|memory| memory.parse().ok()),
            pod_group: annotation(pod, labels::POD_GROUP).cloned(),
            returns_quota: annotation(pod, labels::KUEUE_RETRIABLE).is_some_and(|retriable| retriable == "false"),
            segment_seconds: annotation(pod, labels::SEGMENT_SECONDS).and_then(|seconds| seconds.parse().ok()),
            grace: spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30),
            deletion: deletion(pod),
            disruption: disruption(status),
            conditions: conditions(pod, status),
            memory: memory_limit(pod),
            creation_time,
            // A pod that names its node itself passes by the scheduler.
            scheduled_at: match scheduled {
                Some(condition) => Some(condition).filter(|_| is_bound).and_then(turned_at),
                None => node.is_some().then_some(creation_time),
            },
            unscheduled: scheduled.filter(|_| !is_bound).map(unscheduled),
            trouble: start::trouble(pod, status),
            start: matches!(main, MainContainer::Waiting).then(|| start::stage(pod, status)),
            failed_init: start::failed_init(pod, status),
            ended_before_deletion: ended_before_deletion(pod, status),
            other_unended: other_unended(pod, status),
            is_node_silent: is_node_silent(status),
            is_main_lost: is_main_lost(pod, status),
            agent: agent_facts(has_words, pod, status),
            node,
            main,
        })
    }

    /// When the kubelet stops it, by its own clock; unknown before it has seen the pod.
    pub fn deadline(&self) -> Option<Timestamp> {
        Some(after(self.start_time?, self.active_deadline?))
    }

    /// Whether its containers have ended for good.
    pub fn is_terminal(&self) -> bool {
        matches!(self.phase, PodPhase::Succeeded | PodPhase::Failed)
    }

    /// Whether it is over, or as good as, while the kubelet has not told how its main container ended: the attempt is
    /// given up in the end, so it must be certain that nothing was told.
    pub fn lacks_last_word(&self) -> bool {
        let is_removed = self.deletion.is_some_and(|deletion| deletion.grace == 0) && self.node.is_some();
        let is_running = matches!(self.main, MainContainer::Running { .. });
        if self.is_terminal() { is_running } else { is_removed }
    }

    /// Whether its agent may have left something behind that is not among these facts: see [`PodFacts::of`].
    pub fn leaves_words_out(&self) -> bool {
        !self.has_finalizer && self.is_terminal() && self.agent.is_some()
    }

    /// Whether its main container has ever run, as far as the pod tells.
    pub fn has_main_run(&self) -> bool {
        match &self.main {
            // Of a pod that the kubelet evicted, the main container's end can be lost, for ever.
            MainContainer::Waiting => self.is_main_lost || self.agent.as_ref().is_some_and(AgentFacts::has_heard),
            MainContainer::Running { .. } => true,
            MainContainer::Ended(end) => end.started_at.is_some() || self.is_main_lost,
        }
    }

    /// Whether it is the pod of this attempt, and not one that took its name.
    pub fn is_of(&self, attempt: &CurrentAttempt) -> bool {
        self.name == attempt.pod_name && attempt.pod_uid.as_ref().is_none_or(|uid| *uid == self.uid)
    }
}

/// The number of the attempt that a pod is of: the end of its name, which nobody can change. A pod under another name,
/// as of somebody who copied one of ours, is of the attempt that its label says.
fn attempt_number(pod: &Pod) -> Option<i64> {
    let task = controller(pod).map(|owner| &owner.name).or_else(|| label(pod, labels::TASK));
    let behind_task = |name: &String| name.strip_prefix(task?.as_str())?.strip_prefix('-')?.parse().ok();
    let by_name = pod.metadata.name.as_ref().and_then(behind_task);
    by_name.or_else(|| label(pod, labels::ATTEMPT)?.parse().ok())
}

fn has_task_label(pod: &Pod) -> bool {
    let label = label(pod, labels::TASK);
    controller(pod).map_or(label.is_some(), |owner| label == Some(&owner.name))
}

fn label<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.labels.as_ref()?.get(name)
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.annotations.as_ref()?.get(name)
}

fn controller(pod: &Pod) -> Option<&OwnerReference> {
    pod.metadata.owner_references.as_ref()?.iter().find(|owner| owner.controller == Some(true))
}

fn controller_uid(pod: &Pod) -> Option<String> {
    controller(pod).map(|owner| owner.uid.clone())
}

fn has_outcome_finalizer(pod: &Pod) -> bool {
    pod.metadata.finalizers.iter().flatten().any(|finalizer| finalizer == labels::OUTCOME_FINALIZER)
}

fn deletion(pod: &Pod) -> Option<Deletion> {
    let at = pod.metadata.deletion_timestamp.as_ref()?.0;
    Some(Deletion { at, grace: pod.metadata.deletion_grace_period_seconds.unwrap_or_default() })
}

fn phase(status: &PodStatus) -> PodPhase {
    match status.phase.as_deref() {
        Some("Running") => PodPhase::Running,
        Some("Succeeded") => PodPhase::Succeeded,
        Some("Failed") => PodPhase::Failed,
        _ => PodPhase::Pending,
    }
}

/// Kueue notes in a condition of its own why it deletes a pod (`Stop` in its `pkg/controller/jobs/pod`, v0.17).
fn disruption(status: &PodStatus) -> Option<Disruption> {
    let holding = |type_| condition(status, type_).filter(|condition| condition.status == "True");
    let condition = holding("DisruptionTarget").or_else(|| holding("TerminationTarget"))?;
    Some(Disruption {
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
        at: turned_at(condition)?,
    })
}

fn conditions(pod: &Pod, status: &PodStatus) -> Vec<ConditionFacts> {
    let is_leaving = pod.metadata.deletion_timestamp.is_some();
    let has_ended = matches!(phase(status), PodPhase::Succeeded | PodPhase::Failed);
    let kept = status.conditions.iter().flatten().filter(|_| is_leaving || has_ended);
    kept.map(|condition| ConditionFacts {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone().unwrap_or_default(),
        changed_at: turned_at(condition),
    })
    .collect()
}

fn memory_limit(pod: &Pod) -> Option<MemorySize> {
    main_spec(pod)?.resources.as_ref()?.limits.as_ref()?.get("memory")?.try_into().ok()
}

/// Why the scheduler did not bind the pod. A scheduler of somebody else's may give no reason.
fn unscheduled(condition: &PodCondition) -> Cause {
    let said = words(condition.reason.as_ref(), condition.message.as_ref());
    said.unwrap_or_else(|| Cause {
        reason: AttemptReason::Unschedulable.to_string(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

/// A delete raises the pod's generation. The kubelet's last status carries the one that it knew of when it told of the
/// end (measured on 1.37, generally available since 1.35).
fn ended_before_deletion(pod: &Pod, status: &PodStatus) -> Option<bool> {
    pod.metadata.deletion_timestamp.as_ref()?;
    let has_ended = matches!(phase(status), PodPhase::Succeeded | PodPhase::Failed);
    let (seen, now) = (status.observed_generation?, pod.metadata.generation?);
    has_ended.then_some(seen < now)
}

/// A container that keeps the pod from its end once the main one has ended: one that has not ended, started or not, or a
/// sidecar or a debugger that runs. Beside an agent no sidecar: the agent may have to finish what it is at, and the kubelet
/// stops all of them by itself.
fn other_unended(pod: &Pod, status: &PodStatus) -> Option<String> {
    let main = main_name(pod)?;
    let state = |container: &ContainerStatus| container.state.clone().unwrap_or_default();
    let others = status.container_statuses.iter().flatten().filter(|container| container.name != *main);
    let mut unended = others.filter(|container| state(container).terminated.is_none());
    let has_agent = agent_facts(false, pod, status).is_some();
    let sidecars = status.init_container_statuses.as_ref().filter(|_| !has_agent);
    let beside = [sidecars, status.ephemeral_container_statuses.as_ref()].into_iter().flatten().flatten();
    let mut running = beside.filter(|container| state(container).running.is_some());
    unended.next().or_else(|| running.next()).map(|container| container.name.clone())
}

/// The kubelet calls a pod ready when all its containers are. Only the node's controller says otherwise, when it has not
/// heard of the node for a while.
fn is_node_silent(status: &PodStatus) -> bool {
    let is_called_unready = condition(status, "Ready").is_some_and(|ready| ready.status != "True");
    let mut containers = status.container_statuses.iter().flatten().peekable();
    let are_ready = containers.peek().is_some() && containers.all(|container| container.ready);
    (is_called_unready && are_ready) || status.reason.as_deref() == Some("NodeLost")
}

/// The container that the operator marked as the main one when it made the pod. By a mark of its own: the well-known one
/// is for `kubectl logs`, and users change it.
fn main_name(pod: &Pod) -> Option<&String> {
    annotation(pod, labels::MAIN_CONTAINER)
}

fn main_spec(pod: &Pod) -> Option<&Container> {
    let containers = &pod.spec.as_ref()?.containers;
    match main_name(pod) {
        Some(name) => containers.iter().find(|container| container.name == *name),
        None => containers.first(),
    }
}

fn main_status<'a>(pod: &Pod, status: &'a PodStatus) -> Option<&'a ContainerStatus> {
    let mut containers = status.container_statuses.iter().flatten();
    match main_name(pod) {
        Some(name) => containers.find(|container| container.name == *name),
        None => containers.next(),
    }
}

/// The kubelet knows nothing more of a container that has run: it waits to start it, or has made up how it ended.
fn is_main_lost(pod: &Pod, status: &PodStatus) -> bool {
    let ended = main_status(pod, status).and_then(last_end);
    ended.is_some_and(|ended| ended.reason.as_deref() == Some(kubelet::STATUS_UNKNOWN))
}

fn last_end(container: &ContainerStatus) -> Option<&ContainerStateTerminated> {
    container.last_state.as_ref()?.terminated.as_ref()
}

/// The agent that the operator has put beside the program, with what it has left behind or without.
fn agent_facts(has_words: bool, pod: &Pod, status: &PodStatus) -> Option<AgentFacts> {
    let init = pod.spec.as_ref()?.init_containers.as_deref().unwrap_or_default();
    init.iter().find(|container| container.name == agent::CONTAINER)?;
    let has_store = init.iter().any(|container| container.name == agent::RESTORE_CONTAINER);
    let named = |name| status.init_container_statuses.iter().flatten().find(|container| container.name == name);
    let restore = named(agent::RESTORE_CONTAINER).filter(|_| has_words).and_then(restore_word).map(Arc::new);
    let Some(container) = named(agent::CONTAINER) else {
        return Some(AgentFacts { has_store, has_ended: true, restore, ..AgentFacts::default() });
    };
    let ended = container.state.as_ref().and_then(|state| state.terminated.as_ref());
    let of_last = ended.filter(|ended| ended.reason.as_deref() != Some(kubelet::STATUS_UNKNOWN));
    let word_of = |ended: &ContainerStateTerminated| LastWord::read(ended.message.as_ref()?);
    let (word, has_run_since) = match of_last.and_then(word_of) {
        Some(word) => (Some(word), false),
        None => (last_end(container).and_then(word_of), true),
    };
    let last_word = word.filter(|_| has_words).map(Arc::new);
    let has_ended = ended.is_some() || has_never_run(container);
    Some(AgentFacts { has_store, has_ended, last_word, has_run_since, restore })
}

/// Whether a container waits for its first start.
fn has_never_run(container: &ContainerStatus) -> bool {
    let waits = container.state.as_ref().is_none_or(|state| state.running.is_none() && state.terminated.is_none());
    waits && container.restart_count == 0 && last_end(container).is_none()
}

/// What the container said that restores a checkpoint.
fn restore_word(container: &ContainerStatus) -> Option<RestoreWord> {
    let ended = container.state.as_ref()?.terminated.as_ref()?;
    RestoreWord::read(ended.message.as_ref()?)
}

fn main_container(pod: &Pod, status: &PodStatus) -> MainContainer {
    let main = main_status(pod, status);
    let policy = main_spec(pod).and_then(|main| main.termination_message_policy.as_deref());
    let falls_back_to_log = policy == Some("FallbackToLogsOnError");
    main.and_then(|container| container.state.as_ref())
        .map_or(MainContainer::Waiting, |state| container_state(state, falls_back_to_log, number_of_containers(pod)))
}

/// How many containers a pod has, as the kubelet counts them when it divides the room for termination messages: those that
/// others have added, too, whether they have run or not.
fn number_of_containers(pod: &Pod) -> usize {
    let Some(spec) = &pod.spec else { return 0 };
    let init = spec.init_containers.as_ref().map_or(0, Vec::len);
    let ephemeral = spec.ephemeral_containers.as_ref().map_or(0, Vec::len);
    spec.containers.len() + init + ephemeral
}

fn container_state(state: &ContainerState, falls_back_to_log: bool, containers: usize) -> MainContainer {
    if let Some(ended) = &state.terminated {
        // A container that could not be started reports 1970 as its start.
        let started_at = ended.started_at.as_ref().map(|time| time.0).filter(|time| time.as_second() > 0);
        return MainContainer::Ended(ContainerEnd {
            exit_code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            message: ended.message.clone().unwrap_or_default(),
            may_be_log: falls_back_to_log && ended.exit_code != 0,
            containers,
            started_at,
            finished_at: ended.finished_at.as_ref().map(|time| time.0).filter(|time| time.as_second() > 0),
        });
    }
    match state.running.as_ref().and_then(|running| running.started_at.as_ref()) {
        Some(since) => MainContainer::Running { since: since.0 },
        None => MainContainer::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    /// The facts of a pod of ours with these changes.
    fn facts(changes: &Value) -> PodFacts {
        let mut pod = json!({
            "metadata": {
                "name": "t-1", "uid": "pod-1",
                "labels": { labels::TASK_UID: "task-uid", labels::ATTEMPT: "1" },
                "annotations": { labels::MAIN_CONTAINER: "work" },
            },
            "spec": { "containers": [{ "name": "side" }, { "name": "work" }] },
        });
        for (part, fields) in changes.as_object().expect("parts of a pod") {
            let fields = fields.as_object().expect("fields").clone();
            pod.as_object_mut().expect("a pod").entry(part).or_insert(json!({}));
            pod[part].as_object_mut().expect("a part").extend(fields);
        }
        PodFacts::of(&serde_json::from_value(pod).expect("a pod")).expect("it is ours")
    }

    #[test]
    fn the_owner_is_the_controlling_one() {
        let owner = |uid: &str, controller: Value| json!({ "apiVersion": "v1", "kind": "K", "name": "n", "uid": uid, "controller": controller });
        let uid_of = |owners: Value| facts(&json!({ "metadata": { "ownerReferences": owners } })).owner_uid;
        let two = json!([owner("other", json!(false)), owner("task-uid", json!(true)), owner("third", Value::Null)]);
        assert_eq!(uid_of(two).as_deref(), Some("task-uid"));
        assert_eq!(uid_of(json!([owner("other", json!(false))])), None);
        assert_eq!(uid_of(json!([])), None);
    }

    #[test]
    fn what_an_agent_left_behind_is_kept_while_our_finalizer_holds_the_pod_and_else_only_when_it_is_asked_for() {
        let word = "{\"agent\":{\"bytes\":0,\"revision\":7}}\n";
        let released: Pod = serde_json::from_value(json!({
            "metadata": { "name": "t-1", "uid": "pod-1", "labels": { labels::TASK_UID: "task-uid", labels::ATTEMPT: "1" } },
            "spec": { "containers": [{ "name": "work" }], "initContainers": [{ "name": agent::CONTAINER }] },
            "status": { "phase": "Succeeded", "initContainerStatuses": [{
                "name": agent::CONTAINER, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": 0, "message": word } },
            }] },
        }))
        .expect("a pod");
        let revision = |facts: Option<PodFacts>| facts?.agent?.last_word.map(|word| word.header.revision);
        let mut held = released.clone();
        held.metadata.finalizers = Some(vec![labels::OUTCOME_FINALIZER.to_owned()]);
        assert_eq!(revision(PodFacts::of(&held)), Some(7));
        assert!(!PodFacts::of(&held).expect("ours").leaves_words_out());
        assert_eq!(revision(PodFacts::of(&released)), None);
        assert!(PodFacts::of(&released).expect("ours").leaves_words_out());
        assert_eq!(revision(PodFacts::with_words(&released)), Some(7));
    }

    #[test]
    fn the_phase_is_the_pods_and_pending_when_there_is_none() {
        let phase = |phase: &str| facts(&json!({ "status": { "phase": phase } })).phase;
        assert_eq!(phase("Running"), PodPhase::Running);
        assert_eq!(phase("Succeeded"), PodPhase::Succeeded);
        assert_eq!(phase("Failed"), PodPhase::Failed);
        assert_eq!((phase("Pending"), phase("Unknown")), (PodPhase::Pending, PodPhase::Pending));
    }

    fn statuses() -> Value {
        let status = |name: &str, state: Value| json!({ "name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
        json!([
            status("side", json!({ "terminated": { "exitCode": 1 } })),
            status("work", json!({ "running": { "startedAt": "2026-11-24T10:00:00Z" } })),
        ])
    }

    #[test]
    fn the_main_container_is_the_marked_one_and_the_first_without_a_mark() {
        let marked = facts(&json!({ "status": { "containerStatuses": statuses() } }));
        assert!(matches!(marked.main, MainContainer::Running { .. }) && marked.has_main_run());
        let unmarked =
            facts(&json!({ "metadata": { "annotations": {} }, "status": { "containerStatuses": statuses() } }));
        assert!(matches!(unmarked.main, MainContainer::Ended(_)));
    }

    #[test]
    fn an_end_was_before_the_deletion_when_the_kubelet_knew_of_no_newer_pod() {
        let ended_before = |deleted: bool, phase: &str, seen: i64| {
            let mut metadata = json!({ "generation": 2 });
            if deleted {
                metadata["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
            }
            let status = json!({ "phase": phase, "observedGeneration": seen });
            facts(&json!({ "metadata": metadata, "status": status })).ended_before_deletion
        };
        assert_eq!((ended_before(true, "Failed", 1), ended_before(true, "Succeeded", 2)), (Some(true), Some(false)));
        assert_eq!((ended_before(false, "Failed", 1), ended_before(true, "Running", 1)), (None, None));
    }

    #[test]
    fn the_last_word_of_a_pod_is_missing_when_it_is_removed_or_ends_with_a_container_that_runs() {
        let lacks = |grace: i64, node: &str, phase: &str| {
            let mut spec = json!({ "containers": [{ "name": "work" }] });
            if !node.is_empty() {
                spec["nodeName"] = json!(node);
            }
            let metadata = json!({ "deletionTimestamp": "2026-11-24T10:00:00Z", "deletionGracePeriodSeconds": grace });
            let status = json!({ "phase": phase, "containerStatuses": statuses() });
            facts(&json!({ "metadata": metadata, "spec": spec, "status": status })).lacks_last_word()
        };
        assert!(lacks(0, "node-1", "Running") && lacks(0, "node-1", "Failed") && lacks(30, "node-1", "Failed"));
        assert!(!lacks(30, "node-1", "Running") && !lacks(0, "", "Running"));
    }

    #[test]
    fn a_node_is_silent_when_its_pod_is_called_unready_and_its_containers_are_ready() {
        let is_silent = |pod_is_ready: &str, is_ready: bool| {
            let status = json!({ "name": "work", "image": "", "imageID": "", "ready": is_ready, "restartCount": 0 });
            let called = json!({ "type": "Ready", "status": pod_is_ready });
            facts(&json!({ "status": { "containerStatuses": [status], "conditions": [called] } })).is_node_silent
        };
        assert!(is_silent("False", true) && is_silent("Unknown", true));
        assert!(!is_silent("False", false) && !is_silent("True", true));
        assert!(
            !facts(&json!({ "status": { "conditions": [{ "type": "Ready", "status": "False" }] } })).is_node_silent
        );
        assert!(facts(&json!({ "status": { "reason": "NodeLost" } })).is_node_silent);
    }

    #[test]
    fn the_epoch_is_no_time_at_which_a_container_started_or_ended() {
        let ended = |started: &str, finished: &str| {
            let state = json!({ "terminated": { "exitCode": 128, "startedAt": started, "finishedAt": finished } });
            let status = json!({ "name": "work", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
            match facts(&json!({ "status": { "containerStatuses": [status] } })).main {
                MainContainer::Ended(end) => (end.started_at.is_some(), end.finished_at.is_some()),
                other => panic!("{other:?}"),
            }
        };
        let (epoch, later) = ("1970-01-01T00:00:00Z", "2026-11-24T10:00:00Z");
        assert_eq!((ended(epoch, epoch), ended(epoch, later)), ((false, false), (false, true)));
        assert_eq!((ended(later, later), ended("1970-01-01T00:00:01Z", later)), ((true, true), (true, true)));
    }

    #[test]
    fn a_message_may_be_the_log_where_the_main_container_says_so_and_failed() {
        let may_be_log = |side: &str, work: &str, exit_code: i32| {
            let container = |name: &str, policy: &str| json!({ "name": name, "terminationMessagePolicy": policy });
            let state = json!({ "terminated": { "exitCode": exit_code } });
            let status = json!({ "name": "work", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state });
            let spec = json!({ "containers": [container("side", side), container("work", work)] });
            match facts(&json!({ "spec": spec, "status": { "containerStatuses": [status] } })).main {
                MainContainer::Ended(end) => end.may_be_log,
                other => panic!("{other:?}"),
            }
        };
        let (file, log) = ("File", "FallbackToLogsOnError");
        assert!(may_be_log(file, log, 1) && may_be_log(file, log, 75));
        assert!(!may_be_log(file, log, 0) && !may_be_log(log, file, 1));
    }

    #[test]
    fn containers_of_all_sorts_share_the_room_for_messages() {
        let status = json!({ "name": "work", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                             "state": { "terminated": { "exitCode": 0 } } });
        let named = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
        let spec = json!({ "containers": named(&["side", "work"]), "initContainers": named(&["fetch", "proxy"]),
                           "ephemeralContainers": named(&["debugger"]) });
        match facts(&json!({ "spec": spec, "status": { "containerStatuses": [status] } })).main {
            MainContainer::Ended(end) => assert_eq!(end.containers, 5),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_memory_limit_is_the_main_containers() {
        let limited =
            |name: &str, memory: &str| json!({ "name": name, "resources": { "limits": { "memory": memory } } });
        let containers = json!([limited("side", "1Gi"), limited("work", "100Mi")]);
        let memory = |changes: &Value| facts(changes).memory.map(|memory| memory.to_string());
        assert_eq!(memory(&json!({ "spec": { "containers": containers } })).as_deref(), Some("100Mi"));
        let unmarked = json!({ "metadata": { "annotations": {} }, "spec": { "containers": containers } });
        assert_eq!(memory(&unmarked).as_deref(), Some("1Gi"));
        assert_eq!(memory(&json!({})), None);
    }

    #[test]
    fn conditions_are_kept_of_pods_that_end_and_of_no_others() {
        let condition = json!([{ "type": "A", "status": "True", "reason": "r" }, { "type": "B", "status": "False" }]);
        let kept = |changes: &Value| {
            let conditions = facts(changes).conditions;
            conditions.into_iter().map(|one| [one.type_, one.status, one.reason].join(" ")).collect::<Vec<_>>()
        };
        for phase in ["Failed", "Succeeded"] {
            let ended = json!({ "status": { "phase": phase, "conditions": condition } });
            assert_eq!(kept(&ended), ["A True r", "B False "]);
        }
        let leaving = json!({ "metadata": { "deletionTimestamp": "2026-11-24T10:00:00Z" },
                              "status": { "phase": "Running", "conditions": condition } });
        assert_eq!(kept(&leaving), ["A True r", "B False "]);
        assert!(kept(&json!({ "status": { "phase": "Running", "conditions": condition } })).is_empty());
    }
}
