//! A task that names a queue: it draws a ticket for each attempt, waits to be called, and gives its place back.

use longtask::{
    api::{
        queue::{Admission, OpenQueue},
        task::{AttemptState, LongTaskStatus, Phase, Ticket, TicketState},
    },
    types::is_condition_true,
};
use serde_json::json;

use crate::support::{Given, Planned, given, pod, t};

fn open(called: Option<i64>) -> Admission {
    Admission::Open(OpenQueue { called, ..OpenQueue::default() })
}

/// A queue in which tasks keep their places while they wait.
fn keeping(called: Option<i64>) -> Admission {
    Admission::Open(OpenQueue { called, keeps_place: true, ..OpenQueue::default() })
}

fn queued() -> Given {
    given().spec(json!({ "queueName": "q" })).in_queue(open(None))
}

fn with_ticket(given: Given, number: i64, state: TicketState) -> Given {
    given.status(|status| {
        status.queue =
            Some(Ticket { name: "q".into(), ticket: number, state, queue_time: t("09:50:00"), probe: false });
        if state == TicketState::Admitted
            && let Some(attempt) = &mut status.current_attempt
        {
            attempt.ticket = Some(number);
        }
        status.observed_generation = 1;
    })
}

/// It waits with this ticket.
fn waits(number: i64) -> Given {
    with_ticket(queued().in_phase(Phase::Pending), number, TicketState::Waiting)
        .status(|status| status.reason = "Queued".into())
}

/// Its attempt runs, by its third ticket.
fn runs() -> Given {
    let running = queued().running(1, "10:00:00").in_queue(open(Some(3)));
    with_ticket(running, 3, TicketState::Admitted)
}

/// Its attempt is decided at 10:00:00, by its third ticket.
fn starts() -> Given {
    with_ticket(queued().creating(1).in_queue(open(Some(3))), 3, TicketState::Admitted)
}

fn ticket_of(status: &LongTaskStatus) -> (i64, TicketState) {
    let ticket = status.queue.as_ref().expect("a ticket");
    (ticket.ticket, ticket.state)
}

fn ticket(planned: &Planned) -> (i64, TicketState) {
    ticket_of(&planned.status())
}

#[test]
fn a_task_draws_a_ticket_and_has_no_pod_until_it_is_called() {
    let drawn = queued().at("10:00:00").expect_containing(&["phase Pending Queued"]).expect_without(&["create pod"]);
    assert_eq!(ticket(&drawn), (1, TicketState::Waiting));
    let waiting = drawn.then().at("10:00:05").expect([""; 0]);
    let called = waiting.then().in_queue(open(Some(1))).at("10:00:12").expect_containing(&["create pod t-1"]);
    assert_eq!(ticket(&called), (1, TicketState::Admitted));
    assert_eq!(called.status().current_attempt.expect("an attempt").ticket, Some(1));
    assert!(called.note("AttemptStarting").contains("after 12s in queue q"), "{}", called.note("AttemptStarting"));
}

#[test]
fn the_first_ticket_counts_from_the_creation_of_the_task_and_later_ones_from_their_drawing() {
    let first = queued().created("09:59:00").at("10:00:00");
    assert_eq!(first.status().queue.expect("a ticket").queue_time, t("09:59:00"));
    let later = with_ticket(queued().begun().created("09:00:00"), 1, TicketState::Returned).at("10:00:00");
    assert_eq!(later.status().queue.expect("a ticket").queue_time, t("10:00:00"));
}

#[test]
fn a_call_of_another_ticket_starts_nothing() {
    waits(3).in_queue(open(Some(2))).at("10:00:00").expect([""; 0]);
    waits(3).in_queue(open(Some(3))).at("10:00:00").expect_containing(&["create pod t-1"]);
}

#[test]
fn at_the_end_of_a_segment_the_next_ticket_is_drawn_in_the_write_that_records_the_end() {
    let ended = runs().pod(pod(1).ran("10:00:00", "10:05:00", 75).released()).at("10:05:00");
    let ended =
        ended.expect_containing(&["phase Pending Queued", "Normal SegmentEnded"]).expect_without(&["create pod"]);
    assert_eq!(ticket(&ended), (4, TicketState::Waiting));
    assert!(ended.note("SegmentEnded").contains("when queue q calls it"));
    let called = ended.then().in_queue(open(Some(4))).at("10:06:00").expect_containing(&["create pod t-2"]);
    assert_eq!(called.status().current_attempt.expect("an attempt").ticket, Some(4));
}

#[test]
fn who_waits_for_a_retry_gives_its_place_back_and_draws_when_its_time_has_come() {
    let failed = runs().pod(pod(1).ran("10:00:00", "10:05:00", 1).released());
    let failed = failed.spec(json!({ "retry": { "backoff": { "initial": "30s", "jitter": "None" } } })).at("10:05:00");
    let failed = failed.expect_containing(&["wake 10:05:30"]);
    assert_eq!(ticket(&failed), (3, TicketState::Returned));
    let due = failed.then().at("10:05:30").expect_containing(&["phase Pending Queued"]);
    assert_eq!(ticket(&due), (4, TicketState::Waiting));
}

#[test]
fn who_may_keep_its_place_through_a_wait_goes_on_under_the_same_ticket() {
    let failed = runs().in_queue(keeping(Some(3))).pod(pod(1).ran("10:00:00", "10:05:00", 1).released());
    let failed = failed.spec(json!({ "retry": { "backoff": { "initial": "30s", "jitter": "None" } } })).at("10:05:00");
    assert_eq!(ticket(&failed), (3, TicketState::Admitted));
    let again = failed.then().at("10:05:30").expect_containing(&["create pod t-2"]);
    assert_eq!(ticket(&again), (3, TicketState::Admitted));
    assert_eq!(again.status().current_attempt.expect("an attempt").ticket, Some(3));
    assert!(!again.note("AttemptStarting").contains("in queue"), "it was not called again");

    let segment = runs().in_queue(keeping(Some(3))).pod(pod(1).ran("10:00:00", "10:05:00", 75).released());
    assert_eq!(ticket(&segment.at("10:05:00")), (4, TicketState::Waiting), "a segment's end is no wait");
}

#[test]
fn who_does_not_want_its_turn_any_more_returns_the_ticket_whether_it_was_called_or_not() {
    for called in [None, Some(3)] {
        for (edit, phase) in
            [(json!({ "suspend": true }), Phase::Suspended), (json!({ "cancel": true }), Phase::Cancelled)]
        {
            let planned = waits(3).edited(edit).in_queue(open(called)).at("10:00:00");
            assert_eq!((planned.status().phase, ticket(&planned)), (Some(phase), (3, TicketState::Returned)));
        }
    }
}

#[test]
fn a_task_that_has_ended_gives_its_place_back() {
    let done = runs().pod(pod(1).ran("10:00:00", "10:05:00", 0).released()).at("10:05:00");
    assert_eq!((done.status().phase, ticket(&done)), (Some(Phase::Succeeded), (3, TicketState::Returned)));
}

#[test]
fn a_withdrawn_attempt_keeps_its_place_until_no_create_of_it_can_arrive() {
    let paused = starts().edited(json!({ "suspend": true })).at("10:00:05");
    let paused = paused.expect_containing(&["phase Suspended SuspendedByUser", "wake 10:00:30"]);
    assert_eq!(ticket(&paused), (3, TicketState::Admitted));
    let resumed = paused.then_clone().edited(json!({ "suspend": false })).at("10:00:12");
    let resumed = resumed.expect_containing(&["create pod t-1"]);
    assert_eq!(ticket(&resumed), (3, TicketState::Admitted), "it goes on in the place that it has kept");
    let free = paused.then().at("10:00:30");
    assert_eq!(ticket(&free), (3, TicketState::Returned));
}

#[test]
fn a_pod_that_is_refused_blocks_a_place_for_half_a_minute_and_no_longer() {
    let refused = starts().refused("QuotaExceeded", "exceeded quota: q").at("10:00:00");
    let refused = refused.expect_containing(&["phase Pending QuotaExceeded"]);
    let tried = refused.then().at("10:00:05").expect_containing(&["create pod t-1"]);
    assert_eq!(ticket(&tried), (3, TicketState::Admitted));
    let late = tried.then().gone().at("10:00:21").expect_without(&["create pod"]);
    let given_up = late.then().at("10:00:30").expect_without(&["create pod"]);
    let status = given_up.status();
    assert_eq!(ticket_of(&status), (4, TicketState::Waiting));
    assert_eq!(status.current_attempt.as_ref().map(|attempt| attempt.state), Some(AttemptState::Withdrawn));
    assert!(is_condition_true(&status.conditions, "Blocked"), "why it does not start is still to be seen");
    let called = given_up.then().in_queue(open(Some(4))).at("10:10:00").expect_containing(&["create pod t-1"]);
    assert_eq!(called.status().current_attempt.expect("an attempt").ticket, Some(4));
}

#[test]
fn a_stray_pod_keeps_the_place() {
    let given = starts().status(|status| {
        status.current_attempt.as_mut().expect("an attempt").state = AttemptState::Withdrawn;
    });
    let stray = given.pod(pod(1).runs("10:00:40")).edited(json!({ "suspend": true })).at("10:00:45");
    assert_eq!(ticket(&stray), (3, TicketState::Admitted));
}

#[test]
fn no_ticket_is_drawn_of_a_queue_that_is_missing_and_one_that_was_drawn_is_kept() {
    let missing = queued().in_queue(Admission::Missing).at("10:00:00");
    let missing =
        missing.expect_containing(&["phase Pending QueueNotFound", "Warning Blocked"]).expect_without(&["create pod"]);
    assert_eq!(missing.status().queue, None);
    let there = missing.then().in_queue(open(None)).at("10:01:00");
    let there = there.expect_containing(&["phase Pending Queued", "Blocked False"]);
    assert_eq!(ticket(&there), (1, TicketState::Waiting));
    assert_eq!(ticket(&waits(3).in_queue(Admission::Missing).at("10:00:00")), (3, TicketState::Waiting));
    let running = runs().in_queue(Admission::Missing).pod(pod(1).runs("10:00:00").deadline(3600)).at("10:01:00");
    assert_eq!(ticket(&running), (3, TicketState::Admitted), "who runs, runs to the end of the attempt");
}

#[test]
fn who_may_not_use_the_queue_says_so_and_returns_its_ticket() {
    for (admission, reason) in [
        (Admission::NotAllowed, "phase Pending QueueNotAllowed"),
        (Admission::NotWatched, "phase Pending QueueNotWatched"),
    ] {
        let refused = waits(3).in_queue(admission).at("10:00:00").expect_containing(&[reason, "Warning Blocked"]);
        assert_eq!(ticket(&refused), (3, TicketState::Returned));
    }
}

#[test]
fn another_queue_is_another_ticket_and_none_is_none() {
    let moved = waits(3).edited(json!({ "queueName": "other" })).at("10:00:00");
    assert_eq!((moved.status().queue.expect("a ticket").name, ticket(&moved).0), ("other".into(), 4));
    let mut off = waits(3);
    off = off.edited(json!({ "queueName": null })).in_queue(Admission::NotAsked);
    let off = off.at("10:00:00").expect_containing(&["create pod t-1"]);
    assert_eq!(ticket(&off), (3, TicketState::Returned));
    assert_eq!(off.status().current_attempt.expect("an attempt").ticket, None);
}

#[test]
fn a_running_attempt_ends_under_the_queue_that_called_it() {
    let edited = runs().edited(json!({ "queueName": "other" })).in_queue(open(None));
    let running = edited.pod(pod(1).runs("10:00:00").deadline(3600)).at("10:01:00");
    let status = running.status();
    assert_eq!(
        (status.queue.as_ref().map(|ticket| ticket.name.as_str()), ticket_of(&status)),
        (Some("q"), (3, TicketState::Admitted))
    );
    let ended = running.then().only(pod(1).ran("10:00:00", "10:05:00", 75).released()).at("10:05:00");
    assert_eq!(
        (ended.status().queue.expect("a ticket").name, ticket(&ended)),
        ("other".into(), (4, TicketState::Waiting))
    );
}

#[test]
fn a_status_that_was_lost_draws_above_the_ticket_that_the_queue_has_called() {
    assert_eq!(ticket(&queued().in_queue(open(Some(7))).at("10:00:00")), (8, TicketState::Waiting));
}

#[test]
fn time_in_the_queue_counts_for_the_limits() {
    let waiting = waits(3).spec(json!({ "limits": { "wallTime": "90m" } }));
    let waiting = waiting.at("10:00:00").expect_containing(&["wake 10:30:00"]);
    let over = waiting.then().at("10:30:00").expect_containing(&["Warning Failed"]);
    assert_eq!(ticket(&over), (3, TicketState::Returned));
}

#[test]
fn another_run_goes_on_counting_tickets() {
    let failed = with_ticket(queued().ended(1).in_phase(Phase::Failed), 3, TicketState::Returned);
    let again = failed.status(|status| status.completion_time = Some(t("09:59:00")));
    let again = again.edited(json!({ "restart": { "token": "v2" } })).at("10:00:00");
    let again = again.expect_containing(&["phase Pending Queued", "Normal Restarted"]);
    assert_eq!(ticket(&again), (4, TicketState::Waiting));
}

/// Its attempt runs as a probe of its queue's breaker, by its third ticket.
fn probes() -> Given {
    runs().status(|status| status.queue.as_mut().expect("a ticket").probe = true)
}

#[test]
fn a_task_that_is_called_as_a_probe_knows_it() {
    let called = OpenQueue { called: Some(1), is_probe: true, ..OpenQueue::default() };
    let drawn = queued().at("10:00:00");
    let started = drawn.then().in_queue(Admission::Open(called)).at("10:00:12").expect_containing(&["create pod t-1"]);
    assert!(started.status().queue.expect("a ticket").probe);
    let ended = runs().pod(pod(1).ran("10:00:00", "10:05:00", 75).released()).at("10:05:00");
    assert_eq!(ended.status().recent_attempts[0].ticket, Some(3), "the queue sees how the turn ended");
}

#[test]
fn the_failure_of_a_probe_is_charged_to_nothing_and_goes_behind_the_others_at_once() {
    let policy = json!({
        "retry": { "budgets": { "failures": 0 } },
        "failurePolicy": { "rules": [
            { "name": "down", "action": "Ignore", "limit": 0, "onExitCodes": { "operator": "In", "values": [69] } },
        ] },
    });
    let ends = |given: Given, code: i32| {
        given.spec(policy.clone()).pod(pod(1).ran("10:00:00", "10:05:00", code).released()).at("10:05:00")
    };
    for (code, reason) in [(1, "FailureBudgetExhausted"), (69, "RuleLimitExceeded")] {
        let probe = ends(probes(), code).expect_containing(&["phase Pending Queued", "Warning AttemptFailed"]);
        assert_eq!(ticket(&probe), (4, TicketState::Waiting));
        let status = probe.status();
        assert_eq!((status.consecutive.failures, status.totals.failures, status.rule_counters.len()), (0, 0, 0));
        assert!(!status.queue.expect("a ticket").probe);
        assert!(probe.note("AttemptFailed").contains("a probe"), "{}", probe.note("AttemptFailed"));
        ends(runs(), code).expect_containing(&[&format!("phase Failed {reason}")]);
    }
}

#[test]
fn a_probe_still_obeys_what_ends_or_holds_a_task() {
    let ends = |action: &str| {
        let rules = json!([{ "name": "r", "action": action, "onExitCodes": { "operator": "In", "values": [69] } }]);
        let given = probes().spec(json!({ "failurePolicy": { "rules": rules } }));
        given.pod(pod(1).ran("10:00:00", "10:05:00", 69).released()).at("10:05:00")
    };
    ends("Fail").expect_containing(&["phase Failed FailedByRule"]);
    ends("Hold").expect_containing(&["phase Suspended Held"]);
}
