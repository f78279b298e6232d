//! What every reconcile has at hand.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, Client};

use super::{links::Queues, metrics::QueueMetrics};
use crate::{
    api::{queue::TaskQueue, task::LongTask},
    clock::Clock,
    runtime::{OperatorContext, error::Backoffs, events::Events, key::ObjectKey, pace::Pace, queue_depth::QueueDepth},
};

/// What every reconcile has at hand.
pub(super) struct Context {
    pub(super) clock: Clock,
    pub(super) metrics: QueueMetrics,
    pub(super) queues: Queues,
    pub(super) backoffs: Backoffs,
    pub(super) pace: Pace,
    pub(super) queue_depth: QueueDepth,
    pub(super) events: Events,
    /// When each queue was last written.
    writes: Mutex<HashMap<ObjectKey, Timestamp>>,
    client: Client,
}

impl Context {
    pub(super) fn new(operator: &OperatorContext, metrics: QueueMetrics, queues: Queues, events: Events) -> Self {
        Self {
            clock: operator.clock.clone(),
            metrics,
            queues,
            backoffs: Backoffs::default(),
            pace: Pace::default(),
            queue_depth: QueueDepth::new(&operator.metrics),
            events,
            writes: Mutex::default(),
            client: operator.client.clone(),
        }
    }

    pub(super) fn queues_api(&self, namespace: &str) -> Api<TaskQueue> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn tasks_api(&self, namespace: &str) -> Api<LongTask> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn pods_api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// When a queue was last written, if it was.
    pub(super) fn last_write(&self, queue: &ObjectKey) -> Option<Timestamp> {
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).get(queue).copied()
    }

    /// A queue was written.
    pub(super) fn wrote(&self, queue: &ObjectKey, bytes: usize) {
        self.pace.wrote(queue, bytes);
        let now = self.clock.precise();
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.clone(), now);
    }

    /// Forgets a queue that is gone.
    pub(super) fn forget(&self, queue: &ObjectKey) {
        self.queue_depth.remove(queue);
        self.queues.written.forget(queue);
        self.pace.forget(queue);
        self.backoffs.forget(queue);
        self.writes.lock().unwrap_or_else(PoisonError::into_inner).remove(queue);
    }
}
