//! What is heard of the program that runs, where its reports are read while it does.

use jiff::Timestamp;
use serde::Serialize;

use super::super::time::{ago, span};
use crate::{
    api::task::{LongTask, LongTaskStatus},
    types::GoDuration,
};

/// What is heard of the program that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Reports {
    /// When something new of this attempt was last recorded.
    record_time: Option<Timestamp>,
    /// When progress of this attempt was last recorded.
    progress_time: Option<Timestamp>,
    /// The shortest time between two records.
    interval: GoDuration,
    /// For how long the program may be silent.
    heartbeat_timeout: Option<GoDuration>,
}

impl Reports {
    /// Those of the attempt under way; none where it does not run yet, and where they are read when it ends.
    pub(super) fn of(task: &LongTask, status: &LongTaskStatus) -> Option<Self> {
        let attempt = status.live_attempt().filter(|attempt| attempt.started_at.is_some())?;
        // One that was made live stays so, whatever the task says by now.
        let is_live = task.spec.is_live() || attempt.report.is_some();
        is_live.then(|| Self {
            record_time: attempt.report.as_ref().map(|recorded| recorded.record_time),
            progress_time: attempt.report.as_ref().and_then(|recorded| recorded.progress_time),
            interval: task.spec.reporting.interval,
            heartbeat_timeout: task.spec.segment.heartbeat_timeout,
        })
    }

    /// The same for people: how fresh progress and checkpoint are.
    pub(super) fn line(&self, now: Timestamp) -> String {
        let interval = span(self.interval.as_secs());
        let Some(recorded) = self.record_time else {
            return format!("live, at most every {interval}; nothing new of this attempt yet");
        };
        let progress = match self.progress_time {
            Some(progress) if progress == recorded => String::new(),
            Some(progress) => format!(", the last progress {}", ago(progress, now)),
            None => ", no progress of this attempt yet".to_owned(),
        };
        format!("live, at most every {interval}; the last news {}{progress}", ago(recorded, now))
    }

    /// When the program counts as hung.
    pub(super) fn heartbeat(&self) -> Option<String> {
        let timeout = span(self.heartbeat_timeout?.as_secs());
        Some(format!("counts as hung after {timeout} of silence, or after a longer one that it has announced (quiet)"))
    }
}
