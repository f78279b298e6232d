//! What a written status means for the metrics.

use jiff::Timestamp;
use strum::{IntoEnumIterator, VariantNames};

use super::metrics::{AttemptLabels, PhaseLabels, RunLabels, TaskMetrics};
use crate::{
    api::{
        parent::ParentKind,
        task::{
            AttemptReason, AttemptState, ConditionType, EndedAttempt, FailureReason, Limit, LongTaskStatus, Outcome,
            Phase, StopReason, Transition,
        },
    },
    types::{find_condition, time::duration_between},
};

/// Gives a series of 0 to every end that can be foreseen, so that the first one is seen as a rise from 0.
pub(super) fn init_series(metrics: &TaskMetrics) {
    let attempts_ended = |outcome: Outcome, reason: &str| count_attempts(metrics, outcome, reason, 0);
    for outcome in [Outcome::Completed, Outcome::TimeLimit, Outcome::Yielded] {
        attempts_ended(outcome, "");
    }
    for asked in [StopReason::Suspend, StopReason::Cancel] {
        attempts_ended(Outcome::Stopped, &asked.to_string());
    }
    for reason in AttemptReason::iter() {
        for outcome in reason.outcomes() {
            attempts_ended(*outcome, &reason.to_string());
        }
    }
    for parent in ParentKind::iter() {
        for phase in [Phase::Succeeded, Phase::Cancelled] {
            count_runs(metrics, parent, phase, "", 0);
        }
        for reason in FailureReason::iter() {
            count_runs(metrics, parent, Phase::Failed, reason.into(), 0);
        }
    }
}

/// Counts what a write of the status of a task with such a parent has brought about. Once for each write that the API server
/// took.
pub(super) fn record(metrics: &TaskMetrics, parent: ParentKind, change: &Transition<'_>, now: Timestamp) {
    if let Some(end) = change.attempt_ended {
        record_attempt(metrics, end.ended, change.after, now);
    }
    metrics.active.inc_by(change.active_seconds);
    metrics.work_lost.inc_by(change.work_lost_seconds);
    metrics.checkpoints_recorded.inc_by(change.checkpoints);
    if let Some(phase) = change.phase_left
        && let Some(began) = change.before.and_then(|before| began(phase, before))
    {
        let labels = PhaseLabels { phase: phase.into() };
        metrics.phase_duration.get_or_create(&labels).observe(duration_between(began, now).as_secs_f64());
    }
    if let Some(phase) = change.run_ended {
        count_runs(metrics, parent, phase, &change.after.reason, 1);
    }
}

fn record_attempt(metrics: &TaskMetrics, ended: &EndedAttempt, after: &LongTaskStatus, now: Timestamp) {
    count_attempts(metrics, ended.outcome, &ended.reason, 1);
    match ended.outcome {
        Outcome::Completed | Outcome::TimeLimit | Outcome::Yielded => {
            metrics.segments_ended.inc();
        }
        Outcome::StartFailed | Outcome::Interrupted | Outcome::Failed => {
            if let Some(next) = after.next_attempt_time {
                metrics.retry_wait.observe(duration_between(now, next).as_secs_f64());
            }
        }
        Outcome::Stopped => {}
    }
}

/// Counts attempts that ended; 0 makes their series exist.
fn count_attempts(metrics: &TaskMetrics, outcome: Outcome, reason: &str, number: u64) {
    let labels = AttemptLabels { outcome: outcome.into(), reason: known_reason(reason) };
    metrics.attempts_ended.get_or_create(&labels).inc_by(number);
}

/// Counts runs that ended; 0 makes their series exist.
fn count_runs(metrics: &TaskMetrics, parent: ParentKind, phase: Phase, reason: &str, number: u64) {
    let labels = RunLabels { phase: phase.into(), reason: known_failure(reason), parent: parent.into() };
    metrics.runs_ended.get_or_create(&labels).inc_by(number);
}

/// When the task came into its phase, as far as the status tells. The end of a terminal phase is of no interest.
fn began(phase: Phase, status: &LongTaskStatus) -> Option<Timestamp> {
    let attempt = status.current_attempt.as_ref();
    match phase {
        Phase::Pending => {
            attempt.filter(|attempt| attempt.state != AttemptState::Ended).map(|attempt| attempt.creation_time)
        }
        Phase::Running => attempt?.started_at,
        Phase::Stopping => attempt?.stop.as_ref().map(|stop| stop.request_time),
        Phase::Waiting => status.recent_attempts.first().map(|ended| ended.finished_at),
        Phase::Suspended => find_condition(&status.conditions, ConditionType::Suspended)
            .map(|suspended| suspended.last_transition_time.0),
        Phase::Succeeded | Phase::Failed | Phase::Cancelled => None,
    }
}

fn known_failure(reason: &str) -> &'static str {
    reason.parse::<FailureReason>().map_or("", Into::into)
}

/// A reason as a label of a metric: a status that another version wrote may have words that would make endless series.
fn known_reason(reason: &str) -> &'static str {
    let mut known = [AttemptReason::VARIANTS, Limit::VARIANTS, StopReason::VARIANTS].into_iter().flatten().copied();
    if reason.is_empty() { "" } else { known.find(|known| *known == reason).unwrap_or("Other") }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::telemetry::metrics::Registry;

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

    /// What `running` becomes when its attempt is over.
    fn ended(outcome: &str, reason: &str, fields: &Value) -> LongTaskStatus {
        let mut after = serde_json::to_value(running()).expect("JSON");
        after["currentAttempt"]["state"] = json!("Ended");
        after["recentAttempts"] = json!([{
            "number": 7, "segment": 2, "outcome": outcome, "reason": reason, "finishedAt": "2026-11-24T10:01:10Z",
        }]);
        for (name, value) in fields.as_object().expect("fields") {
            after[name] = value.clone();
        }
        status(after)
    }

    /// The lines of the metrics that are not 0 after a write at 10:01:10.
    fn counted(before: &LongTaskStatus, after: &LongTaskStatus) -> String {
        let mut registry = Registry::new();
        let metrics = TaskMetrics::register(&mut registry);
        let now = "2026-11-24T10:01:10Z".parse().expect("a time");
        record(&metrics, ParentKind::None, &Transition::between(Some(before), after), now);
        let text = registry.encode().expect("text");
        text.lines()
            .filter(|line| !line.starts_with('#') && !line.ends_with(" 0") && !line.ends_with(" 0.0"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    #[test]
    fn a_failure_without_a_checkpoint_is_work_lost_and_a_wait() {
        let after = ended(
            "Failed",
            "OOMKilled",
            &json!({
                "phase": "Waiting", "activeSeconds": 160, "totals": { "workLostSeconds": 60 },
                "nextAttemptTime": "2026-11-24T10:01:40Z",
            }),
        );
        let text = counted(&running(), &after);
        for line in [
            r#"longtask_attempts_ended_total{outcome="Failed",reason="OOMKilled"} 1"#,
            "longtask_active_seconds_total 60",
            "longtask_work_lost_seconds_total 60",
            "longtask_retry_wait_seconds_sum 30.0",
            r#"longtask_phase_duration_seconds_sum{phase="Running"} 60.0"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("segments_ended"), "{text}");
    }

    #[test]
    fn a_segment_with_a_checkpoint_is_no_work_lost() {
        let after =
            ended("TimeLimit", "", &json!({ "phase": "Pending", "activeSeconds": 160, "checkpointSequence": 5 }));
        let text = counted(&running(), &after);
        for line in ["longtask_segments_ended_total 1", "longtask_checkpoints_recorded_total 1"] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("work_lost") && !text.contains("retry_wait_seconds_count"), "{text}");
    }

    #[test]
    fn a_dead_letter_is_counted_once_with_its_reason() {
        let after = ended("Failed", "Error", &json!({ "phase": "Failed", "reason": "FailureBudgetExhausted" }));
        let line = r#"longtask_runs_ended_total{phase="Failed",reason="FailureBudgetExhausted",parent="none"} 1"#;
        assert!(counted(&running(), &after).contains(line));
        assert!(!counted(&after, &after).contains("runs_ended"), "a later write of the same end");
    }

    #[test]
    fn a_write_that_changes_nothing_counts_nothing() {
        let quiet = counted(&running(), &running());
        assert!(quiet.lines().all(|line| line.starts_with("longtask_build_info")), "{quiet}");
    }

    #[test]
    fn another_run_counts_its_totals_from_zero() {
        let after = status(json!({ "phase": "Pending", "run": { "number": 2 }, "activeSeconds": 5 }));
        assert!(counted(&running(), &after).contains("longtask_active_seconds_total 5"));
    }

    #[test]
    fn each_reason_has_its_series_from_the_start() {
        let mut registry = Registry::new();
        init_series(&TaskMetrics::register(&mut registry));
        let text = registry.encode().expect("text");
        for reason in AttemptReason::iter() {
            assert!(text.contains(&format!(r#"reason="{reason}"}} 0"#)), "{reason}");
        }
        assert!(!text.contains(r#"reason="Other""#), "{text}");
    }

    #[test]
    fn words_of_the_cluster_do_not_become_labels() {
        for reason in ["", "Evicted", "CrashLoopBackOff", "Suspend", "WallTime"] {
            assert_eq!(known_reason(reason), reason);
        }
        assert_eq!(known_reason("exec format error: import-7"), "Other");
        assert_eq!(known_failure("whatever"), "");
    }
}
