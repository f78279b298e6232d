//! A small cluster in memory: one task, its pods, a scheduler and a kubelet, an operator that may crash after any
//! write and may plan from old readings. Everything is drawn from a seed; time jumps.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use longtask::{
    api::task::{LongTask, LongTaskStatus, Phase},
    task::plan::{
        Cause, ContainerEnd, CurrentPod, Deletion, Disruption, MainContainer, Observed, Plan, PodFacts, PodPhase,
        Refusal, Step, Wake, plan,
    },
};
use serde_json::json;

use crate::kstatus::breach;

/// The program is done when its checkpoint has come to this.
const WORK: i64 = 300;
/// After that many steps the cluster leaves the task in peace.
const TROUBLED_STEPS: usize = 120;

/// Draws from a seed (SplitMix64).
pub(crate) struct Dice(u64);

impl Dice {
    fn throw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `n`.
    pub(crate) fn below(&mut self, n: u64) -> i64 {
        i64::try_from(self.throw() % n).unwrap_or(0)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A pod and what goes on inside.
#[derive(Clone, Debug)]
struct SimPod {
    facts: PodFacts,
    /// The program's position when it started.
    from: i64,
    /// When the scheduler or the kubelet does its next thing.
    due: i64,
    /// When the program was told to stop; its answer comes later.
    told: Option<i64>,
    /// When it crashes, if it does.
    crashes_at: Option<i64>,
    exits_on_stop_with: i32,
    has_sidecar: bool,
    /// Whether somebody had deleted it when its main container ended.
    knew_of_deletion: bool,
    node_is_dead: bool,
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) now: i64,
    pub(crate) task: LongTask,
    version: usize,
    /// Every version of the task that was, and the pods as they were then.
    readings: Vec<(Arc<LongTask>, Vec<Arc<PodFacts>>)>,
    pods: BTreeMap<String, SimPod>,
    dice: Dice,
    steps: usize,
    created: Vec<i64>,
    counted: Vec<i64>,
    /// Whether the program has ever reached its end.
    is_work_done: bool,
    pub(crate) writes: usize,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

impl Cluster {
    /// A cluster with a fresh task.
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let jitter = ["None", "Equal", "Full", "Additive"][usize::try_from(dice.below(4)).unwrap_or(0)];
        let spec = json!({
            "segment": { "duration": format!("{}s", 20 + dice.below(100)), "gracePeriod": "10s", "startTimeout": "60s" },
            "retry": { "budgets": { "failures": -1, "stalls": -1, "startFailures": -1 }, "backoff": { "jitter": jitter } },
            "podHistoryLimit": 1 + dice.below(3),
            "template": { "spec": { "containers": [{ "name": "main" }] } },
        });
        let task: LongTask = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "spec": spec,
            "metadata": { "name": "t", "namespace": "n", "uid": "task-uid", "generation": 1 },
        }))
        .expect("a task");
        let readings = vec![(Arc::new(task.clone()), vec![])];
        let (now, version, steps) = (1_795_000_000, 0, 0);
        let pods = BTreeMap::new();
        let (created, counted) = (vec![], vec![]);
        Self { now, task, version, readings, pods, dice, steps, created, counted, is_work_done: false, writes: 0 }
    }

    /// The status, or none yet.
    pub(crate) fn status(&self) -> LongTaskStatus {
        self.task.status.clone().unwrap_or_default()
    }

    /// Whether the task has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.status().phase.is_some_and(Phase::is_terminal)
    }

    /// Something happens, the operator looks, time goes on.
    pub(crate) fn step(&mut self) {
        self.steps += 1;
        if self.steps < TROUBLED_STEPS {
            self.make_trouble();
        } else if self.task.spec.suspend {
            self.edit(|task| task.spec.suspend = false);
        }
        self.run_pods();
        let wake = self.operate();
        let next_event = self.pods.values().map(|pod| pod.due).filter(|due| *due > self.now).min();
        let wake = if let Wake::At(time) = wake { Some(time.as_second()) } else { None };
        let next = next_event.into_iter().chain(wake).min().unwrap_or(self.now + 600);
        self.now = if self.dice.one_in(4) { self.now + 1 } else { next.max(self.now + 1) };
    }

    /// The plan for what is so now, not carried out.
    pub(crate) fn plan_now(&self) -> Plan {
        let pods = self.facts();
        plan(&self.observe(&self.task, &pods, None), at(self.now))
    }

    /// Somebody deletes all pods of the task.
    pub(crate) fn delete_pods(&mut self) {
        let names: Vec<_> = self.pods.keys().cloned().collect();
        for name in names {
            self.delete(&name);
        }
    }

    fn facts(&self) -> Vec<Arc<PodFacts>> {
        let mut facts: Vec<_> = self.pods.values().map(|pod| Arc::new(pod.told_facts())).collect();
        facts.sort_by_key(|pod| pod.attempt);
        facts
    }

    /// The pods may be old, the look-up of one that is not among them is not.
    fn observe<'a>(&self, task: &'a LongTask, pods: &[Arc<PodFacts>], refusal: Option<Refusal>) -> Observed<'a> {
        let mut seen = Observed::of(task, "task-uid", pods.to_vec());
        let attempt = task.status.as_ref().and_then(LongTaskStatus::live_attempt);
        if let (Some(attempt), CurrentPod::Gone) = (attempt, &seen.current) {
            let live = self.pods.get(&attempt.pod_name).map(|pod| Arc::new(pod.told_facts()));
            seen.current = live.filter(|pod| pod.is_of(attempt)).map_or(CurrentPod::Gone, CurrentPod::Found);
        }
        seen.refusal = refusal;
        seen
    }

    /// One look of the operator: mostly at what is, sometimes at what was.
    fn operate(&mut self) -> Wake {
        let newest = self.readings.len() - 1;
        let back = if self.dice.one_in(6) { usize::try_from(self.dice.below(4)).unwrap_or(0) } else { 0 };
        let version = newest.saturating_sub(back);
        let (task, old_pods) = self.readings[version].clone();
        let pods = if back > 0 { old_pods } else { self.facts() };
        let planned = plan(&self.observe(&task, &pods, None), at(self.now));
        let wake = planned.wake;
        match self.execute(version, planned) {
            None => wake,
            Some(refusal) => {
                let (task, pods) = (self.task.clone(), self.facts());
                let planned = plan(&self.observe(&task, &pods, Some(refusal)), at(self.now));
                let wake = planned.wake;
                let version = self.version;
                self.execute(version, planned);
                wake
            }
        }
    }

    /// Status first, and only onto the version that was read; then the steps. A crash may come after any of them.
    fn execute(&mut self, version: usize, plan: Plan) -> Option<Refusal> {
        if let Some(status) = plan.status {
            if version != self.version {
                return None;
            }
            self.write(&status);
        }
        let mut refusal = None;
        for step in plan.steps {
            if self.steps < TROUBLED_STEPS && self.dice.one_in(12) {
                return None;
            }
            match step {
                Step::CreatePod(pod) => refusal = self.create(&pod),
                Step::LowerDeadline { pod, seconds } => {
                    if let Some(pod) = self.pods.get_mut(&pod.name).filter(|sim| sim.facts.uid == pod.uid) {
                        // Raising is refused.
                        let current = pod.facts.active_deadline.unwrap_or(i64::MAX);
                        pod.facts.active_deadline = Some(seconds.min(current));
                    }
                }
                Step::DeletePod(pod) => self.delete(&pod.name),
                Step::CreateClaim(_) | Step::DeleteClaim(_) => panic!("no task here has claims"),
                Step::DeleteTask => panic!("no task here has a time to live"),
                Step::FillIn(_) => panic!("every task here has its definition"),
                Step::RestoreLabel(_) => panic!("nobody takes labels off"),
                Step::ReturnQuota(_) => panic!("no task here has quota"),
                Step::ReleasePod(pod) => {
                    if let Some(pod) = self.pods.get_mut(&pod.name).filter(|sim| sim.facts.uid == pod.uid) {
                        pod.facts.has_finalizer = false;
                    }
                }
            }
        }
        refusal
    }

    fn write(&mut self, status: &LongTaskStatus) {
        let before = self.status();
        let written = serde_json::to_string(status).expect("a status");
        self.task.status = serde_json::from_str(&written).expect("the same status");
        self.judge_write(&before, status);
        if before != *status {
            self.writes += 1;
            self.remember();
        }
    }

    fn remember(&mut self) {
        self.readings.push((Arc::new(self.task.clone()), self.facts()));
        self.version = self.readings.len() - 1;
    }

    fn judge_write(&mut self, before: &LongTaskStatus, after: &LongTaskStatus) {
        let number = |status: &LongTaskStatus| status.current_attempt.as_ref().map_or(0, |attempt| attempt.number);
        let sequence = |status: &LongTaskStatus| status.checkpoint.as_ref().map_or(0, |one| one.sequence);
        assert_eq!(breach(after, self.task.metadata.generation), None, "I16");
        assert!(number(after) >= number(before), "I2: numbers only grow");
        assert!(sequence(after) >= sequence(before), "I3: the checkpoint never goes back");
        if before.phase.is_some_and(Phase::is_terminal) {
            assert_eq!(before.phase, after.phase, "I6: terminal is terminal");
        }
        if after.totals.attempts != before.totals.attempts {
            let ended = after.recent_attempts.first().expect("an ended attempt").number;
            assert_eq!(after.totals.attempts, before.totals.attempts + 1, "I4: one at a time");
            assert!(!self.counted.contains(&ended), "I4: attempt {ended} is counted twice");
            self.counted.push(ended);
        }
        if after.phase == Some(Phase::Succeeded) {
            assert!(self.is_work_done, "succeeded without being done: {after:#?} {:#?}", self.pods);
        }
    }

    fn create(&mut self, pod: &Pod) -> Option<Refusal> {
        let name = pod.metadata.name.clone().expect("a name");
        if self.pods.contains_key(&name) {
            return None;
        }
        if self.steps < TROUBLED_STEPS && self.dice.one_in(20) {
            return Some(Refusal::Rejected(Cause { reason: "QuotaExceeded".into(), message: "no".into() }));
        }
        let mut pod = pod.clone();
        pod.metadata.uid = Some(format!("{name}-uid"));
        let mut facts = PodFacts::of(&pod).expect("a pod of ours");
        facts.creation_time = at(self.now);
        assert!(!self.created.contains(&facts.attempt), "I2: attempt {} is created twice", facts.attempt);
        self.created.push(facts.attempt);
        let recorded = self.status().checkpoint.and_then(|checkpoint| checkpoint.data?["n"].as_i64()).unwrap_or(0);
        let is_troubled = self.steps < TROUBLED_STEPS;
        let crashes = is_troubled && self.dice.one_in(4);
        let sim = SimPod {
            facts,
            from: recorded,
            due: self.now + self.dice.below(4),
            told: None,
            crashes_at: crashes.then(|| self.now + 5 + self.dice.below(60)),
            exits_on_stop_with: [0, 75, 143][usize::try_from(self.dice.below(3)).unwrap_or(0)],
            has_sidecar: self.dice.one_in(4),
            knew_of_deletion: false,
            node_is_dead: false,
        };
        self.pods.insert(name, sim);
        None
    }

    fn delete(&mut self, name: &str) {
        let now = self.now;
        let Some(pod) = self.pods.get_mut(name).filter(|pod| pod.facts.deletion.is_none()) else { return };
        let is_at_once = pod.facts.node.is_none() || pod.facts.is_terminal();
        let grace = if is_at_once { 0 } else { pod.facts.grace };
        pod.facts.deletion = Some(Deletion { at: at(now + grace), grace });
        pod.due = now;
    }

    fn edit(&mut self, change: impl FnOnce(&mut LongTask)) {
        change(&mut self.task);
        self.task.metadata.generation = self.task.metadata.generation.map(|generation| generation + 1);
        self.remember();
    }

    fn make_trouble(&mut self) {
        let newest = self.pods.keys().last().cloned();
        match (self.dice.below(40), newest) {
            (0, _) => self.edit(|task| task.spec.suspend = !task.spec.suspend),
            (1, _) => self.edit(|task| task.spec.pod_history_limit = 2),
            (2, Some(name)) => self.delete(&name),
            (3, Some(name)) => self.evict(&name),
            (4, Some(name)) => {
                // By force.
                let now = self.now;
                self.delete(&name);
                let pod = self.pods.get_mut(&name).expect("it is there");
                pod.facts.deletion = Some(Deletion { at: at(now), grace: 0 });
            }
            (5, Some(name)) => {
                self.delete(&name);
                self.pods.get_mut(&name).expect("it is there").node_is_dead = true;
            }
            _ => {}
        }
    }

    fn evict(&mut self, name: &str) {
        let now = at(self.now);
        let pod = self.pods.get_mut(name).expect("it is there");
        if !pod.facts.is_terminal() && pod.facts.disruption.is_none() {
            let reason = "EvictionByEvictionAPI".to_owned();
            pod.facts.disruption = Some(Disruption { reason, message: String::new(), at: now });
        }
        self.delete(name);
    }

    /// The scheduler and the kubelet.
    fn run_pods(&mut self) {
        let mut done = false;
        for pod in self.pods.values_mut().filter(|pod| !pod.facts.is_terminal()) {
            if pod.node_is_dead {
                // Somebody deletes the node in the end, and the garbage collector the pod.
                if self.dice.one_in(3) {
                    pod.facts.phase = PodPhase::Failed;
                    pod.facts.disruption.get_or_insert(Disruption {
                        reason: "DeletionByPodGC".into(),
                        message: String::new(),
                        at: at(self.now),
                    });
                }
                continue;
            }
            let is_fast = pod.due <= self.now;
            if is_fast {
                done |= run(pod, self.now, &mut self.dice);
            }
        }
        self.is_work_done |= done;
        let running = self.pods.values().filter(|pod| !pod.facts.is_terminal() && pod.is_running()).count();
        assert!(running <= 1, "I1: {running} pods run at once");
        self.pods.retain(|_, pod| {
            pod.facts.has_finalizer
                || pod.facts.deletion.is_none()
                || !(pod.facts.is_terminal() || pod.facts.node.is_none())
        });
    }
}

impl SimPod {
    /// The facts, with those that follow from others.
    fn told_facts(&self) -> PodFacts {
        let is_over = self.facts.is_terminal();
        let ended = self.facts.deletion.filter(|_| is_over).map(|_| !self.knew_of_deletion);
        let other_unended = (self.has_sidecar && !is_over).then(|| "sidecar".to_owned());
        PodFacts { ended_before_deletion: ended, other_unended, ..self.facts.clone() }
    }

    fn is_running(&self) -> bool {
        // A pod deleted by force is presumed dead.
        matches!(self.facts.main, MainContainer::Running { .. })
            && self.facts.deletion.is_none_or(|deletion| deletion.grace > 0)
    }

    fn position(&self, since: i64, now: i64) -> i64 {
        (self.from + (now - since)).min(WORK)
    }

    fn end(&mut self, since: i64, now: i64, exit_code: i32, is_done: bool) {
        let n = self.position(since, now);
        self.knew_of_deletion = self.facts.deletion.is_some();
        self.facts.main = MainContainer::Ended(ContainerEnd {
            exit_code,
            reason: if exit_code == 0 { "Completed" } else { "Error" }.into(),
            message: json!({ "checkpoint": { "n": n }, "done": is_done }).to_string(),
            may_be_log: false,
            containers: 1,
            started_at: Some(at(since)),
            finished_at: Some(at(now)),
        });
    }
}

/// Lets a pod go on; tells whether its program came to its end.
fn run(pod: &mut SimPod, now: i64, dice: &mut Dice) -> bool {
    pod.due = now + 1 + dice.below(5);
    let is_out_of_time = pod
        .facts
        .start_time
        .zip(pod.facts.active_deadline)
        .is_some_and(|(start, seconds)| start.as_second() + seconds <= now);
    let must_stop = pod.facts.deletion.is_some() || is_out_of_time;
    match &pod.facts.main {
        MainContainer::Waiting if pod.facts.node.is_none() => {
            if pod.facts.deletion.is_none() {
                pod.facts.node = Some("node-1".into());
                (pod.facts.start_time, pod.facts.scheduled_at) = (Some(at(now)), Some(at(now)));
            }
            false
        }
        MainContainer::Waiting if must_stop => {
            pod.facts.phase = PodPhase::Failed;
            false
        }
        MainContainer::Waiting => {
            (pod.facts.main, pod.facts.phase) = (MainContainer::Running { since: at(now) }, PodPhase::Running);
            false
        }
        MainContainer::Running { since } => {
            let since = since.as_second();
            if pod.position(since, now) == WORK {
                // Not every program says that it is done.
                let says_so = pod.told.is_some() || dice.one_in(2);
                pod.end(since, now, 0, says_so);
                return true;
            }
            if let Some(told) = pod.told {
                if told < now {
                    pod.end(since, now, pod.exits_on_stop_with, false);
                }
            } else if must_stop {
                pod.told = Some(now);
            } else if pod.crashes_at.is_some_and(|crash| crash <= now) {
                pod.end(since, now, 1, false);
            }
            false
        }
        MainContainer::Ended(end) => {
            let waits = pod.has_sidecar && !must_stop;
            let is_long_ago = end.finished_at.is_some_and(|ended| ended.as_second() + 8 <= now);
            if !waits || (must_stop && is_long_ago) {
                let is_well = end.exit_code == 0 && !is_out_of_time;
                pod.facts.phase = if is_well { PodPhase::Succeeded } else { PodPhase::Failed };
                if is_out_of_time {
                    pod.facts.words = Some(Cause { reason: "DeadlineExceeded".into(), message: String::new() });
                }
                if pod.facts.deletion.is_some() {
                    pod.facts.deletion = Some(Deletion { at: at(now), grace: 0 });
                }
            }
            false
        }
    }
}
