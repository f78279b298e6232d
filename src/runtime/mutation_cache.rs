//! Objects as we wrote them last, for as long as their watch has not caught up, like client-go's `MutationCache`.
//!
//! A pod's event often arrives before the watch of tasks tells of our own write of a moment ago. A plan from the older
//! reading would be refused as a conflict, and the task would have to wait for no reason.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::ResourceExt;

use super::key::{ObjectKey, version};

/// The answers to writes that the watch has not told of yet: a few at a time.
#[derive(Debug)]
pub(crate) struct MutationCache<K>(Mutex<HashMap<ObjectKey, Arc<K>>>);

impl<K> Default for MutationCache<K> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<K: ResourceExt> MutationCache<K> {
    /// Keeps the API server's answer to a write.
    pub(crate) fn keep(&self, key: ObjectKey, answer: Arc<K>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key, answer);
    }

    /// The newer of what the watch tells and what was written; forgets a write that the watch has caught up with.
    pub(crate) fn newest(&self, key: &ObjectKey, watched: &K) -> Option<Arc<K>> {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ahead = written
            .get(key)
            .is_some_and(|written| written.uid() == watched.uid() && version(&**written) > version(watched));
        if is_ahead {
            return written.get(key).cloned();
        }
        written.remove(key);
        None
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::api::ObjectMeta;

    use super::*;

    fn key() -> ObjectKey {
        ObjectKey { namespace: "n".into(), name: "t".into() }
    }

    fn object(uid: &str, version: &str) -> ConfigMap {
        let metadata =
            ObjectMeta { uid: Some(uid.into()), resource_version: Some(version.into()), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    }

    fn newest_after_write(written: (&str, &str), watched: (&str, &str)) -> Option<String> {
        let memory = MutationCache::default();
        memory.keep(key(), Arc::new(object(written.0, written.1)));
        memory.newest(&key(), &object(watched.0, watched.1))?.metadata.resource_version.clone()
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
        let memory = MutationCache::default();
        memory.keep(key(), Arc::new(object("u", "10")));
        assert!(memory.newest(&key(), &object("u", "10")).is_none());
        assert!(memory.newest(&key(), &object("u", "9")).is_none(), "a list that is older than the watch was");
    }
}
