//! Figures of single queues, by name: what `/metrics/tasks` serves of them, for those who ask for it.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::api::queue::BreakerState;

/// Where one queue stands, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueFigures {
    /// Namespace of the queue.
    pub namespace: String,
    /// Name of the queue.
    pub name: String,
    /// How many tasks have a place.
    pub active: i64,
    /// How many tasks wait for one.
    pub waiting: i64,
    /// Where its breaker stands, if it has one.
    pub breaker: Option<BreakerState>,
}

type Figure = (&'static str, &'static str, fn(&QueueFigures) -> Option<i64>);

const FIGURES: [Figure; 3] = [
    ("active", "Tasks that have a place", |queue| Some(queue.active)),
    ("waiting", "Tasks that wait for a place", |queue| Some(queue.waiting)),
    ("breaker", "Whether the breaker is closed (0), half open (1) or open (2)", |queue| queue.breaker.map(number)),
];

// Not `namespace`: Prometheus puts the operator's own there.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct QueueLabels {
    queue_namespace: String,
    queue: String,
}

/// The figures as text of [`crate::telemetry::metrics::CONTENT_TYPE`].
///
/// # Errors
/// When a figure cannot be written, which none of ours can fail to.
pub fn encode(queues: &[QueueFigures]) -> Result<String, fmt::Error> {
    let mut all = Registry::with_prefix("longtask_queue");
    for (name, help, value) in FIGURES {
        let family = Family::<QueueLabels, Gauge>::default();
        for queue in queues {
            let labels = QueueLabels { queue_namespace: queue.namespace.clone(), queue: queue.name.clone() };
            if let Some(figure) = value(queue) {
                family.get_or_create(&labels).set(figure);
            }
        }
        all.register(name, help, family);
    }
    let mut text = String::new();
    prometheus_text::encode(&mut text, &all)?;
    Ok(text)
}

fn number(state: BreakerState) -> i64 {
    match state {
        BreakerState::Closed => 0,
        BreakerState::HalfOpen => 1,
        BreakerState::Open => 2,
    }
}
