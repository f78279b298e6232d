//! What every watch needs, of whichever kind.

use kube::{
    ResourceExt,
    runtime::{
        controller::{self, Action},
        reflector::{Lookup, ObjectRef},
        watcher,
    },
};
use tracing::warn;

use super::{error::Error, key::ObjectKey};
use crate::telemetry::health::Heartbeat;

/// What `kubectl apply` leaves behind: the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Strips fields that are never read, to save memory.
pub(crate) fn strip_unread_fields(object: &mut impl ResourceExt) {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
}

/// Tells the health whether the watch goes well, and the log when it does not.
pub(crate) fn report_watch_health<T>(heartbeat: &Heartbeat, event: &Result<T, watcher::Error>) {
    match event {
        Ok(_) => heartbeat.beat(),
        Err(error) => {
            heartbeat.failed(error);
            warn!(%error, "a watch broke and will be resumed");
        }
    }
}

/// The object that was to be reconciled and is not in the cache, if that is the news.
pub(crate) fn missing_object<K: Lookup>(
    result: Result<(ObjectRef<K>, Action), controller::Error<Error, watcher::Error>>,
) -> Option<ObjectKey> {
    match result {
        Err(controller::Error::ObjectNotFound(object)) => Some(ObjectKey::from(&*object)),
        Err(controller::Error::RunnerError(error)) => {
            warn!(%error, "the queue of reconciles broke");
            None
        }
        // Reported where they happened: by the watch, and by the reconcile.
        Err(controller::Error::QueueError(_) | controller::Error::ReconcilerFailed(..)) | Ok(_) => None,
    }
}
