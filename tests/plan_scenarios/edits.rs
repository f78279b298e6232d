//! Edits of a task whose attempt is under way.

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
    edited.at("10:00:05").expect_without(&["stop", "delete", "create"]);
}

#[test]
fn an_edit_withdraws_an_attempt_whose_pod_does_not_exist() {
    let edited = given().creating(1).edited(json!({ "segment": { "duration": "2h" } })).at("10:00:05");
    edited.expect_containing(&["attempt 2 Creating", "create pod t-2"]);
}

#[test]
fn a_short_wait_for_the_scheduler_is_not_shown() {
    let waiting = || given().creating(1).pod(pod(1).unschedulable("no room"));
    waiting().at("10:00:02").expect(["wake 10:00:03"]);
    waiting().at("10:00:03").expect_containing(&["phase Pending Unschedulable"]);
}
