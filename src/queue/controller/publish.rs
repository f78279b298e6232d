//! What the plan tells, as events of Kubernetes.

use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use super::context::Context;
use crate::queue::plan::{QueueEvent, QueueEventReason};

/// Has an event on a queue published soon.
pub(super) fn publish(context: &Context, queue: &impl Resource<DynamicType = ()>, event: QueueEvent) {
    let QueueEvent { reason, note } = event;
    let type_ = match reason {
        QueueEventReason::Suspended | QueueEventReason::Resumed | QueueEventReason::BreakerClosed => EventType::Normal,
        QueueEventReason::BreakerOpened | QueueEventReason::Unreadable => EventType::Warning,
    };
    let event =
        Event { type_, reason: reason.to_string(), note: Some(note), action: "Reconcile".to_owned(), secondary: None };
    context.events.publish(queue.object_ref(&()), event);
}
