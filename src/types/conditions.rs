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

/// Says that a condition holds. Its transition time moves only if it did not before.
pub fn mark_true(
    conditions: &mut Vec<Condition>,
    type_: impl Into<&'static str>,
    reason: impl Into<String>,
    message: &str,
    now: Timestamp,
) {
    let name = type_.into();
    match conditions.iter_mut().find(|condition| condition.type_ == name) {
        Some(condition) => update(condition, "True", reason.into(), message, now),
        None => conditions.push(Condition {
            type_: name.to_owned(),
            status: "True".to_owned(),
            reason: reason.into(),
            message: truncate(message, LONGEST_MESSAGE).to_owned(),
            last_transition_time: Time(now),
            observed_generation: None,
        }),
    }
}

/// Says that a condition does not hold. Its transition time moves only if it did before.
///
/// One that never held is not added: a list of everything that is fine helps nobody.
pub fn mark_false(
    conditions: &mut [Condition],
    type_: impl Into<&'static str>,
    reason: impl Into<String>,
    message: &str,
    now: Timestamp,
) {
    let name = type_.into();
    if let Some(condition) = conditions.iter_mut().find(|condition| condition.type_ == name) {
        update(condition, "False", reason.into(), message, now);
    }
}

fn update(condition: &mut Condition, status: &str, reason: String, message: &str, now: Timestamp) {
    if condition.status != status {
        condition.last_transition_time = Time(now);
        status.clone_into(&mut condition.status);
    }
    condition.reason = reason;
    truncate(message, LONGEST_MESSAGE).clone_into(&mut condition.message);
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
        mark_true(&mut conditions, "Blocked", "QuotaExceeded", "a", at(1));
        mark_true(&mut conditions, "Blocked", "QuotaExceeded", "b", at(2));
        assert_eq!((conditions[0].last_transition_time.0, conditions[0].message.as_str()), (at(1), "b"));
        mark_false(&mut conditions, "Blocked", "Created", "", at(3));
        assert_eq!(conditions[0].last_transition_time.0, at(3));
        assert!(!is_condition_true(&conditions, "Blocked"));
    }

    #[test]
    fn what_never_held_is_not_listed() {
        let mut conditions = Vec::new();
        mark_false(&mut conditions, "Blocked", "Created", "", at(1));
        assert!(conditions.is_empty());
    }

    #[test]
    fn a_long_message_is_cut_between_two_characters() {
        let mut conditions = Vec::new();
        mark_true(&mut conditions, "Blocked", "Refused", &"ä".repeat(400), at(1));
        assert_eq!(conditions[0].message.len(), 512);
    }
}
