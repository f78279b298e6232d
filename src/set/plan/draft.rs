//! A plan in the making.

use jiff::Timestamp;

use super::{
    observed::ObservedSet,
    steps::{EventType, SetEvent, SetEventReason, SetPlan, SetStep, SetWake},
};
use crate::{
    api::set::{LongTaskSet, LongTaskSetStatus, SetConditionReason, SetConditionType, SetPhase},
    types::{Ranges, mark_false, mark_true, truncate},
};

/// The longest note of an event that the API server takes, in bytes.
const LONGEST_NOTE: usize = 1024;

/// The next status, and what to do and say, as far as that is decided.
///
/// What takes it by `&mut` returns nothing, and what returns something takes it by `&`: a question never acts.
pub(super) struct Draft<'a> {
    pub(super) seen: &'a ObservedSet<'a>,
    pub(super) set: &'a LongTaskSet,
    pub(super) now: Timestamp,
    pub(super) status: LongTaskSetStatus,
    /// The indexes whose turn it is, as `status` has them.
    pub(super) active: Ranges,
    /// How many members there are in all.
    pub(super) total: u32,
    pub(super) steps: Vec<SetStep>,
    events: Vec<SetEvent>,
    moments: Vec<Timestamp>,
    has_more: bool,
}

impl<'a> Draft<'a> {
    /// Begins with the recorded status, or with the first one of a new set.
    pub(super) fn of(seen: &'a ObservedSet<'a>, now: Timestamp) -> Self {
        let status = seen.set.status.clone().unwrap_or_default();
        let active = status.active_indexes();
        let mut draft = Self {
            seen,
            set: seen.set,
            now,
            status,
            active,
            total: seen.set.spec.total(),
            steps: Vec::new(),
            events: Vec::new(),
            moments: Vec::new(),
            has_more: false,
        };
        if draft.status.round.number == 0 {
            draft.status.round.number = 1;
            // A token that is present at creation is recorded, not acted on.
            draft.status.round.restart_token = draft.set.spec.restart.as_ref().map(|restart| restart.token.clone());
            draft.status.round.start_time = Some(now);
            draft.set_phase(SetPhase::Running, "");
            draft.mark_true(SetConditionType::Reconciling, SetConditionReason::Started, "the set has started");
        }
        draft
    }

    pub(super) fn has_ended(&self) -> bool {
        self.status.phase.is_some_and(SetPhase::is_terminal)
    }

    /// Whether another member could be started some day: one that never was, or one that waits for its turn again.
    pub(super) fn has_more_to_start(&self) -> bool {
        self.status.next_index() < self.total || !self.status.waiting.indexes.is_empty()
    }

    /// Records where the set stands, and why.
    pub(super) fn set_phase(&mut self, phase: SetPhase, reason: &str) {
        self.status.phase = Some(phase);
        reason.clone_into(&mut self.status.reason);
    }

    /// Says that a condition holds.
    #[expect(clippy::needless_pass_by_value, reason = "words, whoever has them")]
    pub(super) fn mark_true(&mut self, type_: SetConditionType, reason: impl ToString, message: &str) {
        mark_true(&mut self.status.conditions, type_, reason.to_string(), message, self.now);
    }

    /// Says that a condition does not hold.
    #[expect(clippy::needless_pass_by_value, reason = "words, whoever has them")]
    pub(super) fn mark_false(&mut self, type_: SetConditionType, reason: impl ToString, message: &str) {
        mark_false(&mut self.status.conditions, type_, reason.to_string(), message, self.now);
    }

    pub(super) fn step(&mut self, step: SetStep) {
        self.steps.push(step);
    }

    pub(super) fn event(&mut self, reason: SetEventReason, note: &str) {
        self.publish(EventType::Normal, reason, "Reconcile", note);
    }

    pub(super) fn warning(&mut self, reason: SetEventReason, note: &str) {
        self.publish(EventType::Warning, reason, "Reconcile", note);
    }

    /// A warning whose action tells its cause, so that each cause is an event.
    pub(super) fn warning_of(&mut self, reason: SetEventReason, cause: &str, note: &str) {
        self.publish(EventType::Warning, reason, cause, note);
    }

    fn publish(&mut self, type_: EventType, reason: SetEventReason, action: &str, note: &str) {
        let (action, note) = (truncate(action, 128).to_owned(), truncate(note, LONGEST_NOTE).to_owned());
        self.events.push(SetEvent { type_, reason, action, note });
    }

    /// Has the set looked at again then.
    pub(super) fn wake_at(&mut self, moment: Timestamp) {
        self.moments.push(moment);
    }

    /// Has the set looked at again at once: not all that is to be done has found room.
    pub(super) fn wake_at_once(&mut self) {
        self.has_more = true;
    }

    /// The finished plan. Its status is left out when it is the recorded one and no member is created or deleted.
    pub(super) fn finish(mut self) -> SetPlan {
        let generation = self.seen.generation();
        self.status.observed_generation = generation;
        for condition in &mut self.status.conditions {
            condition.observed_generation = Some(generation);
        }
        self.status.total = i64::from(self.total);
        self.status.active = i64::from(self.active.len());
        let is_of_members = |step: &SetStep| !matches!(step, SetStep::DeleteSet);
        let is_guarded = self.steps.iter().any(is_of_members);
        let changed = self.set.status.as_ref() != Some(&self.status);
        let next = self.moments.into_iter().filter(|moment| *moment > self.now).min();
        let wake = if self.has_more { SetWake::Now } else { next.map_or(SetWake::OnChange, SetWake::At) };
        SetPlan { status: (changed || is_guarded).then_some(self.status), steps: self.steps, events: self.events, wake }
    }
}
