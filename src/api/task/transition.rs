//! What a write of a status changed.

use super::status::{AttemptState, CurrentAttempt, EndedAttempt, LongTaskStatus, Phase, RecordedReport};

/// The difference between two statuses of a task that follow each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transition<'a> {
    /// The status before; a new task has none.
    pub before: Option<&'a LongTaskStatus>,
    /// The status after.
    pub after: &'a LongTaskStatus,
    /// The attempt that ended.
    pub attempt_ended: Option<AttemptEnd<'a>>,
    /// The phase that the task left.
    pub phase_left: Option<Phase>,
    /// The terminal phase in which the run ended.
    pub run_ended: Option<Phase>,
    /// How many checkpoints were recorded.
    pub checkpoints: u64,
    /// The report that was recorded while its program ran.
    pub report: Option<&'a RecordedReport>,
    /// Running time that was added to the run, in seconds.
    pub active_seconds: u64,
    /// Running time that has to be done again and was added to the run, in seconds.
    pub work_lost_seconds: u64,
}

/// The end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttemptEnd<'a> {
    /// The attempt as it was before.
    pub attempt: &'a CurrentAttempt,
    /// How it ended.
    pub ended: &'a EndedAttempt,
}

impl<'a> Transition<'a> {
    /// What changed from one status to the next.
    pub fn between(before: Option<&'a LongTaskStatus>, after: &'a LongTaskStatus) -> Self {
        // A restart begins another run, whose totals count from 0.
        let same_run = before.filter(|before| before.run.number == after.run.number);
        let added = |total: fn(&LongTaskStatus) -> i64| rise(same_run.map_or(0, total), total(after));
        Self {
            before,
            after,
            attempt_ended: before.and_then(|before| AttemptEnd::between(before, after)),
            phase_left: before.and_then(|before| before.phase).filter(|phase| after.phase != Some(*phase)),
            run_ended: terminal_phase(after).filter(|_| same_run.and_then(terminal_phase).is_none()),
            report: recorded_report(after).filter(|report| before.and_then(recorded_report) != Some(report)),
            checkpoints: rise(before.map_or(0, |before| before.checkpoint_sequence), after.checkpoint_sequence),
            active_seconds: added(|status| status.active_seconds),
            work_lost_seconds: added(|status| status.totals.work_lost_seconds),
        }
    }
}

impl<'a> AttemptEnd<'a> {
    fn between(before: &'a LongTaskStatus, after: &'a LongTaskStatus) -> Option<Self> {
        let ended = after.recent_attempts.first()?;
        let attempt = before.current_attempt.as_ref()?;
        (attempt.number == ended.number && attempt.state != AttemptState::Ended).then_some(Self { attempt, ended })
    }
}

fn recorded_report(status: &LongTaskStatus) -> Option<&RecordedReport> {
    status.live_attempt()?.report.as_ref()
}

fn terminal_phase(status: &LongTaskStatus) -> Option<Phase> {
    status.phase.filter(|phase| phase.is_terminal())
}

fn rise(before: i64, after: i64) -> u64 {
    u64::try_from(after.saturating_sub(before)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(fields: Value) -> LongTaskStatus {
        serde_json::from_value(fields).expect("a status")
    }

    fn running() -> LongTaskStatus {
        status(json!({
            "phase": "Running", "run": { "number": 1 }, "activeSeconds": 100, "checkpointSequence": 4,
            "currentAttempt": {
                "number": 7, "segment": 2, "state": "Running", "podName": "import-7", "generation": 1,
                "creationTime": "2026-11-24T10:00:00Z", "startedAt": "2026-11-24T10:00:10Z",
            },
        }))
    }

    /// What `running` becomes when its attempt has failed, and with it the run.
    fn failed() -> LongTaskStatus {
        let mut after = running();
        after.phase = Some(Phase::Failed);
        after.active_seconds = 160;
        after.totals.work_lost_seconds = 60;
        after.current_attempt.as_mut().expect("an attempt").state = AttemptState::Ended;
        after.recent_attempts = vec![
            serde_json::from_value(json!({
                "number": 7, "segment": 2, "outcome": "Failed", "finishedAt": "2026-11-24T10:01:10Z",
            }))
            .expect("an attempt"),
        ];
        after
    }

    #[test]
    fn an_end_is_in_the_write_that_records_it_and_in_no_later_one() {
        let (before, after) = (running(), failed());
        let end = Transition::between(Some(&before), &after);
        assert_eq!(end.attempt_ended.map(|end| (end.attempt.number, end.ended.number)), Some((7, 7)));
        assert_eq!((end.phase_left, end.run_ended), (Some(Phase::Running), Some(Phase::Failed)));
        assert_eq!((end.active_seconds, end.work_lost_seconds, end.checkpoints), (60, 60, 0));
        let later = Transition::between(Some(&after), &after);
        assert_eq!((later.attempt_ended, later.phase_left, later.run_ended), (None, None, None));
        assert_eq!((later.active_seconds, later.work_lost_seconds, later.checkpoints), (0, 0, 0));
    }

    #[test]
    fn a_report_is_in_the_write_that_records_it_and_in_no_later_one() {
        let recorded = |revision: i64| {
            let mut status = running();
            let report = json!({ "revision": revision, "recordTime": "2026-11-24T10:00:40Z" });
            status.current_attempt.as_mut().expect("an attempt").report =
                serde_json::from_value(report).expect("a report");
            status
        };
        let revision = |before: &LongTaskStatus, after: &LongTaskStatus| {
            Transition::between(Some(before), after).report.map(|report| report.revision)
        };
        assert_eq!(revision(&running(), &recorded(5)), Some(5));
        assert_eq!(revision(&recorded(5), &recorded(6)), Some(6));
        assert_eq!(revision(&recorded(5), &recorded(5)), None);
        let mut ended = recorded(5);
        ended.current_attempt.as_mut().expect("an attempt").state = AttemptState::Ended;
        assert_eq!(revision(&recorded(4), &ended), None, "what is read at the end is no live report");
    }

    #[test]
    fn the_first_write_of_a_task_may_end_its_run() {
        let cancelled = status(json!({ "phase": "Cancelled", "run": { "number": 1 } }));
        let end = Transition::between(None, &cancelled);
        assert_eq!((end.phase_left, end.run_ended), (None, Some(Phase::Cancelled)));
    }

    #[test]
    fn another_run_counts_its_totals_from_zero_and_its_checkpoints_on() {
        let before = failed();
        let after = status(json!({
            "phase": "Cancelled", "run": { "number": 2 }, "activeSeconds": 5, "checkpointSequence": 5,
        }));
        let restart = Transition::between(Some(&before), &after);
        assert_eq!((restart.active_seconds, restart.checkpoints), (5, 1));
        assert_eq!((restart.phase_left, restart.run_ended), (Some(Phase::Failed), Some(Phase::Cancelled)));
    }
}
