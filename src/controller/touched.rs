//! Tasks that something happened to and that have not been reconciled since: the depth of the queue.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex, PoisonError},
};

use super::pods::TaskKey;
use crate::telemetry::metrics::Metrics;

/// The tasks that wait for a reconcile; clones share them. Those that only wait for their time are not among them.
#[derive(Clone, Debug)]
pub(super) struct Touched {
    tasks: Arc<Mutex<HashSet<TaskKey>>>,
    metrics: Metrics,
}

impl Touched {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { tasks: Arc::default(), metrics }
    }

    /// A watch tells of the task, or of a pod of it.
    pub(super) fn add(&self, task: TaskKey) {
        self.change(|tasks| tasks.insert(task));
    }

    /// A reconcile of the task begins, or will not come, since it is gone.
    pub(super) fn remove(&self, task: &TaskKey) {
        self.change(|tasks| tasks.remove(task));
    }

    fn change(&self, change: impl FnOnce(&mut HashSet<TaskKey>) -> bool) {
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
        let touched = Touched::new(metrics.clone());
        let task = TaskKey { namespace: "a".into(), name: "b".into() };
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
