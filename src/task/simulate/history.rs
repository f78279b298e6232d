//! What happened, and where it left the task.

use jiff::Timestamp;
use serde::Serialize;

use super::script::{Edit, Script, Word};
use crate::{
    api::task::{
        AttemptEnd, AttemptState, Budgets, ConditionType, Consecutive, Jitter, LongTask, LongTaskSpec, LongTaskStatus,
        Outcome, Phase, RuleCounter, Transition,
    },
    task::plan::{TaskEvent, Why},
    types::{MemorySize, find_condition, time::seconds_between},
};

/// What happened, in order, and where it left the task.
#[derive(Debug)]
pub struct History {
    pub(super) start: Timestamp,
    pub(super) entries: Vec<Entry>,
    pub(super) end: Option<End>,
    /// The word by which the attempt under way ends.
    word: String,
}

/// Something that happened. As JSON, `kind` says what.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub(super) enum Entry {
    Attempt(Box<Attempt>),
    Event(Event),
    Edit(Change),
}

/// An attempt that ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attempt {
    #[serde(rename = "attempt")]
    pub(super) number: i64,
    pub(super) run: i64,
    pub(super) segment: i64,
    pub(super) word: String,
    /// When it was decided.
    pub(super) began_at: Timestamp,
    /// When its end was recorded.
    pub(super) ended_at: Timestamp,
    pub(super) outcome: Outcome,
    pub(super) reason: String,
    pub(super) exit_code: Option<i32>,
    /// The rule of the failure policy that decided what follows.
    pub(super) rule: Option<String>,
    pub(super) then: Then,
    /// What the delay would be without jitter, where that is another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) delay_before_jitter_seconds: Option<i64>,
    /// The checkpoint that the next attempt resumes from.
    pub(super) checkpoint: Option<i64>,
    pub(super) is_rolled_back: bool,
    /// The memory of the next attempt, once a rule has raised it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) memory: Option<MemorySize>,
    /// The nodes that the next attempt avoids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) avoid_nodes: Vec<String>,
    pub(super) consecutive: Consecutive,
    pub(super) rule_counters: Vec<RuleCounter>,
    #[serde(skip)]
    pub(super) budgets: Budgets,
}

/// What follows an attempt.
#[derive(Debug, Serialize)]
#[serde(tag = "what", rename_all = "camelCase")]
pub(super) enum Then {
    /// Another attempt of the same segment.
    #[serde(rename_all = "camelCase")]
    SameSegment { delay_seconds: i64 },
    /// An attempt of the next segment.
    #[serde(rename_all = "camelCase")]
    NextSegment { delay_seconds: i64 },
    /// Nothing, until somebody does something, or ever.
    #[serde(rename_all = "camelCase")]
    NoAttempt { phase: Phase, reason: String },
}

/// An event that the operator would publish.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) at: Timestamp,
    #[serde(rename = "type")]
    pub(super) type_: String,
    pub(super) reason: String,
    pub(super) note: String,
}

/// What the user changed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Change {
    pub(super) at: Timestamp,
    pub(super) change: String,
}

/// Why a simulation is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Stop {
    /// The task has come to its end.
    TaskEnded,
    /// Nothing happens any more, unless somebody does something.
    AtRest,
    /// An attempt would start, and the script does not say how it ends.
    ScriptEnded,
    /// There were as many attempts as the caller wants.
    TooManyAttempts,
}

/// Where the task stands at the end.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename = "end", rename_all = "camelCase")]
pub(super) struct End {
    pub(super) stopped_by: Stop,
    pub(super) at: Timestamp,
    pub(super) phase: Option<Phase>,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) attempts: usize,
    pub(super) segment: i64,
    pub(super) active_seconds: i64,
    /// The attempt that would come next, and when.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_attempt: Option<NextAttempt>,
    pub(super) consecutive: Consecutive,
    pub(super) budgets: Budgets,
    pub(super) rule_counters: Vec<RuleCounter>,
    /// The words of the script that were not needed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) unused_script: Option<String>,
    /// How delays are drawn, when some were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) jitter: Option<Jitter>,
    #[serde(skip)]
    pub(super) other_operator: Option<String>,
}

/// An attempt to come.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct NextAttempt {
    pub(super) attempt: i64,
    pub(super) segment: i64,
    pub(super) at: Timestamp,
}

impl History {
    /// Nothing has happened yet.
    pub(super) fn new(start: Timestamp) -> Self {
        Self { start, entries: Vec::new(), end: None, word: String::new() }
    }

    /// An attempt began that is to end by this word.
    pub(super) fn attempt_began(&mut self, word: &Word) {
        self.word.clone_from(&word.text);
    }

    /// Notes the attempt that ended with this change of status, if one did.
    pub(super) fn attempt_ended(
        &mut self,
        before: &LongTaskStatus,
        after: &LongTaskStatus,
        spec: &LongTaskSpec,
        why: &Why,
        now: Timestamp,
    ) {
        let Some(AttemptEnd { attempt, ended }) = Transition::between(Some(before), after).attempt_ended else {
            return;
        };
        let Why { rule, before_jitter } = why;
        let checkpoint = after.checkpoint.as_ref().map(|checkpoint| checkpoint.sequence);
        self.entries.push(Entry::Attempt(Box::new(Attempt {
            number: ended.number,
            run: after.run.number,
            segment: ended.segment,
            word: self.word.clone(),
            began_at: attempt.creation_time,
            ended_at: now,
            outcome: ended.outcome,
            reason: ended.reason.clone(),
            exit_code: ended.exit_code,
            rule: rule.clone(),
            delay_before_jitter_seconds: before_jitter.map(|end| seconds_between(now, end)),
            then: Then::of(ended.segment, after, now),
            checkpoint,
            is_rolled_back: ended.checkpoint_sequence != checkpoint,
            memory: after.memory,
            avoid_nodes: after.avoid_nodes.clone(),
            consecutive: after.consecutive.clone(),
            rule_counters: after.rule_counters.clone(),
            budgets: spec.retry.budgets.clone(),
        })));
    }

    /// Notes what the operator tells.
    pub(super) fn events(&mut self, events: &[TaskEvent], now: Timestamp) {
        self.entries.extend(events.iter().map(|event| {
            Entry::Event(Event {
                at: now,
                type_: event.type_.to_string(),
                reason: event.reason.to_string(),
                note: event.note.clone(),
            })
        }));
    }

    /// Notes what the user does.
    pub(super) fn edited(&mut self, edit: Edit, now: Timestamp) {
        let change = match edit {
            Edit::Suspend => "suspend: true",
            Edit::Resume => "suspend: false",
            Edit::Cancel => "cancel: true",
            Edit::Restart => "a new restart.token",
        };
        self.entries.push(Entry::Edit(Change { at: now, change: change.to_owned() }));
    }

    /// Notes where the task stands at the end.
    pub(super) fn close(&mut self, task: &LongTask, now: Timestamp, stopped_by: Stop, script: &Script) {
        let status = task.status.clone().unwrap_or_default();
        let spec = &task.spec;
        let is_drawn =
            |entry: &Entry| matches!(entry, Entry::Attempt(attempt) if attempt.delay_before_jitter_seconds.is_some());
        let jitter = self.entries.iter().any(is_drawn).then_some(spec.retry.backoff.jitter);
        self.end = Some(End {
            stopped_by,
            at: now,
            phase: status.phase,
            reason: reason(&status),
            message: message(&status),
            attempts: self.entries.iter().filter(|entry| matches!(entry, Entry::Attempt(_))).count(),
            segment: status.segment,
            active_seconds: status.active_seconds,
            next_attempt: next_attempt(&status, now),
            consecutive: status.consecutive,
            budgets: spec.retry.budgets.clone(),
            rule_counters: status.rule_counters,
            unused_script: script.has_unused_words().then(|| script.to_string()),
            jitter,
            other_operator: (!spec.is_managed_by_us()).then(|| spec.managed_by.clone()),
        });
    }
}

impl Then {
    fn of(segment: i64, after: &LongTaskStatus, now: Timestamp) -> Self {
        match after.phase {
            Some(phase) if phase.is_terminal() || phase == Phase::Suspended => {
                Self::NoAttempt { phase, reason: after.reason.clone() }
            }
            _ => {
                let delay_seconds = after.next_attempt_time.map_or(0, |next| seconds_between(now, next));
                let is_same = after.segment == segment;
                if is_same { Self::SameSegment { delay_seconds } } else { Self::NextSegment { delay_seconds } }
            }
        }
    }
}

/// The condition that tells most about where the task stands.
fn reason(status: &LongTaskStatus) -> String {
    let complete = find_condition(&status.conditions, ConditionType::Complete).filter(|one| one.status == "True");
    complete.filter(|_| status.reason.is_empty()).map_or_else(|| status.reason.clone(), |one| one.reason.clone())
}

fn message(status: &LongTaskStatus) -> String {
    let kinds = [ConditionType::Complete, ConditionType::Failed, ConditionType::Suspended, ConditionType::Finished];
    let mut conditions = kinds.into_iter().filter_map(|kind| find_condition(&status.conditions, kind));
    conditions
        .find(|condition| condition.status == "True")
        .map(|condition| condition.message.clone())
        .unwrap_or_default()
}

fn next_attempt(status: &LongTaskStatus, now: Timestamp) -> Option<NextAttempt> {
    let latest = status.current_attempt.as_ref()?;
    let is_next = latest.state == AttemptState::Creating;
    if is_next {
        return Some(NextAttempt { attempt: latest.number, segment: latest.segment, at: now });
    }
    let at = status.next_attempt_time?;
    Some(NextAttempt { attempt: latest.number.saturating_add(1), segment: status.segment, at })
}
