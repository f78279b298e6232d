//! What comes next when no attempt is running: an end, a pause, a wait, or the next attempt.

use super::{
    blocked::{self, block, unblock},
    draft::Draft,
    edits, finish, limits, modifiers,
    observed::{Cause, PodFacts, Refusal},
    outcome,
    refused::REFUSED_WAIT,
    steps::{EventReason, PodRef, Step},
    suspension,
};
use crate::{
    api::task::{AttemptState, ConditionReason, ConditionType, CurrentAttempt, Phase, PhaseReason, Reason},
    task::render,
    types::{
        find_condition, is_condition_true,
        time::{after, seconds_between},
    },
};

/// How soon to look again for a pod that is on its way out, in seconds.
const SOON: i64 = 1;
/// How long a pod that is on its way out may take longer than it was granted before that is shown, in seconds.
const GOING_PATIENCE: i64 = 10;

/// Asks, in this order, what comes next; the first answer wins.
pub(super) fn decide_next(draft: &mut Draft<'_>) {
    give_up_number_with_pod(draft);
    if has_ended(draft) || is_cancelled(draft) {
        return;
    }
    suspension::resume_if_suspended(draft);
    // A pause needs no further attempt: only time is asked for before it.
    let _answered = is_out_of_time(draft)
        || suspension::stays_held(draft)
        || suspension::is_suspended(draft)
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
        forget_refusal(draft, ConditionReason::Withdrawn);
        return decide_next(draft);
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
    modifiers::forget_outdone_memory(draft);
    let (generation, hash) = (draft.seen.generation(), edits::hash_of_next(draft));
    draft.update_attempt(|attempt| (attempt.generation, attempt.template_hash) = (generation, Some(hash)));
    if forget_refusal(draft, ConditionReason::Edited) {
        draft.set_phase(Phase::Pending);
    }
}

fn forget_refusal(draft: &mut Draft<'_>, reason: ConditionReason) -> bool {
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
        draft.warning(EventReason::EditIgnored, note);
    }
    if has_ended {
        delete_when_expired(draft);
    }
    has_ended
}

fn delete_when_expired(draft: &mut Draft<'_>) {
    let ttl = draft.status.phase.and_then(|phase| draft.spec.ttl_after(phase));
    let Some((ttl, ended_at)) = ttl.zip(draft.status.completion_time) else { return };
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
    finish::end(draft, Phase::Cancelled, ConditionReason::Cancelled, "cancelled by the user");
    draft.event(EventReason::Cancelled, "Cancelled; the last checkpoint stays in status.");
    true
}

fn is_out_of_time(draft: &mut Draft<'_>) -> bool {
    let Some(limit) = limits::time_limit_reached(&draft.spec.limits, &draft.status, draft.now) else { return false };
    finish::fail_by_limit(draft, limit);
    true
}

fn is_out_of_tries(draft: &mut Draft<'_>) -> bool {
    let Some(reason) = limits::count_limit_reached(&draft.spec.limits, &draft.status) else { return false };
    let message = format!(
        "another attempt is needed after {} and {}, which limits.segments or limits.attempts forbids",
        finish::counted(draft.status.segment.saturating_sub(1), "segment"),
        finish::counted(draft.status.totals.attempts, "attempt"),
    );
    finish::fail(draft, reason, &message);
    true
}

/// Pods that are not part of this history must be gone first: those of an earlier task of the same name that are on
/// their way out, those of withdrawn attempts that came to be all the same, those that a lost status knew.
fn must_let_old_pods_end(draft: &mut Draft<'_>) -> bool {
    let seen = draft.seen;
    // Deleted, or about to be: the garbage collector takes a pod whose owner is gone, a moment after the owner.
    let is_doomed = |pod: &PodFacts| pod.deletion.is_some() || pod.owner_uid.is_some();
    let is_going = |pod: &PodFacts| is_doomed(pod) && !outcome::has_ended(pod, draft.now);
    let foreign = seen.foreign.iter().find(|pod| is_going(pod)).map(|pod| (pod, PhaseReason::WaitingForOldTask));
    let stray = seen.pods.iter().find(|pod| !outcome::has_ended(pod, draft.now));
    let Some((pod, reason)) = foreign.or(stray.map(|pod| (pod, PhaseReason::WaitingForOldPod))) else {
        old_pods_have_ended(draft);
        return false;
    };
    show_old_pod(draft, pod, reason);
    draft.set_phase_because(Phase::Pending, reason);
    draft.wake.no_later_than(after(draft.now, SOON));
    true
}

/// Shows a pod that should be gone by now and is not: its node is silent, or somebody else's finalizer holds it.
fn show_old_pod(draft: &mut Draft<'_>, pod: &PodFacts, reason: PhaseReason) {
    let is_late = pod.deletion.is_some_and(|deletion| after(deletion.at, GOING_PATIENCE) <= draft.now);
    if is_late {
        let node = pod.node.as_deref().unwrap_or("none");
        let name = &pod.name;
        let words = format!("pod {name} on node {node} is on its way out; see `kubectl describe pod {name}`");
        block(draft, &Cause::new(reason, words));
    }
}

/// What was shown of an old pod is over.
fn old_pods_have_ended(draft: &mut Draft<'_>) {
    let waited = blocked::shown(draft);
    let is_wait =
        |shown: &Cause| shown.is(ConditionReason::WaitingForOldPod) || shown.is(ConditionReason::WaitingForOldTask);
    if waited.as_ref().is_some_and(is_wait) {
        unblock(draft, ConditionReason::OldPodEnded);
    }
}

fn must_wait(draft: &mut Draft<'_>) -> bool {
    let must_wait = must_wait_to_create(draft);
    if must_wait && draft.status.phase != Some(Phase::Waiting) {
        draft.set_phase_because(Phase::Waiting, PhaseReason::Backoff);
    }
    must_wait
}

fn must_wait_to_create(draft: &mut Draft<'_>) -> bool {
    let Some(next) = draft.status.next_attempt_time.filter(|next| *next > draft.now) else { return false };
    draft.wake.no_later_than(next);
    draft.wake_at_next_limit();
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
        creation_time: draft.now,
        started_at: None,
        cut_by: None,
        stop: None,
    };
    modifiers::forget_outdone_memory(draft);
    edits::waits_no_more(draft);
    draft.status.next_attempt_time = None;
    let note = format!("Starting attempt {number} of segment {}.", attempt.segment);
    draft.pod_event(Some(PodRef::of(&attempt)), EventReason::AttemptStarting, &note);
    draft.status.current_attempt = Some(attempt);
    draft.set_phase(Phase::Pending);
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
    let cause = match refusal {
        Refusal::NameOfTerminatingPod => {
            draft.set_phase_because(Phase::Pending, PhaseReason::WaitingForOldPod);
            draft.status.next_attempt_time = None;
            draft.wake.no_later_than(after(draft.now, SOON));
            return;
        }
        Refusal::NameTaken(owner) => {
            let name = draft.status.current_attempt.as_ref().map_or("", |attempt| attempt.pod_name.as_str());
            let whose = owner.as_ref().map_or_else(|| "not of this task".to_owned(), |owner| format!("of {owner}"));
            Cause::new(ConditionReason::NameTaken, format!("a pod {name} exists that is {whose}"))
        }
        Refusal::Rejected(words) => {
            Cause { message: format!("the API server refuses the pod: {}", words.message), ..words.clone() }
        }
    };
    block(draft, &cause);
    draft.set_phase_because(Phase::Pending, Reason::of_cluster(cause.reason));
    let blocked_since = find_condition(&draft.status.conditions, ConditionType::Blocked)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let waited = seconds_between(blocked_since, draft.now);
    let next = after(draft.now, waited.clamp(*REFUSED_WAIT.start(), *REFUSED_WAIT.end()));
    draft.status.next_attempt_time = Some(next);
    draft.wake.no_later_than(next);
    draft.wake_at_next_limit();
}
