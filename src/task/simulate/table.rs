//! A history as people read it, and as machines do.

use jiff::Timestamp;

use super::{
    History,
    history::{Attempt, End, Entry, Stop, Then},
};
use crate::{api::task::Outcome, types::GoDuration};

const HEAD: [&str; 7] = ["BEGAN", "ENDED", "ATTEMPT", "SEGMENT", "OUTCOME", "THEN", "IN A ROW"];

impl History {
    /// A table of the attempts, then where the task stands. With `events` also what the operator would tell.
    pub fn table(&self, events: bool) -> String {
        let rows: Vec<_> = self.entries.iter().map(|entry| self.row(entry)).collect();
        let widths = widths(&rows);
        let head = Row::Cells(HEAD.map(ToOwned::to_owned));
        let shown = rows.iter().filter(|row| events || !matches!(row, Row::Event { .. }));
        let lines = [&head].into_iter().chain(shown).map(|row| row.line(&widths));
        let end = self.end.iter().flat_map(|end| self.closing_lines(end));
        lines.chain([String::new()]).chain(end).map(|line| line + "\n").collect()
    }

    /// One JSON object a line: what happened, then where the task stands.
    ///
    /// # Errors
    /// When something cannot be written as JSON, which a test rules out.
    pub fn json_lines(&self, events: bool) -> Result<String, serde_json::Error> {
        let shown = self.entries.iter().filter(|entry| events || !matches!(entry, Entry::Event(_)));
        let entries = shown.map(serde_json::to_string);
        let lines: Result<Vec<_>, _> = entries.chain(self.end.iter().map(serde_json::to_string)).collect();
        Ok(lines?.into_iter().map(|line| line + "\n").collect())
    }

    fn row(&self, entry: &Entry) -> Row {
        match entry {
            Entry::Attempt(attempt) => Row::Cells([
                self.offset(attempt.began_at),
                self.offset(attempt.ended_at),
                attempt.number.to_string(),
                attempt.segment.to_string(),
                outcome(attempt),
                then(attempt),
                counters(attempt),
            ]),
            Entry::Event(event) => {
                let text = format!("{} {}: {}", event.type_, event.reason, event.note);
                Row::Event { at: self.offset(event.at), text }
            }
            Entry::Edit(edit) => Row::Edit { at: self.offset(edit.at), text: format!("the user sets {}", edit.change) },
        }
    }

    fn offset(&self, time: Timestamp) -> String {
        format!("+{}", seconds(time.as_second() - self.start.as_second()))
    }

    fn closing_lines(&self, end: &End) -> Vec<String> {
        let lines =
            [self.what_is_next(end), unused(end), drawn(end), Some(end.message.clone()), Some(self.verdict(end))];
        lines.into_iter().flatten().filter(|line| !line.is_empty()).collect()
    }

    fn what_is_next(&self, end: &End) -> Option<String> {
        if let Some(operator) = &end.other_operator {
            return Some(format!("The operator leaves this task alone: its spec.managedBy is {operator}."));
        }
        let why = match end.stopped_by {
            Stop::TaskEnded => return None,
            Stop::AtRest => "Nothing happens until the user acts; words of the script for that are resume and restart.",
            Stop::ScriptEnded => "The script does not say how the next attempt ends.",
            Stop::TooManyAttempts => "The limit of --max-attempts is reached.",
        };
        let next = end.next_attempt.as_ref().map(|next| {
            let (attempt, segment) = (next.attempt, next.segment);
            format!(" Attempt {attempt} of segment {segment} starts at {}.", self.offset(next.at))
        });
        Some(format!("{why}{}\n{}", next.unwrap_or_default(), budgets_left(end)))
    }

    fn verdict(&self, end: &End) -> String {
        let phase = end.phase.map_or("Unstarted", Into::into);
        let why = if end.reason.is_empty() { String::new() } else { format!(" ({})", end.reason) };
        let attempts = format!("{} attempt{}", end.attempts, if end.attempts == 1 { "" } else { "s" });
        let (took, ran) = (seconds(end.at.as_second() - self.start.as_second()), seconds(end.active_seconds));
        format!("{phase}{why} after {attempts}, at +{took} with {ran} of running time")
    }
}

/// A line in the making.
enum Row {
    Cells([String; HEAD.len()]),
    Event { at: String, text: String },
    Edit { at: String, text: String },
}

impl Row {
    fn line(&self, widths: &[usize; HEAD.len()]) -> String {
        match self {
            Self::Cells(cells) => {
                let padded = cells.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
                padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
            }
            Self::Event { at, text } | Self::Edit { at, text } => {
                let [began, ended, ..] = *widths;
                format!("{:began$}  {at:ended$}  {text}", "")
            }
        }
    }
}

fn widths(rows: &[Row]) -> [usize; HEAD.len()] {
    let mut widths = HEAD.map(str::len);
    for row in rows {
        match row {
            Row::Cells(cells) => {
                for (width, cell) in widths.iter_mut().zip(cells) {
                    *width = (*width).max(cell.len());
                }
            }
            Row::Event { at, .. } | Row::Edit { at, .. } => widths[1] = widths[1].max(at.len()),
        }
    }
    widths
}

fn outcome(attempt: &Attempt) -> String {
    let exit = match attempt.outcome {
        Outcome::Failed | Outcome::Yielded => attempt.exit_code.map(|code| format!("exit {code}")),
        Outcome::Completed | Outcome::TimeLimit | Outcome::Stopped | Outcome::StartFailed | Outcome::Interrupted => {
            None
        }
    };
    let words = [Some(attempt.outcome.to_string()), Some(attempt.reason.clone()), exit];
    words.into_iter().flatten().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn then(attempt: &Attempt) -> String {
    let rule = attempt.rule.as_ref().map(|rule| format!("rule {rule}: ")).unwrap_or_default();
    let from = match attempt.checkpoint {
        _ if !attempt.is_rolled_back => String::new(),
        Some(sequence) => format!(" from checkpoint {sequence}"),
        None => " from the beginning".to_owned(),
    };
    let what = match &attempt.then {
        Then::SameSegment { delay_seconds } => {
            let verb = if attempt.outcome == Outcome::Interrupted { "resume" } else { "retry" };
            format!("{verb}{from} {}", after(*delay_seconds))
        }
        Then::NextSegment { delay_seconds } => format!("next segment {}", after(*delay_seconds)),
        Then::NoAttempt { phase, reason } if reason.is_empty() => phase.to_string(),
        Then::NoAttempt { phase, reason } => format!("{phase} ({reason})"),
    };
    let jitter = attempt.delay_before_jitter_seconds.map(|delay| format!(" ({} before jitter)", seconds(delay)));
    rule + &what + &jitter.unwrap_or_default() + &changes(attempt)
}

/// What rules have changed for the next attempt.
fn changes(attempt: &Attempt) -> String {
    let follows = !matches!(attempt.then, Then::NoAttempt { .. });
    let memory = attempt.memory.filter(|_| follows).map(|memory| format!(", with {memory}"));
    let nodes = (follows && !attempt.avoid_nodes.is_empty()).then(|| attempt.avoid_nodes.join(" and "));
    memory.unwrap_or_default() + &nodes.map(|nodes| format!(", off {nodes}")).unwrap_or_default()
}

fn after(delay: i64) -> String {
    if delay > 0 { format!("after {}", seconds(delay)) } else { "at once".to_owned() }
}

/// What stands above 0, beside its budget where it has one.
fn counters(attempt: &Attempt) -> String {
    let (counted, budgets) = (&attempt.consecutive, &attempt.budgets);
    let classes = [
        ("failures", counted.failures, budgets.failures),
        ("stalls", counted.stalls, budgets.stalls),
        ("startFailures", counted.start_failures, budgets.start_failures),
        ("interruptions", counted.interruptions, budgets.interruptions),
    ];
    let classes = classes.into_iter().filter(|(_, count, _)| *count > 0).map(|(name, count, budget)| {
        if budget < 0 { format!("{name} {count}") } else { format!("{name} {count}/{budget}") }
    });
    let rules = attempt.rule_counters.iter().map(|counter| format!("rule {} {}", counter.name, counter.count));
    classes.chain(rules).collect::<Vec<_>>().join(", ")
}

fn budgets_left(end: &End) -> String {
    let (counted, budgets) = (&end.consecutive, &end.budgets);
    let classes = [
        ("failures", counted.failures, budgets.failures),
        ("stalls", counted.stalls, budgets.stalls),
        ("startFailures", counted.start_failures, budgets.start_failures),
        ("interruptions", counted.interruptions, budgets.interruptions),
    ];
    let left = classes.map(|(name, count, budget)| match i64::from(budget) {
        ..0 => format!("{name} unlimited"),
        budget => format!("{name} {} of {budget}", budget.saturating_sub(count).max(0)),
    });
    format!("Budgets left: {}.", left.join(", "))
}

fn unused(end: &End) -> Option<String> {
    end.unused_script.as_ref().map(|words| format!("Not used of the script: {words}"))
}

fn drawn(end: &End) -> Option<String> {
    let jitter = end.jitter?;
    Some(format!(
        "Jitter ({jitter:?}) is drawn from the task's UID: a real task has other delays, and so has another --uid."
    ))
}

fn seconds(seconds: i64) -> String {
    GoDuration::from_secs(seconds).to_string()
}
