//! Who waits to be called.

use std::collections::HashSet;

use super::observed::{ObservedQueue, QueuedTask};
use crate::api::queue::{Holder, short_uid};

/// Those who wait, in no order: who has a ticket of the queue that is not called yet, still wants it, and may use the queue.
pub(super) fn line<'a>(seen: &'a ObservedQueue<'_>, holders: &[Holder]) -> Vec<&'a QueuedTask> {
    let own = seen.key();
    let called: HashSet<_> =
        holders.iter().map(|holder| (holder.namespace(), holder.name(), holder.uid.as_str(), holder.ticket)).collect();
    let waits = |task: &&QueuedTask| {
        let Some(ticket) = task.waiting_ticket(&own) else { return false };
        let place = (task.namespace.as_str(), task.name.as_str(), short_uid(&task.uid), ticket.number);
        !called.contains(&place) && !task.is_being_deleted && seen.queue.allows(&task.namespace)
    };
    seen.tasks.iter().map(|task| &**task).filter(waits).collect()
}
