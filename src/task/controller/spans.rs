//! The spans of a task. In the log: one around each reconcile. In traces: one trace per run, and in it one span per
//! attempt and those of some reconciles.
//!
//! Identifiers follow from the task's UID and its numbers, as in the `TRACEPARENT` that the attempt's program got: its
//! own spans are parts of the attempt's, and a span that is sent twice is the same.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use kube::ResourceExt;
use tracing::error_span;

use crate::{
    api::task::{AttemptEnd, EndedAttempt, LongTask, LongTaskStatus, Outcome, Phase, Transition},
    task::render,
    telemetry::traces::{Span, Traces},
};

/// The span around all that is done for a task: every line of the log about it carries its fields.
///
/// It is of level ERROR so that no log filter takes the fields away from the lines it lets through.
pub(super) fn log_span(task: &LongTask) -> tracing::Span {
    let status = task.status.as_ref();
    let uid = task.uid().unwrap_or_default();
    error_span!(
        "task",
        task = task.name_any(),
        namespace = task.namespace().unwrap_or_default(),
        uid,
        segment = status.map_or(0, |status| status.segment),
        attempt = status.map_or(0, latest_attempt),
        // As in the `TRACEPARENT` that the task's pods get.
        trace_id = render::trace_id(&uid, status.map_or(1, |status| status.run.number.max(1))),
    )
}

/// What is logged from here on is about the attempt that this status makes or ends.
pub(super) fn update_log_span(status: &LongTaskStatus) {
    let span = tracing::Span::current();
    span.record("segment", status.segment);
    span.record("attempt", latest_attempt(status));
}

/// The number of the latest attempt; 0 before the first.
fn latest_attempt(status: &LongTaskStatus) -> i64 {
    status.current_attempt.as_ref().map_or(0, |attempt| attempt.number)
}

/// Emits the spans that end with a write of a status. Once for each write that the API server took.
pub(super) fn emit(traces: &Traces, task: &LongTask, change: &Transition<'_>) {
    if !traces.are_on() {
        return;
    }
    let of = Of::new(task, change.after);
    if let Some(end) = change.attempt_ended {
        traces.emit(of.attempt(end));
    }
    if change.run_ended.is_some() {
        traces.emit(of.run(change.after));
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

    fn attempt(&self, end: AttemptEnd<'_>) -> Span {
        let AttemptEnd { attempt, ended } = end;
        let EndedAttempt { number, segment, outcome, reason, exit_code, finished_at, checkpoint_sequence, .. } = ended;
        let start = ended.started_at.unwrap_or(attempt.creation_time);
        let is_bad = matches!(outcome, Outcome::Failed | Outcome::StartFailed);
        let mut span = self.span("attempt", render::attempt_span_id(self.uid, *number), start.into());
        span.parent_id = Some(render::run_span_id(self.uid, self.run));
        span.end = (*finished_at).into();
        span.error = is_bad.then(|| reason.clone());
        span.attributes.extend([
            ("longtask.attempt", (*number).into()),
            ("longtask.segment", (*segment).into()),
            ("longtask.outcome", <&str>::from(outcome).into()),
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
        let phase: &str = status.phase.map(Into::into).unwrap_or_default();
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

/// Picks the reconciles that get a span: one in so many, since most of them do little.
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

    /// Emits the span of a reconcile that has just ended, if it is picked.
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
    use tracing::{Level, subscriber::with_default};

    use super::*;
    use crate::api::task::CurrentAttempt;

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

    fn attempt() -> CurrentAttempt {
        serde_json::from_value(json!({
            "number": 3, "segment": 2, "state": "Running", "podName": "t-3", "generation": 1,
            "creationTime": "2026-11-24T09:59:00Z",
        }))
        .expect("an attempt")
    }

    #[test]
    fn no_log_filter_takes_the_task_away_from_a_line() {
        let span = with_default(tracing_subscriber::registry(), || log_span(&task()));
        let metadata = span.metadata().expect("it is on");
        assert_eq!(*metadata.level(), Level::ERROR);
        let fields: Vec<_> = metadata.fields().iter().map(|field| field.name()).collect();
        assert_eq!(fields, ["task", "namespace", "uid", "segment", "attempt", "trace_id"]);
    }

    #[test]
    fn an_attempts_span_is_the_parent_that_its_program_was_given() {
        let (task, status) = (task(), LongTaskStatus::default());
        let span = Of::new(&task, &status).attempt(AttemptEnd { attempt: &attempt(), ended: &ended("Failed") });
        assert_eq!(render::traceparent("u", 1, 3), format!("00-{}-{}-01", span.trace_id, span.id));
        assert_eq!(span.parent_id, Some(render::run_span_id("u", 1)));
        assert_eq!(span.end.duration_since(span.start).expect("in order").as_secs(), 60);
        assert_eq!(span.error.as_deref(), Some("OOMKilled"));
        assert!(span.attributes.contains(&("longtask.exit_code", 137.into())), "{:?}", span.attributes);
    }

    #[test]
    fn an_interruption_is_no_error() {
        let (task, status) = (task(), LongTaskStatus::default());
        let end = AttemptEnd { attempt: &attempt(), ended: &ended("Interrupted") };
        assert_eq!(Of::new(&task, &status).attempt(end).error, None);
    }

    #[test]
    fn one_reconcile_in_so_many_has_a_span() {
        let picked = |one_in| {
            let sampler = Sampler::new(one_in);
            (0..10).filter(|_| sampler.picks().is_some()).count()
        };
        assert_eq!([picked(0), picked(1), picked(5), picked(100)], [0, 10, 2, 1]);
    }
}
