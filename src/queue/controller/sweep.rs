//! What is done every half minute, whatever happens: gauges are set.

use std::time::Duration;

use tokio::time;

use super::{links::Queues, metrics::QueueMetrics};
use crate::runtime::OperatorContext;

const EVERY: Duration = Duration::from_secs(30);
/// After this long without a sweep the operator hangs, and a restart is worth trying.
const MAX_SILENCE: Duration = Duration::from_mins(5);

/// Sweeps every half minute, once the tasks are known.
pub(super) async fn sweep(queues: Queues, operator: &OperatorContext, metrics: &QueueMetrics) {
    queues.index.filled().await;
    let heartbeat = operator.health.observe("sweep of queues", Some(MAX_SILENCE));
    let mut next = time::interval(EVERY);
    loop {
        next.tick().await;
        metrics.queued_tasks.set(i64::try_from(queues.index.waiting()).unwrap_or(i64::MAX));
        heartbeat.beat();
    }
}
