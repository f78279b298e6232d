//! Edits of a task whose attempt is under way.

use longtask::task::plan::Step;
use serde_json::json;

use crate::support::{given, pod};

#[test]
fn an_edit_replaces_a_pod_that_cannot_start() {
    let pulling = pod(1).scheduled("10:00:01").waiting("ErrImagePull", "not found");
    let stuck = given().creating(1).pod(pulling).at("10:00:05").then();
    let planned = stuck.edited(json!({ "segment": { "duration": "2h" } })).at("10:01:00");
    let planned = planned.expect_containing(&["stop Outdated", "delete pod t-1"]);
    let gone = planned.then().each_pod(|pod| pod.phase("Failed").deleted("10:01:01", 0)).at("10:01:02");
    gone.expect_containing(&["outcome Stopped Outdated", "attempt 2 Creating", "create pod t-2"]);
}

#[test]
fn an_edit_leaves_a_pod_alone_that_gets_on() {
    let edited = given().creating(1).pod(pod(1).scheduled("10:00:01")).edited(json!({ "podHistoryLimit": 2 }));
    for at in ["10:00:05", "10:05:00"] {
        edited.clone().at(at).expect_without(&["stop", "delete", "create"]);
    }
}

#[test]
fn an_edit_replaces_a_pod_at_once_for_which_there_is_no_room() {
    let waiting = given().creating(1).pod(pod(1).unschedulable("no room"));
    let edited = waiting.edited(json!({ "segment": { "duration": "2h" } })).at("10:00:02");
    edited.expect_containing(&["stop Outdated", "delete pod t-1"]);
}

#[test]
fn an_edit_replaces_a_pod_of_which_its_kubelet_says_nothing_once_that_is_no_short_wait_any_more() {
    let silent = given().creating(1).pod(pod(1).merged(json!({ "spec": { "nodeName": "node-9" } })));
    let edited = silent.edited(json!({ "segment": { "duration": "2h" } }));
    edited.clone().at("10:00:09").expect_containing(&["wake 10:00:10"]).expect_without(&["stop", "delete"]);
    edited.at("10:00:10").expect_containing(&["stop Outdated", "delete pod t-1"]);
}

#[test]
fn a_start_that_failed_is_a_try_and_one_that_an_edit_made_needless_is_none() {
    let failed = given().creating(1).pod(pod(1).start_error("StartError")).at("10:00:03");
    assert_eq!(failed.status().totals.attempts, 1);
    let stuck = given().creating(1).pod(pod(1).scheduled("10:00:01").waiting("ErrImagePull", "not found"));
    let replaced = stuck.edited(json!({ "segment": { "duration": "2h" } })).at("10:00:05").then();
    let gone = replaced.each_pod(|pod| pod.phase("Failed").deleted("10:00:06", 0)).at("10:00:07");
    assert_eq!(gone.expect_containing(&["outcome Stopped Outdated"]).status().totals.attempts, 0);
}

#[test]
fn an_edit_that_makes_no_other_pod_does_not_wait_for_the_next_attempt() {
    let created = given().at("10:00:00").then();
    let running = created.each_pod(|pod| pod.runs("10:00:05")).at("10:00:05").then();
    let edited = running.edited(json!({ "podHistoryLimit": 2 })).at("10:01:00").expect(["wake 11:01:35"]);
    assert!(edited.status().conditions.iter().all(|condition| condition.reason != "EditWaits"));
    // The attempt behind an edit is made from that edit.
    let over = edited.then().edited(json!({ "segment": { "duration": "2h" } }));
    let over = over.each_pod(|pod| pod.ran("10:00:05", "10:02:00", 75)).at("10:02:01").then();
    let edited = over.edited(json!({ "podHistoryLimit": 3 })).only(pod(2).runs("10:02:05")).at("10:03:00");
    assert!(edited.status().conditions.iter().all(|condition| condition.reason != "EditWaits"));
}

#[test]
fn an_edit_that_makes_no_other_pod_leaves_one_alone_that_cannot_start() {
    let created = given().at("10:00:00").then();
    let stuck = created.each_pod(|pod| pod.scheduled("10:00:01").waiting("ErrImagePull", "not found"));
    let edited = stuck.at("10:00:05").then().edited(json!({ "podHistoryLimit": 2 }));
    edited.at("10:00:06").expect_without(&["stop", "delete"]);
}

#[test]
fn a_pod_without_the_memory_that_a_rule_now_gives_is_outdated_only_by_an_edit() {
    let rules = json!([{ "name": "oom", "onReasons": ["OOMKilled"], "action": "Retry", "memory": { "factor": 2, "max": "1Gi" } }]);
    let stuck = given().spec(json!({ "failurePolicy": { "rules": rules } })).creating(1).status(|status| {
        status.memory = Some("160Mi".parse().expect("memory"));
        status.memory_rule = Some("oom".into());
    });
    let stuck = stuck.pod(pod(1).scheduled("10:00:01").waiting("ErrImagePull", "not found"));
    stuck.clone().at("10:00:05").expect_without(&["stop", "delete pod"]);
    stuck
        .edited(json!({ "podHistoryLimit": 2 }))
        .at("10:00:05")
        .expect_containing(&["stop Outdated", "delete pod t-1"]);
}

#[test]
fn an_edit_before_the_pod_exists_changes_the_pod_and_not_its_number() {
    let edited = given().creating(1).edited(json!({ "segment": { "duration": "2h" } })).at("10:00:05");
    let planned = edited.expect(["create pod t-1", "wake 10:00:35"]);
    assert_eq!(planned.status().current_attempt.expect("one").generation, 2);
    let [Step::CreatePod(pod)] = &planned.plan.steps[..] else { panic!("{:?}", planned.plan.steps) };
    assert_eq!(pod.metadata.annotations.as_ref().expect("some")["longtask.dev/segment-seconds"], "7200");
}

#[test]
fn an_edit_waits_for_the_next_attempt_when_the_create_from_before_it_was_first() {
    let made_before = pod(1).runs("10:00:05").merged(json!({ "metadata": { "annotations": {
        "longtask.dev/generation": "1"
    } } }));
    let edited = given().creating(1).edited(json!({ "segment": { "duration": "2h" } })).at("10:00:05").then();
    let status = edited.only(made_before).at("10:00:06").expect_containing(&["attempt 1 Running"]).status();
    assert_eq!(status.current_attempt.expect("one").generation, 1);
    assert!(status.conditions.iter().any(|condition| condition.reason == "EditWaits"));
}

#[test]
fn a_short_wait_for_the_scheduler_is_not_shown() {
    let waiting = || given().creating(1).pod(pod(1).unschedulable("no room"));
    waiting().at("10:00:02").expect(["wake 10:00:03"]);
    let shown = waiting().at("10:00:03").expect_containing(&["phase Pending Unschedulable"]).then();
    // By the clock of another operator the wait is still short.
    shown.at("10:00:02").expect(["wake 10:00:03"]);
}

#[test]
fn an_edit_that_waits_for_the_next_attempt_is_shown_until_then() {
    let reconciling = |status: &longtask::api::task::LongTaskStatus| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == "Reconciling").expect("shown");
        (condition.status.clone(), condition.reason.clone(), condition.message.clone())
    };
    let running = given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601));
    let edited = running.edited(json!({ "segment": { "duration": "2h" } })).at("10:01:00").expect(["wake 12:01:30"]);
    let (status, reason, message) = reconciling(&edited.status());
    assert_eq!((status.as_str(), reason.as_str()), ("True", "EditWaits"));
    assert!(message.starts_with("attempt 1 runs generation 1 of the spec; what generation 2 changes"), "{message}");
    let next =
        edited.then().only(pod(1).ran("10:00:00", "10:02:00", 75).reporting(&[json!({ "checkpoint": { "n": 1 } })]));
    let next = next.at("10:02:01").expect_containing(&["attempt 2 Creating"]);
    assert_eq!(reconciling(&next.status()).1, "EditApplied");
}
