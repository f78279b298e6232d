//! The scheduler, the kubelets and the garbage collector of pods.
//!
//! A pod's life goes on whether or not anybody can see it: the status in the API server is what the kubelet last told.

use serde_json::{Value, json};

use crate::{
    agent::AgentLife,
    judge::status_of,
    objects::{Kind, is_going, is_terminal},
    program::{End, Program, Start},
    restoring::RestoreLife,
    world::{Event, World, second_of},
};

/// How long the phase takes to follow the last container, in milliseconds.
const PHASE_LAG: u64 = 1100;
/// The shortest time from SIGTERM to SIGKILL, in milliseconds.
pub(crate) const SHORTEST_GRACE: u64 = 2000;
/// How long an agent takes to start, in milliseconds: before the program does.
const AGENT_STARTS_AFTER: u64 = 150;

/// A pod as it is, not as it is told.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Debug)]
pub(crate) struct PodLife {
    pub(crate) name: String,
    pub(crate) task_uid: String,
    pub(crate) attempt: i64,
    pub(crate) node: Node,
    pub(crate) main: Main,
    pub(crate) stop: Option<Stop>,
    pub(crate) program: Program,
    /// The agent beside the program, if the pod was made with one.
    pub(crate) agent: Option<AgentLife>,
    /// The container that restores before it, if its task has a store.
    pub(crate) restore: Option<RestoreLife>,
    pub(crate) grace: u64,
    /// When the kubelet saw it first.
    start_time: Option<u64>,
    seen: Seen,
    phase: &'static str,
    reason: Option<&'static str>,
    pub(crate) is_evicted: bool,
    /// Whether the end of the main container has been told to the API server.
    pub(crate) is_end_told: bool,
    /// Whether that came after the end of the pod.
    pub(crate) was_told_late: bool,
    /// Whether nobody heard of its kubelet for a while.
    pub(crate) was_away: bool,
    /// Whether the whole of its end was told before its kubelet knew of any deletion.
    pub(crate) is_end_told_first: bool,
    /// How many pods there were before.
    pub(crate) serial: u64,
}

/// What the kubelet knows of the pod's object.
#[derive(Clone, Debug, Default)]
struct Seen {
    is_gone: bool,
    deletion_grace: Option<u64>,
    deadline: Option<u64>,
    /// None where pods have no generations.
    generation: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    /// All is well.
    Works,
    /// Its kubelet keeps pods to what it knows, and nobody hears of it.
    CutOff,
    /// Its kubelet is dead; containers run on.
    Down,
    /// The machine is gone.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Main {
    Waiting { ready_at: Option<u64> },
    Running { since: u64 },
    Ended(End),
}

/// Why and when a pod was told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    pub(crate) at: u64,
    pub(crate) by: StopCause,
    pub(crate) kill_at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StopCause {
    Deletion,
    Deadline,
    Eviction,
}

impl PodLife {
    pub(crate) fn is_running(&self) -> bool {
        matches!(self.main, Main::Running { .. })
    }

    pub(crate) fn is_over(&self) -> bool {
        self.phase == "Succeeded" || self.phase == "Failed"
    }

    /// Tells the pod to stop, or to hurry.
    fn told_to_stop(&mut self, now: u64, by: StopCause, grace: u64) {
        let kill_at = now + grace.max(SHORTEST_GRACE);
        match &mut self.stop {
            Some(stop) => stop.kill_at = stop.kill_at.min(kill_at),
            None => self.stop = Some(Stop { at: now, by, kill_at }),
        }
    }

    /// When its main container ends, as far as is known now, and whether by its own decision.
    pub(crate) fn main_ends_at(&self, since: u64) -> Option<(u64, bool)> {
        let own = self.program.ends_at(since).map(|at| (at, true));
        let Some(stop) = self.stop else { return own };
        let told = (stop.at + self.program.answers_after(since, stop.at)).min(stop.kill_at).max(since);
        own.filter(|(at, _)| *at < stop.at).or(Some((told, false)))
    }

    /// Whether its kubelet tells which generation of it it has seen.
    pub(crate) fn has_generations(&self) -> bool {
        self.seen.generation.is_some()
    }

    /// When its last container ends.
    fn containers_end_at(&self) -> Option<u64> {
        let regular = self.regular_end_at()?;
        match &self.agent {
            Some(agent) => agent.ended_at().map(|at| at.max(regular)),
            None => Some(regular),
        }
    }

    /// When the last of them ends that is no agent: only then is that told to.
    pub(crate) fn regular_end_at(&self) -> Option<u64> {
        let main = match &self.main {
            Main::Ended(end) => end.at,
            Main::Waiting { .. } => {
                let stop = self.stop.map(|stop| stop.at);
                return self.restore.as_ref().map_or(stop, |restore| restore.ends_pod_at(stop));
            }
            Main::Running { .. } => return None,
        };
        let is_alone = !self.program.has_sidecar || self.program.start == Start::NoSuchCommand;
        if is_alone {
            Some(main)
        } else {
            self.stop.map(|stop| main.max((stop.at + self.program.sidecar_takes).min(stop.kill_at)))
        }
    }

    /// The container beside the main one; none where there is none.
    fn sidecar_state(&self, now: u64, by_node: &impl Fn(u64) -> Value) -> Option<Value> {
        let since = match &self.main {
            Main::Waiting { .. } => return None,
            Main::Running { since } => Some(*since),
            Main::Ended(end) => end.since,
        };
        let since = since.filter(|_| self.program.has_sidecar)?;
        let is_told = |at: &u64| self.is_over() || (self.agent.is_some() && *at <= now);
        Some(match self.regular_end_at().filter(is_told) {
            Some(ended) => json!({ "terminated": {
                "exitCode": 0, "reason": "Completed", "startedAt": by_node(since), "finishedAt": by_node(ended),
            } }),
            None => json!({ "running": { "startedAt": by_node(since) } }),
        })
    }

    /// All that comes before the program has ended: the kubelet starts it, and the agent beside it.
    pub(crate) fn begin_program(&mut self, now: u64) {
        if let Some(agent) = &mut self.agent {
            agent.starts_at(now + AGENT_STARTS_AFTER);
        }
        self.main = match self.program.start {
            Start::After(delay) => Main::Waiting { ready_at: Some(now + delay) },
            Start::ImageMissing(until) => Main::Waiting { ready_at: until.map(|until| now + until) },
            Start::NoSuchCommand => Main::Waiting { ready_at: Some(now + 500) },
        };
    }

    fn deadline(&self) -> Option<u64> {
        Some(self.start_time? + self.seen.deadline? * 1000)
    }
}

impl World {
    pub(crate) fn pod_created(&mut self, uid: &str, pod: &Value) {
        let label = |name: &str| pod["metadata"]["labels"][name].as_str().unwrap_or_default().to_owned();
        let (task_uid, attempt) =
            (label("longtask.dev/task-uid"), label("longtask.dev/attempt").parse().expect("a number"));
        let variables = pod["spec"]["containers"][0]["env"].as_array().expect("variables");
        let task = self.store.all(Kind::Task).find(|task| task["metadata"]["uid"] == task_uid.as_str());
        // That of another attempt says nothing of this one: the create was late, or the status was written back in between.
        let is_of_attempt = |status: &longtask::api::task::LongTaskStatus| {
            status.current_attempt.as_ref().is_some_and(|current| current.number == attempt)
        };
        let status = task.map(status_of).filter(is_of_attempt);
        let restore = RestoreLife::of(pod, status.as_ref(), self.defect);
        let from = variables.iter().find(|variable| variable["name"] == "LONGTASK_CHECKPOINT").map_or(0, |variable| {
            let checkpoint: Value = serde_json::from_str(variable["value"].as_str().expect("text")).expect("JSON");
            // What is restored is known when that is done.
            if restore.is_some() { 0 } else { checkpoint["n"].as_u64().expect("a position") }
        });
        let misbehaves = self.dice.happens(self.weather.programs);
        let mut program = Program::draw(&mut self.dice, from, self.weather.work, misbehaves, self.is_peace);
        let luck = self.mail.draw_luck(self.is_peace);
        let agent = AgentLife::of(pod, luck);
        if agent.is_some() {
            program.speak_as(self.mail.draw_manner(self.is_peace), uid);
            program.stores = restore.is_some();
        }
        let program_is_late = program.is_last_word_late;
        let grace = pod["spec"]["terminationGracePeriodSeconds"].as_u64().unwrap_or(30) * 1000;
        let life = PodLife {
            name: pod["metadata"]["name"].as_str().expect("a name").to_owned(),
            task_uid,
            attempt,
            node: Node::Works,
            main: Main::Waiting { ready_at: None },
            stop: None,
            program,
            agent,
            restore,
            grace,
            start_time: None,
            seen: Seen::default(),
            phase: "Pending",
            reason: None,
            is_evicted: false,
            is_end_told: false,
            was_told_late: program_is_late,
            was_away: false,
            is_end_told_first: false,
            serial: self.lives.len() as u64,
        };
        self.judge_create(&life);
        self.judge_input(&life, pod);
        self.lives.insert(uid.to_owned(), life);
        let delay = self.dice.between(5, 1000);
        self.happen_in(delay, Event::Schedule(uid.to_owned()));
    }

    pub(crate) fn schedule(&mut self, uid: &str) {
        let Some(mut pod) = self.store.pod_by_uid(uid).cloned() else { return };
        if is_going(&pod) || pod["spec"]["nodeName"].is_string() {
            return;
        }
        let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
        let has_room = self.is_peace || !self.dice.happens(self.weather.programs / 5);
        let now = self.stamp();
        if has_room {
            pod["spec"]["nodeName"] = json!("node-1");
            pod["status"]["conditions"] =
                json!([{ "type": "PodScheduled", "status": "True", "lastTransitionTime": now }]);
        } else {
            pod["status"]["conditions"] = json!([{
                "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no room",
                "lastTransitionTime": now,
            }]);
            let delay = self.dice.between(2000, 60_000);
            self.happen_in(delay, Event::Schedule(uid.to_owned()));
        }
        self.tell("scheduler", if has_room { format!("binds {name}") } else { format!("finds no room for {name}") });
        let pod = self.put(Kind::Pod, &name, pod);
        self.nudge_kubelet(&pod);
    }

    /// Something about a pod has changed; its kubelet hears of it.
    pub(crate) fn nudge_kubelet(&mut self, pod: &Value) {
        let uid = pod["metadata"]["uid"].as_str().expect("a UID").to_owned();
        let delay = self.dice.between(5, 200);
        self.happen_in(delay, Event::Kubelet(uid));
    }

    pub(crate) fn sync_pod(&mut self, uid: &str) {
        let Some(mut life) = self.lives.remove(uid) else { return };
        if life.node != Node::Lost {
            let pod = self.store.pod_by_uid(uid).cloned();
            let shown = |life: &PodLife| {
                let restore = life.restore.as_ref().map(RestoreLife::shown);
                (life.main.clone(), life.phase, life.start_time, life.agent.as_ref().map(AgentLife::shown), restore)
            };
            let was_told = shown(&life);
            self.live_on(uid, &mut life, pod.as_ref());
            if was_told != shown(&life) {
                let lag = self.dice.between(5, 500);
                self.happen_in(lag, Event::Publish(uid.to_owned()));
            }
            if let Some(next) = self.next_look(&life) {
                self.happen_at(next, Event::Kubelet(uid.to_owned()));
            }
            self.finish_deletion(&life, pod.as_ref());
        }
        self.lives.insert(uid.to_owned(), life);
    }

    fn live_on(&mut self, uid: &str, life: &mut PodLife, pod: Option<&Value>) {
        let now = self.now();
        if life.node == Node::Works {
            life.seen = seen(pod);
            let is_bound = pod.is_some_and(|pod| pod["spec"]["nodeName"].is_string());
            if life.start_time.is_none() && is_bound {
                life.start_time = Some(now);
                match &mut life.restore {
                    Some(restore) => restore.starts_at(now),
                    None => life.begin_program(now),
                }
            }
        }
        if life.start_time.is_none() || life.is_over() {
            return;
        }
        if life.node != Node::Down {
            self.stop_if_due(life, now);
            self.keep_restore(uid, life, now);
        }
        if let Main::Waiting { ready_at: Some(ready_at) } = life.main
            && life.stop.is_none()
            && ready_at <= now
            && life.node != Node::Down
        {
            life.main = if life.program.start == Start::NoSuchCommand {
                let report = "exec: no such file".to_owned();
                Main::Ended(End {
                    since: None,
                    at: now,
                    code: 128,
                    reason: "StartError",
                    checkpoint: 0,
                    is_done: false,
                    is_own: true,
                    report,
                    last_line: None,
                })
            } else {
                Main::Running { since: now }
            };
            self.tell(
                "kubelet",
                format!("{}: {}", life.name, if life.is_running() { "main runs" } else { "start error" }),
            );
            self.judge_start(uid, life);
        }
        if let Main::Running { since } = life.main
            && let Some((at, is_own)) = life.main_ends_at(since).filter(|(at, _)| *at <= now)
        {
            let is_killed = life.stop.is_some_and(|stop| !is_own && stop.kill_at <= at);
            let end =
                if is_own { life.program.own_end(since, at) } else { life.program.stopped_end(since, at, is_killed) };
            let by = life.stop.filter(|_| !is_own).map(|stop| format!(" on {:?}", stop.by)).unwrap_or_default();
            self.tell("kubelet", format!("{}: main ends with {} at {}{by}", life.name, end.code, end.checkpoint));
            life.main = Main::Ended(end);
            life.speak_last();
        }
        if life.node != Node::Down {
            self.keep_agent(uid, life, now);
        }
        if life.containers_end_at().is_some_and(|ended| ended + PHASE_LAG <= now) && life.node != Node::Down {
            let is_well = matches!(&life.main, Main::Ended(end) if end.code == 0) && life.reason.is_none();
            life.phase = if is_well { "Succeeded" } else { "Failed" };
            self.tell("kubelet", format!("{}: {} {}", life.name, life.phase, life.reason.unwrap_or_default()));
        } else if life.is_running() {
            life.phase = "Running";
        }
    }

    fn stop_if_due(&mut self, life: &mut PodLife, now: u64) {
        let before = life.stop;
        if life.seen.is_gone {
            life.told_to_stop(now, StopCause::Deletion, 0);
        } else if let Some(grace) = life.seen.deletion_grace {
            let is_new = life.stop.is_none_or(|stop| now + grace.max(SHORTEST_GRACE) < stop.kill_at);
            if is_new {
                life.told_to_stop(now, StopCause::Deletion, grace);
            }
        }
        if life.is_evicted && life.reason.is_none() {
            life.reason = Some("Evicted");
            life.told_to_stop(now, StopCause::Eviction, 0);
        }
        // By the kubelet's own clock, and only while something runs.
        let all_ended = life.containers_end_at().is_some_and(|ended| ended <= now);
        if life.reason.is_none() && !all_ended && life.deadline().is_some_and(|deadline| deadline <= now) {
            life.reason = Some("DeadlineExceeded");
            life.told_to_stop(now, StopCause::Deadline, life.grace);
        }
        if before.is_none()
            && let Some(stop) = life.stop
        {
            self.tell("kubelet", format!("{}: SIGTERM by {:?}", life.name, stop.by));
        }
    }

    /// When something happens in a pod next.
    fn next_look(&self, life: &PodLife) -> Option<u64> {
        let now = self.now();
        let ready = match life.main {
            Main::Waiting { ready_at } => ready_at.filter(|_| life.stop.is_none()),
            Main::Running { since } => life.main_ends_at(since).map(|(at, _)| at),
            Main::Ended(_) => None,
        };
        let phase = life.containers_end_at().map(|at| at + PHASE_LAG).filter(|_| !life.is_over());
        let deadline = life.deadline().filter(|_| life.reason.is_none() && !life.is_over());
        let restore = life.restore.as_ref().and_then(RestoreLife::next).filter(|_| life.stop.is_none());
        [restore, ready, phase, deadline, life.next_of_agent()].into_iter().flatten().filter(|at| *at > now).min()
    }

    /// The kubelet's last delete, once the end is told.
    fn finish_deletion(&mut self, life: &PodLife, pod: Option<&Value>) {
        let Some(pod) = pod.filter(|pod| is_going(pod) && is_terminal(pod)) else { return };
        if life.node == Node::Works && pod["metadata"]["deletionGracePeriodSeconds"] != 0 {
            self.tell("kubelet", format!("{}: the last delete", life.name));
            self.delete_pod(&life.name, &json!({ "gracePeriodSeconds": 0 }));
        }
    }

    pub(crate) fn publish(&mut self, uid: &str) {
        let Some(mut life) = self.lives.remove(uid) else { return };
        let pod = self.store.pod_by_uid(uid).cloned();
        if let Some(mut pod) = pod.filter(|_| life.node == Node::Works) {
            let is_late = life.is_over() && std::mem::take(&mut life.program.is_last_word_late);
            let is_gone_for_good = is_terminal(&pod) && !life.is_over();
            if !is_gone_for_good {
                self.fill_in(&mut life, &mut pod, is_late);
                life.is_end_told_first = life.is_over() && life.is_end_told && life.seen.deletion_grace.is_none();
                let pod = self.put(Kind::Pod, &life.name.clone(), pod);
                if is_going(&pod) {
                    self.nudge_kubelet(&pod);
                }
            }
            if is_late {
                let delay = self.dice.between(200, 4000);
                self.happen_in(delay, Event::Publish(uid.to_owned()));
            }
        }
        self.lives.insert(uid.to_owned(), life);
    }

    fn fill_in(&self, life: &mut PodLife, pod: &mut Value, hides_end: bool) {
        let by_node = |at: u64| json!(second_of(at, self.weather.nodes_ahead));
        let is_initializing = life.restore.as_ref().is_some_and(|restore| !restore.is_followed());
        let state = match &life.main {
            Main::Waiting { .. } if is_initializing => json!({ "waiting": { "reason": "PodInitializing" } }),
            Main::Waiting { .. } => match life.program.start {
                Start::ImageMissing(_) => {
                    json!({ "waiting": { "reason": "ImagePullBackOff", "message": "no such image" } })
                }
                Start::After(_) | Start::NoSuchCommand => json!({ "waiting": { "reason": "ContainerCreating" } }),
            },
            Main::Running { since } => json!({ "running": { "startedAt": by_node(*since) } }),
            Main::Ended(End { since: Some(since), .. }) if hides_end => {
                json!({ "running": { "startedAt": by_node(*since) } })
            }
            Main::Ended(end) => {
                life.is_end_told = true;
                let started_at = end.since.map_or(json!("1970-01-01T00:00:00Z"), by_node);
                json!({ "terminated": {
                    "exitCode": end.code, "reason": end.reason, "message": end.report,
                    "startedAt": started_at, "finishedAt": by_node(end.at),
                } })
            }
        };
        let status = &mut pod["status"];
        status["phase"] = json!(life.phase);
        let container = |name: &str, state: &Value| {
            let is_ready = state["running"].is_object();
            json!({
                "name": name, "image": "i", "imageID": "", "ready": is_ready, "restartCount": 0, "state": state,
            })
        };
        let mut containers = vec![container("main", &state)];
        containers.extend(life.sidecar_state(self.now(), &by_node).map(|state| container("side", &state)));
        status["containerStatuses"] = json!(containers);
        if let Some(agent) = &mut life.agent {
            let restore = life.restore.as_ref().map(|restore| restore.status(&by_node));
            let init: Vec<_> = restore.into_iter().chain([agent.status(&by_node)]).collect();
            status["initContainerStatuses"] = json!(init);
        }
        set_ready(status, life.is_running(), &by_node(self.now()));
        if let Some(generation) = life.seen.generation {
            status["observedGeneration"] = json!(generation);
        }
        if let Some(start_time) = life.start_time {
            status["startTime"] = by_node(start_time);
        }
        if let Some(reason) = life.reason.filter(|_| life.is_over()) {
            status["reason"] = json!(reason);
            if reason == "Evicted" {
                disrupt(status, "TerminationByKubelet", &by_node(self.now()));
            }
        }
    }

    /// A kubelet, or the way to it, is well again.
    pub(crate) fn kubelet_back(&mut self, uid: &str) {
        let Some(life) = self.lives.get_mut(uid).filter(|life| life.node != Node::Lost) else { return };
        life.node = Node::Works;
        self.happen_in(0, Event::Kubelet(uid.to_owned()));
        self.happen_in(10, Event::Publish(uid.to_owned()));
    }

    /// The controller of nodes marks a pod whose kubelet it has not heard of for a while.
    pub(crate) fn call_node_silent(&mut self, uid: &str) {
        let is_silent = self.lives.get(uid).is_some_and(|life| life.node != Node::Works);
        let Some(mut pod) = self.store.pod_by_uid(uid).filter(|pod| is_silent && !is_terminal(pod)).cloned() else {
            return;
        };
        let (name, now) = (pod["metadata"]["name"].as_str().expect("a name").to_owned(), json!(self.stamp()));
        set_ready(&mut pod["status"], false, &now);
        self.put(Kind::Pod, &name, pod);
    }

    /// The kubelet of a node that is short of memory evicts the pod.
    pub(crate) fn evict_by_kubelet(&mut self, uid: &str) {
        if let Some(life) = self.lives.get_mut(uid) {
            life.is_evicted = true;
        }
        self.happen_in(0, Event::Kubelet(uid.to_owned()));
    }

    /// The pod garbage collector ends a pod whose node is gone.
    pub(crate) fn collect_lost(&mut self, uid: &str) {
        let Some(mut pod) = self.store.pod_by_uid(uid).cloned() else { return };
        let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
        if !is_terminal(&pod) {
            let now = json!(self.stamp());
            pod["status"]["phase"] = json!("Failed");
            disrupt(&mut pod["status"], "DeletionByPodGC", &now);
            self.put(Kind::Pod, &name, pod);
        }
        self.tell("podgc", format!("ends {name}, whose node is gone"));
        self.delete_pod(&name, &json!({ "gracePeriodSeconds": 0 }));
    }
}

/// How long the controller of nodes waits for a word of a kubelet, in milliseconds.
pub(crate) const NODE_GRACE: u64 = 50_000;

/// Sets the condition that says whether a pod is ready, once it is bound to a node.
fn set_ready(status: &mut Value, is_ready: bool, at: &Value) {
    let Some(conditions) = status.get_mut("conditions").and_then(Value::as_array_mut) else { return };
    let word = if is_ready { "True" } else { "False" };
    let known = conditions.iter_mut().find(|condition| condition["type"] == "Ready");
    if known.as_ref().is_some_and(|known| known["status"] == word) {
        return;
    }
    let ready = json!({ "type": "Ready", "status": word, "lastTransitionTime": at });
    match known {
        Some(known) => *known = ready,
        None => conditions.push(ready),
    }
}

/// Sets the condition that says why a pod was taken away.
pub(crate) fn disrupt(status: &mut Value, reason: &str, at: &Value) {
    let conditions = status["conditions"].as_array_mut().expect("a pod that was scheduled");
    // The garbage collector overwrites why, not since when.
    let known = conditions.iter_mut().find(|condition| condition["type"] == "DisruptionTarget");
    if let Some(known) = known.filter(|_| reason == "DeletionByPodGC") {
        known["reason"] = json!(reason);
    }
    if conditions.iter().all(|condition| condition["type"] != "DisruptionTarget") {
        conditions.push(json!({
            "type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": at,
        }));
    }
}

fn seen(pod: Option<&Value>) -> Seen {
    let Some(pod) = pod else { return Seen { is_gone: true, ..Seen::default() } };
    Seen {
        is_gone: false,
        deletion_grace: is_going(pod)
            .then(|| pod["metadata"]["deletionGracePeriodSeconds"].as_u64().unwrap_or(0) * 1000),
        deadline: pod["spec"]["activeDeadlineSeconds"].as_u64(),
        generation: pod["metadata"]["generation"].as_i64(),
    }
}
