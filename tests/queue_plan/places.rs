//! Who has a place, and until when.

use longtask::{
    api::{
        queue::QueueKey,
        task::TicketState::{Admitted, Returned, Waiting},
    },
    queue::plan::{QueueEventReason, QueueWake, QueuedTask},
};
use serde_json::json;

use crate::support::{given, names, place, t, waiting, with};

#[test]
fn no_more_are_called_than_there_are_places() {
    let given = given(json!({ "maxActive": 2 })).waits(&["a", "b", "c"]);
    let plan = given.at("10:00:00");
    assert_eq!(names(&plan), ["a", "b"]);
    let status = plan.status.expect("a status");
    assert_eq!((status.active, status.waiting, status.summary.as_str()), (2, 1, "2/2"));
    assert_eq!(plan.waits, [3600, 3600]);
    assert_eq!(status.last_wait.expect("a wait").to_string(), "1h");
}

#[test]
fn a_call_is_not_taken_back_whatever_becomes_of_the_task() {
    let called = || given(json!({ "maxActive": 1 })).holders([place("a", 1)]).task(waiting("b"));
    let is_kept = |task: QueuedTask| {
        called().task(task).at("10:00:00").status.is_none_or(|status| status.holders == [place("a", 1)])
    };
    assert!(is_kept(waiting("a")), "it has not taken its place yet");
    assert!(is_kept(with(waiting("a"), 1, Admitted)));
    assert!(is_kept(QueuedTask { is_being_deleted: true, ..waiting("a") }));
    assert!(is_kept(QueuedTask { asks: None, ..waiting("a") }), "its user takes the queue off");
    assert!(is_kept(QueuedTask { ticket: None, ..waiting("a") }), "its status was lost");
}

#[test]
fn a_place_is_free_when_the_tasks_own_status_says_so() {
    let next = |task: QueuedTask| {
        let given = given(json!({ "maxActive": 1 })).holders([place("a", 1)]).task(waiting("b")).task(task);
        names(&given.at("10:00:00"))
    };
    assert_eq!(next(with(waiting("a"), 1, Returned)), ["b"]);
    let mut later = with(waiting("a"), 2, Waiting);
    later.ticket.as_mut().expect("a ticket").since = t("09:30:00");
    assert_eq!(next(later), ["b"], "at the end of a segment the order decides anew");
    let elsewhere = QueueKey { namespace: "n".into(), name: "other".into() };
    let mut moved = with(waiting("a"), 2, Admitted);
    moved.ticket.as_mut().expect("a ticket").queue = elsewhere.into();
    assert_eq!(next(moved), ["b"]);
}

#[test]
fn a_place_of_which_nothing_is_known_waits_for_a_live_read() {
    let mut given = given(json!({ "maxActive": 1 })).holders([place("a", 1)]).task(waiting("b"));
    given.status.as_mut().expect("a status").waiting = 1;
    let plan = given.at("10:00:00");
    assert_eq!((plan.status, plan.wake), (None, QueueWake::At(t("10:00:05"))));
    let mut namesake = waiting("a");
    namesake.uid = "another".into();
    let plan = given.clone().task(namesake).at("10:00:00");
    assert_eq!(plan.wake, QueueWake::At(t("10:00:05")), "another task of the name says nothing");
    given.gone.insert((place("a", 1).task, place("a", 1).uid));
    assert_eq!(names(&given.at("10:00:05")), ["b"]);
}

#[test]
fn a_queue_that_is_made_again_takes_those_who_run_for_its_own() {
    let given = given(json!({ "maxActive": 1 }))
        .task(with(waiting("a"), 7, Admitted))
        .task(with(waiting("b"), 3, Admitted))
        .waits(&["c"]);
    let plan = given.at("10:00:00");
    assert_eq!(names(&plan), ["a", "b"]);
    assert_eq!((plan.waits.len(), plan.waiting), (0, 1), "nobody is called above the limit");
}

#[test]
fn a_lower_limit_stops_nobody() {
    let given = given(json!({ "maxActive": 1 }))
        .holders([place("a", 1), place("b", 1)])
        .task(with(waiting("a"), 1, Admitted))
        .task(with(waiting("b"), 1, Admitted))
        .waits(&["c"]);
    assert_eq!(names(&given.at("10:00:00")), ["a", "b"]);
}

#[test]
fn only_those_are_called_who_may_use_the_queue_and_still_want_it() {
    let given = given(json!({ "maxActive": 9 }))
        .waits(&["a", "elsewhere/b"])
        .task(QueuedTask { asks: None, ..waiting("c") })
        .task(QueuedTask { is_being_deleted: true, ..waiting("d") })
        .task(with(waiting("e"), 1, Returned))
        .task(QueuedTask { ticket: None, ..waiting("f") });
    let plan = given.at("10:00:00");
    assert_eq!((names(&plan), plan.waiting), (vec!["a".to_owned()], 0));
}

#[test]
fn a_suspended_queue_calls_nobody_and_says_so_once() {
    let mut given = given(json!({ "maxActive": 2, "suspend": true }))
        .holders([place("a", 1)])
        .task(with(waiting("a"), 1, Admitted))
        .waits(&["b"]);
    let plan = given.at("10:00:00");
    assert_eq!(names(&plan), ["a"]);
    assert_eq!(plan.events[0].reason, QueueEventReason::Suspended);
    given.status = plan.status;
    let again = given.at("10:00:07");
    assert_eq!((again.status, again.events.len()), (None, 0));
    given.spec["suspend"] = json!(false);
    let resumed = given.at("10:00:09");
    assert_eq!(names(&resumed), ["a", "b"]);
    assert_eq!(resumed.events[0].reason, QueueEventReason::Resumed);
}

#[test]
fn what_is_as_it_was_is_not_written_and_figures_are_now_and_then() {
    let mut given = given(json!({ "maxActive": 1 })).task(with(waiting("a"), 1, Admitted)).holders([place("a", 1)]);
    assert_eq!(given.at("10:00:00").status, None);
    given = given.waits(&["b"]);
    given.last_write = Some(t("09:59:55"));
    let plan = given.at("10:00:00");
    assert_eq!((plan.status, plan.wake), (None, QueueWake::At(t("10:00:05"))));
    assert_eq!(given.at("10:00:05").status.expect("a status").waiting, 1);
}
