//! The limits of a run, and how they cut a segment short.

use jiff::Timestamp;

use super::observed::PodFacts;
use crate::{
    api::task::{ConditionType, FailureReason, Limit, Limits, LongTaskSpec, LongTaskStatus},
    types::{GoDuration, is_condition_true, time::after},
};

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

/// The slice of a pod whose main container started then. Its length is the one that the pod was made with: a change of
/// `segment.duration` takes effect at the next attempt.
pub(super) fn slice_of(pod: &PodFacts, started_at: Timestamp, spec: &LongTaskSpec, status: &LongTaskStatus) -> Slice {
    let duration = pod.segment_seconds.unwrap_or(spec.segment.duration.as_secs());
    slice_from(started_at, duration, &spec.limits, status)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::mark_true;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn active_time(seconds: i64) -> Limits {
        Limits { active_time: Some(GoDuration::from_secs(seconds)), ..Limits::default() }
    }

    fn wall_time(seconds: i64) -> Limits {
        Limits { wall_time: Some(GoDuration::from_secs(seconds)), ..Limits::default() }
    }

    /// A status of a run that started at 100 and ran for 30 seconds.
    fn status() -> LongTaskStatus {
        let mut status = LongTaskStatus { active_seconds: 30, segment: 3, ..LongTaskStatus::default() };
        status.run.start_time = Some(at(100));
        status.totals.attempts = 4;
        status
    }

    #[test]
    fn a_slice_ends_with_what_comes_first() {
        let slice = |limits: Limits| slice_from(at(200), 60, &limits, &status());
        let whole = Slice { end: at(260), cut_by: None };
        assert_eq!(slice(Limits::default()), whole);
        assert_eq!(slice(active_time(90)), whole, "just enough is enough");
        let cut = |end, limit| Slice { end: at(end), cut_by: Some(limit) };
        assert_eq!(slice(active_time(89)), cut(259, Limit::ActiveTime));
        assert_eq!(slice(wall_time(150)), cut(250, Limit::WallTime));
        assert_eq!(slice(Limits { deadline: Some(at(240)), ..Limits::default() }), cut(240, Limit::Deadline));
    }

    #[test]
    fn a_slice_never_ends_before_it_starts() {
        let limits = Limits { deadline: Some(at(0)), ..active_time(10) };
        assert_eq!(slice_from(at(200), 60, &limits, &status()).end, at(200));
        assert_eq!(slice_from(at(200), -5, &Limits::default(), &status()).end, at(200));
    }

    #[test]
    fn a_limit_of_time_is_reached_on_the_second() {
        let reached = |limits: Limits, now| time_limit_reached(&limits, &status(), at(now));
        assert_eq!(reached(active_time(30), 0), Some(Limit::ActiveTime));
        assert_eq!(reached(active_time(31), 0), None);
        let wall = || wall_time(50);
        assert_eq!((reached(wall(), 149), reached(wall(), 150)), (None, Some(Limit::WallTime)));
        let deadline = || Limits { deadline: Some(at(150)), ..Limits::default() };
        assert_eq!((reached(deadline(), 149), reached(deadline(), 150)), (None, Some(Limit::Deadline)));
    }

    #[test]
    fn counts_are_reached_when_one_more_would_be_too_many() {
        let reached =
            |segments, attempts| count_limit_reached(&Limits { segments, attempts, ..Limits::default() }, &status());
        assert_eq!((reached(Some(3), None), reached(Some(2), None)), (None, Some(FailureReason::SegmentLimitReached)));
        assert_eq!((reached(None, Some(5)), reached(None, Some(4))), (None, Some(FailureReason::AttemptLimitReached)));
    }

    #[test]
    fn wall_time_stands_still_while_suspended() {
        let limits = wall_time(50);
        let mut status = status();
        assert_eq!(next_limit(&limits, &status), Some(at(150)));
        status.run.suspended_seconds = 7;
        assert_eq!(next_limit(&limits, &status), Some(at(157)));
        mark_true(&mut status.conditions, ConditionType::Suspended, "SuspendedByUser", "", at(120));
        assert_eq!(next_limit(&limits, &status), None);
        assert_eq!(next_limit(&Limits { deadline: Some(at(1)), ..limits }, &status), Some(at(1)));
    }
}
