//! Tasks that name a LongTaskTemplate: they are filled in once, and once more for a run that asks for it.

use longtask::{
    api::task::{ConditionType, Phase},
    task::plan::Step,
    types::find_condition,
};
use serde_json::{Value, json};

use crate::support::{Given, Planned, given_thin, t};

fn pod(image: &str) -> Value {
    json!({ "spec": { "containers": [{ "name": "main", "image": image }] } })
}

fn edition(image: &str) -> Value {
    json!({ "segment": { "duration": "15m" }, "template": pod(image) })
}

fn blocked(planned: &Planned) -> (String, String) {
    let status = planned.status();
    let blocked = find_condition(&status.conditions, ConditionType::Blocked).expect("the condition").clone();
    assert_eq!(blocked.status, "True");
    (blocked.reason, blocked.message)
}

/// A task that was filled in from generation 1 of its template, and has failed.
fn failed() -> Given {
    let filled = given_thin().spec(json!({ "restart": { "token": "v1" } })).template(1, edition("i:1"));
    let filled = filled.at("08:59:00").then();
    filled.begun().ended(4).in_phase(Phase::Failed).status(|status| {
        status.completion_time = Some(t("09:59:00"));
        status.observed_generation = 2;
    })
}

fn renewed(given: Given) -> Given {
    given.edited(json!({ "restart": { "token": "v2", "renew": true } }))
}

#[test]
fn a_thin_task_is_filled_in_before_anything_else_and_then_starts() {
    let planned = given_thin().template(7, edition("i:1")).at("10:00:00");
    let planned = planned.expect(["fill in the task", "Normal FilledIn"]);
    assert_eq!(planned.note("FilledIn"), "Filled in from LongTaskTemplate x, generation 7.");
    assert_eq!(planned.plan.status, None, "nothing is recorded of a task that has no definition yet");
    let filled = planned.then();
    assert_eq!(filled.spec_now()["template"], pod("i:1"));
    assert_eq!(*filled.annotations_now(), json!({ "longtask.dev/template-generation": "7" }));
    filled
        .at("10:00:00")
        .expect_containing(&["create pod t-1"])
        .expect_without(&["fill in the task", "Normal FilledIn"]);
}

#[test]
fn a_filled_in_task_does_not_look_at_its_template_again() {
    let filled = given_thin().template(1, edition("i:1")).at("10:00:00").then();
    filled.template(2, edition("i:2")).at("10:00:00").expect_without(&["fill in the task"]);
}

#[test]
fn a_suspended_task_is_filled_in_as_well_and_stays_suspended() {
    let thin = given_thin().spec(json!({ "suspend": true })).template(1, edition("i:1"));
    let filled = thin.at("10:00:00").expect(["fill in the task", "Normal FilledIn"]).then();
    filled.at("10:00:00").expect_containing(&["phase Suspended SuspendedByUser"]);
}

#[test]
fn a_thin_task_waits_for_its_template_and_goes_on_by_itself() {
    let planned = given_thin().template_missing().at("10:00:00");
    let planned = planned.expect_containing(&["phase Pending TemplateNotFound", "Warning Blocked"]);
    let planned = planned.expect_without(&["create pod", "fill in the task", "wake"]);
    let (reason, message) = blocked(&planned);
    assert_eq!(reason, "TemplateNotFound");
    assert!(
        message.starts_with("there is no LongTaskTemplate x. What to do: create that LongTaskTemplate"),
        "{message}"
    );
    let again = planned.then().template(1, edition("i:1")).at("10:01:00");
    let filled = again.expect(["fill in the task", "Normal FilledIn"]).then();
    filled.at("10:01:00").expect_containing(&["Blocked False", "create pod t-1"]);
}

#[test]
fn a_thin_task_that_cannot_be_filled_in_can_still_end() {
    let waiting = given_thin().template_missing().at("10:00:00").then();
    waiting.clone().edited(json!({ "cancel": true })).at("10:01:00").expect_containing(&["phase Cancelled"]);
    let deadline = waiting.edited(json!({ "limits": { "deadline": "2026-11-24T10:02:00Z" } })).at("10:01:00");
    let waiting = deadline.expect_containing(&["wake 10:02:00"]).then();
    waiting.clone().at("10:02:00").expect_containing(&["phase Failed DeadlinePassed"]);
    let there = waiting.template(1, edition("i:1"));
    there.at("10:02:00").expect_containing(&["phase Failed DeadlinePassed"]).expect_without(&["fill in the task"]);
}

#[test]
fn a_task_that_is_not_ours_or_is_going_is_not_filled_in() {
    let thin = given_thin().template(1, edition("i:1"));
    thin.clone().spec(json!({ "managedBy": "another.dev/operator" })).at("10:00:00").expect([]);
    thin.clone().being_deleted().at("10:00:00").expect_without(&["fill in the task"]);
    let cancelled = thin.spec(json!({ "cancel": true })).at("10:00:00");
    cancelled.expect_containing(&["phase Cancelled"]).expect_without(&["fill in the task"]);
}

#[test]
fn what_a_thin_task_sets_of_the_definition_is_not_overruled_in_silence() {
    let both = given_thin().spec(json!({ "segment": { "duration": "2h" } })).template(1, edition("i:1"));
    let planned = both.at("10:00:00").expect_without(&["fill in the task"]);
    let (reason, message) = blocked(&planned);
    assert_eq!(reason, "SetByTemplate");
    assert!(
        message.starts_with("spec.segment.duration is set here, and it comes from LongTaskTemplate x."),
        "{message}"
    );
    let mended = planned.then().edited(json!({ "segment": { "duration": "1h" } }));
    mended.at("10:01:00").expect(["fill in the task", "Normal FilledIn"]);
}

#[test]
fn an_operator_that_fills_nothing_in_says_so() {
    let planned = given_thin().fill_in_off().at("10:00:00").expect_without(&["fill in the task"]);
    let (reason, message) = blocked(&planned);
    assert_eq!(reason, "FillInOff");
    assert!(message.contains("--no-fill-in"), "{message}");
}

#[test]
fn a_schema_that_cannot_be_used_is_the_templates_fault_and_blocks() {
    let mut spec = edition("i:1");
    spec["inputSchema"] = json!({ "$ref": "https://example.com/schema" });
    let planned = given_thin().template(1, spec).at("10:00:00").expect_without(&["fill in the task", "phase Failed"]);
    let (reason, message) = blocked(&planned);
    assert_eq!(reason, "InvalidSchema");
    assert!(message.contains("/$ref is not allowed"), "{message}");
}

#[test]
fn an_input_that_does_not_fit_the_template_ends_the_task_at_once() {
    let mut spec = edition("i:1");
    spec["inputSchema"] = json!({ "required": ["file"] });
    let planned = given_thin().spec(json!({ "input": { "other": 1 } })).template(1, spec).at("10:00:00");
    let planned = planned.expect_containing(&["phase Failed InvalidInput", "Warning Failed"]);
    let status = planned.expect_without(&["create pod", "fill in the task"]).status();
    let failed = find_condition(&status.conditions, ConditionType::Failed).expect("the condition");
    assert_eq!(failed.message, "/file: is required");
}

#[test]
fn a_refused_write_is_shown_and_tried_again() {
    let thin = given_thin().template(1, edition("i:1"));
    let steps = thin.clone().at("10:00:00").plan.steps;
    let [step @ Step::FillIn(_)] = steps.as_slice() else { panic!("{steps:?}") };
    let refused = thin.refused_step(step.clone(), "a policy says no").at("10:00:00");
    let refused = refused.expect_containing(&["phase Pending Forbidden", "Warning Blocked", "wake 10:00:05"]);
    let (_, message) = blocked(&refused);
    assert!(message.starts_with("the API server refuses to have this task filled in: a policy says no. What to do: let the operator update longtasks"), "{message}");
    let filled = refused.then().at("10:00:05").expect(["fill in the task", "Normal FilledIn"]).then();
    filled.at("10:00:05").expect_containing(&["Blocked False", "create pod t-1"]);
}

#[test]
fn what_takes_the_definition_back_cannot_make_the_operator_write_for_ever() {
    let taken_back = given_thin().annotation("longtask.dev/template-generation", "7").template(7, edition("i:1"));
    let planned = taken_back.at("10:00:00").expect_without(&["fill in the task"]);
    assert_eq!(blocked(&planned).0, "TakenBack");
    planned.then().template(8, edition("i:2")).at("10:00:10").expect(["fill in the task", "Normal FilledIn"]);
}

#[test]
fn a_restart_goes_on_with_the_copy_that_the_task_has() {
    let again = failed().template(2, edition("i:2")).edited(json!({ "restart": { "token": "v2" } })).at("10:00:00");
    let again = again.expect_containing(&["create pod t-5", "Normal Restarted"]).expect_without(&["fill in the task"]);
    assert_eq!(again.then().spec_now()["template"], pod("i:1"));
}

#[test]
fn a_restart_with_renew_takes_the_template_as_it_is_now_and_then_begins() {
    let planned = renewed(failed().template(2, edition("i:2"))).at("10:00:00");
    let planned = planned.expect(["fill in the task", "Normal FilledIn"]);
    let filled = planned.then();
    assert_eq!(filled.spec_now()["template"], pod("i:2"));
    assert_eq!(filled.annotations_now()["longtask.dev/renewed-for"], "v2");
    assert_eq!(filled.annotations_now()["longtask.dev/template-generation"], "2");
    let begun = filled.at("10:00:00").expect_containing(&["create pod t-5", "Normal Restarted"]);
    begun.then().template(3, edition("i:3")).at("10:00:01").expect_without(&["fill in the task"]);
}

#[test]
fn a_template_is_taken_anew_once_for_a_token() {
    let done = renewed(failed().template(2, edition("i:2"))).annotation("longtask.dev/renewed-for", "v2");
    done.at("10:00:00").expect_containing(&["create pod t-5"]).expect_without(&["fill in the task"]);
}

#[test]
fn a_renewed_run_waits_for_its_template_and_stays_ended_until_then() {
    let planned = renewed(failed().template_missing()).at("10:00:00");
    let planned =
        planned.expect_containing(&["Warning Blocked"]).expect_without(&["create pod", "Normal Restarted", "phase"]);
    assert_eq!(blocked(&planned).0, "TemplateNotFound");
    assert_eq!(planned.status().phase, Some(Phase::Failed));
    let waiting = planned.then();
    let back =
        waiting.clone().template(2, edition("i:2")).at("10:05:00").expect(["fill in the task", "Normal FilledIn"]);
    back.then().at("10:05:00").expect_containing(&["create pod t-5", "Normal Restarted"]);
    let without = waiting.clone().edited(json!({ "restart": { "token": "v2", "renew": false } })).at("10:05:00");
    without.expect_containing(&["create pod t-5", "Normal Restarted"]);
    let taken_back = waiting.edited(json!({ "restart": { "token": "v1", "renew": false } })).at("10:05:00");
    taken_back.expect_containing(&["Blocked False"]).expect_without(&["create pod"]);
}

#[test]
fn a_renewed_run_whose_input_does_not_fit_fails_at_once() {
    let mut spec = edition("i:2");
    spec["inputSchema"] = json!({ "required": ["file"] });
    let planned = renewed(failed().template(2, spec)).at("10:00:00");
    let planned = planned.expect_containing(&["phase Failed InvalidInput", "Normal Restarted"]);
    assert_eq!(planned.expect_without(&["fill in the task", "create pod"]).status().run.number, 2);
}

#[test]
fn a_token_that_is_not_obeyed_renews_nothing() {
    let running = given_thin().template(1, edition("i:1")).at("08:59:00").then().begun();
    let running =
        running.template(2, edition("i:2")).running(1, "10:00:00").pod(crate::support::pod(1).runs("10:00:00"));
    let planned = renewed(running).at("10:00:10").expect_containing(&["Warning RestartIgnored"]);
    planned.expect_without(&["fill in the task"]);
}
