//! Rules of the failure policy, with real programs.

use longtask::api::task::{LongTaskStatus, Phase};
use serde_json::{Value, json};

use super::{
    backoff::{assert_delays, assert_starts_follow_the_delays},
    support::{Change, manifest, message_of, story},
};

fn with_rules(rules: &Value) -> Value {
    json!({ "spec": {
        "failurePolicy": { "rules": rules },
        "retry": { "backoff": { "initial": "1s", "max": "1s", "jitter": "None" } },
    } })
}

fn count(status: &LongTaskStatus, rule: &str) -> Option<i64> {
    status.rule_counters.iter().find(|counter| counter.name == rule).map(|counter| counter.count)
}

#[tokio::test]
async fn a_payment_is_retried_three_times_five_seconds_apart_though_it_checkpoints_before_each_try() {
    story(async |lab| {
        let rules = json!([{
            "name": "declined", "onErrorCodes": ["PaymentDeclined"], "action": "Retry", "delay": "5s", "limit": 3,
            "resetOnProgress": false,
        }]);
        let declined = r#"start: checkpoint {"try": %attempt}; report {"error": {"code": "PaymentDeclined"}}; exit 1"#;
        let task = lab.submit(manifest("payment", &[declined]).and(with_rules(&rules))).await;
        let status = task.ends_as(Phase::Failed, 50).await;
        assert_eq!((status.reason.as_str(), status.totals.attempts), ("RuleLimitExceeded", 4));
        assert_eq!((count(&status, "declined"), status.consecutive.failures), (Some(4), 0));
        assert_delays(&task, &[5, 5, 5]);
        assert_starts_follow_the_delays(&task);
    })
    .await;
}

#[tokio::test]
async fn other_errors_are_not_the_rules_business() {
    story(async |lab| {
        let rules = json!([{ "name": "declined", "onErrorCodes": ["PaymentDeclined"], "action": "Fail" }]);
        let other = r#"attempt=1: report {"error": {"code": "Other"}}; exit 1"#;
        let task = lab.submit(manifest("other", &["--steps=1", "--step-time=0", other]).and(with_rules(&rules))).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.retries, status.rule_counters.len()), (1, 0));
        assert_eq!(status.last_failure.and_then(|failure| failure.code).as_deref(), Some("Other"));
    })
    .await;
}

#[tokio::test]
async fn an_exit_code_that_a_rule_calls_fatal_fails_the_task_at_once() {
    story(async |lab| {
        let rules = json!([
            { "name": "bad-input", "onExitCodes": { "operator": "In", "values": [2, 64] }, "action": "Fail" },
            { "name": "any", "onExitCodes": { "operator": "NotIn", "values": [1] }, "action": "Ignore" },
        ]);
        let task = lab.submit(manifest("bad-input", &["start: exit 64"]).and(with_rules(&rules))).await;
        let status = task.ends_as(Phase::Failed, 30).await;
        assert_eq!((status.reason.as_str(), status.totals.attempts), ("FailedByRule", 1));
        let (_, words) = message_of(&status, longtask::api::task::ConditionType::Failed).expect("it says why");
        assert!(words.contains("rule bad-input"), "{words}");
    })
    .await;
}

#[tokio::test]
async fn what_a_rule_ignores_charges_no_budget() {
    story(async |lab| {
        let rules = json!([{ "name": "flaky", "onReasons": ["OOMKilled", "Error"], "action": "Ignore" }]);
        let no_failure = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        let flaky = ["--steps=1", "--step-time=0", "attempt<4: exit 1"];
        let task = lab.submit(manifest("flaky", &flaky).and(with_rules(&rules)).and(no_failure)).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.totals.attempts, status.totals.failures, status.consecutive.failures), (4, 3, 0));
    })
    .await;
}

#[tokio::test]
async fn a_task_starts_over_without_its_checkpoints_and_is_held_when_that_was_done_too_often() {
    story(async |lab| {
        let rules = json!([{
            "name": "corrupt", "onExitCodes": { "operator": "In", "values": [66] }, "action": "StartOver", "limit": 1,
        }]);
        let held = json!({ "spec": { "failurePolicy": { "onExhausted": "Hold" } } });
        let corrupt = ["--steps=4", "--step-time=100ms", "attempt<=2 step=3: checkpoint; exit 66"];
        let task = lab.submit(manifest("corrupt", &corrupt).and(with_rules(&rules)).and(held)).await;
        let status = task.until_phase(Phase::Suspended, 30).await;
        assert_eq!((status.reason.as_str(), status.totals.attempts, count(&status, "corrupt")), ("Held", 2, Some(2)));
        assert_eq!(task.journal().start_of(2).step, 0, "it started over");
        task.change(json!({ "restart": { "token": "mended" } })).await;
        task.ends_as(Phase::Succeeded, 30).await;
    })
    .await;
}

#[tokio::test]
async fn a_poison_record_is_rolled_back_three_times_and_no_more() {
    story(async |lab| {
        let rules =
            json!([{ "name": "poison", "onExitCodes": { "operator": "In", "values": [65] }, "action": "Rollback" }]);
        let task = lab
            .submit(
                manifest("poison", &["--steps=9", "--step-time=100ms", "step=3: checkpoint; exit 65"])
                    .and(with_rules(&rules)),
            )
            .await;
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!((status.reason.as_str(), status.totals.attempts), ("RuleLimitExceeded", 4));
        assert_eq!(task.journal().start_of(2).step, 0, "the only checkpoint was the bad one");
    })
    .await;
}

#[tokio::test]
async fn a_held_task_goes_on_when_its_token_changes() {
    story(async |lab| {
        let rules = json!([{ "name": "look", "onExitCodes": { "operator": "In", "values": [9] }, "action": "Hold" }]);
        let held = "attempt=1 step=2: checkpoint; exit 9";
        let task =
            lab.submit(manifest("held", &["--steps=4", "--step-time=200ms", held]).and(with_rules(&rules))).await;
        let status = task.until_phase(Phase::Suspended, 20).await;
        assert_eq!((status.reason.as_str(), status.completion_time), ("Held", None));
        let (_, words) = message_of(&status, longtask::api::task::ConditionType::Suspended).expect("it says why");
        assert!(words.contains("rule look") && words.contains("spec.restart.token"), "{words}");
        task.change(json!({ "restart": { "token": "seen" } })).await;
        let status = task.ends_as(Phase::Succeeded, 20).await;
        assert_eq!((status.run.number, task.journal().start_of(2).step), (1, 2), "the same run, from its checkpoint");
    })
    .await;
}
