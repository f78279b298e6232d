//! How tasks and sets hear of each other: the tasks' watch feeds the index of members and wakes sets; a change of a set wakes
//! those of its members for which something is different.

use std::{
    collections::HashMap,
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

use super::members::{MemberIndex, WatchedTask};
use crate::{
    api::{
        parent::Parent,
        set::{LongTaskSet, LongTaskSetStatus, parent_of, set_of},
        task::LongTask,
    },
    runtime::{fanout::Listener, filled::Filled, key::ObjectKey, mutation_cache::MutationCache},
    set::plan::index_of,
    types::Ranges,
};

/// A set as it is watched: one that cannot be read must not stop the watch of all others.
pub type WatchedSet = DeserializeGuard<LongTaskSet>;

/// Looks up what a task sees of its set; none for one that is of no set.
type ParentOf = Arc<dyn Fn(&LongTask) -> Option<Parent> + Send + Sync>;

/// What a tasks' controller needs to know of sets.
pub struct SetLinks {
    /// Hears of all tasks.
    pub listener: Listener<WatchedTask>,
    /// What a task sees of the set that it is a member of; none for one that is of no set.
    pub parent_of: ParentOf,
    /// Ends when all sets are known.
    pub filled: BoxFuture<'static, ()>,
    /// The tasks to look at again, since their set has changed for them.
    pub touched: UnboundedReceiver<ObjectRef<WatchedTask>>,
}

/// The sets, as a controller of them knows them, and how it is told of their members.
#[derive(Clone)]
pub(super) struct Sets {
    pub(super) store: Store<WatchedSet>,
    pub(super) filled: Filled,
    pub(super) written: Arc<MutationCache<LongTaskSet>>,
    pub(super) members: MemberIndex,
    told: Arc<Mutex<HashMap<ObjectKey, Told>>>,
    wake_tasks: UnboundedSender<ObjectRef<WatchedTask>>,
}

/// What the members of a set were told last, by looking at it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Told {
    uid: String,
    /// What concerns all of them.
    round: i64,
    suspend: bool,
    stop: bool,
    renew: bool,
    /// Whose turn it was.
    active: Ranges,
}

impl Told {
    fn by(set: &LongTaskSet) -> Self {
        let active = set.status.as_ref().map_or_else(Ranges::default, LongTaskSetStatus::active_indexes);
        // Of an index whose turn it is, if there is one: what is the same for all.
        let Parent { round, suspend, stop, renew, .. } = parent_of(set, active.first().unwrap_or(0));
        Self { uid: set.uid().unwrap_or_default(), round, suspend, stop, renew, active }
    }

    fn concerns_all(&self) -> (&str, i64, bool, bool, bool) {
        (&self.uid, self.round, self.suspend, self.stop, self.renew)
    }
}

impl Sets {
    /// What knows the sets of a store, and the links by which tasks hear of them. The receiver has the sets to look at again.
    pub(super) fn new(store: Store<WatchedSet>) -> (Self, SetLinks, UnboundedReceiver<ObjectRef<WatchedSet>>) {
        let (wake_tasks, touched) = mpsc::unbounded_channel();
        let (wake_sets, woken) = mpsc::unbounded_channel();
        let members = MemberIndex::new();
        let sets = Self {
            store,
            filled: Filled::default(),
            written: Arc::default(),
            members,
            told: Arc::default(),
            wake_tasks,
        };
        let (index, lookup, filled) = (sets.members.clone(), sets.clone(), sets.filled.clone());
        let links = SetLinks {
            listener: Box::new(move |event: &Event<WatchedTask>| {
                for set in index.take(event) {
                    // The receiver ends only with the controller of sets, and we with it.
                    let _ = wake_sets.send(set.to_ref());
                }
            }),
            parent_of: Arc::new(move |task| lookup.parent_of(task)),
            filled: async move { filled.wait().await }.boxed(),
            touched,
        };
        (sets, links, woken)
    }

    /// What a task sees of its set, as it was read or written last; none for one that is of no set.
    fn parent_of(&self, task: &LongTask) -> Option<Parent> {
        let index = index_of(task)?;
        let owner = set_of(task)?;
        let key = ObjectKey { namespace: task.namespace()?, name: owner.name.clone() };
        let is_own = |set: &&LongTaskSet| set.metadata.uid.as_ref() == Some(&owner.uid);
        let seen = |set: Option<&LongTaskSet>| set.filter(is_own).map_or(Parent::GONE, |set| parent_of(set, index));
        Some(self.written.look_at(&key, || self.store.get(&key.to_ref()), seen))
    }

    /// Wakes the members for which something is different in this reading of their set: all when it pauses, stops or begins
    /// another round, else those whose turn has come or is over.
    pub(super) fn wake_members(&self, set: &LongTaskSet) {
        let (key, told) = (ObjectKey::of(set), Told::by(set));
        let before = self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(key.clone(), told.clone());
        let before = before.unwrap_or_default();
        let names = if before.concerns_all() == told.concerns_all() {
            let changed = before.active.without(&told.active).union(&told.active.without(&before.active));
            if changed.is_empty() {
                return;
            }
            self.members.names(&told.uid, Some(&changed))
        } else {
            self.members.names(&told.uid, None)
        };
        self.wake(&key.namespace, names);
    }

    /// Wakes the members of a set that is gone: they may have been left behind.
    pub(super) fn wake_orphans(&self, set: &WatchedSet) {
        let key = ObjectKey::of(set);
        self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
        self.wake(&key.namespace, self.members.names(&set.uid().unwrap_or_default(), None));
    }

    /// Wakes the members of all sets that are not there any more, after a complete list.
    pub(super) fn wake_members_of_gone(&self) {
        let is_gone = |key: &ObjectKey| self.store.get(&key.to_ref()).is_none();
        let gone: Vec<_> = {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let mut gone: Vec<_> = told.keys().filter(|key| is_gone(key)).cloned().collect();
            // In a fixed order, so that a simulation can be repeated.
            gone.sort_unstable();
            gone.into_iter().filter_map(|key| told.remove_entry(&key)).collect()
        };
        for (key, told) in gone {
            self.wake(&key.namespace, self.members.names(&told.uid, None));
        }
    }

    fn wake(&self, namespace: &str, names: Vec<String>) {
        for name in names {
            // The receiver ends only with the controller of tasks, and we with it.
            let _ = self.wake_tasks.send(ObjectRef::new(&name).within(namespace));
        }
    }
}

/// The names of the tasks that a receiver has now.
#[cfg(test)]
fn waiting(touched: &mut UnboundedReceiver<ObjectRef<WatchedTask>>) -> Vec<String> {
    std::iter::from_fn(|| touched.try_recv().ok()).map(|task| task.name).collect()
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::{Value, json};

    use super::*;

    fn member(index: u32) -> WatchedTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": format!("s-{index}"), "namespace": "n", "uid": format!("u{index}"), "ownerReferences": [{
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "name": "s", "uid": "set-uid", "controller": true,
            }] },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
        }))
        .expect("a task")
    }

    fn set(version: u64, spec: &Value, status: &Value) -> LongTaskSet {
        let mut whole = json!({ "templateRef": { "name": "t" }, "count": 9 });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "spec": whole, "status": status,
            "metadata": { "name": "s", "namespace": "n", "uid": "set-uid", "resourceVersion": version.to_string() },
        }))
        .expect("a set")
    }

    #[test]
    fn a_change_of_a_set_wakes_those_for_whom_something_is_different() {
        let (store, _writer) = reflector::store();
        let (sets, mut links, _woken) = Sets::new(store);
        for index in 0..4 {
            (links.listener)(&Event::Apply(member(index)));
        }
        let next = |next: i64, failed: &str| json!({ "round": { "number": 1 }, "next": next, "failed": { "indexes": failed } });
        let woken = |links: &mut SetLinks, set: &LongTaskSet| {
            sets.wake_members(set);
            waiting(&mut links.touched)
        };
        let all = ["s-0", "s-1", "s-2", "s-3"];
        assert_eq!(woken(&mut links, &set(1, &json!({}), &next(2, ""))), all, "the first reading");
        assert_eq!(woken(&mut links, &set(2, &json!({}), &next(3, "0"))), ["s-0", "s-2"]);
        assert_eq!(woken(&mut links, &set(3, &json!({ "maxParallel": 5 }), &next(3, "0"))), [""; 0]);
        assert_eq!(woken(&mut links, &set(4, &json!({ "suspend": true }), &next(3, "0"))), all);
    }

    #[test]
    fn a_task_sees_its_set_as_it_was_written_last() {
        let (store, mut writer) = reflector::store();
        let (sets, links, _woken) = Sets::new(store);
        let seen = |task: WatchedTask| (links.parent_of)(&task.0.expect("readable"));
        assert_eq!(seen(member(1)), Some(Parent::GONE), "not known yet");
        let begun = |next: i64| json!({ "round": { "number": 1 }, "next": next });
        let watched = set(1, &json!({}), &begun(0));
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(watched))));
        assert_eq!(seen(member(1)).map(|parent| parent.active), Some(false));
        let key = ObjectKey { namespace: "n".into(), name: "s".into() };
        sets.written.keep(key, Arc::new(set(2, &json!({}), &begun(2))));
        assert_eq!(seen(member(1)).map(|parent| parent.active), Some(true));
        let mut plain = member(1).0.expect("readable");
        plain.metadata.owner_references = None;
        assert_eq!((links.parent_of)(&plain), None);
    }
}
