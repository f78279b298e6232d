//! Arithmetic with timestamps that never overflows.

use std::time::Duration;

use jiff::Timestamp;

/// The moment that many seconds after `time`, in whole seconds; at most the end of time, at least its beginning.
pub fn after(time: Timestamp, seconds: i64) -> Timestamp {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let second = time.as_second().saturating_add(seconds).clamp(first, last);
    Timestamp::from_second(second).unwrap_or(time)
}

/// The whole seconds from one moment to a later one; negative when it is not later.
pub fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second().saturating_sub(from.as_second())
}

/// How long it is from one moment to a later one; zero when it is not later.
pub fn duration_between(from: Timestamp, to: Timestamp) -> Duration {
    Duration::try_from(to.duration_since(from)).unwrap_or(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_stay_within_time() {
        let epoch = Timestamp::UNIX_EPOCH;
        assert_eq!(after(epoch, 5).as_second(), 5);
        assert_eq!(after(epoch, i64::MAX).as_second(), Timestamp::MAX.as_second());
        assert_eq!(after(epoch, i64::MIN).as_second(), Timestamp::MIN.as_second());
        assert_eq!(after(Timestamp::MAX, 0).subsec_nanosecond(), 0, "whole seconds, as the API keeps them");
    }

    #[test]
    fn differences_can_be_negative() {
        assert_eq!(seconds_between(after(Timestamp::UNIX_EPOCH, 5), Timestamp::UNIX_EPOCH), -5);
    }

    #[test]
    fn a_duration_is_never_negative() {
        let (epoch, later) = (Timestamp::UNIX_EPOCH, after(Timestamp::UNIX_EPOCH, 5));
        assert_eq!(duration_between(epoch, later), Duration::from_secs(5));
        assert_eq!(duration_between(later, epoch), Duration::ZERO);
    }
}
