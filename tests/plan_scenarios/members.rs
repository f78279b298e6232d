//! A task that is a member of a set: it looks at its set, and obeys.

use longtask::{
    api::{
        parent::Parent,
        task::{LongTaskStatus, Phase, StopReason},
    },
    types::mark_true,
};
use serde_json::json;

use crate::support::{Given, given, pod, t};

/// What a member sees in this round while it has its turn.
fn turn(round: i64) -> Parent {
    Parent { round, active: true, suspend: false, stop: false, renew: false }
}

fn stop(round: i64) -> Parent {
    Parent { stop: true, ..turn(round) }
}

fn idle(round: i64) -> Parent {
    Parent { active: false, ..turn(round) }
}

/// Ended in this phase, in this round.
fn ended(phase: Phase, round: i64) -> Given {
    given().begun().ended(4).in_phase(phase).status(|status| {
        status.completion_time = Some(t("09:59:00"));
        status.run.round = round;
        status.observed_generation = 1;
    })
}

fn held(round: i64) -> Given {
    given().ended(4).in_phase(Phase::Suspended).status(|status| {
        mark_true(&mut status.conditions, "Suspended", "Held", "", t("09:40:00"));
        status.reason = "Held".into();
        status.consecutive.failures = 3;
        status.run.round = round;
        status.observed_generation = 1;
    })
}

fn rounds(status: &LongTaskStatus) -> (i64, i64) {
    (status.run.number, status.run.round)
}

#[test]
fn a_member_starts_when_its_turn_has_come_and_notes_the_round() {
    let planned = given().in_set(turn(3)).at("10:00:00").expect_containing(&["create pod t-1"]);
    assert_eq!(rounds(&planned.status()), (1, 3));
}

#[test]
fn a_member_whose_turn_has_not_come_starts_nothing_and_says_so() {
    let planned = given().in_set(idle(1)).at("10:00:00");
    let planned = planned
        .expect_containing(&["phase Pending InactiveInSet"])
        .expect_without(&["create pod", "Normal AttemptStarting"]);
    assert_eq!(rounds(&planned.status()), (1, 0), "it takes no part in the round");
    planned.then().in_set(turn(1)).at("10:00:05").expect_containing(&["create pod t-1"]);
}

#[test]
fn a_member_whose_set_is_gone_starts_nothing() {
    given()
        .in_set(Parent::GONE)
        .at("10:00:00")
        .expect_containing(&["phase Pending InactiveInSet"])
        .expect_without(&["create pod"]);
    let between = ended(Phase::Waiting, 2);
    between.in_set(Parent::GONE).at("10:00:00").expect_without(&["create pod"]);
}

#[test]
fn a_task_that_was_left_behind_is_a_task_like_any_other() {
    ended(Phase::Waiting, 2).at("10:00:00").expect_containing(&["create pod t-5"]);
}

#[test]
fn an_old_reading_of_the_set_starts_and_stops_nothing() {
    ended(Phase::Waiting, 2).in_set(turn(1)).at("10:00:00").expect([""; 0]);
    let running = || {
        given().running(1, "10:00:00").status(|status| status.run.round = 2).pod(pod(1).runs("10:00:00").deadline(3600))
    };
    running().in_set(stop(1)).at("10:05:00").expect_without(&["lower deadline of", "Normal StopRequested"]);
    running().in_set(Parent { suspend: true, ..turn(1) }).at("10:05:00").expect_without(&["lower deadline of"]);
    ended(Phase::Failed, 2).in_set(turn(1)).at("10:00:00").expect([""; 0]);
}

#[test]
fn a_suspended_set_suspends_its_members_and_lets_them_go_on() {
    let running = given()
        .running(1, "10:00:00")
        .status(|status| status.run.round = 1)
        .pod(pod(1).runs("10:00:00").deadline(3600));
    let paused = Parent { suspend: true, ..turn(1) };
    running.in_set(paused).at("10:05:00").expect_containing(&["phase Stopping Suspend", "lower deadline of t-1 to 1"]);

    let idle = given().ended(1).status(|status| status.run.round = 1).in_set(paused).at("10:06:00");
    let idle = idle.expect_containing(&["phase Suspended SuspendedBySet", "Normal Suspended"]);
    let resumed = idle.then().in_set(turn(1)).at("10:08:00");
    let resumed = resumed.expect_containing(&["Normal Resumed", "create pod t-2"]);
    assert_eq!(resumed.status().run.suspended_seconds, 120);
    assert!(resumed.note("Resumed").contains("by its set"));
}

#[test]
fn what_its_user_suspends_stays_so_when_the_set_goes_on() {
    let both = given().spec(json!({ "suspend": true })).ended(1).status(|status| status.run.round = 1);
    let paused = both.in_set(Parent { suspend: true, ..turn(1) }).at("10:00:00");
    let paused = paused.expect_containing(&["phase Suspended SuspendedByUser"]);
    paused.then().in_set(turn(1)).at("10:01:00").expect_without(&["Normal Resumed", "create pod"]);
}

#[test]
fn a_set_that_stops_ends_each_member_by_the_members_own_write() {
    let running = given()
        .running(1, "10:00:00")
        .status(|status| status.run.round = 1)
        .pod(pod(1).runs("10:00:00").deadline(3600));
    running.in_set(stop(1)).at("10:05:00").expect_containing(&["phase Stopping Cancel", "lower deadline of t-1 to 1"]);

    let stopped = given()
        .running(1, "10:00:00")
        .stopping(StopReason::Cancel, "10:05:00")
        .status(|status| status.run.round = 1)
        .pod(pod(1).ran("10:00:00", "10:05:01", 143));
    let stopped = stopped.in_set(stop(1)).at("10:05:02");
    let stopped = stopped.expect_containing(&["phase Cancelled StoppedBySet", "Normal Cancelled"]);
    assert!(stopped.note("Cancelled").contains("by its set"));

    let unborn = given().in_set(stop(1)).at("10:00:00").expect_containing(&["phase Cancelled StoppedBySet"]);
    assert_eq!(rounds(&unborn.status()), (1, 1), "it says itself that it does not start in this round");
    held(1).in_set(stop(1)).at("10:00:00").expect_containing(&["phase Cancelled StoppedBySet"]);
}

#[test]
fn a_member_that_was_to_go_on_when_its_set_stops_is_stopped_in_that_round() {
    let planned = ended(Phase::Failed, 1).in_set(stop(2)).at("10:00:00");
    let planned = planned.expect_containing(&["phase Cancelled StoppedBySet"]).expect_without(&["create pod"]);
    assert_eq!(rounds(&planned.status()), (2, 2));
    ended(Phase::Failed, 2).in_set(stop(2)).at("10:00:00").expect([""; 0]);
    ended(Phase::Succeeded, 1).in_set(stop(2)).at("10:00:00").expect([""; 0]);
}

#[test]
fn another_round_takes_up_what_has_failed_and_never_a_success() {
    for phase in [Phase::Failed, Phase::Cancelled] {
        let planned = ended(phase, 1).in_set(turn(2)).at("10:00:00");
        let planned = planned.expect_containing(&["Normal Restarted", "create pod t-5"]);
        assert_eq!(rounds(&planned.status()), (2, 2), "{phase}");
    }
    ended(Phase::Succeeded, 1).in_set(turn(2)).at("10:00:00").expect([""; 0]);
    ended(Phase::Failed, 1).in_set(idle(2)).at("10:00:00").expect([""; 0]);
    ended(Phase::Failed, 2).in_set(turn(2)).at("10:00:00").expect([""; 0]);
}

#[test]
fn another_round_lets_a_held_member_go_on_in_the_same_run() {
    let planned = held(1).in_set(turn(2)).at("10:00:00").expect_containing(&["Normal Restarted", "create pod t-5"]);
    assert_eq!(rounds(&planned.status()), (1, 2));
    assert_eq!(planned.status().consecutive.failures, 0);
    held(2).in_set(turn(2)).at("10:00:00").expect([""; 0]);
}

#[test]
fn another_round_does_not_disturb_who_runs_and_is_noted_with_the_next_write() {
    let running = || {
        given().running(1, "10:00:00").status(|status| {
            status.run.round = 1;
            status.observed_generation = 1;
        })
    };
    running()
        .pod(pod(1).runs("10:00:00").deadline(3600))
        .in_set(turn(2))
        .at("10:05:00")
        .expect_without(&["lower deadline of", "create pod"]);
    let ended = running().pod(pod(1).ran("10:00:00", "10:04:00", 0)).in_set(turn(2)).at("10:05:00");
    let ended = ended.expect_containing(&["phase Succeeded"]);
    assert_eq!(rounds(&ended.status()), (1, 2));
}

#[test]
fn the_token_of_a_member_is_its_users_whatever_the_round() {
    let restarted =
        ended(Phase::Failed, 2).edited(json!({ "restart": { "token": "v2" } })).in_set(idle(2)).at("10:00:00");
    let restarted = restarted.expect_containing(&["create pod t-5"]);
    assert_eq!(rounds(&restarted.status()), (2, 2), "it goes on although its turn is over: by hand");
    let round = ended(Phase::Failed, 1).in_set(turn(2)).at("10:00:00").status();
    assert_eq!(round.run.restart_token, None);
}

#[test]
fn a_members_own_time_to_live_is_not_asked() {
    let spec = json!({ "ttlAfterFinished": "1m", "ttlAfterFailed": "1m" });
    ended(Phase::Failed, 1).spec(spec.clone()).at("11:00:00").expect_containing(&["delete the task"]);
    ended(Phase::Failed, 1).spec(spec).in_set(turn(1)).at("11:00:00").expect([""; 0]);
}

#[test]
fn a_round_that_renews_waits_for_the_template_and_then_takes_it_once() {
    let renew = Parent { renew: true, ..turn(2) };
    let failed = || ended(Phase::Failed, 1).spec(json!({ "templateRef": { "name": "x" } }));
    let blocked = failed().template_missing().in_set(renew).at("10:00:00");
    blocked.expect_containing(&["Warning Blocked"]).expect_without(&[
        "create pod",
        "fill in the task",
        "Normal Restarted",
    ]);
    let newer = json!({ "template": { "spec": { "containers": [{ "name": "main", "image": "i:2" }] } } });
    let filled = failed().template(7, newer.clone()).in_set(renew).at("10:00:00");
    let filled = filled.expect_containing(&["Normal FilledIn"]).expect_without(&["create pod"]);
    let begun = filled.then().in_set(renew).at("10:00:01").expect_containing(&["Normal Restarted", "create pod t-5"]);
    assert_eq!(rounds(&begun.status()), (2, 2));
    let stopped = failed().template_missing().in_set(Parent { stop: true, ..renew }).at("10:00:00");
    stopped.expect_containing(&["phase Cancelled StoppedBySet"]);
}

#[test]
fn an_attempt_that_is_decided_is_not_created_by_an_old_reading_of_the_set() {
    let unborn = || given().creating(1).status(|status| status.run.round = 2);
    unborn().in_set(turn(1)).at("10:00:01").expect_without(&["create pod"]);
    unborn().in_set(turn(2)).at("10:00:01").expect_containing(&["create pod t-1"]);
    unborn()
        .in_set(stop(2))
        .at("10:00:01")
        .expect_containing(&["phase Cancelled StoppedBySet"])
        .expect_without(&["create pod"]);
}
