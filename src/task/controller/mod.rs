//! The hands: all that talks to Kubernetes about tasks.
//!
//! Watches fill caches; a reconcile of one task observes, plans and executes; orphaned pods, whose task is gone, are
//! released.

mod context;
mod execute;
mod late_creates;
mod metrics;
mod observe;
mod orphans;
mod parents;
mod pod_index;
mod publish;
mod queues;
mod reconcile;
mod refusal;
mod reports;
mod spans;
mod status_metrics;
mod stored_metrics;
mod sweep;
pub mod task_metrics;
mod watches;

use std::sync::Arc;

use futures::{FutureExt, StreamExt, TryStreamExt, future, future::BoxFuture, stream};
use kube::{
    core::ApiResource,
    runtime::{Controller, controller, reflector::Store},
};
use tokio::{join, select, sync::mpsc};

use self::{context::Context, metrics::TaskMetrics, parents::Links, pod_index::PodIndex};
pub use self::{
    parents::{ParentLinks, ParentOf},
    queues::{AdmissionOf, QueueLinks},
    reports::{Desk, PodIdentity, Verdict},
    watches::Guarded,
};
use crate::{
    api::{task::LongTask, template::LongTaskTemplate},
    cli::Settings,
    runtime::{
        KindController, OperatorContext, Shutdown, events, key::ObjectKey, leader::Leadership, watch::missing_object,
    },
    telemetry::{health::Stage, metrics::Registry},
};

/// The controller of tasks.
pub struct TaskController {
    metrics: TaskMetrics,
    desk: Option<Desk>,
    links: Links,
}

impl TaskController {
    /// A controller that counts into metrics of this registry.
    pub fn new(registry: &mut Registry) -> Self {
        Self { metrics: TaskMetrics::register(registry), desk: None, links: Links::default() }
    }

    /// Likewise, with a desk for the reports of agents in this process. It takes none over the network then.
    pub fn with_desk(registry: &mut Registry, desk: Desk) -> Self {
        Self { desk: Some(desk), ..Self::new(registry) }
    }

    /// Likewise, of tasks that can be parts of objects of a kind.
    #[must_use]
    pub fn with_parents(mut self, links: ParentLinks) -> Self {
        self.links.add(links);
        self
    }

    /// Likewise, of tasks that can wait in queues.
    #[must_use]
    pub fn with_queues(mut self, links: QueueLinks) -> Self {
        self.links.add_queues(links);
        self
    }
}

impl KindController for TaskController {
    fn kinds(&self, settings: &Settings) -> Vec<ApiResource> {
        let templates = settings.fill_in.then(|| ApiResource::erase::<LongTaskTemplate>(&()));
        [ApiResource::erase::<LongTask>(&())].into_iter().chain(templates).collect()
    }

    fn calls(&self) -> &'static [&'static str] {
        &["longtasks", "longtasks/status", "longtasktemplates", "pods", "secrets", "tokenreviews"]
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

async fn run(controller: TaskController, operator: OperatorContext, leadership: Leadership, shutdown: Shutdown) {
    let TaskController { metrics, desk, links } = controller;
    let (parents, queues, touched_by_others, listeners) = links.split();
    let index = PodIndex::new();
    let (events, publisher) = events::queue(&operator);
    status_metrics::init_series(&metrics);
    let (tasks, touched_tasks) = watches::watched_tasks(&operator, listeners);
    let (live, reported, taking_reports) =
        reports::set_up(&operator, &metrics, index.clone(), tasks.clone(), desk).await;
    let context = Arc::new(Context::new(
        &operator,
        leadership,
        metrics.clone(),
        index.clone(),
        live.clone(),
        (parents.clone(), queues),
        events,
    ));
    let queue_depth = context.queue_depth.clone();
    let touched_tasks = touched_tasks.inspect_ok(move |task| queue_depth.add(ObjectKey::of(task)));
    let queue_depth = context.queue_depth.clone();
    let touched_pods = stream::select(watches::watched_pods(&operator, index.clone()), reported);
    let touched_pods = stream::select(touched_pods, touched_by_others);
    let touched_otherwise = if operator.settings.fill_in {
        stream::select(touched_pods, watches::watched_templates(&operator, tasks.clone(), parents)).left_stream()
    } else {
        touched_pods.right_stream()
    }
    .inspect(move |task| queue_depth.add(ObjectKey::from(task)));
    let queue_depth = context.queue_depth.clone();
    let (missing, mut missing_tasks) = mpsc::unbounded_channel();

    let to_sweep = missing.clone();
    let written = Arc::clone(&context.written);
    let reconciles = Controller::for_stream(touched_tasks, tasks.clone())
        .with_config(controller::Config::default().concurrency(operator.settings.concurrency.get()))
        .reconcile_on(touched_otherwise)
        .graceful_shutdown_on(shutdown)
        .run(
            reconcile::reconcile,
            |task, error, context| reconcile::error_policy(&task, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| {
            if let Some(task) = missing_object(result) {
                // Its pods may be orphans.
                queue_depth.remove(&task);
                written.forget(&task);
                // The receiver ends only with us.
                let _ = missing.send(task);
            }
            future::ready(())
        });
    let orphans = orphans::release_orphans(context, stream::poll_fn(move |cx| missing_tasks.poll_recv(cx)));
    let sweeps = async {
        become_ready(&tasks, &index, &operator).await;
        sweep::sweep(tasks, index, live, &operator, &metrics, to_sweep).await;
    };
    // In a fixed order, so that a simulation of it can be repeated.
    let work = async {
        select! {
            biased;
            () = reconciles => {}
            ((), (), ()) = async { join!(orphans, sweeps, taking_reports) } => {}
        }
    };
    publisher.publish_during(work).await;
}

async fn become_ready(tasks: &Store<Guarded>, index: &PodIndex, operator: &OperatorContext) {
    index.filled().await;
    // An error would mean that the watch is gone, and we with it.
    let _ = tasks.wait_until_ready().await;
    operator.health.reached(Stage::Working);
}
