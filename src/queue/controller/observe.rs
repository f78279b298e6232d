//! From caches to facts, with live reads where a cache would have to prove an absence.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt, stream};
use kube::{ResourceExt, api::ListParams};

use super::context::Context;
use crate::{
    api::{
        labels,
        queue::{Holder, TaskQueue, short_uid},
    },
    queue::plan::{ObservedQueue, unknown_holders},
    runtime::{call::call, error::Error, key::ObjectKey},
};

/// How many reads are under way at a time, and how many holders are asked for in one pass.
const AT_ONCE: usize = 8;
const MOST_READS: usize = 50;

/// Everything that a plan for this queue is made from.
pub(super) async fn observe<'a>(context: &Context, queue: &'a TaskQueue) -> Result<ObservedQueue<'a>, Error> {
    context.queues.index.filled().await;
    let holders = queue.holders();
    let mut seen = ObservedQueue::of(queue, Vec::new());
    seen.tasks = context.queues.index.of(&seen.key(), holders);
    seen.last_write = context.last_write(&ObjectKey::of(queue));
    let unknown: Vec<_> = unknown_holders(holders, &seen.tasks).into_iter().take(MOST_READS).cloned().collect();
    seen.gone = gone(context, unknown).await?;
    Ok(seen)
}

/// Those holders of which nothing is left: neither their task, nor a pod of it that may still run.
async fn gone(context: &Context, holders: Vec<Holder>) -> Result<BTreeSet<(String, String)>, Error> {
    let reads = holders.into_iter().map(|holder| async move {
        let is_left = is_task_left(context, &holder).await? || is_pod_left(context, &holder).await?;
        Ok::<_, Error>((!is_left).then_some((holder.task, holder.uid)))
    });
    let found: Vec<_> = stream::iter(reads).buffered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn is_task_left(context: &Context, holder: &Holder) -> Result<bool, Error> {
    let api = context.tasks_api(holder.namespace());
    let task = call("read task", api.get_metadata_opt(holder.name())).await?;
    Ok(task.is_some_and(|task| short_uid(&task.uid().unwrap_or_default()) == holder.uid))
}

/// Whether a pod of the task is there that has not ended. Those that have may be kept by somebody for ever.
async fn is_pod_left(context: &Context, holder: &Holder) -> Result<bool, Error> {
    let params = ListParams::default().labels(&format!("{}={}", labels::TASK, holder.name()));
    let pods = call("list pods", context.pods_api(holder.namespace()).list(&params)).await?;
    Ok(pods.items.iter().any(|pod| {
        let is_of_it = pod.labels().get(labels::TASK_UID).is_some_and(|uid| short_uid(uid) == holder.uid);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        is_of_it && !matches!(phase, Some("Succeeded" | "Failed"))
    }))
}
