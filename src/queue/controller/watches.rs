//! The watch of queues.

use futures::{Stream, StreamExt};
use kube::runtime::{
    WatchStreamExt,
    reflector::store::Writer,
    watcher::{self, Event, watcher},
};

use super::links::{Queues, WatchedQueue};
use crate::runtime::{
    OperatorContext,
    watch::{report_watch_health, strip_unread_fields},
};

/// Fills the store of queues; tells each queue that was touched. Tasks hear of what is different for them.
pub(super) fn watched_queues(
    operator: &OperatorContext,
    writer: Writer<WatchedQueue>,
    queues: Queues,
) -> impl Stream<Item = Result<WatchedQueue, watcher::Error>> + Send + use<> {
    let heartbeat = operator.health.observe("watch of queues", None);
    watcher(operator.api(), watcher::Config::default())
        .default_backoff()
        .inspect(move |event| report_watch_health(&heartbeat, event))
        .modify(strip_unread_fields)
        .reflect(writer)
        // Behind the store: whoever is woken finds the news there.
        .inspect(move |event| match event {
            Ok(Event::Apply(queue) | Event::InitApply(queue)) => {
                if let Ok(queue) = &queue.0 {
                    queues.wake_tasks(queue);
                }
            }
            Ok(Event::Delete(queue)) => queues.wake_tasks_of_gone(queue),
            Ok(Event::InitDone) => {
                queues.filled.reached();
                queues.wake_tasks_of_all_gone();
            }
            Ok(Event::Init) | Err(_) => {}
        })
        .touched_objects()
}
