//! A pod of the model cluster: the object itself, and what a scheduler, a kubelet and the program do to it.
//!
//! Nothing here judges. A pod gets the marks that a real one has at such an end, as measured on Kubernetes 1.37; what
//! they mean is the plan's to say.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::core::v1::{
        ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod,
        PodCondition, PodSpec, PodStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use serde_json::{Value, json};

use super::{
    agent::SimAgent,
    saves::Saves,
    script::{Edit, Fate, Word},
};
use crate::{
    api::labels,
    contract::{agent, env},
    task::plan::{LiveReport, PodFacts, PodRef, is_refusal},
    types::GoDuration,
};

/// How long a program runs when the script does not say, in seconds; less when its segment is not longer.
const USUAL_RUN: i64 = 60;
/// Exit code of a program that leaves at SIGTERM, and of one that is killed.
const TERMINATED: i32 = 143;
const KILLED: i32 = 137;
/// Nodes take turns.
const NODES: i64 = 3;

/// A pod, and how it is to end.
#[derive(Debug)]
pub(super) struct SimPod {
    object: Pod,
    fate: Fate,
    /// What the program has written by its end, or before it falls silent.
    report: String,
    /// When its fate comes true.
    due: Option<Timestamp>,
    agent: Option<SimAgent>,
    saves: Option<Saves>,
}

/// The moment that many seconds later.
pub(super) fn later(time: Timestamp, seconds: i64) -> Timestamp {
    time.checked_add(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MAX)
}

impl SimPod {
    /// The pod that was asked for: it finds a node at once, and its main container runs at once, if it ever does.
    pub(super) fn create(pod: Pod, word: &Word, fate: Fate, now: Timestamp) -> Self {
        let (agent, saves) = (SimAgent::of(&pod), Saves::of(&pod));
        let step = word.has_progress.then(|| last_step(&pod, saves.as_ref()).saturating_add(1));
        let report = report(word, &fate, step, saves.as_ref());
        let mut created = Self { object: pod, fate, report, due: None, agent, saves };
        created.bind(now);
        created.begin(word, now);
        created
    }

    /// The object reduced to what decides, as the operator does it.
    pub(super) fn facts(&self) -> Option<PodFacts> {
        PodFacts::of(&self.object)
    }

    /// Whether this is the pod that a step means.
    pub(super) fn is(&self, pod: &PodRef) -> bool {
        self.has_uid(&pod.uid)
    }

    /// Whether this is the pod with that UID.
    pub(super) fn has_uid(&self, uid: &str) -> bool {
        self.object.metadata.uid.as_deref() == Some(uid)
    }

    /// Whether its containers have ended for good.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase(), "Succeeded" | "Failed")
    }

    /// Whether the API server would have removed it.
    pub(super) fn is_gone(&self) -> bool {
        let meta = &self.object.metadata;
        self.is_over() && meta.deletion_timestamp.is_some() && meta.finalizers.as_ref().is_none_or(Vec::is_empty)
    }

    /// When something happens to it next, if nobody does anything.
    pub(super) fn next_moment(&self) -> Option<Timestamp> {
        if self.is_over() { None } else { [self.due, self.deadline()].into_iter().flatten().min() }
    }

    /// What its agent has told the operator last.
    pub(super) fn posted(&self) -> Option<Arc<LiveReport>> {
        self.agent.as_ref()?.posted.clone()
    }

    /// Since when its agent knows of no sign of life of the program.
    pub(super) fn silent_since(&self) -> Option<Timestamp> {
        self.agent.as_ref().filter(|_| !self.is_over())?.silent_since
    }

    /// Lowers its deadline; raising is refused.
    pub(super) fn lower_deadline(&mut self, seconds: i64) {
        let spec = self.spec();
        spec.active_deadline_seconds = Some(spec.active_deadline_seconds.map_or(seconds, |now| now.min(seconds)));
    }

    /// Drops the operator's finalizer.
    pub(super) fn release(&mut self) {
        self.object.metadata.finalizers = None;
    }

    /// Somebody deletes it: what runs has its grace, all else goes at once.
    pub(super) fn delete(&mut self, now: Timestamp) {
        if self.object.metadata.deletion_timestamp.is_none() {
            let grace = if self.is_over() { 0 } else { self.spec().termination_grace_period_seconds.unwrap_or(30) };
            self.set_deletion(later(now, grace), grace);
        }
    }

    /// Lets happen what is due. Tells what the user does, when that is it.
    pub(super) fn go_on(&mut self, now: Timestamp) -> Option<Edit> {
        let has_come = |moment: Option<Timestamp>| moment.is_some_and(|moment| moment <= now);
        if self.is_over() {
            return None;
        }
        let is_running = self.running_since().is_some();
        if let Some(agent) = self.agent.as_mut().filter(|_| is_running) {
            agent.post(&self.report, now);
        }
        if self.object.metadata.deletion_timestamp.is_some() {
            self.terminate(now);
            self.set_deletion(now, 0);
        } else if has_come(self.deadline()) {
            self.terminate(now);
            self.call("DeadlineExceeded", "Pod was active on the node longer than the specified deadline");
        } else if has_come(self.due) {
            self.due = None;
            return self.meet_fate(now);
        }
        None
    }

    fn bind(&mut self, now: Timestamp) {
        let meta = &mut self.object.metadata;
        meta.uid = meta.name.as_ref().map(|name| format!("{name}-uid"));
        meta.creation_timestamp = Some(Time(now));
        let attempt = meta.labels.as_ref().and_then(|labels| labels.get(labels::ATTEMPT)?.parse::<i64>().ok());
        let node = attempt.unwrap_or(1).saturating_sub(1).rem_euclid(NODES) + 1;
        self.spec().node_name = Some(format!("node-{node}"));
        let status = self.status();
        (status.phase, status.start_time) = (Some("Pending".into()), Some(Time(now)));
        self.add_condition(PodCondition { type_: "PodScheduled".into(), ..turned_true(now) });
    }

    fn begin(&mut self, word: &Word, now: Timestamp) {
        match &self.fate {
            Fate::Rejected => self.fail("OutOfcpu", "Node didn't have enough resource: cpu"),
            Fate::ImageMissing => self.wait("ErrImagePull", "the image could not be pulled"),
            Fate::ConfigMissing => self.wait("CreateContainerConfigError", "a secret or config map was not found"),
            Fate::NotExecutable => self.refuse_to_start(now),
            Fate::InitFailed => self.fail_in_init(now),
            Fate::Unreadable => self.restore(now),
            Fate::NotStarted(reason) => self.stay_out(&reason.to_string()),
            Fate::TimeLimit => self.run(now),
            Fate::Exit(_)
            | Fate::Error { .. }
            | Fate::OutOfMemory
            | Fate::StorageLimit
            | Fate::Hang
            | Fate::Evicted
            | Fate::UnderPressure
            | Fate::Preempted
            | Fate::Deleted
            | Fate::NodeLost
            | Fate::Unknown
            | Fate::Stopped(_) => {
                self.run(now);
                let seconds = word.after.map_or_else(|| self.usual_run(), GoDuration::as_secs);
                self.due = Some(later(now, seconds));
            }
        }
    }

    fn meet_fate(&mut self, now: Timestamp) -> Option<Edit> {
        match self.fate.clone() {
            Fate::Exit(code) => self.exit(code, now),
            Fate::Error { .. } => self.exit(1, now),
            Fate::OutOfMemory => self.end("OOMKilled", KILLED, now),
            Fate::StorageLimit => self.be_evicted_by_the_kubelet("its containers use too much local storage", now),
            Fate::Evicted => self.be_disrupted("EvictionByEvictionAPI", "Eviction API: evicting", now),
            Fate::Preempted => self.be_disrupted("PreemptionByScheduler", "default-scheduler: preempting", now),
            Fate::UnderPressure => {
                self.disrupt("TerminationByKubelet", "The node was low on resource: memory", now);
                self.be_evicted_by_the_kubelet("The node was low on resource: memory", now);
            }
            Fate::Deleted => self.delete(now),
            Fate::NodeLost => {
                // Nobody is left to tell how the container ended.
                self.disrupt("DeletionByPodGC", "PodGC: node no longer exists", now);
                self.set_phase("Failed");
                self.set_deletion(now, 0);
            }
            Fate::Unknown => self.lose_track(),
            Fate::Hang => {
                if let Some(agent) = &mut self.agent {
                    agent.silent_since = Some(now);
                }
            }
            Fate::Stopped(edit) => return Some(edit),
            // These come true without a moment of their own.
            Fate::TimeLimit
            | Fate::Rejected
            | Fate::ImageMissing
            | Fate::ConfigMissing
            | Fate::NotExecutable
            | Fate::InitFailed
            | Fate::Unreadable
            | Fate::NotStarted(_) => {}
        }
        self.go_on(now)
    }

    fn deadline(&self) -> Option<Timestamp> {
        let start = self.object.status.as_ref()?.start_time.as_ref()?.0;
        Some(later(start, self.object.spec.as_ref()?.active_deadline_seconds?))
    }

    /// A minute; where a segment is not longer, a second less than the segment.
    fn usual_run(&self) -> i64 {
        let segment = self.facts().and_then(|facts| facts.segment_seconds).unwrap_or(i64::MAX);
        USUAL_RUN.min(segment.saturating_sub(1)).max(1)
    }

    fn run(&mut self, now: Timestamp) {
        self.set_phase("Running");
        let running = ContainerStateRunning { started_at: Some(Time(now)) };
        self.set_main(ContainerState { running: Some(running), ..ContainerState::default() });
    }

    fn wait(&mut self, reason: &str, message: &str) {
        let waiting = ContainerStateWaiting { reason: Some(reason.into()), message: Some(message.into()) };
        self.set_main(ContainerState { waiting: Some(waiting), ..ContainerState::default() });
    }

    /// Refused at once, or kept waiting.
    fn stay_out(&mut self, reason: &str) {
        let message = "the cluster would say more";
        if is_refusal(reason) { self.fail(reason, message) } else { self.wait(reason, message) }
    }

    fn fail(&mut self, reason: &str, message: &str) {
        self.set_phase("Failed");
        self.call(reason, message);
    }

    fn refuse_to_start(&mut self, now: Timestamp) {
        self.set_phase("Failed");
        self.set_main(terminated(ContainerStateTerminated {
            exit_code: 128,
            reason: Some("StartError".into()),
            message: Some("exec: no such file or directory".into()),
            // The runtime's own mark of a container that never ran.
            started_at: Some(Time(Timestamp::UNIX_EPOCH)),
            finished_at: Some(Time(now)),
            ..ContainerStateTerminated::default()
        }));
    }

    fn fail_in_init(&mut self, now: Timestamp) {
        self.set_phase("Failed");
        let containers = self.object.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let mut names = containers.map(|container| container.name.clone());
        let is_ours = |name: &String| [agent::CONTAINER, agent::RESTORE_CONTAINER].contains(&name.as_str());
        let name = names.find(|name| !is_ours(name)).unwrap_or_else(|| "init".into());
        self.end_init(name, 1, None, now);
    }

    fn end_init(&mut self, name: String, exit_code: i32, message: Option<String>, now: Timestamp) {
        let end = ContainerStateTerminated {
            exit_code,
            message,
            started_at: Some(Time(now)),
            finished_at: Some(Time(now)),
            ..ContainerStateTerminated::default()
        };
        self.status().init_container_statuses = Some(vec![container(name, terminated(end))]);
    }

    /// The save that the status names cannot be read. Where it names none, there is nothing to read, and the program runs.
    fn restore(&mut self, now: Timestamp) {
        match self.saves.as_ref().and_then(Saves::unreadable) {
            Some((exit_code, message)) => {
                self.set_phase("Failed");
                self.end_init(agent::RESTORE_CONTAINER.into(), exit_code, Some(message), now);
            }
            None => self.run(now),
        }
    }

    /// The program leaves by itself.
    fn exit(&mut self, code: i32, now: Timestamp) {
        self.end(if code == 0 { "Completed" } else { "Error" }, code, now);
    }

    /// What runs of it is told to stop, and does so at once.
    fn terminate(&mut self, now: Timestamp) {
        self.end("Error", TERMINATED, now);
    }

    /// The pod ends, and the main container with it if that runs. Beside an agent, what it has written is the agent's to
    /// tell.
    fn end(&mut self, reason: &str, exit_code: i32, now: Timestamp) {
        let started_at = self.running_since();
        let report = started_at.as_ref().map(|_| self.report.clone());
        let (message, word) = if self.agent.is_some() {
            (None, report.map(|report| SimAgent::last_word(&report)))
        } else {
            (report, None)
        };
        if started_at.is_some() {
            self.set_main(terminated(ContainerStateTerminated {
                exit_code,
                reason: Some(reason.into()),
                message,
                started_at,
                finished_at: Some(Time(now)),
                ..ContainerStateTerminated::default()
            }));
        }
        self.end_agent(word);
        self.set_phase(if exit_code == 0 { "Succeeded" } else { "Failed" });
    }

    fn end_agent(&mut self, message: Option<String>) {
        if self.agent.is_some() {
            let end = ContainerStateTerminated { message, ..ContainerStateTerminated::default() };
            self.status().init_container_statuses = Some(vec![container(agent::CONTAINER.into(), terminated(end))]);
        }
    }

    fn be_evicted_by_the_kubelet(&mut self, message: &str, now: Timestamp) {
        self.end("Error", KILLED, now);
        self.call("Evicted", message);
    }

    /// Somebody wants its place, and deletes it.
    fn be_disrupted(&mut self, reason: &str, message: &str, now: Timestamp) {
        self.disrupt(reason, message, now);
        self.delete(now);
    }

    fn disrupt(&mut self, reason: &str, message: &str, now: Timestamp) {
        self.add_condition(PodCondition {
            type_: "DisruptionTarget".into(),
            reason: Some(reason.into()),
            message: Some(message.into()),
            ..turned_true(now)
        });
    }

    fn lose_track(&mut self) {
        self.set_phase("Failed");
        self.set_main(terminated(ContainerStateTerminated {
            exit_code: KILLED,
            reason: Some("ContainerStatusUnknown".into()),
            message: Some("The container could not be located when the pod was terminated".into()),
            ..ContainerStateTerminated::default()
        }));
    }

    fn running_since(&self) -> Option<Time> {
        let containers = self.object.status.as_ref()?.container_statuses.as_ref()?;
        containers.first()?.state.as_ref()?.running.as_ref()?.started_at.clone()
    }

    fn set_main(&mut self, state: ContainerState) {
        let annotations = self.object.metadata.annotations.as_ref();
        let name = annotations.and_then(|annotations| annotations.get(labels::DEFAULT_CONTAINER)).cloned();
        self.status().container_statuses = Some(vec![container(name.unwrap_or_default(), state)]);
    }

    fn set_deletion(&mut self, at: Timestamp, grace: i64) {
        let meta = &mut self.object.metadata;
        (meta.deletion_timestamp, meta.deletion_grace_period_seconds) = (Some(Time(at)), Some(grace));
    }

    fn set_phase(&mut self, phase: &str) {
        self.status().phase = Some(phase.into());
    }

    fn phase(&self) -> &str {
        self.object.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
    }

    /// The pod's own reason.
    fn call(&mut self, reason: &str, message: &str) {
        let status = self.status();
        (status.reason, status.message) = (Some(reason.into()), Some(message.into()));
    }

    fn add_condition(&mut self, condition: PodCondition) {
        self.status().conditions.get_or_insert_default().push(condition);
    }

    fn spec(&mut self) -> &mut PodSpec {
        self.object.spec.get_or_insert_default()
    }

    fn status(&mut self) -> &mut PodStatus {
        self.object.status.get_or_insert_default()
    }
}

/// The step in the checkpoint that the pod is given: the program counts on from there, as a real one would.
fn last_step(pod: &Pod, saves: Option<&Saves>) -> i64 {
    if let Some(step) = saves.and_then(Saves::last_step) {
        return step;
    }
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let variables = containers.flat_map(|container| container.env.iter().flatten());
    let checkpoint = variables.into_iter().find(|variable| variable.name == env::CHECKPOINT);
    let reported = checkpoint.and_then(|variable| serde_json::from_str::<Value>(variable.value.as_deref()?).ok());
    reported.and_then(|checkpoint| checkpoint["step"].as_i64()).unwrap_or(0)
}

/// What the program writes to its report file, one thing a line. An error lapses by later progress, so that is first.
fn report(word: &Word, fate: &Fate, step: Option<i64>, saves: Option<&Saves>) -> String {
    let checkpoint = |step| saves.map_or_else(|| json!({ "step": step }), |saves| saves.checkpoint(step));
    let progress = step.map(|step| json!({ "checkpoint": checkpoint(step), "progress": { "completed": step } }));
    let asked = word.asks_for.map(|delay| delay.to_string());
    let resume = asked.as_ref().map(|delay| json!({ "resumeAfter": delay }));
    let lines = [progress, error(fate, asked.as_deref()), resume];
    lines.into_iter().flatten().map(|line: Value| line.to_string()).collect::<Vec<_>>().join("\n")
}

fn error(fate: &Fate, retry_after: Option<&str>) -> Option<Value> {
    let (code, is_permanent) = match fate {
        Fate::Error { code, is_permanent } => (code.as_deref(), *is_permanent),
        _ if retry_after.is_some() => (None, false),
        _ => return None,
    };
    Some(json!({ "error": { "code": code, "permanent": is_permanent, "retryAfter": retry_after } }))
}

fn turned_true(now: Timestamp) -> PodCondition {
    PodCondition { status: "True".into(), last_transition_time: Some(Time(now)), ..PodCondition::default() }
}

fn terminated(end: ContainerStateTerminated) -> ContainerState {
    ContainerState { terminated: Some(end), ..ContainerState::default() }
}

fn container(name: String, state: ContainerState) -> ContainerStatus {
    ContainerStatus { name, state: Some(state), ..ContainerStatus::default() }
}
