//! What the conditions and the states in a pod's status say, in the types that decide.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};

use super::observed::Cause;

/// The condition of that type.
pub(super) fn condition<'a>(status: &'a PodStatus, type_: &str) -> Option<&'a PodCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == type_)
}

/// When it turned last.
pub(super) fn turned_at(condition: &PodCondition) -> Option<Timestamp> {
    condition.last_transition_time.as_ref().map(|time| time.0)
}

/// A reason with its message, if there is one.
pub(super) fn words(reason: Option<&String>, message: Option<&String>) -> Option<Cause> {
    reason
        .filter(|reason| !reason.is_empty())
        .map(|reason| Cause { reason: reason.clone(), message: message.cloned().unwrap_or_default() })
}
