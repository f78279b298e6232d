//! A plan in the making.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    filling::{self, Filling},
    observed::{Observed, PodFacts, RefusedStep},
    steps::{EventReason, EventType, LONGEST_NOTE, Plan, PodRef, Step, TaskEvent, Wake, Why},
};
use crate::{
    api::task::{
        AttemptState, ConditionReason, ConditionType, CurrentAttempt, LongTaskSpec, LongTaskStatus, Phase, Reason,
    },
    start::name::run_digest,
    types::{mark_false, mark_true, truncate},
};

/// The longest action of an event that the API server takes, in bytes.
const LONGEST_ACTION: usize = 128;

/// The next status, and what to do and say, as far as that is decided.
///
/// What takes it by `&mut` returns nothing, and what returns something takes it by `&`: a question never acts.
pub(super) struct Draft<'a> {
    pub(super) seen: &'a Observed<'a>,
    pub(super) spec: &'a LongTaskSpec,
    pub(super) now: Timestamp,
    pub(super) status: LongTaskStatus,
    pub(super) filling: Filling,
    steps: Vec<Step>,
    refused: Vec<&'a RefusedStep>,
    events: Vec<TaskEvent>,
    why: Why,
    is_guarded: bool,
}

impl<'a> Draft<'a> {
    /// Begins with the recorded status, or with the first one of a new task.
    pub(super) fn of(seen: &'a Observed<'a>, now: Timestamp) -> Self {
        let status = seen.task.status.clone().unwrap_or_default();
        let mut draft = Self {
            seen,
            spec: &seen.task.spec,
            now,
            status,
            filling: filling::ask(seen, now),
            steps: Vec::new(),
            refused: Vec::new(),
            events: Vec::new(),
            why: Why::default(),
            is_guarded: false,
        };
        if draft.status.run.number == 0 {
            draft.status.run.number = 1;
            draft.status.run.beginnings = 1;
            // A token that is present at creation is recorded, not acted on.
            draft.status.run.restart_token = draft.spec.restart.as_ref().map(|restart| restart.token.clone());
            draft.status.run.start_time = Some(now);
            draft.status.run.input_digest = run_digest(draft.spec.input.as_ref());
            draft.status.segment = 1;
            draft.mark_true(ConditionType::Reconciling, ConditionReason::Started, "the run has started");
        }
        draft
    }

    /// Records where the task stands, where that needs no reason.
    pub(super) fn set_phase(&mut self, phase: Phase) {
        self.status.phase = Some(phase);
        self.status.reason.clear();
    }

    /// Records where the task stands, and why.
    pub(super) fn set_phase_because(&mut self, phase: Phase, reason: impl Into<Reason>) {
        self.status.phase = Some(phase);
        self.status.reason = reason.into().into();
    }

    /// Says that a condition holds.
    pub(super) fn mark_true(&mut self, type_: ConditionType, reason: impl Into<Reason>, message: &str) {
        mark_true(&mut self.status.conditions, type_, reason.into(), message, self.now);
    }

    /// Says that a condition does not hold.
    pub(super) fn mark_false(&mut self, type_: ConditionType, reason: ConditionReason, message: &str) {
        mark_false(&mut self.status.conditions, type_, Reason::from(reason), message, self.now);
    }

    /// Changes the attempt under way, if there is one.
    pub(super) fn update_attempt(&mut self, update: impl FnOnce(&mut CurrentAttempt)) {
        if let Some(attempt) = &mut self.status.current_attempt {
            update(attempt);
        }
    }

    pub(super) fn set_attempt_state(&mut self, state: AttemptState) {
        self.update_attempt(|attempt| attempt.state = state);
    }

    /// Takes a step. One that the API server has just refused is not taken again at once: it counts among
    /// [`Self::refused_steps`].
    pub(super) fn step(&mut self, step: Step) {
        match self.seen.refused_steps.iter().find(|refused| refused.step.is_same_request(&step)) {
            Some(refused) => self.refused.push(refused),
            None => self.steps.push(step),
        }
    }

    /// Takes a step about a pod that has served. A pod beyond the latest attempt that the status knows may be one of a newer
    /// status that this reading lacks: such a step is taken only behind a write that an old reading cannot make.
    pub(super) fn step_on_served(&mut self, pod: &PodFacts, step: fn(PodRef) -> Step) {
        let latest = self.status.current_attempt.as_ref().map_or(0, |attempt| attempt.number);
        if pod.attempt > latest {
            self.guard();
        }
        self.step(step(PodRef::to(pod)));
    }

    /// The steps taken so far.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.steps.iter()
    }

    /// The steps that would be taken, had the API server not just refused them.
    pub(super) fn refused_steps(&self) -> impl Iterator<Item = &'a RefusedStep> {
        self.refused.iter().copied()
    }

    /// Says what decided about an attempt that ended.
    pub(super) fn explain(&mut self, why: Why) {
        self.why = why;
    }

    /// Has the status written even if it is as it was: the write carries the version of the reading that the plan was
    /// made from, so that steps which only the newest reading allows are not taken from an old one.
    pub(super) fn guard(&mut self) {
        self.is_guarded = true;
    }

    pub(super) fn event(&mut self, reason: EventReason, note: &str) {
        self.publish(EventType::Normal, reason, "Reconcile", note, None);
    }

    pub(super) fn pod_event(&mut self, pod: Option<PodRef>, reason: EventReason, note: &str) {
        self.publish(EventType::Normal, reason, "Reconcile", note, pod);
    }

    pub(super) fn warning(&mut self, reason: EventReason, note: &str) {
        self.publish(EventType::Warning, reason, "Reconcile", note, None);
    }

    pub(super) fn pod_warning(&mut self, pod: Option<PodRef>, reason: EventReason, note: &str) {
        self.publish(EventType::Warning, reason, "Reconcile", note, pod);
    }

    /// Tells that the attempt under way does not start. The cause is the action, so that each cause is an event.
    pub(super) fn say_of_block(&mut self, type_: EventType, cause: &str, note: &str) {
        let pod = self.status.current_attempt.as_ref().map(PodRef::of);
        self.publish(type_, EventReason::Blocked, cause, note, pod);
    }

    fn publish(&mut self, type_: EventType, reason: EventReason, action: &str, note: &str, pod: Option<PodRef>) {
        let (action, note) = (truncate(action, LONGEST_ACTION).to_owned(), truncate(note, LONGEST_NOTE).to_owned());
        self.events.push(TaskEvent { type_, reason, action, note, pod });
    }

    /// The finished plan. Its status is left out when it is the recorded one and no pod is created.
    /// Whatever is written says that the task takes part in this round of its set, if there is one.
    pub(super) fn finish(mut self, wake: Wake, round: Option<i64>) -> Plan {
        let generation = self.seen.generation();
        self.status.observed_generation = generation;
        for condition in &mut self.status.conditions {
            condition.observed_generation = Some(generation);
        }
        let creates = self.steps.iter().any(|step| matches!(step, Step::CreatePod(_)));
        let changed = self.seen.task.status.as_ref() != Some(&self.status);
        let is_written = changed || creates || self.is_guarded;
        if let Some(round) = round.filter(|_| is_written) {
            self.status.run.round = round;
        }
        Plan { status: is_written.then_some(self.status), steps: self.steps, events: self.events, wake, why: self.why }
    }
}

impl PodRef {
    /// The reference of a pod that was seen.
    pub(super) fn to(pod: &PodFacts) -> Self {
        Self { name: pod.name.clone(), uid: pod.uid.clone() }
    }

    /// The pod of an attempt; without a UID while none has been seen.
    pub(super) fn of(attempt: &CurrentAttempt) -> Self {
        Self { name: attempt.pod_name.clone(), uid: attempt.pod_uid.clone().unwrap_or_default() }
    }

    /// The reference of a pod that may be gone.
    pub(super) fn to_seen(pod: Option<&Arc<PodFacts>>) -> Option<Self> {
        pod.map(|pod| Self::to(pod))
    }
}
