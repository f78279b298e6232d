//! An index of members: the few facts of each, by the set that owns it. Fed by the tasks' watch.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use kube::{Resource, ResourceExt, core::DeserializeGuard, runtime::watcher::Event};

use crate::{
    api::{set::LongTaskSet, task::LongTask},
    runtime::{
        filled::Filled,
        key::{ObjectKey, version},
    },
    set::plan::{Facts, Member, MemberPhase},
    types::Ranges,
};

/// A task as it is watched.
pub type WatchedTask = DeserializeGuard<LongTask>;

/// What is known of the members of all sets; clones share it. As stale as the tasks' watch.
#[derive(Clone, Debug)]
pub(super) struct MemberIndex {
    known: Arc<RwLock<Known>>,
    is_filled: Filled,
}

#[derive(Debug, Default)]
struct Known {
    tables: Tables,
    /// The latest version that the watch has told of.
    watched_to: Option<u64>,
    /// How many lists were taken in. A list does not tell of what came and went before it.
    lists: u64,
    /// The list under way; it takes the place of everything known when it is complete.
    listed: Tables,
}

#[derive(Debug, Default)]
struct Tables {
    /// By the UID of the set, then by index.
    sets: HashMap<String, BTreeMap<u32, Arc<Member>>>,
    /// Where each task is.
    tasks: HashMap<ObjectKey, Place>,
}

/// Where a task is in the index.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    set: ObjectKey,
    set_uid: String,
    index: u32,
}

impl Tables {
    /// Takes a task in. Returns the place that it has now, the one that it had, and whether what decides about it has changed.
    fn put(&mut self, task: &LongTask) -> (Option<Place>, Option<Place>, bool) {
        let key = ObjectKey::of(task);
        let new = place_of(task);
        let old = self.tasks.get(&key).cloned();
        if old != new {
            self.take(&key);
        }
        let Some((place, facts)) = new.clone().zip(Facts::of(task)) else { return (None, old.clone(), old.is_some()) };
        let of_set = self.sets.entry(place.set_uid.clone()).or_default();
        let known = of_set.get(&place.index);
        if known.is_some_and(|known| known.uid == facts.member.uid && is_older(&facts.member, known)) {
            return (new, old, false);
        }
        let is_news = known.is_none_or(|known| decides(known) != decides(&facts.member));
        of_set.insert(place.index, Arc::new(facts.member));
        self.tasks.insert(key, place);
        (new, old, is_news)
    }

    /// Takes a task out.
    fn take(&mut self, key: &ObjectKey) -> Option<Place> {
        let place = self.tasks.remove(key)?;
        if let Some(of_set) = self.sets.get_mut(&place.set_uid) {
            of_set.remove(&place.index);
            if of_set.is_empty() {
                self.sets.remove(&place.set_uid);
            }
        }
        Some(place)
    }
}

impl MemberIndex {
    pub(super) fn new() -> Self {
        Self { known: Arc::default(), is_filled: Filled::default() }
    }

    /// Waits until the first list is complete.
    pub(super) async fn filled(&self) {
        self.is_filled.wait().await;
    }

    /// The members of the set of this UID.
    pub(super) fn of(&self, set_uid: &str) -> BTreeMap<u32, Arc<Member>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.tables.sets.get(set_uid).cloned().unwrap_or_default()
    }

    /// The names of those members of the set that `are_meant`; all where that is none.
    pub(super) fn names(&self, set_uid: &str, are_meant: Option<&Ranges>) -> Vec<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let members = known.tables.sets.get(set_uid).into_iter().flat_map(BTreeMap::values);
        let is_meant = |member: &&Arc<Member>| are_meant.is_none_or(|meant| meant.contains(member.index));
        members.filter(is_meant).map(|member| member.name.clone()).collect()
    }

    /// How many complete lists it has taken in.
    pub(super) fn lists(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).lists
    }

    /// Takes in a member that was created, or found, since there were that many lists, so that it is not created again before
    /// the watch tells of it. Only if the watch has not come as far: else it has told of it, and may have seen it go.
    pub(super) fn learn(&self, task: &LongTask, lists: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_behind = version(task).is_some_and(|version| Some(version) > known.watched_to);
        if is_behind && known.lists == lists {
            known.tables.put(task);
        }
    }

    /// Forgets a member that was deleted.
    pub(super) fn forget(&self, namespace: &str, name: &str, uid: &str) {
        let key = ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = known.tables.tasks.get(&key).cloned() else { return };
        let member = known.tables.sets.get(&place.set_uid).and_then(|members| members.get(&place.index));
        if member.is_some_and(|member| member.uid == uid) {
            known.tables.take(&key);
        }
    }

    /// Takes an event of the tasks' watch; returns the sets to look at again.
    pub(super) fn take(&self, event: &Event<WatchedTask>) -> Vec<ObjectKey> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                known.listed = Tables::default();
                Vec::new()
            }
            Event::InitApply(task) => {
                known.watched_to = known.watched_to.max(version(task));
                if let Ok(task) = &task.0 {
                    known.listed.put(task);
                }
                Vec::new()
            }
            Event::InitDone => {
                let listed = mem::take(&mut known.listed);
                let before = mem::replace(&mut known.tables, listed);
                known.lists += 1;
                let after = known.tables.tasks.values();
                let mut concerned: Vec<_> = after.chain(before.tasks.values()).map(|place| place.set.clone()).collect();
                concerned.sort();
                concerned.dedup();
                self.is_filled.reached();
                concerned
            }
            Event::Apply(task) => {
                known.watched_to = known.watched_to.max(version(task));
                // One that cannot be read keeps its place as it was read last: it exists.
                let Ok(task) = &task.0 else { return Vec::new() };
                let (new, old, is_news) = known.tables.put(task);
                let is_moved = new != old;
                let places = [new, old.filter(|_| is_moved)].into_iter().flatten();
                places.filter(|_| is_news || is_moved).map(|place| place.set).collect()
            }
            Event::Delete(task) => {
                known.watched_to = known.watched_to.max(version(task));
                known.tables.take(&ObjectKey::of(task)).map(|place| place.set).into_iter().collect()
            }
        }
    }
}

/// The set that a task is a member of, and its index there.
fn place_of(task: &LongTask) -> Option<Place> {
    let index = crate::set::plan::index_of(task)?;
    let kind = LongTaskSet::kind(&());
    let owner = task.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind == kind)?;
    let set = ObjectKey { namespace: task.namespace()?, name: owner.name.clone() };
    Some(Place { set, set_uid: owner.uid.clone(), index })
}

/// What a plan decides by. The version moves with every write of the member, and the round of one that runs with the next.
fn decides(member: &Member) -> (&str, MemberPhase, bool, i64) {
    let has_ended = matches!(member.phase, MemberPhase::Failed | MemberPhase::Cancelled);
    (&member.uid, member.phase, member.is_being_deleted, if has_ended { member.round } else { 0 })
}

fn is_older(member: &Member, known: &Member) -> bool {
    let version = |member: &Member| member.resource_version.parse::<u64>().ok();
    version(member).zip(version(known)).is_some_and(|(member, known)| member < known)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn task(index: u32, version: u64, status: &Value) -> WatchedTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": {
                "name": format!("s-{index}"), "namespace": "n", "uid": format!("u{index}"), "resourceVersion": version.to_string(),
                "ownerReferences": [{
                    "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "name": "s", "uid": "set-uid",
                    "controller": true,
                }],
            },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": status,
        }))
        .expect("a task")
    }

    fn plain(task: WatchedTask) -> LongTask {
        task.0.expect("readable")
    }

    fn set() -> Vec<ObjectKey> {
        vec![ObjectKey { namespace: "n".into(), name: "s".into() }]
    }

    fn indexes(index: &MemberIndex) -> Vec<u32> {
        index.of("set-uid").into_keys().collect()
    }

    #[test]
    fn a_set_is_told_of_what_decides_and_of_nothing_else() {
        let index = MemberIndex::new();
        let running = |attempt: i64| {
            json!({ "phase": "Running", "run": { "number": 1, "round": attempt }, "currentAttempt": {
                "number": attempt, "segment": 1, "state": "Running", "podName": "s-1-1", "generation": 1,
                "creationTime": "2026-11-24T10:00:00Z",
            } })
        };
        assert_eq!(index.take(&Event::Apply(task(1, 5, &Value::Null))), set());
        assert_eq!(index.take(&Event::Apply(task(1, 6, &running(1)))), set(), "it has begun");
        assert_eq!(index.take(&Event::Apply(task(1, 7, &running(2)))), [], "it runs on");
        assert_eq!(index.take(&Event::Apply(task(1, 8, &json!({ "phase": "Failed", "run": { "round": 1 } })))), set());
        assert_eq!(index.take(&Event::Delete(task(1, 9, &Value::Null))), set());
        assert_eq!(indexes(&index), [0_u32; 0]);
    }

    #[test]
    fn a_member_without_its_owner_is_none_any_more() {
        let index = MemberIndex::new();
        index.take(&Event::Apply(task(1, 5, &Value::Null)));
        let mut orphan = plain(task(1, 6, &Value::Null));
        orphan.metadata.owner_references = None;
        assert_eq!(index.take(&Event::Apply(DeserializeGuard(Ok(orphan)))), set());
        assert_eq!(indexes(&index), [0_u32; 0]);
    }

    #[test]
    fn a_new_list_replaces_everything() {
        let index = MemberIndex::new();
        index.take(&Event::Apply(task(1, 5, &Value::Null)));
        index.take(&Event::Init);
        index.take(&Event::InitApply(task(2, 6, &Value::Null)));
        assert_eq!(indexes(&index), [1], "a list that is not complete changes nothing");
        assert_eq!(index.take(&Event::InitDone), set());
        assert_eq!(indexes(&index), [2]);
    }

    #[test]
    fn a_created_member_is_known_at_once_unless_the_watch_is_ahead() {
        let index = MemberIndex::new();
        index.take(&Event::Apply(task(1, 5, &Value::Null)));
        index.learn(&plain(task(2, 6, &Value::Null)), index.lists());
        assert_eq!(indexes(&index), [1, 2]);
        index.take(&Event::Apply(task(3, 8, &Value::Null)));
        index.learn(&plain(task(4, 7, &Value::Null)), index.lists());
        assert_eq!(indexes(&index), [1, 2, 3], "it may have come and gone");
        index.forget("n", "s-2", "another");
        index.forget("n", "s-1", "u1");
        assert_eq!(indexes(&index), [2, 3]);
    }

    #[test]
    fn an_older_reading_does_not_replace_a_newer_one() {
        let index = MemberIndex::new();
        index.take(&Event::Apply(task(1, 9, &json!({ "phase": "Succeeded" }))));
        assert_eq!(index.take(&Event::Apply(task(1, 8, &json!({ "phase": "Running", "run": { "number": 2 } })))), []);
        assert_eq!(index.of("set-uid")[&1].phase, MemberPhase::Succeeded);
    }
}
