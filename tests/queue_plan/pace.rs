//! How fast tasks are called.

use jiff::Timestamp;
use longtask::{
    api::{queue::Rate, task::TicketState},
    queue::plan::{QueueWake, Rhythm},
    types::GoDuration,
};
use proptest::prelude::*;
use serde_json::json;

use crate::support::{Given, given, t, waiting, with};

#[test]
fn calls_are_spread_over_the_time() {
    let mut given = given(json!({ "maxActive": 9, "rate": { "starts": 5, "per": "10s" } })).waits(&["a", "b", "c"]);
    let plan = given.at("10:00:00");
    assert_eq!((plan.waits.len(), plan.wake), (1, QueueWake::At(t("10:00:02"))));
    given.status = plan.status;
    assert_eq!(given.at("10:00:01").waits.len(), 0);
    assert_eq!(given.at("10:00:02").waits.len(), 1);
}

#[test]
fn a_rate_that_is_taken_off_is_forgotten() {
    let mut given = given(json!({ "maxActive": 9, "rate": { "starts": 1, "per": "24h" } })).waits(&["a", "b", "c"]);
    given.status = given.at("10:00:00").status;
    given.spec = json!({ "maxActive": 9 });
    let plan = given.at("10:00:01");
    assert_eq!((plan.waits.len(), plan.status.expect("a status").next_call_time), (2, None));
}

/// Calls everybody who may be called, at these moments; returns when each call was.
fn calls(given: &mut Given, moments: &[i64]) -> Vec<i64> {
    let mut calls = Vec::new();
    for micros in moments {
        let plan = given.at_moment(Timestamp::from_microsecond(*micros).expect("a time"));
        calls.extend(plan.waits.iter().map(|_| *micros));
        let Some(status) = plan.status else { continue };
        // Whoever was called has been quick.
        for holder in &status.holders {
            let task = given.tasks.iter_mut().find(|task| task.name == holder.name()).expect("a task");
            *task = with(task.clone(), 1, TicketState::Returned);
        }
        given.status = Some(status);
    }
    calls
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Q3
    #[test]
    fn in_any_time_no_more_are_called_than_the_rate_allows(
        starts in 1..400_i32,
        per in 1..120_i64,
        burst in 1..20_i32,
        pauses in prop::collection::vec(prop_oneof![0..150_000_i64, 0..5_000_000_i64], 1..120),
    ) {
        let rate = Rate { starts, per: GoDuration::from_secs(per), burst };
        let spec = json!({ "maxActive": 1000, "rate": { "starts": starts, "per": format!("{per}s"), "burst": burst } });
        let mut given = given(spec);
        for number in 0..600 {
            given = given.task(waiting(&format!("t{number}")));
        }
        let start = t("10:00:00").as_microsecond();
        let moments: Vec<_> = pauses
            .iter()
            .scan(start, |now, pause| {
                *now += pause;
                Some(*now)
            })
            .collect();
        let calls = calls(&mut given, &moments);
        let most = usize::try_from(Rhythm::of(&rate).most_in(per * 1_000_000)).expect("a number");
        let together = usize::try_from((i64::from(starts) / (per * 10)).max(i64::from(burst)).max(1)).expect("a number");
        prop_assert!(most < usize::try_from(starts).expect("a number") + together, "{most} is more than the bound");
        for (index, first) in calls.iter().enumerate() {
            let within = calls[index..].iter().take_while(|call| **call < first + per * 1_000_000).count();
            prop_assert!(within <= most, "{within} calls, and {most} may be");
        }
    }
}

/// Q4
#[test]
fn with_aging_the_least_urgent_is_called_some_day() {
    let mut given = given(json!({ "maxActive": 1, "aging": "10s" }));
    let mut least = waiting("least");
    least.priority = -10;
    least.ticket.as_mut().expect("a ticket").since = t("10:00:00");
    given = given.task(least);
    let start = t("10:00:00").as_second();
    // An endless stream of urgent ones, each with a new ticket as soon as the one before is done.
    for round in 0..60 {
        let now = Timestamp::from_second(start + round * 5).expect("a time");
        let mut urgent = waiting(&format!("urgent-{round}"));
        urgent.priority = 0;
        urgent.ticket.as_mut().expect("a ticket").since = now;
        given = given.task(urgent);
        let plan = given.at_moment(now);
        let status = plan.status.expect("somebody is called");
        let called = status.holders.last().expect("a holder").name().to_owned();
        if called == "least" {
            assert!(round >= 19, "called after {round} rounds");
            return;
        }
        let task = given.tasks.iter_mut().find(|task| task.name == called).expect("a task");
        *task = with(task.clone(), 1, TicketState::Returned);
        given.status = Some(status);
    }
    panic!("it was never called");
}
