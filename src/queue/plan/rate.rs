//! How fast tasks are called: the generic cell rate algorithm, in microseconds.

use jiff::Timestamp;

use crate::api::queue::Rate;

/// Slots that are closer together than that go out together: a status is written ten times a second at most.
const TOGETHER: i64 = 100_000;

/// The rhythm of calls that a rate gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rhythm {
    /// The time between two calls, in microseconds.
    interval: i64,
    /// How many calls may go out at once.
    at_once: i64,
}

impl Rhythm {
    /// The rhythm of a rate.
    pub fn of(rate: &Rate) -> Self {
        let starts = i64::from(rate.starts).max(1);
        let per = rate.per.as_secs().max(1).saturating_mul(1_000_000);
        // Rounded up, so that rounding never makes one more.
        let interval = per.div_euclid(starts) + i64::from(per.rem_euclid(starts) > 0);
        let together = TOGETHER.div_euclid(interval);
        Self { interval, at_once: i64::from(rate.burst).max(together).max(1) }
    }

    /// The most calls in any time of that many microseconds.
    pub fn most_in(self, micros: i64) -> i64 {
        micros.div_euclid(self.interval) + i64::from(micros.rem_euclid(self.interval) > 0) + self.at_once - 1
    }

    /// What is recorded of earlier calls, as far as it binds this rate: another one may have been recorded under.
    fn within_bounds(self, arrival: Timestamp, now: Timestamp) -> Timestamp {
        let latest = now.as_microsecond().saturating_add(self.interval.saturating_mul(self.at_once));
        at(arrival.as_microsecond().min(latest)).unwrap_or(arrival)
    }

    /// How many calls may go out now.
    fn slots(self, arrival: Option<Timestamp>, now: Timestamp) -> usize {
        let now = now.as_microsecond();
        let next = arrival.map_or(now, |arrival| arrival.as_microsecond().max(now));
        let ahead = self.interval.saturating_mul(self.at_once - 1);
        let left = now.saturating_add(ahead).saturating_sub(next);
        if left < 0 { 0 } else { usize::try_from(left / self.interval + 1).unwrap_or(0) }
    }

    /// What to record after so many calls.
    fn after(self, arrival: Option<Timestamp>, now: Timestamp, calls: usize) -> Option<Timestamp> {
        let calls = i64::try_from(calls).unwrap_or(i64::MAX);
        if calls == 0 {
            return arrival;
        }
        let next = arrival.map_or(now, |arrival| arrival.max(now)).as_microsecond();
        at(next.saturating_add(self.interval.saturating_mul(calls)))
    }

    /// When the next call may go out.
    fn next_slot(self, arrival: Option<Timestamp>) -> Option<Timestamp> {
        let ahead = self.interval.saturating_mul(self.at_once - 1);
        at(arrival?.as_microsecond().saturating_sub(ahead))
    }
}

/// What a rate allows now: as much as there is room for where there is none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    rhythm: Option<Rhythm>,
    arrival: Option<Timestamp>,
    now: Timestamp,
}

impl Pace {
    /// What a rate allows after the calls that are recorded.
    pub(super) fn of(rate: Option<&Rate>, recorded: Option<Timestamp>, now: Timestamp) -> Self {
        let rhythm = rate.map(Rhythm::of);
        let arrival = rhythm.zip(recorded).map(|(rhythm, recorded)| rhythm.within_bounds(recorded, now));
        Self { rhythm, arrival, now }
    }

    /// How many calls may go out now.
    pub(super) fn slots(self) -> usize {
        self.rhythm.map_or(usize::MAX, |rhythm| rhythm.slots(self.arrival, self.now))
    }

    /// What it allows after so many calls.
    pub(super) fn after(self, calls: usize) -> Self {
        let arrival = self.rhythm.and_then(|rhythm| rhythm.after(self.arrival, self.now, calls));
        Self { arrival, ..self }
    }

    /// What is recorded of it.
    pub(super) fn next_call_time(self) -> Option<Timestamp> {
        self.arrival
    }

    /// When the next call may go out, if a rate has to be waited for.
    pub(super) fn next_slot(self) -> Option<Timestamp> {
        self.rhythm?.next_slot(self.arrival).filter(|slot| *slot > self.now)
    }
}

fn at(micros: i64) -> Option<Timestamp> {
    Timestamp::from_microsecond(micros).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::GoDuration;

    fn rhythm(starts: i32, per: i64, burst: i32) -> Rhythm {
        Rhythm::of(&Rate { starts, per: GoDuration::from_secs(per), burst })
    }

    #[test]
    fn calls_are_spread_evenly_and_a_pause_saves_up_the_burst() {
        let now = at(1_000_000_000).expect("a time");
        let even = rhythm(60, 60, 1);
        assert_eq!(even.slots(None, now), 1);
        let after = even.after(None, now, 1);
        assert_eq!(after, at(1_001_000_000));
        assert_eq!((even.slots(after, now), even.next_slot(after)), (0, after));
        let burst = rhythm(60, 60, 5);
        assert_eq!(burst.slots(None, now), 5);
        let after = burst.after(None, now, 5);
        assert_eq!((burst.slots(after, now), burst.next_slot(after)), (0, at(1_001_000_000)));
    }

    #[test]
    fn of_more_than_ten_a_second_those_of_a_tenth_go_out_together() {
        assert_eq!(rhythm(100, 1, 1).slots(None, at(0).expect("a time")), 10);
        assert_eq!(rhythm(10, 1, 1).slots(None, at(0).expect("a time")), 1);
    }

    #[test]
    fn a_rate_that_is_raised_is_not_bound_by_the_slow_one() {
        let now = at(0).expect("a time");
        let slow = rhythm(1, 86_400, 1).after(None, now, 1).expect("a time");
        let fast = rhythm(60, 60, 1);
        assert_eq!(fast.next_slot(Some(fast.within_bounds(slow, now))), at(1_000_000));
    }
}
