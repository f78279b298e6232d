//! One look at one set: observe, plan, execute.

use std::{sync::Arc, time::Duration};

use kube::{ResourceExt, core::error_boundary::InvalidObject, runtime::controller::Action};
use tracing::{debug, warn};

use super::{
    context::Context,
    execute::{Executed, execute},
    links::WatchedSet,
    observe::observe,
    publish::publish,
};
use crate::{
    api::set::LongTaskSet,
    runtime::{error::Error, key::ObjectKey},
    set::plan::{EventType, SetEvent, SetEventReason, SetWake, plan},
};

/// A set that nothing happened to is looked at this often, in case an event got lost.
const RESYNC: Duration = Duration::from_mins(10);
/// The soonest that a set is looked at again by itself.
const SOONEST: Duration = Duration::from_millis(10);

/// Brings one set as far as it goes now.
pub(super) async fn reconcile(set: Arc<WatchedSet>, context: Arc<Context>) -> Result<Action, Error> {
    let key = ObjectKey::of(&*set);
    context.queue_depth.remove(&key);
    let result = match &set.0 {
        Ok(watched) => {
            let newest = context.sets.written.newest(&key, watched);
            sync(newest.as_deref().unwrap_or(watched), &key, &context).await
        }
        Err(invalid) => {
            publish_unreadable(&set, invalid, &context);
            Ok(Action::await_change())
        }
    };
    if result.is_ok() {
        context.backoffs.forget(&key);
    }
    result
}

async fn sync(set: &LongTaskSet, key: &ObjectKey, context: &Context) -> Result<Action, Error> {
    if let Some(left) = context.pace.left(key) {
        return Ok(Action::requeue(left));
    }
    let (seen, template) = observe(context, set).await?;
    let planned = plan(&seen, context.clock.now());
    drop(seen);
    Ok(match execute(context, set, template.as_deref(), planned).await? {
        Executed::Done(wake) => action(context, key, wake),
        Executed::Refused => Action::requeue(soon(context, key)),
        Executed::SetGone => {
            context.forget_uid(&set.uid().unwrap_or_default());
            Action::await_change()
        }
    })
}

/// As soon as the set may be written again.
fn soon(context: &Context, key: &ObjectKey) -> Duration {
    context.pace.left(key).unwrap_or(SOONEST).max(SOONEST)
}

fn action(context: &Context, key: &ObjectKey, wake: SetWake) -> Action {
    Action::requeue(match wake {
        SetWake::OnChange => RESYNC,
        SetWake::Now => soon(context, key),
        SetWake::At(time) => context.clock.until(time).clamp(SOONEST, RESYNC),
    })
}

/// The API server admits what the definition allows, which may be more than we can read.
fn publish_unreadable(set: &WatchedSet, invalid: &InvalidObject, context: &Context) {
    let (name, namespace) = (&invalid.metadata.name, &invalid.metadata.namespace);
    warn!(set = name, namespace, error = invalid.error, "cannot read this set");
    let note = format!("Cannot run this set, since it cannot be read: {}. Correct that field.", invalid.error);
    let (type_, reason) = (EventType::Warning, SetEventReason::Unreadable);
    publish(context, set, SetEvent { type_, reason, action: "Read".to_owned(), note });
}

/// How soon to try again after an error.
pub(super) fn error_policy(set: &WatchedSet, error: &Error, context: &Context) -> Action {
    let key = ObjectKey::of(set);
    let delay = context.backoffs.after(&key, error);
    if error.is_conflict() {
        debug!(set = key.name, namespace = key.namespace, %error, "planned from an old reading");
    } else {
        warn!(set = key.name, namespace = key.namespace, %error, retry_in = ?delay, "could not bring the set on");
    }
    Action::requeue(delay)
}
