//! Who waits to be called.

use std::ptr;

use foldhash::HashSet;

use super::{
    holders::TasksOfHolders,
    observed::{ObservedQueue, QueuedTask},
};
use crate::api::queue::Holder;

/// Those who wait, in no order: who has a ticket of the queue that is not called yet, still wants it, and may use the queue.
pub(super) fn line<'a>(
    seen: &'a ObservedQueue<'_>,
    holders: &[Holder],
    tasks: &TasksOfHolders<'a>,
) -> Vec<&'a QueuedTask> {
    let own = seen.key();
    // Few: those of whom it is not seen yet that they have taken their places.
    let called: HashSet<*const QueuedTask> = holders
        .iter()
        .filter_map(|holder| {
            let task = tasks.of(holder)?;
            (task.waiting_ticket(&own)?.number == holder.ticket).then_some(ptr::from_ref(task))
        })
        .collect();
    let waits = |task: &&QueuedTask| {
        task.waiting_ticket(&own).is_some()
            && !called.contains(&ptr::from_ref(*task))
            && !task.is_being_deleted
            && seen.queue.allows(&task.namespace)
    };
    seen.tasks.iter().map(|task| &**task).filter(waits).collect()
}
