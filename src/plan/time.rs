//! Arithmetic with timestamps that never overflows.

use jiff::Timestamp;

/// The moment that many seconds after `time`; the end of time at the most.
pub(super) fn after(time: Timestamp, seconds: i64) -> Timestamp {
    Timestamp::from_second(time.as_second().saturating_add(seconds)).unwrap_or(Timestamp::MAX)
}

/// The whole seconds from one moment to a later one; negative when it is not later.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second().saturating_sub(from.as_second())
}
