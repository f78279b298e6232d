//! What a program reports while it runs: merged into the status from time to time.

use std::sync::Arc;

use jiff::Timestamp;

use super::{
    charge,
    draft::Draft,
    observed::{LiveReport, PodFacts},
    progress::{self, Merging},
    save_failing,
};
use crate::{
    api::task::{CurrentAttempt, LongTaskStatus, RecordedReport, Reporting},
    types::time::after,
};

/// How long a newer post is waited for, in seconds: an agent's timer and a connection, on a busy node.
const NEWER_POST: i64 = 2;

/// Merges the newest report, once it is due. One that says nothing new changes nothing.
pub(super) fn record(draft: &mut Draft<'_>, pod: &PodFacts) {
    let (Some(live), Some(attempt)) = (unrecorded(draft), draft.status.live_attempt().cloned()) else { return };
    if due(draft, &attempt).is_none_or(|due| due > draft.now) {
        return;
    }
    let gain = progress::gain(&draft.status, &live.report);
    let merged = merged(draft, &attempt, live);
    if merged == draft.status {
        return;
    }
    let had_own = progress::has_own_checkpoint(&draft.status, &attempt);
    draft.status = merged;
    let progress_time = if gain.is_progress { Some(draft.now) } else { progress_time(&attempt) };
    let recorded = RecordedReport { revision: live.revision, record_time: draft.now, progress_time };
    draft.update_attempt(|attempt| attempt.report = Some(recorded));
    if gain.is_progress {
        charge::reset_by_progress(draft);
    }
    if !had_own && progress::has_own_checkpoint(&draft.status, &attempt) {
        let save = live.save.clone();
        save_failing::tell_grace_too_short(draft, Some(pod), save.as_ref());
    }
}

/// When the newest report is merged, if it says something new and no newer one comes.
///
/// Of a report that came before the status may be written, the agent was asked to come again when it may: see the answer of
/// the report server. That post is waited for a little. Written without it, the status would have an old word, and the new
/// one would be too early again: each line would be an interval older than it need be, for as long as the program runs.
pub(super) fn moment(draft: &Draft<'_>) -> Option<Timestamp> {
    let (live, attempt) = (unrecorded(draft)?, draft.status.live_attempt()?);
    let may_be_written = reports_due(attempt, &draft.spec.reporting)?;
    let is_early = live.receipt_time < may_be_written;
    let waits_until = if is_early { after(may_be_written, NEWER_POST) } else { may_be_written };
    due(draft, attempt).map(|due| due.max(waits_until)).filter(|_| merged(draft, attempt, live) != draft.status)
}

/// The status with the report.
fn merged(draft: &Draft<'_>, attempt: &CurrentAttempt, live: &LiveReport) -> LongTaskStatus {
    let mut status = draft.status.clone();
    let when = Merging { now: draft.now, active_seconds: status.active_seconds_at(draft.now), is_at_end: false };
    progress::merge(&mut status, attempt, &live.report, &draft.spec.checkpoint, when);
    status
}

/// When the last report was recorded that is progress of this attempt.
fn progress_time(attempt: &CurrentAttempt) -> Option<Timestamp> {
    attempt.report.as_ref().and_then(|report| report.progress_time)
}

/// The newest report, if it is newer than what was recorded: one that was late must not set anything back.
fn unrecorded<'a>(draft: &Draft<'a>) -> Option<&'a Arc<LiveReport>> {
    let recorded = draft.status.live_attempt()?.report.as_ref().map(|report| report.revision);
    draft.seen.live.report.as_ref().filter(|live| Some(live.revision) > recorded)
}

/// When the status is written for reports again, if there is something new by then.
fn due(draft: &Draft<'_>, attempt: &CurrentAttempt) -> Option<Timestamp> {
    let due = reports_due(attempt, &draft.spec.reporting)?;
    Some(draft.seen.live.turn.map_or(due, |turn| due.max(turn)))
}

/// When the status of a task may be written for the reports of its attempt again, if not many others report as well. First
/// an interval after the program's start, so that one that ends soon costs no write more than without an agent.
pub fn reports_due(attempt: &CurrentAttempt, reporting: &Reporting) -> Option<Timestamp> {
    let last = attempt.report.as_ref().map(|report| report.record_time).or(attempt.started_at)?;
    Some(after(last, reporting.interval.as_secs()))
}
