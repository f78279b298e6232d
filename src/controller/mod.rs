//! The hands: all that talks to Kubernetes.
//!
//! Watches fill caches; a reconcile of one task observes, plans and executes; the janitor lets go of pods whose task
//! is gone; of several replicas the leader works.

mod context;
mod error;
mod events;
mod execute;
mod figures;
mod janitor;
mod late_creates;
pub mod leader;
mod observe;
mod pods;
mod reconcile;
mod refusal;
mod rounds;
mod spans;
mod touched;
mod watches;
mod written;

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, future, stream};
use kube::runtime::{
    Controller,
    controller::{self, Action},
    reflector::{Lookup, ObjectRef, Store},
    watcher,
};
use tokio::{join, select, sync::mpsc};
use tracing::warn;

use crate::{
    operator::{Operator, Shutdown},
    telemetry::health::Stage,
};
use context::Context;
use error::Error;
use pods::{PodIndex, TaskKey};
use watches::Guarded;

/// Works until `shutdown`, then finishes the reconciles in flight.
pub async fn run(operator: Operator, shutdown: Shutdown) {
    let index = PodIndex::new();
    let (events, publisher) = events::queue(&operator);
    let context = Arc::new(Context::new(&operator, index.clone(), events));
    figures::foresee(&operator.metrics);
    let (tasks, touched_tasks) = watches::watched_tasks(&operator);
    let touched = context.touched.clone();
    let touched_tasks = touched_tasks.inspect_ok(move |task| touched.add(TaskKey::of(task)));
    let touched = context.touched.clone();
    let touched_pods = watches::watched_pods(&operator, index.clone()).inspect(move |task| touched.add(key_of(task)));
    let touched = context.touched.clone();
    let (missing, mut to_janitor) = mpsc::unbounded_channel();

    let to_rounds = missing.clone();
    let written = Arc::clone(&context.written);
    let reconciles = Controller::for_stream(touched_tasks, tasks.clone())
        .with_config(controller::Config::default().concurrency(operator.settings.concurrency.get()))
        .reconcile_on(touched_pods)
        .graceful_shutdown_on(shutdown)
        .run(
            reconcile::reconcile,
            |task, error, context| reconcile::try_again(&task, error, &context),
            Arc::clone(&context),
        )
        .for_each(|result| {
            if let Some(task) = missing_task(result) {
                touched.remove(&task);
                written.forget(&task);
                // The janitor ends only with us.
                let _ = missing.send(task);
            }
            future::ready(())
        });
    let janitor = janitor::run(context, stream::poll_fn(move |cx| to_janitor.poll_recv(cx)));
    let rounds = async {
        become_ready(&tasks, &index, &operator).await;
        rounds::make_rounds(tasks, index, &operator, to_rounds).await;
    };
    // In a fixed order, so that a simulation of it can be repeated.
    let work = async {
        select! {
            biased;
            () = reconciles => {}
            ((), ()) = async { join!(janitor, rounds) } => {}
        }
    };
    publisher.publish_during(work).await;
}

async fn become_ready(tasks: &Store<Guarded>, index: &PodIndex, operator: &Operator) {
    index.filled().await;
    // An error would mean that the watch is gone, and we with it.
    let _ = tasks.wait_until_ready().await;
    operator.health.reached(Stage::Working);
}

/// The task that was to be reconciled and is not in the cache, if that is the news: its pods may need the janitor.
fn missing_task(
    result: Result<(ObjectRef<Guarded>, Action), controller::Error<Error, watcher::Error>>,
) -> Option<TaskKey> {
    match result {
        Err(controller::Error::ObjectNotFound(task)) => Some(key_of(&task)),
        Err(controller::Error::RunnerError(error)) => {
            warn!(%error, "the queue of reconciles broke");
            None
        }
        // Reported where they happened: by the watch, and by the reconcile.
        Err(controller::Error::QueueError(_) | controller::Error::ReconcilerFailed(..)) | Ok(_) => None,
    }
}

fn key_of<K: Lookup>(task: &ObjectRef<K>) -> TaskKey {
    TaskKey { namespace: task.namespace.clone().unwrap_or_default(), name: task.name.clone() }
}
