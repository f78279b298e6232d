//! Objects as we wrote them last, for as long as their watch has not caught up, like client-go's `MutationCache`.
//!
//! A pod's event often arrives before the watch of tasks tells of our own write of a moment ago. A plan from the older
//! reading would be refused as a conflict, and the task would have to wait for no reason.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use kube::{ResourceExt, core::DeserializeGuard};

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

    /// What was written, if it is newer than what the watch tells; forgets a write that the watch has caught up with.
    ///
    /// For the object's own reconcile: if somebody else has seen a newer reading since, both may be older than the object is. A write
    /// made from them is refused, and the watch wakes the object again.
    pub(crate) fn newest(&self, key: &ObjectKey, watched: &K) -> Option<Arc<K>> {
        newest(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner), key, watched)
    }

    /// Looks at the newer of what the watch tells and what was written, or at nothing where the watch tells of nothing that can be
    /// read. For others than the object's own reconcile.
    ///
    /// Reconciles run on several threads. So what the watch tells is read while nobody can forget a write: else one reads the store,
    /// another one sees in it that the watch has caught up, and the first finds the write neither here nor there, and would wait
    /// for news that have come already.
    pub(crate) fn look_at<R>(
        &self,
        key: &ObjectKey,
        watched: impl FnOnce() -> Option<Arc<DeserializeGuard<K>>>,
        look: impl FnOnce(Option<&K>) -> R,
    ) -> R {
        let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let watched = watched();
        let watched = watched.as_deref().and_then(|watched| watched.0.as_ref().ok());
        let ahead = watched.and_then(|watched| newest(&mut written, key, watched));
        drop(written);
        look(ahead.as_deref().or(watched))
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, key: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn newest<K: ResourceExt>(written: &mut HashMap<ObjectKey, Arc<K>>, key: &ObjectKey, watched: &K) -> Option<Arc<K>> {
    let is_ahead = |written: &&Arc<K>| written.uid() == watched.uid() && version(&***written) > version(watched);
    let ahead = written.get(key).filter(is_ahead).cloned();
    if ahead.is_none() {
        written.remove(key);
    }
    ahead
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

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

    fn guarded(version: &str) -> Arc<DeserializeGuard<ConfigMap>> {
        Arc::new(DeserializeGuard(Ok(object("u", version))))
    }

    /// What somebody sees who looks while the watch tells of this version.
    fn seen(memory: &MutationCache<ConfigMap>, watched: &str) -> Option<String> {
        let version = |seen: Option<&ConfigMap>| seen?.metadata.resource_version.clone();
        memory.look_at(&key(), || Some(guarded(watched)), version)
    }

    #[test]
    fn others_see_the_write_until_the_watch_has_caught_up_and_nothing_without_the_watch() {
        let memory = MutationCache::default();
        memory.keep(key(), Arc::new(object("u", "10")));
        assert_eq!(seen(&memory, "9").as_deref(), Some("10"));
        assert!(memory.look_at(&key(), || None, |seen| seen.is_none()), "it is gone");
        assert_eq!(seen(&memory, "10").as_deref(), Some("10"));
        assert_eq!(seen(&memory, "9").as_deref(), Some("9"), "the write is forgotten");
    }

    #[test]
    fn a_write_is_not_forgotten_while_somebody_reads_what_the_watch_tells() {
        let memory = MutationCache::default();
        memory.keep(key(), Arc::new(object("u", "10")));
        let (memory, (looked, other)) = (&memory, mpsc::channel());
        let own = thread::scope(|threads| {
            let slow = || {
                // Another one reads a moment later, when the watch has caught up. It has to wait; if it did not, it would have
                // forgotten the write long before this gives up.
                threads.spawn(move || looked.send(seen(memory, "10")));
                assert!(other.recv_timeout(Duration::from_millis(100)).is_err(), "it did not wait");
                Some(guarded("9"))
            };
            memory.look_at(&key(), slow, |seen| seen.and_then(|seen| seen.metadata.resource_version.clone()))
        });
        assert_eq!(own.as_deref(), Some("10"));
    }
}
