//! The hands: all that talks to Kubernetes about queues.
//!
//! A watch fills the cache of queues; a reconcile of one queue observes, plans and writes its status, which is all that a call
//! is. Who waits is a LongTask: the tasks' own watch tells of them, and their controller runs them.

mod context;
mod execute;
mod index;
mod links;
mod metrics;
mod observe;
mod publish;
pub mod queue_figures;
mod reconcile;
mod sweep;
mod watches;

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, future, future::BoxFuture, stream};
use kube::{
    core::ApiResource,
    runtime::{
        Controller, controller,
        reflector::{self, ObjectRef, store::Writer},
    },
};
use tokio::{select, sync::mpsc::UnboundedReceiver};

use self::{context::Context, links::Queues, metrics::QueueMetrics};
pub use self::{
    index::WatchedTask,
    links::{IsFull, TaskLinks, WatchedQueue},
};
use crate::{
    api::queue::TaskQueue,
    cli::Settings,
    runtime::{
        KindController, OperatorContext, Shutdown, events, key::ObjectKey, leader::Leadership, watch::missing_object,
    },
    telemetry::metrics::Registry,
};

/// The controller of queues.
pub struct QueueController {
    metrics: QueueMetrics,
    queues: Queues,
    writer: Writer<WatchedQueue>,
    woken: UnboundedReceiver<ObjectRef<WatchedQueue>>,
}

impl QueueController {
    /// A controller that counts into metrics of this registry, and what the controller of tasks needs to know of its queues.
    pub fn new(registry: &mut Registry) -> (Self, TaskLinks) {
        let (store, writer) = reflector::store();
        let (queues, links, woken) = Queues::new(store);
        (Self { metrics: QueueMetrics::register(registry), queues, writer, woken }, links)
    }

    /// What says of a queue whether so many tasks wait in it that no further ones should be made for it.
    pub fn is_full(&self) -> IsFull {
        self.queues.is_full()
    }
}

impl KindController for QueueController {
    fn kinds(&self, _: &Settings) -> Vec<ApiResource> {
        vec![ApiResource::erase::<TaskQueue>(&())]
    }

    fn calls(&self) -> &'static [&'static str] {
        &["taskqueues", "taskqueues/status", "longtasks", "pods"]
    }

    fn run(
        self: Box<Self>,
        operator: OperatorContext,
        leadership: Leadership,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, ()> {
        run(*self, operator, leadership, shutdown).boxed()
    }

    #[cfg(test)]
    fn fill_metrics(&self) {
        self.metrics.fill();
    }
}

async fn run(controller: QueueController, operator: OperatorContext, _leadership: Leadership, shutdown: Shutdown) {
    let QueueController { metrics, queues, writer, mut woken } = controller;
    let woken = stream::poll_fn(move |cx| woken.poll_recv(cx));
    let (events, publisher) = events::queue(&operator);
    let context = Arc::new(Context::new(&operator, metrics.clone(), queues.clone(), events));
    let queue_depth = context.queue_depth.clone();
    let touched = watches::watched_queues(&operator, writer, queues.clone())
        .inspect_ok(move |queue| queue_depth.add(ObjectKey::of(queue)));
    let queue_depth = context.queue_depth.clone();
    let woken = woken.inspect(move |queue| queue_depth.add(ObjectKey::from(queue)));
    let gone = Arc::clone(&context);
    let reconciles = Controller::for_stream(touched, queues.store.clone())
        .with_config(controller::Config::default().concurrency(operator.settings.concurrency.get()))
        .reconcile_on(woken)
        .graceful_shutdown_on(shutdown)
        .run(
            reconcile::reconcile,
            |queue, error, context| reconcile::error_policy(&queue, error, &context),
            Arc::clone(&context),
        )
        .for_each(move |result| {
            if let Some(queue) = missing_object(result) {
                gone.forget(&queue);
            }
            future::ready(())
        });
    let sweeps = sweep::sweep(queues, &operator, &metrics);
    // In a fixed order, so that a simulation of it can be repeated.
    let work = async {
        select! {
            biased;
            () = reconciles => {}
            () = sweeps => {}
        }
    };
    publisher.publish_during(work).await;
}
