//! What a task sees of the queue that it names. It obeys by looking: nobody writes its spec.

use super::{TaskQueue, short_uid, task_name};

/// What a task sees of the queue that it names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Admission {
    /// The task names no queue, or nobody asks for one.
    #[default]
    NotAsked,
    /// There is no queue of that name.
    Missing,
    /// The queue is in a namespace that this operator does not watch.
    NotWatched,
    /// The queue does not allow tasks of this namespace.
    NotAllowed,
    /// The queue is there for the task.
    Open(OpenQueue),
}

/// A queue that is there for a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenQueue {
    /// The highest ticket of the task that the queue has called and not seen given back.
    pub called: Option<i64>,
    /// Whether it has called that ticket as a probe of its breaker.
    pub is_probe: bool,
    /// Whether a task keeps its place while it waits for its next attempt.
    pub keeps_place: bool,
}

/// What a task sees of this reading of its queue.
pub fn admission_of(queue: &TaskQueue, namespace: &str, name: &str, uid: &str) -> Admission {
    if !queue.allows(namespace) {
        return Admission::NotAllowed;
    }
    let task = task_name(namespace, name);
    let holders = queue.status.iter().flat_map(|status| &status.holders);
    let own = holders.filter(|holder| holder.task == task && holder.uid == short_uid(uid));
    let latest = own.max_by_key(|holder| holder.ticket);
    Admission::Open(OpenQueue {
        called: latest.map(|holder| holder.ticket),
        is_probe: latest.is_some_and(|holder| holder.probe),
        keeps_place: queue.spec.hold_while_waiting,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn queue(spec: &Value) -> TaskQueue {
        let mut whole = json!({ "maxActive": 2 });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue",
            "metadata": { "name": "q", "namespace": "shared" }, "spec": whole,
            "status": { "holders": [
                { "task": "orders/a", "uid": "12345678", "ticket": 3 },
                { "task": "orders/a", "uid": "87654321", "ticket": 9 },
            ] },
        }))
        .expect("a queue")
    }

    #[test]
    fn a_task_sees_its_own_ticket_and_no_other() {
        let queue = queue(&json!({ "allowedNamespaces": ["orders"], "holdWhileWaiting": true }));
        let called = |name: &str, uid: &str| match admission_of(&queue, "orders", name, uid) {
            Admission::Open(OpenQueue { called, keeps_place: true, is_probe: false }) => called,
            other => panic!("{other:?}"),
        };
        assert_eq!(called("a", "12345678-aaaa"), Some(3));
        assert_eq!(called("a", "00000000-aaaa"), None, "another task of the same name");
        assert_eq!(called("b", "12345678-aaaa"), None);
    }

    #[test]
    fn a_queue_is_for_its_own_namespace_unless_it_names_others() {
        let allows =
            |spec: Value, namespace: &str| admission_of(&queue(&spec), namespace, "a", "u") != Admission::NotAllowed;
        assert!(allows(json!({}), "shared"));
        assert!(!allows(json!({}), "orders"));
        assert!(allows(json!({ "allowedNamespaces": ["orders"] }), "orders"));
        assert!(!allows(json!({ "allowedNamespaces": ["orders"] }), "shared"), "the list is the whole of it");
        assert!(allows(json!({ "allowedNamespaces": ["*"] }), "whatever"));
    }
}
