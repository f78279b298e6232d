//! Sets by how far they are.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    sets::of_phase,
    table::{Cell, table_with_namespaces},
    time::span,
};
use crate::{
    api::set::{LongTaskSet, SetPhase},
    types::time::seconds_between,
};

/// How far a set is in its round.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct Row {
    namespace: String,
    name: String,
    phase: Option<SetPhase>,
    reason: String,
    round: i64,
    total: i64,
    succeeded: i64,
    failed: i64,
    active: i64,
    waiting: i64,
    max_parallel: i32,
    /// How long the round has lasted, pauses included.
    round_seconds: Option<i64>,
    /// When the last member will have ended at the pace of this round.
    estimated_completion_time: Option<Timestamp>,
}

/// The facts of the sets, those first that have not ended.
pub(in crate::kubectl) fn rows(sets: &[LongTaskSet], now: Timestamp) -> Vec<Row> {
    let mut rows: Vec<_> = sets.iter().map(|set| row(set, now)).collect();
    rows.sort_by_cached_key(|row| {
        let has_ended = row.phase.is_some_and(SetPhase::is_terminal);
        (has_ended, row.namespace.clone(), row.name.clone())
    });
    rows
}

fn row(set: &LongTaskSet, now: Timestamp) -> Row {
    let status = set.status.clone().unwrap_or_default();
    let until = status.completion_time.unwrap_or(now);
    Row {
        namespace: set.namespace().unwrap_or_default(),
        name: set.name_any(),
        phase: status.phase,
        reason: status.reason,
        round: status.round.number,
        total: i64::from(set.spec.total()),
        succeeded: status.succeeded.count,
        failed: status.failed.count,
        active: status.active,
        waiting: status.waiting.count,
        max_parallel: set.spec.max_parallel,
        round_seconds: status.round.start_time.map(|start| seconds_between(start, until)),
        estimated_completion_time: status.progress.estimated_completion_time,
    }
}

/// A table of them.
pub(in crate::kubectl) fn table(rows: &[Row], with_namespaces: bool, now: Timestamp) -> String {
    let time = |seconds: Option<i64>| seconds.map_or_else(|| "-".to_owned(), span);
    let rows = rows.iter().map(|row| {
        let phase = row.phase.map_or("-", Into::into);
        let why = if row.reason.is_empty() { String::new() } else { format!(" ({})", row.reason) };
        let cells = [
            Cell::from(&*row.name),
            Cell::styled(format!("{phase}{why}"), of_phase(row.phase)),
            Cell::from(row.round.to_string()),
            Cell::from(format!("{}/{}", row.succeeded, row.total)),
            Cell::from(row.failed.to_string()),
            Cell::from(format!("{}/{}", row.active, row.max_parallel)),
            Cell::from(row.waiting.to_string()),
            Cell::from(time(row.round_seconds)),
            Cell::from(time(row.estimated_completion_time.map(|end| seconds_between(now, end)))),
        ];
        (row.namespace.clone(), cells)
    });
    let head = ["NAME", "PHASE", "ROUND", "SUCCEEDED", "FAILED", "ACTIVE", "WAITING", "TOOK", "DONE IN"];
    table_with_namespaces(head, rows.collect(), with_namespaces)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn those_at_work_are_first_and_say_when_they_will_be_done() {
        let set = |name: &str, status: &Value| -> LongTaskSet {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": name },
                "spec": { "templateRef": { "name": "t" }, "count": 8000, "maxParallel": 20 }, "status": status,
            }))
            .expect("a set")
        };
        let failed = json!({
            "phase": "Failed", "reason": "TooManyFailed", "completionTime": "2026-11-25T06:30:00Z",
            "round": { "number": 2, "startTime": "2026-11-25T06:20:00Z" },
            "succeeded": { "count": 40 }, "failed": { "count": 101 }, "waiting": { "count": 20 },
        });
        let running = json!({
            "phase": "Running", "active": 20, "round": { "number": 1, "startTime": "2026-11-25T06:08:00Z" },
            "succeeded": { "count": 3127 }, "failed": { "count": 4 },
            "progress": { "estimatedCompletionTime": "2026-11-25T08:20:00Z" },
        });
        let sets = [set("broken", &failed), set("night", &running), set("young", &Value::Null)];
        let now = "2026-11-25T07:00:00Z".parse().expect("a timestamp");
        let expected = "\
NAME    PHASE                   ROUND  SUCCEEDED  FAILED  ACTIVE  WAITING  TOOK  DONE IN
night   Running                 1      3127/8000  4       20/20   0        52m   80m
young   -                       0      0/8000     0       0/20    0        -     -
broken  Failed (TooManyFailed)  2      40/8000    101     0/20    20       10m   -
";
        assert_eq!(anstream::adapter::strip_str(&table(&rows(&sets, now), false, now)).to_string(), expected);
    }
}
