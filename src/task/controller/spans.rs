//! The spans of a task: one trace per run, in it one span per attempt, and of some reconciles.
//!
//! Identifiers follow from the task's UID and its numbers, as in the `TRACEPARENT` that the attempt's program got: its
//! own spans are parts of the attempt's, and a span that is told twice is the same.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use super::status_metrics::ended_now;
use crate::{
    api::task::{CurrentAttempt, EndedAttempt, LongTask, LongTaskStatus, Outcome, Phase},
    task::render,
    telemetry::traces::{Span, Traces},
};

/// Tells the spans that end with a write of this status. Once for each write that the API server took.
pub(super) fn emit(traces: &Traces, task: &LongTask, after: &LongTaskStatus) {
    if !traces.are_on() {
        return;
    }
    let of = Of::new(task, after);
    let fresh = LongTaskStatus::default();
    let before = task.status.as_ref().unwrap_or(&fresh);
    if let Some(ended) = ended_now(before, after) {
        traces.emit(of.attempt(ended, before.current_attempt.as_ref()));
    }
    let was_over = before.phase.is_some_and(Phase::is_terminal);
    if after.phase.is_some_and(Phase::is_terminal) && !was_over {
        traces.emit(of.run(after));
    }
}

/// Whose spans they are.
struct Of<'a> {
    task: &'a LongTask,
    uid: &'a str,
    run: i64,
}

impl<'a> Of<'a> {
    fn new(task: &'a LongTask, status: &LongTaskStatus) -> Self {
        Self { task, uid: task.metadata.uid.as_deref().unwrap_or_default(), run: status.run.number.max(1) }
    }

    fn attempt(&self, ended: &EndedAttempt, made: Option<&CurrentAttempt>) -> Span {
        let EndedAttempt { number, segment, outcome, reason, exit_code, finished_at, checkpoint_sequence, .. } = ended;
        let made_at = made.filter(|made| made.number == *number).map(|made| made.creation_time);
        let start = ended.started_at.or(made_at).unwrap_or(*finished_at);
        let is_bad = matches!(outcome, Outcome::Failed | Outcome::StartFailed);
        let mut span = self.span("attempt", render::attempt_span_id(self.uid, *number), start.into());
        span.parent_id = Some(render::run_span_id(self.uid, self.run));
        span.end = (*finished_at).into();
        span.error = is_bad.then(|| reason.clone());
        span.attributes.extend([
            ("longtask.attempt", (*number).into()),
            ("longtask.segment", (*segment).into()),
            ("longtask.outcome", outcome.as_str().into()),
            ("longtask.reason", reason.clone().into()),
        ]);
        span.attributes.extend(exit_code.map(|code| ("longtask.exit_code", i64::from(code).into())));
        span.attributes.extend(checkpoint_sequence.map(|sequence| ("longtask.checkpoint_sequence", sequence.into())));
        span.attributes.extend(ended.node_name.clone().map(|node| ("k8s.node.name", node.into())));
        span
    }

    fn run(&self, status: &LongTaskStatus) -> Span {
        let end = status.completion_time.or(status.run.start_time);
        let start = status.run.start_time.or(end).unwrap_or_default();
        let phase = status.phase.map(Phase::as_str).unwrap_or_default();
        let mut span = self.span("run", render::run_span_id(self.uid, self.run), start.into());
        span.end = end.unwrap_or(start).into();
        span.error = (status.phase == Some(Phase::Failed)).then(|| status.reason.clone());
        span.attributes.extend([
            ("longtask.phase", phase.into()),
            ("longtask.reason", status.reason.clone().into()),
            ("longtask.attempts", status.totals.attempts.into()),
            ("longtask.work_lost_seconds", status.totals.work_lost_seconds.into()),
        ]);
        span
    }

    fn span(&self, name: &'static str, id: String, start: SystemTime) -> Span {
        let metadata = &self.task.metadata;
        Span {
            name,
            trace_id: render::trace_id(self.uid, self.run),
            id,
            parent_id: None,
            start,
            end: start,
            error: None,
            attributes: vec![
                ("longtask.task", metadata.name.clone().unwrap_or_default().into()),
                ("k8s.namespace.name", metadata.namespace.clone().unwrap_or_default().into()),
                ("longtask.uid", self.uid.to_owned().into()),
                ("longtask.run", self.run.into()),
            ],
        }
    }
}

/// Picks the reconciles that are told of: one in so many, since most of them do little.
#[derive(Debug)]
pub(super) struct Sampler {
    one_in: u64,
    seen: AtomicU64,
}

impl Sampler {
    /// One in this many; 0 for none.
    pub(super) fn new(one_in: u32) -> Self {
        Self { one_in: one_in.into(), seen: AtomicU64::new(0) }
    }

    fn picks(&self) -> Option<u64> {
        let seen = self.seen.fetch_add(1, Ordering::Relaxed);
        seen.is_multiple_of(self.one_in.max(1)).then_some(seen).filter(|_| self.one_in > 0)
    }

    /// Tells of a reconcile that has just ended, if it is picked.
    pub(super) fn emit(&self, traces: &Traces, task: &LongTask, result: &'static str, end: SystemTime, took: Duration) {
        if !traces.are_on() {
            return;
        }
        let Some(nth) = self.picks() else { return };
        let status = task.status.clone().unwrap_or_default();
        let of = Of::new(task, &status);
        let version = task.metadata.resource_version.as_deref().unwrap_or_default();
        let id = render::span_id(&format!("{}/{version}/{nth}/reconcile", of.uid));
        let mut span = of.span("reconcile", id, end.checked_sub(took).unwrap_or(end));
        span.parent_id = Some(render::run_span_id(of.uid, of.run));
        span.end = end;
        span.error = (result != "ok").then(|| result.to_owned());
        span.attributes.push(("longtask.result", result.into()));
        traces.emit(span);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn task() -> LongTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": "t", "namespace": "n", "uid": "u" },
            "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "i" }] } } },
        }))
        .expect("a task")
    }

    fn ended(outcome: &str) -> EndedAttempt {
        serde_json::from_value(json!({
            "number": 3, "segment": 2, "outcome": outcome, "reason": "OOMKilled", "exitCode": 137,
            "startedAt": "2026-11-24T10:00:00Z", "finishedAt": "2026-11-24T10:01:00Z", "nodeName": "node-1",
        }))
        .expect("an attempt")
    }

    #[test]
    fn an_attempts_span_is_the_parent_that_its_program_was_given() {
        let (task, status) = (task(), LongTaskStatus::default());
        let span = Of::new(&task, &status).attempt(&ended("Failed"), None);
        assert_eq!(render::traceparent("u", 1, 3), format!("00-{}-{}-01", span.trace_id, span.id));
        assert_eq!(span.parent_id, Some(render::run_span_id("u", 1)));
        assert_eq!(span.end.duration_since(span.start).expect("in order").as_secs(), 60);
        assert_eq!(span.error.as_deref(), Some("OOMKilled"));
        assert!(span.attributes.contains(&("longtask.exit_code", 137.into())), "{:?}", span.attributes);
    }

    #[test]
    fn an_interruption_is_no_error() {
        let (task, status) = (task(), LongTaskStatus::default());
        assert_eq!(Of::new(&task, &status).attempt(&ended("Interrupted"), None).error, None);
    }

    #[test]
    fn one_reconcile_in_so_many_is_told() {
        let picked = |one_in| {
            let sampler = Sampler::new(one_in);
            (0..10).filter(|_| sampler.picks().is_some()).count()
        };
        assert_eq!([picked(0), picked(1), picked(5), picked(100)], [0, 10, 2, 1]);
    }
}
