//! When a breaker opens, how it tries, and when it closes.

use jiff::Timestamp;
use longtask::{
    api::{
        queue::{BreakerState, BreakerStatus, Holder, TaskQueueStatus},
        task::{Outcome, TicketState},
    },
    queue::plan::{QueueEventReason, QueuePlan, QueueWake, QueuedTask, Turn},
    types::{find_condition, is_condition_true},
};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::{Given, given, names, place, t, waiting, with};

/// A queue of so many places whose breaker opens after two failures.
fn guarded(places: usize) -> Given {
    given(json!({ "maxActive": places, "breaker": { "counts": [{ "onErrorCodes": ["PartnerDown"] }], "failures": 2 } }))
}

fn breaker(status: &TaskQueueStatus) -> &BreakerStatus {
    status.breaker.as_ref().expect("a breaker")
}

fn state(plan: &QueuePlan) -> BreakerState {
    breaker(plan.status.as_ref().expect("a status")).state
}

/// A turn that ended at this time, in this way.
fn turn(ticket: i64, outcome: Outcome, code: Option<&str>, time: Timestamp) -> Turn {
    let (code, exit_code) = (code.map(str::to_owned), Some(i32::from(outcome == Outcome::Failed)));
    Turn { ticket, outcome, reason: None, exit_code, code, message: "no answer".into(), finished_at: time }
}

/// The task's turn is over; it waits again.
fn after_turn(task: QueuedTask, turn: Turn) -> QueuedTask {
    let ticket = turn.ticket + 1;
    let mut task = with(QueuedTask { turn: Some(turn), ..task }, ticket, TicketState::Waiting);
    task.ticket.as_mut().expect("a ticket").since = task.turn.as_ref().expect("a turn").finished_at;
    task
}

fn down(name: &str, time: &str) -> QueuedTask {
    after_turn(waiting(name), turn(1, Outcome::Failed, Some("PartnerDown"), t(time)))
}

fn healthy(name: &str, time: &str) -> QueuedTask {
    after_turn(waiting(name), turn(1, Outcome::Completed, None, t(time)))
}

/// It has been open since 10:00:00, for the first time.
fn open() -> Given {
    let mut given = guarded(20).holders([place("a", 1), place("b", 1)]).task(down("a", "09:59:59"));
    given = given.task(down("b", "10:00:00")).waits(&["c"]);
    given.status = given.at("10:00:00").status;
    given
}

#[test]
fn it_opens_when_failures_of_two_tasks_are_too_many() {
    let given = guarded(20).holders([place("a", 1), place("b", 1)]).task(down("a", "09:59:59")).waits(&["c"]);
    let plan = given.clone().task(with(waiting("b"), 1, TicketState::Admitted)).at("10:00:00");
    assert_eq!((state(&plan), plan.waits.len()), (BreakerState::Closed, 2), "one failure: a and c are called");
    let plan = given.task(down("b", "10:00:00")).at("10:00:00");
    assert_eq!((state(&plan), plan.waits.len(), plan.wake), (BreakerState::Open, 0, QueueWake::At(t("10:00:30"))));
    assert_eq!(plan.events[0].reason, QueueEventReason::BreakerOpened);
    for words in ["PartnerDown of n/b: no answer", "until 2026-11-24T10:00:30Z"] {
        assert!(plan.events[0].note.contains(words), "{}", plan.events[0].note);
    }
    let status = plan.status.expect("a status");
    assert!(is_condition_true(&status.conditions, "BreakerOpen"));
    assert_eq!((breaker(&status).openings, breaker(&status).window.len()), (1, 0));
}

#[test]
fn one_task_alone_does_not_open_it() {
    let mut given = guarded(2).task(waiting("a"));
    let start = t("10:00:00").as_second();
    for round in 0..9 {
        let now = Timestamp::from_second(start + round).expect("a time");
        let plan = given.at_moment(now);
        assert_eq!(state(&plan), BreakerState::Closed);
        given.status = plan.status;
        given.tasks = vec![after_turn(waiting("a"), turn(round + 1, Outcome::Failed, Some("PartnerDown"), now))];
    }
}

#[test]
fn what_is_not_counted_and_what_is_over_does_not_open_it() {
    let opens = |one: QueuedTask, other: QueuedTask| {
        let given = guarded(9).holders([place("a", 1), place("b", 1)]).task(one).task(other);
        state(&given.at("10:00:00")) == BreakerState::Open
    };
    let failed =
        |name: &str, code: &str, time: &str| after_turn(waiting(name), turn(1, Outcome::Failed, Some(code), t(time)));
    assert!(opens(down("a", "10:00:00"), down("b", "10:00:00")));
    assert!(!opens(down("a", "10:00:00"), failed("b", "MyOwnFault", "10:00:00")));
    assert!(!opens(down("a", "09:58:59"), down("b", "10:00:00")), "it ended before the window");
    let interrupted = after_turn(waiting("b"), turn(1, Outcome::Interrupted, Some("PartnerDown"), t("10:00:00")));
    assert!(!opens(down("a", "10:00:00"), interrupted));
    let mut of_before = down("b", "10:00:00");
    of_before.turn.as_mut().expect("a turn").ticket = 0;
    assert!(!opens(down("a", "10:00:00"), of_before), "its last attempt was of an earlier ticket");
}

#[test]
fn it_opens_only_if_failures_are_the_share_that_is_set() {
    let opens = |others: &[QueuedTask]| {
        let mut given = guarded(9).task(down("a", "10:00:00")).task(down("b", "10:00:00"));
        let places = ["a", "b"].into_iter().chain(others.iter().map(|task| task.name.as_str()));
        given = given.holders(places.map(|name| place(name, 1)).collect::<Vec<_>>());
        given.tasks.extend(others.iter().cloned());
        state(&given.at("10:00:00")) == BreakerState::Open
    };
    let well = ["c", "d", "e"].map(|name| healthy(name, "10:00:00"));
    assert!(opens(&well[..2]), "two of four");
    assert!(!opens(&well), "two of five");
    let runs = ["c", "d", "e"]
        .map(|name| QueuedTask { runs_since: Some(t("09:59:30")), ..with(waiting(name), 1, TicketState::Admitted) });
    assert!(!opens(&runs), "three have run for half a minute");
    let young = runs.map(|task| QueuedTask { runs_since: Some(t("09:59:31")), ..task });
    assert!(opens(&young));
}

#[test]
fn an_open_breaker_has_nobody_called_and_then_one_as_a_probe() {
    let mut given = open();
    assert_eq!(given.at("10:00:29").waits.len(), 0);
    let plan = given.at("10:00:30");
    assert_eq!(
        (state(&plan), names(&plan)),
        (BreakerState::HalfOpen, vec!["c".to_owned()]),
        "those that failed go behind"
    );
    let status = plan.status.expect("a status");
    assert!(status.holders[0].probe && is_condition_true(&status.conditions, "BreakerOpen"));
    given.status = Some(status);
    assert_eq!(given.at("10:00:31").waits.len(), 0, "one at a time");
}

#[test]
fn a_change_of_the_time_between_probes_acts_at_once() {
    let mut given = open();
    given.spec["breaker"]["openFor"] = json!("5s");
    assert_eq!(state(&given.at("10:00:05")), BreakerState::HalfOpen);
}

/// The first probe is called at 10:00:30, and its turn ends at 10:00:40.
fn after_first_probe(outcome: Outcome, code: Option<&str>) -> Given {
    let mut given = open();
    given.status = given.at("10:00:30").status;
    given.tasks.retain(|task| task.name != "c");
    given.task(after_turn(waiting("c"), turn(1, outcome, code, t("10:00:40"))))
}

#[test]
fn a_probe_that_fails_opens_it_for_twice_as_long_up_to_a_limit() {
    let mut given = after_first_probe(Outcome::Failed, Some("PartnerDown"));
    let plan = given.at("10:00:40");
    assert_eq!((state(&plan), plan.waits.len(), plan.wake), (BreakerState::Open, 0, QueueWake::At(t("10:01:40"))));
    assert_eq!(plan.events[0].reason, QueueEventReason::BreakerOpened);
    given.status = plan.status;
    given.spec["breaker"]["maxOpenFor"] = json!("40s");
    assert_eq!(state(&given.at("10:01:20")), BreakerState::HalfOpen);
}

#[test]
fn a_probe_that_tells_nothing_is_followed_by_another() {
    let plan = after_first_probe(Outcome::Interrupted, None).at("10:00:40");
    assert_eq!((state(&plan), plan.waits.len()), (BreakerState::HalfOpen, 1));
}

#[test]
fn who_runs_on_from_before_it_opened_decides_nothing() {
    let mut given = open();
    let mut status = given.at("10:00:30").status.expect("a status");
    status.holders.push(place("old", 1));
    given.status = Some(status);
    given = given.task(down("old", "10:00:40"));
    let plan = given.at("10:00:40");
    assert_eq!((state(&plan), plan.waits.len()), (BreakerState::HalfOpen, 0));
}

/// Every task that is called ends healthy; returns how many were called at each look, until the breaker is closed.
fn calls_until_closed(given: &mut Given) -> Vec<usize> {
    let (mut calls, mut now) = (Vec::new(), t("10:00:30").as_second());
    loop {
        let plan = given.at_moment(Timestamp::from_second(now).expect("a time"));
        let Some(status) = plan.status else { panic!("it stands still after {calls:?}") };
        if breaker(&status).state == BreakerState::Closed {
            assert_eq!(plan.events[0].reason, QueueEventReason::BreakerClosed);
            let shown = find_condition(&status.conditions, "BreakerOpen").expect("the condition");
            assert_eq!((shown.status.as_str(), shown.reason.as_str()), ("False", "DependencyHealthy"));
            assert!(breaker(&status).openings == 0 && status.holders.iter().all(|holder| !holder.probe));
            return calls;
        }
        calls.push(plan.waits.len());
        now += 1;
        for Holder { task, ticket, .. } in &status.holders {
            let task =
                given.tasks.iter_mut().find(|known| task.ends_with(&format!("/{}", known.name))).expect("a task");
            let ended = turn(*ticket, Outcome::Completed, None, Timestamp::from_second(now).expect("a time"));
            *task = after_turn(task.clone(), ended);
        }
        given.status = Some(status);
    }
}

#[test]
fn it_closes_after_healthy_waves_of_one_two_four_and_eight() {
    let names: Vec<_> = (0..30).map(|number| format!("t{number}")).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(calls_until_closed(&mut open().waits(&names)), [1, 2, 4, 8]);
    let mut few = open().waits(&names);
    few.spec["maxActive"] = json!(3);
    assert_eq!(calls_until_closed(&mut few), [1, 2, 3], "with as many probes as there are places");
}

#[test]
fn an_attempt_that_runs_for_long_enough_is_a_healthy_probe() {
    let mut given = open();
    given.status = given.at("10:00:30").status;
    given.tasks.retain(|task| task.name != "c");
    let probe = with(waiting("c"), 1, TicketState::Admitted);
    given = given.task(QueuedTask { runs_since: Some(t("10:00:32")), ..probe });
    let plan = given.at("10:00:40");
    assert_eq!((plan.status, plan.wake), (None, QueueWake::At(t("10:01:02"))));
    let plan = given.at("10:01:02");
    assert_eq!((state(&plan), plan.waits.len()), (BreakerState::HalfOpen, 1), "it is one of the two of the next wave");
}

#[test]
fn it_closes_when_nobody_is_left_to_be_tried() {
    let mut given = after_first_probe(Outcome::Completed, None);
    given.tasks.retain(|task| task.name == "c");
    given.tasks[0].ticket.as_mut().expect("a ticket").state = TicketState::Returned;
    assert_eq!(state(&given.at("10:00:40")), BreakerState::Closed);
}

#[test]
fn a_breaker_that_is_taken_off_lets_all_be_called() {
    let mut given = open();
    given.spec = json!({ "maxActive": 20 });
    let plan = given.at("10:00:10");
    let status = plan.status.expect("a status");
    assert_eq!((plan.waits.len(), status.breaker, status.conditions[0].status.as_str()), (3, None, "False"));
}

#[test]
fn while_it_tries_those_who_have_begun_do_not_come_first() {
    let mut begun = QueuedTask { has_begun: true, ..waiting("z-begun") };
    begun.ticket.as_mut().expect("a ticket").since = t("09:30:00");
    assert_eq!(names(&open().task(begun.clone()).at("10:00:30")), ["c"]);
    let closed = guarded(1).waits(&["c"]).task(begun);
    assert_eq!(names(&closed.at("10:00:30")), ["z-begun"]);
}

/// Q2: what was found running may have been counted already, by a queue that knew it.
#[test]
fn a_turn_that_the_queue_has_not_called_itself_counts_for_nothing() {
    let admitted = ["a", "b"].map(|name| with(waiting(name), 1, TicketState::Admitted));
    let mut given = guarded(9);
    given.tasks.extend(admitted);
    let status = given.at("09:59:00").status.expect("a status");
    assert!(status.holders.iter().all(|holder| holder.adopted));
    given.status = Some(status);
    given.tasks = vec![down("a", "10:00:00"), down("b", "10:00:00")];
    assert_eq!(state(&given.at("10:00:00")), BreakerState::Closed);
}

fn outcomes() -> BoxedStrategy<(Outcome, Option<&'static str>)> {
    prop_oneof![
        Just((Outcome::Failed, Some("PartnerDown"))),
        Just((Outcome::Failed, None)),
        Just((Outcome::Completed, None)),
        Just((Outcome::Interrupted, None)),
    ]
    .boxed()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Q2, and what an open breaker allows: whatever ends how and when, nobody is called while it is open, no more than a wave
    /// while it is half open, and what is counted never exceeds the turns that ended.
    #[test]
    fn nobody_is_called_while_it_is_open(
        ends in prop::collection::vec((outcomes(), 0..40_i64, 1..6_usize), 1..60),
    ) {
        let mut given = guarded(6).waits(&["a", "b", "c", "d", "e", "f", "g", "h"]);
        let (mut now, mut turns) = (t("10:00:00").as_second(), 0_i64);
        for ((outcome, code), pause, number) in ends {
            now += pause;
            let moment = Timestamp::from_second(now).expect("a time");
            let plan = given.at_moment(moment);
            if let Some(status) = plan.status {
                let standing = breaker(&status).clone();
                let probes = i64::try_from(status.holders.iter().filter(|holder| holder.probe).count()).expect("few");
                match standing.state {
                    BreakerState::Open => prop_assert_eq!(plan.waits.len(), 0),
                    BreakerState::HalfOpen => prop_assert!(probes <= standing.wave.expect("a wave").allow),
                    BreakerState::Closed => prop_assert_eq!(probes, 0),
                }
                let counted: i64 = standing.window.iter().map(|bucket| bucket.failed + bucket.healthy).sum();
                prop_assert!(counted <= turns, "{counted} are counted of {turns}");
                given.status = Some(status);
            }
            let holders = given.status.as_ref().map(|status| status.holders.clone()).unwrap_or_default();
            for Holder { task, ticket, .. } in holders.iter().take(number) {
                let task = given.tasks.iter_mut().find(|known| task.ends_with(&format!("/{}", known.name)));
                let task = task.expect("a task");
                if task.ticket.as_ref().is_some_and(|known| known.number == *ticket) {
                    *task = after_turn(task.clone(), turn(*ticket, outcome, code, moment));
                    turns += 1;
                }
            }
        }
    }
}

#[test]
fn a_breaker_is_written_as_it_is_read() {
    let status = open().status.expect("a status");
    let text: Value = serde_json::to_value(&status).expect("JSON");
    assert_eq!(serde_json::from_value::<TaskQueueStatus>(text).expect("a status"), status);
}
