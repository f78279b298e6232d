//! What is looked at every now and then, whatever happens.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::Store};
use tokio::{sync::mpsc::UnboundedSender, time};
use tracing::warn;

use super::{
    pod_index::PodIndex,
    task_metrics::{self, TaskFigures},
    watches::Guarded,
};
use crate::{
    api::task::{CheckpointSource, ConditionType, LongTask, Phase},
    runtime::{OperatorContext, key::ObjectKey},
    types::is_condition_true,
};

const EVERY: Duration = Duration::from_secs(30);

/// Sweeps every half minute, once the caches are filled: counts the tasks, and names each task that is gone and still
/// has pods, since its deletion may have been missed.
pub(super) async fn sweep(
    tasks: Store<Guarded>,
    pods: PodIndex,
    operator: &OperatorContext,
    missing: UnboundedSender<ObjectKey>,
) {
    let mut next = time::interval(EVERY);
    loop {
        next.tick().await;
        let all = tasks.state();
        operator.metrics.tasks(by_phase(&all));
        operator.metrics.tasks_with_conditions(by_trouble(&all));
        operator.metrics.oldest_checkpoint(oldest_checkpoint(&all, operator.clock.now()));
        show_tasks(&all, operator);
        for task in pods.tasks_with_held_pods() {
            if tasks.get(&task.to_ref()).is_none() {
                // The receiver ends only with us.
                let _ = missing.send(task);
            }
        }
    }
}

fn readable(tasks: &[Arc<Guarded>]) -> impl Iterator<Item = &LongTask> {
    tasks.iter().filter_map(|task| task.0.as_ref().ok())
}

/// The number of tasks in each phase, those without any included.
fn by_phase(tasks: &[Arc<Guarded>]) -> HashMap<&'static str, usize> {
    let mut numbers: HashMap<_, _> = Phase::ALL.iter().map(|phase| (phase.as_str(), 0)).collect();
    for task in tasks {
        let status = task.0.as_ref().ok().and_then(|task| task.status.as_ref());
        let phase = status.and_then(|status| status.phase).unwrap_or(Phase::Pending);
        *numbers.entry(phase.as_str()).or_default() += 1;
    }
    numbers
}

/// The number of tasks with each trouble.
fn by_trouble(tasks: &[Arc<Guarded>]) -> impl Iterator<Item = (&'static str, usize)> {
    ConditionType::troubles().map(|condition| {
        let statuses = readable(tasks).filter_map(|task| task.status.as_ref());
        (condition.into(), statuses.filter(|status| is_condition_true(&status.conditions, condition)).count())
    })
}

/// How long the work of a task goes on that has recorded no checkpoint for the longest time; zero without such a task.
///
/// Those that keep their checkpoints themselves, are paused or have ended are left out.
fn oldest_checkpoint(tasks: &[Arc<Guarded>], now: Timestamp) -> Duration {
    let ages = readable(tasks).filter_map(|task| {
        let status = task.status.as_ref()?;
        let is_at_work = status.phase.is_some_and(|phase| !phase.is_terminal() && phase != Phase::Suspended);
        let since = status.checkpoint.as_ref().map(|checkpoint| checkpoint.record_time).or(status.run.start_time)?;
        let reports = task.spec.checkpoint.source == CheckpointSource::Report;
        (is_at_work && reports).then(|| Duration::try_from(now.duration_since(since)).unwrap_or(Duration::ZERO))
    });
    ages.max().unwrap_or(Duration::ZERO)
}

/// Shows the figures of as many tasks as are wanted, those that have not ended first.
fn show_tasks(tasks: &[Arc<Guarded>], operator: &OperatorContext) {
    let most = usize::from(operator.settings.task_metrics);
    if most == 0 {
        return;
    }
    let mut figures: Vec<_> = readable(tasks).filter_map(figures_of).collect();
    let has_ended =
        |task: &TaskFigures| Phase::ALL.iter().any(|phase| phase.is_terminal() && phase.as_str() == task.phase);
    figures.sort_by_cached_key(|task| (has_ended(task), task.namespace.clone(), task.name.clone()));
    figures.truncate(most);
    match task_metrics::encode(&figures) {
        Ok(text) => operator.metrics.show_tasks(text),
        Err(error) => warn!(%error, "could not write the figures of tasks"),
    }
}

fn figures_of(task: &LongTask) -> Option<TaskFigures> {
    let status = task.status.as_ref()?;
    let (progress, checkpoint) = (status.progress.as_ref(), status.checkpoint.as_ref());
    Some(TaskFigures {
        namespace: task.namespace().unwrap_or_default(),
        name: task.name_any(),
        phase: status.phase.unwrap_or(Phase::Pending).as_str(),
        segment: status.segment,
        attempt: status.current_attempt.as_ref().map_or(0, |attempt| attempt.number),
        retries: status.retries,
        completed: progress.and_then(|progress| progress.completed),
        total: progress.and_then(|progress| progress.total),
        checkpoint_sequence: status.checkpoint_sequence,
        checkpoint_recorded: checkpoint.map(|checkpoint| checkpoint.record_time.as_second()),
        active_seconds: status.active_seconds,
        work_lost_seconds: status.totals.work_lost_seconds,
        next_attempt: status.next_attempt_time.map(Timestamp::as_second),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task_with(conditions: &[(&str, &str)]) -> Arc<Guarded> {
        let conditions: Vec<_> = conditions
            .iter()
            .map(|(name, status)| {
                json!({
                    "type": name, "status": status, "reason": "Any", "message": "",
                    "lastTransitionTime": "2026-11-24T10:00:00Z",
                })
            })
            .collect();
        let task = json!({
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTask",
            "metadata": { "name": "import", "namespace": "default" },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": { "conditions": conditions },
        });
        Arc::new(serde_json::from_value(task).expect("a task"))
    }

    #[test]
    fn tasks_are_counted_by_each_trouble_that_they_have() {
        let tasks = [
            task_with(&[("Blocked", "True"), ("WriteRefused", "True"), ("Reconciling", "True")]),
            task_with(&[("WriteRefused", "True"), ("AttemptOverdue", "True"), ("Blocked", "False")]),
            task_with(&[("CheckpointStale", "False")]),
        ];
        let counted: HashMap<_, _> = by_trouble(&tasks).collect();
        let expected = [("Blocked", 1), ("WriteRefused", 2), ("AttemptOverdue", 1), ("CheckpointStale", 0)];
        assert_eq!(counted, expected.into());
    }
}
