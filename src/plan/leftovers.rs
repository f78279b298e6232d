//! Pods that have served: released once their outcome is recorded, kept for their logs, then deleted.

use std::sync::Arc;

use super::{
    decision::{Plan, PodRef, Step, Wake},
    draft::Draft,
    observed::{Observed, PodFacts},
    outcome,
    time::after,
};
use crate::api::AttemptState;

/// How long a pod keeps its name after its creation, in seconds: as long as somebody else's create can be on its way, an
/// operator's that works beside us, or one that we gave up. From the look that saw no pod to the create there are three
/// calls of 10 s at the most.
const NAME_HELD: i64 = 30;

/// The task is going: nobody will record outcomes any more. The garbage collector deletes the pods.
pub(super) fn release_all(seen: &Observed<'_>) -> Plan {
    let held = seen.pods.iter().chain(&seen.foreign).filter(|pod| pod.has_finalizer);
    let steps = held.map(|pod| Step::ReleasePod(PodRef::to(pod))).collect();
    Plan { status: None, steps, events: Vec::new(), wake: Wake::OnChange }
}

/// Releases, keeps or deletes every pod that is not the one of the attempt under way. After a create in the plan's
/// steps: a pod is never deleted before its successor exists.
pub(super) fn tidy(draft: &mut Draft<'_>) {
    let seen = draft.seen;
    for pod in seen.foreign.iter().filter(|pod| pod.has_finalizer) {
        draft.step(Step::ReleasePod(PodRef::to(pod)));
    }
    let served: Vec<_> = seen.pods.iter().filter(|pod| has_served(draft, pod)).collect();
    for pod in &served {
        let is_stray = !outcome::has_ended(pod, draft.now);
        if is_stray && pod.deletion.is_none() {
            draft.step(Step::DeletePod(PodRef::to(pod)));
        }
        let vanishes = is_stray || pod.deletion.is_some();
        if pod.has_finalizer && !(vanishes && must_hold_name(draft, pod)) {
            draft.step(Step::ReleasePod(PodRef::to(pod)));
        }
    }
    // At least one: the last pod is not deleted before its successor exists.
    let kept = usize::try_from(draft.spec.pod_history_limit).unwrap_or(0).max(1);
    let finished = served.into_iter().rev().filter(|pod| outcome::has_ended(pod, draft.now));
    let too_many: Vec<_> = finished.skip(kept).filter(|pod| pod.deletion.is_none()).collect();
    for pod in too_many {
        if !must_hold_name(draft, pod) {
            draft.step(Step::DeletePod(PodRef::to(pod)));
        }
    }
}

/// Whether the pod must not vanish yet, since its name is all that stands in the way of another create under it. Looks
/// again when the name is free.
fn must_hold_name(draft: &mut Draft<'_>, pod: &PodFacts) -> bool {
    let free = after(pod.created_at, NAME_HELD);
    let must_hold = free > draft.now;
    if must_hold {
        draft.wake.no_later_than(free);
    }
    must_hold
}

/// Whether the status is done with this pod: an earlier attempt's, or the latest one's once that is counted.
fn has_served(draft: &Draft<'_>, pod: &Arc<PodFacts>) -> bool {
    let Some(current) = &draft.status.current_attempt else { return false };
    let is_over = matches!(current.state, AttemptState::Ended | AttemptState::Withdrawn);
    pod.attempt < current.number || (pod.attempt == current.number && is_over)
}
