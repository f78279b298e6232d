//! `kueue.quota: PerRun`: attempts that follow each other are one pod group for Kueue, and the last pod of it gives the quota back.

use longtask::api::task::Phase;
use serde_json::json;

use crate::support::{Given, Planned, PodBuilder, given, pod};

/// The group that attempt 1 of the task begins.
const FIRST: &str = "t-1-task-uid";

fn per_run() -> Given {
    let labels = json!({ "kueue.x-k8s.io/queue-name": "team" });
    given().spec(json!({ "kueue": { "quota": "PerRun" }, "template": { "metadata": { "labels": labels } } }))
}

/// Its first attempt, whose pod is as it was created.
fn first() -> Given {
    per_run().at("10:00:00").expect_containing(&["create pod t-1", &format!("group {FIRST}")]).then()
}

/// Likewise, and what is made of that pod.
fn first_pod(change: impl Fn(PodBuilder) -> PodBuilder) -> Given {
    first().each_pod(change)
}

fn segment_ended(pod: PodBuilder) -> PodBuilder {
    pod.ran("10:00:02", "10:15:00", 75)
}

fn group(planned: &Planned) -> Option<String> {
    planned.status().current_attempt.expect("an attempt").pod_group
}

const RETURN: &[&str] = &["return the quota of"];

#[test]
fn the_next_segment_takes_the_place_of_the_one_before() {
    let second = first_pod(segment_ended).at("10:15:00");
    let second = second.expect_containing(&["create pod t-2"]).expect_without(RETURN);
    assert_eq!(group(&second).as_deref(), Some(FIRST));
    let third = second.then().only(segment_ended(pod(2)).in_group(FIRST)).at("10:15:00");
    let third = third.expect_containing(&["create pod t-3"]).expect_without(RETURN);
    assert_eq!(group(&third).as_deref(), Some(FIRST));
}

#[test]
fn a_task_that_does_not_ask_for_it_has_no_group() {
    let asks_for_each = per_run().spec(json!({ "kueue": { "quota": "PerSegment" } })).at("10:00:00");
    assert_eq!(group(&asks_for_each), None);
    assert_eq!(group(&given().at("10:00:00")), None);
}

#[test]
fn who_waits_for_a_retry_gives_the_quota_back_before_the_pod_is_let_go() {
    let failed = first_pod(|pod| pod.ran("10:00:02", "10:05:00", 1)).at("10:05:00");
    let failed = failed.expect_containing(&["phase Waiting Error", "group -"]);
    let steps: Vec<_> = failed.plan.steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["return the quota of t-1", "release pod t-1"]);
    let due = failed.then().at("10:15:00").expect_containing(&["create pod t-2"]).expect_without(RETURN);
    assert_eq!(group(&due).as_deref(), Some("t-2-task-uid"));
}

#[test]
fn an_interruption_keeps_the_quota() {
    let evicted = first_pod(|pod| {
        pod.ran("10:00:02", "10:05:00", 143).disrupted("EvictionByEvictionAPI", "10:04:59").deleted("10:05:30", 30)
    });
    let waits = evicted.at("10:05:00").expect_containing(&["phase Waiting Evicted", "wake 10:05:01"]);
    let waits = waits.expect_without(RETURN);
    assert_eq!(group(&waits).as_deref(), Some(FIRST));
    let next = waits.then_clone().at("10:05:01").expect_containing(&["create pod t-2"]).expect_without(RETURN);
    assert_eq!(group(&next).as_deref(), Some(FIRST));
    // A pause that comes in between is no short one.
    let paused = waits.then().edited(json!({ "suspend": true })).at("10:05:01");
    paused.expect_containing(&["phase Suspended SuspendedByUser", "group -", "return the quota of t-1"]);
}

#[test]
fn whatever_ends_a_row_of_attempts_gives_the_quota_back() {
    let stopped = first_pod(|pod| pod.scheduled("10:00:01").runs("10:00:02").deadline(3601));
    for (edit, phase) in [(json!({ "suspend": true }), Phase::Suspended), (json!({ "cancel": true }), Phase::Cancelled)]
    {
        let stopping = stopped.clone().edited(edit).at("10:10:00").expect_without(RETURN).then();
        let over = stopping.each_pod(|pod| pod.ran("10:00:02", "10:10:02", 0).because("DeadlineExceeded"));
        let over = over.at("10:10:03").expect_containing(&["group -", "return the quota of t-1"]);
        assert_eq!(over.status().phase, Some(phase));
    }
    let limited = first_pod(segment_ended).edited(json!({ "limits": { "segments": 1 } })).at("10:15:00");
    limited.expect_containing(&["phase Failed SegmentLimitReached", "group -", "return the quota of t-1"]);
}

#[test]
fn a_pod_that_ended_well_has_given_its_quota_back() {
    let done = first_pod(|pod| pod.ran("10:00:02", "10:05:00", 0)).at("10:05:00");
    done.expect_containing(&["phase Succeeded", "group -"]).expect_without(RETURN);
    // Kueue takes a group for finished then, also if the program means only its segment.
    let goes_on = first().edited(json!({ "segment": { "continueExitCodes": [0] } }));
    let goes_on = goes_on.each_pod(|pod| pod.ran("10:00:02", "10:05:00", 0)).at("10:05:00").expect_without(RETURN);
    let group = group(&goes_on);
    assert!(group.is_none_or(|group| group != FIRST), "no pod takes its place");
}

#[test]
fn another_pod_begins_another_group() {
    let edit = json!({ "template": { "spec": { "priorityClassName": "high" } } });
    let edited = first_pod(segment_ended).edited(edit.clone()).at("10:15:00");
    let edited = edited.expect_containing(&["create pod t-2", "return the quota of t-1"]);
    assert_eq!(group(&edited).as_deref(), Some("t-2-task-uid"));
    // Before its pod exists: the number stays.
    let second = first_pod(segment_ended).at("10:15:00").then().only(segment_ended(pod(1)).in_group(FIRST));
    let second = second.edited(edit).at("10:15:01").expect_containing(&["create pod t-2", "return the quota of t-1"]);
    assert_eq!(group(&second).as_deref(), Some("t-2-task-uid"));
}

#[test]
fn a_rule_that_changes_what_the_next_pod_asks_for_begins_another_group() {
    let rules = json!([{ "name": "bad-node", "onReasons": ["Evicted"], "action": "Ignore", "avoidNode": true }]);
    let evicted = first().spec(json!({ "failurePolicy": { "rules": rules } })).each_pod(|pod| {
        pod.ran("10:00:02", "10:05:00", 143).disrupted("EvictionByEvictionAPI", "10:04:59").deleted("10:05:30", 30)
    });
    let evicted = evicted.at("10:05:00").expect_containing(&["group -", "return the quota of t-1"]);
    assert_eq!(evicted.status().avoid_nodes, ["node-1"]);
}

#[test]
fn quota_is_given_back_until_kueue_has_been_told() {
    let ended = || per_run().ended(1).status(|status| status.phase = Some(Phase::Suspended));
    let ended = || ended().edited(json!({ "suspend": true }));
    let served = || segment_ended(pod(1)).in_group(FIRST).released();
    ended().pod(served()).at("10:20:00").expect_containing(&["return the quota of t-1"]);
    ended().pod(served().returning_quota()).at("10:20:00").expect_without(RETURN);
    // The last one of a group speaks for it.
    let last = segment_ended(pod(2)).in_group(FIRST).released();
    let two = per_run().ended(2).edited(json!({ "suspend": true })).pod(served()).pod(last);
    two.at("10:20:00").expect_containing(&["return the quota of t-2"]).expect_without(&["return the quota of t-1"]);
}

/// It may be of an attempt whose status has not been read yet: such a plan has to be made from the newest.
#[test]
fn an_old_reading_gives_no_quota_back() {
    let unknown = || segment_ended(pod(2)).in_group("t-2-task-uid").released();
    let paused = per_run().ended(1).edited(json!({ "suspend": true })).pod(unknown()).at("10:20:00").then();
    // Nothing else is left to do or to write.
    let planned = paused.clone().only(unknown()).at("10:20:00").expect(["return the quota of t-2"]);
    assert!(planned.plan.status.is_some(), "the write is refused if there is a newer one");
    let of_latest = paused.only(segment_ended(pod(1)).in_group(FIRST).released()).at("10:20:00");
    assert!(of_latest.expect(["return the quota of t-1"]).plan.status.is_none(), "it is known");
}
