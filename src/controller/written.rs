//! Tasks as we wrote them last, for as long as their watch has not caught up.
//!
//! A pod's event often arrives before the watch of tasks tells of our own write of a moment ago. A plan from the older
//! reading would be refused as a conflict, and the task would have to wait for no reason.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::pods::TaskKey;
use crate::api::LongTask;

/// The answers to writes that the watch has not told of yet: a few at a time.
#[derive(Debug, Default)]
pub(super) struct Written(Mutex<HashMap<TaskKey, Arc<LongTask>>>);

impl Written {
    /// Keeps the API server's answer to a write.
    pub(super) fn keep(&self, key: TaskKey, answer: Arc<LongTask>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer);
    }

    /// The newer of what the watch tells and what was written; forgets a write that the watch has caught up with.
    pub(super) fn newest(&self, key: &TaskKey, watched: &LongTask) -> Option<Arc<LongTask>> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ahead = written
            .get(key)
            .is_some_and(|written| written.metadata.uid == watched.metadata.uid && version(written) > version(watched));
        if is_ahead {
            return written.get(key).cloned();
        }
        written.remove(key);
        None
    }

    /// Forgets a task that is gone.
    pub(super) fn forget(&self, key: &TaskKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

/// Versions of one resource are in order (KEP-5504).
fn version(task: &LongTask) -> Option<u64> {
    task.metadata.resource_version.as_ref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn key() -> TaskKey {
        TaskKey { namespace: "n".into(), name: "t".into() }
    }

    fn task(uid: &str, version: &str) -> LongTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "namespace": "n", "name": "t", "uid": uid, "resourceVersion": version },
            "spec": { "template": { "spec": { "containers": [] } } },
        }))
        .expect("a task")
    }

    fn newest_after_write(written: (&str, &str), watched: (&str, &str)) -> Option<String> {
        let memory = Written::default();
        memory.keep(key(), Arc::new(task(written.0, written.1)));
        memory.newest(&key(), &task(watched.0, watched.1))?.metadata.resource_version.clone()
    }

    #[test]
    fn a_write_counts_until_the_watch_has_caught_up() {
        assert_eq!(newest_after_write(("u", "10"), ("u", "9")).as_deref(), Some("10"), "by number, not by letters");
        assert_eq!(newest_after_write(("u", "10"), ("u", "10")), None);
        assert_eq!(newest_after_write(("u", "10"), ("u", "11")), None, "somebody else has written since");
    }

    #[test]
    fn a_write_to_an_earlier_task_of_the_same_name_does_not_count() {
        assert_eq!(newest_after_write(("earlier", "10"), ("u", "9")), None);
    }

    #[test]
    fn a_write_is_forgotten_once_the_watch_has_caught_up() {
        let memory = Written::default();
        memory.keep(key(), Arc::new(task("u", "10")));
        assert!(memory.newest(&key(), &task("u", "10")).is_none());
        assert!(memory.newest(&key(), &task("u", "9")).is_none(), "a list that is older than the watch was");
    }
}
