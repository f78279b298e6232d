//! The hands: all that talks to Kubernetes about sets.
//!
//! Watches fill caches; a reconcile of one set observes, plans and executes. Members are LongTasks: the tasks' own watch tells
//! of them, and their controller runs them.

mod checked;
mod context;
mod execute;
mod links;
mod members;
mod metrics;
mod observe;
mod publish;
mod reconcile;
mod refusal;
pub mod set_figures;
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

use self::{context::Context, links::Sets, metrics::SetMetrics};
pub use self::{
    context::IsFull,
    links::{SetLinks, WatchedSet},
    members::WatchedTask,
};
use crate::{
    api::{set::LongTaskSet, template::LongTaskTemplate},
    cli::Settings,
    runtime::{
        KindController, OperatorContext, Shutdown, events, filled::Filled, key::ObjectKey, leader::Leadership,
        watch::missing_object,
    },
    telemetry::metrics::Registry,
};

/// The controller of sets.
pub struct SetController {
    metrics: SetMetrics,
    sets: Sets,
    writer: Writer<WatchedSet>,
    woken: UnboundedReceiver<ObjectRef<WatchedSet>>,
    is_full: IsFull,
}

impl SetController {
    /// A controller that counts into metrics of this registry, and what the controller of tasks needs to know of its sets.
    pub fn new(registry: &mut Registry) -> (Self, SetLinks) {
        let (store, writer) = reflector::store();
        let (sets, links, woken) = Sets::new(store);
        let is_full: IsFull = Arc::new(|_, _| false);
        (Self { metrics: SetMetrics::register(registry), sets, writer, woken, is_full }, links)
    }

    /// Likewise, of sets that make no further members while the queue that those would wait in is full, as this says of a queue
    /// by its name and the namespace of the set.
    #[must_use]
    pub fn that_heeds(self, is_full: IsFull) -> Self {
        Self { is_full, ..self }
    }
}

impl KindController for SetController {
    fn kinds(&self, _: &Settings) -> Vec<ApiResource> {
        vec![ApiResource::erase::<LongTaskSet>(&()), ApiResource::erase::<LongTaskTemplate>(&())]
    }

    fn calls(&self) -> &'static [&'static str] {
        &["longtasksets", "longtasksets/status", "longtasktemplates", "longtasks"]
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

async fn run(controller: SetController, operator: OperatorContext, leadership: Leadership, shutdown: Shutdown) {
    let SetController { metrics, sets, writer, mut woken, is_full } = controller;
    let woken = stream::poll_fn(move |cx| woken.poll_recv(cx));
    let (events, publisher) = events::queue(&operator);
    let templates_filled = Filled::default();
    let (templates, touched_templates) =
        watches::watched_templates(&operator, sets.store.clone(), templates_filled.clone());
    let templates = (templates, templates_filled);
    let context =
        Arc::new(Context::new(&operator, leadership, metrics.clone(), sets.clone(), templates, is_full, events));
    let queue_depth = context.queue_depth.clone();
    let touched_sets = watches::watched_sets(&operator, writer, sets.clone())
        .inspect_ok(move |set| queue_depth.add(ObjectKey::of(set)));
    let queue_depth = context.queue_depth.clone();
    let touched_otherwise =
        stream::select(woken, touched_templates).inspect(move |set| queue_depth.add(ObjectKey::from(set)));
    let gone = Arc::clone(&context);
    let reconciles = Controller::for_stream(touched_sets, sets.store.clone())
        .with_config(controller::Config::default().concurrency(operator.settings.concurrency.get()))
        .reconcile_on(touched_otherwise)
        .graceful_shutdown_on(shutdown)
        .run(
            reconcile::reconcile,
            |set, error, context| reconcile::error_policy(&set, error, &context),
            Arc::clone(&context),
        )
        .for_each(move |result| {
            if let Some(set) = missing_object(result) {
                gone.forget(&set);
            }
            future::ready(())
        });
    let sweeps = sweep::sweep(sets, &operator, &metrics);
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
