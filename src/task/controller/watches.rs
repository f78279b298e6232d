//! The watches: of tasks, of our pods, and of the templates that tasks may wait for.

use std::{collections::HashSet, mem};

use futures::{Stream, StreamExt, future, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    core::{DeserializeGuard, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store},
        watcher,
    },
};

use super::{
    parents::Parents,
    pod_index::{Indexer, PodIndex},
};
use crate::{
    api::{labels, task::LongTask, template::LongTaskTemplate},
    runtime::{
        OperatorContext,
        fanout::Fanout,
        key::ObjectKey,
        watch::{report_watch_health, strip_unread_fields},
    },
    task::plan::needs_template,
};

/// A task as it is watched: one that cannot be read must not stop the watch of all others.
pub type Guarded = DeserializeGuard<LongTask>;

/// The store of tasks, and each task that was touched: added, changed or deleted.
pub(super) fn watched_tasks(
    operator: &OperatorContext,
    mut listeners: Fanout<Guarded>,
) -> (Store<Guarded>, impl Stream<Item = Result<Guarded, watcher::Error>> + Send + use<>) {
    let heartbeat = operator.health.observe("watch of tasks", None);
    let (reader, writer) = reflector::store();
    let touched = watcher(operator.api(), watcher::Config::default())
        .default_backoff()
        .inspect(move |event| report_watch_health(&heartbeat, event))
        .modify(strip_unread_fields)
        .reflect(writer)
        .inspect(move |event| {
            if let Ok(event) = event {
                listeners.tell(event);
            }
        })
        .touched_objects();
    (reader, touched)
}

/// Fills the index from a watch of our pods; tells the tasks that each change concerns.
pub(super) fn watched_pods(
    operator: &OperatorContext,
    index: PodIndex,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + use<> {
    let heartbeat = operator.health.observe("watch of pods", None);
    let mut indexer = Indexer::new(index);
    watcher(operator.api::<Pod>(), watcher::Config::default().labels(labels::TASK))
        .default_backoff()
        .inspect(move |event| report_watch_health(&heartbeat, event))
        .filter_map(|event| future::ready(event.ok()))
        .flat_map(move |event| stream::iter(indexer.take(event)))
        .map(|task| task.to_ref())
}

/// Tells the tasks that wait for a template whenever one of that name is there, or has changed. The templates themselves are
/// read when a task is filled in.
pub(super) fn watched_templates(
    operator: &OperatorContext,
    tasks: Store<Guarded>,
    parents: Parents,
) -> impl Stream<Item = ObjectRef<Guarded>> + Send + use<> {
    let heartbeat = operator.health.observe("watch of templates", None);
    let mut listed = HashSet::new();
    watcher(operator.api::<PartialObjectMeta<LongTaskTemplate>>(), watcher::Config::default())
        .default_backoff()
        .inspect(move |event| report_watch_health(&heartbeat, event))
        .filter_map(|event| future::ready(event.ok()))
        .flat_map(move |event| {
            let there = match event {
                watcher::Event::Init => {
                    listed.clear();
                    HashSet::new()
                }
                watcher::Event::InitApply(template) => {
                    listed.insert(ObjectKey::of(&template));
                    HashSet::new()
                }
                // All at once: one look at the tasks is enough.
                watcher::Event::InitDone => mem::take(&mut listed),
                watcher::Event::Apply(template) => HashSet::from([ObjectKey::of(&template)]),
                watcher::Event::Delete(_) => HashSet::new(),
            };
            stream::iter(waiting_for(&tasks, &parents, &there))
        })
}

/// The tasks that may wait for one of these templates.
fn waiting_for(tasks: &Store<Guarded>, parents: &Parents, templates: &HashSet<ObjectKey>) -> Vec<ObjectRef<Guarded>> {
    if templates.is_empty() {
        return Vec::new();
    }
    let waits = |task: &LongTask| {
        let reference = task.spec.template_ref.as_ref().filter(|_| needs_template(task, parents.of_now(task)));
        let namespace = || task.namespace().unwrap_or_default();
        reference
            .is_some_and(|named| templates.contains(&ObjectKey { namespace: namespace(), name: named.name.clone() }))
    };
    let tasks = tasks.state();
    let waiting = tasks.iter().filter(|task| task.0.as_ref().is_ok_and(waits));
    waiting.map(|task| ObjectKey::of(&**task).to_ref()).collect()
}
