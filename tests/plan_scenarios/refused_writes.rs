//! What the API server refuses beside a create is shown in its words, tried again, and taken back.

use longtask::{
    api::task::StopReason,
    task::plan::{PodRef, Step},
};
use serde_json::json;

use crate::support::{Given, given, pod};

fn pod_ref(attempt: i64) -> PodRef {
    PodRef { name: format!("t-{attempt}"), uid: format!("pod-{attempt}") }
}

fn lower() -> Step {
    Step::LowerDeadline { pod: pod_ref(1), seconds: 1 }
}

/// Neither may its deadline be lowered nor may it be deleted.
fn kept_alive(given: Given, words: &str) -> Given {
    given.refused_step(lower(), words).refused_step(Step::DeletePod(pod_ref(1)), words)
}

fn suspended() -> Given {
    given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601)).edited(json!({ "suspend": true }))
}

#[test]
fn a_stop_that_is_refused_is_shown_in_the_servers_words_and_tried_again_within_a_minute() {
    let asked = suspended().at("10:05:00").expect_containing(&["stop Suspend", "lower deadline of t-1 to 1"]).then();
    let refused =
        asked.each_pod(|_| pod(1).runs("10:00:00").deadline(3601)).refused_step(lower(), "pods are not to change");
    let shown = refused.at("10:05:00").expect([
        "WriteRefused True StopRefused",
        "delete pod t-1",
        "Warning WriteRefused",
        "wake 10:05:05",
    ]);
    let note = shown.note("WriteRefused");
    assert!(
        note.starts_with(
            "To lower activeDeadlineSeconds of pod t-1 is refused (Forbidden): pods are not to change. What to do: "
        ),
        "{note}"
    );
    let again = shown.then().each_pod(|_| pod(1).runs("10:00:00").deadline(3601)).at("10:05:05");
    assert_eq!(again.plan.steps, [lower()], "it is tried again");
    assert!(again.plan.status.is_none() && again.plan.events.is_empty(), "and shown as before: {:?}", again.plan);
}

#[test]
fn what_is_refused_for_long_is_tried_once_a_minute_and_told_once() {
    let stopping = suspended().stopping(StopReason::Suspend, "10:05:00");
    let shown = kept_alive(stopping, "no").at("10:05:01").then();
    let still = kept_alive(shown, "no, request 4711").at("10:09:00");
    still.expect_containing(&["wake 10:10:00"]).expect_without(&["WriteRefused", "Warning WriteRefused"]);
}

#[test]
fn a_refusal_is_not_taken_back_while_another_write_is_tried() {
    let shown = suspended().stopping(StopReason::Suspend, "10:05:00").refused_step(lower(), "no").at("10:05:01").then();
    let ended = shown.only(pod(1).ran("10:00:00", "10:05:03", 75).deleted("10:05:03", 0)).at("10:05:04");
    let shown = ended.status().conditions.into_iter().find(|known| known.type_ == "WriteRefused").expect("shown");
    assert_eq!((shown.status.as_str(), ended.plan.steps.len()), ("True", 1), "the release may be refused as well");
    ended.then().at("10:05:05").expect_containing(&["WriteRefused False"]);
}

#[test]
fn another_refusal_of_the_same_write_is_told_in_its_own_words() {
    let asked = suspended().stopping(StopReason::Suspend, "10:05:00");
    let broken = asked.refused_step_by("NoConnection", Step::DeletePod(pod_ref(1)), "reset");
    let broken = broken.refused_step_by("NoConnection", lower(), "reset").at("10:05:01");
    assert!(broken.note("WriteRefused").contains("(NoConnection): reset"), "{}", broken.note("WriteRefused"));
    let refused = kept_alive(broken.then(), "pods are not to change").at("10:05:10");
    assert!(refused.note("WriteRefused").contains("(Forbidden): pods are not to change"));
}

#[test]
fn a_refusal_is_forgotten_when_the_write_is_done() {
    let shown = suspended().stopping(StopReason::Suspend, "10:05:00").refused_step(lower(), "no").at("10:05:01").then();
    let done = shown.each_pod(|_| pod(1).runs("10:00:00").deadline(1)).at("10:05:06");
    done.expect_containing(&["WriteRefused False"]).expect_without(&["lower"]);
}

#[test]
fn an_attempt_that_may_not_be_stopped_is_overdue_for_that_and_its_node_is_not_blamed() {
    let stopping = suspended().stopping(StopReason::Suspend, "10:05:00");
    let shown = kept_alive(stopping, "no").at("10:05:01").then();
    let planned = kept_alive(shown, "no").at("10:07:00");
    let note = planned.note("AttemptOverdue");
    assert!(note.contains("does not let the operator stop it") && !note.contains("node"), "{note}");
    planned.expect_containing(&["AttemptOverdue True WriteRefused"]);
}

/// A delete stops as gracefully, and our finalizer keeps the pod: what the user asked for happens all the same.
#[test]
fn a_segment_that_cannot_be_kept_to_its_time_by_its_deadline_is_ended_by_a_delete() {
    let step = || Step::LowerDeadline { pod: pod_ref(1), seconds: 3601 };
    let long = || given().running(1, "10:00:00").pod(pod(1).runs("10:00:00"));
    let early = long().refused_step(step(), "no updates").at("10:59:30");
    assert!(early.note("WriteRefused").contains("it will be deleted instead"), "{}", early.note("WriteRefused"));
    early.expect_containing(&["WriteRefused True StopRefused", "wake 10:59:35"]).expect_without(&["stop", "delete"]);
    let before = long().refused_step(step(), "no updates").at("10:30:00").then();
    before.refused_step(step(), "no updates").at("10:59:59").expect_containing(&["wake 11:00:00"]);
    let over = long().refused_step(step(), "no updates").at("11:00:00");
    let over = over.expect_containing(&["phase Stopping TimeLimit", "stop TimeLimit", "delete pod t-1"]).then();
    let ended = over.only(pod(1).ran("10:00:00", "11:00:02", 75).deleted("11:00:02", 0)).at("11:00:03");
    ended.expect_containing(&["outcome TimeLimit exit 75", "attempt 2 Creating"]);
}

#[test]
fn each_refused_write_has_its_reason() {
    let ended = || given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:01:00", 0)).at("10:01:01").then();
    let held = || ended().each_pod(|_| pod(1).ran("10:00:00", "10:01:00", 0));
    held()
        .refused_step(Step::ReleasePod(pod_ref(1)), "keep it")
        .at("10:01:01")
        .expect_containing(&["WriteRefused True ReleaseRefused"]);
    ended()
        .spec(json!({ "ttlAfterFinished": "1m" }))
        .refused_step(Step::DeleteTask, "keep it")
        .at("10:05:00")
        .expect_containing(&["WriteRefused True TaskDeletionRefused"]);
    let waiting = given().creating(1).pod(pod(1).scheduled("10:00:01")).edited(json!({ "suspend": true }));
    waiting
        .refused_step(Step::DeletePod(pod_ref(1)), "keep it")
        .at("10:00:05")
        .expect_containing(&["WriteRefused True DeletionRefused"]);
}

#[test]
fn a_task_that_goes_tells_by_an_event_what_keeps_its_pods() {
    let going = given().running(1, "10:00:00").pod(pod(1).ran("10:00:00", "10:10:00", 1)).being_deleted();
    let planned = going.refused_step(Step::ReleasePod(pod_ref(1)), "keep it").at("10:10:01");
    assert!(planned.note("WriteRefused").contains("take the finalizer longtask.dev/outcome off pod t-1"));
    assert_eq!(planned.plan.events[0].pod, Some(pod_ref(1)), "people look for it there");
    planned.expect(["Warning WriteRefused", "wake 10:10:31"]);
}

#[test]
fn a_refusal_to_let_an_old_pod_go_is_no_excuse_for_one_that_does_not_end() {
    let release = || Step::ReleasePod(pod_ref(1));
    let running = given().running(2, "10:00:00").pod(pod(1).ran("09:00:00", "09:10:00", 1));
    let running = running.pod(pod(2).runs("10:00:00").deadline(3601)).refused_step(release(), "no");
    let overdue = running.at("11:01:30");
    let overdue = overdue.expect_containing(&["WriteRefused True ReleaseRefused", "AttemptOverdue True PodDoesNotEnd"]);
    let later = overdue.then().refused_step(release(), "no").at("11:01:35");
    later.expect_without(&["AttemptOverdue", "Warning"]);
}

#[test]
fn a_refusal_that_is_shown_excuses_a_pod_while_its_stop_is_tried_again() {
    let stopping = suspended().stopping(StopReason::Suspend, "10:05:00");
    let shown = kept_alive(stopping, "no").at("10:05:01").then();
    let again = shown.at("10:07:00");
    assert!(again.note("AttemptOverdue").contains("does not let the operator stop it"), "{:?}", again.plan.events);
}

#[test]
fn a_step_that_is_refused_for_one_pod_is_taken_for_another() {
    let finished = |number| pod(number).ran("09:00:00", "09:10:00", 1);
    let given = given().ended(2).pod(finished(1)).pod(finished(2)).refused_step(Step::ReleasePod(pod_ref(1)), "no");
    given.at("10:00:00").expect_containing(&["WriteRefused True ReleaseRefused", "release pod t-2"]);
}

#[test]
fn another_write_that_is_refused_in_the_same_words_is_told_in_its_place() {
    let shown = suspended().stopping(StopReason::Suspend, "10:05:00").refused_step(lower(), "no").at("10:05:01").then();
    let ended = shown.only(pod(1).ran("10:00:00", "10:05:03", 75)).refused_step(Step::ReleasePod(pod_ref(1)), "no");
    ended.at("10:05:04").expect_containing(&["WriteRefused True ReleaseRefused", "Warning WriteRefused"]);
}
