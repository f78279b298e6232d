//! The mind: what to do next, from what was observed and the time.
//!
//! Pure, total and synchronous: no clock, no I/O, no randomness. The same observation at the same time always gives
//! the same plan.

mod adjust;
mod backoff;
mod blocked;
mod budgets;
mod decision;
mod draft;
mod edits;
mod kubelet;
mod leftovers;
mod limits;
mod live;
mod matching;
mod observed;
mod onward;
mod outcome;
mod overdue;
mod pod_facts;
mod policy;
mod progress;
mod refused;
mod report;
mod restart;
mod settle;
mod staleness;
mod start;
mod time;
mod waits;

use std::sync::Arc;

use jiff::Timestamp;

pub use decision::{EventReason, Plan, PodRef, Step, TaskEvent, Wake};
pub use draft::LONGEST_NOTE;
pub use kubelet::is_refusal;
pub use observed::{
    ConditionFacts, ContainerEnd, Deletion, Disruption, FailedInit, LateCreates, MainContainer, Observed, PodFacts,
    PodPhase, Refusal, RefusedStep, Sight, Start, StartStage, Words,
};
pub use refused::event_without_status as refused_event;
pub use report::{Delay, LARGEST_VALUE, Report, ReportedCheckpoint, ReportedError, ReportedProgress};

use crate::api::{AttemptState, LongTaskStatus};
use draft::Draft;

/// What to do next about a task.
pub fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    if !seen.task.spec.is_managed_by_us() {
        return Plan::default();
    }
    if seen.is_task_going() {
        return leftovers::release_all(seen, now);
    }
    let mut draft = Draft::of(seen, now);
    matching::warn_of_rules_that_never_match(&mut draft);
    adjust::take_back(&mut draft);
    restart::heed_token(&mut draft);
    match standing(seen, &draft.status, now) {
        Standing::Free => onward::go_on(&mut draft),
        Standing::Unborn => onward::create_or_withdraw(&mut draft),
        Standing::Live(pod) => live::keep_up(&mut draft, &pod),
        Standing::Over(pod) => {
            settle::settle(&mut draft, pod.as_ref());
            onward::go_on(&mut draft);
        }
    }
    staleness::watch_checkpoint_age(&mut draft);
    leftovers::tidy(&mut draft);
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
        Sight::Seen(pod) if outcome::has_ended(pod, now) && outcome::last_word_due(attempt, pod, now).is_none() => {
            Standing::Over(Some(Arc::clone(pod)))
        }
        Sight::Seen(pod) => Standing::Live(Arc::clone(pod)),
        Sight::Gone | Sight::NotAsked if has_pod => Standing::Over(None),
        Sight::Gone | Sight::NotAsked => Standing::Unborn,
    }
}
