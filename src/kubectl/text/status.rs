//! Where a task stands: what it did, why it waits, what is next.

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use super::{
    next::next,
    style::{BOLD, BUSY, DIM, WARNING, of_outcome, of_phase, paint},
    table::{Cell, table},
    time::{ago, span},
};
use crate::{
    api::task::{
        AttemptState, Checkpoint, ConditionType, CurrentAttempt, EndedAttempt, LongTask, LongTaskStatus, Outcome,
        Phase, Progress,
    },
    types::{counted, find_condition, time::seconds_between},
};

/// The facts that `status` tells, as `-o json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct StatusView {
    name: String,
    namespace: String,
    phase: Option<Phase>,
    reason: String,
    run: i64,
    segment: i64,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    progress: Option<Progress>,
    checkpoint: Option<Checkpoint>,
    earlier_checkpoints: Vec<i64>,
    active_seconds: i64,
    work_lost_seconds: i64,
    ended_attempts: i64,
    in_a_row: Vec<String>,
    attempts: Vec<Attempt>,
    last_failure: Option<String>,
    result: Option<Value>,
    why: Vec<String>,
    next: String,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    number: i64,
    segment: i64,
    state: AttemptState,
    outcome: Option<Outcome>,
    reason: String,
    exit_code: Option<i32>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    ran_seconds: i64,
    checkpoint: Option<i64>,
    node: Option<String>,
}

impl StatusView {
    /// The facts of a task at that time.
    pub(in crate::kubectl) fn of(task: &LongTask, now: Timestamp) -> Self {
        let status = task.status.clone().unwrap_or_default();
        Self {
            name: task.name_any(),
            namespace: task.namespace().unwrap_or_default(),
            phase: status.phase,
            reason: status.reason.clone(),
            run: status.run.number,
            segment: status.segment,
            start_time: status.run.start_time,
            completion_time: status.completion_time,
            earlier_checkpoints: status.checkpoint_history.iter().map(|checkpoint| checkpoint.sequence).collect(),
            active_seconds: status.active_seconds_at(now),
            work_lost_seconds: status.totals.work_lost_seconds,
            ended_attempts: status.totals.attempts,
            in_a_row: in_a_row(task, &status),
            attempts: attempts(&status, now),
            last_failure: last_failure(&status, now),
            why: why(&status, now),
            next: next(task, &status, now),
            progress: status.progress,
            checkpoint: status.checkpoint,
            result: status.result,
        }
    }

    /// The same for people.
    pub(in crate::kubectl) fn text(&self, now: Timestamp) -> String {
        let facts = self.facts(now);
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = facts.iter().map(|(name, fact)| format!("{}  {fact}\n", paint(BOLD, &format!("{name:width$}"))));
        let mut text = self.headline(now);
        if !facts.is_empty() {
            text += "\n";
            text += &lines.collect::<String>();
        }
        if !self.attempts.is_empty() {
            text += "\n";
            text += &self.timeline(now);
        }
        let why = self.why.iter().map(|why| format!("{}   {why}\n", paint(WARNING, "Why")));
        text + "\n" + &why.collect::<String>() + &format!("{}  {}\n", paint(BOLD, "Next"), self.next)
    }

    fn headline(&self, now: Timestamp) -> String {
        let phase = self.phase.map_or("not started", Into::into);
        let reason = if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) };
        let when = match (self.start_time, self.completion_time) {
            (Some(start), Some(end)) => {
                format!(", ended {} after {}", ago(end, now), span(seconds_between(start, end)))
            }
            (Some(start), None) => format!(", started {}", ago(start, now)),
            (None, _) => String::new(),
        };
        let place =
            if self.run > 0 { format!("  run {}, segment {}{when}", self.run, self.segment) } else { String::new() };
        format!("{}  {}{place}\n", paint(BOLD, &self.name), paint(of_phase(self.phase), &format!("{phase}{reason}")))
    }

    fn facts(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let ran = (self.ended_attempts > 0 || self.active_seconds > 0).then(|| {
            let lost = if self.work_lost_seconds > 0 { span(self.work_lost_seconds) } else { "nothing".to_owned() };
            format!("{}, {} ended, {lost} lost", span(self.active_seconds), counted(self.ended_attempts, "attempt"))
        });
        let in_a_row = (!self.in_a_row.is_empty()).then(|| self.in_a_row.join(", "));
        [
            ("Progress", self.progress.as_ref().and_then(|progress| progress_line(progress, self.phase, now))),
            ("Checkpoint", self.checkpoint.as_ref().map(|checkpoint| checkpoint_line(checkpoint, now))),
            ("Running time", ran),
            ("In a row", in_a_row),
            ("Last failure", self.last_failure.clone()),
            ("Result", self.result.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(name, fact)| Some((name, fact?)))
        .collect()
    }

    fn timeline(&self, now: Timestamp) -> String {
        let mut rows = Vec::new();
        let mut segment_above = None;
        for attempt in &self.attempts {
            let segment =
                if segment_above == Some(attempt.segment) { String::new() } else { attempt.segment.to_string() };
            segment_above = Some(attempt.segment);
            rows.push([
                Cell::from(segment),
                Cell::from(attempt.number.to_string()),
                Cell::styled(attempt.started_at.map_or_else(|| "-".to_owned(), |start| ago(start, now)), DIM),
                Cell::from(attempt.started_at.map_or_else(|| "-".to_owned(), |_| span(attempt.ran_seconds))),
                attempt.cell(),
                Cell::from(attempt.checkpoint.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string())),
                Cell::styled(attempt.node.as_deref().unwrap_or("-"), DIM),
            ]);
        }
        table(["SEGMENT", "ATTEMPT", "STARTED", "RAN", "OUTCOME", "CHECKPOINT", "NODE"], rows) + &self.left_out()
    }

    /// The status has the last attempts only, those of the run before among them.
    fn left_out(&self) -> String {
        let shown = self.attempts.iter().filter(|attempt| attempt.outcome.is_some()).count();
        let left_out = self.ended_attempts.saturating_sub(i64::try_from(shown).unwrap_or(i64::MAX));
        if left_out < 1 {
            return String::new();
        }
        paint(DIM, &format!("{} of this run before these: `events` may still have them", counted(left_out, "attempt")))
            + "\n"
    }
}

impl Attempt {
    fn ended(attempt: &EndedAttempt) -> Self {
        Self {
            number: attempt.number,
            segment: attempt.segment,
            state: AttemptState::Ended,
            outcome: Some(attempt.outcome),
            reason: attempt.reason.clone(),
            exit_code: attempt.exit_code,
            started_at: attempt.started_at,
            finished_at: Some(attempt.finished_at),
            ran_seconds: attempt.started_at.map_or(0, |start| seconds_between(start, attempt.finished_at)),
            checkpoint: attempt.checkpoint_sequence,
            node: attempt.node_name.clone(),
        }
    }

    fn under_way(attempt: &CurrentAttempt, now: Timestamp) -> Self {
        Self {
            number: attempt.number,
            segment: attempt.segment,
            state: attempt.state,
            outcome: None,
            reason: attempt.stop.as_ref().map(|stop| stop.reason.to_string()).unwrap_or_default(),
            exit_code: None,
            started_at: attempt.started_at,
            finished_at: None,
            ran_seconds: attempt.started_at.map_or(0, |start| seconds_between(start, now)),
            checkpoint: None,
            node: attempt.node_name.clone(),
        }
    }

    fn cell(&self) -> Cell {
        if let Some(outcome) = self.outcome {
            return Cell::styled(ending(outcome, &self.reason, self.exit_code), of_outcome(outcome));
        }
        let state = self.state.to_string();
        let text = if self.reason.is_empty() { state } else { format!("{state} ({})", self.reason) };
        Cell::styled(text, if self.state == AttemptState::Running { BUSY } else { WARNING })
    }
}

/// How an attempt ended: `Failed Error, exit 3`.
pub(super) fn ending(outcome: Outcome, reason: &str, exit_code: Option<i32>) -> String {
    let exit = match outcome {
        Outcome::Failed | Outcome::Yielded => exit_code.map(|code| format!(", exit {code}")).unwrap_or_default(),
        Outcome::Completed | Outcome::TimeLimit | Outcome::Stopped | Outcome::StartFailed | Outcome::Interrupted => {
            String::new()
        }
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" {reason}") };
    format!("{outcome}{reason}{exit}")
}

/// The attempts that the status has, the oldest first.
fn attempts(status: &LongTaskStatus, now: Timestamp) -> Vec<Attempt> {
    let ended = status.recent_attempts.iter().rev().map(Attempt::ended);
    ended.chain(status.live_attempt().map(|attempt| Attempt::under_way(attempt, now))).collect()
}

fn progress_line(progress: &Progress, phase: Option<Phase>, now: Timestamp) -> Option<String> {
    let percent = progress.percent.map(|percent| format!("{percent}%"));
    let is_over = phase.is_some_and(Phase::is_terminal);
    let end = progress.estimated_completion_time.filter(|_| !is_over).map(|end| match seconds_between(now, end) {
        ..=0 => "done any moment now at the pace so far".to_owned(),
        seconds => format!("done in about {} at the pace so far", span(seconds)),
    });
    let parts: Vec<_> =
        [progress.summary.clone(), percent, progress.message.clone(), end].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn checkpoint_line(checkpoint: &Checkpoint, now: Timestamp) -> String {
    let Checkpoint { sequence, attempt, record_time, data, uri, .. } = checkpoint;
    let content = data.as_ref().map(ToString::to_string).or(uri.clone()).unwrap_or_default();
    format!("{sequence}, {}, by attempt {attempt}: {content}", ago(*record_time, now))
}

/// What stands above 0, beside its budget where it has one.
fn in_a_row(task: &LongTask, status: &LongTaskStatus) -> Vec<String> {
    let (counted, budgets) = (&status.consecutive, &task.spec.retry.budgets);
    let classes = [
        ("failures", counted.failures, budgets.failures),
        ("stalls", counted.stalls, budgets.stalls),
        ("start failures", counted.start_failures, budgets.start_failures),
        ("interruptions", counted.interruptions, budgets.interruptions),
    ];
    let classes = classes.into_iter().filter(|(_, count, _)| *count > 0).map(|(name, count, budget)| {
        if budget < 0 { format!("{name} {count}") } else { format!("{name} {count} (budget {budget})") }
    });
    let rules = status.rule_counters.iter().map(|counter| format!("rule {} {}", counter.name, counter.count));
    classes.chain(rules).collect()
}

fn last_failure(status: &LongTaskStatus, now: Timestamp) -> Option<String> {
    let failure = status.last_failure.as_ref()?;
    let code = failure.code.as_ref().map(|code| format!(", code {code}")).unwrap_or_default();
    let words = failure.message.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    let ending = ending(failure.outcome, &failure.reason, failure.exit_code);
    Some(format!("attempt {}, {}, {ending}{code}{words}", failure.attempt, ago(failure.time, now)))
}

/// Why it does not run, or what is wrong although it does.
fn why(status: &LongTaskStatus, now: Timestamp) -> Vec<String> {
    let telling = [ConditionType::Failed, ConditionType::Suspended].into_iter().chain(ConditionType::troubles());
    let conditions = telling.filter_map(|type_| {
        let condition = find_condition(&status.conditions, type_).filter(|condition| condition.status == "True")?;
        let since = ago(condition.last_transition_time.0, now);
        Some(format!("{} ({}, {since}): {}", type_, condition.reason, condition.message))
    });
    let last = status.recent_attempts.first().filter(|_| status.phase == Some(Phase::Waiting));
    let waits = last.map(|last| {
        format!("attempt {} ended with {}", last.number, ending(last.outcome, &last.reason, last.exit_code))
    });
    conditions.chain(waits).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::GoDuration;

    const NOW: &str = "2026-11-25T07:00:00Z";

    fn task(status: &Value) -> LongTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTask",
            "metadata": { "name": "import", "namespace": "team-a" },
            "spec": {
                "segment": { "duration": "15m" },
                "template": { "spec": { "containers": [{ "name": "main" }] } },
            },
            "status": status,
        }))
        .expect("a task")
    }

    fn shown(status: &Value) -> String {
        shown_of(&task(status))
    }

    fn shown_of(task: &LongTask) -> String {
        let now = NOW.parse().expect("a timestamp");
        let text = StatusView::of(task, now).text(now);
        anstream::adapter::strip_str(&text).to_string()
    }

    fn next_of(status: &Value) -> String {
        let text = shown(status);
        text.lines().last().and_then(|line| line.strip_prefix("Next  ")).expect("what is next").to_owned()
    }

    fn ended(number: i64, segment: i64, outcome: &str, reason: &str, times: [&str; 2]) -> Value {
        json!({
            "number": number, "segment": segment, "outcome": outcome, "reason": reason, "checkpointSequence": number,
            "startedAt": format!("2026-11-25T{}Z", times[0]), "finishedAt": format!("2026-11-25T{}Z", times[1]),
            "nodeName": "node-1", "exitCode": if outcome == "Failed" { Some(3) } else { None },
        })
    }

    fn condition(type_: &str, reason: &str, message: &str) -> Value {
        json!({
            "type": type_, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "2026-11-25T06:58:00Z",
        })
    }

    fn checkpoint(sequence: i64) -> Value {
        json!({
            "sequence": sequence, "attempt": 3, "segment": 2, "recordTime": "2026-11-25T06:56:00Z",
            "data": { "offset": 1900 },
        })
    }

    fn current(number: i64, state: &str) -> Value {
        json!({
            "number": number, "segment": 2, "state": state, "podName": format!("import-{number}"), "generation": 1,
            "creationTime": "2026-11-25T06:59:00Z", "nodeName": "node-2",
            "startedAt": if state == "Running" { Some("2026-11-25T06:59:10Z") } else { None },
        })
    }

    #[test]
    fn a_running_task_is_shown_with_its_history_and_the_end_of_its_segment() {
        let status = json!({
            "phase": "Running", "segment": 2, "activeSeconds": 1080, "run": { "number": 1, "startTime": "2026-11-25T06:19:00Z" },
            "progress": {
                "summary": "1900/5000 rows", "percent": 38, "estimatedCompletionTime": "2026-11-25T08:06:00Z",
            },
            "checkpoint": checkpoint(3),
            "totals": { "attempts": 9, "workLostSeconds": 12 },
            "consecutive": { "interruptions": 1, "failures": 2 },
            "recentAttempts": [
                ended(3, 2, "Interrupted", "Evicted", ["06:50:00", "06:53:00"]),
                ended(2, 2, "Failed", "Error", ["06:35:00", "06:36:30"]),
                ended(1, 1, "TimeLimit", "", ["06:19:05", "06:34:05"]),
            ],
            "currentAttempt": current(4, "Running"),
        });
        let expected = "\
import  Running  run 1, segment 2, started 41m ago

Progress      1900/5000 rows, 38%, done in about 66m at the pace so far
Checkpoint    3, 4m ago, by attempt 3: {\"offset\":1900}
Running time  18m, 9 attempts ended, 12s lost
In a row      failures 2 (budget 6), interruptions 1

SEGMENT  ATTEMPT  STARTED  RAN  OUTCOME               CHECKPOINT  NODE
1        1        40m ago  15m  TimeLimit             1           node-1
2        2        25m ago  90s  Failed Error, exit 3  2           node-1
         3        10m ago  3m   Interrupted Evicted   3           node-1
         4        50s ago  50s  Running               -           node-2
6 attempts of this run before these: `events` may still have them

Next  the time of segment 2 is up in 14m; segment 3 goes on from its checkpoint
";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn a_failed_task_says_why_and_how_to_run_it_again() {
        let status = json!({
            "phase": "Failed", "reason": "FailureBudgetExhausted", "segment": 1,
            "run": { "number": 1, "startTime": "2026-11-25T06:00:00Z" }, "completionTime": "2026-11-25T06:58:00Z",
            "conditions": [condition("Failed", "FailureBudgetExhausted", "attempt 7 was the last try")],
            "checkpoint": checkpoint(3),
            "lastFailure": {
                "outcome": "Failed", "reason": "Error", "exitCode": 1, "code": "BadRow", "message": "row 7\nis bad",
                "attempt": 7, "time": "2026-11-25T06:58:00Z",
            },
        });
        let expected = "\
import  Failed (FailureBudgetExhausted)  run 1, segment 1, ended 2m ago after 58m

Checkpoint    3, 4m ago, by attempt 3: {\"offset\":1900}
Last failure  attempt 7, 2m ago, Failed Error, exit 1, code BadRow: row 7 is bad

Why   Failed (FailureBudgetExhausted, 2m ago): attempt 7 was the last try
Next  nothing by itself; `kubectl longtask restart import` runs it again from checkpoint 3
";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn what_is_next_is_told_in_every_phase() {
        let waiting = json!({
            "phase": "Waiting", "segment": 2, "nextAttemptTime": "2026-11-25T07:00:40Z",
            "currentAttempt": current(4, "Ended"),
        });
        let pending = json!({ "phase": "Pending", "currentAttempt": current(1, "Starting") });
        let stop = json!({ "reason": "Suspend", "requestTime": "2026-11-25T06:59:57Z" });
        let mut stopping = json!({ "phase": "Stopping", "currentAttempt": current(2, "Stopping") });
        stopping["currentAttempt"]["stop"] = stop;
        for (status, expected) in [
            (waiting, "attempt 5 of segment 2 starts in 40s (2026-11-25T07:00:40Z), from the beginning"),
            (pending, "attempt 1 of segment 2 runs once pod import-1 is scheduled and started"),
            (stopping, "attempt 2 was asked to stop 3s ago (Suspend), and has 30s for its last checkpoint"),
            (
                json!({ "phase": "Suspended", "reason": "SuspendedByUser", "checkpoint": checkpoint(3) }),
                "`kubectl longtask resume import` lets it go on from checkpoint 3",
            ),
            (
                json!({
                    "phase": "Suspended", "reason": "Held",
                    "conditions": [condition("Suspended", "Held", "rule card: everything is kept")],
                }),
                "`kubectl longtask restart import` lets it go on from the beginning, when the cause is removed",
            ),
            (json!({ "phase": "Succeeded" }), "nothing: it is done"),
            (
                json!({ "phase": "Cancelled" }),
                "nothing by itself; `kubectl longtask restart import` runs it again from the beginning",
            ),
        ] {
            assert_eq!(next_of(&status), expected);
        }
        assert!(next_of(&json!({})).starts_with("the operator has not taken it up yet"));
    }

    #[test]
    fn a_task_that_ended_says_when_it_is_deleted_and_by_which_field() {
        for (phase, expected) in [
            ("Succeeded", "nothing: it is done; it is deleted in 58m (ttlAfterFinished)"),
            (
                "Failed",
                "nothing by itself; it is deleted in 118m (ttlAfterFailed); `kubectl longtask restart import` runs it again \
                 from the beginning",
            ),
        ] {
            let mut task = task(&json!({ "phase": phase, "completionTime": "2026-11-25T06:58:00Z" }));
            task.spec.ttl_after_finished = Some(GoDuration::from_hours(1));
            task.spec.ttl_after_failed = Some(GoDuration::from_hours(2));
            let text = shown_of(&task);
            assert!(text.ends_with(&format!("Next  {expected}\n")), "{text}");
        }
    }

    #[test]
    fn a_task_that_waits_says_why() {
        let status = json!({
            "phase": "Waiting", "segment": 2, "nextAttemptTime": "2026-11-25T07:00:40Z",
            "recentAttempts": [ended(3, 2, "Failed", "Error", ["06:50:00", "06:53:00"])],
            "conditions": [condition("Blocked", "QuotaExceeded", "no room for pods; make room")],
        });
        let text = shown(&status);
        assert!(text.contains("Why   Blocked (QuotaExceeded, 2m ago): no room for pods; make room\n"), "{text}");
        assert!(text.contains("Why   attempt 3 ended with Failed Error, exit 3\n"), "{text}");
    }

    #[test]
    fn a_task_that_the_cluster_does_not_let_stop_says_why() {
        let status = json!({
            "phase": "Stopping", "reason": "Suspend", "segment": 2, "currentAttempt": current(4, "Running"),
            "conditions": [
                condition("AttemptOverdue", "WriteRefused", "pod import-4 should have ended"),
                condition("WriteRefused", "StopRefused", "the API server refuses to stop pod import-4"),
            ],
        });
        let text = shown(&status);
        let expected = "\
Why   AttemptOverdue (WriteRefused, 2m ago): pod import-4 should have ended
Why   WriteRefused (StopRefused, 2m ago): the API server refuses to stop pod import-4
";
        assert!(text.contains(expected), "{text}");
    }
}
