//! Whole pages of `status`, as people read them.

use serde_json::json;

use super::*;
use crate::{api::task::ReportingMode, types::GoDuration};

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

/// A task that reports while it runs, in its second segment; its second attempt hung.
fn live(current_attempt: &Value) -> LongTask {
    serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTask",
        "metadata": { "name": "train", "namespace": "team-a" },
        "spec": {
            "segment": { "duration": "6h", "heartbeatTimeout": "30m" },
            "reporting": { "mode": "Live" },
            "template": { "spec": { "containers": [{ "name": "main" }] } },
        },
        "status": {
            "phase": "Running", "segment": 2, "activeSeconds": 24060, "run": { "number": 1, "startTime": "2026-11-25T00:00:00Z" },
            "progress": {
                "summary": "900/5000 steps", "percent": 18, "estimatedCompletionTime": "2026-11-26T15:00:00Z",
            },
            "checkpoint": {
                "sequence": 4, "attempt": 3, "segment": 2, "recordTime": "2026-11-25T06:59:19Z", "data": { "step": 900 },
            },
            "totals": { "attempts": 2, "workLostSeconds": 1860 },
            "lastFailure": {
                "outcome": "Failed", "reason": "Hung", "exitCode": 143, "attempt": 2, "time": "2026-11-25T06:41:00Z",
                "message": "no sign of life for 31m, segment.heartbeatTimeout is 30m; last word: 870/5000 steps",
            },
            "recentAttempts": [
                {
                    "number": 2, "segment": 2, "outcome": "Failed", "reason": "Hung", "exitCode": 143, "checkpointSequence": 3,
                    "startedAt": "2026-11-25T06:00:05Z", "finishedAt": "2026-11-25T06:41:00Z", "nodeName": "node-1",
                },
                {
                    "number": 1, "segment": 1, "outcome": "TimeLimit", "checkpointSequence": 2, "nodeName": "node-1",
                    "startedAt": "2026-11-25T00:00:02Z", "finishedAt": "2026-11-25T06:00:02Z",
                },
            ],
            "currentAttempt": current_attempt,
        },
    }))
    .expect("a task")
}

/// The attempt that runs, and what was recorded of its reports.
fn running(report: &Value) -> Value {
    json!({
        "number": 3, "segment": 2, "state": "Running", "podName": "train-3", "generation": 1, "nodeName": "node-2",
        "creationTime": "2026-11-25T06:41:10Z", "startedAt": "2026-11-25T06:41:12Z", "report": report,
    })
}

fn lines_of(task: &LongTask, facts: &[&str]) -> Vec<String> {
    let text = shown_of(task);
    let is_asked = |line: &&str| facts.iter().any(|fact| line.starts_with(fact));
    text.lines().filter(is_asked).map(ToOwned::to_owned).collect()
}

#[test]
fn the_page_of_the_plugin_shows_a_task_with_live_reports_as_it_is_printed() {
    let report = json!({
        "revision": 7, "recordTime": "2026-11-25T06:59:19Z", "progressTime": "2026-11-25T06:59:19Z",
    });
    let text = shown_of(&live(&running(&report)));
    let page = include_str!("../../../../docs/kubectl-longtask.md");
    assert!(page.contains(&format!("$ kubectl longtask status train\n{text}```\n")), "the page has another:\n{text}");
}

#[test]
fn how_fresh_progress_and_checkpoint_are_is_told_by_the_last_news_of_the_attempt() {
    let reports = |report: &Value| lines_of(&live(&running(report)), &["Reports"]).join("");
    let recorded = |progress: Option<&str>| {
        reports(&json!({ "revision": 7, "recordTime": "2026-11-25T06:59:30Z", "progressTime": progress }))
    };
    let live = "Reports       live, at most every 30s; ";
    assert_eq!(recorded(Some("2026-11-25T06:59:30Z")), format!("{live}the last news 30s ago"));
    let older = "the last news 30s ago, the last progress 15m ago";
    assert_eq!(recorded(Some("2026-11-25T06:45:00Z")), format!("{live}{older}"));
    assert_eq!(recorded(None), format!("{live}the last news 30s ago, no progress of this attempt yet"));
    assert_eq!(reports(&Value::Null), format!("{live}nothing new of this attempt yet"));
}

#[test]
fn reports_are_told_of_a_program_that_runs_and_is_read_while_it_does() {
    let facts = ["Reports", "Heartbeat"];
    let mut starting = running(&Value::Null);
    starting["startedAt"] = Value::Null;
    assert_eq!(lines_of(&live(&starting), &facts), [""; 0], "it does not run yet");
    let mut at_exit = live(&running(&Value::Null));
    at_exit.spec.reporting.mode = ReportingMode::AtExit;
    assert_eq!(lines_of(&at_exit, &facts), [""; 0], "it is read when its attempt ends");
    let mut edited = live(&running(&json!({ "revision": 7, "recordTime": "2026-11-25T06:59:30Z" })));
    edited.spec.reporting.mode = ReportingMode::AtExit;
    edited.spec.segment.heartbeat_timeout = None;
    let line = "Reports       live, at most every 30s; the last news 30s ago, no progress of this attempt yet";
    assert_eq!(lines_of(&edited, &facts), [line], "an edit does not change the attempt that runs");
}

#[test]
fn a_task_whose_reports_are_missing_says_why() {
    let mut task = live(&running(&Value::Null));
    let message = "no report of pod train-3 arrives; `kubectl logs train-3 -c longtask-agent` says why";
    let missing = serde_json::from_value(condition("ReportsMissing", "NeverHeard", message)).expect("a condition");
    task.status.as_mut().expect("a status").conditions = vec![missing];
    assert_eq!(lines_of(&task, &["Why"]), [format!("Why   ReportsMissing (NeverHeard, 2m ago): {message}")]);
}

#[test]
fn programs_read_the_same_of_live_reports() {
    let now = NOW.parse().expect("a timestamp");
    let view = StatusView::of(&live(&running(&json!({ "revision": 7, "recordTime": "2026-11-25T06:59:30Z" }))), now);
    let expected = json!({
        "recordTime": "2026-11-25T06:59:30Z", "progressTime": null, "interval": "30s", "heartbeatTimeout": "30m",
    });
    assert_eq!(serde_json::to_value(&view).expect("JSON")["reports"], expected);
}
