//! The two watches: of sets, and of the templates that they name.

use futures::{Stream, StreamExt, future, stream};
use kube::{
    ResourceExt,
    core::DeserializeGuard,
    runtime::{
        WatchStreamExt,
        reflector::{self, ObjectRef, Store, store::Writer},
        watcher::{self, Event, watcher},
    },
};

use super::links::{Sets, WatchedSet};
use crate::{
    api::template::LongTaskTemplate,
    runtime::{
        OperatorContext,
        filled::Filled,
        key::ObjectKey,
        watch::{report_watch_health, strip_unread_fields},
    },
};

/// A template as it is watched.
pub(super) type WatchedTemplate = DeserializeGuard<LongTaskTemplate>;

/// Fills the store of sets; tells each set that was touched. Members hear of what is different for them.
pub(super) fn watched_sets(
    operator: &OperatorContext,
    writer: Writer<WatchedSet>,
    sets: Sets,
) -> impl Stream<Item = Result<WatchedSet, watcher::Error>> + Send + use<> {
    let heartbeat = operator.health.observe("watch of sets", None);
    watcher(operator.api(), watcher::Config::default())
        .default_backoff()
        .inspect(move |event| report_watch_health(&heartbeat, event))
        .modify(strip_unread_fields)
        .reflect(writer)
        // Behind the store: whoever is woken finds the news there.
        .inspect(move |event| match event {
            Ok(Event::Apply(set) | Event::InitApply(set)) => {
                if let Ok(set) = &set.0 {
                    sets.wake_members(set);
                }
            }
            Ok(Event::Delete(set)) => sets.wake_orphans(set),
            Ok(Event::InitDone) => {
                sets.filled.reached();
                sets.wake_members_of_gone();
            }
            Ok(Event::Init) | Err(_) => {}
        })
        .touched_objects()
}

/// The store of templates, and the sets to look at again when one of them is there, has changed or is gone.
pub(super) fn watched_templates(
    operator: &OperatorContext,
    sets: Store<WatchedSet>,
    filled: Filled,
) -> (Store<WatchedTemplate>, impl Stream<Item = ObjectRef<WatchedSet>> + Send + use<>) {
    let heartbeat = operator.health.observe("watch of templates for sets", None);
    let (reader, writer) = reflector::store();
    let touched = watcher(operator.api(), watcher::Config::default())
        .default_backoff()
        .inspect(move |event| report_watch_health(&heartbeat, event))
        .modify(strip_unread_fields)
        .reflect(writer)
        .inspect(move |event| {
            if matches!(event, Ok(Event::InitDone)) {
                filled.reached();
            }
        })
        .touched_objects()
        .filter_map(|template| future::ready(template.ok()))
        .flat_map(move |template: WatchedTemplate| stream::iter(sets_of(&sets, &template)));
    (reader, touched)
}

/// The sets that are made from a template.
fn sets_of(sets: &Store<WatchedSet>, template: &WatchedTemplate) -> Vec<ObjectRef<WatchedSet>> {
    let key = ObjectKey::of(template);
    let all = sets.state();
    let of_it = all.iter().filter(|set| {
        let is_named = set.0.as_ref().is_ok_and(|set| set.spec.template_ref.name == key.name);
        is_named && set.namespace().unwrap_or_default() == key.namespace
    });
    of_it.map(|set| ObjectKey::of(&**set).to_ref()).collect()
}
