//! Durations as users write them: `90s`, `15m`, `1h30m`.

use std::{borrow::Cow, fmt, str::FromStr};

use jiff::SignedDuration;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A duration in whole seconds, written as in Go: `90s`, `15m`, `1h30m`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GoDuration(i64);

impl GoDuration {
    /// The grammar as a regular expression, after Gateway API's GEP-2257 without milliseconds: no sign, no fraction, no
    /// day.
    pub const PATTERN: &str = "^([0-9]{1,5}(h|m|s)){1,3}$";

    /// A duration of that many seconds; a negative number counts as zero.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(if seconds < 0 { 0 } else { seconds })
    }

    /// A duration of that many minutes.
    pub const fn from_mins(minutes: i64) -> Self {
        Self::from_secs(minutes.saturating_mul(60))
    }

    /// A duration of that many hours.
    pub const fn from_hours(hours: i64) -> Self {
        Self::from_secs(hours.saturating_mul(3600))
    }

    /// The whole seconds, never negative.
    pub const fn as_secs(self) -> i64 {
        self.0
    }

    /// The same as a distance between two timestamps.
    pub const fn as_signed(self) -> SignedDuration {
        SignedDuration::from_secs(self.0)
    }
}

/// A text that is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a duration: write whole numbers with h, m or s, such as 90s, 15m or 1h30m (72h, not 3d)")]
pub struct NotADuration(String);

impl FromStr for GoDuration {
    type Err = NotADuration;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_a_duration = || NotADuration(text.chars().take(32).collect());
        let (mut seconds, mut digits, mut terms) = (0_i64, String::new(), 0);
        for c in text.chars() {
            let unit = match c {
                '0'..='9' if digits.len() < 5 => {
                    digits.push(c);
                    continue;
                }
                'h' => 3600,
                'm' => 60,
                's' => 1,
                _ => return Err(not_a_duration()),
            };
            let number: i64 = digits.parse().map_err(|_| not_a_duration())?;
            seconds += number * unit;
            digits.clear();
            terms += 1;
        }
        if digits.is_empty() && (1..=3).contains(&terms) { Ok(Self(seconds)) } else { Err(not_a_duration()) }
    }
}

impl TryFrom<String> for GoDuration {
    type Error = NotADuration;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<GoDuration> for String {
    fn from(duration: GoDuration) -> Self {
        duration.to_string()
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (hours, minutes, seconds) = (self.0 / 3600, self.0 / 60 % 60, self.0 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if minutes > 0 {
            write!(f, "{minutes}m")?;
        }
        if seconds > 0 || self.0 == 0 {
            write!(f, "{seconds}s")?;
        }
        Ok(())
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": 18 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_writes_them() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("1h30m", 5400), ("1h2m3s", 3723), ("0s", 0), ("1h1h", 7200)]
        {
            assert_eq!(text.parse(), Ok(GoDuration(seconds)), "{text}");
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "3d", "-5s", "1.5h", "90", "s", "1h 30m", "123456s", "1h1h1h1h", "5sx", "٣s"] {
            assert!(text.parse::<GoDuration>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_duration_is_printed_in_the_largest_units() {
        for (seconds, text) in [(5400, "1h30m"), (3600, "1h"), (61, "1m1s"), (0, "0s"), (3601, "1h1s")] {
            assert_eq!(GoDuration(seconds).to_string(), text);
            assert_eq!(text.parse(), Ok(GoDuration(seconds)));
        }
    }
}
