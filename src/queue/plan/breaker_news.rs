//! What the user hears of the breaker.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::steps::{QueueEvent, QueueEventReason};
use crate::{
    api::queue::{Breaker, BreakerFailure, BreakerState, BreakerStatus, QueueConditionReason, QueueConditionType},
    types::{is_condition_true, mark_false, mark_true, time::after},
};

/// What is new about where the breaker stands.
pub(super) fn news(spec: &Breaker, before: Option<&BreakerStatus>, after: &BreakerStatus) -> Option<QueueEvent> {
    let openings = |status: Option<&BreakerStatus>| status.map_or(0, |status| status.openings);
    let was_closed = before.is_none_or(|before| before.state == BreakerState::Closed);
    match after.state {
        BreakerState::Open if openings(before) != after.openings => {
            let note = format!("{}. Nobody is called until {}.", why_open(after), spec.open_until(after));
            Some(QueueEvent { reason: QueueEventReason::BreakerOpened, note })
        }
        BreakerState::Closed if !was_closed => {
            let note = "The tasks that were tried were healthy: all are called as before.".to_owned();
            Some(QueueEvent { reason: QueueEventReason::BreakerClosed, note })
        }
        BreakerState::Open | BreakerState::Closed | BreakerState::HalfOpen => None,
    }
}

/// Shows where the breaker stands.
pub(super) fn conditions(conditions: &mut Vec<Condition>, breaker: Option<(&Breaker, &BreakerStatus)>, now: Timestamp) {
    let type_ = QueueConditionType::BreakerOpen;
    // The API keeps whole seconds of a condition.
    let second = after(now, 0);
    let Some((spec, status)) = breaker else {
        let reason = QueueConditionReason::BreakerRemoved.to_string();
        if is_condition_true(conditions, type_) {
            mark_false(conditions, type_, reason, "spec.breaker was taken off", second);
        }
        return;
    };
    match status.state {
        BreakerState::Open => {
            let message = format!("{}; nobody is called until {}", why_open(status), spec.open_until(status));
            mark_true(conditions, type_, QueueConditionReason::DependencyFailing.to_string(), &message, second);
        }
        BreakerState::HalfOpen => {
            let allow = status.wave.map_or(0, |wave| wave.allow);
            let message = format!("tasks are tried, {allow} at a time");
            mark_true(conditions, type_, QueueConditionReason::Probing.to_string(), &message, second);
        }
        BreakerState::Closed => {
            if is_condition_true(conditions, type_) {
                let reason = QueueConditionReason::DependencyHealthy.to_string();
                mark_false(conditions, type_, reason, "those that were tried were healthy", second);
            }
        }
    }
}

/// Why the breaker is open, without the end of the sentence.
fn why_open(status: &BreakerStatus) -> String {
    let last = status.last_failure.as_ref().map(told).unwrap_or_default();
    if status.openings > 1 {
        return format!("A task that was tried failed again{last}");
    }
    format!("What the tasks depend on fails{last}")
}

fn told(failure: &BreakerFailure) -> String {
    let BreakerFailure { task, code, message } = failure;
    let said = if message.is_empty() { String::new() } else { format!(": {message}") };
    format!("; the last failure was {code} of {task}{said}")
}
