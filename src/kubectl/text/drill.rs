//! The course of a drill.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    status::ending,
    style::{BAD, BOLD, GOOD, WARNING, paint},
    time::span,
};
use crate::{
    api::task::{Checkpoint, EndedAttempt, LongTaskStatus, Phase},
    types::{GoDuration, time::seconds_between},
};

/// What is known of a drill so far.
pub(in crate::kubectl) struct Drill {
    pub(in crate::kubectl) interrupted: Interrupted,
    pub(in crate::kubectl) interrupted_at: Timestamp,
    pub(in crate::kubectl) resumption: Option<Resumption>,
    /// Where the task stands when nothing follows.
    pub(in crate::kubectl) stands: Option<Phase>,
    /// The program keeps its checkpoints itself: nobody else can see from where it goes on.
    keeps_its_own: bool,
    end: Option<End>,
}

/// The attempt that was interrupted, before that.
pub(in crate::kubectl) struct Interrupted {
    pub(in crate::kubectl) task: String,
    pub(in crate::kubectl) attempt: i64,
    pub(in crate::kubectl) segment: i64,
    pub(in crate::kubectl) pod: String,
    pub(in crate::kubectl) pod_uid: Option<String>,
    pub(in crate::kubectl) node: Option<String>,
    pub(in crate::kubectl) ran_seconds: i64,
    /// The checkpoint that was recorded then.
    pub(in crate::kubectl) checkpoint: Option<i64>,
    /// Work lost in the run until then, in seconds.
    pub(in crate::kubectl) lost_before: i64,
}

/// The attempt that followed.
pub(in crate::kubectl) struct Resumption {
    pub(in crate::kubectl) attempt: i64,
    pub(in crate::kubectl) pod: String,
    pub(in crate::kubectl) node: Option<String>,
    /// From the interruption until its main container ran.
    pub(in crate::kubectl) seconds: i64,
    /// The checkpoint that its program was given.
    pub(in crate::kubectl) given: Option<i64>,
}

/// How the interrupted attempt ended.
struct End {
    attempt: EndedAttempt,
    after_seconds: i64,
    checkpoint: Option<Checkpoint>,
    lost_seconds: i64,
}

/// What a drill has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// The next attempt went on from the checkpoint that the interrupted one left.
    Resumed,
    /// It went on from one recorded before: the interrupted attempt left none.
    ResumedFromEarlier,
    /// It has to begin again: there is no checkpoint.
    BeganAgain,
    /// It runs; from where it goes on is the program's own affair.
    ProgramsAffair,
    /// The program was done.
    Done,
    /// Nothing follows.
    Stopped(Phase),
}

impl Drill {
    pub(in crate::kubectl) fn new(interrupted: Interrupted, keeps_its_own: bool) -> Self {
        let interrupted_at = Timestamp::UNIX_EPOCH;
        Self { interrupted, interrupted_at, resumption: None, stands: None, keeps_its_own, end: None }
    }

    /// Takes the end of the interrupted attempt from the status; true when that is news.
    pub(in crate::kubectl) fn note_end(&mut self, status: &LongTaskStatus, now: Timestamp) -> bool {
        let ended = status.recent_attempts.iter().find(|attempt| attempt.number == self.interrupted.attempt);
        let Some(attempt) = ended.filter(|_| self.end.is_none()) else { return false };
        self.end = Some(End {
            attempt: attempt.clone(),
            after_seconds: seconds_between(self.interrupted_at, now).max(0),
            checkpoint: status.checkpoint.clone(),
            lost_seconds: status.totals.work_lost_seconds.saturating_sub(self.interrupted.lost_before),
        });
        true
    }

    pub(in crate::kubectl) fn has_ended(&self) -> bool {
        self.end.is_some()
    }

    /// What is about to be interrupted.
    pub(in crate::kubectl) fn beginning(&self) -> String {
        let Interrupted { task, attempt, segment, pod, node, ran_seconds, checkpoint, .. } = &self.interrupted;
        let node = on(node.as_ref());
        let checkpoint = match checkpoint {
            _ if self.keeps_its_own => "its program keeps its own checkpoints".to_owned(),
            Some(sequence) => format!("the last recorded checkpoint is {sequence}"),
            None => "no checkpoint is recorded yet".to_owned(),
        };
        let ran = span(*ran_seconds);
        format!(
            "{}: attempt {attempt} of segment {segment} has run for {ran} in pod {pod}{node}; {checkpoint}.\n",
            paint(BOLD, task)
        )
    }

    /// What was done.
    pub(in crate::kubectl) fn interruption(&self, by_delete: bool) -> String {
        let (verb, pod) = (if by_delete { "Deleted" } else { "Evicted" }, &self.interrupted.pod);
        format!("{:>5}  {verb} pod {pod}.\n", "+0s")
    }

    /// How the interrupted attempt ended.
    pub(in crate::kubectl) fn end(&self) -> String {
        let Some(End { attempt, after_seconds, checkpoint, .. }) = &self.end else { return String::new() };
        let left = match checkpoint {
            _ if self.keeps_its_own => String::new(),
            Some(checkpoint) if self.left_one() => {
                format!(" It left checkpoint {}{}.", checkpoint.sequence, content(checkpoint))
            }
            Some(checkpoint) => format!(" It left no new checkpoint: the last one is {}.", checkpoint.sequence),
            None => " It left no checkpoint.".to_owned(),
        };
        let how = ending(attempt.outcome, &attempt.reason, attempt.exit_code);
        format!("{}  Attempt {} ended: {how}.{left}\n", offset(*after_seconds), attempt.number)
    }

    /// How the next attempt began.
    pub(in crate::kubectl) fn resumed(&self) -> String {
        let Some(Resumption { attempt, pod, node, seconds, given }) = &self.resumption else { return String::new() };
        let node = on(node.as_ref());
        let given = match given {
            _ if self.keeps_its_own => String::new(),
            Some(sequence) => format!(" It was given checkpoint {sequence}."),
            None => " It was given no checkpoint.".to_owned(),
        };
        format!("{}  Attempt {attempt} runs in pod {pod}{node}.{given}\n", offset(*seconds))
    }

    /// What was shown.
    pub(in crate::kubectl) fn conclusion(&self) -> String {
        let (style, verdict) = match self.verdict() {
            Verdict::Resumed => (GOOD, "Resumed from its checkpoint.".to_owned()),
            Verdict::ResumedFromEarlier => (
                WARNING,
                "Resumed from an earlier checkpoint: the interrupted attempt left none. Does its program write one on \
                 SIGTERM?"
                    .to_owned(),
            ),
            Verdict::BeganAgain => (
                BAD,
                "Began again: there was no checkpoint. Let the program report one on SIGTERM, or set checkpoint.source \
                 to External if it keeps its own."
                    .to_owned(),
            ),
            Verdict::ProgramsAffair => {
                let task = &self.interrupted.task;
                (GOOD, format!("Runs again; `kubectl longtask logs {task}` shows from where its program went on."))
            }
            Verdict::Done => (GOOD, "The program was done: nothing is left to resume.".to_owned()),
            Verdict::Stopped(phase) => {
                let task = &self.interrupted.task;
                (BAD, format!("The task is {phase} now: `kubectl longtask status {task}` says why."))
            }
        };
        let away = self.resumption.as_ref().map(|next| format!(" Away for {}.", span(next.seconds)));
        let lost = self.end.as_ref().filter(|_| self.resumption.is_some() && !self.keeps_its_own);
        let lost = lost.map(|end| format!(" Work lost: {}.", span(end.lost_seconds)));
        format!("{}{}{}\n", paint(style, &verdict), lost.unwrap_or_default(), away.unwrap_or_default())
    }

    /// Nothing came in time.
    pub(in crate::kubectl) fn timed_out(&self, limit: GoDuration) -> String {
        let Interrupted { task, attempt, .. } = &self.interrupted;
        let what = if self.has_ended() { "no other attempt runs" } else { "it has not ended" };
        format!(
            "attempt {attempt} was interrupted, and {what} after {limit}; `kubectl longtask status {task}` says why"
        )
    }

    /// The facts for programs.
    pub(in crate::kubectl) fn facts(&self) -> Value {
        let Interrupted { task, attempt, segment, pod, node, ran_seconds, checkpoint, .. } = &self.interrupted;
        json!({
            "task": task,
            "interrupted": {
                "attempt": attempt, "segment": segment, "pod": pod, "node": node, "ranSeconds": ran_seconds,
                "outcome": self.end.as_ref().map(|end| end.attempt.outcome),
                "reason": self.end.as_ref().map(|end| &end.attempt.reason),
            },
            "checkpointBefore": checkpoint,
            "checkpointAfter": self.end.as_ref().and_then(|end| Some(end.checkpoint.as_ref()?.sequence)),
            "next": self.resumption.as_ref().map(|next| json!({
                "attempt": next.attempt, "pod": next.pod, "node": next.node, "givenCheckpoint": next.given,
            })),
            "awaySeconds": self.resumption.as_ref().map(|next| next.seconds),
            "workLostSeconds": self.end.as_ref().map(|end| end.lost_seconds),
            "verdict": match self.verdict() {
                Verdict::Stopped(phase) => phase.to_string(),
                plain => format!("{plain:?}"),
            },
        })
    }

    /// Whether the interruption did no harm.
    pub(in crate::kubectl) fn has_passed(&self) -> bool {
        match self.verdict() {
            Verdict::Resumed | Verdict::ProgramsAffair | Verdict::Done => true,
            Verdict::ResumedFromEarlier | Verdict::BeganAgain | Verdict::Stopped(_) => false,
        }
    }

    fn verdict(&self) -> Verdict {
        let after = self.end.as_ref().and_then(|end| end.checkpoint.as_ref()).map(|checkpoint| checkpoint.sequence);
        match (&self.resumption, self.stands) {
            (None, Some(Phase::Succeeded)) => Verdict::Done,
            (None, stands) => Verdict::Stopped(stands.unwrap_or(Phase::Waiting)),
            (Some(_), _) if self.keeps_its_own => Verdict::ProgramsAffair,
            (Some(next), _) if next.given.is_none() => Verdict::BeganAgain,
            (Some(next), _) if self.left_one() && next.given == after => Verdict::Resumed,
            (Some(_), _) => Verdict::ResumedFromEarlier,
        }
    }

    /// Whether the interrupted attempt left a checkpoint of its own.
    fn left_one(&self) -> bool {
        let after = self.end.as_ref().and_then(|end| end.checkpoint.as_ref());
        after.is_some_and(|checkpoint| checkpoint.attempt == self.interrupted.attempt)
    }
}

fn on(node: Option<&String>) -> String {
    node.map(|node| format!(" on node {node}")).unwrap_or_default()
}

fn content(checkpoint: &Checkpoint) -> String {
    let content = checkpoint.data.as_ref().map(ToString::to_string).or(checkpoint.uri.clone());
    content.map(|content| format!(": {content}")).unwrap_or_default()
}

fn offset(seconds: i64) -> String {
    format!("{:>5}", format!("+{}", span(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn drill(keeps_its_own: bool) -> Drill {
        let interrupted = Interrupted {
            task: "import".to_owned(),
            attempt: 2,
            segment: 1,
            pod: "import-2".to_owned(),
            pod_uid: None,
            node: Some("node-1".to_owned()),
            ran_seconds: 23,
            checkpoint: Some(1),
            lost_before: 5,
        };
        Drill { interrupted_at: at(100), ..Drill::new(interrupted, keeps_its_own) }
    }

    /// The status after the end, with a checkpoint of that attempt.
    fn ended(checkpoint: Option<(i64, i64)>, lost: i64) -> LongTaskStatus {
        let checkpoint = checkpoint.map(|(sequence, attempt)| {
            json!({
                "sequence": sequence, "attempt": attempt, "segment": 1, "recordTime": "2026-11-25T06:00:00Z",
                "data": { "row": 19 },
            })
        });
        let mut status = json!({
            "totals": { "workLostSeconds": lost },
            "recentAttempts": [{
                "number": 2, "segment": 1, "outcome": "Interrupted", "reason": "Evicted",
                "finishedAt": "2026-11-25T06:00:00Z",
            }],
        });
        if let Some(checkpoint) = checkpoint {
            status["checkpoint"] = checkpoint;
        }
        serde_json::from_value(status).expect("a status")
    }

    fn next(given: Option<i64>) -> Resumption {
        Resumption { attempt: 3, pod: "import-3".to_owned(), node: None, seconds: 3, given }
    }

    fn told(drill: &Drill) -> String {
        let text =
            [drill.beginning(), drill.interruption(false), drill.end(), drill.resumed(), drill.conclusion()].concat();
        anstream::adapter::strip_str(&text).to_string()
    }

    #[test]
    fn a_drill_that_passed_tells_from_where_the_work_went_on() {
        let mut drill = drill(false);
        assert!(drill.note_end(&ended(Some((2, 2)), 5), at(101)) && !drill.note_end(&ended(None, 0), at(102)));
        drill.resumption = Some(next(Some(2)));
        let expected = "\
import: attempt 2 of segment 1 has run for 23s in pod import-2 on node node-1; the last recorded checkpoint is 1.
  +0s  Evicted pod import-2.
  +1s  Attempt 2 ended: Interrupted Evicted. It left checkpoint 2: {\"row\":19}.
  +3s  Attempt 3 runs in pod import-3. It was given checkpoint 2.
Resumed from its checkpoint. Work lost: 0s. Away for 3s.
";
        assert_eq!(told(&drill), expected);
        assert!(drill.has_passed());
        assert_eq!(drill.facts()["next"]["givenCheckpoint"], 2);
        assert_eq!(drill.facts()["verdict"], "Resumed");
    }

    #[test]
    fn a_program_that_leaves_no_checkpoint_has_not_passed() {
        let mut earlier = drill(false);
        earlier.note_end(&ended(Some((1, 1)), 28), at(101));
        earlier.resumption = Some(next(Some(1)));
        assert!(told(&earlier).contains("It left no new checkpoint: the last one is 1."), "{}", told(&earlier));
        assert!(told(&earlier).contains("Work lost: 23s."), "{}", told(&earlier));
        assert!(!earlier.has_passed());

        let mut none = drill(false);
        none.note_end(&ended(None, 28), at(101));
        none.resumption = Some(next(None));
        assert!(told(&none).contains("Began again: there was no checkpoint."), "{}", told(&none));
        assert!(!none.has_passed());
    }

    #[test]
    fn of_a_program_that_keeps_its_own_checkpoints_nothing_is_claimed() {
        let mut drill = drill(true);
        drill.note_end(&ended(None, 28), at(101));
        drill.resumption = Some(next(None));
        assert!(!told(&drill).contains("checkpoint "), "{}", told(&drill));
        assert!(drill.has_passed());
    }

    #[test]
    fn a_task_that_ends_in_a_drill_is_told_of() {
        let mut drill = drill(false);
        drill.note_end(&ended(None, 28), at(101));
        drill.stands = Some(Phase::Failed);
        assert!(told(&drill).ends_with("The task is Failed now: `kubectl longtask status import` says why.\n"));
        assert!(!drill.has_passed());
        drill.stands = Some(Phase::Succeeded);
        assert!(drill.has_passed());
    }
}
