//! The failure policy: rules, what they charge and do, and what follows when tries are used up.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use longtask::{
    api::task::{Checkpoint, LongTaskStatus, Phase},
    task::plan::Step,
};
use serde_json::{Value, json};

use crate::support::{Given, Planned, PodBuilder, given, pod, t};

fn ruled(rules: Value) -> Given {
    given().spec(json!({
        "failurePolicy": { "rules": rules },
        "retry": { "backoff": { "jitter": "None", "initial": "10s" } },
    }))
}

fn running(given: Given) -> Given {
    given.running(1, "10:00:00")
}

fn failed(code: i32, report: &str) -> PodBuilder {
    pod(1).scheduled("09:59:59").ran("10:00:00", "10:01:00", code).saying(report)
}

fn declined() -> PodBuilder {
    failed(1, r#"{"error": {"code": "PaymentDeclined", "message": "card expired"}}"#)
}

fn after(given: Given, pod: PodBuilder) -> LongTaskStatus {
    running(given).pod(pod).at("10:01:01").status()
}

fn count(status: &LongTaskStatus, rule: &str) -> Option<i64> {
    status.rule_counters.iter().find(|counter| counter.name == rule).map(|counter| counter.count)
}

fn declined_rule() -> Value {
    json!([{ "name": "declined", "onErrorCodes": ["PaymentDeclined"], "action": "Retry", "delay": "5s", "limit": 3 }])
}

fn checkpoint(sequence: i64) -> Checkpoint {
    serde_json::from_value(json!({
        "sequence": sequence, "attempt": 1, "segment": 1, "recordTime": "2026-11-24T09:10:00Z",
        "data": { "offset": sequence },
    }))
    .expect("a checkpoint")
}

fn with_checkpoints(given: Given) -> Given {
    given.status(|status| {
        status.checkpoint = Some(checkpoint(2));
        status.checkpoint_history = vec![checkpoint(1)];
        status.checkpoint_sequence = 2;
    })
}

#[test]
fn a_rule_with_a_limit_counts_by_itself_and_waits_its_own_delay() {
    let status = after(ruled(declined_rule()), declined());
    assert_eq!(count(&status, "declined"), Some(1));
    assert_eq!((status.consecutive.failures, status.totals.failures), (0, 1));
    assert_eq!(status.next_attempt_time, Some(t("10:01:06")));
}

#[test]
fn a_limit_of_three_allows_three_retries() {
    let given = |counted: i64| {
        running(ruled(declined_rule())).status(|status| {
            status.rule_counters =
                serde_json::from_value(json!([{ "name": "declined", "count": counted }])).expect("counters");
        })
    };
    let third = given(2).pod(declined()).at("10:01:01").status();
    assert_eq!((third.phase, count(&third, "declined")), (Some(Phase::Waiting), Some(3)));
    let fourth = given(3).pod(declined()).at("10:01:01").status();
    assert_eq!((fourth.phase, fourth.reason.as_str()), (Some(Phase::Failed), "RuleLimitExceeded"));
    let failed = fourth.conditions.iter().find(|condition| condition.type_ == "Failed").expect("a condition");
    assert!(failed.message.contains("number 4 in a row for rule"), "{}", failed.message);
}

#[test]
fn what_no_rule_matches_is_charged_to_the_budgets() {
    for pod in [failed(1, r#"{"error": {"code": "Other"}}"#), failed(1, "")] {
        let status = after(ruled(declined_rule()), pod);
        assert_eq!((status.consecutive.failures, status.rule_counters.len()), (1, 0));
        assert_eq!(status.next_attempt_time, Some(t("10:01:11")));
    }
}

#[test]
fn the_first_rule_that_matches_decides() {
    let rules = json!([
        { "name": "first", "onExitCodes": { "operator": "In", "values": [2, 64] }, "action": "Fail" },
        { "name": "second", "onReasons": ["Error"], "action": "Ignore" },
    ]);
    let bad_input = after(ruled(rules.clone()), failed(64, ""));
    assert_eq!((bad_input.phase, bad_input.reason.as_str()), (Some(Phase::Failed), "FailedByRule"));
    let other = after(ruled(rules), failed(3, ""));
    assert_eq!((other.phase, count(&other, "second")), (Some(Phase::Waiting), Some(1)));
}

#[test]
fn all_matchers_of_a_rule_must_hold() {
    let rules = json!([{
        "name": "both", "onReasons": ["Error"], "onExitCodes": { "operator": "NotIn", "values": [3] }, "action": "Fail",
    }]);
    assert_eq!(after(ruled(rules.clone()), failed(3, "")).phase, Some(Phase::Waiting));
    assert_eq!(after(ruled(rules.clone()), failed(4, "")).phase, Some(Phase::Failed));
    let killed = failed(137, "").called("OOMKilled");
    assert_eq!(after(ruled(rules), killed).phase, Some(Phase::Waiting));
}

#[test]
fn ignore_charges_no_budget_and_waits_by_its_own_count() {
    let rules = json!([{ "name": "flaky", "onReasons": ["Error"], "action": "Ignore" }]);
    let tired = running(ruled(rules)).status(|status| {
        status.rule_counters = serde_json::from_value(json!([{ "name": "flaky", "count": 9 }])).expect("counters");
        status.consecutive.failures = 6;
    });
    let status = tired.pod(failed(1, "")).at("10:01:01").status();
    assert_eq!((status.phase, status.consecutive.failures), (Some(Phase::Waiting), 6));
    assert_eq!(status.next_attempt_time, Some(t("10:06:01")), "the tenth delay is the longest");
}

#[test]
fn a_rule_is_asked_before_a_permanent_error() {
    let permanent = || failed(1, r#"{"error": {"code": "PaymentDeclined", "permanent": true}}"#);
    assert_eq!(after(ruled(declined_rule()), permanent()).phase, Some(Phase::Waiting));
    assert_eq!(after(ruled(json!([])), permanent()).reason, "PermanentError");
}

#[test]
fn the_programs_own_delay_overrides_the_rules() {
    let report = r#"{"error": {"code": "PaymentDeclined", "retryAfter": "30s"}}"#;
    assert_eq!(after(ruled(declined_rule()), failed(1, report)).next_attempt_time, Some(t("10:01:31")));
}

#[test]
fn progress_sets_a_rules_counter_back_unless_it_says_otherwise() {
    let with = |reset: Value| {
        let mut rules = declined_rule();
        rules[0].as_object_mut().expect("a rule").extend(reset.as_object().expect("fields").clone());
        let counted = running(ruled(rules)).status(|status| {
            status.rule_counters =
                serde_json::from_value(json!([{ "name": "declined", "count": 2 }])).expect("counters");
        });
        let report = "{\"checkpoint\": {\"n\": 1}}\n{\"error\": {\"code\": \"PaymentDeclined\"}}";
        count(&counted.pod(failed(1, report)).at("10:01:01").status(), "declined")
    };
    assert_eq!(with(json!({})), Some(1));
    assert_eq!(with(json!({ "resetOnProgress": false })), Some(3));
}

#[test]
fn rollback_resumes_from_the_checkpoint_before_and_start_over_from_none() {
    let by = |action: &str| {
        let rules =
            json!([{ "name": "poison", "onExitCodes": { "operator": "In", "values": [65] }, "action": action }]);
        let running = running(with_checkpoints(ruled(rules))).status(|status| status.run.high_water = Some(2));
        running.pod(failed(65, "")).at("10:01:01")
    };
    assert!(by("Rollback").note("AttemptFailed").ends_with("(rule poison, back to checkpoint 1)."));
    assert!(by("StartOver").note("AttemptFailed").ends_with("(rule poison, back to the beginning)."));
    for action in ["Rollback", "StartOver"] {
        assert_eq!(by(action).status().run.high_water, None, "what is done again is progress again");
    }
    let rolled_back = by("Rollback").status();
    assert_eq!(rolled_back.checkpoint, Some(checkpoint(1)));
    assert_eq!((rolled_back.checkpoint_history.len(), rolled_back.checkpoint_sequence), (0, 2));
    let started_over = by("StartOver").status();
    assert_eq!((started_over.checkpoint, started_over.checkpoint_sequence), (None, 2));
}

#[test]
fn rollback_with_a_single_checkpoint_starts_over() {
    let rules = json!([{ "name": "poison", "onReasons": ["Error"], "action": "Rollback" }]);
    let single = running(ruled(rules)).status(|status| status.checkpoint = Some(checkpoint(1)));
    assert_eq!(single.pod(failed(1, "")).at("10:01:01").status().checkpoint, None);
}

#[test]
fn a_poison_record_ends_after_three_rollbacks_whatever_progress_is_reported() {
    for action in ["Rollback", "StartOver"] {
        let rules = json!([{ "name": "poison", "onReasons": ["Error"], "action": action }]);
        let mut given = running(ruled(rules));
        for n in 1..=4 {
            let report = format!("{{\"checkpoint\": {{\"n\": {n}}}, \"progress\": {{\"completed\": {n}}}}}");
            let status = given.clone().pod(failed(1, &report)).at("10:01:01").status();
            if n == 4 {
                assert_eq!(
                    (status.phase, status.reason.as_str()),
                    (Some(Phase::Failed), "RuleLimitExceeded"),
                    "{action}"
                );
            } else {
                assert_eq!((status.phase, count(&status, "poison")), (Some(Phase::Waiting), Some(n)), "{action}");
            }
            given = running(given).status(|next| {
                let attempt = next.current_attempt.clone();
                *next = status;
                next.current_attempt = attempt;
                next.phase = Some(Phase::Running);
                next.next_attempt_time = None;
            });
        }
    }
}

#[test]
fn hold_keeps_everything_until_a_new_token() {
    let rules = json!([{ "name": "look", "onReasons": ["Error"], "action": "Hold" }]);
    let held = running(ruled(rules)).pod(failed(1, "")).at("10:01:01");
    let held = held.expect_containing(&["phase Suspended Held", "Suspended True Held", "Warning Held"]);
    assert_eq!(held.status().completion_time, None);
    let held = held.then();
    held.clone().at("20:00:00").expect_without(&["create", "phase"]);
    let resumed = held.clone().edited(json!({ "suspend": false, "podHistoryLimit": 9 })).at("20:00:00");
    resumed.expect_without(&["create", "phase"]);
    let released = held.edited(json!({ "restart": { "token": "seen" } })).at("10:11:01");
    let released = released.expect_containing(&["create pod t-2", "Suspended False", "Normal Restarted"]);
    let status = released.status();
    assert_eq!((status.run.number, status.run.suspended_seconds, status.consecutive.failures), (1, 600, 0));
}

fn held_with_checkpoints() -> Given {
    let rules = json!([{ "name": "look", "onReasons": ["Error"], "action": "Hold" }]);
    let running = running(with_checkpoints(ruled(rules))).status(|status| status.run.high_water = Some(9));
    running.pod(failed(1, "")).at("10:01:01").then()
}

#[test]
fn a_held_task_goes_on_from_where_the_token_says() {
    let released = |restart: Value| {
        held_with_checkpoints().edited(json!({ "restart": restart })).at("10:11:01").expect_containing(&[
            "attempt 2 Creating",
            "create pod t-2",
            "Suspended False",
        ])
    };
    let from = |planned: &Planned| {
        let status = planned.status();
        assert_eq!(status.run.number, 1, "the same run");
        (status.checkpoint.map_or(0, |checkpoint| checkpoint.sequence), status.run.high_water)
    };
    let latest = released(json!({ "token": "go" }));
    assert_eq!(from(&latest), (2, Some(9)));
    assert!(latest.note("Restarted").contains("goes on from checkpoint 2 "), "{}", latest.note("Restarted"));
    let chosen = released(json!({ "token": "go", "from": "Checkpoint", "checkpointSequence": 1 }));
    assert_eq!(from(&chosen), (1, None), "what is done again is progress again");
    let beginning = released(json!({ "token": "go", "from": "Beginning" }));
    assert_eq!(from(&beginning), (0, None));
    let beginnings = [&latest, &chosen, &beginning].map(|planned| planned.status().run.beginnings);
    assert_eq!(beginnings, [1, 1, 2], "only who asks for the Beginning gets other idempotency keys");
    assert!(beginning.note("Restarted").contains("goes on from the beginning "));
}

#[test]
fn an_unknown_checkpoint_keeps_a_held_task_held_until_it_is_taken_back_or_corrected() {
    let unknown = json!({ "restart": { "token": "go", "from": "Checkpoint", "checkpointSequence": 7 } });
    let held = held_with_checkpoints().edited(unknown).at("10:11:01");
    let held = held.expect_containing(&["Blocked True UnknownCheckpoint"]).expect_without(&["create", "phase"]);
    assert_eq!(held.status().run.restart_token, None);
    let corrected = json!({ "restart": { "checkpointSequence": 1 } });
    held.then().edited(corrected).at("10:12:00").expect_containing(&["Blocked False", "create pod t-2"]);
}

#[test]
fn a_held_task_can_be_cancelled() {
    let rules = json!([{ "name": "look", "onReasons": ["Error"], "action": "Hold" }]);
    let held = running(ruled(rules)).pod(failed(1, "")).at("10:01:01").then();
    held.edited(json!({ "cancel": true })).at("10:02:00").expect_containing(&["phase Cancelled"]);
}

#[test]
fn an_exhausted_budget_holds_where_the_policy_says_so() {
    let spec = json!({ "failurePolicy": { "onExhausted": "Hold" }, "retry": { "budgets": { "failures": 0 } } });
    let status = after(given().spec(spec), failed(1, ""));
    assert_eq!((status.phase, status.reason.as_str()), (Some(Phase::Suspended), "Held"));
    let suspended = status.conditions.iter().find(|one| one.type_ == "Suspended").expect("held");
    assert!(suspended.message.starts_with("FailureBudgetExhausted: "), "{}", suspended.message);
}

#[test]
fn a_rule_names_each_reason_that_the_status_shows() {
    let matched = |pod: PodBuilder, reason: &str| {
        let rules = json!([{ "name": "named", "onReasons": [reason], "action": "Fail" }]);
        let slow = given().spec(json!({ "failurePolicy": { "rules": rules } })).creating(1).pod(pod);
        slow.at("10:00:10")
    };
    let bound = || pod(1).scheduled("10:00:01");
    let crashing = bound().waiting("CrashLoopBackOff", "back-off 10s").because("DeadlineExceeded");
    for (pod, reason) in [
        (crashing, "CrashLoopBackOff"),
        (bound().because("PodOSNotSupported"), "PodOSNotSupported"),
        (bound().because("NodePorts"), "Rejected"),
    ] {
        matched(pod, reason).expect_containing(&["phase Failed FailedByRule"]);
    }
}

#[test]
fn a_permanent_error_can_be_named_apart_from_others() {
    let rules = json!([{ "name": "look", "onReasons": ["Permanent"], "action": "Hold" }]);
    let given = || running(ruled(rules.clone()));
    let error = json!({ "error": { "message": "no such account", "permanent": true } });
    let permanent = given().pod(pod(1).ran("10:00:00", "10:01:00", 1).reporting(&[error])).at("10:01:01");
    permanent.expect_containing(&["phase Suspended Held"]);
    given().pod(pod(1).ran("10:00:00", "10:01:00", 1)).at("10:01:01").expect_containing(&["phase Waiting Error"]);
}

#[test]
fn interruptions_and_failed_starts_are_asked_for_too() {
    let rules = json!([{ "name": "gone", "onReasons": ["Evicted", "ErrImagePull"], "action": "Fail" }]);
    let evicted = pod(1).scheduled("09:59:59").ran("10:00:00", "10:01:00", 0);
    let evicted = evicted.disrupted("EvictionByEvictionAPI", "10:00:59").deleted("10:01:29", 30);
    assert_eq!(after(ruled(rules.clone()), evicted).reason, "FailedByRule");
    let unpulled = pod(1).scheduled("10:00:01").waiting("ErrImagePull", "no").because("DeadlineExceeded");
    assert_eq!(ruled(rules).creating(1).pod(unpulled).at("10:10:10").status().reason, "FailedByRule");
}

#[test]
fn a_time_limit_is_no_trouble_for_a_rule() {
    let rules = json!([{ "name": "all", "onReasons": ["Error"], "action": "Fail" }]);
    let ended = failed(75, "{\"checkpoint\": {\"n\": 1}}");
    assert_eq!(after(ruled(rules), ended).segment, 2);
}

fn out_of_memory(limit: &str) -> PodBuilder {
    let container = json!({ "name": "main", "resources": { "limits": { "memory": limit } } });
    failed(137, "").called("OOMKilled").merged(json!({ "spec": { "containers": [container] } }))
}

fn grows_to(max: &str) -> Given {
    grows(&json!({ "max": max }))
}

fn grows(memory: &Value) -> Given {
    let template = json!({ "spec": { "containers": [
        { "name": "main", "image": "i", "resources": { "limits": { "memory": "100Mi" } } },
    ] } });
    let rules = json!([{ "name": "oom", "onReasons": ["OOMKilled"], "action": "Ignore", "memory": memory }]);
    ruled(rules).spec(json!({ "template": template }))
}

/// The memory that the next pod of the task gets, as limit and as request.
fn memory_of_next_pod(planned: Planned) -> (String, String) {
    let next = planned.then().at("10:30:00");
    let pod = next.plan.steps.iter().find_map(|step| match step {
        Step::CreatePod(pod) => pod.spec.clone(),
        _ => None,
    });
    let resources = pod.expect("a pod is created").containers[0].resources.clone().expect("resources");
    let of = |amounts: Option<std::collections::BTreeMap<String, Quantity>>| {
        amounts.and_then(|amounts| amounts.get("memory").cloned()).map(|amount| amount.0).unwrap_or_default()
    };
    (of(resources.limits), of(resources.requests))
}

#[test]
fn memory_grows_from_the_pod_that_failed_for_the_attempts_that_follow() {
    let planned = running(grows_to("1Gi")).pod(out_of_memory("100Mi")).at("10:01:01");
    let note = planned.note("AttemptFailed");
    assert!(note.ends_with("retrying at 2026-11-24T10:01:11Z (rule oom, memory raised to 200Mi)."), "{note}");
    let shown = planned.status().memory.map(|memory| memory.to_string());
    assert_eq!((shown.as_deref(), count(&planned.status(), "oom")), (Some("200Mi"), Some(1)));
    assert_eq!(memory_of_next_pod(planned), ("200Mi".to_owned(), "200Mi".to_owned()));
}

#[test]
fn memory_doubles_unless_a_factor_is_given() {
    for (growth, raised) in [(json!({ "max": "1Gi" }), "200Mi"), (json!({ "factor": "1.5", "max": "1Gi" }), "150Mi")] {
        let status = running(grows(&growth)).pod(out_of_memory("100Mi")).at("10:01:01").status();
        assert_eq!(status.memory.map(|memory| memory.to_string()).as_deref(), Some(raised), "{growth}");
    }
}

#[test]
fn growth_is_clipped_at_its_maximum_and_then_the_rule_matches_no_more() {
    let with = |limit: &str| running(grows_to("250Mi")).pod(out_of_memory(limit)).at("10:01:01").status();
    let memory = |status: &LongTaskStatus| status.memory.map(|memory| memory.to_string());
    assert_eq!(memory(&with("200Mi")).as_deref(), Some("250Mi"));
    for limit in ["250Mi", "1Gi"] {
        let status = with(limit);
        assert_eq!((memory(&status), count(&status, "oom"), status.consecutive.failures), (None, None, 1));
    }
}

#[test]
fn without_a_memory_limit_there_is_nothing_to_raise() {
    let status = after(grows_to("1Gi"), failed(137, "").called("OOMKilled"));
    assert_eq!((status.memory, status.consecutive.failures), (None, 1));
}

/// The template has no limit, and a LimitRange gives the pod one.
#[test]
fn a_limit_that_the_namespace_sets_is_raised_too() {
    let without = json!({ "spec": { "containers": [{ "name": "main", "image": "i" }] } });
    let raised = || {
        let given = grows_to("1Gi").spec(json!({ "template": without.clone() }));
        running(given).pod(out_of_memory("100Mi")).at("10:01:01")
    };
    assert_eq!(memory_of_next_pod(raised()), ("200Mi".to_owned(), "200Mi".to_owned()));
    let edited = raised().then().edited(json!({ "podHistoryLimit": 4 })).at("10:30:00");
    assert_eq!(edited.status().memory, None, "the limit may have been taken away on purpose");
}

#[test]
fn a_template_that_gives_more_than_the_raise_takes_its_place() {
    let raised = running(grows_to("1Gi")).pod(out_of_memory("100Mi")).at("10:01:01").then();
    let template = json!({ "spec": { "containers": [
        { "name": "main", "image": "i", "resources": { "limits": { "memory": "2Gi" } } },
    ] } });
    let planned = raised.clone().edited(json!({ "template": template })).at("10:30:00");
    assert_eq!(planned.status().memory, None);
    let template = json!({ "spec": { "containers": [
        { "name": "main", "image": "i", "resources": { "limits": { "memory": "200Mi" } } },
    ] } });
    let planned = raised.edited(json!({ "template": template })).at("10:30:00");
    assert_eq!(planned.status().memory, None, "nothing is raised when both are the same");
}

#[test]
fn another_run_begins_with_the_templates_memory_and_any_node() {
    let ended = grows_to("1Gi").ended(3).status(|status| {
        status.memory = Some("400Mi".parse().expect("memory"));
        status.avoid_nodes = vec!["node-1".into()];
        status.phase = Some(Phase::Failed);
    });
    let status = ended.edited(json!({ "restart": { "token": "again" } })).at("10:30:00").status();
    assert_eq!((status.run.number, status.memory, status.avoid_nodes.len()), (2, None, 0));
}

#[test]
fn the_last_three_nodes_of_a_rule_are_avoided_if_it_can_be() {
    let rules = json!([{ "name": "bad-node", "onReasons": ["Error"], "action": "Retry", "avoidNode": true }]);
    let on = |node: &str, known: &[&str]| {
        let given = running(ruled(rules.clone())).status(|status| {
            status.avoid_nodes = known.iter().map(|&node| node.to_owned()).collect();
        });
        given.pod(failed(1, "").merged(json!({ "spec": { "nodeName": node } }))).at("10:01:01")
    };
    assert_eq!(on("a", &["b", "c", "d"]).status().avoid_nodes, ["a", "b", "c"]);
    assert_eq!(on("c", &["b", "c", "d"]).status().avoid_nodes, ["c", "b", "d"]);
    assert!(on("a", &[]).note("AttemptFailed").ends_with("(rule bad-node, away from node a if possible)."));
    let next = on("a", &["b"]).then().at("10:30:00");
    let preferred = next.plan.steps.iter().find_map(|step| match step {
        Step::CreatePod(pod) => serde_json::to_value(pod.spec.as_ref()?.affinity.as_ref()?).ok(),
        _ => None,
    });
    let not = |node: &str| json!({ "key": "metadata.name", "operator": "NotIn", "values": [node] });
    let term = json!({ "weight": 100, "preference": { "matchFields": [not("a"), not("b")] } });
    let expected = json!({ "nodeAffinity": { "preferredDuringSchedulingIgnoredDuringExecution": [term] } });
    assert_eq!(preferred, Some(expected));
}

#[test]
fn nodes_are_not_avoided_unless_the_rule_says_so() {
    let rules = json!([{ "name": "any", "onReasons": ["Error"], "action": "Retry", "avoidNode": false }]);
    assert_eq!(after(ruled(rules), failed(1, "")).avoid_nodes, Vec::<String>::new());
}

#[test]
fn a_condition_is_matched_by_type_status_and_reason() {
    let by = |pattern: Value| {
        let rules = json!([{ "name": "pressure", "onPodConditions": [pattern], "action": "Fail" }]);
        let evicted = pod(1).runs("10:00:00").lost_track().disrupted("TerminationByKubelet", "10:01:00");
        after(ruled(rules), evicted).phase
    };
    for pattern in [
        json!({ "type": "DisruptionTarget" }),
        json!({ "type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet" }),
    ] {
        assert_eq!(by(pattern), Some(Phase::Failed));
    }
    for pattern in [
        json!({ "type": "Other" }),
        json!({ "type": "DisruptionTarget", "status": "False" }),
        json!({ "type": "DisruptionTarget", "reason": "PreemptionByScheduler" }),
    ] {
        assert_ne!(by(pattern), Some(Phase::Failed));
    }
}

#[test]
fn a_rule_that_never_gets_its_turn_is_warned_of_once_for_each_edit() {
    let rules = json!([
        { "name": "all", "onReasons": ["Error", "OOMKilled"], "action": "Retry" },
        { "name": "oom", "onReasons": ["OOMKilled"], "action": "Fail" },
    ]);
    let created = ruled(rules.clone()).at("10:00:00");
    let note = created.note("RuleNeverMatches").to_owned();
    assert!(note.starts_with("A rule of spec.failurePolicy can never match: oom (everything that it"), "{note}");
    let later = created.then().at("10:00:01");
    assert!(later.plan.events.is_empty());
    let reversed = json!([rules[1], rules[0]]);
    let mended = later.then().edited(json!({ "failurePolicy": { "rules": reversed } })).at("10:00:02");
    assert!(mended.plan.events.iter().all(|event| event.reason.to_string() != "RuleNeverMatches"));
}

/// The status after an edit, in the middle of a segment, of a task for which a rule has done all that one can do.
fn edited_after_a_rule(edit: Value) -> LongTaskStatus {
    let given = ruled(json!([ignores_9(), oom(&json!({ "memory": { "max": "1Gi" }, "avoidNode": true }))]));
    let given = running(given).pod(pod(1).runs("10:00:00").deadline(3601)).status(|status| {
        status.memory = Some("400Mi".parse().expect("memory"));
        status.memory_rule = Some("oom".into());
        status.avoid_nodes = vec!["node-1".into()];
        status.avoid_node_rules = vec!["oom".into()];
        status.rule_counters = serde_json::from_value(json!([{ "name": "oom", "count": 2 }])).expect("counters");
    });
    given.edited(edit).at("10:05:00").status()
}

fn ignores_9() -> Value {
    json!({ "name": "nine", "onExitCodes": { "operator": "In", "values": [9] }, "action": "Ignore" })
}

fn oom(changes: &Value) -> Value {
    let mut rule = json!({ "name": "oom", "onReasons": ["OOMKilled"], "action": "Ignore" });
    rule.as_object_mut().expect("a rule").extend(changes.as_object().expect("fields").clone());
    rule
}

/// The memory, the rule that raised it, the nodes that are avoided, and how often the rule has matched.
fn done_by_rule(status: &LongTaskStatus) -> (Option<String>, Option<&str>, usize, Option<i64>) {
    let memory = status.memory.map(|memory| memory.to_string());
    (memory, status.memory_rule.as_deref(), status.avoid_nodes.len(), count(status, "oom"))
}

#[test]
fn what_a_rule_did_stays_when_something_else_is_edited() {
    let status = edited_after_a_rule(json!({ "podHistoryLimit": 4 }));
    assert_eq!(done_by_rule(&status), (Some("400Mi".into()), Some("oom"), 1, Some(2)));
}

#[test]
fn what_a_rule_did_is_taken_back_with_the_rule() {
    let status = edited_after_a_rule(json!({ "failurePolicy": { "rules": [ignores_9()] } }));
    assert_eq!(done_by_rule(&status), (None, None, 0, None));
}

#[test]
fn what_a_rule_did_is_cut_down_to_what_it_now_allows() {
    let stricter = oom(&json!({ "memory": { "max": "300Mi" }, "avoidNode": false }));
    let status = edited_after_a_rule(json!({ "failurePolicy": { "rules": [stricter] } }));
    assert_eq!(done_by_rule(&status), (Some("300Mi".into()), Some("oom"), 0, Some(2)));
}
