//! Stories: given a set and its members, at a time, expect a status, steps and events.

use std::sync::Arc;

use longtask::{
    api::{
        set::{RequestedSetStop, SetConditionType, SetPhase, SetStopReason},
        task::LongTask,
    },
    set::plan::{
        BadInput, Cause, Facts, Member, MemberPhase as M, SetEventReason as Told, SetStep, SetWake, TemplateSeen,
    },
};
use serde_json::json;

use crate::support::{Given, given, t};

/// A set of 20, at most three at a time, of which three run.
fn running() -> Given {
    given(20).spec(json!({ "maxParallel": 3 })).lists(3, "", "", "").all(M::UnderWay, 1)
}

#[test]
fn a_new_set_starts_as_many_as_may_run_at_a_time() {
    let planned = given(20).spec(json!({ "maxParallel": 3 })).at("10:00:00");
    assert_eq!((planned.creates(), planned.lists(), planned.phase()), (vec![0, 1, 2], "3 //".into(), "Running".into()));
    let status = planned.status();
    assert_eq!((status.total, status.active, status.round.number), (20, 3, 1));
    assert_eq!(status.progress.summary, "0/20");
    assert!(status.input_digest.is_some_and(|digest| digest.starts_with("sha256:")));
    assert!(planned.is(SetConditionType::Reconciling));
    planned.then().at("10:00:01").is_quiet();
}

#[test]
fn a_hundred_are_created_in_a_pass_and_the_next_pass_comes_at_once() {
    let mut planned = given(1000).spec(json!({ "maxParallel": 250 })).at("10:00:00");
    for expected in [100, 100, 50] {
        assert_eq!(planned.creates().len(), expected);
        assert_eq!(planned.plan.wake == SetWake::Now, expected == 100, "{:?}", planned.plan.wake);
        planned = planned.then().at("10:00:00");
    }
    planned.is_quiet();
}

#[test]
fn a_pass_that_was_cut_off_is_made_good() {
    let planned = running().gone(1).at("10:00:00");
    assert_eq!((planned.creates(), planned.lists()), (vec![1], "3 //".into()));
    assert!(planned.plan.status.is_some(), "the write proves that the reading is the newest");
}

#[test]
fn who_has_ended_makes_room_and_those_who_wait_come_first() {
    let planned =
        running().gone(1).lists(6, "", "", "1,4-5").all(M::UnderWay, 1).member(0, M::Succeeded).at("10:00:00");
    assert_eq!((planned.lists(), planned.creates()), ("6 0//4-5".into(), vec![1]));
}

#[test]
fn a_set_whose_queue_is_full_makes_no_members_and_says_so_until_it_is_not() {
    let full = |mut given: Given| {
        given.is_queue_full = true;
        given
    };
    let planned = full(running()).member(0, M::Succeeded).at("10:00:00");
    assert_eq!((planned.creates(), planned.phase()), (vec![], "Running QueueFull".into()));
    assert_eq!(planned.wakes_at(), Some(t("10:00:10")));
    assert!(!planned.is(SetConditionType::Blocked), "nothing is wrong");
    let mut later = planned.then();
    let planned = later.clone().at("10:00:10");
    assert_eq!(planned.wakes_at(), Some(t("10:00:20")));
    planned.is_quiet();
    later.is_queue_full = false;
    let planned = later.at("10:00:20");
    assert_eq!((planned.creates(), planned.phase()), (vec![3], "Running".into()));
    let last = full(given(3).spec(json!({ "maxParallel": 3 })).lists(3, "", "", "").all(M::UnderWay, 1));
    assert_eq!(last.at("10:00:00").phase(), "Running", "it has no further members to make");
}

#[test]
fn a_lower_limit_stops_nobody() {
    let planned = running().edited(json!({ "maxParallel": 1 })).member(0, M::Succeeded).at("10:00:00");
    assert_eq!((planned.lists(), planned.creates()), ("3 0//".into(), vec![]));
}

#[test]
fn members_are_counted_by_how_they_ended_in_this_round() {
    let planned = running().member(0, M::Succeeded).member(1, M::Failed).member(2, M::Cancelled).at("10:00:00");
    assert_eq!(planned.lists(), "6 0/1-2/");
    assert_eq!(planned.events(), [Told::MembersFailed]);
    assert!(planned.note().contains("2 members failed: s-1, s-2"), "{}", planned.note());
    let last = planned.status().last_failure.expect("a failure");
    assert_eq!((last.index, last.task.as_str()), (2, "s-2"));

    let earlier = running().status(|status| status.round.number = 2);
    let planned = earlier.member_of(0, M::Succeeded, 1).member_of(1, M::Failed, 1).at("10:00:00");
    assert_eq!(planned.lists(), "4 0//", "a failure of an earlier round goes on; a success is one");
}

#[test]
fn a_failure_that_its_user_mends_by_hand_is_a_success() {
    let planned = running().lists(4, "", "3", "").member(3, M::Succeeded).at("10:00:00");
    assert_eq!(planned.lists(), "4 3//");
}

#[test]
fn an_event_names_five_members_at_most() {
    let many = given(20).spec(json!({ "maxParallel": 7 })).lists(7, "", "", "").all(M::Failed, 1).at("10:00:00");
    assert!(many.note().contains("s-0, s-1, s-2, s-3, s-4 and 2 more"), "{}", many.note());
}

#[test]
fn a_set_ends_when_all_are_counted() {
    let last = |spec: serde_json::Value, failed: &str| {
        given(4).spec(spec).lists(4, "0", failed, "").all(M::Succeeded, 1).at("10:00:00")
    };
    let planned = last(json!({}), "");
    assert_eq!(
        (planned.phase(), planned.lists(), planned.events()),
        ("Succeeded".into(), "4 0-3//".into(), vec![Told::Succeeded])
    );
    assert!(planned.is(SetConditionType::Complete) && planned.is(SetConditionType::Finished));
    assert!(!planned.is(SetConditionType::Reconciling) && !planned.is(SetConditionType::Stalled));
    planned.then().at("11:00:00").is_quiet();
    let planned = last(json!({}), "1");
    assert_eq!(planned.phase(), "Failed MembersFailed");
    assert!(planned.is(SetConditionType::Failed) && planned.is(SetConditionType::Stalled));
    assert_eq!(last(json!({ "tolerateFailed": "25%" }), "1").phase(), "Succeeded");
}

#[test]
fn with_one_more_failure_than_allowed_the_rest_is_stopped() {
    let spec = json!({ "maxFailed": 1, "maxParallel": 3 });
    let planned = running().spec(spec).member(0, M::Failed).member(1, M::Failed).at("10:00:00");
    assert_eq!(
        (planned.phase(), planned.lists(), planned.creates()),
        ("Stopping TooManyFailed".into(), "3 /0-1/".into(), vec![])
    );
    let ended = planned.then().member(2, M::Cancelled).at("10:00:30");
    assert_eq!((ended.phase(), ended.lists()), ("Failed TooManyFailed".into(), "3 /0-1/2".into()));
    assert_eq!(ended.events(), [Told::Failed]);
}

#[test]
fn a_set_that_stops_waits_for_each_members_own_word() {
    let cancelled = running().edited(json!({ "cancel": true })).at("10:00:00");
    assert_eq!(cancelled.phase(), "Stopping Cancelled");
    let one = cancelled.then().member(0, M::Cancelled).member(1, M::Succeeded).at("10:00:10");
    assert_eq!((one.phase(), one.lists()), ("Stopping Cancelled".into(), "3 1//0".into()));
    let all = one.then().member(2, M::Cancelled).at("10:00:20");
    assert_eq!(
        (all.phase(), all.lists(), all.events()),
        ("Cancelled".into(), "3 1//0,2".into(), vec![Told::Cancelled])
    );
}

#[test]
fn a_member_that_does_not_exist_is_given_up_when_no_create_of_it_can_arrive() {
    let stopped = running().gone(2).edited(json!({ "cancel": true })).at("10:00:00");
    assert_eq!((stopped.creates(), stopped.wakes_at()), (vec![], Some(t("10:00:30"))));
    let stopped = stopped
        .then()
        .member(0, M::Cancelled)
        .member(1, M::Cancelled)
        .with(|given| given.absent = "2".parse().expect("one"));
    assert_eq!(stopped.clone().at("10:00:29").phase(), "Stopping Cancelled");
    let ended = stopped.at("10:00:30");
    assert_eq!((ended.phase(), ended.lists()), ("Cancelled".into(), "3 //0-2".into()));
}

#[test]
fn limits_of_time_stop_a_set() {
    let limit = |spec: serde_json::Value| running().spec(spec);
    let wall = limit(json!({ "limits": { "wallTime": "1h" } }));
    assert_eq!(wall.clone().at("09:59:59").wakes_at(), Some(t("10:00:00")));
    assert_eq!(wall.at("10:00:00").phase(), "Stopping WallTimeExceeded");
    let deadline = limit(json!({ "limits": { "deadline": "2026-11-24T10:00:00Z" } }));
    assert_eq!(deadline.at("10:00:00").phase(), "Stopping DeadlinePassed");
}

#[test]
fn a_suspended_set_starts_nothing_and_its_time_stands_still() {
    let spec = json!({ "limits": { "wallTime": "1h" }, "suspend": true });
    let paused = running().gone(1).edited(spec).at("09:30:00");
    assert_eq!(
        (paused.phase(), paused.creates(), paused.events()),
        ("Suspended SuspendedByUser".into(), vec![], vec![Told::Suspended])
    );
    let later = paused.then().member(0, M::Succeeded).at("10:30:00");
    assert_eq!(
        (later.phase(), later.lists()),
        ("Suspended SuspendedByUser".into(), "3 0//".into()),
        "what ends is counted"
    );
    let resumed = later.then().edited(json!({ "suspend": false })).at("10:40:00");
    assert_eq!((resumed.phase(), resumed.events()), ("Running".into(), vec![Told::Resumed]));
    assert_eq!(resumed.creates(), [1, 3]);
    assert_eq!((resumed.status().round.suspended_seconds, resumed.wakes_at()), (4200, Some(t("11:10:00"))));
}

#[test]
fn another_round_takes_up_what_failed_and_what_was_stopped() {
    let failed = given(6).spec(json!({ "maxParallel": 2 })).lists(5, "0-1", "2", "4").status(|status| {
        status.phase = Some(SetPhase::Failed);
        status.reason = "TooManyFailed".into();
        status.completion_time = Some(t("09:30:00"));
        status.stop = Some(RequestedSetStop { reason: SetStopReason::TooManyFailed, request_time: t("09:20:00") });
        status.failed.indexes = "2-3".parse().expect("two");
        status.failed.count = 2;
        status.active = 0;
    });
    let failed = [2, 3].into_iter().fold(failed, |given, index| given.member(index, M::Failed)).member(4, M::Cancelled);
    let again = failed.edited(json!({ "restart": { "token": "v2" } })).at("10:00:00");
    assert_eq!(
        (again.phase(), again.lists(), again.events()),
        ("Running".into(), "5 0-1//4".into(), vec![Told::Restarted])
    );
    let round = again.status().round;
    assert_eq!((round.number, round.restart_token.as_deref(), round.succeeded_before), (2, Some("v2"), 2));
    assert_eq!(again.creates(), [] as [u32; 0], "the members are there, and go on by themselves");
    assert!(
        again.status().stop.is_none()
            && !again.is(SetConditionType::Finished)
            && again.is(SetConditionType::Reconciling)
    );
    let ended = again.then().member_of(2, M::Succeeded, 2).member_of(3, M::Failed, 2).at("10:01:00");
    assert_eq!((ended.lists(), ended.creates()), ("6 0-2/3/".into(), vec![5]));
}

#[test]
fn another_round_may_begin_while_the_set_runs_and_not_while_it_stops() {
    let again = running().lists(4, "", "3", "").all(M::UnderWay, 1).member(3, M::Failed);
    let token = json!({ "restart": { "token": "v2" } });
    let planned = again.clone().edited(token.clone()).at("10:00:00");
    assert_eq!((planned.lists(), planned.status().round.number), ("4 //3".into(), 2), "there is no room for it yet");
    let stopping = again.edited(json!({ "cancel": true })).at("10:00:00").then();
    let waits = stopping.edited(json!({ "cancel": false })).edited(token).at("10:00:01");
    assert_eq!((waits.phase(), waits.status().round.number), ("Stopping Cancelled".into(), 1));
    let ended = waits.then().all(M::Cancelled, 1).at("10:00:10");
    assert_eq!(ended.phase(), "Cancelled");
    let begun = ended.then().at("10:00:11");
    assert_eq!((begun.phase(), begun.status().round.number), ("Running".into(), 2));
}

#[test]
fn the_token_that_a_set_is_created_with_is_only_recorded() {
    let planned = given(2).spec(json!({ "restart": { "token": "v1" } })).at("10:00:00");
    assert_eq!(planned.status().round.restart_token.as_deref(), Some("v1"));
    assert_eq!((planned.status().round.number, planned.events()), (1, vec![]));
}

/// Ten that have succeeded one after the other, all of them counted.
fn done(limit: u32) -> Given {
    let begun = given(20).spec(json!({ "maxParallel": 1, "taskHistoryLimit": limit })).lists(11, "0-9", "", "");
    let begun = begun.member(10, M::UnderWay);
    (0..10).fold(begun, |given, index| {
        let one = given.clone().member(index, M::Succeeded).set();
        assert_eq!(one.spec.total(), 20);
        given.exactly(Member { completion_time: Some(t(&format!("09:{:02}:00", 59 - index))), ..succeeded(index) })
    })
}

fn succeeded(index: u32) -> Member {
    Member {
        index,
        name: format!("s-{index}"),
        uid: format!("u{index}"),
        resource_version: "7".into(),
        last_create_time: t("09:00:00"),
        is_being_deleted: false,
        round: 1,
        phase: M::Succeeded,
        completion_time: Some(t("09:30:00")),
        result: None,
        failure: None,
    }
}

#[test]
fn counted_successes_are_deleted_but_for_the_last_ones() {
    let planned = done(3).at("10:00:00");
    assert_eq!(planned.deletes(), ["s-9", "s-8", "s-7", "s-6", "s-5", "s-4", "s-3"], "those that ended first");
    assert!(planned.plan.status.is_some(), "the write proves that the reading is the newest");
    let SetStep::Delete { uid, resource_version, .. } = &planned.plan.steps[0] else { panic!("a delete") };
    assert_eq!((uid.as_str(), resource_version.as_str()), ("u9", "7"), "as it was read");
    done(10).at("10:00:00").is_quiet();
}

#[test]
fn a_success_keeps_its_name_for_as_long_as_a_create_of_it_can_arrive() {
    let young =
        given(20).spec(json!({ "maxParallel": 1, "taskHistoryLimit": 0 })).lists(2, "0", "", "").member(1, M::UnderWay);
    let young = young.exactly(Member { last_create_time: t("10:00:00"), ..succeeded(0) });
    let planned = young.clone().at("10:00:29");
    assert_eq!((planned.deletes().len(), planned.wakes_at()), (0, Some(t("10:00:30"))));
    assert_eq!(young.at("10:00:30").deletes(), ["s-0"]);
}

#[test]
fn the_create_of_its_last_pod_counts_like_that_of_the_member() {
    let member = |status: serde_json::Value| {
        let task: LongTask = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": {
                "name": "s-3", "uid": "u3", "creationTimestamp": "2026-11-24T09:00:00Z",
                "labels": { "longtask.dev/set": "s", "longtask.dev/index": "3" },
                "ownerReferences": [{
                    "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "name": "s", "uid": "set-uid", "controller": true,
                }],
            },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": status,
        }))
        .expect("a task");
        Facts::of(&task).expect("a member").member
    };
    assert_eq!(member(json!({})).last_create_time, t("09:00:00"));
    let attempt = json!({
        "number": 2, "segment": 1, "state": "Running", "podName": "s-3-2", "generation": 1,
        "creationTime": "2026-11-24T09:30:00Z",
    });
    assert_eq!(member(json!({ "currentAttempt": attempt })).last_create_time, t("09:30:00"));
}

#[test]
fn a_success_that_is_not_counted_or_goes_on_by_hand_is_not_deleted() {
    let none = given(20).spec(json!({ "maxParallel": 2, "taskHistoryLimit": 0 })).lists(3, "0", "", "");
    let by_hand = none.member(0, M::UnderWay).member(1, M::UnderWay).member(2, M::UnderWay);
    by_hand.at("10:00:00").is_quiet();
}

#[test]
fn a_member_that_came_to_be_when_its_index_was_counted_is_deleted() {
    let late =
        given(20).spec(json!({ "maxParallel": 1 })).lists(2, "0", "", "").member(1, M::UnderWay).member(0, M::New);
    assert_eq!(late.at("10:00:00").deletes(), ["s-0"]);
}

#[test]
fn results_are_kept_first_come_up_to_their_room() {
    let result = |bytes: usize| Some(Arc::new(json!({ "text": "x".repeat(bytes) })));
    let two = running().exactly(Member { result: result(40_000), ..succeeded(0) });
    let two = two.exactly(Member { result: result(40_000), ..succeeded(1) }).at("10:00:00");
    let status = two.status();
    assert_eq!((status.results.len(), status.results_dropped, two.events()), (1, 1, vec![Told::ResultsDropped]));
    let third = two.then().exactly(Member { result: result(40_000), ..succeeded(2) }).at("10:00:01");
    assert_eq!((third.status().results_dropped, third.events()), (2, vec![]), "said once");
    let small = third.then().exactly(Member { result: result(10), ..succeeded(3) }).at("10:00:02");
    assert_eq!(small.status().results.iter().map(|one| one.index).collect::<Vec<_>>(), [0, 3]);
}

#[test]
fn without_its_template_a_set_starts_nothing_and_counts_on() {
    let gone = running().with(|given| given.template = TemplateSeen::Missing).member(0, M::Succeeded).at("10:00:00");
    assert_eq!(
        (gone.phase(), gone.lists(), gone.creates()),
        ("Running TemplateNotFound".into(), "3 0//".into(), vec![])
    );
    assert_eq!(gone.events(), [Told::Blocked]);
    gone.given.clone().at("10:01:00").is_quiet();
    let back = gone.then().with(|given| given.template = TemplateSeen::Found(1)).at("10:02:00");
    assert_eq!((back.phase(), back.creates()), ("Running".into(), vec![3]));
    assert!(!back.is(SetConditionType::Blocked));
    let cancelled =
        given(3).with(|given| given.template = TemplateSeen::Missing).spec(json!({ "cancel": true })).at("10:00:00");
    assert_eq!(cancelled.phase(), "Cancelled", "a set that cannot start can still end");
}

#[test]
fn a_bad_input_fails_the_set_before_any_member() {
    let bad = given(200)
        .with(|given| given.bad = Some(BadInput::Input(Some(17), "/file: is required".into())))
        .at("10:00:00");
    assert_eq!((bad.phase(), bad.creates(), bad.lists()), ("Failed InvalidInput".into(), vec![], "0 //".into()));
    assert!(bad.note().contains("member 17") && bad.note().contains("/file: is required"), "{}", bad.note());
    let mended =
        bad.then().with(|given| given.bad = None).edited(json!({ "restart": { "token": "v2" } })).at("10:01:00");
    assert_eq!((mended.phase(), mended.creates().len()), ("Running".into(), 10));
    let schema = given(200).with(|given| given.bad = Some(BadInput::Schema("no schema".into()))).at("10:00:00");
    assert_eq!((schema.phase(), schema.creates()), ("Running InvalidSchema".into(), vec![]));
}

#[test]
fn an_input_that_does_not_fit_an_edited_template_blocks_what_is_left() {
    let bad = running().with(|given| given.bad = Some(BadInput::Input(Some(17), "/file: is required".into())));
    let bad = bad.member(0, M::Succeeded).at("10:00:00");
    assert_eq!((bad.phase(), bad.creates()), ("Running InvalidInput".into(), vec![]));
}

#[test]
fn inputs_that_are_not_those_of_the_start_block_what_is_left() {
    let changed =
        running().with(|given| given.digest = Some("sha256:other".into())).member(0, M::Succeeded).at("10:00:00");
    assert_eq!(
        (changed.phase(), changed.creates(), changed.lists()),
        ("Running ItemsChanged".into(), vec![], "3 0//".into())
    );
}

#[test]
fn a_changed_template_is_told_once() {
    let edited = running().with(|given| given.template = TemplateSeen::Found(2)).at("10:00:00");
    assert_eq!(edited.events(), [Told::TemplateChanged]);
    edited.then().at("10:00:01").is_quiet();
    let fresh = given(3).with(|given| given.template = TemplateSeen::Found(9)).at("10:00:00");
    assert_eq!((fresh.events(), fresh.status().template_generation), (vec![], Some(9)));
}

#[test]
fn a_refused_create_is_shown_and_tried_again() {
    let cause = Cause { reason: "QuotaExceeded".into(), message: "exceeded quota".into() };
    let refused = running().gone(2).with(|given| given.refused.create = Some((cause, t("10:00:05"))));
    let shown = refused.clone().at("10:00:00");
    assert_eq!(
        (shown.phase(), shown.creates(), shown.wakes_at()),
        ("Running QuotaExceeded".into(), vec![], Some(t("10:00:05")))
    );
    assert_eq!(shown.then().at("10:00:05").creates(), [2]);
}

#[test]
fn a_name_that_is_taken_keeps_its_place_and_the_others_go_on() {
    let taken = running().gone(2).with(|given| {
        given.refused.taken.insert(2, ("of Job x".into(), t("10:00:05")));
    });
    let taken = taken.member(0, M::Succeeded).at("10:00:00");
    assert_eq!((taken.phase(), taken.creates()), ("Running NameTaken".into(), vec![3]));
    assert!(taken.plan.events.iter().any(|event| event.note.contains("s-2") && event.note.contains("of Job x")));
    assert_eq!(taken.wakes_at(), Some(t("10:00:05")));
    assert_eq!(taken.then().at("10:00:05").creates(), [2]);
}

#[test]
fn a_set_all_of_whose_members_are_held_is_blocked() {
    let some = running().member(0, M::Held).member(1, M::Held).at("10:00:00");
    assert_eq!(some.phase(), "Running");
    let all = running().all(M::Held, 1).at("10:00:00");
    assert_eq!((all.phase(), all.events()), ("Running MembersHeld".into(), vec![Told::Blocked]));
    assert!(all.note().contains("s-0, s-1, s-2"), "{}", all.note());
}

#[test]
fn an_ended_set_is_deleted_with_its_time_to_live() {
    let ended = |phase: SetPhase| {
        let spec = json!({ "ttlAfterFinished": "1h", "ttlAfterFailed": "2h" });
        given(1).spec(spec).lists(1, "0", "", "").status(|status| {
            status.phase = Some(phase);
            status.completion_time = Some(t("10:00:00"));
        })
    };
    for (phase, due) in
        [(SetPhase::Succeeded, "11:00:00"), (SetPhase::Cancelled, "11:00:00"), (SetPhase::Failed, "12:00:00")]
    {
        assert_eq!(ended(phase).at("10:30:00").wakes_at(), Some(t(due)), "{phase}");
        assert_eq!(ended(phase).at(due).plan.steps, [SetStep::DeleteSet], "{phase}");
    }
    let again = ended(SetPhase::Failed).edited(json!({ "restart": { "token": "v2" } })).at("13:00:00");
    assert_eq!(again.phase(), "Succeeded", "a new token comes first, and nothing was left to do");
}

#[test]
fn a_set_of_another_controller_or_one_that_goes_is_left_alone() {
    given(3).spec(json!({ "managedBy": "example.com/other" })).at("10:00:00").is_quiet();
    running().gone(0).with(|given| given.is_being_deleted = true).at("10:00:00").is_quiet();
}

#[test]
fn the_end_is_foreseen_at_the_pace_of_the_round() {
    let half = given(20).spec(json!({ "maxParallel": 5 })).lists(10, "0-4", "", "").all(M::Succeeded, 1).at("09:10:00");
    let progress = half.status().progress;
    assert_eq!((progress.completed, progress.percent, progress.summary.as_str()), (10, 50, "10/20"));
    assert_eq!(progress.estimated_completion_time, Some(t("09:20:00")));
    let later = half.then().all(M::UnderWay, 1).at("09:15:00");
    assert_eq!(later.plan.status, None, "nothing ended: nothing is written");
}
