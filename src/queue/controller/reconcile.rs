//! One look at one queue: observe, plan, execute.

use std::{sync::Arc, time::Duration};

use kube::{core::error_boundary::InvalidObject, runtime::controller::Action};
use tracing::{debug, warn};

use super::{
    context::Context,
    execute::{Executed, execute},
    links::WatchedQueue,
    observe::observe,
    publish::publish,
};
use crate::{
    api::queue::TaskQueue,
    queue::plan::{QueueEvent, QueueEventReason, QueueWake, plan},
    runtime::{error::Error, key::ObjectKey},
};

/// A queue that nothing happened to is looked at this often, in case an event got lost.
const RESYNC: Duration = Duration::from_mins(10);
/// The soonest that a queue is looked at again by itself.
const SOONEST: Duration = Duration::from_millis(10);

/// Brings one queue as far as it goes now.
pub(super) async fn reconcile(queue: Arc<WatchedQueue>, context: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectKey::of(&*queue);
    context.queue_depth.remove(&key);
    let result = match &queue.0 {
        Ok(watched) => {
            let newest = context.queues.written.newest(&key, watched);
            sync(newest.as_deref().unwrap_or(watched), &key, &context).await
        }
        Err(invalid) => {
            publish_unreadable(&queue, invalid, &context);
            Ok(Action::await_change())
        }
    };
    if result.is_ok() {
        context.backoffs.forget(&key);
    }
    result
}

async fn sync(queue: &TaskQueue, key: &ObjectKey, context: &Context) -> Result<Action, Error> {
    if let Some(left) = context.pace.left(key) {
        return Ok(Action::requeue(left));
    }
    let seen = observe(context, queue).await?;
    let planned = plan(&seen, context.clock.precise());
    drop(seen);
    Ok(match execute(context, queue, planned).await? {
        Executed::Done(QueueWake::OnChange) => Action::requeue(RESYNC),
        Executed::Done(QueueWake::At(time)) => Action::requeue(context.clock.until(time).clamp(SOONEST, RESYNC)),
        Executed::QueueGone => Action::await_change(),
    })
}

/// The API server admits what the definition allows, which may be more than we can read.
fn publish_unreadable(queue: &WatchedQueue, invalid: &InvalidObject, context: &Context) {
    let (name, namespace) = (&invalid.metadata.name, &invalid.metadata.namespace);
    warn!(queue = name, namespace, error = invalid.error, "cannot read this queue");
    let note = format!("Nobody is called, since this queue cannot be read: {}. Correct that field.", invalid.error);
    publish(context, queue, QueueEvent { reason: QueueEventReason::Unreadable, note });
}

/// How soon to try again after an error.
pub(super) fn error_policy(queue: &WatchedQueue, error: &Error, context: &Context) -> Action {
    let key = ObjectKey::of(queue);
    let delay = context.backoffs.after(&key, error);
    if error.is_conflict() {
        debug!(queue = key.name, namespace = key.namespace, %error, "planned from an old reading");
    } else {
        warn!(queue = key.name, namespace = key.namespace, %error, retry_in = ?delay, "could not bring the queue on");
    }
    Action::requeue(delay)
}
