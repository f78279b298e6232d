//! What is known when a plan is made: the task, and the few facts about its pods that decide.

use std::sync::Arc;

use jiff::Timestamp;
use kube::core::DynamicObject;

use super::steps::Step;
pub use crate::types::Cause;
use crate::{
    api::{
        parent::Parent,
        queue::Admission,
        task::{ConditionReason, LongTask, LongTaskStatus},
        template::LongTaskTemplate,
    },
    contract::{
        agent::{LastWord, RestoreWord, SaveReport},
        report::{Reader, Report, Via},
    },
    task::render::AgentConfig,
    types::MemorySize,
};

/// Everything that a plan is made from, beside the time.
#[derive(Clone, Debug)]
pub struct Observed<'a> {
    /// The task as last read. It may be stale: every status write carries its resourceVersion, so that a plan made
    /// from an old reading is refused by the API server.
    pub task: &'a LongTask,
    /// The task's UID; empty only for an object that was never stored.
    pub uid: &'a str,
    /// The pods that carry the task's name as a label and are owned by it, in the order of their attempts.
    pub pods: Vec<Arc<PodFacts>>,
    /// The pods of an earlier task of the same name; a live read confirmed that it is gone.
    pub foreign: Vec<Arc<PodFacts>>,
    /// The pod of the attempt under way; `Gone` was confirmed by a live read.
    pub current: CurrentPod,
    /// What the API server answered to the create that was just tried.
    pub refusal: Option<Refusal>,
    /// The other steps that were just tried, and that the API server refuses.
    pub refused_steps: Vec<RefusedStep>,
    /// Which creates that nobody waits for any more may still arrive at the API server.
    pub late_creates: LateCreates,
    /// What is known of agents and their reports.
    pub live: Live,
    /// The claims of the task's own that exist: read before a pod is created and once the task has succeeded, else none.
    pub claims: Vec<ClaimFacts>,
    /// The template of a task that is to be filled in. [`Self::task`] is then as the API server has it now.
    pub template: Template,
    /// What the task sees of the object that it is a part of; none for one that is part of nothing.
    pub parent: Option<Parent>,
    /// What the task sees of the queue that it names.
    pub admission: Admission,
}

/// The LongTaskTemplate of a task that is to be filled in.
#[derive(Clone, Debug, Default)]
pub enum Template {
    /// The task need not be filled in.
    #[default]
    NotAsked,
    /// The operator does not fill tasks in.
    Off,
    /// The API server has none of that name.
    Missing,
    /// It was read.
    Found(Box<TemplateReading>),
}

/// A task that is to be filled in and its template, as the API server has them, with all their fields.
#[derive(Clone, Debug)]
pub struct TemplateReading {
    /// The task.
    pub task: DynamicObject,
    /// The template.
    pub template: LongTaskTemplate,
}

/// A claim of a task's own, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimFacts {
    /// The claim's name.
    pub name: String,
    /// The claim's UID.
    pub uid: String,
    /// The UID of the task that it was made for, if it was made for one.
    pub task_uid: Option<String>,
    /// Whether somebody deleted it, and something keeps it still.
    pub is_being_deleted: bool,
}

/// What is known of agents and their reports.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// What agents are told; none where the operator was installed without an image for them.
    pub agent: Option<Arc<AgentConfig>>,
    /// Since when this operator has taken reports; none when it takes none.
    pub listening_since: Option<Timestamp>,
    /// The newest report of the pod of the attempt under way.
    pub report: Option<Arc<LiveReport>>,
    /// From when on the status may be written for that report, so that the writes for all tasks together are not too many;
    /// none: at any time.
    pub turn: Option<Timestamp>,
}

/// The newest word of a program that runs, as its agent posted it.
#[derive(Clone, Debug, PartialEq)]
pub struct LiveReport {
    /// Grows with everything new.
    pub revision: i64,
    /// When it came.
    pub receipt_time: Timestamp,
    /// For how many seconds the program had given no sign of life by then.
    pub silent_seconds: i64,
    /// For how many seconds it said that it would be silent, if it did.
    pub quiet_seconds: Option<i64>,
    /// When it reported its newest checkpoint.
    pub checkpoint_time: Option<Timestamp>,
    /// What it reported.
    pub report: Report,
    /// How it goes with the newest save, if the task has a store.
    pub save: Option<SaveReport>,
}

/// A step that the API server does not let happen: it was read again, and is not done.
#[derive(Clone, Debug, PartialEq)]
pub struct RefusedStep {
    /// The step; never a create.
    pub step: Step,
    /// The API server's own words.
    pub words: Cause,
}

/// Which creates may arrive late, from a request that was given up, or from an operator that led before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum LateCreates {
    /// None.
    #[default]
    None,
    /// Those of pods with these names: they had no certain answer.
    Of(Vec<String>),
    /// Any: another operator may have led a moment ago.
    Any,
}

impl LateCreates {
    /// Whether a pod of this name may still be created.
    pub fn may_be_of(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Of(names) => names.iter().any(|known| known == name),
            Self::Any => true,
        }
    }
}

/// Whether the pod of the attempt under way exists.
#[derive(Clone, Debug)]
pub enum CurrentPod {
    /// No attempt is under way.
    None,
    /// It exists.
    Found(Arc<PodFacts>),
    /// It does not.
    Gone,
}

/// Why a pod could not be created. No attempt, and no budget burnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The API server refuses it: invalid, over quota, against a policy.
    Rejected(Cause),
    /// A pod of an earlier task has the name and is being deleted.
    NameOfTerminatingPod,
    /// Another live object's pod has the name; what owns that pod, such as `StatefulSet db`.
    NameTaken(Option<String>),
    /// The API server refuses the claim of this name, which the pod mounts.
    ClaimRejected(String, Cause),
    /// The claim of this name, which the pod mounts, is not of this task, and the task's own are to be deleted with it.
    ClaimTaken(String),
    /// The claim of this name, which the pod mounts, is being deleted.
    ClaimGoing(String),
    /// The operator does not create it, since something is not configured that it needs.
    Withheld(Cause),
}

/// A pod, reduced to what decides.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact by itself")]
#[derive(Clone, Debug, PartialEq)]
pub struct PodFacts {
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// The UID of its task.
    pub task_uid: String,
    /// The UID of its controlling owner.
    pub owner_uid: Option<String>,
    /// The number of its attempt.
    pub attempt: i64,
    /// Whether it has the label by which the watch finds it.
    pub has_task_label: bool,
    /// Whether it is held for its outcome to be recorded.
    pub has_finalizer: bool,
    /// The node that it is bound to.
    pub node: Option<String>,
    /// Pending, running or ended.
    pub phase: PodPhase,
    /// The pod's own reason and message, such as `DeadlineExceeded` or `OutOfcpu`.
    pub words: Option<Cause>,
    /// Whether the kubelet turned it away, before it made a container or when it asked again.
    pub is_turned_away: bool,
    /// When the kubelet first saw it; its deadline counts from here.
    pub start_time: Option<Timestamp>,
    /// `spec.activeDeadlineSeconds`
    pub active_deadline: Option<i64>,
    /// The generation of the task from which it was made.
    pub generation: Option<i64>,
    /// What of the task's specification it was made from, as [`crate::task::render::template_hash`] tells it.
    pub template_hash: Option<String>,
    /// The memory that a rule had raised for it.
    pub raised_memory: Option<MemorySize>,
    /// The group in which it takes the place of the pod before, where Kueue gives quota to attempts that follow each other.
    pub pod_group: Option<String>,
    /// Whether it tells Kueue that no pod will take its place.
    pub returns_quota: bool,
    /// The duration of the segment that it was made for, in seconds.
    pub segment_seconds: Option<i64>,
    /// `spec.terminationGracePeriodSeconds`
    pub grace: i64,
    /// Set when somebody deleted it.
    pub deletion: Option<Deletion>,
    /// The condition `DisruptionTarget`, or Kueue's `TerminationTarget`.
    pub disruption: Option<Disruption>,
    /// All conditions of a pod that is on its way out or has ended; the many that run need not keep theirs in memory.
    pub conditions: Vec<ConditionFacts>,
    /// The memory limit of its main container.
    pub memory: Option<MemorySize>,
    /// When it was created.
    pub creation_time: Timestamp,
    /// When it was bound to a node.
    pub scheduled_at: Option<Timestamp>,
    /// Why it is not bound: `Unschedulable` or `SchedulingGated`, with the scheduler's message.
    pub unscheduled: Option<Cause>,
    /// What keeps its containers from starting, such as `ErrImagePull`.
    pub trouble: Option<Cause>,
    /// How far its start is, for as long as the main container has not started.
    pub start: Option<Start>,
    /// Which init container failed, and when.
    pub failed_init: Option<FailedInit>,
    /// Whether the kubelet reported its end before it knew that somebody had deleted it; none where the pod does not
    /// tell (before Kubernetes 1.35) or has not ended, or is not being deleted.
    pub ended_before_deletion: Option<bool>,
    /// A container beside the main one that keeps the pod from its end.
    pub other_unended: Option<String>,
    /// Whether the node's controller has marked it as not ready although its containers were: the node is silent.
    pub is_node_silent: bool,
    /// The main container.
    pub main: MainContainer,
    /// Whether the kubelet has lost track of the main container after it had run.
    pub is_main_lost: bool,
    /// The agent beside the program, if the pod has one.
    pub agent: Option<AgentFacts>,
}

/// The agent beside the program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentFacts {
    /// Whether it stores the checkpoints that the program names.
    pub has_store: bool,
    /// Whether nothing more comes of it: it has ended for good, and said its last word if it could, or it has never run.
    pub has_ended: bool,
    /// What it left behind when it ended last.
    pub last_word: Option<Arc<LastWord>>,
    /// Whether it has run again since, for all that is known.
    pub has_run_since: bool,
    /// What the container said that restores the checkpoint, once it has ended.
    pub restore: Option<Arc<RestoreWord>>,
}

/// How far the start of a pod is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Start {
    /// What comes next.
    pub stage: StartStage,
    /// Since when, as well as the pod tells.
    pub since: Timestamp,
}

/// What a pod that starts waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StartStage {
    /// No scheduler has said anything about it; the name of the one that should.
    Scheduler(String),
    /// It is bound to a node whose kubelet has said nothing about it.
    Kubelet,
    /// Its volumes, its network, its devices.
    Preparation,
    /// The container that restores the checkpoint, which runs.
    Restore,
    /// This init container, which runs.
    InitContainer(String),
    /// This sidecar, which runs and has not passed its startup probe.
    Sidecar(String),
    /// Its containers are being made: an image is pulled, or a postStart hook runs.
    Containers,
}

/// An init container that did not end well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedInit {
    /// Which, and how it ended.
    pub words: Cause,
    /// Its name.
    pub container: String,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
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

/// Why somebody takes the pod away.
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
    /// Whether the message may be the end of the log: the kubelet does not say.
    pub may_be_log: bool,
    /// How many containers its pod has, of all sorts: they share the room that the kubelet has for messages.
    pub containers: usize,
    /// When it started; none when it never ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Cause {
    /// Whether its reason is this one of ours.
    pub(super) fn is(&self, reason: ConditionReason) -> bool {
        self.reason == reason
    }
}

impl ContainerEnd {
    /// What the program reported in its termination message.
    pub fn report(&self) -> Report {
        let read = if self.may_be_log { Report::read_file_or_log } else { Report::read };
        read(&self.message, self.via())
    }

    /// What it reported, over what an agent has read before. Beside an agent, what may be the log is the log.
    pub(super) fn report_over(&self, before: Reader) -> Report {
        if self.may_be_log {
            let mut report = before.report();
            let said = [report.text.as_str(), self.message.trim()];
            report.text = said.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n");
            return report;
        }
        before.take_message(&self.message, self.via())
    }

    fn via(&self) -> Via {
        Via::TerminationMessage { containers: self.containers }
    }
}

impl<'a> Observed<'a> {
    /// A task with all the pods that it has, the pod of the attempt under way among them. Nothing was refused, and nothing
    /// can arrive late.
    pub fn of(task: &'a LongTask, uid: &'a str, pods: Vec<Arc<PodFacts>>) -> Self {
        let attempt = task.status.as_ref().and_then(LongTaskStatus::live_attempt);
        let current = attempt.map_or(CurrentPod::None, |attempt| {
            pods.iter()
                .find(|pod| pod.is_of(attempt))
                .map_or(CurrentPod::Gone, |pod| CurrentPod::Found(Arc::clone(pod)))
        });
        Self {
            task,
            uid,
            pods,
            foreign: Vec::new(),
            current,
            refusal: None,
            refused_steps: Vec::new(),
            late_creates: LateCreates::None,
            live: Live::default(),
            claims: Vec::new(),
            template: Template::NotAsked,
            parent: None,
            admission: Admission::NotAsked,
        }
    }

    /// All its pods that are known of; the one of the attempt under way too when no watch tells of it, since somebody has
    /// taken its label off.
    pub(super) fn known_pods(&self) -> impl Iterator<Item = &Arc<PodFacts>> {
        let current = match &self.current {
            CurrentPod::Found(pod) => Some(pod),
            CurrentPod::None | CurrentPod::Gone => None,
        };
        self.pods.iter().chain(current.filter(|pod| self.is_out_of_sight(pod)))
    }

    /// Whether no watch tells of a pod that was seen.
    pub(super) fn is_out_of_sight(&self, pod: &PodFacts) -> bool {
        self.pods.iter().all(|known| known.uid != pod.uid)
    }

    /// Whether somebody deleted the task.
    pub fn is_being_deleted(&self) -> bool {
        self.task.metadata.deletion_timestamp.is_some()
    }

    /// The generation of the task's specification.
    pub fn generation(&self) -> i64 {
        self.task.metadata.generation.unwrap_or_default()
    }
}
