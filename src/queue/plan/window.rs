//! How the turns of the last time ended, in six parts, so that a status with thousands of turns stays small.

use jiff::Timestamp;

use crate::{
    api::queue::{Breaker, Bucket},
    types::time::after,
};

const PARTS: i64 = 6;
/// What stands for several tasks.
const SEVERAL: &str = "*";

/// The window of a breaker at some time.
pub(super) struct Window {
    /// The length of a part, in seconds.
    part: i64,
    /// What ended before this is over and done with.
    start: Timestamp,
    now: Timestamp,
}

/// How many turns ended how.
pub(super) struct Sum {
    pub(super) failed: i64,
    pub(super) healthy: i64,
    /// Whether the failures are those of two tasks or more.
    pub(super) is_of_several: bool,
}

impl Window {
    pub(super) fn of(spec: &Breaker, now: Timestamp) -> Self {
        let length = spec.window.as_secs().max(1);
        Self { part: length.saturating_add(PARTS - 1).div_euclid(PARTS), start: after(now, -length), now }
    }

    /// Counts the end of a turn, and forgets what is over.
    pub(super) fn count(&self, buckets: &mut Vec<Bucket>, task: &str, ended: Timestamp, has_failed: bool) {
        buckets.retain(|bucket| bucket.time > self.start);
        // Clocks differ.
        let time = self.begin_of(ended.min(self.now));
        if time <= self.start {
            return;
        }
        let place = buckets.partition_point(|bucket| bucket.time < time);
        if buckets.get(place).is_none_or(|bucket| bucket.time != time) {
            buckets.insert(place, Bucket { time, failed: 0, healthy: 0, task: String::new() });
        }
        let Some(bucket) = buckets.get_mut(place) else { return };
        if has_failed {
            bucket.failed = bucket.failed.saturating_add(1);
            bucket.task = joined(&bucket.task, task);
        } else {
            bucket.healthy = bucket.healthy.saturating_add(1);
        }
    }

    pub(super) fn sum(&self, buckets: &[Bucket]) -> Sum {
        let mut sum = Sum { failed: 0, healthy: 0, is_of_several: false };
        let mut of = String::new();
        for bucket in buckets.iter().filter(|bucket| bucket.time > self.start) {
            sum.failed = sum.failed.saturating_add(bucket.failed);
            sum.healthy = sum.healthy.saturating_add(bucket.healthy);
            of = joined(&of, &bucket.task);
        }
        sum.is_of_several = of == SEVERAL;
        sum
    }

    /// When the part begins in which this moment is.
    fn begin_of(&self, moment: Timestamp) -> Timestamp {
        let seconds = moment.as_second();
        Timestamp::from_second(seconds - seconds.rem_euclid(self.part)).unwrap_or(moment)
    }
}

/// Whose failures they are, with one more.
fn joined(known: &str, more: &str) -> String {
    match (known, more) {
        ("", one) | (one, "") => one.to_owned(),
        (one, other) if one == other => one.to_owned(),
        _ => SEVERAL.to_owned(),
    }
}
