//! Who is called before whom.

use longtask::queue::plan::QueuedTask;
use serde_json::json;

use crate::support::{given, names, place, t, waiting};

fn since(name: &str, time: &str) -> QueuedTask {
    let mut task = waiting(name);
    task.ticket.as_mut().expect("a ticket").since = t(time);
    task
}

fn of_priority(name: &str, priority: i64) -> QueuedTask {
    QueuedTask { priority, ..waiting(name) }
}

fn labelled(name: &str, value: &str) -> QueuedTask {
    let mut task = waiting(name);
    task.labels.insert("tenant".into(), value.into());
    task
}

#[test]
fn who_has_waited_longest_is_called_first() {
    let given = given(json!({ "maxActive": 2 }))
        .task(since("late", "09:50:00"))
        .task(since("first", "09:10:00"))
        .task(since("second", "09:20:00"));
    assert_eq!(names(&given.at("10:00:00")), ["first", "second"]);
}

#[test]
fn the_urgent_come_before_those_who_have_waited_longer() {
    let given = given(json!({ "maxActive": 2 }))
        .task(since("old", "01:00:00"))
        .task(of_priority("urgent", 3))
        .task(of_priority("more", 10))
        .task(of_priority("least", -10));
    assert_eq!(names(&given.at("10:00:00")), ["more", "urgent"]);
}

#[test]
fn waiting_counts_as_priority_up_to_ten_steps() {
    let waited = |minutes: i64, priority: i64| {
        let start = t("10:00:00").as_second() - minutes * 60;
        let mut task = waiting("waits");
        task.ticket.as_mut().expect("a ticket").since = jiff::Timestamp::from_second(start).expect("a time");
        let urgent = QueuedTask { priority, ..since("urgent", "10:00:00") };
        let given = given(json!({ "maxActive": 1, "aging": "10m" })).task(task).task(urgent);
        names(&given.at("10:00:00"))
    };
    assert_eq!(waited(29, 3), ["urgent"]);
    assert_eq!(waited(30, 3), ["waits"], "as urgent, and it has waited longer");
    assert_eq!(waited(100_000, 10), ["waits"], "nobody is more urgent than ten steps");
    assert_eq!(waited(99, 10), ["urgent"]);
}

#[test]
fn a_namespace_with_few_places_comes_before_one_with_many() {
    let many: Vec<String> = (0..100).map(|number| format!("a/t{number:03}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let spec = json!({ "maxActive": 4, "allowedNamespaces": ["a", "b"] });
    let given = given(spec).waits(&many).task(since("b/one", "09:58:00")).task(since("b/two", "09:59:00"));
    let called = names(&given.at("10:00:00"));
    assert_eq!(called, ["t000", "one", "t001", "two"], "they take turns");
}

#[test]
fn places_that_are_held_already_count_for_the_share() {
    let spec = json!({ "maxActive": 4, "allowedNamespaces": ["*"] });
    let given = given(spec)
        .holders([place("a/x", 1), place("a/y", 1)])
        .task(longtask_admitted("a/x"))
        .task(longtask_admitted("a/y"))
        .waits(&["a/t1", "a/t2", "b/u1", "b/u2"]);
    assert_eq!(names(&given.at("10:00:00")), ["x", "y", "u1", "u2"]);
}

fn longtask_admitted(name: &str) -> QueuedTask {
    crate::support::with(waiting(name), 1, longtask::api::task::TicketState::Admitted)
}

#[test]
fn a_key_has_no_more_places_than_it_may() {
    let spec = json!({ "maxActive": 10, "perKey": { "label": "tenant", "maxActive": 1 } });
    let given = given(spec)
        .task(labelled("a1", "a"))
        .task(labelled("a2", "a"))
        .task(labelled("b1", "b"))
        .task(waiting("own1"))
        .task(waiting("own2"));
    let plan = given.at("10:00:00");
    assert_eq!(names(&plan), ["a1", "b1", "own1", "own2"], "one without the label is a key of its own");
    assert_eq!(plan.waiting, 1);
    let keys: Vec<_> = plan.status.expect("a status").holders.into_iter().map(|holder| holder.key).collect();
    assert_eq!(keys, [Some("a".into()), Some("b".into()), None, None]);
}

#[test]
fn of_two_keys_the_one_with_fewer_places_comes_first() {
    let spec = json!({ "maxActive": 3, "perKey": { "label": "tenant" } });
    let given = given(spec)
        .task(labelled("a1", "a"))
        .task(labelled("a2", "a"))
        .task(labelled("a3", "a"))
        .task(labelled("b1", "b"));
    assert_eq!(names(&given.at("10:00:00")), ["a1", "b1", "a2"]);
}

#[test]
fn a_key_is_of_its_namespace() {
    let spec = json!({
        "maxActive": 10, "allowedNamespaces": ["*"], "perKey": { "label": "tenant", "maxActive": 1 },
    });
    let given = given(spec).task(labelled("x/a1", "a")).task(labelled("y/a2", "a"));
    assert_eq!(names(&given.at("10:00:00")), ["a1", "a2"]);
}

#[test]
fn who_has_begun_is_finished_first_and_a_sequence_decides_among_equals() {
    let begun = QueuedTask { has_begun: true, ..since("begun", "09:59:00") };
    let given = given(json!({ "maxActive": 3 }))
        .task(QueuedTask { sequence: 2, ..waiting("a") })
        .task(QueuedTask { sequence: 1, ..waiting("b") })
        .task(begun);
    assert_eq!(names(&given.at("10:00:00")), ["begun", "b", "a"]);
}
