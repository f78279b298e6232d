//! What is known when a plan is made: the queue, and the few facts about tasks that decide.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use kube::ResourceExt;

use crate::{
    api::{
        labels,
        queue::{Holder, QueueKey, TaskQueue, TaskQueueSpec, short_uid, task_name},
        task::{AttemptReason, LongTask, LongTaskStatus, Outcome, TicketState},
    },
    types::{time::seconds_between, truncate},
};

/// The most bytes of a failure's message that are kept of a task, and that a breaker shows.
const LONGEST_MESSAGE: usize = 128;

/// Everything that a plan is made from, beside the time.
#[derive(Clone, Debug)]
pub struct ObservedQueue<'a> {
    /// The queue as last read. It may be stale: every call is a write of its status with the resourceVersion of this reading.
    pub queue: &'a TaskQueue,
    /// The tasks that name the queue, or have a ticket or a place of it, as a cache shows them.
    pub tasks: Vec<Arc<QueuedTask>>,
    /// The holders, by name and short UID, of which live reads say that the task is gone and no pod of it is left.
    pub gone: BTreeSet<(String, String)>,
    /// When the status was last written by this operator; none where it was not.
    pub last_write: Option<Timestamp>,
}

/// A task, reduced to what decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedTask {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
    /// The queue that its specification names.
    pub asks: Option<Arc<QueueKey>>,
    /// Its latest ticket, of this queue or another.
    pub ticket: Option<SeenTicket>,
    /// How its latest turn ended: by its last attempt.
    pub turn: Option<Turn>,
    /// Since when the program runs of the attempt that it has its place for.
    pub runs_since: Option<Timestamp>,
    /// `spec.priority`
    pub priority: i64,
    /// Whether an attempt of its run has ended: it finishes what it has begun.
    pub has_begun: bool,
    /// Whether somebody deleted it.
    pub is_being_deleted: bool,
    /// Its place in a sequence; the last one for a task without.
    pub sequence: i64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A ticket, as the status of its task has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTicket {
    /// The queue that it is of: the same `Arc` as `asks` where that is the one, so that ten thousand are compared quickly.
    pub queue: Arc<QueueKey>,
    /// Its number.
    pub number: i64,
    /// What has become of it.
    pub state: TicketState,
    /// Since when the task has waited with it.
    pub since: Timestamp,
    /// Whether it was called as a probe.
    pub is_probe: bool,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// The ticket.
    pub ticket: i64,
    /// How its last attempt ended.
    pub outcome: Outcome,
    /// Why it ended so.
    pub reason: Option<AttemptReason>,
    /// The main container's exit code.
    pub exit_code: Option<i32>,
    /// Of a failure: the `error.code` that the program reported.
    pub code: Option<String>,
    /// Of a failure: what it said, cut.
    pub message: String,
    /// When it ended.
    pub finished_at: Timestamp,
}

impl Turn {
    /// How the latest turn of a task ended, if its latest attempt had one.
    fn of(status: &LongTaskStatus) -> Option<Self> {
        let ended = status.recent_attempts.first()?;
        let failure = status.last_failure.as_ref().filter(|failure| failure.attempt == ended.number);
        Some(Self {
            ticket: ended.ticket?,
            outcome: ended.outcome,
            reason: ended.reason.parse().ok(),
            exit_code: ended.exit_code,
            code: failure.and_then(|failure| failure.code.clone()),
            message: failure.map(|failure| truncate(&failure.message, LONGEST_MESSAGE).to_owned()).unwrap_or_default(),
            finished_at: ended.finished_at,
        })
    }
}

impl QueuedTask {
    /// The facts of a task that names a queue, or has a ticket; none of any other.
    pub fn of(task: &LongTask) -> Option<Self> {
        let status = task.status.as_ref();
        let ticket = status.and_then(|status| status.queue.as_ref());
        if task.spec.queue_name.is_none() && ticket.is_none() {
            return None;
        }
        let namespace = task.namespace().unwrap_or_default();
        let asks = task.spec.queue_name.as_ref().map(|name| Arc::new(QueueKey::meant_by(name, &namespace)));
        let queue_of = |name: &str| {
            let queue = QueueKey::meant_by(name, &namespace);
            match &asks {
                Some(asks) if **asks == queue => Arc::clone(asks),
                _ => Arc::new(queue),
            }
        };
        let sequence = task.annotations().get(labels::SEQUENCE).and_then(|sequence| sequence.parse().ok());
        Some(Self {
            ticket: ticket.map(|ticket| SeenTicket {
                queue: queue_of(&ticket.name),
                number: ticket.ticket,
                state: ticket.state,
                since: ticket.queue_time,
                is_probe: ticket.probe,
            }),
            turn: status.and_then(Turn::of),
            runs_since: status.and_then(runs_since),
            name: task.name_any(),
            uid: task.uid().unwrap_or_default(),
            priority: i64::from(task.spec.priority),
            has_begun: status.is_some_and(|status| status.totals.attempts > 0),
            is_being_deleted: task.metadata.deletion_timestamp.is_some(),
            sequence: sequence.unwrap_or(i64::MAX),
            labels: task.labels().clone(),
            asks,
            namespace,
        })
    }

    /// The ticket with which it waits in this queue, if it does.
    pub fn waiting_ticket(&self, queue: &QueueKey) -> Option<&SeenTicket> {
        let ticket = self.ticket.as_ref().filter(|ticket| ticket.state == TicketState::Waiting)?;
        (self.asks.as_ref() == Some(&ticket.queue) && *ticket.queue == *queue).then_some(ticket)
    }

    /// For how many seconds it has waited with its ticket.
    pub(super) fn waited(&self, now: Timestamp) -> i64 {
        self.ticket.as_ref().map_or(0, |ticket| seconds_between(ticket.since, now).max(0))
    }

    /// The place that it has with its ticket, when it is called, or has taken it.
    pub(super) fn place(&self, spec: &TaskQueueSpec) -> Option<Holder> {
        let key = spec.per_key.as_ref().and_then(|per_key| self.labels.get(&per_key.label)).cloned();
        let (task, uid) = (task_name(&self.namespace, &self.name), short_uid(&self.uid).to_owned());
        Some(Holder { task, uid, ticket: self.ticket.as_ref()?.number, key, probe: false, adopted: false })
    }

    /// Whether queues have to hear of this reading, when they know that one. That its program has started concerns them only of a
    /// probe.
    pub fn is_news_after(&self, known: &Self) -> bool {
        let is_probe = self.ticket.as_ref().is_some_and(|ticket| ticket.is_probe);
        let runs_since = if is_probe { known.runs_since } else { self.runs_since };
        *self != Self { runs_since, ..known.clone() }
    }

    /// The ticket with which it has a place in this queue, if it has.
    pub fn admitted_ticket(&self, queue: &QueueKey) -> Option<&SeenTicket> {
        self.ticket.as_ref().filter(|ticket| ticket.state == TicketState::Admitted && *ticket.queue == *queue)
    }
}

/// Since when the program runs of the attempt that has a place.
fn runs_since(status: &LongTaskStatus) -> Option<Timestamp> {
    let ticket = status.queue.as_ref().filter(|ticket| ticket.state == TicketState::Admitted)?;
    status.live_attempt().filter(|attempt| attempt.ticket == Some(ticket.ticket))?.started_at
}

impl<'a> ObservedQueue<'a> {
    /// A queue with these tasks, of which none is gone.
    pub fn of(queue: &'a TaskQueue, tasks: Vec<Arc<QueuedTask>>) -> Self {
        Self { queue, tasks, gone: BTreeSet::new(), last_write: None }
    }

    /// The queue by namespace and name.
    pub fn key(&self) -> QueueKey {
        QueueKey { namespace: self.queue.namespace().unwrap_or_default(), name: self.queue.name_any() }
    }

    /// Whether somebody deleted the queue.
    pub fn is_being_deleted(&self) -> bool {
        self.queue.metadata.deletion_timestamp.is_some()
    }
}
