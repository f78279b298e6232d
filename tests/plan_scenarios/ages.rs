//! What happens by age: a checkpoint turns stale, a task that ended is deleted.

use longtask::api::task::Phase;
use serde_json::json;

use crate::support::{Given, given, pod, t};

fn watched() -> Given {
    let runs = pod(1).scheduled("10:00:00").runs("10:00:00");
    given().spec(json!({ "checkpoint": { "staleAfter": "2h" } })).running(1, "10:00:00").pod(runs)
}

#[test]
fn a_checkpoint_turns_stale_once() {
    watched().at("10:59:59").expect_containing(&["wake 11:00:00"]).expect_without(&["CheckpointStale"]);
    let planned = watched().at("11:00:00");
    let planned = planned.expect_containing(&["CheckpointStale True NoCheckpoint", "Warning CheckpointStale"]);
    planned.then().at("12:00:00").expect_without(&["Warning CheckpointStale", "CheckpointStale"]);
}

#[test]
fn a_new_checkpoint_is_not_stale() {
    let stale = watched().at("11:00:00").then();
    let fresh = stale.status(|status| {
        let checkpoint = json!({
            "sequence": 1, "attempt": 1, "segment": 1, "recordTime": "2026-11-24T11:30:00Z", "data": {},
        });
        status.checkpoint = Some(serde_json::from_value(checkpoint).expect("a checkpoint"));
    });
    fresh.at("11:30:00").expect_containing(&["CheckpointStale False"]);
}

#[test]
fn nothing_turns_stale_while_suspended() {
    let suspended = given().spec(json!({ "checkpoint": { "staleAfter": "2h" }, "suspend": true })).begun();
    let suspended = suspended.at("09:30:00").then();
    let later = suspended.at("20:00:00").expect_without(&["CheckpointStale", "Warning"]).then();
    let resumed = later.edited(json!({ "suspend": false })).at("20:00:01").expect_without(&["CheckpointStale"]).then();
    let running = resumed.at("22:00:00").expect_without(&["CheckpointStale True"]).then();
    running.at("22:00:01").expect_containing(&["CheckpointStale True NoCheckpoint"]);
}

fn succeeded() -> Given {
    given().ended(1).status(|status| {
        status.phase = Some(Phase::Succeeded);
        status.completion_time = Some(t("10:00:00"));
    })
}

#[test]
fn a_task_that_ended_is_deleted_when_its_time_has_come() {
    let given = succeeded().spec(json!({ "ttlAfterFinished": "1h" }));
    given.clone().at("10:59:59").expect(["wake 11:00:00"]);
    given.at("11:00:00").expect(["delete the task"]);
}

#[test]
fn a_ttl_of_zero_deletes_at_once_and_none_never() {
    succeeded().spec(json!({ "ttlAfterFinished": "0s" })).at("10:00:00").expect(["delete the task"]);
    succeeded().at("23:59:59").expect([]);
}

#[test]
fn a_cancelled_task_is_deleted_as_one_that_succeeded() {
    let cancelled = succeeded().status(|status| status.phase = Some(Phase::Cancelled));
    let given = cancelled.spec(json!({ "cancel": true, "ttlAfterFinished": "1h", "ttlAfterFailed": "0s" }));
    given.clone().at("10:59:59").expect(["wake 11:00:00"]);
    given.at("11:00:00").expect(["delete the task"]);
}

#[test]
fn a_failed_task_stays_unless_it_has_a_time_to_live_of_its_own() {
    let failed = || succeeded().status(|status| status.phase = Some(Phase::Failed));
    failed().spec(json!({ "ttlAfterFinished": "0s" })).at("23:59:59").expect([]);
    let given = failed().spec(json!({ "ttlAfterFinished": "0s", "ttlAfterFailed": "2h" }));
    given.clone().at("11:59:59").expect(["wake 12:00:00"]);
    given.at("12:00:00").expect(["delete the task"]);
    succeeded().spec(json!({ "ttlAfterFailed": "0s" })).at("23:59:59").expect([]);
}

#[test]
fn a_task_that_has_not_ended_is_not_deleted() {
    let both = json!({ "ttlAfterFinished": "0s", "ttlAfterFailed": "0s" });
    let running = given().spec(both).running(1, "10:00:00");
    running.at("10:00:10").expect_without(&["delete the task"]);
}
