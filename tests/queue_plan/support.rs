//! Words for stories of queues: `given(json!({ "maxActive": 2 })).waits("a").at("10:00:00")`. Times of day are all on one day.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use longtask::{
    api::{
        queue::{Holder, QueueKey, TaskQueue, TaskQueueStatus},
        task::TicketState,
    },
    queue::plan::{ObservedQueue, QueuePlan, QueuedTask, SeenTicket, plan},
};
use serde_json::{Value, json};

/// A moment of the day of all stories.
pub(crate) fn t(time: &str) -> Timestamp {
    format!("2026-11-24T{time}Z").parse().expect("a time of day")
}

/// The queue of all stories.
pub(crate) fn key() -> Arc<QueueKey> {
    Arc::new(QueueKey { namespace: "n".into(), name: "q".into() })
}

/// A queue that has done nothing yet.
pub(crate) fn given(spec: Value) -> Given {
    Given { spec, generation: 1, status: None, tasks: Vec::new(), gone: BTreeSet::new(), last_write: None }
}

/// A task that waits with its first ticket since 09:00:00; `name` or `namespace/name`.
pub(crate) fn waiting(name: &str) -> QueuedTask {
    let (namespace, name) = name.split_once('/').unwrap_or(("n", name));
    let ticket =
        SeenTicket { queue: key(), number: 1, state: TicketState::Waiting, since: t("09:00:00"), is_probe: false };
    QueuedTask {
        namespace: namespace.into(),
        name: name.into(),
        uid: format!("uid-of-{name}"),
        asks: Some(key()),
        ticket: Some(ticket),
        turn: None,
        runs_since: None,
        priority: 0,
        has_begun: false,
        is_being_deleted: false,
        sequence: i64::MAX,
        labels: BTreeMap::new(),
    }
}

/// A task with another ticket.
pub(crate) fn with(mut task: QueuedTask, number: i64, state: TicketState) -> QueuedTask {
    let ticket = task.ticket.as_mut().expect("a ticket");
    (ticket.number, ticket.state) = (number, state);
    task
}

/// The place of a task: the first eight characters of its UID are all the same here.
pub(crate) fn place(name: &str, ticket: i64) -> Holder {
    let (namespace, name) = name.split_once('/').unwrap_or(("n", name));
    let uid = format!("uid-of-{name}");
    let short = uid.get(..8).unwrap_or(&uid).to_owned();
    Holder { task: format!("{namespace}/{name}"), uid: short, ticket, key: None, probe: false, adopted: false }
}

/// What is so before the plan is made.
#[derive(Clone)]
pub(crate) struct Given {
    pub(crate) spec: Value,
    pub(crate) generation: i64,
    pub(crate) status: Option<TaskQueueStatus>,
    pub(crate) tasks: Vec<QueuedTask>,
    pub(crate) gone: BTreeSet<(String, String)>,
    pub(crate) last_write: Option<Timestamp>,
}

impl Given {
    pub(crate) fn task(mut self, task: QueuedTask) -> Self {
        self.tasks.push(task);
        self
    }

    pub(crate) fn waits(self, names: &[&str]) -> Self {
        names.iter().fold(self, |given, name| given.task(waiting(name)))
    }

    /// Those who have a place, by their first tickets.
    pub(crate) fn holders(mut self, holders: impl IntoIterator<Item = Holder>) -> Self {
        let holders: Vec<_> = holders.into_iter().collect();
        let active = i64::try_from(holders.len()).expect("few");
        let most = self.spec["maxActive"].clone();
        let summary = format!("{active}/{most}");
        self.status = Some(TaskQueueStatus { observed_generation: 1, active, summary, holders, ..Default::default() });
        self
    }

    pub(crate) fn queue(&self) -> TaskQueue {
        let mut queue: TaskQueue = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": "q", "namespace": "n", "uid": "queue-uid", "generation": self.generation },
            "spec": self.spec,
        }))
        .expect("a queue");
        queue.status.clone_from(&self.status);
        queue
    }

    /// The plan at this time of day.
    pub(crate) fn at(&self, time: &str) -> QueuePlan {
        self.at_moment(t(time))
    }

    pub(crate) fn at_moment(&self, now: Timestamp) -> QueuePlan {
        let queue = self.queue();
        let mut seen = ObservedQueue::of(&queue, self.tasks.iter().cloned().map(Arc::new).collect());
        (seen.gone, seen.last_write) = (self.gone.clone(), self.last_write);
        plan(&seen, now)
    }
}

/// Who has a place by a plan: those that are there if it writes nothing are not asked for.
pub(crate) fn names(plan: &QueuePlan) -> Vec<String> {
    let status = plan.status.as_ref().expect("a status");
    status.holders.iter().map(|holder| holder.name().to_owned()).collect()
}
