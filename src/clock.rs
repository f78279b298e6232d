//! The only wall clock of the program.
//!
//! Everything that decides gets the time handed in, so that it can be tested at any moment. Time is cut to whole
//! seconds here, once: the API's timestamps are whole seconds, and a `now` with a fraction would never equal its own
//! round trip through a status, which would then be written for ever.

use std::{fmt, sync::Arc, time::Duration};

use jiff::Timestamp;

/// Tells the time, and how long it is until another one.
///
/// The default reads the machine's clock; [`Clock::from_fn`] makes one that a test drives.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The machine's clock.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that may ask")]
    pub fn wall() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock that tells whatever `tell` tells.
    pub fn from_fn(tell: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    /// The current time, cut to whole seconds.
    pub fn now(&self) -> Timestamp {
        whole_seconds((self.0)())
    }

    /// The current time, cut to microseconds, for what is faster than the API's timestamps.
    pub fn precise(&self) -> Timestamp {
        let time = (self.0)();
        Timestamp::from_microsecond(time.as_microsecond()).unwrap_or(time)
    }

    /// How long it is until `then`, to the nanosecond; zero when it has passed.
    ///
    /// Not the difference to [`Clock::now`]: a timer set from a cut time would ring up to a second late.
    pub fn until(&self, then: Timestamp) -> Duration {
        Duration::try_from(then.duration_since((self.0)())).unwrap_or(Duration::ZERO)
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({})", (self.0)())
    }
}

fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clock_at(time: &str) -> Clock {
        let time: Timestamp = time.parse().expect("a timestamp");
        Clock::from_fn(move || time)
    }

    #[test]
    fn now_has_no_fraction() {
        assert_eq!(clock_at("2026-11-24T10:00:00.9Z").now().to_string(), "2026-11-24T10:00:00Z");
    }

    #[test]
    fn where_a_second_is_long_a_microsecond_is_told() {
        assert_eq!(clock_at("2026-11-24T10:00:00.1234567Z").precise().to_string(), "2026-11-24T10:00:00.123456Z");
    }

    #[test]
    fn a_timer_counts_from_the_uncut_time() {
        let ten_past = "2026-11-24T10:00:10Z".parse().expect("a timestamp");
        assert_eq!(clock_at("2026-11-24T10:00:00.9Z").until(ten_past), Duration::from_millis(9100));
    }

    #[test]
    fn the_past_is_no_time_away() {
        let before = "2026-11-24T09:00:00Z".parse().expect("a timestamp");
        assert_eq!(clock_at("2026-11-24T10:00:00Z").until(before), Duration::ZERO);
    }
}
