//! Conditions: the machine interface of a status, of whichever kind.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::truncate;

/// The longest message of a condition, in bytes; longer ones are cut.
const LONGEST_MESSAGE: usize = 512;

/// The condition of that type, if the list has it.
pub fn find_condition(conditions: &[Condition], type_: impl Into<&'static str>) -> Option<&Condition> {
    let name = type_.into();
    conditions.iter().find(|condition| condition.type_ == name)
}

/// Whether the list says that this condition holds.
pub fn is_condition_true(conditions: &[Condition], type_: impl Into<&'static str>) -> bool {
    find_condition(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Sets a condition in place. Its transition time moves only when it turns from true to false or back.
///
/// A condition that does not hold and never did is not added.
pub fn set_condition(
    conditions: &mut Vec<Condition>,
    type_: impl Into<&'static str>,
    holds: bool,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    let status = if holds { "True" } else { "False" };
    let (reason, message) = (reason.to_owned(), truncate(message, LONGEST_MESSAGE).to_owned());
    let name = type_.into();
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
            type_: name.to_owned(),
            status: status.to_owned(),
            reason,
            message,
            last_transition_time: Time(now),
            observed_generation: None,
        }),
        None => {}
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
        set_condition(&mut conditions, "Blocked", true, "QuotaExceeded", "a", at(1));
        set_condition(&mut conditions, "Blocked", true, "QuotaExceeded", "b", at(2));
        assert_eq!((conditions[0].last_transition_time.0, conditions[0].message.as_str()), (at(1), "b"));
        set_condition(&mut conditions, "Blocked", false, "Created", "", at(3));
        assert_eq!(conditions[0].last_transition_time.0, at(3));
        assert!(!is_condition_true(&conditions, "Blocked"));
    }

    #[test]
    fn what_never_held_is_not_listed() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, "Blocked", false, "Created", "", at(1));
        assert!(conditions.is_empty());
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let mut conditions = Vec::new();
        set_condition(&mut conditions, "Blocked", true, "Refused", &"ä".repeat(400), at(1));
        assert_eq!(conditions[0].message.len(), 512);
    }
}
