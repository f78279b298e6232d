//! The last words of an attempt: what its agent left behind and what it posted last, and the main container's own message.

use jiff::Timestamp;

use super::observed::{ContainerEnd, LiveReport, PodFacts};
use crate::{
    api::task::CurrentAttempt,
    contract::{
        agent::{LastWord, SaveReport},
        report::{Reader, Report, ReportedCheckpoint, Via},
    },
};

/// What is known of an attempt's reports at its end.
pub(super) struct LastWords<'a> {
    attempt: &'a CurrentAttempt,
    /// What the agent left behind.
    left: Option<&'a LastWord>,
    /// What it posted last.
    posted: Option<&'a LiveReport>,
    /// Whether it stores checkpoints.
    has_store: bool,
    /// Whether what was left tells of a save that may be gone: an agent that ran since then removes what it has newer ones of.
    is_save_uncertain: bool,
}

impl<'a> LastWords<'a> {
    pub(super) fn of(attempt: &'a CurrentAttempt, pod: Option<&'a PodFacts>, posted: Option<&'a LiveReport>) -> Self {
        let agent = pod.and_then(|pod| pod.agent.as_ref());
        Self {
            attempt,
            left: agent.and_then(|agent| agent.last_word.as_deref()),
            posted,
            has_store: agent.is_some_and(|agent| agent.has_store),
            is_save_uncertain: agent.is_some_and(|agent| agent.has_store && agent.has_run_since),
        }
    }

    /// What the program reported: the agent's newest word, and the main container's own message on top.
    pub(super) fn report(&self, end: Option<&ContainerEnd>) -> Report {
        if self.left.is_none() && self.posted.is_none() {
            return self.without_unsaved(end.map(ContainerEnd::report).unwrap_or_default(), None);
        }
        // Of two that are as new, the post has room for more.
        let newest = self.left.filter(|left| Some(left.header.revision) > self.posted_revision());
        let mut reader = Reader::new(Via::Agent);
        match (newest, self.posted) {
            (Some(left), _) if self.is_news(left.header.revision) => {
                reader.take(&left.lines);
                if self.is_save_uncertain {
                    // The next attempt finds what is there.
                    reader = Reader::with(Report { checkpoint: None, ..reader.report() });
                }
            }
            (None, Some(posted)) if self.is_news(posted.revision) => reader = Reader::with(posted.report.clone()),
            _ => {}
        }
        let saved = reader.report().checkpoint;
        let mut report = match end {
            Some(end) => self.without_unsaved(end.report_over(reader), saved),
            None => reader.report(),
        };
        // The last word had no room for it, and a result does not lapse.
        report.result = report.result.or_else(|| self.posted.and_then(|posted| posted.report.result.clone()));
        // Faults do not lapse either, and only the last word tells of them.
        let mut problems = self.left.map(|left| left.header.problems.clone()).unwrap_or_default();
        problems.retain(|problem| !report.problems.contains(problem));
        report.problems.splice(0..0, problems);
        report
    }

    /// What the program names in its termination message, no agent has seen: it is lost with the pod, and what was saved
    /// stands.
    fn without_unsaved(&self, mut report: Report, saved: Option<ReportedCheckpoint>) -> Report {
        let named = report.checkpoint.as_ref().and_then(ReportedCheckpoint::unsaved_path).filter(|_| self.has_store);
        if let Some(path) = named {
            let problem = format!(
                "checkpoint {path:?} is named in the termination message, which no agent reads, and was not saved: name it in \
                 $LONGTASK_REPORT"
            );
            report.checkpoint = saved;
            report.problems.push(problem);
        }
        report
    }

    /// Whether the program has reported a result that neither the last word nor any post brought to the operator: the word
    /// had no room for it, or somebody has cut it off.
    pub(super) fn is_result_lost(&self) -> bool {
        let Some(left) = self.left else { return false };
        let Some(result) = left.header.result else { return false };
        let known = self.recorded_revision().max(self.posted_revision());
        known < Some(result.revision) && Report::read(&left.lines, Via::Agent).result.is_none()
    }

    /// When the newest checkpoint was reported.
    pub(super) fn checkpoint_time(&self) -> Option<Timestamp> {
        let left = self.left.and_then(|left| left.header.checkpoint_time);
        left.max(self.posted.and_then(|posted| posted.checkpoint_time))
    }

    /// How it went with the newest save.
    pub(super) fn save(&self) -> Option<&'a SaveReport> {
        let newest = self.left.filter(|left| Some(left.header.revision) >= self.posted_revision());
        match newest {
            Some(left) => left.header.save.as_ref(),
            None => self.posted.and_then(|posted| posted.save.as_ref()),
        }
    }

    /// Whether that is not older than what is recorded.
    fn is_news(&self, revision: i64) -> bool {
        Some(revision) >= self.recorded_revision()
    }

    fn recorded_revision(&self) -> Option<i64> {
        self.attempt.report.as_ref().map(|report| report.revision)
    }

    fn posted_revision(&self) -> Option<i64> {
        self.posted.map(|posted| posted.revision)
    }
}
