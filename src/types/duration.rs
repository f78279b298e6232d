//! The rules of durations in the API, and of pairs of them.

use serde_json::Value;

use super::{
    GoDuration,
    cel::{rule, rule_at},
};

const PATTERN: &str = GoDuration::PATTERN;

/// The rule of a duration field: the grammar and the bounds in one, so that a wrong value gets one message.
pub(crate) fn duration_between(shortest: &str, longest: Option<&str>) -> Value {
    let (no_longer, bound) = longest.map_or_else(Default::default, |longest| {
        (format!(" && duration(self) <= duration('{longest}')"), format!(" and at most {longest}"))
    });
    let condition = format!("self.matches('{PATTERN}') && duration(self) >= duration('{shortest}'){no_longer}");
    let message =
        format!("must be a duration such as 90s, 15m or 1h30m (write 72h, not 3d), at least {shortest}{bound}");
    rule(&condition, &message)
}

/// The rule of an object with two durations, one of which bounds the other. It is skipped where a field is malformed,
/// which has a message of its own, and where one is absent: the server checks rules against a default of `{}` before it
/// fills in the fields.
pub(crate) fn longest_not_below_shortest(longest: &str, shortest: &str) -> Value {
    let is_sound = |field: &str| format!("has(self.{field}) && self.{field}.matches('{PATTERN}')");
    rule_at(
        &format!(".{longest}"),
        &format!(
            "!({} && {}) || duration(self.{longest}) >= duration(self.{shortest})",
            is_sound(longest),
            is_sound(shortest)
        ),
        &format!("must not be less than {shortest}"),
    )
}

/// The condition that `checkpoint.staleAfter` exceeds a segment with its grace period. It is skipped where a duration is
/// absent, or malformed, which has a message of its own.
pub(crate) fn stale_after_rule() -> String {
    let fields = ["checkpoint.staleAfter", "segment.duration", "segment.gracePeriod"];
    let are_sound: Vec<_> =
        fields.iter().map(|field| format!("has(self.{field}) && self.{field}.matches('{PATTERN}')")).collect();
    format!(
        "!({}) || duration(self.checkpoint.staleAfter) > duration(self.segment.duration) + duration(self.segment.gracePeriod)",
        are_sound.join(" && ")
    )
}

/// The condition that `checkpoint.staleAfter` exceeds the interval of live reports. It is skipped where a duration is absent
/// or malformed, and without live reports.
pub(crate) fn stale_after_live_rule() -> String {
    let fields = ["checkpoint.staleAfter", "reporting.interval"];
    let are_sound: Vec<_> =
        fields.iter().map(|field| format!("has(self.{field}) && self.{field}.matches('{PATTERN}')")).collect();
    format!(
        "!(has(self.reporting.mode) && self.reporting.mode == 'Live' && {}) || duration(self.checkpoint.staleAfter) > duration(self.reporting.interval)",
        are_sound.join(" && ")
    )
}
