//! The input of a run: valid when it begins, and the same to its end.

use longtask::{
    api::task::{ConditionType, Phase},
    types::find_condition,
};
use serde_json::{Value, json};

use crate::support::{Given, given, pod, t};

fn with(input: Value) -> Given {
    given().spec(json!({ "input": input }))
}

fn referring() -> Value {
    json!({ "template": { "spec": { "containers": [{ "name": "main", "args": ["$(LONGTASK_INPUT_file)"] }] } } })
}

#[test]
fn a_run_records_the_input_that_it_begins_with_and_a_task_without_one_nothing() {
    let digest = |given: Given| given.at("10:00:00").status().run.input_digest;
    assert_eq!(digest(given()), None);
    assert!(digest(with(json!({ "file": "a" }))).expect("a digest").starts_with("sha256:"));
}

#[test]
fn an_input_that_is_too_large_or_lacks_a_key_ends_the_task_at_once_and_without_a_pod() {
    let too_large = with(json!({ "file": "x".repeat(16 * 1024) })).at("10:00:00");
    too_large.expect_containing(&["phase Failed InvalidInput"]).expect_without(&["create pod"]);
    for paused in [json!({}), json!({ "suspend": true })] {
        let planned = given().spec(referring()).spec(paused).at("10:00:00");
        let status = planned.expect_containing(&["phase Failed InvalidInput"]).expect_without(&["create pod"]).status();
        let failed = find_condition(&status.conditions, ConditionType::Failed).expect("the condition");
        assert_eq!(failed.message, "/file: is required: container main refers to $(LONGTASK_INPUT_file)");
    }
    with(json!({ "file": "a" })).spec(referring()).at("10:00:00").expect_containing(&["create pod t-1"]);
}

#[test]
fn an_input_that_changed_starts_no_attempt_until_it_is_as_it_was() {
    let begun = with(json!({ "a": 1 })).at("10:00:00").then().gone();
    let waiting = begun.ended(1).status(|status| status.next_attempt_time = Some(t("10:05:00")));
    let renamed = waiting.edited_input(json!({ "b": 1 })).at("10:05:00");
    let renamed = renamed.expect_containing(&["phase Pending InputChanged", "Warning Blocked"]);
    let renamed = renamed.expect_without(&["create pod"]).then();
    let back = renamed.edited_input(json!({ "a": 1 })).at("10:06:00");
    back.expect_containing(&["Blocked False", "create pod t-2"]);
}

#[test]
fn a_pod_that_is_still_to_be_created_is_not_made_with_another_input() {
    let begun = with(json!({ "a": 1 })).begun().creating(1);
    let renamed = begun.edited_input(json!({ "b": 1 })).at("10:00:00");
    renamed.expect_containing(&["phase Pending InputChanged"]).expect_without(&["create pod"]);
}

#[test]
fn another_run_has_the_input_that_it_begins_with() {
    let failed = with(json!({ "a": 1 })).begun().ended(1).in_phase(Phase::Failed);
    let before = failed.clone().at("10:00:00").status().run.input_digest;
    let again = failed.edited(json!({ "input": { "a": 2 }, "restart": { "token": "v2" } })).at("10:00:00");
    let status = again.expect_containing(&["create pod t-2"]).status();
    assert!(status.run.input_digest.is_some() && status.run.input_digest != before);
}

#[test]
fn a_program_that_runs_is_left_alone_whatever_becomes_of_its_input() {
    let running = with(json!({ "a": 1 })).begun().running(1, "10:00:00").pod(pod(1).runs("10:00:00"));
    let renamed = running.edited_input(json!({ "b": 1 })).at("10:00:10");
    renamed.expect_without(&["delete pod", "Warning Blocked"]);
}
