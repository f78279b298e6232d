//! The next attempt: decided, followed through edits, withdrawn, created.

use super::{
    blocked::{self, block, unblock},
    claims,
    draft::Draft,
    edits, input, limits, modifiers,
    observed::{Cause, PodFacts, Refusal},
    pod_group, queued,
    refused::REFUSED_WAIT,
    steps::{EventReason, PodRef, Step},
    stored_checkpoint,
};
use crate::{
    api::task::{AttemptState, ConditionReason, ConditionType, CurrentAttempt, Phase, PhaseReason, Reason},
    task::render,
    types::{
        find_condition, is_condition_true,
        time::{after, seconds_between},
    },
};

/// How long a pod that is on its way out may take longer than it was granted before that is shown, in seconds.
const GOING_PATIENCE: i64 = 10;

/// The attempt is not wanted any more, and its pod does not exist.
pub(super) fn withdraw(draft: &mut Draft<'_>) {
    draft.set_attempt_state(AttemptState::Withdrawn);
    forget_refusal(draft, ConditionReason::Withdrawn);
}

/// After an edit, the pod is made from the edited specification, under the number and the name that it has. A create from
/// the one before may be on its way, from another operator or in a request that was given up; two pods cannot have one
/// name.
pub(super) fn follow_edit(draft: &mut Draft<'_>) {
    let generation = draft.seen.generation();
    let edited = draft.status.current_attempt.as_ref().filter(|attempt| attempt.generation != generation);
    let Some(number) = edited.map(|attempt| attempt.number) else { return };
    modifiers::forget_outdone_memory(draft);
    let (hash, group) = (edits::hash_of_next(draft), pod_group::of_its_own(draft, number));
    draft.update_attempt(|attempt| {
        (attempt.generation, attempt.template_hash, attempt.pod_group) = (generation, Some(hash), group);
    });
    if is_condition_true(&draft.status.conditions, ConditionType::Blocked) {
        draft.set_phase(Phase::Pending);
    }
    forget_refusal(draft, ConditionReason::Edited);
}

fn forget_refusal(draft: &mut Draft<'_>, reason: ConditionReason) {
    if is_condition_true(&draft.status.conditions, ConditionType::Blocked) {
        unblock(draft, reason);
        draft.status.next_attempt_time = None;
    }
}

/// The withdrawn create succeeded late. A number is for one pod only, also when that is gone: give it up.
pub(super) fn give_up_number_with_pod(draft: &mut Draft<'_>) {
    let Some(attempt) = &draft.status.current_attempt else { return };
    let has_pod = draft.seen.pods.iter().any(|pod| pod.attempt == attempt.number);
    if attempt.state == AttemptState::Withdrawn && has_pod {
        draft.set_attempt_state(AttemptState::Ended);
    }
}

/// Waits for a pod that should be gone. It is shown when it takes too long: its node is silent, or somebody else's
/// finalizer holds it.
pub(super) fn wait_for_pod(draft: &mut Draft<'_>, pod: &PodFacts, reason: PhaseReason) {
    let is_late = pod.deletion.is_some_and(|deletion| after(deletion.at, GOING_PATIENCE) <= draft.now);
    if is_late {
        let node = pod.node.as_deref().unwrap_or("none");
        let name = &pod.name;
        let words = format!("pod {name} on node {node} is on its way out; see `kubectl describe pod {name}`");
        block(draft, &Cause::new(reason, words));
    }
    draft.set_phase_because(Phase::Pending, reason);
}

/// What was shown of an old pod is over.
pub(super) fn old_pods_have_ended(draft: &mut Draft<'_>) {
    let is_wait =
        |shown: &Cause| shown.is(ConditionReason::WaitingForOldPod) || shown.is(ConditionReason::WaitingForOldTask);
    if blocked::shown(draft).as_ref().is_some_and(is_wait) {
        unblock(draft, ConditionReason::OldPodEnded);
    }
}

/// Shows what keeps the next attempt from starting until something changes.
pub(super) fn cannot_start(draft: &mut Draft<'_>, cause: &Cause) {
    block(draft, cause);
    draft.set_phase_because(Phase::Pending, Reason::of_cluster(&cause.reason));
}

/// Waits for the delay before the next attempt.
pub(super) fn wait(draft: &mut Draft<'_>) {
    if draft.status.phase != Some(Phase::Waiting) {
        draft.set_phase_because(Phase::Waiting, PhaseReason::Backoff);
    }
}

/// Decides the next attempt, and creates its pod.
pub(super) fn start(draft: &mut Draft<'_>) {
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
        report: None,
        ticket: queued::ticket_to_start(draft),
        pod_group: pod_group::to_start(draft, number),
    };
    modifiers::forget_outdone_memory(draft);
    edits::waits_no_more(draft);
    input::record(draft);
    draft.status.next_attempt_time = None;
    let note = format!("Starting attempt {number} of segment {}{}.", attempt.segment, queued::waited(draft));
    queued::take_place(draft);
    draft.pod_event(Some(PodRef::of(&attempt)), EventReason::AttemptStarting, &note);
    draft.status.current_attempt = Some(attempt);
    draft.set_phase(Phase::Pending);
    create(draft);
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

/// Creates the pod of the attempt that is decided, and before it the claims that it mounts.
pub(super) fn create(draft: &mut Draft<'_>) {
    if let Some(refusal) = stored_checkpoint::obstacle(draft).or_else(|| claims::unusable(draft)) {
        return show_refusal(draft, &refusal);
    }
    for claim in claims::missing(draft) {
        draft.step(Step::CreateClaim(Box::new(claim)));
    }
    let Some(attempt) = &draft.status.current_attempt else { return };
    let duration = draft.spec.segment.duration.as_secs();
    let slice = limits::slice_from(draft.now, duration, &draft.spec.limits, &draft.status);
    let slice_seconds = seconds_between(draft.now, slice.end);
    let agent = draft.seen.live.agent.as_deref();
    let pod = render::pod(draft.seen.task, draft.seen.uid, &draft.status, attempt, slice_seconds, agent);
    draft.step(Step::CreatePod(Box::new(pod)));
}

/// A refused create is an observation: shown, and tried again.
pub(super) fn show_refusal(draft: &mut Draft<'_>, refusal: &Refusal) {
    let cause = match refusal {
        Refusal::NameOfTerminatingPod => {
            draft.set_phase_because(Phase::Pending, PhaseReason::WaitingForOldPod);
            draft.status.next_attempt_time = None;
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
        Refusal::ClaimRejected(claim, words) => {
            Cause { message: format!("the API server refuses the claim {claim}: {}", words.message), ..words.clone() }
        }
        Refusal::ClaimTaken(claim) => Cause::new(
            ConditionReason::NameTaken,
            format!("a claim {claim} exists that is not of this task, whose own are to be deleted with it"),
        ),
        Refusal::Withheld(cause) => cause.clone(),
        Refusal::ClaimGoing(claim) => Cause::new(
            ConditionReason::WaitingForOldClaim,
            format!("claim {claim} is being deleted; see `kubectl describe pvc {claim}`"),
        ),
    };
    block(draft, &cause);
    draft.set_phase_because(Phase::Pending, Reason::of_cluster(cause.reason));
    let blocked_since = find_condition(&draft.status.conditions, ConditionType::Blocked)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let waited = seconds_between(blocked_since, draft.now);
    let next = after(draft.now, waited.clamp(*REFUSED_WAIT.start(), *REFUSED_WAIT.end()));
    draft.status.next_attempt_time = Some(next);
}
