//! What is known when a plan is made: the task, and the few facts about its pods that decide.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Pod, PodCondition, PodStatus};

use super::{kubelet, time::after};
use crate::api::{CurrentAttempt, LongTask, MemorySize, labels};

/// Everything that a plan is made from, beside the time.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The task as last read. It may be stale: every status write carries its resourceVersion, so that a plan made
    /// from an old reading is refused by the API server.
    pub task: &'a LongTask,
    /// The task's UID; empty only for an object that was never stored.
    pub uid: &'a str,
    /// The pods that carry the task's name and UID as labels and are owned by it, in the order of their attempts.
    pub pods: Vec<Arc<PodFacts>>,
    /// The pods of an earlier task of the same name; a live read confirmed that it is gone.
    pub foreign: Vec<Arc<PodFacts>>,
    /// The pod of the attempt under way; `Gone` was confirmed by a live read.
    pub current: Sight,
    /// What the API server answered to the create that was just tried.
    pub refusal: Option<Refusal>,
}

/// Whether the pod of the attempt under way exists.
#[derive(Clone, Debug)]
pub enum Sight {
    /// No attempt is under way.
    NotAsked,
    /// It exists.
    Seen(Arc<PodFacts>),
    /// It does not.
    Gone,
}

/// Why a pod could not be created. No attempt, and no budget burnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The API server refuses it: invalid, over quota, against a policy.
    Rejected(Words),
    /// A pod of an earlier task has the name and is being deleted.
    NameOfGoingPod,
    /// Another live object's pod has the name.
    NameTaken,
}

/// A reason in one word and a message, as the cluster put them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// One word, such as `Unschedulable`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

/// A pod, reduced to what decides.
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// The UID of the task in its label.
    pub task_uid: String,
    /// The UID of its controlling owner.
    pub owner_uid: Option<String>,
    /// The number of the attempt in its label.
    pub attempt: i64,
    /// Whether it is held for its outcome to be recorded.
    pub has_finalizer: bool,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// Pending, running or ended.
    pub phase: PodPhase,
    /// The pod's own reason and message, such as `DeadlineExceeded` or `OutOfcpu`.
    pub words: Option<Words>,
    /// Whether the kubelet turned it away, before it made a container or when it asked again.
    pub is_turned_away: bool,
    /// When the kubelet first saw it; its deadline counts from here.
    pub start_time: Option<Timestamp>,
    /// `spec.activeDeadlineSeconds`
    pub active_deadline: Option<i64>,
    /// The generation of the task from which it was made.
    pub generation: Option<i64>,
    /// The duration of the segment that it was made for, in seconds.
    pub segment_seconds: Option<i64>,
    /// `spec.terminationGracePeriodSeconds`
    pub grace: i64,
    /// Set when somebody deleted it.
    pub deletion: Option<Deletion>,
    /// The condition `DisruptionTarget`.
    pub disruption: Option<Disruption>,
    /// All conditions of a pod that is on its way out or has ended; the many that run need not keep theirs in memory.
    pub conditions: Vec<ConditionFacts>,
    /// The memory limit of its main container.
    pub memory: Option<MemorySize>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was bound to a node.
    pub scheduled_at: Option<Timestamp>,
    /// Why it is not bound: `Unschedulable` or `SchedulingGated`, with the scheduler's message.
    pub unscheduled: Option<Words>,
    /// What keeps its containers from starting, such as `ErrImagePull`.
    pub trouble: Option<Words>,
    /// Which init container failed.
    pub failed_init: Option<Words>,
    /// The main container.
    pub main: MainContainer,
}

/// A pod's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PodPhase {
    /// Not all containers have started.
    Pending,
    /// Containers run.
    Running,
    /// All ended well.
    Succeeded,
    /// Ended, not all well.
    Failed,
}

/// A deletion in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// When the API server would remove it at the latest.
    pub at: Timestamp,
    /// The seconds granted; the kubelet sets 0 when all containers have ended.
    pub grace: i64,
}

/// The condition `DisruptionTarget`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disruption {
    /// Such as `EvictionByEvictionAPI`.
    pub reason: String,
    /// The cluster's words.
    pub message: String,
    /// When it became true.
    pub at: Timestamp,
}

/// A condition, reduced to what a rule can match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionFacts {
    /// Such as `DisruptionTarget`.
    pub type_: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Such as `EvictionByEvictionAPI`; empty when there is none.
    pub reason: String,
    /// When its status became what it is.
    pub changed_at: Option<Timestamp>,
}

/// The state of the main container.
#[derive(Clone, Debug, PartialEq)]
pub enum MainContainer {
    /// It has not started.
    Waiting,
    /// It runs.
    Running {
        /// Since when.
        since: Timestamp,
    },
    /// It has ended.
    Ended(ContainerEnd),
}

/// How a container ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerEnd {
    /// The exit code.
    pub exit_code: i32,
    /// The runtime's reason, such as `Error` or `OOMKilled`.
    pub reason: String,
    /// The termination message: the report.
    pub message: String,
    /// When it started; none when it never ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Observed<'_> {
    /// Whether somebody deleted the task.
    pub fn is_task_going(&self) -> bool {
        self.task.metadata.deletion_timestamp.is_some()
    }

    /// The generation of the task's specification.
    pub fn generation(&self) -> i64 {
        self.task.metadata.generation.unwrap_or_default()
    }
}

impl PodFacts {
    /// The facts of a pod of ours; none when it does not carry our labels.
    pub fn of(pod: &Pod) -> Option<Self> {
        let labels = pod.metadata.labels.as_ref()?;
        let spec = pod.spec.as_ref();
        let nothing = PodStatus::default();
        let status = pod.status.as_ref().unwrap_or(&nothing);
        let scheduled = condition(status, "PodScheduled");
        let is_bound = scheduled.is_some_and(|condition| condition.status == "True");
        Some(Self {
            name: pod.metadata.name.clone()?,
            uid: pod.metadata.uid.clone()?,
            task_uid: labels.get(labels::TASK_UID)?.clone(),
            attempt: labels.get(labels::ATTEMPT)?.parse().ok()?,
            owner_uid: controller_uid(pod),
            has_finalizer: has_outcome_finalizer(pod),
            node: spec.and_then(|spec| spec.node_name.clone()),
            phase: phase(status),
            words: words(status.reason.as_ref(), status.message.as_ref()),
            is_turned_away: kubelet::has_turned_away(status),
            start_time: status.start_time.as_ref().map(|time| time.0),
            active_deadline: spec.and_then(|spec| spec.active_deadline_seconds),
            generation: annotation(pod, labels::GENERATION).and_then(|generation| generation.parse().ok()),
            segment_seconds: annotation(pod, labels::SEGMENT_SECONDS).and_then(|seconds| seconds.parse().ok()),
            grace: spec.and_then(|spec| spec.termination_grace_period_seconds).unwrap_or(30),
            deletion: deletion(pod),
            disruption: disruption(status),
            conditions: conditions(pod, status),
            memory: memory_limit(pod),
            created_at: pod.metadata.creation_timestamp.as_ref().map(|time| time.0).unwrap_or_default(),
            scheduled_at: scheduled.filter(|_| is_bound).and_then(turned_at),
            unscheduled: scheduled
                .filter(|_| !is_bound)
                .and_then(|condition| words(condition.reason.as_ref(), condition.message.as_ref())),
            trouble: trouble(status),
            failed_init: status.init_container_statuses.iter().flatten().find_map(failed_init_container),
            main: main_container(pod, status),
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

    /// Whether its main container has ever run, as far as the pod tells.
    pub fn has_main_run(&self) -> bool {
        match &self.main {
            MainContainer::Waiting => false,
            MainContainer::Running { .. } => true,
            MainContainer::Ended(end) => end.started_at.is_some(),
        }
    }

    /// Whether it is the pod of this attempt, and not one that took its name.
    pub fn is_of(&self, attempt: &CurrentAttempt) -> bool {
        self.name == attempt.pod_name && attempt.pod_uid.as_ref().is_none_or(|uid| *uid == self.uid)
    }
}

fn annotation<'a>(pod: &'a Pod, name: &str) -> Option<&'a String> {
    pod.metadata.annotations.as_ref()?.get(name)
}

fn controller_uid(pod: &Pod) -> Option<String> {
    let owners = pod.metadata.owner_references.as_ref()?;
    owners.iter().find(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone())
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

fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

fn turned_at(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

fn disruption(status: &PodStatus) -> Option<Disruption> {
    let condition = condition(status, "DisruptionTarget").filter(|condition| condition.status == "True")?;
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
    let containers = &pod.spec.as_ref()?.containers;
    let main = match main_name(pod) {
        Some(name) => containers.iter().find(|container| container.name == *name),
        None => containers.first(),
    };
    main?.resources.as_ref()?.limits.as_ref()?.get("memory")?.try_into().ok()
}

fn words(reason: Option<&String>, message: Option<&String>) -> Option<Words> {
    reason
        .filter(|reason| !reason.is_empty())
        .map(|reason| Words { reason: reason.clone(), message: message.cloned().unwrap_or_default() })
}

/// The first container that waits for something to be mended.
fn trouble(status: &PodStatus) -> Option<Words> {
    let init = status.init_container_statuses.iter().flatten();
    init.chain(status.container_statuses.iter().flatten())
        .filter_map(|container| container.state.as_ref()?.waiting.as_ref())
        .filter_map(|waiting| words(waiting.reason.as_ref(), waiting.message.as_ref()))
        .find(|words| !kubelet::is_in_progress(&words.reason))
}

fn failed_init_container(container: &ContainerStatus) -> Option<Words> {
    let ended = container.state.as_ref()?.terminated.as_ref().filter(|ended| ended.exit_code != 0)?;
    let said = ended.message.as_deref().unwrap_or_default().trim();
    let colon = if said.is_empty() { "" } else { ": " };
    Some(Words {
        reason: "InitContainerFailed".into(),
        message: format!("init container {} ended with exit code {}{colon}{said}", container.name, ended.exit_code),
    })
}

/// The container that the operator marked as the main one when it made the pod.
fn main_name(pod: &Pod) -> Option<&String> {
    annotation(pod, labels::DEFAULT_CONTAINER)
}

fn main_container(pod: &Pod, status: &PodStatus) -> MainContainer {
    let mut containers = status.container_statuses.iter().flatten();
    let main = match main_name(pod) {
        Some(name) => containers.find(|container| container.name == *name),
        None => containers.next(),
    };
    main.and_then(|container| container.state.as_ref()).map_or(MainContainer::Waiting, container_state)
}

fn container_state(state: &ContainerState) -> MainContainer {
    if let Some(ended) = &state.terminated {
        // A container that could not be started reports 1970 as its start.
        let started_at = ended.started_at.as_ref().map(|time| time.0).filter(|time| time.as_second() > 0);
        return MainContainer::Ended(ContainerEnd {
            exit_code: ended.exit_code,
            reason: ended.reason.clone().unwrap_or_default(),
            message: ended.message.clone().unwrap_or_default(),
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
                "annotations": { labels::DEFAULT_CONTAINER: "work" },
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
