//! Checkpoints that the agent keeps in a store.

use longtask::api::task::{Checkpoint, LongTaskStatus, Phase, StopReason};
use serde_json::{Value, json};

use super::support::{Given, PodBuilder, given, given_live, pod};

/// The save of an attempt, by its number in it.
fn uri(attempt: i64, number: i64) -> String {
    format!("s3://bucket/n/t/task-uid/{attempt}-1a2b3c4d/{number}/manifest.json")
}

/// What the agent makes of a checkpoint that it has saved.
fn saved(attempt: i64, number: i64) -> Value {
    json!({ "checkpoint": {
        "path": format!("step-{number}"), "uri": uri(attempt, number), "digest": "sha256:1", "sizeBytes": 7,
    } })
}

/// Likewise, as the restore tells of it.
fn restored(attempt: i64, number: i64, is_adopted: bool) -> Value {
    json!({
        "path": format!("step-{number}"), "uri": uri(attempt, number), "digest": "sha256:1", "sizeBytes": 7,
        "attempt": attempt, "segment": 1, "creationTime": "2026-11-24T09:50:00Z", "isAdopted": is_adopted,
    })
}

/// A checkpoint as it is recorded.
fn recorded(sequence: i64, attempt: i64, number: i64) -> Checkpoint {
    serde_json::from_value(json!({
        "sequence": sequence, "attempt": attempt, "segment": 1, "recordTime": "2026-11-24T09:40:00Z",
        "path": format!("step-{number}"), "uri": uri(attempt, number), "digest": "sha256:1", "sizeBytes": 7,
    }))
    .expect("a checkpoint")
}

/// A live task with a store.
fn given_store() -> Given {
    given_live().spec(json!({ "checkpoint": { "store": { "url": "s3://bucket" } } }))
}

/// Its attempt 2 runs from 10:00:00 on.
fn running() -> Given {
    given_store().running(2, "10:00:00")
}

fn runs() -> PodBuilder {
    pod(2).runs("10:00:00").deadline(3601).with_agent()
}

/// Checkpoint 3 is the newest, and there is an earlier one.
fn with_two(status: &mut LongTaskStatus) {
    status.checkpoint = Some(recorded(3, 1, 3));
    status.checkpoint_history = vec![recorded(2, 1, 2)];
    status.checkpoint_sequence = 3;
}

// === what is recorded

#[test]
fn a_checkpoint_that_was_saved_is_recorded_with_its_path() {
    let planned = running().pod(runs()).posted(5, "10:00:30", 0, &[saved(2, 1)]).at("10:00:30");
    let checkpoint = planned.expect_containing(&["checkpoint 1"]).status().checkpoint.expect("it is recorded");
    assert_eq!((checkpoint.path.as_deref(), checkpoint.uri), (Some("step-1"), Some(uri(2, 1))));
    assert_eq!((checkpoint.digest.as_deref(), checkpoint.size_bytes), (Some("sha256:1"), Some(7)));
}

#[test]
fn a_save_that_takes_longer_than_the_grace_period_is_told_with_the_first_checkpoint_of_an_attempt() {
    let given = running().pod(runs()).posted(5, "10:00:30", 0, &[saved(2, 1)]);
    let slow = json!({ "path": "step-1", "seconds": 40 });
    let first = given.clone().saving(slow.clone()).at("10:00:30");
    assert!(first.note("GraceTooShort").contains("took 40s, and segment.gracePeriod is 30s"));
    let second = first.then().posted(6, "10:02:00", 0, &[saved(2, 2)]).saving(slow).at("10:02:00");
    second.expect_containing(&["checkpoint 2"]).expect_without(&["Warning GraceTooShort"]);
    let quick = given.saving(json!({ "path": "step-1", "seconds": 30 })).at("10:00:30");
    quick.expect_containing(&["checkpoint 1"]).expect_without(&["Warning GraceTooShort"]);
}

#[test]
fn a_path_in_the_termination_message_was_not_saved_and_what_was_saved_stands() {
    let names_it = json!({ "checkpoint": { "path": "step-9" }, "progress": { "completed": 9 } });
    let ended = |lines: &[Value]| {
        let ended = pod(2).ran("10:00:00", "10:10:00", 75).with_agent().agent_left(json!({ "revision": 5 }), lines);
        ended.restored(restored(1, 3, false)).reporting(std::slice::from_ref(&names_it))
    };
    let planned = running().status(with_two).pod(ended(&[saved(2, 1)])).at("10:10:01");
    assert!(planned.note("ReportIgnored").contains("\"step-9\" is named in the termination message"));
    let status = planned.status();
    assert_eq!(status.checkpoint.and_then(|checkpoint| checkpoint.path).as_deref(), Some("step-1"));
    assert_eq!(status.progress.and_then(|progress| progress.completed), Some(9), "all else counts");
    let unheard = running().status(with_two).pod(ended(&[])).at("10:10:01").status();
    assert_eq!(unheard.checkpoint.map(|checkpoint| checkpoint.sequence), Some(3));
}

// === a save that fails

#[test]
fn a_save_that_fails_is_shown_until_one_succeeds() {
    let error = json!({ "reason": "AccessDenied", "message": "the store says 403." });
    let failing = json!({ "path": "step-2", "seconds": 61, "error": error });
    let given = running().pod(runs()).posted(5, "10:00:30", 0, &[saved(2, 1)]);
    let shown = given.saving(failing).at("10:00:30");
    let shown = shown.expect_containing(&["SaveFailing True AccessDenied", "Warning SaveFailing"]);
    assert!(shown.note("SaveFailing").contains("the store says 403. What to do: check the keys"));
    let done = shown.then().posted(6, "10:02:00", 0, &[saved(2, 2)]).saving(json!({ "path": "step-2", "seconds": 1 }));
    done.at("10:02:00").expect_containing(&["SaveFailing False", "checkpoint 2"]);
}

#[test]
fn a_save_that_fails_in_another_way_is_told_anew_and_in_other_words_is_not() {
    let of = |reason: &str, message: &str| json!({ "path": "p", "seconds": 61, "error": { "reason": reason, "message": message } });
    let given = running().pod(runs()).posted(5, "10:00:10", 0, &[]);
    let shown = given.saving(of("Unreachable", "timed out after 61s")).at("10:00:10").then();
    let same = shown.clone().saving(of("Unreachable", "timed out after 99s")).at("10:00:20");
    assert_eq!((same.plan.status, same.plan.events), (None, vec![]));
    let other = shown.saving(of("NoSuchBucket", "no bucket")).at("10:00:20");
    other.expect_containing(&["SaveFailing True NoSuchBucket", "Warning SaveFailing"]);
}

#[test]
fn without_live_reports_a_save_that_failed_is_told_at_the_end() {
    let spec = json!({ "reporting": { "mode": "AtExit" } });
    let save = json!({ "path": "step-9", "seconds": 61, "error": { "reason": "Unreachable", "message": "no route" } });
    let ended =
        pod(2).ran("10:00:00", "10:10:00", 75).with_agent().agent_left(json!({ "revision": 5, "save": save }), &[]);
    let planned = running().spec(spec).pod(ended).at("10:10:01");
    assert!(planned.note("SaveFailing").contains("step-9, was not saved: no route"));
}

#[test]
fn a_save_that_an_earlier_run_of_the_agent_told_of_is_not_recorded_since_a_later_one_may_have_removed_it() {
    let left = |pod: PodBuilder| {
        let pod = pod.with_agent().restored(restored(1, 1, false));
        pod.agent_left(json!({ "revision": 5 }), &[saved(2, 1)])
    };
    let of = |pod: PodBuilder| running().pod(pod).at("10:10:01").status();
    let certain = of(left(pod(2).ran("10:00:00", "10:10:00", 75)));
    assert_eq!(certain.checkpoint.and_then(|checkpoint| checkpoint.path).as_deref(), Some("step-1"));
    let lost = left(runs()).agent_runs_again().phase("Failed").disrupted("DeletionByPodGC", "10:10:00");
    assert_eq!(of(lost).checkpoint, None);
}

// === what an attempt resumes from

#[test]
fn what_was_saved_and_not_recorded_is_adopted_when_the_program_starts() {
    let given = given_store().attempt(2, longtask::api::task::AttemptState::Creating, "").status(with_two);
    let started = given.pod(runs().restored(restored(1, 5, true))).at("10:00:01");
    let started = started.expect_containing(&["checkpoint 4", "Normal CheckpointAdopted", "phase Running"]);
    let status = started.status();
    let checkpoint = status.checkpoint.expect("it is recorded");
    assert_eq!((checkpoint.attempt, checkpoint.path.as_deref()), (1, Some("step-5")));
    assert_eq!(status.checkpoint_history.len(), 2);
}

#[test]
fn an_adoption_that_was_missed_is_recorded_at_the_end_and_below_what_the_attempt_itself_saved() {
    let ended =
        pod(2).ran("10:00:00", "10:10:00", 75).with_agent().agent_left(json!({ "revision": 5 }), &[saved(2, 1)]);
    let given = given_store().creating(2).status(with_two).pod(ended.restored(restored(1, 5, true)));
    let status = given.at("10:10:01").expect_containing(&["Normal CheckpointAdopted", "checkpoint 5"]).status();
    let paths: Vec<_> =
        status.checkpoint_history.iter().map(|earlier| earlier.path.clone().unwrap_or_default()).collect();
    assert_eq!(paths, ["step-5", "step-3", "step-2"]);
}

#[test]
fn the_named_checkpoint_an_older_save_and_one_of_a_dropped_epoch_are_not_adopted() {
    let started = |restored: Value, epoch: i64| {
        let given = given_store().creating(2).status(with_two).status(|status| status.checkpoint_epoch = epoch);
        given.pod(runs().restored(restored)).at("10:00:01").expect_containing(&["phase Running"])
    };
    for (restored, epoch) in
        [(restored(1, 3, false), 0), (restored(1, 2, true), 0), (restored(1, 5, true), 2), (restored(1, 3, true), 0)]
    {
        started(restored, epoch).expect_without(&["checkpoint", "Normal CheckpointAdopted"]);
    }
}

#[test]
fn an_attempt_that_has_recorded_its_own_checkpoint_is_not_set_back_by_what_it_resumed_from() {
    let given = running().status(with_two).status(|status| status.checkpoint = Some(recorded(4, 2, 1)));
    let ended = pod(2).ran("10:00:00", "10:10:00", 75).with_agent().agent_left(json!({ "revision": 5 }), &[]);
    let planned = given.pod(ended.restored(restored(1, 5, true))).at("10:10:01");
    assert_eq!(planned.status().checkpoint.map(|checkpoint| checkpoint.sequence), Some(4));
}

#[test]
fn a_checkpoint_that_cannot_be_read_is_dropped_and_the_one_before_is_next_at_once() {
    let given = given_store().creating(2).status(with_two).pod(pod(2).restore_failed("Unreadable", 65));
    let planned =
        given.at("10:00:06").expect_containing(&["checkpoint 2", "create pod t-3", "Warning CheckpointUnreadable"]);
    let status = planned.status();
    assert_eq!((status.checkpoint_epoch, status.consecutive.start_failures), (3, 1));
    let note = planned.note("CheckpointUnreadable");
    assert!(note.contains("3 (step-3) cannot be read") && note.contains("the store's words"), "{note}");
    let failure = status.last_failure.expect("it is told");
    assert_eq!(failure.reason, "CheckpointUnreadable");
}

#[test]
fn when_no_checkpoint_can_be_read_the_task_fails_and_nothing_begins_anew() {
    let given = given_store().creating(2).status(|status| status.checkpoint = Some(recorded(3, 1, 3)));
    let planned = given.pod(pod(2).restore_failed("Unreadable", 65)).at("10:00:06");
    let planned = planned.expect_containing(&["phase Failed CheckpointUnreadable", "Warning CheckpointUnreadable"]);
    assert!(planned.note("Failed").contains("from: Beginning"));
    assert_eq!(planned.status().checkpoint.map(|checkpoint| checkpoint.sequence), Some(3), "it stays recorded");
}

#[test]
fn a_rule_for_a_checkpoint_that_cannot_be_read_decides() {
    let rule = json!({ "name": "look", "onReasons": ["CheckpointUnreadable"], "action": "Hold" });
    let given = given_store().spec(json!({ "failurePolicy": { "rules": [rule] } })).creating(2).status(with_two);
    let planned = given.pod(pod(2).restore_failed("Unreadable", 65)).at("10:00:06");
    let planned = planned.expect_containing(&["phase Suspended Held"]);
    assert_eq!(planned.status().checkpoint.map(|checkpoint| checkpoint.sequence), Some(3));
}

#[test]
fn a_store_that_cannot_be_used_costs_a_start_and_one_that_does_not_answer_costs_time() {
    let ended = |reason: &str, code| {
        given_store().creating(2).status(with_two).pod(pod(2).restore_failed(reason, code)).at("10:00:06").status()
    };
    let unusable = ended("Unusable", 77);
    assert_eq!(unusable.recent_attempts[0].reason, "StoreUnusable");
    assert_eq!((unusable.consecutive.start_failures, unusable.consecutive.interruptions), (1, 0));
    let unreachable = ended("Unreachable", 69);
    assert_eq!((unreachable.phase, unreachable.reason.as_str()), (Some(Phase::Waiting), "StoreUnreachable"));
    assert_eq!((unreachable.consecutive.start_failures, unreachable.consecutive.interruptions), (0, 1));
    for status in [unusable, unreachable] {
        assert_eq!(status.checkpoint.map(|checkpoint| checkpoint.sequence), Some(3), "nothing is dropped");
    }
}

#[test]
fn a_restore_that_takes_long_is_shown() {
    let given = given_store().creating(2).pod(pod(2).restoring("10:00:02"));
    given.clone().at("10:00:31").expect_without(&["Blocked"]);
    given.at("10:00:33").expect_containing(&["phase Pending Restoring", "Blocked True Restoring"]);
}

#[test]
fn the_word_of_an_agent_that_never_ran_is_not_waited_for() {
    let stopped = pod(2).restore_stopped("10:00:08").deleted("10:00:37", 30);
    let given = given_store().creating(2).stopping(StopReason::Suspend, "10:00:07");
    let planned = given.edited(json!({ "suspend": true })).pod(stopped).at("10:00:09");
    planned.expect_containing(&["phase Suspended SuspendedByUser"]);
}

#[test]
fn dropped_checkpoints_begin_an_epoch() {
    let rule = json!({ "name": "bad", "onReasons": ["Error"], "action": "Rollback" });
    let given = running().status(with_two).spec(json!({ "failurePolicy": { "rules": [rule] } }));
    let ended = pod(2).ran("10:00:00", "10:10:00", 1).with_agent().agent_left(json!({ "revision": 5 }), &[]);
    let planned = given.pod(ended).at("10:10:01");
    assert_eq!(planned.status().checkpoint_epoch, 3);
    let restart = json!({ "restart": { "token": "again", "from": "Beginning" } });
    let again = given_store().ended(4).in_phase(Phase::Failed).status(with_two).edited(restart).at("11:00:00");
    assert_eq!((again.status().checkpoint_epoch, again.status().checkpoint), (5, None));
    let latest = json!({ "restart": { "token": "again" } });
    let again = given_store().ended(4).in_phase(Phase::Failed).status(with_two).edited(latest).at("11:00:00");
    assert_eq!(again.status().checkpoint_epoch, 0);
}

// === what keeps a pod from being created

#[test]
fn a_stored_checkpoint_without_a_store_blocks_until_there_is_one_again() {
    let without = given_live().ended(1).status(with_two).at("10:00:00");
    let without = without.expect_containing(&["phase Pending StoreMissing", "Blocked True StoreMissing"]);
    assert!(without.plan.steps.is_empty() && without.note("Blocked").contains("spec.checkpoint.store again"));
    let again = without.then().edited(json!({ "checkpoint": { "store": { "url": "s3://bucket" } } }));
    again.at("10:00:02").expect_containing(&["create pod t-2", "Blocked False"]);
}

#[test]
fn a_store_needs_an_operator_with_an_agent_and_a_pod_for_linux() {
    let store = json!({ "checkpoint": { "store": { "url": "s3://bucket" } } });
    let planned = given().spec(store).at("09:00:00");
    planned.expect_containing(&["phase Pending AgentNotConfigured"]).expect_without(&["create pod"]);
    let windows = json!({ "template": { "spec": { "os": { "name": "windows" } } } });
    let planned = given_store().spec(windows).at("09:00:00");
    planned.expect_containing(&["phase Pending Invalid"]).expect_without(&["create pod"]);
}
