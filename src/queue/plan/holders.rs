//! Who has a place: kept until the task's own status gives it back, or live reads say that nothing of the task is left.

use std::sync::Arc;

use foldhash::{HashMap, HashSet};
use jiff::Timestamp;

use super::observed::{ObservedQueue, QueuedTask, Turn};
use crate::{
    api::{
        queue::{Holder, QueueKey, short_uid},
        task::TicketState,
    },
    types::{GoDuration, time::after},
};

/// How soon to look again for a task that may be gone, in seconds.
const LOOK_AGAIN: i64 = 5;

/// Those who had a place.
pub(super) struct Places<'a> {
    /// Who has one: who has not given it back, and who has taken one of which the queue does not know, since it was deleted and
    /// made again.
    pub(super) kept: Vec<Holder>,
    /// Whose turn is over.
    pub(super) over: Vec<Over<'a>>,
    /// The attempts of those who have a place.
    pub(super) runs: Vec<Run>,
    /// Whether of some who have a place nothing is known.
    pub(super) has_unknown: bool,
}

/// A turn that is over.
pub(super) struct Over<'a> {
    /// Whose place it was.
    pub(super) holder: Holder,
    task: Option<&'a QueuedTask>,
}

impl<'a> Over<'a> {
    /// How it ended, if that is known, and the queue has called it itself: what it has found running may have been counted.
    pub(super) fn turn(&self) -> Option<&'a Turn> {
        let turn = self.task?.turn.as_ref()?;
        (turn.ticket == self.holder.ticket && !self.holder.adopted).then_some(turn)
    }
}

/// What is known of an attempt that has a place.
pub(super) struct Run {
    /// Whether it was called as a probe.
    pub(super) is_probe: bool,
    /// Since when its program runs, if it does.
    since: Option<Timestamp>,
}

impl Run {
    /// The attempt for which a holder has its place, of the task that is known of it.
    fn of(holder: &Holder, task: Option<&QueuedTask>) -> Self {
        let is_its = |task: &&QueuedTask| task.ticket.as_ref().is_some_and(|ticket| ticket.number == holder.ticket);
        Self { is_probe: holder.probe, since: task.filter(is_its).and_then(|task| task.runs_since) }
    }

    /// When it has run for so long, if its program runs.
    pub(super) fn lasts_at(&self, duration: GoDuration) -> Option<Timestamp> {
        self.since.map(|since| after(since, duration.as_secs()))
    }

    /// Whether it has run for so long.
    pub(super) fn has_lasted(&self, duration: GoDuration, now: Timestamp) -> bool {
        self.lasts_at(duration).is_some_and(|lasts_at| lasts_at <= now)
    }
}

/// Who still has a place, and whose turn is over.
pub(super) fn places<'a>(seen: &'a ObservedQueue<'_>, tasks: &TasksOfHolders<'a>) -> Places<'a> {
    let (own, spec) = (seen.key(), &seen.queue.spec);
    let is_over = |holder: &Holder| match tasks.of(holder) {
        Some(task) => has_given_back(holder, task, &own),
        None => seen.gone.contains(&(holder.task.clone(), holder.uid.clone())),
    };
    let (over, mut kept): (Vec<_>, Vec<_>) = seen.queue.holders().iter().cloned().partition(is_over);
    let over = over.into_iter().map(|holder| Over { task: tasks.of(&holder), holder }).collect();
    for holder in &mut kept {
        // Called before `perKey` was set, it has none.
        holder.key = match (&spec.per_key, holder.key.take()) {
            (None, _) => None,
            (Some(_), Some(key)) => Some(key),
            (Some(per_key), None) => tasks.of(holder).and_then(|task| task.labels.get(&per_key.label)).cloned(),
        };
    }
    let mut runs: Vec<_> = kept.iter().map(|holder| Run::of(holder, tasks.of(holder))).collect();
    let has_unknown = kept.iter().any(|holder| tasks.of(holder).is_none());
    let admitted: Vec<_> = seen
        .tasks
        .iter()
        .filter(|task| task.admitted_ticket(&own).is_some())
        .filter_map(|task| Some((task, Holder { adopted: true, ..task.place(spec)? })))
        .collect();
    if !admitted.is_empty() {
        let recorded: HashSet<_> =
            kept.iter().map(|holder| (holder.task.clone(), holder.uid.clone(), holder.ticket)).collect();
        for (task, place) in admitted {
            if !recorded.contains(&(place.task.clone(), place.uid.clone(), place.ticket)) {
                runs.push(Run::of(&place, Some(task)));
                kept.push(place);
            }
        }
    }
    Places { kept, over, runs, has_unknown }
}

/// Those holders of whose task nothing is known: only live reads can say what is left of it.
pub fn unknown_holders<'a>(holders: &'a [Holder], tasks: &[Arc<QueuedTask>]) -> Vec<&'a Holder> {
    let tasks = TasksOfHolders::among(tasks, holders);
    holders.iter().filter(|holder| tasks.of(holder).is_none()).collect()
}

/// When to look again for tasks of which nothing is known: no watch tells a queue of the end of their pods.
pub(super) fn look_again_at(now: Timestamp) -> Timestamp {
    after(now, LOOK_AGAIN)
}

/// Whether the task's status says that the place is free again. Its tickets only grow, whatever queues they are of.
fn has_given_back(holder: &Holder, task: &QueuedTask, own: &QueueKey) -> bool {
    task.ticket.as_ref().is_some_and(|ticket| {
        let is_given_back = ticket.state == TicketState::Returned || *ticket.queue != *own;
        ticket.number > holder.ticket || (ticket.number == holder.ticket && is_given_back)
    })
}

/// The tasks of holders, found once among all that are seen.
pub(super) struct TasksOfHolders<'a>(HashMap<(&'a str, &'a str), &'a QueuedTask>);

impl<'a> TasksOfHolders<'a> {
    pub(super) fn among(tasks: &'a [Arc<QueuedTask>], holders: &[Holder]) -> Self {
        let names: HashSet<_> = holders.iter().map(|holder| (holder.namespace(), holder.name())).collect();
        let is_of_holder = |task: &&QueuedTask| names.contains(&(task.namespace.as_str(), task.name.as_str()));
        let tasks = tasks.iter().map(|task| &**task).filter(is_of_holder);
        Self(tasks.map(|task| ((task.namespace.as_str(), task.name.as_str()), task)).collect())
    }

    /// The task of a holder, if it is known: not another one that has its name.
    pub(super) fn of(&self, holder: &Holder) -> Option<&'a QueuedTask> {
        let task = *self.0.get(&(holder.namespace(), holder.name()))?;
        (short_uid(&task.uid) == holder.uid).then_some(task)
    }
}
