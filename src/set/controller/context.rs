//! What every reconcile has at hand.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
    runtime::reflector::Store,
};

use super::{checked::Checked, links::Sets, metrics::SetMetrics, refusal::Refusals, watches::WatchedTemplate};
use crate::{
    api::{set::LongTaskSet, task::LongTask},
    clock::Clock,
    runtime::{
        OperatorContext, error::Backoffs, events::Events, filled::Filled, key::ObjectKey, leader::Leadership,
        pace::Pace, queue_depth::QueueDepth,
    },
};

/// Says of a queue, as an object of this namespace names it, whether so many tasks wait in it that no further ones should be made.
pub type IsFull = Arc<dyn Fn(&str, &str) -> bool + Send + Sync>;

/// What every reconcile has at hand.
pub(super) struct Context {
    pub(super) clock: Clock,
    pub(super) metrics: SetMetrics,
    pub(super) sets: Sets,
    pub(super) templates: Store<WatchedTemplate>,
    pub(super) templates_filled: Filled,
    pub(super) is_full: IsFull,
    pub(super) checked: Mutex<HashMap<String, Checked>>,
    pub(super) backoffs: Backoffs,
    pub(super) refusals: Refusals,
    pub(super) pace: Pace,
    pub(super) queue_depth: QueueDepth,
    pub(super) events: Events,
    client: Client,
    pub(super) leadership: Leadership,
}

impl Context {
    pub(super) fn new(
        operator: &OperatorContext,
        leadership: Leadership,
        metrics: SetMetrics,
        sets: Sets,
        (templates, templates_filled): (Store<WatchedTemplate>, Filled),
        is_full: IsFull,
        events: Events,
    ) -> Self {
        Self {
            clock: operator.clock.clone(),
            metrics,
            sets,
            templates,
            templates_filled,
            is_full,
            checked: Mutex::default(),
            backoffs: Backoffs::default(),
            refusals: Refusals::default(),
            pace: Pace::default(),
            queue_depth: QueueDepth::new(&operator.metrics),
            events,
            client: operator.client.clone(),
            leadership,
        }
    }

    pub(super) fn sets_api(&self, namespace: &str) -> Api<LongTaskSet> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn tasks_api(&self, namespace: &str) -> Api<LongTask> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Tasks with all the fields that they have, whether our types know them or not.
    pub(super) fn whole_tasks_api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<LongTask>(&()))
    }

    /// Forgets a set that is gone.
    pub(super) fn forget(&self, set: &ObjectKey) {
        self.queue_depth.remove(set);
        self.sets.written.forget(set);
        self.pace.forget(set);
        self.backoffs.forget(set);
    }

    /// Forgets what is known of a set by its UID.
    pub(super) fn forget_uid(&self, uid: &str) {
        self.refusals.forget(uid);
        self.checked.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(uid);
    }
}
