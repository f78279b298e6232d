//! Volumes of the task's own.

use longtask::{
    api::task::{AttemptState, Phase},
    task::plan::{Cause, Refusal, Step},
};
use serde_json::json;

use super::support::{Given, given, pod};

/// A task with two claims.
fn given_claims() -> Given {
    let spec = json!({ "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "1Gi" } } });
    given().spec(json!({ "volumeClaimTemplates": [
        { "metadata": { "name": "data" }, "spec": spec },
        { "metadata": { "name": "cache" }, "spec": spec },
    ] }))
}

fn policy(policy: serde_json::Value) -> serde_json::Value {
    json!({ "persistentVolumeClaimRetentionPolicy": policy })
}

#[test]
fn claims_are_made_before_the_first_pod_that_mounts_them() {
    let planned = given_claims().at("09:00:00");
    let planned = planned.expect_containing(&["create claim data-t", "create claim cache-t", "create pod t-1"]);
    let kinds: Vec<_> = planned.plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(kinds, ["create claim data-t", "create claim cache-t", "create pod t-1"]);
    let Some(Step::CreatePod(pod)) = planned.plan.steps.last() else { panic!("a pod") };
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref()).expect("volumes");
    assert_eq!(volumes[0].persistent_volume_claim.as_ref().map(|claim| claim.claim_name.as_str()), Some("data-t"));
}

#[test]
fn claims_that_exist_are_mounted_again_and_one_that_was_deleted_is_made_anew() {
    let kept = given_claims().ended(1).claim("data-t", "task-uid").claim("cache-t", "task-uid");
    kept.at("10:00:00").expect_containing(&["create pod t-2"]).expect_without(&["create claim"]);
    let one_is_gone = given_claims().ended(1).claim("data-t", "task-uid");
    one_is_gone
        .at("10:00:00")
        .expect_containing(&["create claim cache-t", "create pod t-2"])
        .expect_without(&["create claim data-t"]);
}

#[test]
fn a_claim_that_an_earlier_task_left_behind_is_mounted() {
    let left = given_claims().claim("data-t", "an-earlier-uid").claim("cache-t", "an-earlier-uid");
    left.at("09:00:00").expect_containing(&["create pod t-1"]).expect_without(&["create claim", "Blocked"]);
}

#[test]
fn a_claim_of_others_is_not_mounted_by_a_task_whose_claims_go_with_it() {
    let given = given_claims().spec(policy(json!({ "whenDeleted": "Delete" })));
    let others = given.clone().creating(1).claim("data-t", "other").claim("cache-t", "task-uid").at("10:00:00");
    let others = others.expect_containing(&["phase Pending NameTaken", "Blocked True NameTaken", "wake 10:00:05"]);
    assert!(others.plan.steps.is_empty());
    let note = others.note("Blocked");
    assert!(
        note.contains("claim data-t exists that is not of this task") && note.contains("whenDeleted to Retain"),
        "{note}"
    );
    let freed = others.then().claims_gone().claim("cache-t", "task-uid").at("10:00:05");
    freed.expect_containing(&["create claim data-t", "create pod t-1"]);
}

#[test]
fn a_claim_on_its_way_out_is_waited_for() {
    let given = given_claims().ended(1).claim("data-t", "task-uid").claim("cache-t", "task-uid");
    let going = given.claims_going().at("10:00:00");
    let going = going.expect_containing(&[
        "phase Pending WaitingForOldClaim",
        "Blocked True WaitingForOldClaim",
        "wake 10:00:05",
    ]);
    assert!(going.plan.steps.is_empty());
    let gone = going.then().claims_gone().at("10:00:05");
    gone.expect_containing(&["create claim data-t", "create claim cache-t", "create pod t-2"]);
}

#[test]
fn pods_that_have_ended_are_not_kept_where_a_claim_waits_for_them_to_go() {
    let given = given_claims()
        .ended(1)
        .claim("data-t", "task-uid")
        .claim("cache-t", "task-uid")
        .pod(pod(1).ran("09:00:00", "09:30:00", 0).released());
    given.clone().at("10:00:00").expect_without(&["delete pod"]);
    given.claims_going().at("10:00:00").expect_containing(&["Blocked True WaitingForOldClaim", "delete pod t-1"]);
}

#[test]
fn a_claim_that_the_api_server_refuses_is_shown_and_tried_again() {
    let words = Cause { reason: "QuotaExceeded".into(), message: "exceeded quota: storage".into() };
    let refused = given_claims().creating(1).refusal(Refusal::ClaimRejected("data-t".into(), words)).at("10:00:00");
    let refused =
        refused.expect_containing(&["phase Pending QuotaExceeded", "Blocked True QuotaExceeded", "wake 10:00:05"]);
    assert!(refused.note("Blocked").contains("refuses the claim data-t: exceeded quota: storage"));
    refused.then().at("10:00:05").expect_containing(&["create claim data-t", "create claim cache-t", "create pod t-1"]);
}

#[test]
fn claims_of_a_task_that_succeeded_are_deleted_only_if_the_user_says_so() {
    let ended = |phase, when: &str| {
        let given =
            given_claims().spec(policy(json!({ "whenSucceeded": when }))).attempt(1, AttemptState::Ended, "09:30:00");
        given.in_phase(phase).claim("data-t", "task-uid").claim("cache-t", "an-earlier-uid").at("10:00:00")
    };
    ended(Phase::Succeeded, "Delete")
        .expect_containing(&["delete claim data-t"])
        .expect_without(&["delete claim cache-t"]);
    for (phase, when) in [(Phase::Succeeded, "Retain"), (Phase::Failed, "Delete"), (Phase::Cancelled, "Delete")] {
        assert!(ended(phase, when).plan.steps.is_empty(), "{phase} {when}");
    }
}

#[test]
fn the_pods_of_a_task_that_succeeded_go_with_its_claims_and_only_then() {
    let ended = |given: Given, when: &str| {
        let given = given.spec(policy(json!({ "whenSucceeded": when }))).attempt(1, AttemptState::Ended, "09:30:00");
        given
            .in_phase(Phase::Succeeded)
            .claim("data-t", "task-uid")
            .pod(pod(1).ran("09:00:00", "09:30:00", 0).released())
            .at("10:00:00")
    };
    ended(given_claims(), "Delete").expect_containing(&["delete claim data-t", "delete pod t-1"]);
    ended(given_claims(), "Retain").expect([]);
    ended(given(), "Delete").expect_without(&["delete pod"]);
}

#[test]
fn a_deletion_of_a_claim_that_is_refused_is_shown() {
    let given =
        given_claims().spec(policy(json!({ "whenSucceeded": "Delete" }))).attempt(1, AttemptState::Ended, "09:30:00");
    let given = given.in_phase(Phase::Succeeded).claim("data-t", "task-uid");
    let step = given.clone().at("10:00:00").plan.steps.remove(0);
    let refused = given.refused_step(step, "keep it").at("10:00:00");
    let refused = refused.expect_containing(&["WriteRefused True ClaimDeletionRefused"]);
    assert!(refused.note("WriteRefused").contains("delete claim data-t"));
}
