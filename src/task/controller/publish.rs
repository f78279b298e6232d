//! What the plan tells, as events of Kubernetes.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{Resource, runtime::events::Event};

use super::context::Context;
use crate::task::plan::{PodRef, TaskEvent};

/// Has an event on a task published soon.
pub(super) fn publish(context: &Context, task: &impl Resource<DynamicType = ()>, event: TaskEvent) {
    publish_about(context, task.object_ref(&()), event);
}

/// Has an event on any object published soon.
pub(super) fn publish_about(context: &Context, object: ObjectReference, event: TaskEvent) {
    let TaskEvent { type_, reason, action, note, pod } = event;
    let secondary = pod.map(|pod| pod_reference(object.namespace.as_deref().unwrap_or_default(), &pod));
    let event = Event { type_: type_.into(), reason: reason.to_string(), note: Some(note), action, secondary };
    context.events.publish(object, event);
}

/// A reference to a pod; without a UID while none is known.
pub(super) fn pod_reference(namespace: &str, pod: &PodRef) -> ObjectReference {
    ObjectReference {
        api_version: Some("v1".into()),
        kind: Some("Pod".into()),
        name: Some(pod.name.clone()),
        namespace: Some(namespace.to_owned()),
        uid: Some(pod.uid.clone()).filter(|uid| !uid.is_empty()),
        ..ObjectReference::default()
    }
}
