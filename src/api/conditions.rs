//! Conditions: the machine interface of a status.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use strum::{EnumIter, IntoEnumIterator, IntoStaticStr};

/// The conditions that a task can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumIter, IntoStaticStr)]
pub enum ConditionType {
    /// The program is done.
    Complete,
    /// The task ended without success.
    Failed,
    /// The task ended, one way or another; the reason says which.
    Finished,
    /// No pod runs, on the user's wish.
    Suspended,
    /// The next pod cannot be created or started; the message says why.
    Blocked,
    /// No checkpoint was recorded for longer than `checkpoint.staleAfter`.
    CheckpointStale,
    /// A pod runs past every limit that should have ended it.
    AttemptOverdue,
    /// The API server refuses a write that the task needs: to stop a pod, to delete or to release it.
    WriteRefused,
    /// Work goes on; for GitOps tools.
    Reconciling,
    /// A human must look; for GitOps tools. Only with Failed.
    Stalled,
}

impl ConditionType {
    /// Those that somebody may have to look after while the task goes on.
    pub fn troubles() -> impl Iterator<Item = Self> {
        Self::iter().filter(|type_| match type_ {
            Self::Blocked | Self::CheckpointStale | Self::AttemptOverdue | Self::WriteRefused => true,
            Self::Complete | Self::Failed | Self::Finished | Self::Suspended | Self::Reconciling | Self::Stalled => {
                false
            }
        })
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The longest message of a condition, in bytes; longer ones are cut.
const LONGEST_MESSAGE: usize = 512;

/// The condition of that type, if the list has it.
pub fn find_condition(conditions: &[Condition], type_: ConditionType) -> Option<&Condition> {
    let name = type_.to_string();
    conditions.iter().find(|condition| condition.type_ == name)
}

/// Whether the list says that this condition holds.
pub fn is_condition_true(conditions: &[Condition], type_: ConditionType) -> bool {
    find_condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Sets a condition in place. Its transition time moves only when it turns from true to false or back.
///
/// A condition that does not hold and never did is not added: a list of everything that is fine helps nobody.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let (reason, message) = (reason.to_owned(), cut(message, LONGEST_MESSAGE).to_owned());
    let name = type_.to_string();
    match conditions.iter_mut().find(|condition| condition.type_ == name) {
        Some(condition) => {
            if condition.status != status {
                condition.last_transition_time = Time(now);
                status.clone_into(&mut condition.status);
            }
            condition.reason = reason;
            condition.message = message;
        }
        None if holds => conditions.push(Condition {
            type_: name,
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: Time(now),
            observed_generation: None,
        }),
        None => {}
    }
}

/// The longest beginning of `text` that has at most `limit` bytes when written as JSON.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    let mut written = 0;
    let end = text.char_indices().find(|(_, c)| {
        written += written_bytes(*c);
        written > limit
    });
    end.map_or(text, |(end, _)| &text[..end])
}

/// The size of a character in a JSON string: programs print control characters, which take six bytes each there.
fn written_bytes(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        '\0'..'\u{20}' => 6,
        _ => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn the_transition_time_moves_only_when_the_status_turns() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, ConditionType::Blocked, true, "QuotaExceeded", "a", at(1));
        set_condition(&mut conditions, ConditionType::Blocked, true, "QuotaExceeded", "b", at(2));
        assert_eq!((conditions[0].last_transition_time.0, conditions[0].message.as_str()), (at(1), "b"));
        set_condition(&mut conditions, ConditionType::Blocked, false, "Created", "", at(3));
        assert_eq!(conditions[0].last_transition_time.0, at(3));
        assert!(!is_condition_true(&conditions, ConditionType::Blocked));
    }

    #[test]
    fn what_never_held_is_not_listed() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, ConditionType::Blocked, false, "Created", "", at(1));
        assert!(conditions.is_empty());
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, ConditionType::Blocked, true, "Refused", &"ä".repeat(400), at(1));
        assert_eq!(conditions[0].message.len(), 512);
        assert_eq!(cut("äöü", 3), "ä");
        assert_eq!((cut("abc", 3), cut("abc", 2), cut("", 0)), ("abc", "ab", ""));
    }

    #[test]
    fn a_cut_text_is_short_in_json_as_well() {
        for c in ["\u{1}", "\"", "\\", "\n", "\u{1b}", "ä", "\u{2028}", "\u{7f}"] {
            let written = serde_json::to_string(cut(&c.repeat(100), 60)).expect("a text").len() - 2;
            assert!((57..=60).contains(&written), "{c:?}: {written}");
        }
    }
}
