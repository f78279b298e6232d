//! What every reconcile has at hand.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{ObjectReference, Pod};
use kube::{
    Api, Client, Resource,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::time;
use tracing::warn;

use super::{
    error::{Backoffs, Error},
    leader::Leadership,
    pods::{PodIndex, TaskKey},
    spans::Sampler,
    touched::Touched,
    written::Written,
};
use crate::{
    api::{LongTask, labels},
    clock::Clock,
    operator::Operator,
    plan::TaskEvent,
    telemetry::{metrics::Metrics, traces::Traces},
};

/// How long one call may take.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// How long before the end of the lease the last create may be under way.
const LEASE_MARGIN: Duration = Duration::from_secs(1);

/// What every reconcile has at hand.
pub(super) struct Context {
    pub(super) clock: Clock,
    pub(super) metrics: Metrics,
    pub(super) pods: PodIndex,
    pub(super) backoffs: Backoffs,
    pub(super) touched: Touched,
    pub(super) written: Arc<Written>,
    pub(super) traces: Traces,
    pub(super) sampler: Sampler,
    client: Client,
    leadership: Leadership,
    recorder: Recorder,
}

impl Context {
    pub(super) fn new(operator: &Operator, pods: PodIndex) -> Self {
        let reporter = Reporter {
            controller: labels::FIELD_MANAGER.into(),
            instance: operator.settings.lease.as_ref().map(|lease| lease.identity.clone()),
        };
        Self {
            clock: operator.clock.clone(),
            metrics: operator.metrics.clone(),
            pods,
            backoffs: Backoffs::default(),
            touched: Touched::new(operator.metrics.clone()),
            written: Arc::default(),
            traces: operator.traces.clone(),
            sampler: Sampler::new(operator.settings.traces.as_ref().map_or(0, |traces| traces.one_reconcile_in)),
            client: operator.client.clone(),
            leadership: operator.leadership.clone(),
            recorder: Recorder::new(operator.client.clone(), reporter),
        }
    }

    /// A context for tests of single steps.
    #[cfg(test)]
    pub(super) fn of(client: Client, leadership: Leadership, pods: PodIndex, metrics: Metrics) -> Self {
        Self {
            clock: Clock::wall(),
            metrics: metrics.clone(),
            pods,
            backoffs: Backoffs::default(),
            touched: Touched::new(metrics),
            written: Arc::default(),
            traces: Traces::off(),
            sampler: Sampler::new(0),
            client: client.clone(),
            leadership,
            recorder: Recorder::new(client, labels::FIELD_MANAGER.into()),
        }
    }

    pub(super) fn tasks_api(&self, namespace: &str) -> Api<LongTask> {
        Api::namespaced(self.client.clone(), namespace)
    }

    pub(super) fn pods_api(&self, namespace: &str) -> Api<Pod> {
        Api::namespaced(self.client.clone(), namespace)
    }

    /// Awaits a call, for a limited time.
    pub(super) async fn call<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        limited(what, CALL_LIMIT, call).await
    }

    /// Awaits a create, which must be over before another replica could be leading.
    pub(super) async fn create<T>(&self, what: &str, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
        let left = self.leadership.remaining().saturating_sub(LEASE_MARGIN);
        if left.is_zero() {
            return Err(Error::NotLeading { what: what.to_owned() });
        }
        limited(what, CALL_LIMIT.min(left), call).await
    }

    /// Publishes an event on a task. One that cannot be published is logged and given up: events are for people, the
    /// status has it all.
    pub(super) async fn publish(&self, task: &impl Resource<DynamicType = ()>, event: TaskEvent) {
        let TaskEvent { warning, reason, action, note, pod } = event;
        let secondary = pod.map(|pod| ObjectReference {
            api_version: Some("v1".into()),
            kind: Some("Pod".into()),
            name: Some(pod.name),
            namespace: task.meta().namespace.clone(),
            uid: Some(pod.uid).filter(|uid| !uid.is_empty()),
            ..ObjectReference::default()
        });
        let event = Event {
            type_: if warning { EventType::Warning } else { EventType::Normal },
            reason: reason.to_string(),
            note: Some(note),
            action,
            secondary,
        };
        let regarding = task.object_ref(&());
        if let Err(error) = self.call("publish event", self.recorder.publish(&event, &regarding)).await {
            warn!(%error, reason = event.reason, "could not publish an event");
        }
    }
}

async fn limited<T>(what: &str, within: Duration, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    match time::timeout(within, call).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Error::Call { what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(Error::Timeout { what: what.to_owned(), within }),
    }
}

impl TaskKey {
    pub(super) fn of(task: &impl kube::ResourceExt) -> Self {
        Self { namespace: task.namespace().unwrap_or_default(), name: task.name_any() }
    }
}
