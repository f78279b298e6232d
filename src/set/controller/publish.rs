//! What the plan tells, as events of Kubernetes.

use kube::{Resource, runtime::events::Event};

use super::context::Context;
use crate::set::plan::SetEvent;

/// Has an event on a set published soon.
pub(super) fn publish(context: &Context, set: &impl Resource<DynamicType = ()>, event: SetEvent) {
    let SetEvent { type_, reason, action, note } = event;
    let event = Event { type_: type_.into(), reason: reason.to_string(), note: Some(note), action, secondary: None };
    context.events.publish(set.object_ref(&()), event);
}
