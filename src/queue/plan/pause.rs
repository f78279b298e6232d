//! The user's pause: nobody is called.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::steps::{QueueEvent, QueueEventReason};
use crate::{
    api::queue::{QueueConditionReason, QueueConditionType},
    types::{is_condition_true, mark_false, mark_true, time::after},
};

/// What is new about a pause.
pub(super) fn news(suspend: bool, before: &[Condition]) -> Option<QueueEvent> {
    let (reason, note) = match (suspend, is_condition_true(before, QueueConditionType::Suspended)) {
        (true, false) => (
            QueueEventReason::Suspended,
            "Suspended by the user: nobody is called, and who runs, runs on. Set spec.suspend to false to go on.",
        ),
        (false, true) => (QueueEventReason::Resumed, "Resumed by the user."),
        (true, true) | (false, false) => return None,
    };
    Some(QueueEvent { reason, note: note.to_owned() })
}

/// The conditions that follow.
pub(super) fn conditions(suspend: bool, before: Vec<Condition>, generation: i64, now: Timestamp) -> Vec<Condition> {
    let (mut conditions, suspended) = (before, QueueConditionType::Suspended);
    // The API keeps whole seconds of a condition.
    let second = after(now, 0);
    if suspend {
        let message = "nobody is called; set spec.suspend to false to go on";
        mark_true(&mut conditions, suspended, QueueConditionReason::SuspendedByUser.to_string(), message, second);
    } else {
        mark_false(
            &mut conditions,
            suspended,
            QueueConditionReason::Resumed.to_string(),
            "resumed by the user",
            second,
        );
    }
    for condition in &mut conditions {
        condition.observed_generation = Some(generation);
    }
    conditions
}
