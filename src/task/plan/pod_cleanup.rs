//! Pods that have served: released once their outcome is recorded, kept for their logs, then deleted.

use jiff::Timestamp;

use super::{
    draft::Draft,
    observed::{Observed, PodFacts},
    outcome, refused,
    steps::{Plan, PodRef, Step},
};
use crate::{api::task::AttemptState, types::time::after};

/// How long a pod keeps its name after its creation, in seconds, when somebody else's create can be on its way: an
/// operator's that led a moment ago, or one that we gave up. From the look that saw no pod to the create there are three
/// calls of 10 s at the most.
const NAME_HELD: i64 = 30;
/// How soon what the API server refuses is tried again when there is no status to tell how long it has, in seconds.
const TRY_AGAIN: i64 = 30;

/// The task is going: nobody will record outcomes any more. The garbage collector deletes the pods.
pub(super) fn release_all(seen: &Observed<'_>, now: Timestamp) -> Plan {
    let held = seen.known_pods().chain(&seen.foreign).filter(|pod| pod.has_finalizer);
    let (mut plan, mut refused) = (Plan::default(), None);
    for pod in held {
        let step = Step::ReleasePod(PodRef::to(pod));
        match seen.refused_steps.iter().find(|refused| refused.step.is_same_request(&step)) {
            Some(found) => refused = Some(found),
            None => plan.steps.push(step),
        }
    }
    if let Some(refused) = refused {
        plan.events.push(refused::event_without_status(refused));
        plan.wake.no_later_than(after(now, TRY_AGAIN));
    }
    plan
}

/// Releases, keeps or deletes every pod that is not the one of the attempt under way. After a create in the plan's
/// steps: a pod is never deleted before its successor exists.
pub(super) fn clean_up(draft: &mut Draft<'_>) {
    let seen = draft.seen;
    for pod in seen.foreign.iter().filter(|pod| pod.has_finalizer) {
        draft.step(Step::ReleasePod(PodRef::to(pod)));
    }
    let served: Vec<_> = seen.known_pods().filter(|pod| has_served(draft, pod)).collect();
    for pod in &served {
        let is_stray = !outcome::has_ended(pod, draft.now);
        if is_stray && pod.deletion.is_none() {
            drop_pod(draft, pod, Step::DeletePod);
        }
        let vanishes = is_stray || pod.deletion.is_some();
        if pod.has_finalizer && !(vanishes && must_hold_name(draft, pod)) {
            drop_pod(draft, pod, Step::ReleasePod);
        }
    }
    // At least one: the last pod is not deleted before its successor exists.
    let kept = usize::try_from(draft.spec.pod_history_limit).unwrap_or(0).max(1);
    let finished = served.into_iter().rev().filter(|pod| outcome::has_ended(pod, draft.now));
    let too_many: Vec<_> = finished.skip(kept).filter(|pod| pod.deletion.is_none()).collect();
    for pod in too_many {
        if !must_hold_name(draft, pod) {
            drop_pod(draft, pod, Step::DeletePod);
        }
    }
}

/// Takes a step that lets go of a pod. A pod beyond the latest attempt that the status knows may be one of a newer status
/// that this reading lacks: such a step is taken only behind a write that an old reading cannot make.
fn drop_pod(draft: &mut Draft<'_>, pod: &PodFacts, step: fn(PodRef) -> Step) {
    let latest = draft.status.current_attempt.as_ref().map_or(0, |attempt| attempt.number);
    if pod.attempt > latest {
        draft.guard();
    }
    draft.step(step(PodRef::to(pod)));
}

/// Whether the pod must not vanish yet, since its name is all that stands in the way of a late create under it. Looks
/// again when the name is free.
fn must_hold_name(draft: &mut Draft<'_>, pod: &PodFacts) -> bool {
    let free = after(pod.creation_time, NAME_HELD);
    let must_hold = free > draft.now && draft.seen.late_creates.may_be_of(&pod.name);
    if must_hold {
        draft.wake.no_later_than(free);
    }
    must_hold
}

/// Whether the status has no use for this pod, now or later: it is not that of the attempt under way. Whatever its number:
/// a restored backup and a lost status know less than the cluster has.
fn has_served(draft: &Draft<'_>, pod: &PodFacts) -> bool {
    draft.status.current_attempt.as_ref().is_none_or(|current| match current.state {
        AttemptState::Ended | AttemptState::Withdrawn => true,
        AttemptState::Creating | AttemptState::Starting | AttemptState::Running | AttemptState::Stopping => {
            pod.attempt != current.number
        }
    })
}
