//! How long, or until when.

use jiff::Timestamp;

use crate::types::{GoDuration, time::after};

/// A delay that the program asks for: a duration, or a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    /// That long from when the attempt's end is recorded.
    For(GoDuration),
    /// Until then.
    Until(Timestamp),
}

impl Delay {
    /// When the delay is over, at most `longest` from now.
    pub fn end(self, now: Timestamp, longest: GoDuration) -> Timestamp {
        let end = match self {
            Self::For(duration) => after(now, duration.as_secs()),
            Self::Until(time) => time,
        };
        end.min(after(now, longest.as_secs())).max(now)
    }
}
