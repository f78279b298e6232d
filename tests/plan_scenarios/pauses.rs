//! Suspend, resume and cancel, in every phase.

use longtask::api::task::{AttemptState, StopReason};
use serde_json::{Value, json};

use crate::support::{Given, given, pod, t};

fn suspend() -> Value {
    json!({ "suspend": true })
}

fn cancel() -> Value {
    json!({ "cancel": true })
}

const SUSPENDED: [&str; 3] = ["phase Suspended SuspendedByUser", "Suspended True SuspendedByUser", "Normal Suspended"];
const CANCELLED: [&str; 3] = ["phase Cancelled", "Finished True Cancelled", "Normal Cancelled"];

fn running() -> Given {
    given().running(1, "10:00:00").pod(pod(1).scheduled("09:59:59").runs("10:00:00").deadline(3601))
}

#[test]
fn a_running_attempt_is_asked_to_stop_and_keeps_its_pod() {
    for (edit, reason) in [(suspend(), "Suspend"), (cancel(), "Cancel")] {
        let lines = [format!("phase Stopping {reason}"), "attempt 1 Stopping".into(), format!("stop {reason}")];
        let rest = ["lower deadline of t-1 to 1", "Normal StopRequested", "wake 10:11:30"].map(ToOwned::to_owned);
        running().edited(edit).at("10:10:00").expect_all(&lines.into_iter().chain(rest).collect::<Vec<_>>());
    }
}

#[test]
fn what_a_stopped_attempt_reported_is_kept_and_nothing_is_counted() {
    let stopping = running().edited(suspend()).at("10:10:00").then();
    let over = stopping.each_pod(|pod| {
        let ended = pod.ran("10:00:00", "10:10:05", 0).because("DeadlineExceeded");
        ended.reporting(&[json!({ "checkpoint": { "n": 7 }, "progress": { "completed": 7 } })])
    });
    over.at("10:10:07").expect([
        "phase Suspended SuspendedByUser",
        "attempt 1 Ended",
        "outcome Stopped Suspend exit 0",
        "active 605",
        "checkpoint 1",
        "progress 7",
        "Suspended True SuspendedByUser",
        "release pod t-1",
        "Normal SegmentEnded",
        "Normal Suspended",
    ]);
}

#[test]
fn a_pod_that_never_ran_is_deleted() {
    for edit in [suspend(), cancel()] {
        let given = given().creating(1).pod(pod(1).scheduled("10:00:01")).edited(edit);
        let planned = given.at("10:00:05").expect_containing(&["attempt 1 Stopping", "delete pod t-1"]);
        let status = planned.then().each_pod(|pod| pod.phase("Failed")).at("10:00:07").status();
        assert_eq!((status.consecutive.interruptions, status.active_seconds, status.retries), (0, 0, 0));
    }
}

#[test]
fn suspend_and_cancel_act_at_once_in_every_phase_without_a_pod() {
    for (edit, expected) in [(suspend(), SUSPENDED), (cancel(), CANCELLED)] {
        let fresh = given().spec(edit.clone()).at("10:00:00").expect_containing(&expected);
        fresh.expect_without(&["create", "attempt"]);
        given().begun().edited(edit.clone()).at("10:00:00").expect_all(&expected);
        given().ended(3).edited(edit.clone()).at("10:00:00").expect_all(&expected);
        let creating = given().creating(3).edited(edit.clone()).at("10:00:00");
        creating.expect_containing(&expected).expect_containing(&["attempt 3 Withdrawn"]);
    }
}

#[test]
fn a_wait_for_a_retry_is_kept_over_a_pause_and_dropped_by_a_cancel() {
    let waiting = || given().ended(1).status(|status| status.next_attempt_time = Some(t("10:05:00")));
    let suspended = waiting().edited(suspend()).at("10:00:00").expect_all(&SUSPENDED).then();
    let resumed = suspended.edited(json!({ "suspend": false })).at("10:01:00");
    resumed.expect_containing(&["phase Waiting Backoff", "wake 10:05:00"]).expect_without(&["create"]);
    waiting().edited(cancel()).at("10:00:00").expect_containing(&["phase Cancelled", "next -"]);
}

#[test]
fn a_refused_create_is_withdrawn() {
    let refused = given().creating(2).refused("QuotaExceeded", "exceeded quota").at("10:00:00").then();
    let planned = refused.clone().edited(suspend()).at("10:00:02");
    planned.expect_containing(&["attempt 2 Withdrawn", "next -", "Blocked False"]).expect_containing(&SUSPENDED);
    refused.edited(cancel()).at("10:00:02").expect_containing(&CANCELLED);
}

#[test]
fn resuming_counts_the_pause_and_uses_a_withdrawn_number_again() {
    let suspended = given().attempt(3, AttemptState::Withdrawn, "").edited(suspend()).at("10:00:00").then();
    suspended.clone().at("10:00:30").expect([]);
    suspended.edited(json!({ "suspend": false })).at("10:02:00").expect([
        "phase Pending",
        "attempt 3 Creating",
        "suspended 120",
        "Suspended False",
        "create pod t-3",
        "Normal Resumed",
        "Normal AttemptStarting",
        "wake 10:02:30",
    ]);
}

#[test]
fn a_pause_taken_back_before_the_stop_is_done_just_goes_on() {
    let stopped = running().stopping(StopReason::Suspend, "10:10:00");
    let over = stopped.each_pod(|pod| pod.ran("10:00:00", "10:10:05", 143).deadline(1).because("DeadlineExceeded"));
    over.at("10:10:07").expect_containing(&["attempt 2 Creating", "create pod t-2"]);
}

#[test]
fn cancelling_a_suspended_task_ends_it() {
    let suspended = given().ended(1).edited(suspend()).at("10:00:00").then();
    suspended.edited(cancel()).at("10:10:00").expect_containing(&["phase Cancelled", "Suspended False"]);
}

#[test]
fn a_program_that_is_done_before_it_hears_of_the_stop_has_succeeded() {
    for edit in [suspend(), cancel()] {
        let done = running().each_pod(|pod| pod.ran("10:00:00", "10:09:59", 0)).edited(edit.clone()).at("10:10:00");
        done.expect_containing(&["phase Succeeded"]);
        // Its sidecar is still there.
        let main_done = running().each_pod(|pod| pod.main_ended("10:00:00", "10:09:59", 0)).edited(edit).at("10:10:00");
        let over = main_done.then().each_pod(|pod| pod.phase("Succeeded")).at("10:10:02");
        over.expect_containing(&["phase Succeeded"]);
    }
}

#[test]
fn a_pause_beside_the_end_of_a_slice_does_not_turn_it_into_success() {
    let trapped = running().each_pod(|pod| pod.main_ended("10:00:00", "11:00:02", 0));
    let seen = trapped.edited(suspend()).at("11:00:03").then();
    let over = seen.each_pod(|pod| pod.because("DeadlineExceeded")).at("11:00:05");
    over.expect_containing(&["phase Suspended SuspendedByUser", "segment 2"]);
}

#[test]
fn a_finished_task_stays_what_it_is() {
    let done = given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:01:00", 0)).at("10:01:01").then();
    for edit in [suspend(), cancel(), json!({ "limits": { "deadline": "2026-11-24T10:00:00Z" } })] {
        done.clone().edited(edit).at("10:02:00").expect(["Warning EditIgnored"]);
    }
}

#[test]
fn a_suspended_task_is_not_reconciling() {
    let reconciling = |given: &crate::support::Planned| {
        let conditions = given.status().conditions;
        conditions.into_iter().find(|condition| condition.type_ == "Reconciling").map(|condition| condition.status)
    };
    let suspended = given().ended(1).edited(suspend()).at("10:00:00");
    assert_eq!(reconciling(&suspended).as_deref(), Some("False"));
    let resumed = suspended.then().edited(json!({ "suspend": false })).at("10:01:00");
    assert_eq!(reconciling(&resumed).as_deref(), Some("True"));
}
