//! Pods that have served: released once their outcome is recorded, kept for their logs, then deleted.

use jiff::Timestamp;

use super::{
    claims,
    draft::Draft,
    observed::{Observed, PodFacts},
    outcome, refused,
    steps::{Plan, PodRef, Step, Wake},
};
use crate::{api::task::AttemptState, types::time::after};

/// How long a deleted pod keeps its name after its creation, in seconds, while a late create for its attempt may be on its
/// way: that must meet AlreadyExists. From the look that saw no pod to the create there are three calls of 10 s at most.
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
        plan.wake = Wake::At(after(now, TRY_AGAIN));
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
    for letting in lettings(draft) {
        if !must_hold_name(draft, &letting) {
            draft.step_on_served(letting.pod, letting.step);
        }
    }
}

/// When the names of pods are free that are held until then.
pub(super) fn names_free_at(draft: &Draft<'_>) -> impl Iterator<Item = Timestamp> {
    let held = lettings(draft).into_iter().filter(|letting| must_hold_name(draft, letting));
    held.map(|letting| name_free_at(letting.pod))
}

/// One way to let go of a pod.
struct Letting<'a> {
    pod: &'a PodFacts,
    step: fn(PodRef) -> Step,
    /// Whether the pod's name is free after it.
    frees_name: bool,
}

/// What is to be done about the pods that have served, in order.
fn lettings<'a>(draft: &Draft<'a>) -> Vec<Letting<'a>> {
    let seen = draft.seen;
    let served: Vec<_> = seen.known_pods().filter(|pod| has_served(draft, pod)).collect();
    let has_ended = |pod: &PodFacts| outcome::has_ended(pod, draft.now);
    let mut lettings = Vec::new();
    for pod in served.iter().copied() {
        let is_stray = !has_ended(pod);
        if is_stray && pod.deletion.is_none() {
            lettings.push(Letting { pod, step: Step::DeletePod, frees_name: false });
        }
        if pod.has_finalizer {
            let frees_name = is_stray || pod.deletion.is_some();
            lettings.push(Letting { pod, step: Step::ReleasePod, frees_name });
        }
    }
    // At least one: the last pod is not deleted before its successor exists. None where a claim waits for them to go.
    let limit = usize::try_from(draft.spec.pod_history_limit).unwrap_or(0).max(1);
    let kept = if claims::go(draft) { 0 } else { limit };
    let too_many =
        served.into_iter().rev().filter(|pod| has_ended(pod)).skip(kept).filter(|pod| pod.deletion.is_none());
    lettings.extend(too_many.map(|pod| Letting { pod, step: Step::DeletePod, frees_name: true }));
    lettings
}

/// Whether the pod must not vanish yet, since its name is all that stands in the way of a late create under it.
fn must_hold_name(draft: &Draft<'_>, letting: &Letting<'_>) -> bool {
    let Letting { pod, frees_name, .. } = letting;
    *frees_name && name_free_at(pod) > draft.now && draft.seen.late_creates.may_be_of(&pod.name)
}

fn name_free_at(pod: &PodFacts) -> Timestamp {
    after(pod.creation_time, NAME_HELD)
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
