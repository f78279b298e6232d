//! The metrics of queues.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::telemetry::metrics::{Page, Registry};

/// What is counted of queues. Clones count into the same.
#[derive(Clone, Debug)]
pub(super) struct QueueMetrics {
    pub(super) queued_tasks: Gauge,
    pub(super) breakers: Family<BreakerLabels, Gauge>,
    /// Figures of single queues, by name.
    pub(super) figures: Page,
    wait: Histogram,
    calls: Counter,
}

impl QueueMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            queued_tasks: registry.register(
                "queued_tasks",
                "Tasks that wait in a queue; only the leader reports them",
                Gauge::default(),
            ),
            breakers: registry.register(
                "breakers",
                "Breakers of queues by state; only the leader reports them",
                Family::default(),
            ),
            figures: registry.page("/metrics/tasks"),
            wait: registry.register_seconds(
                "queue_wait",
                "Time that a task had waited in its queue when it was called",
                Histogram::new([1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0, 86_400.0]),
            ),
            calls: registry.register("queue_calls", "Tasks that queues have called", Counter::default()),
        }
    }

    /// Tasks were called that had waited for so many seconds.
    pub(super) fn called(&self, waits: &[i64]) {
        for seconds in waits {
            self.calls.inc();
            self.wait.observe(f64::from(u32::try_from(*seconds).unwrap_or(u32::MAX)));
        }
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.queued_tasks.set(1);
        self.breakers.get_or_create(&BreakerLabels { state: "Open" }).set(1);
        self.called(&[1]);
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct BreakerLabels {
    pub(super) state: &'static str,
}
