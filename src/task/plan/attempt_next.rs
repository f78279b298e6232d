//! What comes next when no attempt runs: the questions, in their order. They only read the draft.

use super::{
    draft::Draft, fill_in, finish::limit_message, input, limits, next::Next, observed::PodFacts, outcome, parent,
    queued,
};
use crate::{
    api::task::{Phase, PhaseReason},
    types::counted,
};

/// What comes next when no attempt is under way: the first question that has an answer.
pub(super) fn decide(draft: &Draft<'_>) -> Next {
    has_ended(draft)
        .or_else(|| is_cancelled(draft))
        .or_else(|| is_out_of_time(draft))
        .or_else(|| fill_in::obstacle(draft))
        .or_else(|| input::is_invalid(draft))
        // A pause needs no further attempt: only time is asked for before it.
        .or_else(|| is_held(draft))
        .or_else(|| is_suspended(draft))
        .or_else(|| has_no_turn(draft))
        .or_else(|| is_out_of_tries(draft))
        .or_else(|| has_old_pod(draft))
        .or_else(|| input::is_changed(draft))
        .or_else(|| must_wait(draft).map(Next::WaitUntil))
        .or_else(|| queued::turn(draft))
        .unwrap_or(Next::Start)
}

/// What comes next when an attempt is decided, and its pod does not exist.
pub(super) fn decide_create(draft: &Draft<'_>) -> Next {
    has_no_turn(draft)
        .or_else(|| has_old_pod(draft))
        .or_else(|| input::is_changed(draft))
        .or_else(|| must_wait(draft).map(Next::CreateAt))
        .or_else(|| queued::sends_no_more_creates(draft))
        .unwrap_or(Next::Create)
}

/// Whether an attempt whose pod does not exist is not wanted any more.
pub(super) fn is_unwanted(draft: &Draft<'_>) -> bool {
    parent::cancels(draft)
        || parent::suspends(draft)
        || limits::time_limit_reached(&draft.spec.limits, &draft.status, draft.now).is_some()
}

/// Whether the API server refuses the pod. A refusal of the pod from before an edit says nothing about the one after it.
pub(super) fn is_refused(draft: &Draft<'_>) -> Option<Next> {
    let attempt = draft.status.current_attempt.as_ref()?;
    let refusal = draft.seen.refusal.clone().filter(|_| attempt.generation == draft.seen.generation());
    refusal.map(Next::ShowRefusal)
}

fn has_ended(draft: &Draft<'_>) -> Option<Next> {
    draft.status.phase.is_some_and(Phase::is_terminal).then_some(Next::Rest)
}

fn is_cancelled(draft: &Draft<'_>) -> Option<Next> {
    parent::cancels(draft).then_some(Next::Cancel)
}

fn is_out_of_time(draft: &Draft<'_>) -> Option<Next> {
    let limit = limits::time_limit_reached(&draft.spec.limits, &draft.status, draft.now)?;
    Some(Next::Fail(limit.into(), limit_message(limit, &draft.status)))
}

fn is_held(draft: &Draft<'_>) -> Option<Next> {
    draft.status.is_held().then_some(Next::StayHeld)
}

fn is_suspended(draft: &Draft<'_>) -> Option<Next> {
    parent::suspends(draft).then_some(Next::Suspend)
}

fn has_no_turn(draft: &Draft<'_>) -> Option<Next> {
    parent::keeps_waiting(draft).then_some(Next::AwaitTurn)
}

fn is_out_of_tries(draft: &Draft<'_>) -> Option<Next> {
    let reason = limits::count_limit_reached(&draft.spec.limits, &draft.status)?;
    let message = format!(
        "another attempt is needed after {} and {}, which limits.segments or limits.attempts forbids",
        counted(draft.status.segment.saturating_sub(1), "segment"),
        counted(draft.status.totals.attempts, "attempt"),
    );
    Some(Next::Fail(reason, message))
}

/// Pods that are not part of this history must be gone first: those of an earlier task of the same name that are on
/// their way out, those of withdrawn attempts that came to be all the same, those that a lost status knew.
fn has_old_pod(draft: &Draft<'_>) -> Option<Next> {
    // Deleted, or about to be: the garbage collector takes a pod whose owner is gone, a moment after the owner.
    let is_doomed = |pod: &PodFacts| pod.deletion.is_some() || pod.owner_uid.is_some();
    let is_here = |pod: &PodFacts| !outcome::has_ended(pod, draft.now);
    let foreign = draft.seen.foreign.iter().find(|pod| is_doomed(pod) && is_here(pod));
    let stray = || draft.seen.pods.iter().find(|pod| is_here(pod));
    let of_old_task = foreign.map(|pod| (pod, PhaseReason::WaitingForOldTask));
    let (pod, reason) = of_old_task.or_else(|| stray().map(|pod| (pod, PhaseReason::WaitingForOldPod)))?;
    Some(Next::WaitForPod(pod.clone(), reason))
}

fn must_wait(draft: &Draft<'_>) -> Option<jiff::Timestamp> {
    draft.status.next_attempt_time.filter(|next| *next > draft.now)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::task::{LongTask, LongTaskStatus, Run},
        task::plan::observed::Observed,
    };

    /// What comes next at 10:00:00, with these changes of the specification and the status.
    fn next(spec: &Value, status: &Value) -> String {
        let mut whole = json!({ "template": { "spec": { "containers": [{ "name": "main" }] } } });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        let task = json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "t" }, "spec": whole,
        });
        let mut task: LongTask = serde_json::from_value(task).expect("a task");
        let status: LongTaskStatus = serde_json::from_value(status.clone()).expect("a status");
        let run = Run { number: 1, ..Run::default() };
        task.status = Some(LongTaskStatus { run, segment: 3, ..status });
        let seen = Observed::of(&task, "uid", Vec::new());
        decide(&Draft::of(&seen, "2026-11-24T10:00:00Z".parse().expect("a time"))).to_string()
    }

    #[test]
    fn the_first_question_that_has_an_answer_decides() {
        let held = json!([{ "type": "Suspended", "status": "True", "reason": "Held", "message": "",
                            "lastTransitionTime": "2026-11-24T09:00:00Z" }]);
        let deadline = json!({ "deadline": "2026-11-24T10:00:00Z" });
        let everything = json!({ "cancel": true, "suspend": true, "limits": deadline });
        let later = json!({ "nextAttemptTime": "2026-11-24T10:01:00Z" });
        for (spec, status, expected) in [
            (everything.clone(), json!({ "phase": "Failed", "conditions": held }), "rest"),
            (everything, json!({ "conditions": held }), "cancel"),
            (json!({ "suspend": true, "limits": deadline }), json!({ "conditions": held }), "fail: DeadlinePassed"),
            (json!({ "suspend": true }), json!({ "conditions": held }), "stay held"),
            (json!({ "suspend": true, "limits": { "segments": 2 } }), later.clone(), "suspend"),
            (json!({ "limits": { "segments": 2 } }), later.clone(), "fail: SegmentLimitReached"),
            (json!({}), later, "wait until 2026-11-24T10:01:00Z"),
            (json!({}), json!({ "nextAttemptTime": "2026-11-24T10:00:00Z" }), "start an attempt"),
        ] {
            assert_eq!(next(&spec, &status), expected, "{spec} {status}");
        }
    }
}
