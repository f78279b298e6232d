//! How large a status gets.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use longtask::{
    api::task::{LongTask, LongTaskStatus, RuleCounter},
    task::plan::{Cause, Observed, PodFacts, PodRef, RefusedStep, Step, plan},
};
use serde_json::{Value, json};

/// 16 kB, and 2 KiB more than that for a result, of which a pod of few containers can report 3 KiB.
const LARGEST: usize = 18_048;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).expect("in range")
}

/// The status after ten attempts that ended like this, each a minute long.
fn after_ten_attempts(spec: &Value, exit_code: i32, message: &dyn Fn(i64) -> String, node: &str) -> LongTaskStatus {
    let mut task: LongTask = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
        "metadata": { "name": "t".repeat(52), "namespace": "n", "uid": "task-uid", "generation": 1 },
        "spec": spec,
    }))
    .expect("a task");
    for round in 0..40_i64 {
        let under_way = task.status.as_ref().and_then(|status| status.current_attempt.clone());
        let number = under_way.as_ref().map_or(0, |attempt| attempt.number);
        let started = at(round * 400);
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {
                "name": under_way.map(|attempt| attempt.pod_name).unwrap_or_default(),
                "uid": "01234567-89ab-cdef-0123-456789abcdef",
                "labels": { "longtask.dev/task-uid": "task-uid", "longtask.dev/attempt": number.to_string() },
            },
            "spec": { "containers": [], "nodeName": node, "activeDeadlineSeconds": 4200 },
            "status": { "phase": "Failed", "startTime": started, "containerStatuses": [{
                "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": { "terminated": { "exitCode": exit_code, "reason": "R".repeat(200), "startedAt": started,
                                           "finishedAt": at(round * 400 + 60), "message": message(round) } },
            }] },
        }))
        .expect("a pod");
        let pod = Arc::new(PodFacts::of(&pod).expect("facts"));
        let pods = if number == 0 { vec![] } else { vec![pod] };
        let seen = Observed::of(&task, "task-uid", pods);
        let planned = plan(&seen, at(round * 400 + 61));
        if planned.status.is_some() {
            task.status = planned.status;
        }
    }
    task.status.unwrap_or_default()
}

/// Likewise, and the API server refuses, in many words, to let a pod go.
fn with_a_refusal(spec: &Value, status: LongTaskStatus, filler: &str) -> LongTaskStatus {
    let mut task: LongTask = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "spec": spec,
        "metadata": { "name": "t".repeat(52), "namespace": "n", "uid": "task-uid", "generation": 1 },
    }))
    .expect("a task");
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
    task.status = Some(status);
    let mut seen = Observed::of(&task, "task-uid", vec![Arc::new(PodFacts::of(&pod).expect("facts"))]);
    let words = Cause { reason: "R".repeat(63), message: filler.repeat(1000) };
    seen.refused_steps.push(RefusedStep { step: Step::ReleasePod(PodRef { name, uid: "pod".into() }), words });
    let planned = plan(&seen, at(40 * 400)).status.expect("it is shown");
    assert!(planned.conditions.iter().any(|condition| condition.type_ == "WriteRefused"));
    planned
}

fn size(status: &LongTaskStatus) -> usize {
    serde_json::to_string(status).expect("a status").len()
}

#[test]
fn a_status_stays_small_however_long_the_task_runs() {
    let spec = json!({ "template": { "spec": { "containers": [{ "name": "main" }] } },
                       "retry": { "budgets": { "failures": -1 } } });
    let message = |round: i64| {
        let report = json!({ "checkpoint": { "offset": round, "file": "x".repeat(200) },
                             "progress": { "completed": round, "total": 50, "unit": "rows", "message": "m".repeat(80) } });
        format!("{report}\nTraceback: {}", "e".repeat(500))
    };
    let status = after_ten_attempts(&spec, 1, &message, "ip-10-0-0-1.eu-central-1.compute.internal");
    assert!(status.recent_attempts.len() == 5 && status.checkpoint_history.len() == 3);
    assert!(size(&status) < 10_000, "{} bytes", size(&status));
}

#[test]
fn a_status_with_every_field_at_its_maximum_has_less_than_18_kb() {
    let spec = json!({ "template": { "spec": { "containers": [{ "name": "main" }] } },
                       "checkpoint": { "historyLimit": 5 },
                       "retry": { "budgets": { "failures": 8 }, "resetOnProgress": false } });
    for filler in ["x", "\u{1}", "\"", "ä", "\u{2028}"] {
        let message = |round: i64| {
            let as_json = |bytes: usize| {
                let one = json!(filler).to_string().len() - 2;
                filler.repeat(bytes / one)
            };
            let lines = [
                json!({ "checkpoint": { "n": round, "d": as_json(1000) } }),
                json!({ "progress": { "completed": i64::MAX - 100 + round, "total": i64::MAX, "unit": as_json(900), "message": as_json(2000) } }),
                json!({ "result": { "d": as_json(3000) } }),
                json!({ "error": { "code": as_json(500), "message": filler.repeat(3000) } }),
            ];
            lines.map(|line| line.to_string()).join("\n")
        };
        let mut status = after_ten_attempts(&spec, 1, &message, &"n".repeat(253));
        status.rule_counters =
            (0..20).map(|n| RuleCounter { name: format!("{n:032}"), count: i64::from(i32::MAX) }).collect();
        status.avoid_nodes = ["a", "b", "c"].map(|node| node.repeat(253)).into();
        status.avoid_node_rules = ["a", "b", "c"].map(|rule| rule.repeat(32)).into();
        status.memory = Some("999999999Mi".parse().expect("an amount"));
        status.memory_rule = Some("r".repeat(32));
        let status = with_a_refusal(&spec, status, filler);
        assert_eq!(status.reason, "FailureBudgetExhausted");
        assert!(status.recent_attempts.len() == 5 && status.checkpoint_history.len() == 5);
        assert!(size(&status) < LARGEST, "{filler:?}: {} bytes", size(&status));
    }
}
