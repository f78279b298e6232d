//! Objects that something happened to and that have not been reconciled since: the depth of the queue.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::metrics::gauge::Gauge;

use super::{key::ObjectKey, metrics::RuntimeMetrics};

/// The objects of a kind that wait for a reconcile; clones share them. Those that only wait for their time are not among
/// them. The metric is the sum over all kinds.
#[derive(Clone, Debug)]
pub(crate) struct QueueDepth {
    waiting: Arc<Mutex<HashSet<ObjectKey>>>,
    depth: Gauge,
}

impl QueueDepth {
    pub(crate) fn new(metrics: &RuntimeMetrics) -> Self {
        Self { waiting: Arc::default(), depth: metrics.queue_depth.clone() }
    }

    /// A watch tells of the object, or of something that it owns.
    pub(crate) fn add(&self, object: ObjectKey) {
        if self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(object) {
            self.depth.inc();
        }
    }

    /// A reconcile of the object begins, or will not come, since it is gone.
    pub(crate) fn remove(&self, object: &ObjectKey) {
        if self.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(object) {
            self.depth.dec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::metrics::Registry;

    #[test]
    fn an_object_waits_once_however_often_it_is_touched() {
        let metrics = RuntimeMetrics::register(&mut Registry::new());
        let queue = QueueDepth::new(&metrics);
        let object = ObjectKey { namespace: "a".into(), name: "b".into() };
        queue.add(object.clone());
        queue.add(object.clone());
        assert_eq!(metrics.queue_depth.get(), 1);
        queue.remove(&object);
        queue.remove(&object);
        assert_eq!(metrics.queue_depth.get(), 0);
    }

    #[test]
    fn the_queues_of_all_kinds_are_added_up() {
        let metrics = RuntimeMetrics::register(&mut Registry::new());
        let object = ObjectKey { namespace: "a".into(), name: "b".into() };
        QueueDepth::new(&metrics).add(object.clone());
        QueueDepth::new(&metrics).add(object);
        assert_eq!(metrics.queue_depth.get(), 2);
    }
}
