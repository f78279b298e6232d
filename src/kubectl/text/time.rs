//! Times as people read them.

use jiff::Timestamp;

use crate::types::time::seconds_between;

/// A length of time, in the detail that people want: as kubectl prints ages.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86400);
    let two = |large: i64, unit: &str, small: i64, of: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit}{small}{of}") }
    };
    match seconds {
        0..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

/// How long ago that was.
pub(super) fn ago(then: Timestamp, now: Timestamp) -> String {
    format!("{} ago", span(seconds_between(then, now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_the_detail_that_people_want() {
        for (seconds, text) in [
            (-1, "0s"),
            (119, "119s"),
            (150, "2m30s"),
            (180, "3m"),
            (3661, "61m"),
            (11_100, "3h5m"),
            (30_000, "8h"),
            (180_000, "2d2h"),
            (864_000, "10d"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }
}
