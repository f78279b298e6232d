//! The API server refuses the pod: an observation, no attempt.

use longtask::task::plan::Refusal;
use serde_json::json;

use crate::support::{given, pod, t};

fn refused() -> crate::support::Given {
    given().creating(1).refused("QuotaExceeded", "exceeded quota: pods=1, used: pods=7")
}

#[test]
fn a_refused_create_is_shown_and_tried_again_and_burns_nothing() {
    let planned = refused().at("10:00:00").expect([
        "phase Pending QuotaExceeded",
        "next 10:00:05",
        "Blocked True QuotaExceeded",
        "Warning Blocked",
        "wake 10:00:05",
    ]);
    let status = planned.status();
    assert_eq!((status.totals.attempts, status.retries, status.current_attempt.map(|a| a.number)), (0, 0, Some(1)));
    let note = planned.note("Blocked");
    assert!(note.contains("the API server refuses the pod: exceeded quota: pods=1, used: pods=7"), "{note}");
    planned.then().at("10:00:05").expect(["create pod t-1", "wake 10:00:35"]);
}

#[test]
fn the_servers_words_are_not_written_anew_while_only_figures_move() {
    let blocked = refused().at("10:00:00").then();
    let again = blocked.refused("QuotaExceeded", "exceeded quota: pods=1, used: pods=8").at("10:00:05");
    let message = |planned: &crate::support::Planned| {
        let conditions = planned.status().conditions;
        conditions.into_iter().find(|condition| condition.type_ == "Blocked").expect("blocked").message
    };
    assert!(message(&again).contains("used: pods=7"));
    let again = again.expect(["next 10:00:10", "wake 10:00:10"]);
    let other = again.then().refused("Invalid", "spec.x: wrong").at("10:00:10");
    assert!(message(&other).contains("spec.x: wrong"));
    other.expect_containing(&["Blocked True Invalid", "Warning Blocked"]);
}

#[test]
fn the_wait_grows_with_the_time_refused_up_to_a_minute() {
    let mut given = refused();
    let mut waits = Vec::new();
    let mut now = t("10:00:00");
    for _ in 0..8 {
        let time = now.to_string();
        let planned = given.refused("QuotaExceeded", "no").at(&time[11..19]);
        let next = planned.status().next_attempt_time.expect("a next time");
        waits.push((next - now).get_seconds());
        (given, now) = (planned.then(), next);
    }
    assert_eq!(waits, [5, 5, 10, 20, 40, 60, 60, 60]);
}

#[test]
fn a_new_generation_is_tried_at_once() {
    let blocked = refused().at("10:00:00").then();
    blocked.edited(json!({ "podHistoryLimit": 4 })).at("10:00:01").expect([
        "phase Pending",
        "next -",
        "Blocked False",
        "create pod t-1",
        "wake 10:00:31",
    ]);
}

#[test]
fn the_name_of_a_pod_on_its_way_out_is_waited_for() {
    let waiting = given().creating(1).refusal(Refusal::NameOfTerminatingPod).at("10:00:00");
    let waiting = waiting.expect(["phase Pending WaitingForOldPod", "wake 10:00:01"]);
    waiting.then().at("10:00:01").expect_containing(&["create pod t-1"]);
}

#[test]
fn a_name_that_is_taken_blocks() {
    let planned = given()
        .creating(1)
        .refusal(Refusal::NameTaken(None))
        .at("10:00:00")
        .expect_containing(&["Blocked True NameTaken"]);
    assert!(planned.note("Blocked").contains("t-1"));
}

#[test]
fn a_name_that_something_else_makes_again_and_again_is_told_with_its_owner() {
    let taken = given().creating(1).refusal(Refusal::NameTaken(Some("StatefulSet t".into()))).at("10:00:00");
    let note = taken.note("Blocked");
    assert!(note.contains("pod t-1 exists that is of StatefulSet t") && note.contains("another name"), "{note}");
}

/// Of a pod whose resources are given as a whole; a LimitRange says it in other words.
#[test]
fn a_refusal_of_the_memory_that_a_rule_has_raised_names_the_rule() {
    let raised = |rule: Option<&str>| {
        given().creating(2).status(|status| {
            status.memory = Some("160Mi".parse().expect("memory"));
            status.memory_rule = rule.map(str::to_owned);
        })
    };
    for (reason, words) in [
        ("Invalid", "spec.containers[0].resources.limits[memory]: must be less than or equal to pod limits of 100Mi"),
        ("Forbidden", "maximum memory usage per Container is 96Mi, but limit is 160Mi"),
    ] {
        let refused = raised(Some("oom")).refused(reason, words).at("10:00:00");
        let note = refused.note("Blocked");
        assert!(note.contains("rule oom raised the main container's memory to 160Mi"), "{note}");
        let other = raised(Some("oom")).refused(reason, "runAsNonRoot must be true").at("10:00:00");
        assert!(!other.note("Blocked").contains("rule oom"), "{}", other.note("Blocked"));
    }
}

#[test]
fn a_pod_that_comes_to_be_after_all_clears_the_block() {
    let blocked = refused().at("10:00:00").then();
    blocked.pod(pod(1)).at("10:00:05").expect([
        "phase Pending",
        "attempt 1 Starting",
        "next -",
        "Blocked False",
        "wake 10:00:10",
    ]);
}
