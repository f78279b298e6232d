//! Where a task stands: what it did, why it waits, what is next.

mod reports;

use jiff::Timestamp;
use kube::ResourceExt;
use serde::Serialize;
use serde_json::Value;

use self::reports::Reports;
use super::{
    next::next,
    queue::PlaceInLine,
    style::{BOLD, BUSY, DIM, WARNING, of_outcome, of_phase, paint},
    table::{Cell, table},
    time::{ago, span},
};
use crate::{
    api::task::{
        AttemptState, Checkpoint, ConditionType, CurrentAttempt, EndedAttempt, LongTask, LongTaskStatus, Outcome,
        Phase, Progress,
    },
    types::{counted, find_condition, time::seconds_between},
};

/// The facts that `status` tells, as `-o json` prints them.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::kubectl) struct StatusView {
    name: String,
    namespace: String,
    phase: Option<Phase>,
    reason: String,
    run: i64,
    segment: i64,
    start_time: Option<Timestamp>,
    completion_time: Option<Timestamp>,
    progress: Option<Progress>,
    checkpoint: Option<Checkpoint>,
    earlier_checkpoints: Vec<i64>,
    reports: Option<Reports>,
    active_seconds: i64,
    work_lost_seconds: i64,
    ended_attempts: i64,
    in_a_row: Vec<String>,
    attempts: Vec<Attempt>,
    last_failure: Option<String>,
    result: Option<Value>,
    why: Vec<String>,
    next: String,
}

/// A line of the timeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct Attempt {
    number: i64,
    segment: i64,
    state: AttemptState,
    outcome: Option<Outcome>,
    reason: String,
    exit_code: Option<i32>,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    ran_seconds: i64,
    checkpoint: Option<i64>,
    node: Option<String>,
}

impl StatusView {
    /// The facts of a task at that time.
    pub(in crate::kubectl) fn of(task: &LongTask, now: Timestamp) -> Self {
        let status = task.status.clone().unwrap_or_default();
        Self {
            name: task.name_any(),
            namespace: task.namespace().unwrap_or_default(),
            phase: status.phase,
            reason: status.reason.clone(),
            run: status.run.number,
            segment: status.segment,
            start_time: status.run.start_time,
            completion_time: status.completion_time,
            earlier_checkpoints: status.checkpoint_history.iter().map(|checkpoint| checkpoint.sequence).collect(),
            reports: Reports::of(task, &status),
            active_seconds: status.active_seconds_at(now),
            work_lost_seconds: status.totals.work_lost_seconds,
            ended_attempts: status.totals.attempts,
            in_a_row: in_a_row(task, &status),
            attempts: attempts(&status, now),
            last_failure: last_failure(&status, now),
            why: why(&status, now),
            next: next(task, &status, now),
            progress: status.progress,
            checkpoint: status.checkpoint,
            result: status.result,
        }
    }

    /// The same of a task of which is known where it stands in its queue.
    pub(in crate::kubectl) fn in_line(mut self, place: Option<&PlaceInLine>) -> Self {
        if let Some(place) = place {
            self.next = place.words();
        }
        self
    }

    /// The same for people.
    pub(in crate::kubectl) fn text(&self, now: Timestamp) -> String {
        let facts = self.facts(now);
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let lines = facts.iter().map(|(name, fact)| format!("{}  {fact}\n", paint(BOLD, &format!("{name:width$}"))));
        let mut text = self.headline(now);
        if !facts.is_empty() {
            text += "\n";
            text += &lines.collect::<String>();
        }
        if !self.attempts.is_empty() {
            text += "\n";
            text += &self.timeline(now);
        }
        let why = self.why.iter().map(|why| format!("{}   {why}\n", paint(WARNING, "Why")));
        text + "\n" + &why.collect::<String>() + &format!("{}  {}\n", paint(BOLD, "Next"), self.next)
    }

    fn headline(&self, now: Timestamp) -> String {
        let phase = self.phase.map_or("not started", Into::into);
        let reason = if self.reason.is_empty() { String::new() } else { format!(" ({})", self.reason) };
        let when = match (self.start_time, self.completion_time) {
            (Some(start), Some(end)) => {
                format!(", ended {} after {}", ago(end, now), span(seconds_between(start, end)))
            }
            (Some(start), None) => format!(", started {}", ago(start, now)),
            (None, _) => String::new(),
        };
        let place =
            if self.run > 0 { format!("  run {}, segment {}{when}", self.run, self.segment) } else { String::new() };
        format!("{}  {}{place}\n", paint(BOLD, &self.name), paint(of_phase(self.phase), &format!("{phase}{reason}")))
    }

    fn facts(&self, now: Timestamp) -> Vec<(&'static str, String)> {
        let ran = (self.ended_attempts > 0 || self.active_seconds > 0).then(|| {
            let lost = if self.work_lost_seconds > 0 { span(self.work_lost_seconds) } else { "nothing".to_owned() };
            format!("{}, {} ended, {lost} lost", span(self.active_seconds), counted(self.ended_attempts, "attempt"))
        });
        let in_a_row = (!self.in_a_row.is_empty()).then(|| self.in_a_row.join(", "));
        [
            ("Progress", self.progress.as_ref().and_then(|progress| progress_line(progress, self.phase, now))),
            ("Checkpoint", self.checkpoint.as_ref().map(|checkpoint| checkpoint_line(checkpoint, now))),
            ("Reports", self.reports.as_ref().map(|reports| reports.line(now))),
            ("Heartbeat", self.reports.as_ref().and_then(Reports::heartbeat)),
            ("Running time", ran),
            ("In a row", in_a_row),
            ("Last failure", self.last_failure.clone()),
            ("Result", self.result.as_ref().map(ToString::to_string)),
        ]
        .into_iter()
        .filter_map(|(name, fact)| Some((name, fact?)))
        .collect()
    }

    fn timeline(&self, now: Timestamp) -> String {
        let mut rows = Vec::new();
        let mut segment_above = None;
        for attempt in &self.attempts {
            let segment =
                if segment_above == Some(attempt.segment) { String::new() } else { attempt.segment.to_string() };
            segment_above = Some(attempt.segment);
            rows.push([
                Cell::from(segment),
                Cell::from(attempt.number.to_string()),
                Cell::styled(attempt.started_at.map_or_else(|| "-".to_owned(), |start| ago(start, now)), DIM),
                Cell::from(attempt.started_at.map_or_else(|| "-".to_owned(), |_| span(attempt.ran_seconds))),
                attempt.cell(),
                Cell::from(attempt.checkpoint.map_or_else(|| "-".to_owned(), |sequence| sequence.to_string())),
                Cell::styled(attempt.node.as_deref().unwrap_or("-"), DIM),
            ]);
        }
        table(["SEGMENT", "ATTEMPT", "STARTED", "RAN", "OUTCOME", "CHECKPOINT", "NODE"], rows) + &self.left_out()
    }

    /// The status has the last attempts only, those of the run before among them.
    fn left_out(&self) -> String {
        let shown = self.attempts.iter().filter(|attempt| attempt.outcome.is_some()).count();
        let left_out = self.ended_attempts.saturating_sub(i64::try_from(shown).unwrap_or(i64::MAX));
        if left_out < 1 {
            return String::new();
        }
        paint(DIM, &format!("{} of this run before these: `events` may still have them", counted(left_out, "attempt")))
            + "\n"
    }
}

impl Attempt {
    fn ended(attempt: &EndedAttempt) -> Self {
        Self {
            number: attempt.number,
            segment: attempt.segment,
            state: AttemptState::Ended,
            outcome: Some(attempt.outcome),
            reason: attempt.reason.clone(),
            exit_code: attempt.exit_code,
            started_at: attempt.started_at,
            finished_at: Some(attempt.finished_at),
            ran_seconds: attempt.started_at.map_or(0, |start| seconds_between(start, attempt.finished_at)),
            checkpoint: attempt.checkpoint_sequence,
            node: attempt.node_name.clone(),
        }
    }

    fn under_way(attempt: &CurrentAttempt, now: Timestamp) -> Self {
        Self {
            number: attempt.number,
            segment: attempt.segment,
            state: attempt.state,
            outcome: None,
            reason: attempt.stop.as_ref().map(|stop| stop.reason.to_string()).unwrap_or_default(),
            exit_code: None,
            started_at: attempt.started_at,
            finished_at: None,
            ran_seconds: attempt.started_at.map_or(0, |start| seconds_between(start, now)),
            checkpoint: None,
            node: attempt.node_name.clone(),
        }
    }

    fn cell(&self) -> Cell {
        if let Some(outcome) = self.outcome {
            return Cell::styled(ending(outcome, &self.reason, self.exit_code), of_outcome(outcome));
        }
        let state = self.state.to_string();
        let text = if self.reason.is_empty() { state } else { format!("{state} ({})", self.reason) };
        Cell::styled(text, if self.state == AttemptState::Running { BUSY } else { WARNING })
    }
}

/// How an attempt ended: `Failed Error, exit 3`.
pub(super) fn ending(outcome: Outcome, reason: &str, exit_code: Option<i32>) -> String {
    let exit = match outcome {
        Outcome::Failed | Outcome::Yielded => exit_code.map(|code| format!(", exit {code}")).unwrap_or_default(),
        Outcome::Completed | Outcome::TimeLimit | Outcome::Stopped | Outcome::StartFailed | Outcome::Interrupted => {
            String::new()
        }
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" {reason}") };
    format!("{outcome}{reason}{exit}")
}

/// The attempts that the status has, the oldest first.
fn attempts(status: &LongTaskStatus, now: Timestamp) -> Vec<Attempt> {
    let ended = status.recent_attempts.iter().rev().map(Attempt::ended);
    ended.chain(status.live_attempt().map(|attempt| Attempt::under_way(attempt, now))).collect()
}

fn progress_line(progress: &Progress, phase: Option<Phase>, now: Timestamp) -> Option<String> {
    let percent = progress.percent.map(|percent| format!("{percent}%"));
    let is_over = phase.is_some_and(Phase::is_terminal);
    let end = progress.estimated_completion_time.filter(|_| !is_over).map(|end| match seconds_between(now, end) {
        ..=0 => "done any moment now at the pace so far".to_owned(),
        seconds => format!("done in about {} at the pace so far", span(seconds)),
    });
    let parts: Vec<_> =
        [progress.summary.clone(), percent, progress.message.clone(), end].into_iter().flatten().collect();
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn checkpoint_line(checkpoint: &Checkpoint, now: Timestamp) -> String {
    let Checkpoint { sequence, attempt, record_time, data, uri, .. } = checkpoint;
    let content = data.as_ref().map(ToString::to_string).or(uri.clone()).unwrap_or_default();
    format!("{sequence}, {}, by attempt {attempt}: {content}", ago(*record_time, now))
}

/// What stands above 0, beside its budget where it has one.
fn in_a_row(task: &LongTask, status: &LongTaskStatus) -> Vec<String> {
    let (counted, budgets) = (&status.consecutive, &task.spec.retry.budgets);
    let classes = [
        ("failures", counted.failures, budgets.failures),
        ("stalls", counted.stalls, budgets.stalls),
        ("start failures", counted.start_failures, budgets.start_failures),
        ("interruptions", counted.interruptions, budgets.interruptions),
    ];
    let classes = classes.into_iter().filter(|(_, count, _)| *count > 0).map(|(name, count, budget)| {
        if budget < 0 { format!("{name} {count}") } else { format!("{name} {count} (budget {budget})") }
    });
    let rules = status.rule_counters.iter().map(|counter| format!("rule {} {}", counter.name, counter.count));
    classes.chain(rules).collect()
}

fn last_failure(status: &LongTaskStatus, now: Timestamp) -> Option<String> {
    let failure = status.last_failure.as_ref()?;
    let code = failure.code.as_ref().map(|code| format!(", code {code}")).unwrap_or_default();
    let words = failure.message.split_whitespace().collect::<Vec<_>>().join(" ");
    let words = if words.is_empty() { String::new() } else { format!(": {words}") };
    let ending = ending(failure.outcome, &failure.reason, failure.exit_code);
    Some(format!("attempt {}, {}, {ending}{code}{words}", failure.attempt, ago(failure.time, now)))
}

/// Why it does not run, or what is wrong although it does.
fn why(status: &LongTaskStatus, now: Timestamp) -> Vec<String> {
    let telling = [ConditionType::Failed, ConditionType::Suspended].into_iter().chain(ConditionType::troubles());
    let conditions = telling.filter_map(|type_| {
        let condition = find_condition(&status.conditions, type_).filter(|condition| condition.status == "True")?;
        let since = ago(condition.last_transition_time.0, now);
        Some(format!("{} ({}, {since}): {}", type_, condition.reason, condition.message))
    });
    let last = status.recent_attempts.first().filter(|_| status.phase == Some(Phase::Waiting));
    let waits = last.map(|last| {
        format!("attempt {} ended with {}", last.number, ending(last.outcome, &last.reason, last.exit_code))
    });
    conditions.chain(waits).collect()
}

#[cfg(test)]
mod tests;
