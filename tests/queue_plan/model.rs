//! A model of a queue's world: one queue, a few tasks and their pods, two operators with readings of any age, writes by
//! compare-and-swap, requests that land late in any order, users who pause tasks, delete them and make them anew. The plans are the
//! real ones, of the queue and of its tasks.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    sync::Arc,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use longtask::{
    api::{
        queue::{Holder, TaskQueue, admission_of, short_uid},
        task::{LongTask, LongTaskStatus, Phase, TicketState},
    },
    queue::plan::{ObservedQueue, QueuedTask, plan as plan_queue, unknown_holders},
    task::plan::{LateCreates, Observed, Plan, PodFacts, Refusal, Step, plan as plan_task},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::dice::Dice;

const TASKS: usize = 6;
const PLACES: usize = 2;
/// How many segments each task has.
const SEGMENTS: i64 = 3;
/// How many steps there is trouble, and how many more it may take to end.
const TROUBLE: usize = 700;
const PEACE: usize = 12_000;
/// The longest that a request may take, in seconds, and how late it may land that nobody waits for any more.
const CALL: usize = 10;

/// What is wrong with an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// The queue takes a call back that its task has not used.
    TakesCallsBack,
    /// The queue counts those who have a place as its cache shows them.
    CountsFromTheCache,
}

/// A request that has no answer yet.
#[derive(Clone, Debug)]
enum Request {
    WriteQueue { at: usize, queue: Box<TaskQueue> },
    WriteTask { task: usize, at: usize, next: Box<LongTask> },
    CreatePod { task: usize, uid: String, pod: Box<Pod> },
}

/// What an operator knows: how far it has read.
#[derive(Clone, Default)]
struct Reader {
    queue: usize,
    tasks: [usize; TASKS],
}

struct World {
    dice: Dice,
    defect: Option<Defect>,
    now: i64,
    queues: Vec<TaskQueue>,
    /// Every version of each task; none where it is not there.
    tasks: Vec<Vec<Option<LongTask>>>,
    /// The pods that there are, by name.
    pods: BTreeMap<String, Value>,
    readers: [Reader; 2],
    late: Vec<(i64, Request)>,
    uids: u64,
    is_calm: bool,
    violation: Option<String>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

fn name(task: usize) -> String {
    format!("t{task}")
}

impl World {
    fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut dice = Dice(seed);
        let spec = json!({
            "maxActive": PLACES, "holdWhileWaiting": dice.happens(300), "aging": "30s",
            "perKey": { "label": "odd" },
        });
        let queue = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "spec": spec,
            "metadata": { "name": "q", "namespace": "n", "uid": "queue-uid", "generation": 1, "resourceVersion": "1" },
        }))
        .expect("a queue");
        let mut world = Self {
            dice,
            defect,
            now: 1_795_000_000,
            queues: vec![queue],
            tasks: vec![Vec::new(); TASKS],
            pods: BTreeMap::new(),
            readers: Default::default(),
            late: Vec::new(),
            uids: 0,
            is_calm: false,
            violation: None,
        };
        for task in 0..TASKS {
            let made = world.made(task);
            world.tasks[task].push(Some(made));
        }
        world
    }

    fn made(&mut self, task: usize) -> LongTask {
        self.uids += 1;
        let uid = format!("{:08}-uid", self.uids);
        let priority = i64::try_from(task % 3).expect("small") - 1;
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": {
                "name": name(task), "namespace": "n", "uid": uid, "generation": 1, "creationTimestamp": at(self.now),
                "labels": { "odd": (task % 2).to_string() },
            },
            "spec": {
                "queueName": "q", "priority": priority,
                "retry": { "budgets": { "failures": -1, "stalls": -1, "startFailures": -1 } },
                "template": { "spec": { "containers": [{ "name": "main" }] } },
            },
        }))
        .expect("a task")
    }

    fn queue(&self) -> &TaskQueue {
        self.queues.last().expect("a queue")
    }

    fn task(&self, task: usize) -> Option<&LongTask> {
        self.tasks[task].last().and_then(Option::as_ref)
    }

    fn accuse(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    /// Sends a request: it may be lost for who has sent it, and land a while later all the same. Whether it was answered well.
    fn send(&mut self, request: Request) -> bool {
        if !self.is_calm && self.dice.happens(150) {
            let lands = self.now + i64::try_from(self.dice.below(CALL)).unwrap_or(0);
            self.late.push((lands, request));
            return false;
        }
        self.arrive(request)
    }

    fn arrive(&mut self, request: Request) -> bool {
        match request {
            Request::WriteQueue { at, queue } => {
                if at + 1 != self.queues.len() {
                    return false;
                }
                self.judge_calls(&queue);
                self.queues.push(*queue);
            }
            Request::WriteTask { task, at, next } => {
                if at + 1 != self.tasks[task].len() || self.task(task).is_none() {
                    return false;
                }
                self.tasks[task].push(Some(*next));
            }
            Request::CreatePod { task, uid, pod } => {
                let is_of_task = self.task(task).is_some_and(|task| task.metadata.uid.as_ref() == Some(&uid));
                let pod_name = pod.metadata.name.clone().expect("a name");
                if !is_of_task || self.pods.contains_key(&pod_name) {
                    // Of a task that is gone: the garbage collector takes it at once.
                    return false;
                }
                self.uids += 1;
                let mut pod = serde_json::to_value(&pod).expect("JSON");
                pod["metadata"]["uid"] = json!(format!("pod-{}", self.uids));
                pod["metadata"]["creationTimestamp"] = json!(at(self.now));
                pod["spec"]["nodeName"] = json!("node-1");
                pod["status"] = json!({
                    "phase": "Running", "startTime": at(self.now),
                    "containerStatuses": [{ "name": "main", "image": "i", "imageID": "i", "ready": true, "restartCount": 0,
                                            "state": { "running": { "startedAt": at(self.now) } } }],
                });
                self.pods.insert(pod_name, pod);
            }
        }
        self.judge();
        true
    }

    /// Q1: who is called is called to a free place, as the queue itself has it. Who has had the place before, by an old reading, is
    /// taken for one who still has it, and not called.
    fn judge_calls(&mut self, next: &TaskQueue) {
        let holders = |queue: &TaskQueue| queue.status.clone().unwrap_or_default().holders;
        let (before, after) = (holders(self.queue()), holders(next));
        let is_call = |holder: &&Holder| {
            let is_new = !before.iter().any(|known| known.task == holder.task && known.ticket == holder.ticket);
            is_new && !self.was_admitted(holder)
        };
        let calls = after.iter().filter(is_call).count();
        if calls > 0 && after.len() > PLACES {
            self.accuse(format!("Q1: a call to place {} of {PLACES}", after.len()));
        }
    }

    fn was_admitted(&self, holder: &Holder) -> bool {
        self.tasks.iter().flatten().flatten().any(|task| {
            let ticket = task.status.as_ref().and_then(|status| status.queue.as_ref());
            let is_of_it = task.metadata.name.as_deref() == Some(holder.name())
                && short_uid(task.metadata.uid.as_deref().unwrap_or_default()) == holder.uid;
            is_of_it
                && ticket.is_some_and(|ticket| ticket.ticket == holder.ticket && ticket.state == TicketState::Admitted)
        })
    }

    /// Q1: no more tasks have taken a place than there are, and no more pods run.
    fn judge(&mut self) {
        let admitted = (0..TASKS).filter_map(|task| self.task(task)?.status.as_ref()?.queue.clone());
        let admitted = admitted.filter(|ticket| ticket.state == TicketState::Admitted).count();
        if admitted > PLACES {
            self.accuse(format!("Q1: {admitted} tasks are Admitted"));
        }
        let running = self.pods.values().filter(|pod| runs(pod)).count();
        if running > PLACES {
            self.accuse(format!("Q1: {running} pods run"));
        }
    }

    /// One plan of the queue, by the operator with this reading.
    fn operate_queue(&mut self, reader: usize) {
        let known = self.readers[reader].clone();
        let mut queue = self.queues[known.queue].clone();
        let tasks: Vec<_> = (0..TASKS)
            .filter_map(|task| QueuedTask::of(self.tasks[task][known.tasks[task]].as_ref()?).map(Arc::new))
            .collect();
        self.seed_defect(&mut queue, &tasks);
        let holders = queue.status.clone().unwrap_or_default().holders;
        let gone = unknown_holders(&holders, &tasks).into_iter().filter(|holder| !self.is_left(holder));
        let gone: BTreeSet<_> = gone.map(|holder| (holder.task.clone(), holder.uid.clone())).collect();
        let mut seen = ObservedQueue::of(&queue, tasks);
        seen.gone = gone;
        let planned = plan_queue(&seen, at(self.now));
        let Some(status) = planned.status else { return };
        let next = TaskQueue { status: Some(status), ..queue };
        if self.send(Request::WriteQueue { at: known.queue, queue: Box::new(next) }) {
            self.readers[reader].queue = self.queues.len() - 1;
        }
    }

    /// What an operator takes for the queue that has a defect.
    fn seed_defect(&self, queue: &mut TaskQueue, tasks: &[Arc<QueuedTask>]) {
        let Some(status) = &mut queue.status else { return };
        let of = |holder: &Holder| tasks.iter().find(|task| task.name == holder.name());
        match self.defect {
            Some(Defect::TakesCallsBack) => status.holders.retain(|holder| {
                let ticket = of(holder).and_then(|task| task.ticket.clone());
                !ticket.is_some_and(|ticket| ticket.number == holder.ticket && ticket.state == TicketState::Waiting)
            }),
            Some(Defect::CountsFromTheCache) => status.holders.retain(|holder| {
                let ticket = of(holder).and_then(|task| task.ticket.clone());
                ticket.is_some_and(|ticket| ticket.state == TicketState::Admitted)
            }),
            None => {}
        }
    }

    /// A live read: whether something is left of a holder.
    fn is_left(&self, holder: &Holder) -> bool {
        let is_task = |task: &LongTask| {
            task.metadata.name.as_deref() == Some(holder.name())
                && short_uid(task.metadata.uid.as_deref().unwrap_or_default()) == holder.uid
        };
        let is_pod = |pod: &&Value| {
            let uid = pod["metadata"]["labels"]["longtask.dev/task-uid"].as_str().unwrap_or_default();
            short_uid(uid) == holder.uid && runs(pod)
        };
        (0..TASKS).filter_map(|task| self.task(task)).any(is_task) || self.pods.values().any(|pod| is_pod(&pod))
    }

    /// One look at a task, by the operator with this reading.
    fn operate_task(&mut self, reader: usize, task: usize) {
        let mut known = self.readers[reader].clone();
        let Some(mut reading) = self.tasks[task][known.tasks[task]].clone() else { return };
        let mut refusal = None;
        // A plan of which something is refused is followed by one that knows.
        for _ in 0..3 {
            let uid = reading.metadata.uid.clone().expect("a UID");
            let pods = self.pods.values().filter_map(|pod| facts(pod, &uid)).collect();
            let mut seen = Observed::of(&reading, &uid, pods);
            seen.admission = admission_of(&self.queues[known.queue], "n", &name(task), &uid);
            seen.late_creates = LateCreates::Any;
            seen.refusal = refusal.take();
            let Plan { status, steps, .. } = plan_task(&seen, at(self.now));
            if let Some(status) = status {
                let next = LongTask { status: Some(status), ..reading.clone() };
                if !self.send(Request::WriteTask { task, at: known.tasks[task], next: Box::new(next.clone()) }) {
                    return;
                }
                known.tasks[task] = self.tasks[task].len() - 1;
                self.readers[reader].tasks[task] = known.tasks[task];
                reading = next;
            }
            refusal = self.take(task, &uid, steps);
            if refusal.is_none() {
                return;
            }
        }
    }

    /// Takes the steps of a task's plan; returns why its pod may not be created.
    fn take(&mut self, task: usize, uid: &str, steps: Vec<Step>) -> Option<Refusal> {
        for step in steps {
            match step {
                Step::CreatePod(pod) => {
                    let cause = longtask::task::plan::Cause {
                        reason: "QuotaExceeded".into(),
                        message: "exceeded quota".into(),
                    };
                    if !self.is_calm && self.dice.happens(150) {
                        return Some(Refusal::Rejected(cause));
                    }
                    self.send(Request::CreatePod { task, uid: uid.to_owned(), pod });
                }
                Step::LowerDeadline { pod, seconds } if seconds <= 1 => self.end_pod(&pod.name, 143),
                Step::DeletePod(pod) => {
                    self.pods.remove(&pod.name);
                }
                Step::ReleasePod(pod) => {
                    if let Some(pod) = self.pods.get_mut(&pod.name) {
                        pod["metadata"]["finalizers"] = json!([]);
                    }
                }
                _ => {}
            }
        }
        None
    }

    fn end_pod(&mut self, name: &str, code: i64) {
        let now = at(self.now);
        let Some(pod) = self.pods.get_mut(name).filter(|pod| runs(pod)) else { return };
        let started = pod["status"]["startTime"].clone();
        pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
        pod["status"]["containerStatuses"][0]["state"] = json!({ "terminated": {
            "exitCode": code, "startedAt": started, "finishedAt": now, "reason": if code == 0 { "Completed" } else { "Error" },
            "message": if code == 0 { r#"{"done": true}"# } else { "" },
        } });
    }

    /// The program of a task ends: at the end of a segment, for good, or in vain.
    fn program_ends(&mut self, task: usize) {
        let prefix = format!("{}-", name(task));
        let Some(pod) = self.pods.iter().find(|(name, pod)| name.starts_with(&prefix) && runs(pod)) else { return };
        let pod = pod.0.clone();
        let segment = self.task(task).and_then(|task| task.status.as_ref()).map_or(1, |status| status.segment);
        let code = if !self.is_calm && self.dice.happens(250) {
            1
        } else if segment < SEGMENTS {
            75
        } else {
            0
        };
        self.end_pod(&pod, code);
    }

    /// A user does something.
    fn trouble(&mut self) {
        let task = self.dice.below(TASKS);
        match self.dice.below(8) {
            0 => {
                // Its pods go with it, each in its own time.
                if self.task(task).is_some() {
                    self.tasks[task].push(None);
                }
            }
            1 => {
                if self.task(task).is_none() {
                    let made = self.made(task);
                    self.tasks[task].push(Some(made));
                }
            }
            _ => self.edit(task, |task| task.spec.suspend = !task.spec.suspend),
        }
    }

    fn edit(&mut self, task: usize, change: impl FnOnce(&mut LongTask)) {
        let Some(mut next) = self.task(task).cloned() else { return };
        change(&mut next);
        next.metadata.generation = next.metadata.generation.map(|generation| generation + 1);
        self.tasks[task].push(Some(next));
    }

    /// The garbage collector takes a pod whose task is gone.
    fn collect(&mut self) {
        let uids: BTreeSet<_> = (0..TASKS).filter_map(|task| self.task(task)?.metadata.uid.clone()).collect();
        let is_orphan = |pod: &&Value| {
            let uid = pod["metadata"]["labels"]["longtask.dev/task-uid"].as_str().unwrap_or_default();
            !uids.contains(uid)
        };
        let orphan = self.pods.iter().find(|(_, pod)| is_orphan(pod)).map(|(name, _)| name.clone());
        if let Some(orphan) = orphan {
            self.pods.remove(&orphan);
        }
    }

    fn step(&mut self) {
        self.now += i64::try_from(self.dice.below(3)).unwrap_or(0);
        let (due, rest) = {
            let now = self.now;
            std::mem::take(&mut self.late).into_iter().partition::<Vec<_>, _>(|(lands, _)| *lands <= now)
        };
        self.late = rest;
        for (_, request) in due {
            self.arrive(request);
        }
        let (reader, task) = (self.dice.below(2), self.dice.below(TASKS));
        match self.dice.below(100) {
            0..14 => {
                let newest = self.queues.len() - 1;
                let known = &mut self.readers[reader].queue;
                *known += self.dice.below(newest - *known + 1);
            }
            14..30 => {
                let newest = self.tasks[task].len() - 1;
                let known = &mut self.readers[reader].tasks[task];
                *known += self.dice.below(newest - *known + 1);
            }
            30..36 => {
                let newest = std::array::from_fn(|task| self.tasks[task].len() - 1);
                self.readers[reader] = Reader { queue: self.queues.len() - 1, tasks: newest };
            }
            36..40 if !self.is_calm => self.trouble(),
            36..50 => self.program_ends(task),
            50..53 => self.collect(),
            53..72 => self.operate_queue(reader),
            _ => self.operate_task(reader, task),
        }
    }

    fn make_peace(&mut self) {
        self.is_calm = true;
        for task in 0..TASKS {
            if self.task(task).is_none() {
                let made = self.made(task);
                self.tasks[task].push(Some(made));
            }
            self.edit(task, |task| task.spec.suspend = false);
        }
    }

    fn is_over(&self) -> bool {
        let has_succeeded =
            |task: &LongTask| task.status.as_ref().and_then(|status| status.phase) == Some(Phase::Succeeded);
        (0..TASKS).all(|task| self.task(task).is_some_and(has_succeeded))
    }
}

fn runs(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
}

/// The facts of a pod, if it is of the task of this UID.
fn facts(pod: &Value, uid: &str) -> Option<Arc<PodFacts>> {
    if pod["metadata"]["labels"]["longtask.dev/task-uid"] != uid {
        return None;
    }
    let pod: Pod = serde_json::from_value(pod.clone()).expect("a pod");
    PodFacts::of(&pod).filter(|facts| facts.task_uid == uid).map(Arc::new)
}

/// What goes wrong in the life of a seed, if something does.
fn live(seed: u64, defect: Option<Defect>) -> Option<String> {
    let mut world = World::new(seed, defect);
    for _ in 0..TROUBLE {
        world.step();
        if world.violation.is_some() {
            return world.violation;
        }
    }
    world.make_peace();
    for _ in 0..PEACE {
        world.step();
        if world.violation.is_some() {
            return world.violation;
        }
        if world.is_over() {
            return None;
        }
    }
    let states: Vec<_> =
        (0..TASKS).map(|task| world.task(task).and_then(|task| task.status.as_ref()).map(state)).collect();
    Some(format!("it does not end: {states:#?} {:#?} {:#?}", world.queue().status, world.pods.keys()))
}

fn state(status: &LongTaskStatus) -> String {
    let attempt = status.current_attempt.as_ref().map(|attempt| (attempt.number, attempt.state, attempt.ticket));
    format!("{:?} {} {:?} {attempt:?}", status.phase, status.reason, status.queue)
}

/// Some seconds' worth; `PROPTEST_CASES` asks for more.
fn lives() -> u32 {
    env::var("PROPTEST_CASES").map_or(24, |number| number.parse().expect("a number"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: lives(), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_more_run_than_there_are_places_and_all_come_to_their_end(seed in any::<u64>()) {
        prop_assert_eq!(live(seed, None), None);
    }
}

#[test]
fn every_defect_of_an_operator_is_found() {
    for defect in [Defect::TakesCallsBack, Defect::CountsFromTheCache] {
        let found = (0..400).find_map(|seed| live(seed, Some(defect)));
        assert!(found.is_some(), "{defect:?} is not found");
        println!("{defect:?}: {}", found.unwrap_or_default());
    }
}
