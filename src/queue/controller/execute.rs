//! Carries out a plan: the status is all that there is to write; events follow behind.

use std::sync::Arc;

use tracing::{debug, info};

use super::{context::Context, publish::publish};
use crate::{
    api::queue::TaskQueue,
    queue::plan::{QueuePlan, QueueWake},
    runtime::{error::Error, key::ObjectKey, status::write_status, watch::strip_unread_fields},
};

/// What became of a plan.
#[derive(Debug)]
pub(super) enum Executed {
    /// All was done.
    Done(QueueWake),
    /// The queue is gone.
    QueueGone,
}

/// Carries out a plan.
pub(super) async fn execute(context: &Context, queue: &TaskQueue, plan: QueuePlan) -> Result<Executed, Error> {
    let QueuePlan { status, events, waits, waiting, wake } = plan;
    let key = ObjectKey::of(queue);
    if let Some(status) = status {
        // A plan from an old reading, and every call in it, is refused here.
        let next = TaskQueue { status: Some(status), ..queue.clone() };
        let written = write_status(&context.queues_api(&key.namespace), "queue", &next).await?;
        let Some(stored) = written else { return Ok(Executed::QueueGone) };
        learn_written(context, &key, stored, &waits);
        if !waits.is_empty() {
            debug!(queue = key.name, namespace = key.namespace, called = waits.len(), waiting, "called");
        }
    }
    for event in events {
        info!(queue = key.name, namespace = key.namespace, reason = %event.reason, "{}", event.note);
        publish(context, queue, event);
    }
    Ok(Executed::Done(wake))
}

/// Counts what a write has brought about, plans from it until the watch tells of it, and wakes those who were called.
fn learn_written(context: &Context, key: &ObjectKey, mut stored: TaskQueue, waits: &[i64]) {
    strip_unread_fields(&mut stored);
    let bytes = serde_json::to_vec(&stored).map_or(0, |written| written.len());
    context.wrote(key, bytes);
    context.metrics.called(waits);
    let stored = Arc::new(stored);
    context.queues.written.keep(key.clone(), Arc::clone(&stored));
    context.queues.wake_tasks(&stored);
}
