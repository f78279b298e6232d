//! What is done every half minute, whatever happens: gauges are set.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::ResourceExt;
use strum::IntoEnumIterator;
use tokio::time;
use tracing::warn;

use super::{
    links::{Queues, WatchedQueue},
    metrics::{BreakerLabels, QueueMetrics},
    queue_figures::{self, QueueFigures},
};
use crate::{
    api::queue::{BreakerState, TaskQueue},
    runtime::OperatorContext,
};

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
        let all = queues.store.state();
        for (state, number) in by_state(readable(&all)) {
            metrics.breakers.get_or_create(&BreakerLabels { state }).set(number);
        }
        show_queues(readable(&all), usize::from(operator.settings.task_metrics), metrics);
        heartbeat.beat();
    }
}

fn readable(queues: &[Arc<WatchedQueue>]) -> impl Iterator<Item = &TaskQueue> {
    queues.iter().filter_map(|queue| queue.0.as_ref().ok())
}

/// The number of breakers in each state, those without any included.
fn by_state<'a>(queues: impl Iterator<Item = &'a TaskQueue>) -> HashMap<&'static str, i64> {
    let mut numbers: HashMap<_, _> = BreakerState::iter().map(|state| (<&str>::from(state), 0)).collect();
    for state in queues.filter_map(breaker_of) {
        *numbers.entry(state.into()).or_default() += 1;
    }
    numbers
}

/// Shows the figures of as many queues as are wanted.
fn show_queues<'a>(queues: impl Iterator<Item = &'a TaskQueue>, most: usize, metrics: &QueueMetrics) {
    if most == 0 {
        return;
    }
    match queue_figures::encode(&figures(queues, most)) {
        Ok(text) => metrics.figures.write(text),
        Err(error) => warn!(%error, "could not write the figures of queues"),
    }
}

/// The figures of as many queues as are wanted, those in which most tasks wait first.
fn figures<'a>(queues: impl Iterator<Item = &'a TaskQueue>, most: usize) -> Vec<QueueFigures> {
    let mut figures: Vec<_> = queues.map(figures_of).collect();
    figures.sort_by_cached_key(|queue| (-queue.waiting, queue.namespace.clone(), queue.name.clone()));
    figures.truncate(most);
    figures
}

fn figures_of(queue: &TaskQueue) -> QueueFigures {
    let status = queue.status.as_ref();
    QueueFigures {
        namespace: queue.namespace().unwrap_or_default(),
        name: queue.name_any(),
        active: status.map_or(0, |status| status.active),
        waiting: status.map_or(0, |status| status.waiting),
        breaker: breaker_of(queue),
    }
}

fn breaker_of(queue: &TaskQueue) -> Option<BreakerState> {
    Some(queue.status.as_ref()?.breaker.as_ref()?.state)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn queue(name: &str, status: &Value) -> TaskQueue {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": name, "namespace": "team-a" },
            "spec": { "maxActive": 10 }, "status": status,
        }))
        .expect("a queue")
    }

    #[test]
    fn the_longest_queues_have_their_figures_first() {
        let open = json!({ "state": "Open", "transitionTime": "2026-11-24T10:00:00Z", "openings": 1 });
        let queues = [
            queue("a", &json!({ "active": 1, "waiting": 0 })),
            queue("b", &json!({ "active": 10, "waiting": 41, "breaker": open })),
            queue("c", &json!({ "active": 3, "waiting": 2 })),
        ];
        let shown = figures(queues.iter(), 2);
        assert_eq!(shown.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        let text = queue_figures::encode(&shown).expect("text");
        for line in [
            r#"longtask_queue_active{queue_namespace="team-a",queue="b"} 10"#,
            r#"longtask_queue_waiting{queue_namespace="team-a",queue="b"} 41"#,
            r#"longtask_queue_breaker{queue_namespace="team-a",queue="b"} 2"#,
            r#"longtask_queue_waiting{queue_namespace="team-a",queue="c"} 2"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains(r#"breaker{queue_namespace="team-a",queue="c"}"#), "it has none");
        assert_eq!(by_state(queues.iter()), HashMap::from([("Closed", 0), ("HalfOpen", 0), ("Open", 1)]));
    }
}
