//! Everything outside the operators: time, chance, what is going to happen, users, and the kubelet.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::{sync::Notify, time::Instant};

use super::queue::QueueWeather;
use crate::{
    dice::Dice,
    objects::{Kind, Store},
};

/// When every simulation begins, in seconds since 1970.
const BEGINNING: i64 = 1_795_000_000;
pub(super) const SET: &str = "s";
pub(super) const TEMPLATE: &str = "x";

/// What is wrong with the operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetDefect {
    /// They delete members whatever has become of them since they were read.
    DeletesWithoutVersion,
    /// They take the members that their caches show for those that are active.
    CountsFromTheCache,
    /// Members believe a set of a lower round than their own.
    BelievesALowerRound,
}

impl SetDefect {
    pub(crate) const ALL: [Self; 3] =
        [Self::DeletesWithoutVersion, Self::CountsFromTheCache, Self::BelievesALowerRound];
}

/// What can go wrong, and how often. Drawn once.
#[derive(Clone, Debug)]
pub(super) struct Weather {
    pub(super) operators: usize,
    pub(super) peace_at: u64,
    /// Of a thousand requests, those that go wrong.
    pub(super) requests: u64,
    /// Of a thousand writes, those after which the operator crashes.
    pub(super) crashes: u64,
    /// Of a thousand events of a watch, those that come late, and those after which it breaks.
    pub(super) watches: u64,
    /// Of a thousand programs, those that fail.
    pub(super) programs: u64,
    /// The longest pause between two troubles, in milliseconds.
    pub(super) pause: u64,
    pub(super) count: u64,
    pub(super) parallel: u64,
    pub(super) history: u64,
    pub(super) has_items: bool,
}

impl Weather {
    fn draw(dice: &mut Dice) -> Self {
        Self {
            operators: if dice.happens(600) { 2 } else { 1 },
            peace_at: dice.between(60, 600) * 1000,
            requests: dice.one_of(&[0, 20, 80, 150]),
            crashes: dice.one_of(&[0, 5, 20]),
            watches: dice.one_of(&[0, 50, 250]),
            programs: dice.one_of(&[0, 200, 500]),
            pause: dice.one_of(&[5000, 20_000, 60_000]),
            count: dice.between(3, 9),
            parallel: dice.between(1, 3),
            history: dice.between(0, 2),
            has_items: dice.happens(300),
        }
    }
}

/// What is going to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// An operator's process starts.
    Start(usize),
    /// The kubelet starts the program of a pod.
    Run(String),
    /// The program of a pod ends.
    End(String),
    /// The garbage collector looks.
    Collect,
    /// A user does something.
    Trouble,
}

/// A place for one operator.
#[derive(Clone, Default)]
pub(super) struct Slot {
    pub(super) process: u32,
    pub(super) is_alive: bool,
    pub(super) killed: Arc<Notify>,
}

#[derive(Clone)]
pub(super) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) weather: Weather,
    pub(super) defect: Option<SetDefect>,
    /// The queue in which the members wait, if they do.
    pub(super) queued: Option<QueueWeather>,
    /// The pods that were created for a task that was gone.
    pub(super) strays: BTreeSet<String>,
    /// The turns that are over, by the UID of the task and the ticket.
    pub(super) turns: BTreeSet<(String, i64)>,
    began: Instant,
    pub(super) queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    pub(super) woken: Arc<Notify>,
    pub(super) store: Store,
    pub(super) slots: Vec<Slot>,
    pub(super) is_peace: bool,
    pub(super) uids: u64,
    pub(super) tokens: u64,
    pub(super) writes: u64,
    /// The members that run by their user's hand, by UID: they are outside of the limits.
    pub(super) by_hand: BTreeSet<String>,
    /// The members that succeeded and were deleted by their user before any operator had counted them. An operator with an old
    /// cache may count them later, while the member that was made in their place runs.
    pub(super) outlived: BTreeSet<String>,
    /// Every index that a status has called active.
    pub(super) called: BTreeSet<u64>,
    pub(super) trace: Vec<String>,
    pub(super) violation: Option<String>,
}

impl World {
    pub(super) fn shared(seed: u64, defect: Option<SetDefect>, queued: Option<QueueWeather>) -> Shared {
        let mut dice = Dice::from_seed(seed ^ 0x005e_7500_1a2b_3c4d);
        let weather = Weather::draw(&mut dice);
        let slots = vec![Slot::default(); weather.operators];
        Shared(Arc::new(Mutex::new(Self {
            dice,
            weather,
            defect,
            queued,
            strays: BTreeSet::new(),
            turns: BTreeSet::new(),
            began: Instant::now(),
            queue: BTreeMap::new(),
            scheduled: 0,
            woken: Arc::default(),
            store: Store::default(),
            slots,
            is_peace: false,
            uids: 0,
            tokens: 0,
            writes: 0,
            by_hand: BTreeSet::new(),
            outlived: BTreeSet::new(),
            called: BTreeSet::new(),
            trace: Vec::new(),
            violation: None,
        })))
    }

    /// Milliseconds since the beginning.
    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("not that long")
    }

    pub(super) fn instant(&self, at: u64) -> Instant {
        self.began + Duration::from_millis(at)
    }

    pub(super) fn time(&self) -> Timestamp {
        let seconds = i64::try_from(self.now() / 1000).expect("not that long");
        Timestamp::from_second(BEGINNING + seconds).expect("in range")
    }

    pub(super) fn clock(&self) -> longtask::clock::Clock {
        let began = self.began;
        longtask::clock::Clock::from_fn(move || {
            let milliseconds = i64::try_from(began.elapsed().as_millis()).expect("not that long");
            Timestamp::from_millisecond(BEGINNING * 1000 + milliseconds).expect("in range")
        })
    }

    pub(super) fn happen_in(&mut self, milliseconds: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((self.now() + milliseconds, self.scheduled), event);
        self.woken.notify_one();
    }

    pub(super) fn tell(&mut self, who: &str, what: impl std::fmt::Display) {
        let now = self.now();
        self.trace.push(format!("{:>6}.{:03} {who:<10} {what}", now / 1000, now % 1000));
    }

    /// Reports that something is not as it must be. The first report counts.
    pub(super) fn accuse(&mut self, what: String) {
        self.tell("VIOLATION", &what);
        self.violation.get_or_insert(what);
    }

    pub(super) fn begin(&mut self) {
        let Weather { count, parallel, history, has_items, .. } = self.weather;
        let pod = json!({ "spec": { "containers": [{ "name": "main", "image": "i:1" }] } });
        let spec =
            json!({ "template": pod, "retry": { "budgets": { "failures": 0 } }, "segment": { "gracePeriod": "1s" } });
        let mut template = json!({ "metadata": { "name": TEMPLATE }, "spec": spec });
        self.begin_queue(&mut template["spec"]);
        self.create(Kind::Template, TEMPLATE, template);
        let mut spec = json!({
            "templateRef": { "name": TEMPLATE }, "maxParallel": parallel, "taskHistoryLimit": history, "restart": { "token": "0" },
        });
        if has_items {
            spec["items"] = (0..count).map(|number| json!({ "n": number })).collect();
        } else {
            spec["count"] = json!(count);
        }
        self.create(Kind::Set, SET, json!({ "metadata": { "name": SET }, "spec": spec }));
        for slot in 0..self.slots.len() {
            let delay = self.dice.between(0, 2000);
            self.happen_in(delay, Event::Start(slot));
        }
        self.happen_in(5000, Event::Trouble);
        self.happen_in(1000, Event::Collect);
    }

    pub(super) fn crash(&mut self, slot: usize, why: &str) {
        if !self.slots[slot].is_alive {
            return;
        }
        self.tell("operator", format!("{slot} crashes {why}"));
        self.slots[slot].is_alive = false;
        self.slots[slot].killed.notify_one();
        let pause = if self.is_peace { 1000 } else { self.dice.between(1000, 20_000) };
        self.happen_in(pause, Event::Start(slot));
    }

    pub(super) fn is_running(&self, slot: usize, process: u32) -> bool {
        self.slots[slot].is_alive && self.slots[slot].process == process
    }

    pub(super) fn handle(&mut self, event: Event) {
        match event {
            Event::Start(_) => {}
            Event::Run(pod) => self.run_pod(&pod),
            Event::End(pod) => self.end_pod(&pod, None),
            Event::Collect => {
                self.collect();
                let pause = self.dice.between(200, 3000);
                self.happen_in(pause, Event::Collect);
            }
            Event::Trouble => {
                self.make_trouble();
                let pause = self.dice.between(500, self.weather.pause);
                self.happen_in(pause, Event::Trouble);
            }
        }
    }

    /// The kubelet has started the program of a pod.
    fn run_pod(&mut self, name: &str) {
        let Some(mut pod) = self.store.get(Kind::Pod, name).cloned() else { return };
        if pod["status"]["phase"] != "Pending" || pod["metadata"]["deletionTimestamp"].is_string() {
            return;
        }
        let now = json!(self.time());
        pod["spec"]["nodeName"] = json!("node-1");
        pod["status"] = json!({
            "phase": "Running", "startTime": now,
            "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": now }],
            "containerStatuses": [{ "name": "main", "image": "i", "imageID": "i", "ready": true, "restartCount": 0,
                                    "state": { "running": { "startedAt": now } } }],
        });
        self.put(Kind::Pod, name, pod);
        let takes = self.dice.between(200, 20_000);
        self.happen_in(takes, Event::End(name.to_owned()));
    }

    /// The program of a pod ends: by itself, or with this code since it was stopped.
    pub(super) fn end_pod(&mut self, name: &str, stopped_with: Option<i64>) {
        let Some(mut pod) = self.store.get(Kind::Pod, name).cloned() else { return };
        if !matches!(pod["status"]["phase"].as_str(), Some("Pending" | "Running")) {
            return;
        }
        let fails = !self.is_peace && self.dice.happens(self.weather.programs);
        let code = stopped_with.unwrap_or(i64::from(fails));
        let now = json!(self.time());
        let started = pod["status"]["startTime"].clone();
        let started = if started.is_null() { now.clone() } else { started };
        let message =
            if code == 0 { r#"{"result": {"ok": true}, "done": true}"# } else { r#"{"checkpoint": {"step": 1}}"# };
        pod["status"]["phase"] = json!(if code == 0 { "Succeeded" } else { "Failed" });
        pod["status"]["containerStatuses"] = json!([{
            "name": "main", "image": "i", "imageID": "i", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": code, "startedAt": started, "finishedAt": now, "message": message,
                                       "reason": if code == 0 { "Completed" } else { "Error" } } },
        }]);
        if pod["metadata"]["deletionTimestamp"].is_string() {
            pod["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        }
        self.put(Kind::Pod, name, pod);
    }

    /// The garbage collector: what has an owner that is gone goes too, and pods whose grace is over end.
    fn collect(&mut self) {
        let uids: BTreeSet<String> = [Kind::Set, Kind::Task]
            .into_iter()
            .flat_map(|kind| {
                self.store.all(kind).map(|object| object["metadata"]["uid"].as_str().unwrap_or_default().to_owned())
            })
            .collect();
        for kind in [Kind::Task, Kind::Pod] {
            let orphans: Vec<_> = self
                .store
                .all(kind)
                .filter(|object| {
                    let owner = object["metadata"]["ownerReferences"][0]["uid"].as_str();
                    owner.is_some_and(|owner| !uids.contains(owner))
                        && !object["metadata"]["deletionTimestamp"].is_string()
                })
                .map(|object| object["metadata"]["name"].as_str().expect("a name").to_owned())
                .collect();
            for name in orphans {
                self.tell("gc", format!("deletes {kind:?} {name}"));
                self.delete(kind, &name, &Value::Null);
            }
        }
        let going: Vec<_> = self
            .store
            .all(Kind::Pod)
            .filter(|pod| pod["metadata"]["deletionTimestamp"].is_string())
            .map(|pod| pod["metadata"]["name"].as_str().expect("a name").to_owned())
            .collect();
        for name in going {
            self.end_pod(&name, Some(143));
        }
    }

    fn make_trouble(&mut self) {
        if self.is_peace {
            return;
        }
        if self.queued.is_some() && self.dice.happens(400) {
            return self.make_queue_trouble();
        }
        let members: Vec<_> = self
            .store
            .all(Kind::Task)
            .map(|task| task["metadata"]["name"].as_str().expect("a name").to_owned())
            .collect();
        let member = if members.is_empty() { None } else { Some(self.dice.one_of(&members)) };
        match self.dice.between(0, 9) {
            0 | 1 => self.give_token(),
            2 => self.edit("cancels", |spec| spec["cancel"] = json!(true)),
            3 => {
                let suspend = self.store.get(Kind::Set, SET).is_some_and(|set| set["spec"]["suspend"] == true);
                self.edit(&format!("sets suspend {}", !suspend), |spec| spec["suspend"] = json!(!suspend));
            }
            4 | 5 => {
                let Some(member) = member.filter(|member| !self.is_counted(member)) else { return };
                self.tell("user", format!("deletes {member}"));
                if self.store.get(Kind::Task, &member).is_some_and(|task| task["status"]["phase"] == "Succeeded") {
                    self.outlived.insert(member.clone());
                }
                self.delete(Kind::Task, &member, &Value::Null);
            }
            6 => {
                let Some(member) = member else { return };
                self.tell("user", format!("restarts {member} by hand"));
                let mut task = self.store.get(Kind::Task, &member).cloned().expect("a member");
                if matches!(task["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled")) {
                    self.tokens += 1;
                    self.by_hand.insert(task["metadata"]["uid"].as_str().expect("a UID").to_owned());
                    task["spec"]["restart"] = json!({ "token": format!("hand-{}", self.tokens) });
                    task["metadata"]["generation"] = json!(task["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
                    self.put(Kind::Task, &member, task);
                }
            }
            7 => {
                let slot = usize::try_from(self.dice.between(0, self.slots.len() as u64 - 1)).expect("small");
                self.crash(slot, "by a signal");
            }
            8 => {
                self.tell("apiserver", "forgets its history");
                self.store.oldest = self.store.version;
                self.store.changed.notify_waiters();
            }
            _ => {
                self.tell("user", "edits the template");
                let mut template = self.store.get(Kind::Template, TEMPLATE).cloned().expect("the template");
                let generation = template["metadata"]["generation"].as_i64().unwrap_or(1) + 1;
                template["metadata"]["generation"] = json!(generation);
                template["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("i:{generation}"));
                self.put(Kind::Template, TEMPLATE, template);
            }
        }
    }

    /// Whether a status has recorded this member's success.
    pub(super) fn is_counted(&self, member: &str) -> bool {
        let index: u64 = member.rsplit_once('-').expect("an index").1.parse().expect("a number");
        self.status().is_some_and(|status| status.succeeded.indexes.contains(u32::try_from(index).expect("small")))
    }

    pub(super) fn give_token(&mut self) {
        self.tokens += 1;
        let token = self.tokens.to_string();
        self.edit(&format!("gives token {token}"), |spec| {
            spec["cancel"] = json!(false);
            spec["restart"] = json!({ "token": token });
        });
    }

    fn edit(&mut self, what: &str, change: impl FnOnce(&mut Value)) {
        self.tell("user", what);
        let mut set = self.store.get(Kind::Set, SET).cloned().expect("the set");
        change(&mut set["spec"]);
        set["metadata"]["generation"] = json!(set["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
        self.put(Kind::Set, SET, set);
    }

    /// From now on nothing goes wrong, and the user wants all members to succeed.
    pub(super) fn make_peace(&mut self) {
        self.tell("world", "peace");
        self.is_peace = true;
        self.make_queue_peace();
        self.edit("resumes", |spec| spec["suspend"] = json!(false));
        self.give_token();
    }

    /// Whether the round of the last token has ended, and members failed in it.
    pub(super) fn has_failed(&self) -> bool {
        self.is_over() && self.status().is_some_and(|status| status.failed.count > 0)
    }

    /// Whether the set has ended in the round of the last token.
    pub(super) fn is_over(&self) -> bool {
        let token = self.store.get(Kind::Set, SET).map(|set| set["spec"]["restart"]["token"].clone());
        self.status().is_some_and(|status| {
            let is_of_token = json!(status.round.restart_token) == token.unwrap_or_default();
            is_of_token && status.phase.is_some_and(longtask::api::set::SetPhase::is_terminal)
        })
    }
}
