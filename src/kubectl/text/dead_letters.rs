//! Tasks and sets that nobody works on any more.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;

use super::{
    style::{BAD, DIM, WARNING},
    table::{Cell, table_with_namespaces},
    time::ago,
};
use crate::{
    api::{
        set::{LongTaskSet, SetPhase},
        task::{ConditionType, LongTask, Phase},
    },
    types::find_condition,
};

/// A task that has failed or is held, or a set that has failed.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct DeadLetter {
    namespace: String,
    /// As `restart` takes it: a set's is lts/NAME.
    name: String,
    phase: &'static str,
    reason: String,
    /// Since when.
    time: Option<Timestamp>,
    /// Of the task's run; a set has none of its own.
    attempts: Option<i64>,
    checkpoint: Option<i64>,
    /// The last failure's own words.
    message: String,
}

/// The facts of the tasks, and of those sets that have failed, the oldest first.
pub(in crate::kubectl) fn letters(tasks: &[LongTask], sets: &[LongTaskSet]) -> Vec<DeadLetter> {
    let mut letters: Vec<_> = tasks.iter().map(letter).chain(sets.iter().filter_map(letter_of_set)).collect();
    letters
        .sort_by(|one, other| (one.time, &one.namespace, &one.name).cmp(&(other.time, &other.namespace, &other.name)));
    letters
}

fn letter(task: &LongTask) -> DeadLetter {
    let status = task.status.clone().unwrap_or_default();
    let held = find_condition(&status.conditions, ConditionType::Suspended).filter(|held| held.status == "True");
    let failure = status.last_failure;
    let words = failure.map(|failure| if failure.message.is_empty() { failure.reason } else { failure.message });
    DeadLetter {
        namespace: task.namespace().unwrap_or_default(),
        name: task.name_any(),
        phase: status.phase.map_or("", Into::into),
        reason: status.reason,
        time: status.completion_time.or(held.map(|held| held.last_transition_time.0)),
        attempts: Some(status.totals.attempts),
        checkpoint: status.checkpoint.map(|checkpoint| checkpoint.sequence),
        message: words.unwrap_or_default(),
    }
}

fn letter_of_set(set: &LongTaskSet) -> Option<DeadLetter> {
    let status = set.status.clone().filter(|status| status.phase == Some(SetPhase::Failed))?;
    let last = status.last_failure.map(|failure| {
        let said = if failure.message.is_empty() { failure.reason } else { failure.message };
        format!("; {}: {said}", failure.task)
    });
    Some(DeadLetter {
        namespace: set.namespace().unwrap_or_default(),
        name: format!("lts/{}", set.name_any()),
        phase: SetPhase::Failed.into(),
        reason: status.reason,
        time: status.completion_time,
        attempts: None,
        checkpoint: None,
        message: format!("{} of {} members failed{}", status.failed.count, status.total, last.unwrap_or_default()),
    })
}

/// A table of them.
pub(in crate::kubectl) fn table(letters: &[DeadLetter], with_namespaces: bool, now: Timestamp) -> String {
    let rows = letters.iter().map(|letter| {
        let style = if letter.phase == <&str>::from(Phase::Failed) { BAD } else { WARNING };
        let number = |number: Option<i64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let cells = [
            Cell::from(&*letter.name),
            Cell::styled(letter.phase, style),
            Cell::styled(&*letter.reason, style),
            Cell::styled(letter.time.map_or_else(|| "-".to_owned(), |time| ago(time, now)), DIM),
            Cell::from(number(letter.attempts)),
            Cell::from(number(letter.checkpoint)),
            Cell::from(letter.message.split_whitespace().collect::<Vec<_>>().join(" ")),
        ];
        (letter.namespace.clone(), cells)
    });
    let head = ["NAME", "PHASE", "REASON", "SINCE", "ATTEMPTS", "CHECKPOINT", "LAST FAILURE"];
    table_with_namespaces(head, rows.collect(), with_namespaces)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_oldest_is_first_and_says_what_its_program_said() {
        let task = |name: &str, end: &str, message: &str| -> LongTask {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
                "metadata": { "name": name, "namespace": "team-a" },
                "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
                "status": {
                    "phase": "Failed", "reason": "FailureBudgetExhausted", "completionTime": end,
                    "totals": { "attempts": 7 },
                    "lastFailure": {
                        "outcome": "Failed", "reason": "Error", "message": message, "attempt": 7, "time": end,
                    },
                },
            }))
            .expect("a task")
        };
        let set = |name: &str, phase: &str| -> LongTaskSet {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": name, "namespace": "team-a" },
                "spec": { "templateRef": { "name": "t" }, "count": 8000 },
                "status": {
                    "phase": phase, "reason": "TooManyFailed", "completionTime": "2026-11-25T06:30:00Z", "total": 8000,
                    "failed": { "count": 101, "indexes": "0-100" },
                    "lastFailure": { "index": 100, "task": "night-100", "reason": "FailureBudgetExhausted", "message": "bad row" },
                },
            }))
            .expect("a set")
        };
        let tasks = [task("b", "2026-11-25T06:59:00Z", "bad\nrow"), task("a", "2026-11-25T06:00:00Z", "")];
        let sets = [set("night", "Failed"), set("day", "Running")];
        let text = table(&letters(&tasks, &sets), true, "2026-11-25T07:00:00Z".parse().expect("a timestamp"));
        let expected = "\
NAMESPACE  NAME       PHASE   REASON                  SINCE    ATTEMPTS  CHECKPOINT  LAST FAILURE
team-a     a          Failed  FailureBudgetExhausted  60m ago  7         -           Error
team-a     lts/night  Failed  TooManyFailed           30m ago  -         -           101 of 8000 members failed; night-100: bad row
team-a     b          Failed  FailureBudgetExhausted  60s ago  7         -           bad row
";
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }
}
