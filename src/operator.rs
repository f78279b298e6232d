//! The controllers that run.

use crate::{
    cli::Settings,
    queue::controller::{QueueController, TaskLinks},
    runtime::{self, Error, operator::Controllers},
    set::controller::{SetController, SetLinks},
    task::controller::{Desk, ParentLinks, QueueLinks, TaskController},
    telemetry::metrics::Registry,
};

/// Runs all controllers until SIGTERM or SIGINT.
///
/// # Errors
/// When something cannot be set up, and when leadership is lost.
pub async fn run(settings: Settings) -> Result<(), Error> {
    runtime::operator::run(settings, controllers).await
}

/// All controllers, with their metrics in this registry. A new kind adds its own.
pub fn controllers(registry: &mut Registry) -> Controllers {
    let tasks = TaskController::new(registry);
    joined(registry, tasks)
}

/// Likewise, with a desk for the reports of agents in this process.
pub fn controllers_with_desk(registry: &mut Registry, desk: Desk) -> Controllers {
    let tasks = TaskController::with_desk(registry, desk);
    joined(registry, tasks)
}

/// Kinds meet in objects, not in calls: here the controllers are told how to hear of each other's.
fn joined(registry: &mut Registry, tasks: TaskController) -> Controllers {
    let (sets, SetLinks { listener, parent_of, filled, touched }) = SetController::new(registry);
    let tasks = tasks.with_parents(ParentLinks { parent_of, filled, touched, listener });
    let (queues, TaskLinks { listener, admission_of, filled, touched }) = QueueController::new(registry);
    let tasks = tasks.with_queues(QueueLinks { admission_of, filled, touched, listener });
    let sets = sets.that_heeds(queues.is_full());
    vec![Box::new(tasks), Box::new(sets), Box::new(queues)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        runtime::RuntimeMetrics,
        telemetry::{api_calls::CountApiCalls, traces::Traces},
    };

    /// The text of `/metrics` with every metric, in the order of their names.
    fn all_metrics() -> String {
        let mut registry = Registry::new();
        RuntimeMetrics::register(&mut registry).fill();
        CountApiCalls::register(&mut registry, ["pods"]).fill_metrics();
        let (traces, _sending) = Traces::to("http://localhost", &mut registry).expect("an address");
        traces.fill_metrics();
        for controller in controllers(&mut registry) {
            controller.fill_metrics();
        }
        let text = registry.encode().expect("text");
        let mut metrics: Vec<_> = text.trim_end_matches("# EOF\n").split("# HELP ").skip(1).collect();
        metrics.sort_unstable();
        let text: String = metrics.into_iter().flat_map(|metric| ["# HELP ", metric]).collect();
        text.replace(env!("CARGO_PKG_VERSION"), "VERSION")
    }

    /// The tests of the chart and of the docs read that file.
    #[test]
    fn the_metrics_are_as_committed() {
        let (metrics, file) = (all_metrics(), "tests/chart/snapshots/metrics.txt");
        let committed = include_str!("../tests/chart/snapshots/metrics.txt");
        assert!(metrics == committed, "{file} should be:\n{metrics}");
    }
}
