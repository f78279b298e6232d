//! Orphans: the pods of tasks that are gone.
//!
//! Each of our pods is held by a finalizer until its outcome is recorded. When the task is gone there is nowhere to
//! record it, and the pod, its namespace with it, would hang for ever.

use std::{sync::Arc, time::Duration};

use futures::{Stream, StreamExt};
use kube::ResourceExt;
use tokio::time;
use tracing::{info, warn};

use super::{
    context::Context,
    execute::release,
    publish::{pod_reference, publish_about},
    refusal::Taken,
};
use crate::{
    runtime::{call::call, error::Error, key::ObjectKey},
    task::plan::{PodRef, RefusedStep, refused_event},
};

/// How many tasks are looked after at the same time.
const AT_ONCE: usize = 32;

/// Looks after each task that was not found in the cache.
pub(super) async fn release_orphans(context: Arc<Context>, missing: impl Stream<Item = ObjectKey>) {
    missing.for_each_concurrent(AT_ONCE, |task| release_pods_of(&context, task)).await;
}

async fn release_pods_of(context: &Context, task: ObjectKey) {
    context.backoffs.forget(&task);
    while let Err(error) = release_pods_whose_task_is_gone(context, &task).await {
        let delay = context.backoffs.after(&task, &error).max(Duration::from_secs(1));
        warn!(task = task.name, namespace = task.namespace, %error, retry_in = ?delay, "could not let go of the pods of a task that is gone");
        time::sleep(delay).await;
    }
    context.backoffs.forget(&task);
}

/// Releases the pods whose task is gone. The cache may lag, so the API server is asked; a task of the same name that
/// exists looks after the pods with its own UID itself.
async fn release_pods_whose_task_is_gone(context: &Context, task: &ObjectKey) -> Result<(), Error> {
    let held: Vec<_> = context.pods.of(task).into_iter().filter(|pod| pod.has_finalizer).collect();
    if held.is_empty() {
        return Ok(());
    }
    let live = call("read task", context.tasks_api(&task.namespace).get_metadata_opt(&task.name)).await?;
    let live_uid = live.and_then(|task| task.uid());
    for pod in held.iter().filter(|pod| Some(&pod.task_uid) != live_uid.as_ref()) {
        info!(task = task.name, namespace = task.namespace, pod = pod.name, "letting go of a pod whose task is gone");
        let pod = PodRef { name: pod.name.clone(), uid: pod.uid.clone() };
        if let Taken::Refused(refused) = release(context, task, pod).await? {
            publish_refused(context, task, &refused);
        }
    }
    Ok(())
}

/// On the pod, since the task is gone. The next sweep tries again.
fn publish_refused(context: &Context, task: &ObjectKey, refused: &RefusedStep) {
    let event = refused_event(refused);
    warn!(task = task.name, namespace = task.namespace, "{}", event.note);
    if let Some(pod) = refused.step.pod() {
        publish_about(context, pod_reference(&task.namespace, pod), event);
    }
}
