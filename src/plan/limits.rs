//! The limits of a run, and how they cut a segment short.

use jiff::Timestamp;

use super::time::after;
use crate::api::{ConditionType, FailureReason, GoDuration, Limit, Limits, LongTaskStatus, is_condition_true};

/// Until when a segment may run, and which limit cuts it short.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub(super) end: Timestamp,
    pub(super) cut_by: Option<Limit>,
}

/// The slice of a segment whose main container starts at `start`: what comes first of its duration in seconds and the
/// limits.
pub(super) fn slice_from(start: Timestamp, duration: i64, limits: &Limits, status: &LongTaskStatus) -> Slice {
    let whole = Slice { end: after(start, duration.max(0)), cut_by: None };
    let active_left = |limit: GoDuration| limit.as_secs().saturating_sub(status.active_seconds);
    let cuts = [
        (limits.active_time.map(|limit| after(start, active_left(limit))), Limit::ActiveTime),
        (wall_time_end(limits, status), Limit::WallTime),
        (limits.deadline, Limit::Deadline),
    ];
    cuts.into_iter().filter_map(|(end, limit)| Some((end?, limit))).fold(whole, |slice, (end, limit)| {
        if end < slice.end { Slice { end: end.max(start), cut_by: Some(limit) } } else { slice }
    })
}

/// The limit that is used up, if one is.
pub(super) fn time_limit_reached(limits: &Limits, status: &LongTaskStatus, now: Timestamp) -> Option<Limit> {
    let has_passed = |end: Option<Timestamp>| end.is_some_and(|end| end <= now);
    if limits.active_time.is_some_and(|limit| limit.as_secs() <= status.active_seconds) {
        Some(Limit::ActiveTime)
    } else if has_passed(wall_time_end(limits, status)) {
        Some(Limit::WallTime)
    } else if has_passed(limits.deadline) {
        Some(Limit::Deadline)
    } else {
        None
    }
}

/// Whether any limit forbids another attempt.
pub(super) fn is_reached(limits: &Limits, status: &LongTaskStatus, now: Timestamp) -> bool {
    time_limit_reached(limits, status, now).is_some() || count_limit_reached(limits, status).is_some()
}

/// The limit that one more attempt would pass, if it would.
pub(super) fn count_limit_reached(limits: &Limits, status: &LongTaskStatus) -> Option<FailureReason> {
    if limits.segments.is_some_and(|limit| status.segment > i64::from(limit)) {
        Some(FailureReason::SegmentLimitReached)
    } else if limits.attempts.is_some_and(|limit| status.totals.attempts >= i64::from(limit)) {
        Some(FailureReason::AttemptLimitReached)
    } else {
        None
    }
}

/// The next moment at which a limit of time can be reached while nothing runs.
pub(super) fn next_limit(limits: &Limits, status: &LongTaskStatus) -> Option<Timestamp> {
    [wall_time_end(limits, status), limits.deadline].into_iter().flatten().min()
}

/// When the wall time is used up; never while the user keeps the task suspended.
fn wall_time_end(limits: &Limits, status: &LongTaskStatus) -> Option<Timestamp> {
    if is_condition_true(&status.conditions, ConditionType::Suspended) {
        return None;
    }
    let allowed = limits.wall_time?.as_secs().saturating_add(status.run.suspended_seconds);
    Some(after(status.run.start_time?, allowed))
}
