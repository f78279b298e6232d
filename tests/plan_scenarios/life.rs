//! The life of an attempt: intent, create, run, hand over; and the watchdogs.

use serde_json::json;

use crate::support::{given, pod};

#[test]
fn a_new_task_records_its_intent_and_creates_the_first_pod() {
    given().at("10:00:00").expect([
        "phase Pending",
        "segment 1",
        "attempt 1 Creating",
        "create pod t-1",
        "Normal AttemptStarting",
        "wake 10:00:30",
    ]);
}

#[test]
fn an_intent_without_a_pod_is_carried_out_under_the_same_number_and_writes_the_status_to_be_guarded() {
    let planned = given().creating(3).at("10:00:01");
    assert!(planned.plan.status.is_some());
    planned.expect(["create pod t-3", "wake 10:00:31"]);
}

#[test]
fn a_pod_that_waits_its_turn_costs_no_write() {
    given().creating(1).pod(pod(1)).at("10:00:05").expect(["wake 10:00:10"]);
    given().creating(1).pod(pod(1).scheduled("10:00:01")).at("10:00:05").expect(["wake 10:00:16"]);
}

#[test]
fn a_pod_without_a_place_is_shown_with_the_schedulers_words_and_costs_nothing() {
    let planned = given().creating(1).pod(pod(1).unschedulable("0/3 nodes are available")).at("10:05:00").expect([
        "phase Pending Unschedulable",
        "attempt 1 Starting",
        "Blocked True Unschedulable",
        "Warning Blocked",
    ]);
    assert!(planned.note("Blocked").contains("0/3 nodes are available"));
    let moved_on = planned.then().each_pod(|_| pod(1).unschedulable("0/4 nodes are available"));
    moved_on.clone().at("10:06:00").expect([]);
    moved_on.each_pod(|_| pod(1).scheduled("10:07:00")).at("10:07:00").expect([
        "phase Pending",
        "Blocked False",
        "wake 10:07:15",
    ]);
}

#[test]
fn an_image_that_cannot_be_pulled_is_shown_once() {
    let pulling = |reason| pod(1).scheduled("10:00:01").waiting(reason, "not found");
    let planned = given().creating(1).pod(pulling("ErrImagePull")).at("10:00:05").expect([
        "phase Pending ErrImagePull",
        "attempt 1 Starting",
        "Blocked True ErrImagePull",
        "Warning Blocked",
        "wake 10:10:01",
    ]);
    let backing_off = planned.then().each_pod(|_| pulling("ImagePullBackOff")).at("10:00:15").expect(["wake 10:10:01"]);
    backing_off.then().each_pod(|_| pulling("ErrImagePull")).at("10:00:25").expect(["wake 10:10:01"]);
}

#[test]
fn when_the_program_runs_its_slice_is_set_by_lowering_the_deadline() {
    given().creating(1).pod(pod(1).scheduled("10:00:01").runs("10:02:01")).at("10:02:02").expect([
        "phase Running",
        "attempt 1 Running",
        "started 10:02:01",
        "lower deadline of t-1 to 3720",
        "Normal AttemptStarted",
        "wake 11:03:31",
    ]);
}

#[test]
fn a_deadline_is_never_raised() {
    let pod = pod(1).scheduled("10:00:01").runs("10:02:01").deadline(100);
    given().running(1, "10:02:01").pod(pod).at("10:02:02").expect_without(&["lower"]);
}

#[test]
fn a_step_that_got_lost_is_taken_again() {
    let pod = || pod(1).scheduled("10:00:01").runs("10:02:01");
    given().running(1, "10:02:01").pod(pod()).at("10:30:00").expect(["lower deadline of t-1 to 3720", "wake 11:03:31"]);
    let stopping = given().running(1, "10:02:01").stopping(longtask::api::task::StopReason::Suspend, "10:20:00");
    let stopping = stopping.edited(json!({ "suspend": true })).status(|status| status.observed_generation = 2);
    stopping.pod(pod().deadline(3720)).at("10:20:10").expect_containing(&["lower deadline of t-1 to 1"]);
}

#[test]
fn a_segment_costs_two_writes_of_status() {
    let mut writes = 0;
    let mut look = |given: crate::support::Given, at| {
        let planned = given.at(at);
        writes += usize::from(planned.plan.status.is_some());
        planned.then()
    };
    let given = given()
        .running(1, "09:00:00")
        .pod(pod(1).ran("09:00:00", "10:00:00", 75).reporting(&[json!({ "checkpoint": { "n": 1 } })]));
    let given = look(given, "10:00:01");
    let given = look(given.each_pod(|pod| pod.scheduled("10:00:02")), "10:00:02");
    let given = look(given.each_pod(|pod| pod.waiting("ContainerCreating", "")), "10:00:03");
    let given = look(given.each_pod(|pod| pod.runs("10:00:04")), "10:00:05");
    look(given.each_pod(|pod| pod.main_ended("10:00:04", "11:00:04", 0)), "11:00:05");
    assert_eq!(writes, 2);
}

#[test]
fn a_start_that_takes_too_long_is_given_up() {
    let slow = || given().creating(1).pod(pod(1).scheduled("10:00:01").waiting("ErrImagePull", "not found"));
    let planned = slow().at("10:10:01").expect([
        "phase Stopping StartTimeout",
        "attempt 1 Stopping",
        "stop StartTimeout",
        "Blocked True ErrImagePull",
        "delete pod t-1",
        "Warning Blocked",
        "Normal StopRequested",
        "wake 10:11:31",
    ]);
    let gone = planned.then().each_pod(|pod| pod.phase("Failed").deleted("10:10:02", 0));
    gone.at("10:10:03")
        .expect_containing(&["outcome StartFailed ErrImagePull", "startFailures 1"])
        .expect_without(&["Blocked False"]);
}

#[test]
fn waiting_for_the_scheduler_has_no_end_unless_asked_for() {
    let waiting = || given().creating(1).pod(pod(1).unschedulable("no room"));
    waiting().at("23:00:00").expect_without(&["stop", "delete"]);
    let planned = waiting().spec(json!({ "segment": { "schedulingTimeout": "1h" } })).at("11:00:00");
    let planned = planned.expect_containing(&["stop SchedulingTimeout", "delete pod t-1"]);
    planned.then().at("11:00:00").expect_containing(&["outcome StartFailed Unschedulable", "startFailures 1"]);
}

#[test]
fn a_running_pod_that_outlives_its_slice_and_grace_is_reported_once() {
    let stuck = || given().running(1, "10:00:00").pod(pod(1).scheduled("09:59:59").runs("10:00:00").deadline(3601));
    stuck().at("11:01:29").expect(["wake 11:01:30"]);
    let planned = stuck().at("11:01:30").expect(["AttemptOverdue True PodDoesNotEnd", "Warning AttemptOverdue"]);
    // A node that is heard of is not given up.
    let note = planned.note("AttemptOverdue");
    assert!(!note.contains("out-of-service") && !note.contains("force-delete"), "{note}");
    let silent = planned.then().each_pod(crate::support::PodBuilder::on_a_silent_node).at("11:02:00");
    let silent = silent.expect(["AttemptOverdue True NodeNotResponding", "Warning AttemptOverdue"]);
    let note = silent.note("AttemptOverdue");
    assert!(note.contains("out-of-service") && note.contains("force-delete"), "{note}");
}

#[test]
fn a_pod_stuck_in_deletion_is_reported_and_waited_for() {
    let stuck = given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601).deleted("10:10:30", 30));
    stuck.at("10:11:30").expect(["AttemptOverdue True PodDoesNotEnd", "Warning AttemptOverdue"]);
}

#[test]
fn a_changed_duration_takes_effect_at_the_next_attempt() {
    let pod = || {
        let made_with = json!({ "metadata": { "annotations": { "longtask.dev/segment-seconds": "3600" } } });
        pod(1).scheduled("09:59:59").runs("10:00:00").deadline(3601).merged(made_with)
    };
    for duration in ["5m", "5h"] {
        let edited = given().running(1, "10:00:00").edited(json!({ "segment": { "duration": duration } }));
        edited.pod(pod()).at("10:10:00").expect(["wake 11:01:30"]);
    }
}

#[test]
fn an_attempt_is_counted_once() {
    let ended = given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:01:00", 1)).at("10:01:01");
    let again = ended.then().at("10:01:02");
    assert_eq!((again.status().consecutive.failures, again.status().totals.attempts), (1, 1));
}

#[test]
fn an_attempt_that_is_known_to_have_started_is_not_stopped_for_its_start() {
    // Another operator has recorded that it runs, and this one's watch of pods is late.
    let late = given().running(1, "10:00:05").pod(pod(1).scheduled("10:00:00"));
    late.clone().at("10:30:00").expect_without(&["stop StartTimeout", "delete pod t-1"]);
    let edited = late.edited(serde_json::json!({ "template": { "metadata": { "labels": { "a": "b" } } } }));
    edited.at("10:30:00").expect_without(&["stop Outdated", "delete pod t-1"]);
}

#[test]
fn a_record_of_stopping_is_kept_when_the_program_starts_all_the_same() {
    let given = given().attempt(1, longtask::api::task::AttemptState::Starting, "");
    let given = given.stopping(longtask::api::task::StopReason::StartTimeout, "10:10:00").pod(pod(1).runs("10:10:01"));
    given.at("10:10:02").expect([
        "started 10:10:01",
        "lower deadline of t-1 to 1",
        "Normal AttemptStarted",
        "wake 10:11:30",
    ]);
}

#[test]
fn events_of_an_attempt_name_its_pod() {
    let name_of = |planned: &crate::support::Planned, reason: &str| {
        let event = planned.plan.events.iter().find(|event| event.reason.to_string() == reason).expect(reason);
        event.pod.as_ref().map(|pod| (pod.name.clone(), pod.uid.clone()))
    };
    let pod_1 = Some(("t-1".to_owned(), "pod-1".to_owned()));
    let started = given().creating(1).pod(pod(1).runs("10:00:01")).at("10:00:02");
    assert_eq!(name_of(&started, "AttemptStarted"), pod_1);
    for (end, reason) in [
        (pod(1).ran("10:00:00", "10:01:00", 1), "AttemptFailed"),
        (pod(1).ran("10:00:00", "10:01:00", 75), "SegmentEnded"),
        (pod(1).runs("10:00:00").lost_track(), "AttemptInterrupted"),
    ] {
        let ended = given().running(1, "10:00:00").pod(end).at("10:01:01");
        assert_eq!(name_of(&ended, reason), pod_1, "{reason}");
    }
    let unborn = given().at("10:00:00");
    assert_eq!(name_of(&unborn, "AttemptStarting"), Some(("t-1".to_owned(), String::new())), "it has no UID yet");
}
