//! Pods that are not the one of the attempt under way: history, strays, absent ones; and when an attempt has ended.

use longtask::{
    api::task::{AttemptState, Phase},
    task::plan::LateCreates,
};
use serde_json::json;

use crate::support::{given, pod};

fn finished(attempt: i64) -> crate::support::PodBuilder {
    pod(attempt).ran("09:00:00", "09:10:00", 75)
}

#[test]
fn a_has_ended_when_the_pod_is_terminal() {
    given()
        .running(1, "10:00:00")
        .pod(pod(1).main_ended("10:00:00", "10:01:00", 0))
        .at("10:01:01")
        .expect_without(&["outcome"]);
    given()
        .running(1, "10:00:00")
        .pod(pod(1).ran("10:00:00", "10:01:00", 0))
        .at("10:01:01")
        .expect_containing(&["outcome Completed exit 0"]);
}

#[test]
fn b_has_ended_when_deleted_before_it_had_a_node() {
    given()
        .creating(1)
        .pod(pod(1).deleted("10:00:05", 0))
        .at("10:00:05")
        .expect_containing(&["outcome Interrupted Deleted"]);
    given()
        .creating(1)
        .pod(pod(1).scheduled("10:00:01").deleted("10:00:05", 0))
        .at("10:00:06")
        .expect_without(&["outcome"]);
}

#[test]
fn c_has_ended_when_only_our_finalizer_has_held_it_for_a_minute() {
    let forced = || given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601).deleted("10:10:00", 0));
    forced().at("10:10:59").expect(["wake 10:11:00"]);
    forced().at("10:11:00").expect_containing(&["outcome Interrupted Deleted"]);
}

#[test]
fn an_attempt_that_is_overdue_counts_as_ended_a_minute_after_its_pod_was_deleted_by_force() {
    let lost = given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601)).at("12:00:00");
    let overdue = lost.expect_containing(&["AttemptOverdue True PodDoesNotEnd"]).then();
    let forced = overdue.each_pod(|pod| pod.deleted("12:00:10", 0)).at("12:00:11").expect(["wake 12:01:10"]);
    forced.then().at("12:01:10").expect_containing(&["outcome Interrupted Deleted", "AttemptOverdue False"]);
}

#[test]
fn d_has_ended_when_it_is_gone() {
    given().running(1, "10:00:00").at("10:11:00").expect_containing(&["outcome Interrupted Deleted"]);
}

#[test]
fn finished_pods_are_kept_up_to_the_limit_and_the_oldest_go_after_the_create() {
    let given = given().running(5, "10:00:00").spec(json!({ "podHistoryLimit": 2 }));
    let given = (1..=4).fold(given, |given, attempt| given.pod(finished(attempt).released()));
    let planned = given.pod(pod(5).ran("10:00:00", "10:10:00", 75)).at("10:10:01");
    let steps: Vec<_> = planned.plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["create pod t-6", "release pod t-5", "delete pod t-3", "delete pod t-2", "delete pod t-1"]);
}

#[test]
fn the_last_pod_is_kept_while_its_successor_does_not_exist() {
    let given = given().running(2, "10:00:00").spec(json!({ "podHistoryLimit": 1 })).pod(finished(1).released());
    let planned = given.pod(pod(2).ran("10:00:00", "10:10:00", 1)).at("10:10:01");
    let steps: Vec<_> = planned.plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["release pod t-2", "delete pod t-1"]);
}

/// A create of another operator, or one that was given up, may be on its way. Else there is nothing to wait for.
#[test]
fn a_pod_does_not_vanish_while_another_create_may_come_under_its_name() {
    let deleted = || given().late_creates(LateCreates::Any).ended(1).pod(finished(1).deleted("10:00:05", 0));
    let suspended = deleted().edited(json!({ "suspend": true })).at("10:00:10");
    let held = suspended.expect_containing(&["wake 10:00:30"]).expect_without(&["release"]).then();
    held.at("10:00:30").expect(["release pod t-1"]);
    let late = LateCreates::Of(vec!["t-1".into()]);
    let short = given().late_creates(late).running(2, "10:00:20").spec(json!({ "podHistoryLimit": 1 }));
    let short = short.pod(finished(1).released());
    let short = short.pod(pod(2).ran("10:00:20", "10:00:25", 75)).at("10:00:26");
    short.expect_containing(&["create pod t-3", "wake 10:00:30"]).expect_without(&["delete"]);
    let certain = given().late_creates(LateCreates::Of(vec!["t-7".into()])).ended(1);
    certain.pod(finished(1).deleted("10:00:05", 0)).at("10:00:10").expect_containing(&["release pod t-1"]);
}

#[test]
fn a_pod_of_an_earlier_attempt_that_still_runs_is_deleted_and_waited_for() {
    let given = given().ended(2).pod(pod(1).runs("09:00:00"));
    given.at("10:00:00").expect([
        "phase Pending WaitingForOldPod",
        "delete pod t-1",
        "release pod t-1",
        "wake 10:00:01",
    ]);
}

#[test]
fn the_pod_of_a_withdrawn_attempt_is_deleted_and_waited_for() {
    let given = given().attempt(2, AttemptState::Withdrawn, "").pod(pod(2).runs("09:59:59"));
    let going = given.at("10:00:00").expect([
        "phase Pending WaitingForOldPod",
        "attempt 2 Ended",
        "delete pod t-2",
        "release pod t-2",
        "wake 10:00:01",
    ]);
    let over = going.then().each_pod(|_| finished(2)).at("10:00:01");
    over.expect_containing(&["attempt 3 Creating", "create pod t-3"]);
}

#[test]
fn a_withdrawn_number_that_had_a_pod_after_all_is_not_used_again() {
    let suspended = given().attempt(2, AttemptState::Withdrawn, "").edited(json!({ "suspend": true })).at("10:00:00");
    let came = suspended.then().pod(pod(2).runs("10:00:00")).at("10:00:01");
    let came = came.expect(["attempt 2 Ended", "delete pod t-2", "release pod t-2"]);
    let resumed = came.then().gone().edited(json!({ "suspend": false })).at("10:01:00");
    resumed.expect_containing(&["attempt 3 Creating", "create pod t-3"]);
}

#[test]
fn a_pod_that_the_status_does_not_know_of_is_waited_for_and_its_number_is_not_used_again() {
    // A status that was lost, or a reading that is old.
    let given = given().begun().pod(pod(3).runs("09:00:00"));
    let planned = given.at("10:00:00").expect([
        "phase Pending WaitingForOldPod",
        "delete pod t-3",
        "release pod t-3",
        "wake 10:00:01",
    ]);
    let over = planned.then().each_pod(|_| finished(3).deleted("10:00:30", 30));
    over.at("10:00:01").expect_containing(&["attempt 4 Creating", "create pod t-4", "release pod t-3"]);
}

/// A restored backup, a lost status, a create that came late. An old reading must not delete what a newer status wants, so
/// that the status is written first, even as it is.
#[test]
fn a_pod_beyond_the_last_attempt_is_let_go_in_every_phase_behind_a_write() {
    let phases = [Phase::Waiting, Phase::Suspended, Phase::Succeeded, Phase::Failed, Phase::Cancelled];
    for phase in phases {
        let known = || {
            given().ended(2).in_phase(phase).edited(json!({ "suspend": phase == Phase::Suspended })).status(|status| {
                status.next_attempt_time = Some(crate::support::t("10:30:00"));
            })
        };
        for (stray, steps) in
            [(pod(7).runs("09:00:00"), &["delete pod t-7", "release pod t-7"][..]), (finished(7), &["release pod t-7"])]
        {
            let planned = known().pod(stray).at("10:00:00");
            assert!(planned.plan.status.is_some(), "{phase:?}: guarded");
            let taken: Vec<_> = planned.plan.steps.iter().map(ToString::to_string).collect();
            assert_eq!(taken, steps, "{phase:?}");
        }
    }
}

#[test]
fn a_pod_beyond_the_attempt_that_runs_is_let_go_too() {
    let given = given().running(2, "10:00:00").pod(pod(2).runs("10:00:00").deadline(3601)).pod(pod(5).runs("09:00:00"));
    let planned = given.at("10:00:10");
    assert!(planned.plan.status.is_some());
    planned.expect_containing(&["delete pod t-5", "release pod t-5"]);
}

#[test]
fn an_old_pod_that_does_not_go_is_shown() {
    let stuck = || given().ended(2).pod(pod(1).runs("09:00:00").deleted("10:00:30", 30).released());
    stuck().at("10:00:39").expect_without(&["Blocked"]);
    let planned = stuck().at("10:00:40").expect_containing(&["Blocked True WaitingForOldPod", "Warning Blocked"]);
    assert!(planned.note("Blocked").contains("pod t-1 on node node-1"), "{}", planned.note("Blocked"));
    planned.then().gone().at("10:00:50").expect_containing(&["Blocked False", "create pod t-3"]);
}

#[test]
fn a_stray_of_a_finished_task_is_deleted_and_not_counted() {
    let given = given().ended(2).in_phase(Phase::Succeeded);
    given.pod(pod(2).runs("09:59:59")).at("10:00:00").expect(["delete pod t-2", "release pod t-2"]);
}

#[test]
fn a_pod_of_an_earlier_task_is_let_go_and_waited_for_while_it_is_on_its_way_out() {
    let given = given().begun().foreign(pod(1).runs("09:00:00").deleted("10:00:10", 30));
    given.at("10:00:00").expect(["phase Pending WaitingForOldTask", "release pod t-1", "wake 10:00:01"]);
}

/// A pod of an earlier task that has lost its owner, `--cascade=orphan`, lives on for itself.
#[test]
fn pods_of_an_earlier_task_are_waited_for_only_while_something_ends_them() {
    let orphan = || pod(7).runs("09:00:00").merged(json!({ "metadata": { "ownerReferences": [] } }));
    let waits_for = |foreign| {
        let planned = given().begun().foreign(foreign).at("10:00:00");
        planned.status().reason == "WaitingForOldTask"
    };
    assert!(waits_for(pod(7).runs("09:00:00")), "the garbage collector takes it");
    assert!(waits_for(orphan().deleted("10:00:10", 30)), "somebody has deleted it");
    assert!(!waits_for(orphan()));
    assert!(!waits_for(pod(7).ran("09:00:00", "09:10:00", 0)), "it has ended");
    assert!(!waits_for(pod(7).ran("09:00:00", "09:10:00", 0).deleted("10:00:10", 30)), "it has ended");
}

#[test]
fn nothing_is_created_once_the_task_is_being_deleted() {
    given().being_deleted().at("10:00:00").expect([]);
    let given = given().running(2, "10:00:00").pod(finished(1).released()).pod(pod(2).ran("10:00:00", "10:10:00", 1));
    given.being_deleted().at("10:10:01").expect(["release pod t-2"]);
}

#[test]
fn a_task_of_another_controller_is_left_alone() {
    let given = given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:10:00", 1));
    given.spec(json!({ "managedBy": "example.com/other" })).at("10:10:01").expect([]);
}

#[test]
fn deleting_the_pods_of_a_finished_task_starts_nothing() {
    let done = given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:01:00", 0)).at("10:01:01").then();
    done.each_pod(|pod| pod.deleted("10:02:00", 0)).at("10:02:00").expect([]);
}

#[test]
fn an_edit_of_a_finished_task_is_answered_once() {
    let done = given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:01:00", 0)).at("10:01:01").then();
    let planned =
        done.edited(json!({ "segment": { "duration": "2h" } })).at("10:02:00").expect(["Warning EditIgnored"]);
    let status = planned.status();
    assert!(status.observed_generation == 2);
    assert!(status.conditions.iter().all(|condition| condition.observed_generation == Some(2)));
}

/// Nobody else would let go of it: it is asked for only while its attempt is under way.
/// Else nothing would find it when its task is deleted, and it would hang for ever.
#[test]
fn a_label_that_somebody_took_off_or_changed_is_put_back_while_the_attempt_runs() {
    let running = || pod(1).runs("10:00:00").deadline(3601);
    for labels in [json!(null), json!({ "longtask.dev/task": "other" })] {
        let touched = running().merged(json!({ "metadata": { "labels": labels } }));
        let planned = given().running(1, "10:00:00").pod_out_of_sight(touched).at("10:10:00");
        let steps: Vec<_> = planned.plan.steps.iter().map(ToString::to_string).collect();
        assert_eq!(steps, ["restore the label of t-1"]);
        assert!(planned.plan.status.is_none(), "the attempt goes on");
    }
    given().running(1, "10:00:00").pod(running()).at("10:10:00").expect_without(&["restore"]);
}

#[test]
fn a_pod_that_lost_its_label_is_let_go_with_its_last_look() {
    let attempt = || given().running(1, "10:00:00");
    let ended = || pod(1).ran("10:00:00", "10:10:00", 75);
    let counted = attempt().pod_out_of_sight(ended()).at("10:10:01");
    counted.expect_containing(&["outcome Yielded exit 75", "create pod t-2", "release pod t-1"]);
    let runs = || attempt().pod_out_of_sight(pod(1).runs("10:00:00").deadline(3601));
    runs().at("10:10:00").expect_without(&["release", "create"]);
    runs().being_deleted().at("10:10:00").expect(["release pod t-1"]);
}
