//! An index of the tasks that name a queue or have a ticket of one: the few facts of each, by queue. Fed by the tasks' watch.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Arc, PoisonError, RwLock},
};

use kube::{core::DeserializeGuard, runtime::watcher::Event};

use crate::{
    api::{
        queue::{Holder, QueueKey},
        task::{LongTask, TicketState},
    },
    queue::plan::QueuedTask,
    runtime::{
        filled::Filled,
        key::{ObjectKey, version},
    },
};

/// A task as it is watched.
pub type WatchedTask = DeserializeGuard<LongTask>;

/// What is known of the tasks of all queues; clones share it. As stale as the tasks' watch.
#[derive(Clone, Debug)]
pub(super) struct QueueIndex {
    known: Arc<RwLock<Known>>,
    is_filled: Filled,
}

#[derive(Debug, Default)]
struct Known {
    tables: Tables,
    /// The list under way; it takes the place of everything known when it is complete.
    listed: Tables,
}

#[derive(Debug, Default)]
struct Tables {
    queues: HashMap<QueueKey, BTreeMap<ObjectKey, Arc<QueuedTask>>>,
    tasks: HashMap<ObjectKey, Entry>,
}

#[derive(Debug)]
struct Entry {
    version: Option<u64>,
    task: Arc<QueuedTask>,
}

impl Tables {
    /// Takes a task in; returns the queues for which that is news.
    fn put(&mut self, task: &LongTask) -> Vec<QueueKey> {
        let (key, version) = (ObjectKey::of(task), version(task));
        let Some(facts) = QueuedTask::of(task) else { return self.take(&key) };
        let mut is_news = true;
        if let Some(known) = self.tasks.get_mut(&key) {
            let is_older = known.task.uid == facts.uid && version < known.version;
            if is_older {
                return Vec::new();
            }
            known.version = version;
            if *known.task == facts {
                return Vec::new();
            }
            is_news = facts.is_news_after(&known.task);
        }
        let mut concerned = self.take(&key);
        let facts = Arc::new(facts);
        for queue in queues_of(&facts) {
            self.queues.entry(queue.clone()).or_default().insert(key.clone(), Arc::clone(&facts));
            if !concerned.contains(queue) {
                concerned.push(queue.clone());
            }
        }
        self.tasks.insert(key, Entry { version, task: facts });
        if is_news { concerned } else { Vec::new() }
    }

    /// Takes a task out; returns the queues for which that is news.
    fn take(&mut self, key: &ObjectKey) -> Vec<QueueKey> {
        let Some(entry) = self.tasks.remove(key) else { return Vec::new() };
        let queues: Vec<_> = queues_of(&entry.task).cloned().collect();
        for queue in &queues {
            if let Some(tasks) = self.queues.get_mut(queue) {
                tasks.remove(key);
                if tasks.is_empty() {
                    self.queues.remove(queue);
                }
            }
        }
        queues
    }
}

/// The queue that a task names, and the one that its ticket is of, if that is another.
fn queues_of(task: &QueuedTask) -> impl Iterator<Item = &QueueKey> {
    let asks = task.asks.as_deref();
    let holds = task.ticket.as_ref().map(|ticket| &*ticket.queue).filter(|queue| asks != Some(*queue));
    asks.into_iter().chain(holds)
}

impl QueueIndex {
    pub(super) fn new() -> Self {
        Self { known: Arc::default(), is_filled: Filled::default() }
    }

    /// Waits until the first list is complete.
    pub(super) async fn filled(&self) {
        self.is_filled.wait().await;
    }

    /// The tasks that name a queue or have a ticket of it, and those that have the name of one of these holders.
    pub(super) fn of(&self, queue: &QueueKey, holders: &[Holder]) -> Vec<Arc<QueuedTask>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let of_queue = known.tables.queues.get(queue);
        let mut tasks: Vec<_> = of_queue.into_iter().flat_map(BTreeMap::values).cloned().collect();
        tasks.extend(holders.iter().filter_map(|holder| {
            let key = ObjectKey { namespace: holder.namespace().to_owned(), name: holder.name().to_owned() };
            let is_among = of_queue.is_some_and(|of_queue| of_queue.contains_key(&key));
            known.tables.tasks.get(&key).filter(|_| !is_among).map(|entry| Arc::clone(&entry.task))
        }));
        tasks
    }

    /// How many tasks wait, in all queues.
    pub(super) fn waiting(&self) -> usize {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let tickets = known.tables.tasks.values().filter_map(|entry| entry.task.ticket.as_ref());
        tickets.filter(|ticket| ticket.state == TicketState::Waiting).count()
    }

    /// Takes an event of the tasks' watch; returns the queues to look at again.
    pub(super) fn take(&self, event: &Event<WatchedTask>) -> Vec<QueueKey> {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::Init => {
                known.listed = Tables::default();
                Vec::new()
            }
            Event::InitApply(task) => {
                if let Ok(task) = &task.0 {
                    known.listed.put(task);
                }
                Vec::new()
            }
            Event::InitDone => {
                let listed = mem::take(&mut known.listed);
                let before = mem::replace(&mut known.tables, listed);
                let mut concerned: Vec<_> = known.tables.queues.keys().chain(before.queues.keys()).cloned().collect();
                concerned.sort_unstable();
                concerned.dedup();
                self.is_filled.reached();
                concerned
            }
            Event::Apply(task) => match &task.0 {
                Ok(task) => known.tables.put(task),
                // It exists, and stays as it was read last.
                Err(_) => Vec::new(),
            },
            Event::Delete(task) => known.tables.take(&ObjectKey::of(task)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn task(version: u64, queue: Option<&str>, ticket: &Value) -> WatchedTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": "t", "namespace": "n", "uid": "u", "resourceVersion": version.to_string() },
            "spec": { "queueName": queue, "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": { "queue": ticket, "segment": version },
        }))
        .expect("a task")
    }

    fn ticket(queue: &str, number: i64, state: &str) -> Value {
        json!({ "name": queue, "ticket": number, "state": state, "queueTime": "2026-11-24T10:00:00Z" })
    }

    fn key(name: &str) -> QueueKey {
        QueueKey { namespace: "n".into(), name: name.into() }
    }

    fn number_of(index: &QueueIndex, queue: &str) -> usize {
        index.of(&key(queue), &[]).len()
    }

    #[test]
    fn a_queue_is_told_of_tickets_and_of_nothing_else() {
        let index = QueueIndex::new();
        let take = |version, queue, ticket: Value| index.take(&Event::Apply(task(version, queue, &ticket)));
        assert_eq!(take(1, None, Value::Null), [], "a task without a queue is no news to any");
        assert_eq!(take(2, Some("q"), Value::Null), [key("q")]);
        assert_eq!(take(3, Some("q"), ticket("q", 1, "Waiting")), [key("q")]);
        assert_eq!(take(4, Some("q"), ticket("q", 1, "Waiting")), [], "it goes on waiting");
        assert_eq!(take(5, Some("q"), ticket("q", 1, "Admitted")), [key("q")]);
        assert_eq!(take(6, Some("r"), ticket("q", 1, "Admitted")), [key("q"), key("r")], "it runs to the end there");
        assert_eq!(index.waiting(), 0);
        assert_eq!(take(7, Some("r"), ticket("r", 2, "Waiting")), [key("r"), key("q")]);
        assert_eq!((number_of(&index, "q"), number_of(&index, "r"), index.waiting()), (0, 1, 1));
        assert_eq!(index.take(&Event::Delete(task(8, Some("r"), &Value::Null))), [key("r")]);
        assert_eq!(number_of(&index, "r"), 0);
    }

    #[test]
    fn a_holder_is_found_also_when_its_task_is_of_another_queue_by_now() {
        let index = QueueIndex::new();
        index.take(&Event::Apply(task(1, Some("r"), &ticket("r", 2, "Waiting"))));
        let holder = Holder { task: "n/t".into(), uid: "u".into(), ticket: 1, key: None, probe: false, adopted: false };
        assert_eq!(index.of(&key("q"), std::slice::from_ref(&holder)).len(), 1);
        assert_eq!(index.of(&key("r"), &[holder]).len(), 1, "once");
    }

    #[test]
    fn an_older_reading_does_not_replace_a_newer_one_and_a_list_replaces_all() {
        let index = QueueIndex::new();
        index.take(&Event::Apply(task(9, Some("q"), &ticket("q", 2, "Returned"))));
        assert_eq!(index.take(&Event::Apply(task(8, Some("q"), &ticket("q", 2, "Waiting")))), []);
        assert_eq!(index.waiting(), 0);
        index.take(&Event::Init);
        index.take(&Event::InitApply(task(10, Some("r"), &ticket("r", 3, "Waiting"))));
        assert_eq!(number_of(&index, "r"), 0, "a list that is not complete changes nothing");
        assert_eq!(index.take(&Event::InitDone), [key("q"), key("r")]);
        assert_eq!((number_of(&index, "q"), number_of(&index, "r")), (0, 1));
    }
}
