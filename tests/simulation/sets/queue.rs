//! The queue in which the members of a set wait: what users do to it, what is wrong with its operators, and the invariants Q1 and Q2
//! of docs/architecture.md, checked at every write.

use longtask::api::queue::short_uid;
use serde_json::{Value, json};

use super::{judge::is_alive, world::World};
use crate::{dice::Dice, objects::Kind};

const QUEUE: &str = "q";

/// What is wrong with the operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueueDefect {
    /// The queue takes back what it has called and its task has not used.
    TakesCallsBack,
    /// The queue takes the tasks that its cache shows as running for those that have a place.
    CountsFromTheCache,
    /// A task gives its place back as soon as its attempt is withdrawn, with a create under way.
    GivesBackAtOnce,
    /// A queue calls the next task although its breaker is open.
    CallsWhileOpen,
}

impl QueueDefect {
    pub(crate) const ALL: [Self; 4] =
        [Self::TakesCallsBack, Self::CountsFromTheCache, Self::GivesBackAtOnce, Self::CallsWhileOpen];

    /// The seed that found it when all seeds were searched last: the search begins with it.
    pub(crate) fn found_by(self) -> u64 {
        match self {
            Self::GivesBackAtOnce => 336,
            Self::CallsWhileOpen => 62,
            Self::TakesCallsBack | Self::CountsFromTheCache => 0,
        }
    }
}

/// The queue, drawn once.
#[derive(Clone, Copy, Debug)]
pub(super) struct QueueWeather {
    places: u64,
    keeps_place: bool,
    has_rate: bool,
    has_breaker: bool,
    defect: Option<QueueDefect>,
}

impl QueueWeather {
    pub(super) fn draw(seed: u64, defect: Option<QueueDefect>) -> Self {
        let mut dice = Dice::from_seed(seed ^ 0x0071_7565_7565_2141);
        let (places, keeps_place, has_rate) = (dice.between(1, 2), dice.happens(300), dice.happens(300));
        Self { places, keeps_place, has_rate, has_breaker: dice.happens(500), defect }
    }
}

impl World {
    /// Makes the queue, and has the template name it.
    pub(super) fn begin_queue(&mut self, template: &mut Value) {
        let Some(QueueWeather { places, keeps_place, has_rate, has_breaker, .. }) = self.queued else { return };
        template["queueName"] = json!(QUEUE);
        // A member takes turns within its life: at each try, and with its segments.
        template["retry"] = json!({ "budgets": { "failures": 1 }, "backoff": { "initial": "2s" } });
        let mut spec = json!({ "maxActive": places, "holdWhileWaiting": keeps_place });
        if has_rate {
            spec["rate"] = json!({ "starts": 2, "per": "1s" });
        }
        if has_breaker {
            spec["breaker"] = json!({
                "counts": [{ "onExitCodes": { "operator": "In", "values": [1] } }], "failures": 2, "window": "1m",
                "openFor": "5s", "maxOpenFor": "20s", "probeFor": "10s",
            });
        }
        self.create(Kind::Queue, QUEUE, json!({ "metadata": { "name": QUEUE }, "spec": spec }));
    }

    pub(super) fn make_queue_trouble(&mut self) {
        let tasks = self.names(Kind::Task);
        if tasks.is_empty() || self.dice.happens(200) {
            let is_suspended = self.store.get(Kind::Queue, QUEUE).is_some_and(|queue| queue["spec"]["suspend"] == true);
            return self.suspend(Kind::Queue, QUEUE, !is_suspended);
        }
        let task = self.dice.one_of(&tasks);
        let is_suspended = self.store.get(Kind::Task, &task).is_some_and(|task| task["spec"]["suspend"] == true);
        self.suspend(Kind::Task, &task, !is_suspended);
    }

    pub(super) fn make_queue_peace(&mut self) {
        if self.queued.is_some() {
            self.suspend(Kind::Queue, QUEUE, false);
            for task in self.names(Kind::Task) {
                self.suspend(Kind::Task, &task, false);
            }
        }
    }

    fn names(&self, kind: Kind) -> Vec<String> {
        let all = self.store.all(kind);
        all.map(|object| object["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
    }

    fn suspend(&mut self, kind: Kind, name: &str, suspend: bool) {
        let Some(mut object) = self.store.get(kind, name).cloned() else { return };
        if object["spec"]["suspend"] == suspend {
            return;
        }
        self.tell("user", format!("sets suspend {suspend} of {kind:?} {name}"));
        object["spec"]["suspend"] = json!(suspend);
        object["metadata"]["generation"] = json!(object["metadata"]["generation"].as_i64().unwrap_or(1) + 1);
        self.put(kind, name, object);
    }

    /// The ticket of the task that has a place, if it is there: not that of another one which has its name by now.
    fn ticket(&self, holder: &Value) -> Value {
        let name = holder["task"].as_str().unwrap_or_default().rsplit('/').next().unwrap_or_default();
        let task = self.store.get(Kind::Task, name);
        let is_its =
            |task: &&Value| task["metadata"]["uid"].as_str().is_some_and(|uid| holder["uid"] == short_uid(uid));
        task.filter(is_its).map(|task| task["status"]["queue"].clone()).unwrap_or_default()
    }

    /// What an operator writes that has a defect.
    pub(super) fn seed_queue_defect(&self, status: &mut Value) {
        let Some(QueueWeather { places, defect: Some(defect), .. }) = self.queued else { return };
        let mut holders = status["holders"].as_array().cloned().unwrap_or_default();
        match defect {
            QueueDefect::TakesCallsBack => {
                let known = self.store.get(Kind::Queue, QUEUE).map(|queue| queue["status"]["holders"].clone());
                let known = known.and_then(|known| known.as_array().cloned()).unwrap_or_default();
                holders.retain(|holder| {
                    let ticket = self.ticket(holder);
                    let is_unused = ticket["ticket"] == holder["ticket"] && ticket["state"] == "Waiting";
                    !(is_unused && known.contains(holder))
                });
            }
            QueueDefect::CountsFromTheCache => {
                let running = self.store.all(Kind::Task).filter(|task| task["status"]["phase"] == "Running").count();
                holders.extend(self.next_place(&holders).filter(|_| (running as u64) < places));
            }
            QueueDefect::CallsWhileOpen => {
                let is_open = status["breaker"]["state"] == "Open" && (holders.len() as u64) < places;
                holders.extend(self.next_place(&holders).filter(|_| is_open));
            }
            QueueDefect::GivesBackAtOnce => return,
        }
        status["holders"] = json!(holders);
    }

    /// The place of a task that waits and has none, if there is one.
    fn next_place(&self, holders: &[Value]) -> Option<Value> {
        let is_waiting = |task: &&Value| {
            let is_called = holders.iter().any(|holder| {
                let name = holder["task"].as_str().unwrap_or_default();
                name.rsplit('/').next() == task["metadata"]["name"].as_str()
            });
            task["status"]["queue"]["state"] == "Waiting" && !is_called
        };
        let next = self.store.all(Kind::Task).find(is_waiting)?;
        let (name, uid) = (next["metadata"]["name"].as_str()?, next["metadata"]["uid"].as_str()?);
        let ticket = &next["status"]["queue"]["ticket"];
        Some(json!({ "task": format!("n/{name}"), "uid": short_uid(uid), "ticket": ticket }))
    }

    /// What a task writes that does not keep its place for a create that is under way.
    pub(super) fn seed_task_defect(&self, status: &mut Value) {
        let is_seeded = self.queued.is_some_and(|queued| queued.defect == Some(QueueDefect::GivesBackAtOnce));
        if is_seeded && status["currentAttempt"]["state"] == "Withdrawn" && status["queue"]["state"] == "Admitted" {
            status["queue"]["state"] = json!("Returned");
        }
    }

    /// Q1, Q2: who is called is called to a free place, and by a breaker that lets them.
    pub(super) fn judge_queue(&mut self, before: &Value, after: &Value) {
        let Some(QueueWeather { places, .. }) = self.queued else { return };
        let holders = |queue: &Value| queue["status"]["holders"].as_array().cloned().unwrap_or_default();
        let breaker = after["status"]["breaker"].clone();
        let (before, after) = (holders(before), holders(after));
        let is_call = |holder: &&Value| {
            // Who has had the place before, by an old reading, is taken for one who still has it, and not called.
            let ticket = self.ticket(holder);
            !before.iter().any(|known| is_same(known, holder))
                && ticket["ticket"] == holder["ticket"]
                && ticket["state"] == "Waiting"
        };
        let calls = after.iter().filter(is_call).count();
        if calls > 0 && after.len() as u64 > places {
            self.accuse(format!("Q1: a call to place {} of {places}", after.len()));
        }
        let allowed = match breaker["state"].as_str() {
            Some("Open") => 0,
            Some("HalfOpen") => breaker["wave"]["allow"].as_u64().unwrap_or(0),
            _ => u64::MAX,
        };
        if calls as u64 > allowed {
            self.accuse(format!("Q2: {calls} calls, and the breaker allows {allowed}"));
        }
        self.judge_turns(&before, &after);
    }

    /// Q2: a turn is over once. Two operators at a time can have one called again that is over: the one whose tasks are old reads.
    fn judge_turns(&mut self, before: &[Value], after: &[Value]) {
        if self.weather.operators > 1 {
            return;
        }
        for holder in before.iter().filter(|holder| !after.iter().any(|other| is_same(holder, other))) {
            let turn = (holder["uid"].as_str().unwrap_or_default().to_owned(), holder["ticket"].as_i64().unwrap_or(0));
            if holder["adopted"] != true && !self.turns.insert(turn) {
                self.accuse(format!("Q2: the turn of {} is over a second time", holder["task"]));
            }
        }
    }

    /// Q1: a task is being written.
    pub(super) fn judge_tickets(&mut self, name: &str, after: &Value) {
        let Some(QueueWeather { places, .. }) = self.queued else { return };
        let others = self.store.all(Kind::Task).filter(|task| task["metadata"]["name"] != name);
        let admitted = others.chain([after]).filter(|task| task["status"]["queue"]["state"] == "Admitted").count();
        if admitted as u64 > places {
            self.accuse(format!("Q1: {admitted} tasks are Admitted"));
        }
    }

    /// Q1: a pod is being created. One whose task is gone already goes with it.
    pub(super) fn judge_places(&mut self, pod: &Value) {
        let Some(QueueWeather { places, .. }) = self.queued else { return };
        let owner = &pod["metadata"]["ownerReferences"][0]["uid"];
        if !self.store.all(Kind::Task).any(|task| task["metadata"]["uid"] == *owner) {
            self.strays.insert(pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned());
            return;
        }
        let counts =
            |pod: &&Value| is_alive(pod) && !self.strays.contains(pod["metadata"]["uid"].as_str().unwrap_or_default());
        let others = self.store.all(Kind::Pod).filter(counts).count();
        if others as u64 >= places {
            self.accuse(format!("Q1: a pod starts beside {others} that run"));
        }
    }
}

/// Whether two holders are one turn of one task.
fn is_same(one: &Value, other: &Value) -> bool {
    ["uid", "ticket"].iter().all(|field| one[field] == other[field])
}
