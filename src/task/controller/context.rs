//! What every reconcile has at hand.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api, Client,
    core::{ApiResource, DynamicObject},
};

use super::{
    late_creates::LateCreates, metrics::TaskMetrics, parents::Parents, pod_index::PodIndex, queues::Queues,
    reports::LiveReports, spans::Sampler,
};
use crate::{
    api::{task::LongTask, template::LongTaskTemplate},
    cli::Scope,
    clock::Clock,
    runtime::{
        OperatorContext, error::Backoffs, events::Events, leader::Leadership, mutation_cache::MutationCache,
        queue_depth::QueueDepth,
    },
    telemetry::traces::Traces,
};

/// What every reconcile has at hand.
pub(super) struct Context {
    pub(super) clock: Clock,
    pub(super) metrics: TaskMetrics,
    pub(super) pods: PodIndex,
    pub(super) live: LiveReports,
    pub(super) backoffs: Backoffs,
    pub(super) queue_depth: QueueDepth,
    pub(super) written: Arc<MutationCache<LongTask>>,
    pub(super) late_creates: LateCreates,
    pub(super) events: Events,
    pub(super) traces: Traces,
    pub(super) sampler: Sampler,
    pub(super) parents: Parents,
    pub(super) queues: Queues,
    pub(super) scope: Scope,
    /// Whether tasks that name a template are filled in.
    pub(super) fills_in: bool,
    client: Client,
    pub(super) leadership: Leadership,
}

impl Context {
    pub(super) fn new(
        operator: &OperatorContext,
        leadership: Leadership,
        metrics: TaskMetrics,
        pods: PodIndex,
        live: LiveReports,
        (parents, queues): (Parents, Queues),
        events: Events,
    ) -> Self {
        Self {
            clock: operator.clock.clone(),
            metrics,
            pods,
            live,
            backoffs: Backoffs::default(),
            queue_depth: QueueDepth::new(&operator.metrics),
            written: Arc::default(),
            late_creates: LateCreates::of_new_leader(),
            events,
            traces: operator.traces.clone(),
            sampler: Sampler::new(operator.settings.traces.as_ref().map_or(0, |traces| traces.one_reconcile_in)),
            parents,
            queues,
            scope: operator.settings.scope.clone(),
            fills_in: operator.settings.fill_in,
            client: operator.client.clone(),
            leadership,
        }
    }

    pub(super) fn tasks_api(&self, namespace: &str) -> Api<LongTask> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Tasks with all their fields, also those that this program does not know.
    pub(super) fn raw_tasks_api(&self, namespace: &str) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), namespace, &ApiResource::erase::<LongTask>(&()))
    }

    pub(super) fn templates_api(&self, namespace: &str) -> Api<LongTaskTemplate> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn pods_api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn claims_api(&self, namespace: &str) -> Api<PersistentVolumeClaim> {
        Api::namespaced(self.client.clone(), namespace)
    }
}
