//! The metrics of the operator as a whole.

use prometheus_client::metrics::gauge::Gauge;

use crate::telemetry::metrics::{Fates, Registry};

/// What is counted whatever kinds there are. Clones count into the same.
#[derive(Clone, Debug)]
pub struct RuntimeMetrics {
    pub(super) leader: Gauge,
    pub(super) events: Fates,
    pub(super) queue_depth: Gauge,
}

impl RuntimeMetrics {
    /// Metrics of this registry.
    pub fn register(registry: &mut Registry) -> Self {
        Self {
            leader: registry.register("leader", "1 while this replica is the one that works", Gauge::default()),
            events: Fates::register(registry, "events", "Events on tasks, by what became of them"),
            queue_depth: registry.register(
                "reconcile_queue_depth",
                "Tasks that changed and wait for a reconcile",
                Gauge::default(),
            ),
        }
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(crate) fn fill(&self) {
        self.events.count(crate::telemetry::metrics::Fate::Sent, 1);
    }
}
