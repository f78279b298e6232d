//! What a task takes at most and at least; what is brought within that is noted.

use crate::types::GoDuration;

/// The longest time that is written as usual: its hours have five digits, which is all that the grammar takes.
pub(super) const LONGEST: GoDuration = GoDuration::from_secs(99_999 * 3600 + 3599);
/// A number of seconds as the nearest duration that a task takes.
pub(super) fn clamped(
    field: &str,
    seconds: i64,
    shortest: GoDuration,
    longest: GoDuration,
    notes: &mut Vec<String>,
) -> GoDuration {
    let duration = GoDuration::from_secs(seconds).clamp(shortest, longest);
    if duration.as_secs() != seconds {
        let bound = if duration == shortest { "least" } else { "most" };
        notes.push(format!("{field}: {seconds} is {duration} now, the {bound} that a task takes"));
    }
    duration
}

/// Cuts a list to what a task takes.
pub(super) fn cut<T>(list: &mut Vec<T>, most: usize, field: &str, notes: &mut Vec<String>) {
    if list.len() > most {
        notes.push(format!("{field}: {} are dropped; a task takes {most}", list.len() - most));
        list.truncate(most);
    }
}
