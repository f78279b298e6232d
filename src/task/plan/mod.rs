//! The mind: what to do next, from what was observed and the time.
//!
//! Pure, total and synchronous: no clock, no I/O, no randomness. The same observation at the same time always gives
//! the same plan.

mod actions;
mod attempt_active;
mod attempt_create;
mod attempt_ended;
mod attempt_next;
mod backoff;
mod blocked;
mod budgets;
mod carry_out;
mod charge;
mod checkpoint_stale;
mod claims;
mod cut;
mod draft;
mod edits;
mod failure_policy;
mod fill_in;
mod filling;
mod finish;
mod heartbeat;
mod input;
mod join_round;
mod kubelet;
mod last_words;
mod limits;
mod live_report;
mod modifiers;
mod moments;
mod next;
mod observed;
mod outcome;
mod overdue;
mod parent;
mod pod_cleanup;
mod pod_conditions;
mod pod_facts;
mod pod_group;
mod progress;
mod queued;
mod refused;
mod reports_missing;
mod restart;
mod round;
mod save_failing;
mod start;
mod steps;
mod stored_checkpoint;
mod suspension;
mod waits;

use std::sync::Arc;

use jiff::Timestamp;

use self::{
    attempt_ended::{Ended, Verdict},
    draft::Draft,
    filling::Filling,
    next::Next,
};
pub use self::{
    filling::is_due as needs_template,
    kubelet::is_refusal,
    live_report::reports_due,
    observed::{
        AgentFacts, Cause, ClaimFacts, ConditionFacts, ContainerEnd, CurrentPod, Deletion, Disruption, FailedInit,
        LateCreates, Live, LiveReport, MainContainer, Observed, PodFacts, PodPhase, Refusal, RefusedStep, Start,
        StartStage, Template, TemplateReading,
    },
    refused::{event_of_status as refused_status_event, event_without_status as refused_event},
    steps::{ClaimRef, EventReason, EventType, Plan, PodRef, Step, TaskEvent, Wake, Why},
};
use crate::api::task::AttemptState;

/// What to do next about a task.
pub fn plan(seen: &Observed<'_>, now: Timestamp) -> Plan {
    if !seen.task.spec.is_managed_by_us() {
        return Plan::default();
    }
    if seen.is_being_deleted() {
        return pod_cleanup::release_all(seen, now);
    }
    let mut draft = Draft::of(seen, now);
    if let Filling::Now(plan) = draft.filling {
        return *plan;
    }
    fill_in::unblock_when_over(&mut draft);
    input::unblock_when_over(&mut draft);
    queued::unblock_when_over(&mut draft);
    failure_policy::warn_of_rules_that_never_match(&mut draft);
    modifiers::take_back(&mut draft);
    restart::apply_restart_token(&mut draft);
    join_round::join_round(&mut draft);
    let decided = match standing(&draft) {
        Standing::Free => None,
        Standing::Unwanted => {
            attempt_create::withdraw(&mut draft);
            None
        }
        Standing::InVain => {
            queued::withdraw(&mut draft);
            None
        }
        Standing::Unborn => {
            let refused = attempt_next::is_refused(&draft);
            attempt_create::follow_edit(&mut draft);
            Some(refused.unwrap_or_else(|| attempt_next::decide_create(&draft)))
        }
        Standing::Live(pod) => Some(Next::KeepUp(pod)),
        Standing::Over(ended) => {
            attempt_ended::record(&mut draft, &ended);
            let verdict = Verdict::on(&ended, &draft);
            attempt_ended::settle(&mut draft, &ended, &verdict);
            verdict.end_of_run()
        }
    };
    attempt_create::give_up_number_with_pod(&mut draft);
    suspension::resume_when_asked(&mut draft);
    let next = decided.unwrap_or_else(|| attempt_next::decide(&draft));
    carry_out::carry_out(&mut draft, &next);
    queued::give_back(&mut draft, &next);
    pod_group::give_back(&mut draft, &next);
    checkpoint_stale::watch_checkpoint_age(&mut draft);
    reports_missing::watch_reports(&mut draft);
    save_failing::watch_saves(&mut draft);
    pod_cleanup::clean_up(&mut draft);
    refused::show(&mut draft);
    let wake = moments::wake(&draft, &next);
    let round = parent::round_to_note(&draft);
    draft.finish(wake, round)
}

/// Where the latest attempt stands.
enum Standing {
    /// None is under way: there was none yet, or the last one was counted or withdrawn.
    Free,
    /// It is decided, its pod does not exist, and it is not wanted any more.
    Unwanted,
    /// It is decided, and its pod could not be created for as long as it may keep its place in a queue.
    InVain,
    /// It is decided, and its pod does not exist.
    Unborn,
    /// Its pod exists and has not ended.
    Live(Arc<PodFacts>),
    /// It has ended and is not counted yet.
    Over(Box<Ended>),
}

fn standing(draft: &Draft<'_>) -> Standing {
    let Some(attempt) = draft.status.live_attempt() else { return Standing::Free };
    let over = |pod| Ended::of(draft, pod).map_or(Standing::Free, |ended| Standing::Over(Box::new(ended)));
    match &draft.seen.current {
        CurrentPod::Found(pod)
            if outcome::has_ended(pod, draft.now) && outcome::last_word_due(attempt, pod, draft.now).is_none() =>
        {
            over(Some(Arc::clone(pod)))
        }
        CurrentPod::Found(pod) => Standing::Live(Arc::clone(pod)),
        CurrentPod::Gone | CurrentPod::None if attempt.state != AttemptState::Creating => over(None),
        CurrentPod::Gone | CurrentPod::None if attempt_next::is_unwanted(draft) => Standing::Unwanted,
        CurrentPod::Gone | CurrentPod::None if queued::has_tried_in_vain(draft) => Standing::InVain,
        CurrentPod::Gone | CurrentPod::None => Standing::Unborn,
    }
}
