//! An index of our pods: the few facts of each, by task.
//!
//! Not a reflector's store: that keeps whole pods by their own name, and one would have to scan all of them to find
//! the pods of one task.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use k8s_openapi::api::core::v1::Pod;
use kube::{Resource, ResourceExt, runtime::watcher::Event};

use crate::{
    api::{labels, task::LongTask},
    runtime::{
        filled::Filled,
        key::{ObjectKey, version},
    },
    task::plan::PodFacts,
};

/// What is known of the pods that carry our labels; clones share it. As stale as its watch.
#[derive(Clone, Debug)]
pub(super) struct PodIndex {
    known: Arc<RwLock<Known>>,
    is_filled: Filled,
}

#[derive(Debug, Default)]
struct Known {
    pods: Pods,
    /// The latest version that the watch has told of.
    watched_to: Option<u64>,
    /// How many lists were taken in. A list does not tell of what came and went before it.
    lists: u64,
}

/// By task, then by the pod's name.
type Pods = HashMap<ObjectKey, BTreeMap<String, Entry>>;

#[derive(Debug)]
struct Entry {
    /// The version of the reading.
    version: Option<u64>,
    facts: Arc<PodFacts>,
}

/// Folds the events of a pod watch into an index, and tells which tasks each event concerns.
#[derive(Debug)]
pub(super) struct Indexer {
    index: PodIndex,
    /// A list under way; it takes the place of everything known when it is complete.
    listed: Pods,
}

impl PodIndex {
    pub(super) fn new() -> Self {
        Self { known: Arc::default(), is_filled: Filled::default() }
    }

    /// Waits until the first list is complete.
    pub(super) async fn filled(&self) {
        self.is_filled.wait().await;
    }

    /// The pods of a task, in the order of their attempts.
    pub(super) fn of(&self, task: &ObjectKey) -> Vec<Arc<PodFacts>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let entries = known.pods.get(task).into_iter().flat_map(BTreeMap::values);
        let mut found: Vec<_> = entries.map(|entry| Arc::clone(&entry.facts)).collect();
        found.sort_by_key(|pod| pod.attempt);
        found
    }

    /// Takes in the API server's answer to a change of a pod, so that the change is not made again before the watch
    /// tells of it. Only over an older reading of the same pod: the watch may be ahead, and may have seen it go.
    pub(super) fn learn(&self, pod: &Pod) {
        let (Some(task), Some(version), Some(facts)) = (task_of(pod), version(pod), PodFacts::of(pod)) else { return };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = known.pods.get_mut(&task).and_then(|pods| pods.get_mut(&facts.name))
            && entry.facts.uid == facts.uid
            && entry.version.is_some_and(|known| known < version)
        {
            *entry = Entry { version: Some(version), facts: Arc::new(facts) };
        }
    }

    /// How many complete lists it has taken in.
    pub(super) fn lists(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).lists
    }

    /// Takes in a pod that was created since there were that many lists, so that nobody has to ask whether it is there.
    /// Only if the watch has not come as far: else it has told of it, and may have seen it go.
    pub(super) fn learn_created(&self, pod: &Pod, lists: u64) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let is_behind = version(pod).is_some_and(|version| Some(version) > known.watched_to);
        if is_behind && known.lists == lists {
            put(&mut known.pods, pod);
        }
    }

    /// A pod by its name and UID, and the task that it is of.
    pub(super) fn find(&self, namespace: &str, name: &str, uid: &str) -> Option<(ObjectKey, Arc<PodFacts>)> {
        let (task, _) = name.rsplit_once('-')?;
        let task = ObjectKey { namespace: namespace.to_owned(), name: task.to_owned() };
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let pod = &known.pods.get(&task)?.get(name)?.facts;
        (pod.uid == uid).then(|| (task.clone(), Arc::clone(pod)))
    }

    /// The UIDs of all pods that have an agent and whose outcome is not recorded yet.
    pub(super) fn uids_with_agents(&self) -> HashSet<String> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let pods = known.pods.values().flat_map(BTreeMap::values).map(|entry| &entry.facts);
        pods.filter(|pod| pod.has_finalizer && pod.agent.is_some()).map(|pod| pod.uid.clone()).collect()
    }

    /// Every task that has a pod held by our finalizer.
    pub(super) fn tasks_with_held_pods(&self) -> Vec<ObjectKey> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let held = known.pods.iter().filter(|(_, pods)| pods.values().any(|pod| pod.facts.has_finalizer));
        held.map(|(task, _)| task.clone()).collect()
    }
}

impl Indexer {
    pub(super) fn new(index: PodIndex) -> Self {
        Self { index, listed: Pods::new() }
    }

    /// Takes one event; returns the tasks to look at again.
    pub(super) fn take(&mut self, event: Event<Pod>) -> Vec<ObjectKey> {
        match event {
            Event::Init => {
                self.listed.clear();
                Vec::new()
            }
            Event::InitApply(pod) => {
                put(&mut self.listed, &pod);
                Vec::new()
            }
            Event::InitDone => self.replace_all(),
            Event::Apply(pod) => self.change(&pod, put),
            Event::Delete(pod) => self.change(&pod, take_out),
        }
    }

    /// A complete list: tasks whose pods vanished while nobody watched are concerned as well.
    fn replace_all(&mut self) -> Vec<ObjectKey> {
        let listed = mem::take(&mut self.listed);
        let mut concerned: Vec<_> = listed.keys().cloned().collect();
        {
            let mut known = self.index.known.write().unwrap_or_else(PoisonError::into_inner);
            let latest = listed.values().flat_map(BTreeMap::values).filter_map(|entry| entry.version).max();
            known.watched_to = known.watched_to.max(latest);
            known.lists += 1;
            let before = mem::replace(&mut known.pods, listed);
            concerned.extend(before.into_keys().filter(|task| !known.pods.contains_key(task)));
        }
        self.index.is_filled.reached();
        // In a fixed order, so that a simulation can be repeated.
        concerned.sort_unstable();
        concerned
    }

    fn change(&self, pod: &Pod, change: fn(&mut Pods, &Pod)) -> Vec<ObjectKey> {
        let mut known = self.index.known.write().unwrap_or_else(PoisonError::into_inner);
        known.watched_to = known.watched_to.max(version(pod));
        change(&mut known.pods, pod);
        task_of(pod).into_iter().collect()
    }
}

fn put(pods: &mut Pods, pod: &Pod) {
    if let (Some(task), Some(facts)) = (task_of(pod), PodFacts::of(pod)) {
        let of_task = pods.entry(task).or_default();
        let version = version(pod);
        let is_news =
            of_task.get(&facts.name).is_none_or(|known| known.facts.uid != facts.uid || known.version <= version);
        if is_news {
            of_task.insert(facts.name.clone(), Entry { version, facts: Arc::new(facts) });
        }
    }
}

fn take_out(pods: &mut Pods, pod: &Pod) {
    if let Some(task) = task_of(pod)
        && let Some(of_task) = pods.get_mut(&task)
    {
        of_task.remove(&pod.name_any());
        if of_task.is_empty() {
            pods.remove(&task);
        }
    }
}

/// The task that a pod is of: its owner, or for an orphan the one that its label says. Users can change labels.
fn task_of(pod: &Pod) -> Option<ObjectKey> {
    let kind = LongTask::kind(&());
    let owner = pod.owner_references().iter().find(|owner| owner.controller == Some(true) && owner.kind == kind);
    let name = owner.map(|owner| &owner.name).or_else(|| pod.labels().get(labels::TASK))?.clone();
    Some(ObjectKey { namespace: pod.namespace()?, name })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(task: &str, attempt: i64) -> Pod {
        serde_json::from_value(json!({ "metadata": {
            "namespace": "default", "name": format!("{task}-{attempt}"), "uid": format!("pod-{attempt}"),
            "labels": { labels::TASK: task, labels::TASK_UID: "u", labels::ATTEMPT: attempt.to_string() },
        } }))
        .expect("a pod")
    }

    fn read_at(version: &str, mut pod: Pod) -> Pod {
        pod.metadata.resource_version = Some(version.into());
        pod
    }

    fn released(mut pod: Pod) -> Pod {
        pod.metadata.finalizers = None;
        pod
    }

    fn held(mut pod: Pod) -> Pod {
        pod.metadata.finalizers = Some(vec![labels::OUTCOME_FINALIZER.into()]);
        pod
    }

    #[test]
    fn an_answer_is_taken_over_an_older_reading_and_never_over_a_newer_one() {
        let index = PodIndex::new();
        let mut indexer = Indexer::new(index.clone());
        indexer.take(Event::Apply(read_at("5", held(pod("a", 1)))));
        let is_held = || index.of(&key("a")).iter().any(|pod| pod.has_finalizer);
        index.learn(&read_at("4", released(pod("a", 1))));
        assert!(is_held(), "an older one");
        index.learn(&read_at("10", released(pod("a", 1))));
        assert!(!is_held(), "a newer one");
        indexer.take(Event::Apply(read_at("7", held(pod("a", 1)))));
        assert!(!is_held(), "the watch, which lags");
    }

    #[test]
    fn an_answer_about_a_pod_that_has_gone_does_not_bring_it_back() {
        let index = PodIndex::new();
        let mut indexer = Indexer::new(index.clone());
        indexer.take(Event::Apply(read_at("5", pod("a", 1))));
        indexer.take(Event::Delete(read_at("6", pod("a", 1))));
        index.learn(&read_at("5", pod("a", 1)));
        assert!(attempts(&index, "a").is_empty());
    }

    #[test]
    fn a_created_pod_is_known_at_once_unless_the_watch_is_ahead() {
        let index = PodIndex::new();
        let mut indexer = Indexer::new(index.clone());
        indexer.take(Event::Apply(read_at("5", pod("other", 1))));
        index.learn_created(&read_at("6", pod("a", 1)), index.lists());
        assert_eq!(attempts(&index, "a"), [1]);
        indexer.take(Event::Apply(read_at("7", pod("b", 1))));
        indexer.take(Event::Delete(read_at("8", pod("b", 1))));
        index.learn_created(&read_at("7", pod("b", 1)), index.lists());
        assert!(attempts(&index, "b").is_empty(), "it has come and gone");
        let lists = index.lists();
        indexer.take(Event::Init);
        indexer.take(Event::InitDone);
        index.learn_created(&read_at("9", pod("c", 1)), lists);
        assert!(attempts(&index, "c").is_empty(), "it may have gone before the list");
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "default".into(), name: name.into() }
    }

    fn attempts(index: &PodIndex, task: &str) -> Vec<i64> {
        index.of(&key(task)).iter().map(|pod| pod.attempt).collect()
    }

    #[test]
    fn a_pod_whose_label_was_changed_stays_with_its_owner() {
        let index = PodIndex::new();
        let mut indexer = Indexer::new(index.clone());
        let mut relabelled = pod("a", 1);
        let owner = json!([{ "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "name": "a", "uid": "u", "controller": true }]);
        relabelled.metadata.owner_references = serde_json::from_value(owner).expect("an owner");
        relabelled.labels_mut().insert(labels::TASK.into(), "b".into());
        relabelled.labels_mut().insert(labels::TASK_UID.into(), "another".into());
        relabelled.labels_mut().insert(labels::ATTEMPT.into(), "7".into());
        assert_eq!(indexer.take(Event::Apply(relabelled)), [key("a")]);
        assert_eq!((attempts(&index, "a"), attempts(&index, "b")), (vec![1], vec![]));
        assert_eq!(index.of(&key("a"))[0].task_uid, "u");
    }

    #[test]
    fn pods_are_found_by_task_in_the_order_of_attempts() {
        let index = PodIndex::new();
        let mut indexer = Indexer::new(index.clone());
        for attempt in [10, 9, 2] {
            assert_eq!(indexer.take(Event::Apply(pod("a", attempt))), [key("a")]);
        }
        indexer.take(Event::Delete(pod("a", 9)));
        assert_eq!(attempts(&index, "a"), [2, 10]);
        assert_eq!(attempts(&index, "b"), [0_i64; 0]);
    }

    #[test]
    fn a_new_list_replaces_everything_and_concerns_those_that_vanished() {
        let index = PodIndex::new();
        let mut indexer = Indexer::new(index.clone());
        indexer.take(Event::Apply(pod("gone", 1)));
        indexer.take(Event::Init);
        indexer.take(Event::InitApply(pod("a", 1)));
        assert_eq!(attempts(&index, "gone"), [1], "a list that is not complete changes nothing");
        let mut concerned = indexer.take(Event::InitDone);
        concerned.sort();
        assert_eq!(concerned, [key("a"), key("gone")]);
        assert_eq!(attempts(&index, "gone"), [0_i64; 0]);
    }
}
