//! How tasks and queues hear of each other: the tasks' watch feeds the index and wakes queues; a change of a queue wakes those of
//! its tasks for which something is different.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use futures::{FutureExt, future::BoxFuture};
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::{
        reflector::{ObjectRef, Store},
        watcher::Event,
    },
};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

use super::index::{QueueIndex, WatchedTask};
use crate::{
    api::{
        queue::{Admission, Holder, QueueKey, TaskQueue, admission_of},
        task::LongTask,
    },
    runtime::{
        fanout::Listener,
        filled::Filled,
        key::{ObjectKey, version},
        mutation_cache::MutationCache,
    },
};

/// A queue as it is watched: one that cannot be read must not stop the watch of all others.
pub type WatchedQueue = DeserializeGuard<TaskQueue>;

/// Looks up what a task sees of the queue that it names.
type AdmissionOf = Arc<dyn Fn(&LongTask) -> Admission + Send + Sync>;

/// Says of a queue, as a task of this namespace names it, whether so many wait in it that no further ones should be made for it.
pub type IsFull = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// What a tasks' controller needs to know of queues.
pub struct TaskLinks {
    /// Hears of all tasks.
    pub listener: Listener<WatchedTask>,
    /// Looks up what a task sees of its queue.
    pub admission_of: AdmissionOf,
    /// Ends when all queues are known.
    pub filled: BoxFuture<'static, ()>,
    /// The tasks to look at again, since their queue has changed for them.
    pub touched: UnboundedReceiver<ObjectRef<WatchedTask>>,
}

/// The queues, as a controller of them knows them, and how it is told of their tasks.
#[derive(Clone)]
pub(super) struct Queues {
    pub(super) store: Store<WatchedQueue>,
    pub(super) filled: Filled,
    pub(super) written: Arc<MutationCache<TaskQueue>>,
    pub(super) index: QueueIndex,
    told: Arc<Mutex<HashMap<ObjectKey, Told>>>,
    wake_tasks: UnboundedSender<ObjectRef<WatchedTask>>,
}

/// What the tasks of a queue were told last, by looking at it.
#[derive(Clone, Debug, Default)]
struct Told {
    version: Option<u64>,
    uid: String,
    generation: i64,
    holders: HashSet<Holder>,
}

impl Queues {
    /// What knows the queues of a store, and the links by which tasks hear of them. The receiver has the queues to look at again.
    pub(super) fn new(store: Store<WatchedQueue>) -> (Self, TaskLinks, UnboundedReceiver<ObjectRef<WatchedQueue>>) {
        let (wake_tasks, touched) = mpsc::unbounded_channel();
        let (wake_queues, woken) = mpsc::unbounded_channel();
        let queues = Self {
            store,
            filled: Filled::default(),
            written: Arc::default(),
            index: QueueIndex::new(),
            told: Arc::default(),
            wake_tasks,
        };
        let (index, lookup, filled) = (queues.index.clone(), queues.clone(), queues.filled.clone());
        let links = TaskLinks {
            listener: Box::new(move |event: &Event<WatchedTask>| {
                for queue in index.take(event) {
                    // The receiver ends only with the controller of queues, and we with it.
                    let _ = wake_queues.send(object_key(&queue).to_ref());
                }
            }),
            admission_of: Arc::new(move |task| lookup.admission_of(task)),
            filled: async move { filled.wait().await }.boxed(),
            touched,
        };
        (queues, links, woken)
    }

    /// What says whether so many wait in a queue that no further ones should be made for it.
    pub(super) fn is_full(&self) -> IsFull {
        let queues = self.clone();
        Arc::new(move |name, namespace| {
            let is_full = |queue: &TaskQueue| queue.allows(namespace) && queue.is_full();
            queues.look_at(&object_key(&QueueKey::meant_by(name, namespace)), |queue| queue.is_some_and(is_full))
        })
    }

    /// Looks at a queue as it was read or written last; at nothing where there is none that can be read.
    fn look_at<R>(&self, key: &ObjectKey, look: impl FnOnce(Option<&TaskQueue>) -> R) -> R {
        self.written.look_at(key, || self.store.get(&key.to_ref()), look)
    }

    /// What a task sees of the queue that it names.
    fn admission_of(&self, task: &LongTask) -> Admission {
        let Some(name) = &task.spec.queue_name else { return Admission::NotAsked };
        let namespace = task.namespace().unwrap_or_default();
        let uid = task.metadata.uid.as_deref().unwrap_or_default();
        let seen_in = |queue: &TaskQueue| admission_of(queue, &namespace, &task.name_any(), uid);
        let queue = object_key(&QueueKey::meant_by(name, &namespace));
        self.look_at(&queue, |queue| queue.map_or(Admission::Missing, seen_in))
    }

    /// Wakes the tasks for which something is different in this reading of their queue: all when it has been edited, else those
    /// that were called.
    pub(super) fn wake_tasks(&self, queue: &TaskQueue) {
        let key = ObjectKey::of(queue);
        let holders = queue.holders();
        let told = Told {
            version: version(queue),
            uid: queue.uid().unwrap_or_default(),
            generation: queue.metadata.generation.unwrap_or_default(),
            holders: holders.iter().cloned().collect(),
        };
        let mut all_told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let before = all_told.get(&key).cloned().unwrap_or_default();
        if before.uid == told.uid && before.version > told.version {
            // The watch tells of a write before ours.
            return;
        }
        let concerns_all = (&before.uid, before.generation) != (&told.uid, told.generation);
        all_told.insert(key.clone(), told);
        drop(all_told);
        if concerns_all {
            return self.wake_all(&key);
        }
        for holder in holders.iter().filter(|holder| !before.holders.contains(*holder)) {
            self.wake(holder.namespace(), holder.name());
        }
    }

    /// Wakes the tasks of a queue that is gone: they cannot start.
    pub(super) fn wake_tasks_of_gone(&self, queue: &WatchedQueue) {
        let key = ObjectKey::of(queue);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.wake_all(&key);
    }

    /// Wakes the tasks of all queues that are not there any more, after a complete list.
    pub(super) fn wake_tasks_of_all_gone(&self) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let mut gone: Vec<_> = told.keys().filter(|key| self.store.get(&key.to_ref()).is_none()).cloned().collect();
        for key in &gone {
            told.remove(key);
        }
        drop(told);
        // In a fixed order, so that a simulation can be repeated.
        gone.sort_unstable();
        for key in gone {
            self.wake_all(&key);
        }
    }

    fn wake_all(&self, queue: &ObjectKey) {
        let key = QueueKey { namespace: queue.namespace.clone(), name: queue.name.clone() };
        for task in self.index.of(&key, &[]) {
            self.wake(&task.namespace, &task.name);
        }
    }

    fn wake(&self, namespace: &str, name: &str) {
        // The receiver ends only with the controller of tasks, and we with it.
        let _ = self.wake_tasks.send(ObjectRef::new(name).within(namespace));
    }
}

/// A queue as controllers name objects.
fn object_key(queue: &QueueKey) -> ObjectKey {
    ObjectKey { namespace: queue.namespace.clone(), name: queue.name.clone() }
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;
    use crate::api::queue::OpenQueue;

    fn task(name: &str) -> WatchedTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": name, "namespace": "n", "uid": format!("uid-of-{name}") },
            "spec": { "queueName": "q", "template": { "spec": { "containers": [{ "name": "main" }] } } },
        }))
        .expect("a task")
    }

    fn queue(version: u64, generation: i64, holders: &[(&str, i64)]) -> TaskQueue {
        let holders: Vec<Value> = holders
            .iter()
            .map(|(name, ticket)| json!({ "task": format!("n/{name}"), "uid": format!("uid-of-{name}"), "ticket": ticket }))
            .collect();
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": "q", "namespace": "n", "uid": "u", "resourceVersion": version.to_string(),
                          "generation": generation },
            "spec": { "maxActive": 2 }, "status": { "holders": holders },
        }))
        .expect("a queue")
    }

    fn woken(links: &mut TaskLinks) -> Vec<String> {
        std::iter::from_fn(|| links.touched.try_recv().ok()).map(|task| task.name).collect()
    }

    #[test]
    fn those_are_woken_who_were_called_and_all_after_an_edit() {
        let (store, _writer) = reflector::store();
        let (queues, mut links, _woken) = Queues::new(store);
        for name in ["a", "b", "c"] {
            (links.listener)(&Event::Apply(task(name)));
        }
        queues.wake_tasks(&queue(1, 1, &[]));
        assert_eq!(woken(&mut links), ["a", "b", "c"], "the first reading");
        queues.wake_tasks(&queue(3, 1, &[("a", 1)]));
        assert_eq!(woken(&mut links), ["a"]);
        queues.wake_tasks(&queue(2, 1, &[("b", 1)]));
        assert_eq!(woken(&mut links), [""; 0], "an older reading");
        queues.wake_tasks(&queue(4, 1, &[("a", 2), ("b", 1)]));
        assert_eq!(woken(&mut links), ["a", "b"], "another ticket is another call");
        queues.wake_tasks(&queue(5, 2, &[("a", 2), ("b", 1)]));
        assert_eq!(woken(&mut links), ["a", "b", "c"]);
        queues.wake_tasks_of_gone(&DeserializeGuard(Ok(queue(5, 2, &[]))));
        assert_eq!(woken(&mut links), ["a", "b", "c"]);
    }

    #[test]
    fn a_task_sees_its_queue_as_it_was_written_last() {
        let (store, mut writer) = reflector::store();
        let (queues, links, _woken) = Queues::new(store);
        let seen = || (links.admission_of)(&task("a").0.expect("readable"));
        assert_eq!(seen(), Admission::Missing);
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(queue(1, 1, &[])))));
        assert_eq!(seen(), Admission::Open(OpenQueue::default()));
        queues.written.keep(ObjectKey { namespace: "n".into(), name: "q".into() }, Arc::new(queue(2, 1, &[("a", 3)])));
        assert_eq!(seen(), Admission::Open(OpenQueue { called: Some(3), ..OpenQueue::default() }));
    }
}
