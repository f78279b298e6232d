//! What is done every half minute, whatever happens: gauges are set, and orphans are looked for.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use kube::{ResourceExt, runtime::reflector::Store};
use strum::IntoEnumIterator;
use tokio::{sync::mpsc::UnboundedSender, time};
use tracing::warn;

use super::{
    metrics::{ConditionLabels, PhaseLabels, TaskMetrics},
    pod_index::PodIndex,
    reports::LiveReports,
    task_metrics::{self, TaskFigures},
    watches::Guarded,
};
use crate::{
    api::task::{CheckpointSource, ConditionType, LongTask, Phase},
    runtime::{OperatorContext, key::ObjectKey},
    types::{is_condition_true, time::duration_between},
};

const EVERY: Duration = Duration::from_secs(30);

/// After this long without a sweep the operator hangs, and a restart is worth trying.
const MAX_SILENCE: Duration = Duration::from_mins(5);

/// Sweeps every half minute, once the caches are filled: counts the tasks, and names each task that is gone and still
/// has pods, since its deletion may have been missed.
pub(super) async fn sweep(
    tasks: Store<Guarded>,
    pods: PodIndex,
    live: LiveReports,
    operator: &OperatorContext,
    metrics: &TaskMetrics,
    missing: UnboundedSender<ObjectKey>,
) {
    let heartbeat = operator.health.observe("sweep", Some(MAX_SILENCE));
    let mut next = time::interval(EVERY);
    loop {
        next.tick().await;
        let all = tasks.state();
        for (phase, number) in by_phase(&all) {
            metrics.tasks.get_or_create(&PhaseLabels { phase }).set(number);
        }
        for (condition, number) in by_trouble(&all) {
            metrics.tasks_with_condition.get_or_create(&ConditionLabels { condition }).set(number);
        }
        let age = oldest_checkpoint(&all, operator.clock.now());
        metrics.oldest_checkpoint_age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
        show_tasks(&all, usize::from(operator.settings.task_metrics), &live, metrics);
        live.retain(&pods.uids_with_agents());
        metrics.live_pods.set(i64::try_from(live.pods()).unwrap_or(i64::MAX));
        metrics.live_pace.set(live.pace());
        for task in pods.tasks_with_held_pods() {
            if tasks.get(&task.to_ref()).is_none() {
                // The receiver ends only with us.
                let _ = missing.send(task);
            }
        }
        heartbeat.beat();
    }
}

fn readable(tasks: &[Arc<Guarded>]) -> impl Iterator<Item = &LongTask> {
    tasks.iter().filter_map(|task| task.0.as_ref().ok())
}

/// The number of tasks in each phase, those without any included.
fn by_phase(tasks: &[Arc<Guarded>]) -> HashMap<&'static str, i64> {
    let mut numbers: HashMap<_, _> = Phase::iter().map(|phase| (<&str>::from(phase), 0)).collect();
    for task in tasks {
        let status = task.0.as_ref().ok().and_then(|task| task.status.as_ref());
        let phase = status.and_then(|status| status.phase).unwrap_or(Phase::Pending);
        *numbers.entry(phase.into()).or_default() += 1;
    }
    numbers
}

/// The number of tasks with each trouble.
fn by_trouble(tasks: &[Arc<Guarded>]) -> impl Iterator<Item = (&'static str, i64)> {
    ConditionType::troubles().map(|condition| {
        let statuses = readable(tasks).filter_map(|task| task.status.as_ref());
        let troubled = statuses.filter(|status| is_condition_true(&status.conditions, condition));
        (condition.into(), troubled.map(|_| 1).sum())
    })
}

/// Age of the oldest last checkpoint among the tasks at work; zero without such a task.
///
/// A task that has no checkpoint yet counts from the start of its run. Tasks whose programs keep their checkpoints
/// themselves are left out.
fn oldest_checkpoint(tasks: &[Arc<Guarded>], now: Timestamp) -> Duration {
    let ages = readable(tasks).filter_map(|task| {
        let status = task.status.as_ref()?;
        let is_at_work = status.phase.is_some_and(|phase| !phase.is_terminal() && phase != Phase::Suspended);
        let since = status.checkpoint.as_ref().map(|checkpoint| checkpoint.record_time).or(status.run.start_time)?;
        let reports = task.spec.checkpoint.source == CheckpointSource::Report;
        (is_at_work && reports).then(|| duration_between(since, now))
    });
    ages.max().unwrap_or(Duration::ZERO)
}

/// Shows the figures of as many tasks as are wanted, those that have not ended first.
fn show_tasks(tasks: &[Arc<Guarded>], most: usize, live: &LiveReports, metrics: &TaskMetrics) {
    if most == 0 {
        return;
    }
    let mut figures: Vec<_> = readable(tasks).filter_map(|task| figures_of(task, live)).collect();
    let has_ended =
        |task: &TaskFigures| Phase::iter().any(|phase| phase.is_terminal() && <&str>::from(phase) == task.phase);
    figures.sort_by_cached_key(|task| (has_ended(task), task.namespace.clone(), task.name.clone()));
    figures.truncate(most);
    match task_metrics::encode(&figures) {
        Ok(text) => metrics.figures.write(text),
        Err(error) => warn!(%error, "could not write the figures of tasks"),
    }
}

fn figures_of(task: &LongTask, live: &LiveReports) -> Option<TaskFigures> {
    let status = task.status.as_ref()?;
    let pod = status.live_attempt().and_then(|attempt| attempt.pod_uid.as_deref());
    let (progress, checkpoint) = (status.progress.as_ref(), status.checkpoint.as_ref());
    Some(TaskFigures {
        namespace: task.namespace().unwrap_or_default(),
        name: task.name_any(),
        phase: status.phase.unwrap_or(Phase::Pending).into(),
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
        last_report: pod.and_then(|pod| live.last_heard(pod)).map(Timestamp::as_second),
    })
}

#[cfg(test)]
mod tests {
    use kube::runtime::reflector;
    use serde_json::json;
    use tokio::sync::mpsc;

    use super::{super::reports::ReportsFrom, *};
    use crate::{contract::agent::Post, telemetry::metrics::Registry};

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

    #[tokio::test(start_paused = true)]
    async fn an_operator_that_does_not_sweep_any_more_is_not_well() {
        let (operator, metrics) = (OperatorContext::for_tests(), TaskMetrics::register(&mut Registry::new()));
        let ((tasks, _writer), (missing, _receiver)) = (reflector::store(), mpsc::unbounded_channel());
        let live = LiveReports::new(ReportsFrom::default());
        let sweeping = sweep(tasks, PodIndex::new(), live, &operator, &metrics, missing);
        time::timeout(2 * MAX_SILENCE, sweeping).await.expect_err("it never ends");
        assert_eq!(operator.health.complaints(), [""; 0]);
        time::advance(MAX_SILENCE).await;
        assert_eq!(operator.health.complaints(), ["sweep: silent for 300s"]);
    }

    #[test]
    fn the_figures_tell_when_the_running_attempt_was_heard_of_last() {
        let live = LiveReports::new(ReportsFrom::default());
        live.take("pod-2", &Post::default(), Timestamp::from_second(77).expect("in range"));
        let last_report = |state: &str, pod: &str| {
            let task: LongTask = serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "import" },
                "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
                "status": { "currentAttempt": {
                    "number": 2, "segment": 1, "state": state, "podName": "import-2", "podUID": pod, "generation": 1,
                    "creationTime": "2026-11-24T10:00:00Z",
                } },
            }))
            .expect("a task");
            figures_of(&task, &live).expect("it has a status").last_report
        };
        assert_eq!(last_report("Running", "pod-2"), Some(77));
        assert_eq!([last_report("Ended", "pod-2"), last_report("Running", "another")], [None; 2]);
    }

    #[test]
    fn tasks_are_counted_by_each_trouble_that_they_have() {
        let tasks = [
            task_with(&[("Blocked", "True"), ("WriteRefused", "True"), ("Reconciling", "True")]),
            task_with(&[("WriteRefused", "True"), ("AttemptOverdue", "True"), ("Blocked", "False")]),
            task_with(&[("CheckpointStale", "False")]),
        ];
        let counted: HashMap<_, _> = by_trouble(&tasks).collect();
        let expected = [
            ("Blocked", 1),
            ("WriteRefused", 2),
            ("AttemptOverdue", 1),
            ("CheckpointStale", 0),
            ("ReportsMissing", 0),
            ("SaveFailing", 0),
        ];
        assert_eq!(counted, expected.into());
    }
}
