//! What comes next when no attempt is running: an end, a pause, a wait, or the next attempt.

use super::{
    adjust,
    blocked::{self, block, unblock},
    decision::{EventReason, PodRef, Step},
    draft::Draft,
    edits, limits,
    observed::{PodFacts, Refusal},
    outcome, policy,
    refused::REFUSED_WAIT,
    time::{after, seconds_between},
};
use crate::{
    api::{
        AttemptState, ConditionType, CurrentAttempt, FailureReason, Limit, Phase, cut, find_condition,
        is_condition_true,
    },
    render,
};

/// How soon to look again for a pod that is on its way out, in seconds.
const SOON: i64 = 1;
/// How long a pod that is on its way out may take longer than it was granted before that is shown, in seconds.
const GOING_PATIENCE: i64 = 10;

/// The phase's reason while a pod that is not wanted any more has not ended.
const WAITING_FOR_OLD_POD: &str = "WaitingForOldPod";
/// Likewise, a pod of an earlier task of the same name.
const WAITING_FOR_OLD_TASK: &str = "WaitingForOldTask";

/// How much of a message is said again, in bytes.
const SHORT: usize = 128;

/// Asks, in this order, what comes next; the first answer wins.
pub(super) fn go_on(draft: &mut Draft<'_>) {
    give_up_number_with_pod(draft);
    if has_ended(draft) || is_cancelled(draft) {
        return;
    }
    resume_if_suspended(draft);
    // A pause needs no further attempt: only time is asked for before it.
    let _answered = is_out_of_time(draft)
        || policy::stays_held(draft)
        || is_suspended(draft)
        || is_out_of_tries(draft)
        || must_let_old_pods_end(draft)
        || must_wait(draft)
        || starts_an_attempt(draft);
}

/// An attempt whose pod does not exist is created, unless it is not wanted any more.
pub(super) fn create_or_withdraw(draft: &mut Draft<'_>) {
    let Some(attempt) = draft.status.current_attempt.clone() else { return };
    let limit = limits::time_limit_reached(&draft.spec.limits, &draft.status, draft.now);
    if draft.spec.cancel || draft.spec.suspend || limit.is_some() {
        draft.set_attempt_state(AttemptState::Withdrawn);
        forget_refusal(draft, "Withdrawn");
        return go_on(draft);
    }
    let is_edited = attempt.generation != draft.seen.generation();
    if is_edited {
        follow_edit(draft);
    }
    // A refusal was of the specification before the edit.
    if let Some(refusal) = draft.seen.refusal.clone().filter(|_| !is_edited) {
        is_refused(draft, &refusal);
    } else if !must_let_old_pods_end(draft) && !must_wait_to_create(draft) {
        create(draft);
    }
}

/// The pod is made from the edited specification, under the number and the name that it has. A create from the one
/// before may be on its way, from another operator or in a request that was given up; two pods cannot have one name.
fn follow_edit(draft: &mut Draft<'_>) {
    adjust::forget_outdone_memory(draft);
    let (generation, hash) = (draft.seen.generation(), edits::hash_of_next(draft));
    draft.update_attempt(|attempt| (attempt.generation, attempt.template_hash) = (generation, Some(hash)));
    if forget_refusal(draft, "Edited") {
        draft.stands(Phase::Pending, "");
    }
}

fn forget_refusal(draft: &mut Draft<'_>, reason: &str) -> bool {
    let is_blocked = is_condition_true(&draft.status.conditions, ConditionType::Blocked);
    if is_blocked {
        unblock(draft, reason);
        draft.status.next_attempt_time = None;
    }
    is_blocked
}

fn has_ended(draft: &mut Draft<'_>) -> bool {
    let has_ended = draft.status.phase.is_some_and(Phase::is_terminal);
    let recorded = draft.seen.task.status.as_ref();
    let ended_before = recorded.is_some_and(|status| status.phase.is_some_and(Phase::is_terminal));
    let is_edit = ended_before && draft.status.observed_generation != draft.seen.generation();
    if has_ended && is_edit && !is_condition_true(&draft.status.conditions, ConditionType::Blocked) {
        let note =
            "The task has ended: this change of its spec starts nothing. Set a new spec.restart.token to run it again.";
        draft.warn(EventReason::EditIgnored, note);
    }
    if has_ended {
        delete_when_expired(draft);
    }
    has_ended
}

fn delete_when_expired(draft: &mut Draft<'_>) {
    let Some((ttl, ended_at)) = draft.spec.ttl_after_finished.zip(draft.status.completion_time) else { return };
    let due = after(ended_at, ttl.as_secs());
    if due > draft.now {
        draft.wake.no_later_than(due);
    } else {
        draft.step(Step::DeleteTask);
    }
}

fn is_cancelled(draft: &mut Draft<'_>) -> bool {
    if !draft.spec.cancel {
        return false;
    }
    end(draft, Phase::Cancelled, "Cancelled", "cancelled by the user");
    draft.say(EventReason::Cancelled, "Cancelled; the last checkpoint stays in status.");
    true
}

fn is_out_of_time(draft: &mut Draft<'_>) -> bool {
    let Some(limit) = limits::time_limit_reached(&draft.spec.limits, &draft.status, draft.now) else { return false };
    fail_by_limit(draft, limit);
    true
}

/// Fails the task because a limit of time is reached.
pub(super) fn fail_by_limit(draft: &mut Draft<'_>, limit: Limit) {
    let message = match limit {
        Limit::ActiveTime => {
            format!("the attempts ran for {}s, limits.activeTime is used up", draft.status.active_seconds)
        }
        Limit::WallTime => "limits.wallTime since the start of the run is used up".to_owned(),
        Limit::Deadline => "limits.deadline has passed".to_owned(),
    };
    fail(draft, limit.into(), &message);
}

fn is_out_of_tries(draft: &mut Draft<'_>) -> bool {
    let Some(reason) = limits::count_limit_reached(&draft.spec.limits, &draft.status) else { return false };
    let message = format!(
        "another attempt is needed after {} and {}, which limits.segments or limits.attempts forbids",
        counted(draft.status.segment.saturating_sub(1), "segment"),
        counted(draft.status.totals.attempts, "attempt"),
    );
    fail(draft, reason, &message);
    true
}

fn is_suspended(draft: &mut Draft<'_>) -> bool {
    if !draft.spec.suspend {
        return false;
    }
    if !is_condition_true(&draft.status.conditions, ConditionType::Suspended) {
        suspend(draft);
    }
    draft.stands(Phase::Suspended, "SuspendedByUser");
    wake_at_next_limit(draft);
    true
}

fn suspend(draft: &mut Draft<'_>) {
    let message = "no pod runs and everything is kept; set spec.suspend to false to go on";
    draft.set_condition(ConditionType::Suspended, true, "SuspendedByUser", message);
    draft.set_condition(ConditionType::Reconciling, false, "Suspended", "suspended by the user");
    draft.say(EventReason::Suspended, "Suspended by the user; set spec.suspend to false to go on from here.");
}

fn resume_if_suspended(draft: &mut Draft<'_>) {
    let is_suspended = is_condition_true(&draft.status.conditions, ConditionType::Suspended);
    if draft.spec.suspend || !is_suspended || policy::is_held(&draft.status) {
        return;
    }
    count_pause(draft);
    draft.set_condition(ConditionType::Suspended, false, "Resumed", "resumed by the user");
    draft.set_condition(ConditionType::Reconciling, true, "Resumed", "the run goes on");
    draft.say(EventReason::Resumed, "Resumed by the user.");
}

/// A pause is over: its time is no time of the run.
pub(super) fn count_pause(draft: &mut Draft<'_>) {
    let since = find_condition(&draft.status.conditions, ConditionType::Suspended)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let paused = seconds_between(since, draft.now).max(0);
    draft.status.run.suspended_seconds = draft.status.run.suspended_seconds.saturating_add(paused);
}

/// Pods that are not part of this history must be gone first: those of an earlier task of the same name that are on
/// their way out, those of withdrawn attempts that came to be all the same, those that a lost status knew.
fn must_let_old_pods_end(draft: &mut Draft<'_>) -> bool {
    let seen = draft.seen;
    // Deleted, or about to be: the garbage collector takes a pod whose owner is gone, a moment after the owner.
    let is_doomed = |pod: &PodFacts| pod.deletion.is_some() || pod.owner_uid.is_some();
    let is_going = |pod: &PodFacts| is_doomed(pod) && !outcome::has_ended(pod, draft.now);
    let foreign = seen.foreign.iter().find(|pod| is_going(pod)).map(|pod| (pod, WAITING_FOR_OLD_TASK));
    let stray = seen.pods.iter().find(|pod| !outcome::has_ended(pod, draft.now));
    let Some((pod, reason)) = foreign.or(stray.map(|pod| (pod, WAITING_FOR_OLD_POD))) else {
        old_pods_have_ended(draft);
        return false;
    };
    show_old_pod(draft, pod, reason);
    draft.stands(Phase::Pending, reason);
    draft.wake.no_later_than(after(draft.now, SOON));
    true
}

/// Shows a pod that should be gone by now and is not: its node is silent, or somebody else's finalizer holds it.
fn show_old_pod(draft: &mut Draft<'_>, pod: &PodFacts, reason: &str) {
    let is_late = pod.deletion.is_some_and(|deletion| after(deletion.at, GOING_PATIENCE) <= draft.now);
    if is_late {
        let node = pod.node.as_deref().unwrap_or("none");
        let name = &pod.name;
        let words = format!("pod {name} on node {node} is on its way out; see `kubectl describe pod {name}`");
        block(draft, reason, &words);
    }
}

/// What was shown of an old pod is over.
fn old_pods_have_ended(draft: &mut Draft<'_>) {
    let waited = blocked::shown(draft);
    if waited.is_some_and(|shown| matches!(shown.reason.as_str(), WAITING_FOR_OLD_POD | WAITING_FOR_OLD_TASK)) {
        unblock(draft, "OldPodEnded");
    }
}

fn must_wait(draft: &mut Draft<'_>) -> bool {
    let must_wait = must_wait_to_create(draft);
    if must_wait && draft.status.phase != Some(Phase::Waiting) {
        draft.stands(Phase::Waiting, "Backoff");
    }
    must_wait
}

fn must_wait_to_create(draft: &mut Draft<'_>) -> bool {
    let Some(next) = draft.status.next_attempt_time.filter(|next| *next > draft.now) else { return false };
    draft.wake.no_later_than(next);
    wake_at_next_limit(draft);
    true
}

fn starts_an_attempt(draft: &mut Draft<'_>) -> bool {
    let number = next_number(draft);
    let name = draft.seen.task.metadata.name.as_deref().unwrap_or_default();
    let attempt = CurrentAttempt {
        number,
        segment: draft.status.segment,
        state: AttemptState::Creating,
        pod_name: render::pod_name(name, number),
        pod_uid: None,
        node_name: None,
        generation: draft.seen.generation(),
        template_hash: Some(edits::hash_of_next(draft)),
        created_at: draft.now,
        started_at: None,
        cut_by: None,
        stop: None,
    };
    adjust::forget_outdone_memory(draft);
    edits::waits_no_more(draft);
    draft.status.next_attempt_time = None;
    let note = format!("Starting attempt {number} of segment {}.", attempt.segment);
    draft.say_of(Some(PodRef::of(&attempt)), EventReason::AttemptStarting, &note);
    draft.status.current_attempt = Some(attempt);
    draft.stands(Phase::Pending, "");
    create(draft);
    true
}

/// A create that was withdrawn came through after all: a number is for one pod only, also when that is gone.
fn give_up_number_with_pod(draft: &mut Draft<'_>) {
    let Some(attempt) = &draft.status.current_attempt else { return };
    let has_pod = draft.seen.pods.iter().any(|pod| pod.attempt == attempt.number);
    if attempt.state == AttemptState::Withdrawn && has_pod {
        draft.set_attempt_state(AttemptState::Ended);
    }
}

/// One more than the highest number ever used, as far as can be known. A number that was withdrawn in this run is used
/// still: a create under it may be on its way (see [`follow_edit`]).
fn next_number(draft: &Draft<'_>) -> i64 {
    let current = draft.status.current_attempt.as_ref();
    let used = current.map(|attempt| match attempt.state {
        AttemptState::Withdrawn => attempt.number.saturating_sub(1),
        _ => attempt.number,
    });
    draft.seen.pods.iter().map(|pod| pod.attempt).chain(used).fold(0, i64::max).saturating_add(1)
}

fn create(draft: &mut Draft<'_>) {
    let Some(attempt) = draft.status.current_attempt.clone() else { return };
    let duration = draft.spec.segment.duration.as_secs();
    let slice = limits::slice_from(draft.now, duration, &draft.spec.limits, &draft.status);
    let slice_seconds = seconds_between(draft.now, slice.end);
    let pod = render::pod(draft.seen.task, draft.seen.uid, &draft.status, &attempt, slice_seconds);
    draft.step(Step::CreatePod(Box::new(pod)));
    // The pod's own watch brings the news; this is for the day that it does not.
    draft.wake.no_later_than(after(draft.now, 30));
}

/// A refused create is an observation: shown, and tried again.
fn is_refused(draft: &mut Draft<'_>, refusal: &Refusal) {
    let (reason, message) = match refusal {
        Refusal::NameOfGoingPod => {
            draft.stands(Phase::Pending, "WaitingForOldPod");
            draft.status.next_attempt_time = None;
            draft.wake.no_later_than(after(draft.now, SOON));
            return;
        }
        Refusal::NameTaken(owner) => {
            let name = draft.status.current_attempt.as_ref().map_or("", |attempt| attempt.pod_name.as_str());
            let whose = owner.as_ref().map_or_else(|| "not of this task".to_owned(), |owner| format!("of {owner}"));
            ("NameTaken".to_owned(), format!("a pod {name} exists that is {whose}"))
        }
        Refusal::Rejected(words) => {
            (words.reason.clone(), format!("the API server refuses the pod: {}", words.message))
        }
    };
    block(draft, &reason, &message);
    draft.stands(Phase::Pending, &reason);
    let blocked_since = find_condition(&draft.status.conditions, ConditionType::Blocked)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let waited = seconds_between(blocked_since, draft.now);
    let next = after(draft.now, waited.clamp(*REFUSED_WAIT.start(), *REFUSED_WAIT.end()));
    draft.status.next_attempt_time = Some(next);
    draft.wake.no_later_than(next);
    wake_at_next_limit(draft);
}

/// Looks again when the next limit of time is reached.
pub(super) fn wake_at_next_limit(draft: &mut Draft<'_>) {
    if let Some(limit) = limits::next_limit(&draft.spec.limits, &draft.status) {
        draft.wake.no_later_than(limit);
    }
}

/// Fails the task for good.
pub(super) fn fail(draft: &mut Draft<'_>, reason: FailureReason, message: &str) {
    let word = reason.to_string();
    // The whole is said once: a status has to stay small.
    end(draft, Phase::Failed, &word, "the task has failed, see the condition Failed");
    draft.set_condition(ConditionType::Failed, true, &word, message);
    draft.set_condition(ConditionType::Stalled, true, &word, cut(message, SHORT));
    draft.warn(EventReason::Failed, &format!("Failed ({word}): {message}. The last checkpoint stays in status."));
}

/// The program is done.
pub(super) fn succeed(draft: &mut Draft<'_>) {
    let note = format!(
        "Succeeded after {} and {}, {}s of running time.",
        counted(draft.status.segment, "segment"),
        counted(draft.status.totals.attempts, "attempt"),
        draft.status.active_seconds
    );
    end(draft, Phase::Succeeded, "Completed", &note);
    draft.set_condition(ConditionType::Complete, true, "Completed", &note);
    draft.say(EventReason::Succeeded, &note);
}

fn counted(number: i64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {what}{plural}")
}

fn end(draft: &mut Draft<'_>, phase: Phase, reason: &str, message: &str) {
    // A segment that would have come next has not.
    draft.status.segment = draft.status.current_attempt.as_ref().map_or(draft.status.segment, |last| last.segment);
    draft.stands(phase, if phase == Phase::Failed { reason } else { "" });
    draft.status.completion_time = Some(draft.now);
    draft.status.next_attempt_time = None;
    if let Some(progress) = &mut draft.status.progress {
        progress.estimated_completion_time = None;
    }
    unblock(draft, "Finished");
    draft.set_condition(ConditionType::AttemptOverdue, false, "Finished", "");
    draft.set_condition(ConditionType::CheckpointStale, false, "Finished", "");
    draft.set_condition(ConditionType::Suspended, false, "Finished", "");
    draft.set_condition(ConditionType::Reconciling, false, "Finished", "the task has ended");
    draft.set_condition(ConditionType::Finished, true, reason, message);
}
