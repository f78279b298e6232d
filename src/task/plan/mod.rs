//! The mind: what to do next, from what was observed and the time.
//!
//! Pure, total and synchronous: no clock, no I/O, no randomness. The same observation at the same time always gives
//! the same plan.

mod attempt_active;
mod attempt_ended;
mod attempt_next;
mod backoff;
mod blocked;
mod budgets;
mod charge;
mod checkpoint_stale;
mod draft;
mod edits;
mod failure_policy;
mod finish;
mod kubelet;
mod limits;
mod modifiers;
mod observed;
mod outcome;
mod overdue;
mod pod_cleanup;
mod pod_conditions;
mod pod_facts;
mod progress;
mod refused;
mod restart;
mod start;
mod steps;
mod suspension;
mod waits;

use std::sync::Arc;

use jiff::Timestamp;

use self::draft::Draft;
pub use self::{
    kubelet::is_refusal,
    observed::{
        Cause, ConditionFacts, ContainerEnd, CurrentPod, Deletion, Disruption, FailedInit, LateCreates, MainContainer,
        Observed, PodFacts, PodPhase, Refusal, RefusedStep, Start, StartStage,
    },
    refused::{event_of_status as refused_status_event, event_without_status as refused_event},
    steps::{EventReason, EventType, Plan, PodRef, Step, TaskEvent, Wake},
};
use crate::api::task::{AttemptState, LongTaskStatus};

/// What to do next about a task.
pub fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    if !seen.task.spec.is_managed_by_us() {
        return Plan::default();
    }
    if seen.is_being_deleted() {
        return pod_cleanup::release_all(seen, now);
    }
    let mut draft = Draft::of(seen, now);
    failure_policy::warn_of_rules_that_never_match(&mut draft);
    modifiers::take_back(&mut draft);
    restart::apply_restart_token(&mut draft);
    match standing(seen, &draft.status, now) {
        Standing::Free => attempt_next::decide_next(&mut draft),
        Standing::Unborn => attempt_next::create_or_withdraw(&mut draft),
        Standing::Live(pod) => attempt_active::sync_active(&mut draft, &pod),
        Standing::Over(pod) => {
            attempt_ended::record_end(&mut draft, pod.as_ref());
            attempt_next::decide_next(&mut draft);
        }
    }
    checkpoint_stale::watch_checkpoint_age(&mut draft);
    pod_cleanup::clean_up(&mut draft);
    refused::show(&mut draft);
    draft.finish()
}

/// Where the latest attempt stands.
enum Standing {
    /// None is under way: there was none yet, or the last one was counted or withdrawn.
    Free,
    /// It is decided, and its pod does not exist.
    Unborn,
    /// Its pod exists and has not ended.
    Live(Arc<PodFacts>),
    /// It has ended and is not counted yet; `None` when its pod is gone.
    Over(Option<Arc<PodFacts>>),
}

fn standing(seen: &Observed<'_>, status: &LongTaskStatus, now: Timestamp) -> Standing {
    let Some(attempt) = &status.current_attempt else { return Standing::Free };
    let has_pod = match attempt.state {
        AttemptState::Ended | AttemptState::Withdrawn => return Standing::Free,
        AttemptState::Creating => false,
        AttemptState::Starting | AttemptState::Running | AttemptState::Stopping => true,
    };
    match &seen.current {
        CurrentPod::Found(pod)
            if outcome::has_ended(pod, now) && outcome::last_word_due(attempt, pod, now).is_none() =>
        {
            Standing::Over(Some(Arc::clone(pod)))
        }
        CurrentPod::Found(pod) => Standing::Live(Arc::clone(pod)),
        CurrentPod::Gone | CurrentPod::None if has_pod => Standing::Over(None),
        CurrentPod::Gone | CurrentPod::None => Standing::Unborn,
    }
}
