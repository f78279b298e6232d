//! Retries: budgets, what resets them, stalls, delays.

use serde_json::{Value, json};

use crate::support::{Given, PodBuilder, given, pod, t};

fn retrying(retry: Value) -> Given {
    given().spec(json!({ "retry": { "backoff": { "jitter": "None" } } })).spec(json!({ "retry": retry }))
}

fn running(number: i64) -> Given {
    retrying(json!({})).running(number, "10:00:00")
}

fn ran(exit_code: i32, report: &[Value]) -> PodBuilder {
    pod(1).scheduled("09:59:59").ran("10:00:00", "10:01:00", exit_code).reporting(report)
}

/// How many attempts end like this before the task fails, and its reason; at most 20.
fn tries(given: Given, end: impl Fn(i64) -> PodBuilder) -> (i64, String) {
    for number in 1..=20 {
        let attempt = given.clone().running(number, "10:00:00").pod(end(number));
        let mut given_before = attempt;
        if number > 1 {
            given_before = given_before.status(|status| status.consecutive = counted(&given, number - 1, &end));
        }
        let status = given_before.at("10:01:01").status();
        if status.phase.is_some_and(longtask::api::task::Phase::is_terminal) {
            return (number, status.reason);
        }
    }
    (0, String::new())
}

/// The counters after that many attempts.
fn counted(given: &Given, attempts: i64, end: &impl Fn(i64) -> PodBuilder) -> longtask::api::task::Consecutive {
    (1..=attempts).fold(longtask::api::task::Consecutive::default(), |counters, number| {
        let given = given.clone().running(number, "10:00:00").status(|status| status.consecutive = counters);
        given.pod(end(number)).at("10:01:01").status().consecutive
    })
}

fn of(number: i64) -> PodBuilder {
    pod(number).scheduled("09:59:59")
}

#[test]
fn a_budget_of_b_allows_b_plus_one_tries() {
    for b in [0, 1, 3] {
        let budgets = json!({ "budgets": { "failures": b, "stalls": b, "startFailures": b, "interruptions": b } });
        let given = retrying(budgets);
        let ends: [(&str, &dyn Fn(i64) -> PodBuilder); 4] = [
            ("FailureBudgetExhausted", &|n| of(n).ran("10:00:00", "10:01:00", 1)),
            ("NoProgress", &|n| of(n).ran("10:00:00", "10:01:00", 75)),
            ("InterruptionBudgetExhausted", &|n| of(n).runs("10:00:00").phase("Failed")),
            ("FailureBudgetExhausted", &|n| of(n).ran("10:00:00", "10:01:00", 137).called("OOMKilled")),
        ];
        for (reason, end) in ends {
            assert_eq!(tries(given.clone(), end), (b + 1, reason.to_owned()));
        }
    }
    let start = |n: i64| {
        let given = retrying(json!({ "budgets": { "startFailures": 2 } })).creating(n);
        let given = given.status(|status| status.consecutive.start_failures = n - 1);
        given.pod(pod(n).start_error("StartError")).at("10:01:00").status().reason
    };
    assert_eq!((start(2).as_str(), start(3).as_str()), ("StartError", "StartBudgetExhausted"));
}

#[test]
fn a_budget_of_minus_one_is_unlimited() {
    let given = retrying(json!({ "budgets": { "failures": -1 } })).running(1, "10:00:00");
    let given = given.status(|status| status.consecutive.failures = 1_000_000).pod(ran(1, &[]));
    given.at("10:01:01").expect_containing(&["failures 1000001", "next 10:06:01"]);
}

#[test]
fn the_last_try_is_not_followed_by_a_wait() {
    let given = retrying(json!({ "budgets": { "failures": 0 } })).running(1, "10:00:00").pod(ran(1, &[]));
    let planned = given.at("10:01:01").expect_without(&["next", "wake", "Warning AttemptFailed"]);
    assert!(planned.note("Failed").starts_with("Failed (FailureBudgetExhausted): Attempt 1 of segment 1 was try 1"));
    assert_eq!(planned.status().retries, 0);
}

#[test]
fn no_progress_says_how_to_report() {
    let given = retrying(json!({ "budgets": { "stalls": 0 } })).running(1, "10:00:00").pod(ran(75, &[]));
    let planned = given.at("10:01:01");
    assert!(planned.note("Failed").contains("$LONGTASK_REPORT") && planned.note("Failed").contains("External"));
}

#[test]
fn progress_resets_every_counter_before_the_end_is_counted() {
    let given = running(1).status(|status| {
        let counters = &mut status.consecutive;
        (counters.failures, counters.stalls, counters.start_failures, counters.interruptions) = (6, 3, 5, 9);
    });
    given.clone().pod(ran(1, &[json!({ "checkpoint": { "n": 1 } })])).at("10:01:01").expect_containing(&[
        "failures 1",
        "stalls 0",
        "startFailures 0",
        "interruptions 0",
        "next 10:01:11",
    ]);
    let kept = given.spec(json!({ "retry": { "resetOnProgress": false } }));
    kept.pod(ran(1, &[json!({ "checkpoint": { "n": 1 } })]))
        .at("10:01:01")
        .expect_containing(&["phase Failed FailureBudgetExhausted", "failures 7"]);
}

#[test]
fn one_class_of_trouble_does_not_reset_another() {
    let given = running(1).status(|status| (status.consecutive.failures, status.consecutive.stalls) = (2, 1));
    let planned = given.pod(pod(1).runs("10:00:00").phase("Failed")).at("10:01:01");
    let counters = planned.status().consecutive;
    assert_eq!((counters.failures, counters.stalls, counters.interruptions), (2, 1, 1));
}

#[test]
fn a_checkpoint_is_progress_only_if_it_is_new_and_completed_was_never_reported() {
    let is_stall = |mark: Option<i64>, report: Value| {
        let given = running(1).pod(
            pod(1)
                .scheduled("09:59:59")
                .ran("09:00:00", "09:10:00", 75)
                .reporting(&[json!({ "checkpoint": { "n": 1 } })]),
        );
        let given = given.at("10:00:00").then().running(2, "10:00:00").status(|status| status.run.high_water = mark);
        let given = given.only(of(2).ran("10:00:00", "10:01:00", 75).reporting(&[report]));
        given.at("10:01:01").status().consecutive.stalls == 1
    };
    assert!(!is_stall(None, json!({ "checkpoint": { "n": 2 } })));
    assert!(is_stall(None, json!({ "checkpoint": { "n": 1 } })), "the same again");
    assert!(is_stall(None, json!({ "checkpoint": { "n": 1.0 } })), "the same number");
    assert!(is_stall(Some(5), json!({ "checkpoint": { "n": 2 } })), "completed decides once it is known");
    assert!(is_stall(Some(5), json!({ "checkpoint": { "n": 2 }, "progress": { "completed": 5 } })));
    assert!(!is_stall(Some(5), json!({ "progress": { "completed": 6 } })));
}

#[test]
fn a_program_that_goes_round_in_circles_stalls() {
    let mut given =
        running(1).pod(of(1).ran("10:00:00", "10:01:00", 75).reporting(&[json!({ "checkpoint": { "n": 0 } })]));
    let mut stalls = Vec::new();
    for number in 2..=4 {
        let report = json!({ "checkpoint": { "n": (number - 1) % 2 } });
        given = given.at("10:01:01").then().running(number, "10:00:00");
        given = given.only(of(number).ran("10:00:00", "10:01:00", 75).reporting(&[report]));
        stalls.push(given.clone().at("10:01:01").status().consecutive.stalls);
    }
    assert_eq!(stalls, [0, 1, 2]);
}

#[test]
fn an_external_program_makes_progress_by_running_to_its_limit_or_for_ten_seconds() {
    let stalls = |end: PodBuilder, mark: Option<i64>| {
        let given = running(1).spec(json!({ "checkpoint": { "source": "External" } }));
        let given = given.status(|status| (status.consecutive.failures, status.run.high_water) = (2, mark));
        let counters = given.pod(end).at("11:00:01").status().consecutive;
        (counters.stalls, counters.failures)
    };
    let yielded = |ended| pod(1).scheduled("09:59:59").ran("10:00:00", ended, 75);
    let limit =
        || pod(1).scheduled("09:59:59").deadline(3601).ran("10:00:00", "11:00:00", 1).because("DeadlineExceeded");
    assert_eq!(stalls(yielded("10:00:09"), None), (1, 2));
    assert_eq!(stalls(yielded("10:00:10"), None), (0, 0));
    assert_eq!(stalls(limit(), None), (0, 0));
    assert_eq!(stalls(limit(), Some(5)), (1, 2), "completed decides once it was reported");
    assert_eq!(stalls(limit().reporting(&[json!({ "progress": { "completed": 6 } })]), Some(5)), (0, 0));
    let failed = pod(1).ran("10:00:00", "10:30:00", 1);
    assert_eq!(stalls(failed, None), (0, 3), "a failure is no progress");
}

#[test]
fn delays_grow_from_the_first_retry_after_progress() {
    for (failures, next) in [(0, "10:01:11"), (1, "10:01:21"), (2, "10:01:41"), (5, "10:06:01")] {
        let given = running(1).status(|status| status.consecutive.failures = failures).pod(ran(1, &[]));
        given.at("10:01:01").expect_containing(&[&format!("next {next}")]);
    }
}

#[test]
fn jitter_stays_within_its_bounds() {
    for (jitter, low, high) in [("Full", 1, 40), ("Equal", 20, 40), ("Additive", 40, 50)] {
        for number in 1..40 {
            let given =
                given().spec(json!({ "retry": { "backoff": { "jitter": jitter } } })).running(number, "10:00:00");
            let given = given.status(|status| status.consecutive.failures = 2);
            let planned = given.pod(of(number).ran("10:00:00", "10:01:00", 1)).at("10:01:00");
            let wait = planned.status().next_attempt_time.expect("a time").as_second() - t("10:01:00").as_second();
            assert!((low..=high).contains(&wait), "{jitter}: {wait}");
        }
    }
}

#[test]
fn the_next_time_does_not_move_while_waiting() {
    let waiting = running(1).pod(ran(1, &[])).at("10:01:01").then();
    waiting.clone().at("10:01:05").expect(["wake 10:01:11"]);
    waiting.at("10:01:11").expect_containing(&["attempt 2 Creating", "create pod t-2", "next -"]);
}

#[test]
fn the_program_may_ask_for_a_delay_up_to_the_cap() {
    for (asked, next) in [("30s", "10:01:31"), ("2026-11-24T10:31:01Z", "10:31:01"), ("99h", "11:01:01")] {
        let given = running(1).pod(ran(1, &[json!({ "error": { "retryAfter": asked } })]));
        given.at("10:01:01").expect_containing(&["failures 1", &format!("next {next}")]);
        let given = running(1).pod(ran(75, &[json!({ "resumeAfter": asked })]));
        given.at("10:01:01").expect_containing(&["phase Waiting ResumeAfter", &format!("next {next}")]);
    }
}

#[test]
fn a_request_of_an_exit_that_it_does_not_belong_to_is_ignored() {
    let given = running(1).pod(ran(1, &[json!({ "resumeAfter": "30m" })]));
    given.at("10:01:01").expect_containing(&["next 10:01:11"]);
}

#[test]
fn interruptions_wait_a_second_then_double_to_thirty() {
    for (interruptions, next) in [(0, "10:01:02"), (1, "10:01:03"), (4, "10:01:17"), (5, "10:01:31"), (99, "10:01:31")]
    {
        let given = running(1).status(|status| status.consecutive.interruptions = interruptions);
        let given = given.pod(pod(1).runs("10:00:00").phase("Failed"));
        given.at("10:01:01").expect_containing(&[&format!("next {next}")]);
    }
}

#[test]
fn a_crash_after_a_checkpoint_loses_no_work() {
    let lost = |report: &[Value]| running(1).pod(ran(1, report)).at("10:01:01").status().totals.work_lost_seconds;
    assert_eq!((lost(&[]), lost(&[json!({ "checkpoint": { "n": 1 } })])), (60, 0));
}

#[test]
fn history_keeps_the_newest_and_follows_its_limit() {
    let mut given = running(1).spec(json!({ "checkpoint": { "historyLimit": 2 } }));
    for number in 1..=5 {
        given = given
            .running(number, "10:00:00")
            .only(of(number).ran("10:00:00", "10:01:00", 75).reporting(&[json!({ "checkpoint": { "n": number } })]));
        given = given.at("10:01:01").then();
    }
    let sequences = |given: &Given| {
        let status = given.clone().at("10:01:01").status();
        status.checkpoint.iter().chain(&status.checkpoint_history).map(|one| one.sequence).collect::<Vec<_>>()
    };
    assert_eq!(sequences(&given), [5, 4, 3]);
    let given = given.spec(json!({ "checkpoint": { "historyLimit": 0 } })).running(6, "10:00:00");
    let given = given.only(of(6).ran("10:00:00", "10:01:00", 1)).at("10:01:01").then();
    assert_eq!(sequences(&given), [5], "also when nothing new was reported");
}

#[test]
fn a_hundred_interruptions_with_progress_fail_no_task_with_a_budget_of_one() {
    let mut given = running(1).spec(json!({ "retry": { "budgets": { "interruptions": 1, "failures": 0 } } }));
    for number in 1..=100 {
        let evicted = of(number)
            .scheduled("10:00:00")
            .ran("10:00:00", "10:01:00", 143)
            .reporting(&[json!({ "checkpoint": { "n": number } })])
            .disrupted("EvictionByEvictionAPI", "10:00:59");
        given = given.running(number, "10:00:00").only(evicted).at("10:01:01").then();
    }
    let status = given.clone().at("10:01:01").status();
    assert_eq!((status.totals.interruptions, status.consecutive.interruptions), (100, 1));
    assert_eq!((status.totals.failures, status.totals.work_lost_seconds, status.retries), (0, 0, 0));
    assert_eq!(status.phase, Some(longtask::api::task::Phase::Waiting));
}

#[test]
fn without_a_budget_interruptions_never_fail_a_task() {
    let mut given = running(1);
    for number in 1..=100 {
        let evicted = of(number).ran("10:00:00", "10:01:00", 143).disrupted("EvictionByEvictionAPI", "10:00:59");
        given = given.running(number, "10:00:00").only(evicted).at("10:01:01").then();
    }
    let status = given.at("10:01:01").status();
    assert_eq!((status.consecutive.interruptions, status.phase), (100, Some(longtask::api::task::Phase::Waiting)));
}
