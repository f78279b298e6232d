//! Another run of a task that has ended.

use longtask::{
    api::task::{AttemptState, Checkpoint, LongTaskStatus, Phase},
    task::plan::{PodRef, Step},
};
use serde_json::{Value, json};

use crate::support::{Given, Planned, given, pod, t};

fn checkpoint(sequence: i64) -> Checkpoint {
    serde_json::from_value(json!({
        "sequence": sequence, "attempt": sequence, "segment": sequence, "recordTime": "2026-11-24T09:10:00Z",
        "data": { "offset": sequence },
    }))
    .expect("a checkpoint")
}

/// Failed in its fourth attempt, with checkpoints 7 to 9, created with the token `v1`.
fn failed() -> Given {
    given().spec(json!({ "restart": { "token": "v1" } })).begun().ended(4).in_phase(Phase::Failed).status(|status| {
        status.reason = "FailureBudgetExhausted".into();
        status.completion_time = Some(t("09:59:00"));
        status.segment = 3;
        status.active_seconds = 500;
        status.retries = 2;
        status.consecutive.failures = 7;
        status.totals.failures = 7;
        status.run.high_water = Some(30);
        status.run.suspended_seconds = 5;
        status.checkpoint = Some(checkpoint(9));
        status.checkpoint_history = vec![checkpoint(8), checkpoint(7)];
        status.checkpoint_sequence = 9;
        status.observed_generation = 1;
    })
}

fn restarted(restart: Value) -> LongTaskStatus {
    failed().edited(json!({ "restart": restart })).at("10:00:00").status()
}

fn sequences(status: &LongTaskStatus) -> Vec<i64> {
    status.checkpoint.iter().chain(&status.checkpoint_history).map(|checkpoint| checkpoint.sequence).collect()
}

#[test]
fn the_token_that_a_task_is_created_with_is_only_recorded() {
    let planned = given().spec(json!({ "restart": { "token": "v1" } })).at("10:00:00");
    let status =
        planned.expect_containing(&["create pod t-1"]).expect_without(&["Warning", "Normal Restarted"]).status();
    assert_eq!((status.run.number, status.run.restart_token.as_deref()), (1, Some("v1")));
}

#[test]
fn another_run_does_not_use_the_number_that_was_withdrawn_in_the_one_before() {
    let withdrawn = failed().attempt(5, AttemptState::Withdrawn, "").in_phase(Phase::Failed);
    let planned = withdrawn.edited(json!({ "restart": { "token": "v2" } })).at("10:00:00");
    planned.expect_containing(&["attempt 6 Creating", "create pod t-6"]);
}

#[test]
fn a_new_token_begins_another_run_with_everything_set_back() {
    let planned = failed().edited(json!({ "restart": { "token": "v2" } })).at("10:00:00");
    let status = planned.expect_containing(&["attempt 5 Creating", "create pod t-5", "Normal Restarted"]).status();
    assert_eq!((status.run.number, status.run.restart_token.as_deref()), (2, Some("v2")));
    assert_eq!((status.run.start_time, status.completion_time), (Some(t("10:00:00")), None));
    assert_eq!((status.run.high_water, status.run.suspended_seconds), (None, 0));
    assert_eq!((status.segment, status.active_seconds, status.retries), (1, 0, 0));
    assert_eq!((status.consecutive.failures, status.totals.failures, status.totals.attempts), (0, 0, 0));
    assert_eq!(sequences(&status), [9, 8, 7]);
    assert_eq!(status.phase, Some(Phase::Pending));
}

#[test]
fn another_run_knows_what_came_before_it() {
    let past = json!({
        "number": 4, "segment": 3, "outcome": "Failed", "reason": "Error", "finishedAt": "2026-11-24T09:58:00Z",
    });
    let past = serde_json::from_value(past).expect("an attempt");
    let before = failed().status(|status| status.recent_attempts = vec![past]);
    let status = before.edited(json!({ "restart": { "token": "v2" } })).at("10:00:00").status();
    let numbers: Vec<_> = status.recent_attempts.iter().map(|attempt| attempt.number).collect();
    assert_eq!((numbers, status.checkpoint_sequence, status.observed_generation), (vec![4], 9, 2));
    let reconciling = status.conditions.iter().find(|condition| condition.type_ == "Reconciling").expect("a condition");
    assert_eq!((reconciling.status.as_str(), reconciling.reason.as_str()), ("True", "Restarted"));
}

#[test]
fn the_same_token_starts_nothing() {
    failed().at("10:00:00").expect([]);
    let edited = failed().edited(json!({ "retry": { "budgets": { "failures": 9 } } })).at("10:00:00");
    edited.expect_containing(&["Warning EditIgnored"]).expect_without(&["create", "attempt"]);
}

#[test]
fn a_run_begins_where_it_is_told() {
    let latest = restarted(json!({ "token": "v2", "from": "Latest" }));
    assert_eq!(sequences(&latest), [9, 8, 7]);
    assert_eq!(latest.checkpoint.map(|checkpoint| checkpoint.sequence), Some(9), "the first is the current one");
    assert_eq!(sequences(&restarted(json!({ "token": "v2", "from": "Beginning" }))), [0_i64; 0]);
    let from_eight = json!({ "token": "v2", "from": "Checkpoint", "checkpointSequence": 8 });
    assert_eq!(sequences(&restarted(from_eight)), [8, 7]);
}

/// The prefix of idempotency keys in the next pod.
fn prefix(planned: &Planned) -> String {
    let pod = planned.plan.steps.iter().find_map(|step| match step {
        Step::CreatePod(pod) => pod.spec.as_ref(),
        _ => None,
    });
    let variables = pod.expect("a pod is created").containers[0].env.iter().flatten();
    let mut prefixes = variables.filter(|variable| variable.name == "LONGTASK_IDEMPOTENCY_PREFIX");
    prefixes.next().and_then(|variable| variable.value.clone()).expect("it has a value")
}

#[test]
fn work_that_goes_on_keeps_its_idempotency_keys() {
    let first = given().at("10:00:00");
    assert_eq!(prefix(&first), "task-uid/1");
    let restarted = |restart: Value| failed().edited(json!({ "restart": restart })).at("10:00:00");
    for kept in [
        json!({ "token": "v2" }),
        json!({ "token": "v2", "from": "Latest" }),
        json!({ "token": "v2", "from": "Checkpoint", "checkpointSequence": 8 }),
    ] {
        assert_eq!(prefix(&restarted(kept.clone())), "task-uid/1", "{kept}");
    }
    let none_reported = failed().status(|status| {
        (status.checkpoint, status.checkpoint_history) = (None, vec![]);
    });
    assert_eq!(prefix(&none_reported.edited(json!({ "restart": { "token": "v2" } })).at("10:00:00")), "task-uid/1");
}

#[test]
fn a_restart_from_the_beginning_has_new_idempotency_keys() {
    let again = failed().edited(json!({ "restart": { "token": "v2", "from": "Beginning" } })).at("10:00:00");
    assert_eq!(prefix(&again), "task-uid/2");
    let failed_again = failed().status(|status| status.run = again.status().run);
    let redriven = failed_again.edited(json!({ "restart": { "token": "v3", "from": "Latest" } })).at("11:00:00");
    assert_eq!((prefix(&redriven).as_str(), redriven.status().run.number), ("task-uid/2", 3));
}

#[test]
fn a_status_that_does_not_count_beginnings_goes_on_with_the_keys_of_its_run() {
    let old = failed().status(|status| (status.run.number, status.run.beginnings) = (3, 0));
    let latest = old.clone().edited(json!({ "restart": { "token": "v2" } })).at("10:00:00");
    assert_eq!(prefix(&latest), "task-uid/3");
    let beginning = old.edited(json!({ "restart": { "token": "v2", "from": "Beginning" } })).at("10:00:00");
    assert_eq!(prefix(&beginning), "task-uid/4");
}

#[test]
fn checkpoint_sequences_go_on_after_a_beginning() {
    let status = restarted(json!({ "token": "v2", "from": "Beginning" }));
    assert_eq!(status.checkpoint_sequence, 9);
}

#[test]
fn an_unknown_checkpoint_starts_nothing_and_is_answered_with_those_that_exist() {
    let wrong = json!({ "token": "v2", "from": "Checkpoint", "checkpointSequence": 3 });
    let planned = failed().edited(json!({ "restart": wrong })).at("10:00:00");
    assert!(planned.note("Blocked").contains("these exist: 9, 8, 7"), "{}", planned.note("Blocked"));
    let planned = planned
        .expect_containing(&["Blocked True UnknownCheckpoint"])
        .expect_without(&["create", "Warning EditIgnored"]);
    let right = json!({ "checkpointSequence": 7 });
    let planned = planned.then().edited(json!({ "restart": right })).at("10:00:05");
    let planned = planned.expect_containing(&["create pod t-5", "Blocked False"]);
    assert_eq!(sequences(&planned.status()), [7]);
}

#[test]
fn a_token_that_named_an_unknown_checkpoint_can_be_taken_back() {
    let wrong = json!({ "token": "v2", "from": "Checkpoint", "checkpointSequence": 3 });
    let blocked = failed().edited(json!({ "restart": wrong })).at("10:00:00").then();
    blocked.edited(json!({ "restart": { "token": "v1" } })).at("10:00:05").expect_containing(&["Blocked False"]);
}

#[test]
fn a_token_on_a_task_that_is_under_way_is_recorded_and_not_obeyed() {
    let planned = given().running(1, "10:00:00").edited(json!({ "restart": { "token": "v9" } })).at("10:01:00");
    let planned = planned.expect_containing(&["Warning RestartIgnored"]);
    assert_eq!(planned.status().run.number, 1);
    assert_eq!(planned.status().run.restart_token.as_deref(), Some("v9"));
}

#[test]
fn a_cancelled_task_runs_again_when_cancel_is_taken_back_with_a_new_token() {
    let cancelled = failed().in_phase(Phase::Cancelled).spec(json!({ "cancel": true }));
    let planned = cancelled.edited(json!({ "cancel": false, "restart": { "token": "v2" } })).at("10:00:00");
    planned.expect_containing(&["create pod t-5"]);
}

#[test]
fn what_is_shown_as_refused_is_not_told_again_by_another_run() {
    let release = || Step::ReleasePod(PodRef { name: "t-4".into(), uid: "pod-4".into() });
    let ended = failed().pod(pod(4).ran("09:00:00", "09:10:00", 1)).refused_step(release(), "no").at("09:59:30");
    let ended = ended.expect_containing(&["WriteRefused True ReleaseRefused", "Warning WriteRefused"]).then();
    let again = ended.edited(json!({ "restart": { "token": "v2" } })).refused_step(release(), "no").at("10:00:00");
    again.expect_containing(&["create pod t-5"]).expect_without(&["WriteRefused", "Warning"]);
}
