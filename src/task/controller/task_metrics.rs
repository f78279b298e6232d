//! Figures of single tasks, by name: what `/metrics/tasks` serves, for those who ask for it.
//!
//! They are a page of their own, apart from `/metrics`, whose number of series does not grow with the cluster.
//! There are those of as many tasks as the operator was told to show.

use std::fmt;

use prometheus_client::{
    encoding::{EncodeLabelSet, prometheus_text},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

/// Where one task stands, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskFigures {
    /// Namespace of the task.
    pub namespace: String,
    /// Name of the task.
    pub name: String,
    /// Its phase.
    pub phase: &'static str,
    /// The segment that runs or comes next.
    pub segment: i64,
    /// The number of the latest attempt.
    pub attempt: i64,
    /// Retries of this run.
    pub retries: i64,
    /// What is done, in the program's own units.
    pub completed: Option<i64>,
    /// What there is to do, in the program's own units.
    pub total: Option<i64>,
    /// The number of the latest checkpoint.
    pub checkpoint_sequence: i64,
    /// When the latest checkpoint was recorded, in seconds since 1970.
    pub checkpoint_recorded: Option<i64>,
    /// Running time of ended attempts.
    pub active_seconds: i64,
    /// Running time that had to be done again.
    pub work_lost_seconds: i64,
    /// When the next attempt starts, in seconds since 1970.
    pub next_attempt: Option<i64>,
    /// When the agent of the attempt under way was heard of last, in seconds since 1970.
    pub last_report: Option<i64>,
}

type Figure = (&'static str, &'static str, fn(&TaskFigures) -> Option<i64>);

const FIGURES: [Figure; 11] = [
    ("segment", "The segment that runs or comes next", |task| Some(task.segment)),
    ("attempt", "The number of the latest attempt", |task| Some(task.attempt)),
    ("retries", "Retries of this run", |task| Some(task.retries)),
    ("completed", "What is done, in the program's own units", |task| task.completed),
    ("work", "What there is to do, in the program's own units", |task| task.total),
    ("checkpoint_sequence", "The number of the latest checkpoint", |task| Some(task.checkpoint_sequence)),
    ("checkpoint_timestamp_seconds", "When the latest checkpoint was recorded", |task| task.checkpoint_recorded),
    ("active_seconds", "Running time of this run's ended attempts", |task| Some(task.active_seconds)),
    ("work_lost_seconds", "Running time of this run that has to be done again", |task| Some(task.work_lost_seconds)),
    ("next_attempt_timestamp_seconds", "When the next attempt starts", |task| task.next_attempt),
    ("last_report_timestamp_seconds", "When the agent of the running attempt posted last", |task| task.last_report),
];

// Not `namespace`: Prometheus puts the operator's own there.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct TaskLabels {
    task_namespace: String,
    task: String,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct PhaseLabels {
    task_namespace: String,
    task: String,
    phase: &'static str,
}

/// The figures as text of [`crate::telemetry::metrics::CONTENT_TYPE`].
///
/// # Errors
/// When a figure cannot be written, which none of ours can fail to.
pub fn encode(tasks: &[TaskFigures]) -> Result<String, fmt::Error> {
    let mut all = Registry::with_prefix("longtask_task");
    let phases = Family::<PhaseLabels, Gauge>::default();
    for TaskFigures { namespace, name, phase, .. } in tasks {
        let labels = PhaseLabels { task_namespace: namespace.clone(), task: name.clone(), phase };
        phases.get_or_create(&labels).set(1);
    }
    all.register("phase", "1 for the phase that the task is in", phases);
    for (name, help, value) in FIGURES {
        let family = Family::<TaskLabels, Gauge>::default();
        for task in tasks {
            if let Some(value) = value(task) {
                let labels = TaskLabels { task_namespace: task.namespace.clone(), task: task.name.clone() };
                family.get_or_create(&labels).set(value);
            }
        }
        all.register(name, help, family);
    }
    let mut text = String::new();
    prometheus_text::encode(&mut text, &all)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_task_has_its_figures_and_none_that_it_lacks() {
        let task = TaskFigures {
            namespace: "a".into(),
            name: "import".into(),
            phase: "Running",
            segment: 3,
            completed: Some(1200),
            ..TaskFigures::default()
        };
        let text = encode(&[task]).expect("text");
        for line in [
            r#"longtask_task_phase{task_namespace="a",task="import",phase="Running"} 1"#,
            r#"longtask_task_segment{task_namespace="a",task="import"} 3"#,
            r#"longtask_task_completed{task_namespace="a",task="import"} 1200"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("longtask_task_next_attempt_timestamp_seconds{"), "{text}");
    }
}
