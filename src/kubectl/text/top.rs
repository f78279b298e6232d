//! Tasks by the work that they have done.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    style::of_phase,
    table::{Cell, table_with_namespaces},
    time::span,
};
use crate::api::task::{LongTask, Phase};

/// What a task has done in its run.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct Row {
    namespace: String,
    name: String,
    phase: Option<Phase>,
    segment: i64,
    attempts: i64,
    retries: i64,
    /// Running time, that of the running attempt included.
    active_seconds: i64,
    work_lost_seconds: i64,
    /// The part of the running time that was not lost.
    goodput_percent: Option<i64>,
    progress: Option<String>,
}

/// The facts of the tasks, the one that ran longest first.
pub(in crate::kubectl) fn works(tasks: &[LongTask], now: Timestamp) -> Vec<Row> {
    let mut works: Vec<_> = tasks.iter().map(|task| work(task, now)).collect();
    works.sort_by(|one, other| {
        other
            .active_seconds
            .cmp(&one.active_seconds)
            .then_with(|| (&one.namespace, &one.name).cmp(&(&other.namespace, &other.name)))
    });
    works
}

fn work(task: &LongTask, now: Timestamp) -> Row {
    let status = task.status.clone().unwrap_or_default();
    let (active, lost) = (status.active_seconds_at(now), status.totals.work_lost_seconds);
    Row {
        namespace: task.namespace().unwrap_or_default(),
        name: task.name_any(),
        phase: status.phase,
        segment: status.segment,
        attempts: status.totals.attempts,
        retries: status.retries,
        active_seconds: active,
        work_lost_seconds: lost,
        goodput_percent: (active > 0).then(|| active.saturating_sub(lost).max(0).saturating_mul(100) / active),
        progress: status.progress.and_then(|progress| progress.summary),
    }
}

/// A table of them.
pub(in crate::kubectl) fn table(works: &[Row], with_namespaces: bool) -> String {
    let rows = works.iter().map(|work| {
        let cells = [
            Cell::from(&*work.name),
            Cell::styled(work.phase.map_or("-", Into::into), of_phase(work.phase)),
            Cell::from(span(work.active_seconds)),
            Cell::from(work.attempts.to_string()),
            Cell::from(work.retries.to_string()),
            Cell::from(span(work.work_lost_seconds)),
            Cell::from(work.goodput_percent.map_or_else(|| "-".to_owned(), |percent| format!("{percent}%"))),
            Cell::from(work.progress.as_deref().unwrap_or("-")),
        ];
        (work.namespace.clone(), cells)
    });
    let head = ["NAME", "PHASE", "RAN", "ENDED ATTEMPTS", "RETRIES", "WORK LOST", "GOODPUT", "PROGRESS"];
    table_with_namespaces(head, rows.collect(), with_namespaces)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_longest_is_first_with_the_attempt_that_runs() {
        let task = |name: &str, status: &Value| -> LongTask {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name },
                "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
                "status": status,
            }))
            .expect("a task")
        };
        let runs = json!({
            "phase": "Running", "activeSeconds": 240, "retries": 1,
            "totals": { "attempts": 2, "workLostSeconds": 75 }, "progress": { "summary": "5/9 rows" },
            "currentAttempt": {
                "number": 3, "segment": 1, "state": "Running", "podName": "a-3", "generation": 1,
                "creationTime": "2026-11-25T06:59:00Z", "startedAt": "2026-11-25T06:59:00Z",
            },
        });
        let tasks = [task("new", &json!({})), task("old", &runs)];
        let text = table(&works(&tasks, "2026-11-25T07:00:00Z".parse().expect("a timestamp")), false);
        let expected = "\
NAME  PHASE    RAN  ENDED ATTEMPTS  RETRIES  WORK LOST  GOODPUT  PROGRESS
old   Running  5m   2               1        75s        75%      5/9 rows
new   -        0s   0               0        0s         -        -
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }
}
