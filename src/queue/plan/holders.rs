//! Who has a place: kept until the task's own status gives it back, or live reads say that nothing of the task is left.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use jiff::Timestamp;

use super::observed::{ObservedQueue, QueuedTask};
use crate::{
    api::{
        queue::{Holder, QueueKey, short_uid},
        task::TicketState,
    },
    types::time::after,
};

/// How soon to look again for a task that may be gone, in seconds.
const LOOK_AGAIN: i64 = 5;

/// Those who have a place: who had one and has not given it back, and who has taken one of which the queue does not know, since
/// it was deleted and made again.
pub(super) fn kept(seen: &ObservedQueue<'_>) -> Vec<Holder> {
    let (own, spec) = (seen.key(), &seen.queue.spec);
    let recorded = seen.queue.status.as_ref().map_or(&[][..], |status| status.holders.as_slice());
    let tasks = tasks_of(recorded, &seen.tasks);
    let is_over = |holder: &Holder| match known(holder, &tasks) {
        Some(task) => has_given_back(holder, task, &own),
        None => seen.gone.contains(&(holder.task.clone(), holder.uid.clone())),
    };
    let mut kept: Vec<_> = recorded.iter().filter(|holder| !is_over(holder)).cloned().collect();
    for holder in &mut kept {
        // Called before `perKey` was set, it has none.
        holder.key = match (&spec.per_key, holder.key.take()) {
            (None, _) => None,
            (Some(_), Some(key)) => Some(key),
            (Some(per_key), None) => known(holder, &tasks).and_then(|task| task.labels.get(&per_key.label)).cloned(),
        };
    }
    let admitted: Vec<_> = seen
        .tasks
        .iter()
        .filter(|task| task.admitted_ticket(&own).is_some())
        .filter_map(|task| task.place(spec))
        .collect();
    if !admitted.is_empty() {
        let known: HashSet<_> =
            kept.iter().map(|holder| (holder.task.clone(), holder.uid.clone(), holder.ticket)).collect();
        kept.extend(
            admitted
                .into_iter()
                .filter(|place| !known.contains(&(place.task.clone(), place.uid.clone(), place.ticket))),
        );
    }
    kept
}

/// Those holders of whose task nothing is known: only live reads can say what is left of it.
pub fn unknown_holders<'a>(holders: &'a [Holder], tasks: &[Arc<QueuedTask>]) -> Vec<&'a Holder> {
    let tasks = tasks_of(holders, tasks);
    holders.iter().filter(|holder| known(holder, &tasks).is_none()).collect()
}

/// When to look again for tasks of which nothing is known: no watch tells a queue of the end of their pods.
pub(super) fn look_again_at(now: Timestamp) -> Timestamp {
    after(now, LOOK_AGAIN)
}

/// Whether the task's status says that the place is free again. Its tickets only grow, whatever queues they are of.
fn has_given_back(holder: &Holder, task: &QueuedTask, own: &QueueKey) -> bool {
    task.ticket.as_ref().is_some_and(|ticket| {
        let is_given_back = ticket.state == TicketState::Returned || ticket.queue != *own;
        ticket.number > holder.ticket || (ticket.number == holder.ticket && is_given_back)
    })
}

/// The tasks that have the names of holders.
fn tasks_of<'a>(holders: &[Holder], tasks: &'a [Arc<QueuedTask>]) -> HashMap<(&'a str, &'a str), &'a QueuedTask> {
    let names: HashSet<_> = holders.iter().map(|holder| (holder.namespace(), holder.name())).collect();
    let is_of_holder = |task: &&QueuedTask| names.contains(&(task.namespace.as_str(), task.name.as_str()));
    let tasks = tasks.iter().map(|task| &**task).filter(is_of_holder);
    tasks.map(|task| ((task.namespace.as_str(), task.name.as_str()), task)).collect()
}

/// The task of a holder, if it is known: not another one that has its name.
fn known<'a>(holder: &Holder, tasks: &HashMap<(&str, &str), &'a QueuedTask>) -> Option<&'a QueuedTask> {
    let task = *tasks.get(&(holder.namespace(), holder.name()))?;
    (short_uid(&task.uid) == holder.uid).then_some(task)
}
