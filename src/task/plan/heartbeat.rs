//! Whether a program has hung.
//!
//! Silence proves nothing: an operator that is down, a network that is cut and an agent that is dead are as silent as a
//! program that hangs. Only an agent that speaks, and says that its program is silent, is evidence.

use jiff::Timestamp;

use super::{draft::Draft, observed::LiveReport};
use crate::{
    api::task::LongTaskStatus,
    types::{
        GoDuration,
        time::{after, seconds_between},
    },
};

/// What a word of an agent may be late beside the time until the next one, in seconds.
const LATE: i64 = 30;

/// Whether the program has been silent for longer than it may be, as its agent says now. What it said a while ago is no
/// evidence any more: the program may have spoken since, to an agent that nobody hears.
pub(super) fn has_hung(draft: &Draft<'_>, started_at: Timestamp) -> bool {
    let latest = |live: &LiveReport| after(live.receipt_time, draft.spec.segment.keep_alive_seconds() + LATE);
    let is_of_now = draft.seen.live.report.as_ref().is_some_and(|live| latest(live) >= draft.now);
    is_of_now && hung_for(draft, started_at).is_some()
}

/// For how long the program has been silent, by the last word of its agent, if that is longer than it may be.
pub(super) fn hung_for(draft: &Draft<'_>, started_at: Timestamp) -> Option<GoDuration> {
    let live = draft.seen.live.report.as_ref()?;
    let silent = silent_seconds(live, started_at);
    let allowed = draft.spec.segment.heartbeat_timeout?.as_secs().max(live.quiet_seconds.unwrap_or(0));
    (silent >= allowed).then(|| GoDuration::from_secs(silent))
}

/// Before it ran, it could not speak.
fn silent_seconds(live: &LiveReport, started_at: Timestamp) -> i64 {
    live.silent_seconds.min(seconds_between(started_at, live.receipt_time))
}

/// How a hang is told.
pub(super) fn words(silent: Option<GoDuration>, timeout: Option<GoDuration>, status: &LongTaskStatus) -> String {
    let allowed = timeout.map(|timeout| format!(", segment.heartbeatTimeout is {timeout}")).unwrap_or_default();
    let silent = silent.map_or_else(|| "too long".to_owned(), |silent| silent.to_string());
    let progress = status.progress.as_ref().and_then(|progress| progress.summary.as_deref());
    let last = progress.map(|summary| format!("; last word: {summary}")).unwrap_or_default();
    format!("no sign of life for {silent}{allowed}{last}")
}
