//! How large a status gets: I9.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use longtask::{
    api::task::{LongTask, LongTaskStatus, RuleCounter},
    contract::{
        agent::{SaveError, SaveReport, SaveTrouble},
        report::{Report, Via},
    },
    task::plan::{Cause, Live, LiveReport, Observed, PodFacts, PodRef, RefusedStep, Step, plan},
};
use serde_json::{Value, json};

/// The most bytes of a typical status.
const TYPICAL: usize = 10_000;
/// 16 kB, and 2 KiB more than that for a result, of which a pod of few containers can report 3 KiB.
const LARGEST: usize = 18_048;
/// With live reports the result alone may have 16 KiB.
const LARGEST_LIVE: usize = 36_000;

/// Texts that need one byte as JSON, six for one, two for one, and more than one each.
const FILLERS: [&str; 5] = ["x", "\u{1}", "\"", "ä", "\u{2028}"];

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("in range")
}

fn task(spec: &Value, status: Option<LongTaskStatus>) -> LongTask {
    let mut task: LongTask = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "spec": spec,
        "metadata": { "name": "t".repeat(52), "namespace": "n", "uid": "task-uid", "generation": 1 },
    }))
    .expect("a task");
    task.status = status;
    task
}

fn is_live(spec: &Value) -> bool {
    spec["reporting"]["mode"] == "Live"
}

/// The pod of the latest attempt, if there is one, whose main container is in this state.
fn pods(task: &LongTask, node: &str, phase: &str, started: Timestamp, state: &Value) -> Vec<Arc<PodFacts>> {
    let Some(attempt) = task.status.as_ref().and_then(|status| status.current_attempt.as_ref()) else { return vec![] };
    let agent = json!([{ "name": "longtask-agent", "restartPolicy": "Always" }]);
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": attempt.pod_name, "uid": "01234567-89ab-cdef-0123-456789abcdef",
            "labels": { "longtask.dev/task-uid": "task-uid", "longtask.dev/attempt": attempt.number.to_string() },
        },
        "spec": {
            "containers": [], "initContainers": if task.spec.is_live() { agent } else { json!([]) },
            "nodeName": node, "activeDeadlineSeconds": 4200,
        },
        "status": { "phase": phase, "startTime": started, "containerStatuses": [{
            "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state,
        }] },
    }))
    .expect("a pod");
    vec![Arc::new(PodFacts::of(&pod).expect("facts"))]
}

/// What the operator knows of an agent that has just posted this.
fn posted(revision: i64, lines: &str, now: Timestamp) -> Live {
    let report = Report::read(lines, Via::Agent);
    let report = LiveReport {
        revision,
        receipt_time: now,
        silent_seconds: 0,
        quiet_seconds: None,
        checkpoint_time: Some(now),
        report,
        save: Some(SaveReport {
            path: "p".repeat(128),
            seconds: 61,
            error: Some(SaveError { reason: SaveTrouble::AccessDenied, message: "w".repeat(2000) }),
        }),
    };
    Live { listening_since: Some(at(0)), report: Some(Arc::new(report)), ..Live::default() }
}

/// The status after ten attempts that ended like this, each a minute long. What they report is their termination message;
/// with live reports they report it while they run.
fn after_ten_attempts(spec: &Value, exit_code: i32, report: &dyn Fn(i64) -> String, node: &str) -> LongTaskStatus {
    let mut task = task(spec, None);
    for round in 0..40_i64 {
        let (started, lines) = (at(round * 400), report(round));
        let is_under_way = task.status.as_ref().is_some_and(|status| status.live_attempt().is_some());
        if is_live(spec) && is_under_way {
            let running = json!({ "running": { "startedAt": started } });
            let mut seen = Observed::of(&task, "task-uid", pods(&task, node, "Running", started, &running));
            seen.live = posted(round, &lines, at(round * 400 + 40));
            if let Some(status) = plan(&seen, at(round * 400 + 40)).status {
                task.status = Some(status);
            }
        }
        let message = if is_live(spec) { "" } else { &lines };
        let ended = json!({ "terminated": {
            "exitCode": exit_code, "reason": "R".repeat(200), "startedAt": started, "finishedAt": at(round * 400 + 60),
            "message": message,
        } });
        let mut seen = Observed::of(&task, "task-uid", pods(&task, node, "Failed", started, &ended));
        if is_live(spec) {
            seen.live = posted(round, &lines, at(round * 400 + 59));
        }
        if let Some(status) = plan(&seen, at(round * 400 + 61)).status {
            task.status = Some(status);
        }
    }
    task.status.unwrap_or_default()
}

/// Likewise, and the API server refuses, in many words, to let a pod go.
fn with_a_refusal(spec: &Value, status: LongTaskStatus, filler: &str) -> LongTaskStatus {
    let task = task(spec, Some(status));
    let name = format!("{}-1", "t".repeat(52));
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {
            "name": name, "uid": "pod", "finalizers": ["longtask.dev/outcome"],
            "labels": { "longtask.dev/task-uid": "task-uid", "longtask.dev/attempt": "1" },
        },
        "spec": { "containers": [] },
        "status": { "phase": "Failed" },
    }))
    .expect("a pod");
    let mut seen = Observed::of(&task, "task-uid", vec![Arc::new(PodFacts::of(&pod).expect("facts"))]);
    seen.refused_steps.push(refused(Step::ReleasePod(PodRef { name, uid: "pod".into() }), filler));
    let planned = plan(&seen, at(40 * 400)).status.expect("it is shown");
    assert!(planned.conditions.iter().any(|condition| condition.type_ == "WriteRefused"));
    planned
}

fn refused(step: Step, filler: &str) -> RefusedStep {
    RefusedStep { step, words: Cause { reason: "R".repeat(63), message: filler.repeat(1000) } }
}

/// What only rules write, at its maximum.
fn with_all_that_rules_write(mut status: LongTaskStatus) -> LongTaskStatus {
    status.rule_counters =
        (0..20).map(|n| RuleCounter { name: format!("{n:032}"), count: i64::from(i32::MAX) }).collect();
    status.avoid_nodes = ["a", "b", "c"].map(|node| node.repeat(253)).into();
    status.avoid_node_rules = ["a", "b", "c"].map(|rule| rule.repeat(32)).into();
    status.memory = Some("999999999Mi".parse().expect("an amount"));
    status.memory_rule = Some("r".repeat(32));
    status
}

/// Lines with every field at its maximum.
fn largest_report(filler: &str, round: i64, result: usize) -> String {
    let as_json = |bytes: usize| {
        let one = json!(filler).to_string().len() - 2;
        filler.repeat(bytes / one)
    };
    let lines = [
        json!({ "checkpoint": { "n": round, "d": as_json(1000) } }),
        json!({ "progress": { "completed": i64::MAX - 100 + round, "total": i64::MAX, "unit": as_json(900), "message": as_json(2000) } }),
        json!({ "result": { "d": as_json(result) } }),
        json!({ "error": { "code": as_json(500), "message": filler.repeat(3000) } }),
    ];
    lines.map(|line| line.to_string()).join("\n")
}

fn size(status: &LongTaskStatus) -> usize {
    serde_json::to_string(status).expect("a status").len()
}

#[test]
fn a_status_stays_small_however_long_the_task_runs() {
    for mode in ["AtExit", "Live"] {
        let spec = json!({ "template": { "spec": { "containers": [{ "name": "main" }] } },
                           "reporting": { "mode": mode }, "retry": { "budgets": { "failures": -1 } } });
        let report = |round: i64| {
            let report = json!({ "checkpoint": { "offset": round, "file": "x".repeat(200) },
                                 "progress": { "completed": round, "total": 50, "unit": "rows", "message": "m".repeat(80) } });
            format!("{report}\nTraceback: {}", "e".repeat(500))
        };
        let status = after_ten_attempts(&spec, 1, &report, "ip-10-0-0-1.eu-central-1.compute.internal");
        assert!(status.recent_attempts.len() == 5 && status.checkpoint_history.len() == 3);
        assert!(size(&status) < TYPICAL, "{mode}: {} bytes", size(&status));
    }
}

#[test]
fn a_status_with_every_field_at_its_maximum_has_less_than_18_kb_and_36_kb_with_live_reports() {
    for (mode, result, limit) in [("AtExit", 3000, LARGEST), ("Live", 16_300, LARGEST_LIVE)] {
        let spec = json!({ "template": { "spec": { "containers": [{ "name": "main" }] } },
                           "reporting": { "mode": mode }, "checkpoint": { "historyLimit": 5 },
                           "retry": { "budgets": { "failures": 8 }, "resetOnProgress": false } });
        for filler in FILLERS {
            let report = |round: i64| largest_report(filler, round, result);
            let status = after_ten_attempts(&spec, 1, &report, &"n".repeat(253));
            let status = with_a_refusal(&spec, with_all_that_rules_write(status), filler);
            assert_eq!(status.reason, "FailureBudgetExhausted");
            assert!(status.recent_attempts.len() == 5 && status.checkpoint_history.len() == 5);
            let recorded = status.current_attempt.as_ref().is_some_and(|attempt| attempt.report.is_some());
            assert_eq!(recorded, mode == "Live");
            let kept = status.result.as_ref().expect("a result").to_string().len();
            assert!(kept + 100 > result, "{mode} {filler:?}: {kept}");
            assert!(size(&status) < limit, "{mode} {filler:?}: {} bytes", size(&status));
        }
    }
}

#[test]
fn a_status_with_every_trouble_that_a_running_attempt_can_have_is_no_larger() {
    let spec = json!({ "template": { "spec": { "containers": [{ "name": "main" }] } },
                       "segment": { "duration": "1h" }, "reporting": { "mode": "Live" },
                       "checkpoint": { "historyLimit": 5, "staleAfter": "1m" },
                       "retry": { "budgets": { "failures": -1 }, "resetOnProgress": false } });
    for filler in FILLERS {
        let report = |round: i64| largest_report(filler, round, 16_300);
        let (node, started) = ("n".repeat(253), at(41 * 400));
        let before = with_all_that_rules_write(after_ten_attempts(&spec, 1, &report, &node));
        let mut task = task(&spec, Some(before));
        let running = json!({ "running": { "startedAt": started } });
        for seconds in [0, 1, 40, 100_000] {
            let now = at(41 * 400 + seconds);
            let pods = if seconds == 0 { vec![] } else { pods(&task, &node, "Running", started, &running) };
            let mut seen = Observed::of(&task, "task-uid", pods);
            seen.live = posted(100, &report(100), at(41 * 400 + 30));
            let steps = plan(&seen, now).steps.into_iter();
            seen.refused_steps =
                steps.filter(|step| !matches!(step, Step::CreatePod(_))).map(|step| refused(step, filler)).collect();
            if let Some(status) = plan(&seen, now).status {
                task.status = Some(status);
            }
        }
        let status = task.status.expect("a status");
        let holds = |name: &str| status.conditions.iter().any(|one| one.type_ == name && one.status == "True");
        for trouble in ["ReportsMissing", "CheckpointStale", "AttemptOverdue", "WriteRefused"] {
            assert!(holds(trouble), "{trouble}: {:#?}", status.conditions);
        }
        assert!(size(&status) < LARGEST_LIVE, "{filler:?}: {} bytes", size(&status));
    }
}
