//! What an API server in memory stores, the history that watches are told from, and how it words its answers.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use tokio::sync::Notify;

/// A code and a body.
pub(crate) type Answer = (u16, Value);

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Set,
    Queue,
    Template,
    Task,
    Pod,
    Lease,
}

impl Kind {
    pub(crate) fn type_meta(self) -> (&'static str, &'static str) {
        match self {
            Self::Set => ("longtask.dev/v1alpha1", "LongTaskSet"),
            Self::Queue => ("longtask.dev/v1alpha1", "TaskQueue"),
            Self::Template => ("longtask.dev/v1alpha1", "LongTaskTemplate"),
            Self::Task => ("longtask.dev/v1alpha1", "LongTask"),
            Self::Pod => ("v1", "Pod"),
            Self::Lease => ("coordination.k8s.io/v1", "Lease"),
        }
    }
}

/// All objects, and the history that watches are told from.
#[derive(Default)]
pub(crate) struct Store {
    /// The version of the latest change.
    pub(crate) version: u64,
    /// Watches that have not been told of this version are told to list again.
    pub(crate) oldest: u64,
    /// How many changes there were, leases aside.
    pub(crate) news: u64,
    /// Tells of every change, to those who wait in the order in which they came.
    pub(crate) changed: Arc<Notify>,
    objects: BTreeMap<(Kind, String), Value>,
    changes: Vec<Change>,
}

/// One change of one object.
#[derive(Clone)]
pub(crate) struct Change {
    pub(crate) version: u64,
    pub(crate) at: u64,
    pub(crate) type_: &'static str,
    pub(crate) object: Arc<Value>,
    kind: Kind,
}

impl Store {
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    pub(crate) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |((of, _), _)| *of == kind).map(|(_, object)| object)
    }

    pub(crate) fn pod_by_uid(&self, uid: &str) -> Option<&Value> {
        self.all(Kind::Pod).find(|pod| pod["metadata"]["uid"] == uid)
    }

    pub(crate) fn list(&self, kind: Kind) -> Answer {
        let items: Vec<_> = self.all(kind).cloned().collect();
        let (api, of) = kind.type_meta();
        let metadata = json!({ "resourceVersion": self.version.to_string() });
        (200, json!({ "apiVersion": api, "kind": format!("{of}List"), "metadata": metadata, "items": items }))
    }

    /// Stores an object in its new state, unless that is no news. Returns it as it is stored, and once more as it is removed
    /// when it was to go and nothing keeps it any more.
    pub(crate) fn put(&mut self, kind: Kind, name: &str, mut object: Value, now: u64) -> (Value, Option<Value>) {
        let before = self.objects.get(&(kind, name.to_owned()));
        if let Some(before) = before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if *before == object {
                return (object, None);
            }
        }
        let type_ = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        let (api, of) = kind.type_meta();
        (object["apiVersion"], object["kind"]) = (json!(api), json!(of));
        self.objects.insert((kind, name.to_owned()), object.clone());
        self.remember(kind, type_, object.clone(), now);
        let is_released = is_going(&object) && !has_finalizers(&object);
        let has_no_grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) == 0;
        let removed = if is_released && has_no_grace { self.remove(kind, name, now) } else { None };
        (object, removed)
    }

    /// Removes an object. Returns it as it was.
    pub(crate) fn remove(&mut self, kind: Kind, name: &str, now: u64) -> Option<Value> {
        let mut object = self.objects.remove(&(kind, name.to_owned()))?;
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
        self.remember(kind, "DELETED", object.clone(), now);
        Some(object)
    }

    fn remember(&mut self, kind: Kind, type_: &'static str, object: Value, at: u64) {
        if kind != Kind::Lease {
            self.news += 1;
            self.changes.push(Change { version: self.version, at, type_, object: Arc::new(object), kind });
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn change_after(&self, kind: Kind, version: u64) -> Option<&Change> {
        let first = self.changes.partition_point(|change| change.version <= version);
        self.changes[first..].iter().find(|change| change.kind == kind)
    }
}

/// An error as the API server words it.
pub(crate) fn failure(code: u16, reason: &str, message: &str) -> Answer {
    let reason = match (code, reason) {
        (400, "") => "BadRequest",
        (401, "") => "Unauthorized",
        (403, "") => "Forbidden",
        (404, "") => "NotFound",
        (409, "") => "Conflict",
        (413, "") => "RequestEntityTooLarge",
        (422, "") => "Invalid",
        (429, "") => "TooManyRequests",
        (503, "") => "ServiceUnavailable",
        (504, "") => "Timeout",
        (_, "") => "InternalError",
        (_, given) => given,
    };
    let status = json!({
        "apiVersion": "v1", "kind": "Status", "metadata": {}, "status": "Failure",
        "code": code, "reason": reason, "message": message,
    });
    (code, status)
}

pub(crate) fn not_found(name: &str) -> Answer {
    failure(404, "NotFound", &format!("{name} not found"))
}

pub(crate) fn conflict(why: &str) -> Answer {
    failure(409, "Conflict", why)
}

pub(crate) fn has_finalizers(object: &Value) -> bool {
    object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty())
}

pub(crate) fn is_going(object: &Value) -> bool {
    object["metadata"]["deletionTimestamp"].is_string()
}

pub(crate) fn is_terminal(pod: &Value) -> bool {
    matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed"))
}

/// What a strategic merge patch or a JSON patch makes of a pod, as far as the operator uses them, but for its deadline. An error is
/// the refusal.
pub(crate) fn patch(pod: &mut Value, patch: &Value) -> Result<(), Answer> {
    let is_test = |operation: &&Value| operation["op"] == "test";
    for test in patch.as_array().into_iter().flatten().filter(is_test) {
        let place = test["path"].as_str().expect("a path");
        // What is absent is as good as null.
        if *pod.pointer(place).unwrap_or(&Value::Null) != test["value"] {
            return Err(failure(422, "Invalid", "the server rejected our request due to an error in our request"));
        }
    }
    let uid = &patch["metadata"]["uid"];
    if !uid.is_null() && *uid != pod["metadata"]["uid"] {
        return Err(conflict("the UID in the precondition is another"));
    }
    if let Some(gone) = patch["metadata"]["$deleteFromPrimitiveList/finalizers"].as_array()
        && let Some(finalizers) = pod["metadata"]["finalizers"].as_array_mut()
    {
        finalizers.retain(|finalizer| !gone.contains(finalizer));
    }
    Ok(())
}
