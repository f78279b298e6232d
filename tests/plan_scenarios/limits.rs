//! The limits of a run, each of them: before a start, during a segment, while waiting, while suspended.

use longtask::{
    api::task::{ConditionType, StopReason},
    types::find_condition,
};
use serde_json::{Value, json};

use crate::support::{Given, given, pod};

fn limited(limits: &Value) -> Given {
    given().spec(json!({ "limits": limits, "retry": { "backoff": { "jitter": "None" } } }))
}

/// The deadline that the pod of attempt 1 gets, running since 10:00:00 and seen by the kubelet a second earlier.
fn slice_of(given: Given) -> (Option<String>, Vec<String>) {
    let planned = given.running(1, "10:00:00").pod(pod(1).runs("10:00:00")).at("10:00:01");
    let cut_by = planned.status().current_attempt.and_then(|attempt| attempt.cut_by).map(|limit| limit.to_string());
    (cut_by, planned.plan.steps.iter().map(ToString::to_string).collect())
}

#[test]
fn a_slice_is_the_shortest_of_duration_and_limits() {
    for (limits, active, cut_by, seconds) in [
        (json!({}), 0, None, 3601),
        (json!({ "activeTime": "10m" }), 0, Some("ActiveTime"), 601),
        (json!({ "activeTime": "10m" }), 540, Some("ActiveTime"), 61),
        (json!({ "activeTime": "2h" }), 3600, None, 3601),
        (json!({ "wallTime": "90m" }), 0, Some("WallTime"), 1801),
        (json!({ "deadline": "2026-11-24T10:20:00Z" }), 0, Some("Deadline"), 1201),
        (
            json!({ "deadline": "2026-11-24T10:20:00Z", "wallTime": "70m", "activeTime": "15m" }),
            0,
            Some("WallTime"),
            601,
        ),
        (json!({ "deadline": "2026-11-24T09:20:00Z" }), 0, Some("Deadline"), 1),
    ] {
        let given = limited(&limits).status(|status| status.active_seconds = active);
        let expected = (cut_by.map(ToOwned::to_owned), vec![format!("lower deadline of t-1 to {seconds}")]);
        assert_eq!(slice_of(given), expected, "{limits} after {active}s");
    }
}

#[test]
fn time_suspended_does_not_count_as_wall_time() {
    let given = limited(&json!({ "wallTime": "90m" })).status(|status| status.run.suspended_seconds = 600);
    assert_eq!(slice_of(given).1, ["lower deadline of t-1 to 2401"]);
}

#[test]
fn a_new_limit_cuts_the_running_segment() {
    let running = given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601));
    let edited = running.edited(json!({ "limits": { "activeTime": "20m" } }));
    edited.at("10:10:00").expect(["cut by ActiveTime", "lower deadline of t-1 to 1201", "wake 10:21:30"]);
}

#[test]
fn a_pod_is_made_for_no_longer_than_the_limits_leave() {
    let planned = limited(&json!({ "activeTime": "10m" })).at("10:00:00");
    let longtask::task::plan::Step::CreatePod(pod) = &planned.plan.steps[0] else { panic!("{:?}", planned.plan.steps) };
    assert_eq!(pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds), Some(600 + 600));
}

#[test]
fn a_limit_that_is_used_up_starts_nothing() {
    for (limits, reason) in [
        (json!({ "activeTime": "1h" }), "ActiveTimeExceeded"),
        (json!({ "wallTime": "1h" }), "WallTimeExceeded"),
        (json!({ "deadline": "2026-11-24T10:00:00Z" }), "DeadlinePassed"),
        (json!({ "segments": 4 }), "SegmentLimitReached"),
        (json!({ "attempts": 7 }), "AttemptLimitReached"),
    ] {
        let spent = |status: &mut longtask::api::task::LongTaskStatus| {
            (status.active_seconds, status.segment) = (3600, 5);
            status.current_attempt.as_mut().expect("one").segment = 4;
        };
        let (phase, failed) = (format!("phase Failed {reason}"), format!("Failed True {reason}"));
        let finished = format!("Finished True {reason}");
        // The segment that would have come next has not.
        let ended = [&phase, "segment 4", &failed, &finished, "Warning Failed"];
        limited(&limits).ended(7).status(spent).at("10:00:00").expect_all(&ended);
        let waiting = limited(&limits).ended(7).status(spent).status(|status| {
            status.next_attempt_time = Some(crate::support::t("10:05:00"));
        });
        waiting.at("10:00:00").expect_all(&[&phase, "segment 4", "next -", &failed, &finished, "Warning Failed"]);
    }
}

/// Flux waits while Reconciling holds, and gives up when Stalled does. Every scenario asks when they hold; this, for what
/// they say.
#[test]
fn a_failed_task_is_stalled_for_the_same_reason_in_few_words() {
    let spent = limited(&json!({ "wallTime": "1h" })).ended(7).at("10:00:00").status();
    let condition = |type_| {
        let found = find_condition(&spent.conditions, type_).expect("it is listed");
        (found.status.as_str(), found.reason.as_str(), found.message.as_str())
    };
    let words = "limits.wallTime since the start of the run is used up";
    assert_eq!(condition(ConditionType::Stalled), ("True", "WallTimeExceeded", words));
    assert_eq!(condition(ConditionType::Failed), ("True", "WallTimeExceeded", words));
    assert_eq!(condition(ConditionType::Reconciling), ("False", "Finished", "the task has ended"));

    let long = json!([{ "name": "full", "onReasons": ["Error"], "action": "Fail" }]);
    let failed = pod(1).ran("10:00:00", "10:01:00", 1).saying(&"disk full ".repeat(40));
    let given = given().spec(json!({ "failurePolicy": { "rules": long } })).running(1, "10:00:00");
    let status = given.pod(failed).at("10:01:01").status();
    let length = |type_| find_condition(&status.conditions, type_).map(|found| found.message.len());
    assert_eq!(length(ConditionType::Stalled), Some(128), "a status stays small");
    assert!(length(ConditionType::Failed) > Some(128));
}

#[test]
fn a_task_with_a_deadline_in_the_past_never_starts() {
    let planned = limited(&json!({ "deadline": "2026-11-24T09:00:00Z" })).at("10:00:00");
    planned.expect_containing(&["phase Failed DeadlinePassed"]).expect_without(&["create", "attempt"]);
}

#[test]
fn while_waiting_there_is_a_look_when_a_limit_ends() {
    for limits in [json!({ "wallTime": "61m" }), json!({ "deadline": "2026-11-24T10:01:00Z" })] {
        let waiting = limited(&limits).ended(1).status(|status| {
            status.next_attempt_time = Some(crate::support::t("10:05:00"));
        });
        waiting.at("10:00:00").expect(["wake 10:01:00"]);
    }
}

#[test]
fn a_limit_of_time_stops_a_pod_that_has_not_started() {
    for limits in
        [json!({ "wallTime": "61m" }), json!({ "deadline": "2026-11-24T10:01:00Z" }), json!({ "activeTime": "1m" })]
    {
        let given = limited(&limits).creating(2).status(|status| status.active_seconds = 60);
        let planned = given.pod(pod(2).scheduled("10:00:01")).at("10:01:00");
        let planned = planned.expect_containing(&["stop Limit", "delete pod t-2"]);
        let gone = planned.then().each_pod(|pod| pod.phase("Failed").deleted("10:01:01", 0)).at("10:01:02");
        gone.expect_containing(&["outcome Stopped Limit"]).expect_containing(&["Warning Failed"]);
    }
}

#[test]
fn a_limit_withdraws_an_attempt_without_a_pod() {
    let given = limited(&json!({ "deadline": "2026-11-24T10:01:00Z" })).creating(2);
    given.at("10:01:00").expect_containing(&["attempt 2 Withdrawn", "phase Failed DeadlinePassed"]);
}

#[test]
fn limits_are_asked_before_budgets() {
    let none = json!({ "failures": 0 });
    for (limits, reason) in [
        (json!({ "activeTime": "1m" }), "ActiveTimeExceeded"),
        (json!({ "wallTime": "1h" }), "WallTimeExceeded"),
        (json!({ "deadline": "2026-11-24T10:01:00Z" }), "DeadlinePassed"),
        (json!({ "attempts": 1 }), "AttemptLimitReached"),
        (json!({}), "FailureBudgetExhausted"),
    ] {
        let given = limited(&limits).spec(json!({ "retry": { "budgets": none } })).running(1, "10:00:00");
        let planned = given.pod(pod(1).ran("10:00:00", "10:01:00", 1)).at("10:01:00");
        assert_eq!(planned.status().reason, reason, "{limits}");
    }
}

#[test]
fn the_last_segment_may_end_well() {
    let given = limited(&json!({ "segments": 1, "attempts": 1 })).running(1, "10:00:00");
    given.clone().pod(pod(1).ran("10:00:00", "10:01:00", 0)).at("10:01:01").expect_containing(&["phase Succeeded"]);
    let yielded = pod(1).ran("10:00:00", "10:01:00", 75).reporting(&[json!({ "checkpoint": { "n": 1 } })]);
    let planned =
        given.pod(yielded).at("10:01:01").expect_containing(&["phase Failed SegmentLimitReached", "checkpoint 1"]);
    planned.expect_without(&["create"]);
}

#[test]
fn a_deadline_passes_while_suspended_and_wall_time_does_not() {
    let suspended = |limits: Value| {
        let given = limited(&limits).ended(1).edited(json!({ "suspend": true }));
        given.at("09:40:00").expect_containing(&["phase Suspended SuspendedByUser"]).then()
    };
    suspended(json!({ "wallTime": "1h" })).at("15:00:00").expect([]);
    suspended(json!({ "deadline": "2026-11-24T15:00:00Z" })).at("14:00:00").expect(["wake 15:00:00"]);
    let passed = suspended(json!({ "deadline": "2026-11-24T15:00:00Z" })).at("15:00:00");
    passed.expect_containing(&["phase Failed DeadlinePassed", "Suspended False"]);
}

#[test]
fn a_limit_of_attempts_waits_until_another_one_is_needed() {
    let given = limited(&json!({ "attempts": 1 })).running(1, "10:00:00").edited(json!({ "suspend": true }));
    let stopped = given
        .stopping(StopReason::Suspend, "10:10:00")
        .pod(pod(1).ran("10:00:00", "10:10:02", 143).deadline(1).because("DeadlineExceeded"));
    let suspended = stopped.at("10:10:03").expect_containing(&["phase Suspended SuspendedByUser"]);
    let resumed = suspended.then().edited(json!({ "suspend": false })).at("10:20:00");
    resumed.expect_containing(&["phase Failed AttemptLimitReached"]);
}

#[test]
fn a_limit_that_was_lowered_during_a_pause_is_asked_before_the_next_start() {
    let given = limited(&json!({})).ended(1).edited(json!({ "suspend": true }));
    let suspended = given.at("09:40:00").then();
    let resumed = suspended.edited(json!({ "suspend": false, "limits": { "wallTime": "30m" } })).at("10:00:00");
    resumed.expect_containing(&["phase Failed WallTimeExceeded", "suspended 1200"]).expect_without(&["create"]);
}
