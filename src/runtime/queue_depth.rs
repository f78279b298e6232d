//! Tasks that something happened to and that have not been reconciled since: the depth of the queue.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::key::ObjectKey;
use crate::telemetry::metrics::Metrics;

/// The tasks that wait for a reconcile; clones share them. Those that only wait for their time are not among them.
#[derive(Clone, Debug)]
pub(crate) struct QueueDepth {
    tasks: Arc<Mutex<HashSet<ObjectKey>>>,
    metrics: Metrics,
}

impl QueueDepth {
    pub(crate) fn new(metrics: Metrics) -> Self {
        Self { tasks: Arc::default(), metrics }
    }

    /// A watch tells of the task, or of a pod of it.
    pub(crate) fn add(&self, task: ObjectKey) {
        self.change(|tasks| tasks.insert(task));
    }

    /// A reconcile of the task begins, or will not come, since it is gone.
    pub(crate) fn remove(&self, task: &ObjectKey) {
        self.change(|tasks| tasks.remove(task));
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<ObjectKey>) -> bool) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if change(&mut tasks) {
            self.metrics.queue_depth(tasks.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_waits_once_however_often_it_is_touched() {
        let metrics = Metrics::new();
        let touched = QueueDepth::new(metrics.clone());
        let task = ObjectKey { namespace: "a".into(), name: "b".into() };
        let depth = |expected: &str| {
            let text = metrics.encode().expect("text");
            assert!(text.contains(&format!("longtask_reconcile_queue_depth {expected}\n")), "{text}");
        };
        touched.add(task.clone());
        touched.add(task.clone());
        depth("1");
        touched.remove(&task);
        touched.remove(&task);
        depth("0");
    }
}
