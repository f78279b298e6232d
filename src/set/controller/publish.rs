//! What the plan tells, as events of Kubernetes.

use kube::{
    Resource,
    runtime::events::{Event, EventType},
};

use super::context::Context;
use crate::set::plan::{SetEvent, SetEventType};

/// Has an event on a set published soon.
pub(super) fn publish(context: &Context, set: &impl Resource<DynamicType = ()>, event: SetEvent) {
    let SetEvent { type_, reason, action, note } = event;
    let type_ = match type_ {
        SetEventType::Normal => EventType::Normal,
        SetEventType::Warning => EventType::Warning,
    };
    let event = Event { type_, reason: reason.to_string(), note: Some(note), action, secondary: None };
    context.events.publish(set.object_ref(&()), event);
}
