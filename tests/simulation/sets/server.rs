//! The API server: what it stores, and what it makes of each request.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};

use super::{
    client::Call,
    world::{Event, SetDefect, World},
};
use crate::server::{Answer, failure};

/// What is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Set,
    Template,
    Task,
    Pod,
}

impl Kind {
    pub(super) fn type_meta(self) -> (&'static str, &'static str) {
        match self {
            Self::Set => ("longtask.dev/v1alpha1", "LongTaskSet"),
            Self::Template => ("longtask.dev/v1alpha1", "LongTaskTemplate"),
            Self::Task => ("longtask.dev/v1alpha1", "LongTask"),
            Self::Pod => ("v1", "Pod"),
        }
    }
}

/// One change of one object.
#[derive(Clone)]
pub(super) struct Change {
    pub(super) version: u64,
    pub(super) at: u64,
    pub(super) type_: &'static str,
    pub(super) object: Arc<Value>,
    kind: Kind,
}

/// All objects, and the history that watches are told from.
#[derive(Default)]
pub(super) struct Store {
    pub(super) version: u64,
    /// Watches that have not been told of this version are told to list again.
    pub(super) oldest: u64,
    objects: BTreeMap<(Kind, String), Value>,
    changes: Vec<Change>,
}

impl Store {
    pub(super) fn get(&self, kind: Kind, name: &str) -> Option<&Value> {
        self.objects.get(&(kind, name.to_owned()))
    }

    pub(super) fn all(&self, kind: Kind) -> impl Iterator<Item = &Value> {
        self.objects.iter().filter(move |((of, _), _)| *of == kind).map(|(_, object)| object)
    }

    pub(super) fn change_after(&self, kind: Kind, version: u64) -> Option<&Change> {
        let first = self.changes.partition_point(|change| change.version <= version);
        self.changes[first..].iter().find(|change| change.kind == kind)
    }
}

fn not_found(name: &str) -> Answer {
    failure(404, "NotFound", &format!("{name} not found"))
}

impl World {
    /// What the API server makes of a call.
    pub(super) fn serve(&mut self, call: &Call) -> Answer {
        let Some(kind) = call.kind else { return (200, call.body.clone()) };
        let answer = match (call.method.as_str(), call.name.as_str()) {
            ("GET", "") => self.list(kind),
            ("GET", name) => self.store.get(kind, name).map_or_else(|| not_found(name), |object| (200, object.clone())),
            ("POST", _) => {
                let name = call.body["metadata"]["name"].as_str().unwrap_or_default().to_owned();
                self.create(kind, &name, call.body.clone())
            }
            ("PUT", name) => self.replace_status(kind, name, &call.body),
            ("PATCH", name) => self.patch_pod(name, &call.body),
            ("DELETE", name) => {
                if let Some(task) = self.store.get(kind, name).filter(|_| kind == Kind::Task).cloned()
                    && self.may_delete(&task, &call.body)
                {
                    self.judge_deletion(&task);
                }
                self.delete(kind, name, &call.body)
            }
            other => panic!("the operator sends no such request: {other:?}"),
        };
        if call.method != "GET" && answer.0 < 300 {
            self.writes += 1;
        }
        answer
    }

    fn list(&self, kind: Kind) -> Answer {
        let (api, of) = kind.type_meta();
        let items: Vec<_> = self.store.all(kind).cloned().collect();
        let metadata = json!({ "resourceVersion": self.store.version.to_string() });
        (200, json!({ "apiVersion": api, "kind": format!("{of}List"), "metadata": metadata, "items": items }))
    }

    pub(super) fn create(&mut self, kind: Kind, name: &str, mut object: Value) -> Answer {
        if self.store.get(kind, name).is_some() {
            return failure(409, "AlreadyExists", &format!("{name} already exists"));
        }
        self.uids += 1;
        object["metadata"]["uid"] = json!(format!("{name}-{}", self.uids));
        object["metadata"]["namespace"] = json!("n");
        object["metadata"]["creationTimestamp"] = json!(self.time());
        object["metadata"]["generation"] = json!(1);
        if kind == Kind::Pod {
            object["status"] = json!({ "phase": "Pending" });
            self.judge_pod(&object);
            let delay = self.dice.between(100, 3000);
            self.happen_in(delay, Event::Run(name.to_owned()));
        }
        (201, self.put(kind, name, object))
    }

    /// Stores an object in its new state, unless that is no news.
    pub(super) fn put(&mut self, kind: Kind, name: &str, mut object: Value) -> Value {
        let before = self.store.objects.get(&(kind, name.to_owned()));
        if let Some(before) = before {
            object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
            if *before == object {
                return object;
            }
        }
        let type_ = if before.is_some() { "MODIFIED" } else { "ADDED" };
        self.store.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.store.version.to_string());
        let (api, of) = kind.type_meta();
        (object["apiVersion"], object["kind"]) = (json!(api), json!(of));
        self.store.objects.insert((kind, name.to_owned()), object.clone());
        self.remember(kind, type_, object.clone());
        let is_going = object["metadata"]["deletionTimestamp"].is_string();
        let is_held = object["metadata"]["finalizers"].as_array().is_some_and(|finalizers| !finalizers.is_empty());
        let has_grace = object["metadata"]["deletionGracePeriodSeconds"].as_i64().unwrap_or(0) > 0;
        if is_going && !is_held && !has_grace {
            self.remove(kind, name);
        }
        object
    }

    fn remove(&mut self, kind: Kind, name: &str) {
        let Some(mut object) = self.store.objects.remove(&(kind, name.to_owned())) else { return };
        self.store.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.store.version.to_string());
        self.remember(kind, "DELETED", object);
    }

    fn remember(&mut self, kind: Kind, type_: &'static str, object: Value) {
        let (version, at) = (self.store.version, self.now());
        self.store.changes.push(Change { version, at, type_, object: Arc::new(object), kind });
        self.changed.notify_waiters();
    }

    fn replace_status(&mut self, kind: Kind, name: &str, body: &Value) -> Answer {
        let Some(before) = self.store.get(kind, name).cloned() else { return not_found(name) };
        let asked = &body["metadata"];
        if asked["uid"] != before["metadata"]["uid"]
            || asked["resourceVersion"] != before["metadata"]["resourceVersion"]
        {
            return failure(409, "Conflict", "the object has been modified");
        }
        let mut after = before.clone();
        after["status"] = body["status"].clone();
        if kind == Kind::Set {
            if self.defect == Some(SetDefect::CountsFromTheCache) {
                self.miscount(&mut after["status"]);
            }
            self.judge_set(&before, &after);
        }
        (200, self.put(kind, name, after))
    }

    /// What an operator writes that takes the members that are there for those that are active.
    fn miscount(&self, status: &mut Value) {
        let running = self.store.all(Kind::Task).filter(|task| task["status"]["phase"] == "Running").count() as u64;
        let (next, total) = (status["next"].as_u64().unwrap_or(0), status["total"].as_u64().unwrap_or(0));
        let is_open = status["phase"] == "Running" && status["stop"].is_null();
        if is_open && running < self.weather.parallel && next < total {
            status["next"] = json!(next + 1);
            status["active"] = json!(status["active"].as_u64().unwrap_or(0) + 1);
        }
    }

    /// A strategic merge patch or a JSON patch, as far as the operator uses them.
    fn patch_pod(&mut self, name: &str, patch: &Value) -> Answer {
        let Some(mut pod) = self.store.get(Kind::Pod, name).cloned() else { return not_found(name) };
        for test in patch.as_array().into_iter().flatten().filter(|operation| operation["op"] == "test") {
            let place = test["path"].as_str().expect("a path");
            if *pod.pointer(place).unwrap_or(&Value::Null) != test["value"] {
                return failure(422, "Invalid", "the server rejected our request due to an error in our request");
            }
        }
        let uid = &patch["metadata"]["uid"];
        if !uid.is_null() && *uid != pod["metadata"]["uid"] {
            return failure(409, "Conflict", "the UID in the precondition is another");
        }
        if let Some(gone) = patch["metadata"]["$deleteFromPrimitiveList/finalizers"].as_array()
            && let Some(finalizers) = pod["metadata"]["finalizers"].as_array_mut()
        {
            finalizers.retain(|finalizer| !gone.contains(finalizer));
        }
        let deadline = patch.as_array().into_iter().flatten().find(|one| one["path"] == "/spec/activeDeadlineSeconds");
        if let Some(seconds) = deadline.and_then(|one| one["value"].as_i64()) {
            pod["spec"]["activeDeadlineSeconds"] = json!(seconds);
        }
        let pod = self.put(Kind::Pod, name, pod);
        if deadline.is_some_and(|one| one["value"] == 1) {
            // Its time is over: it is stopped.
            self.end_pod(name, Some(143));
        }
        (200, self.store.get(Kind::Pod, name).cloned().unwrap_or(pod))
    }

    fn may_delete(&self, object: &Value, options: &Value) -> bool {
        let mut fields = ["uid", "resourceVersion"].into_iter();
        fields.all(|field| {
            let asked = &options["preconditions"][field];
            let is_overlooked = field == "resourceVersion" && self.defect == Some(SetDefect::DeletesWithoutVersion);
            asked.is_null() || is_overlooked || *asked == object["metadata"][field]
        })
    }

    pub(super) fn delete(&mut self, kind: Kind, name: &str, options: &Value) -> Answer {
        let Some(mut object) = self.store.get(kind, name).cloned() else { return not_found(name) };
        if !self.may_delete(&object, options) {
            return failure(409, "Conflict", "a precondition does not hold");
        }
        if kind != Kind::Pod {
            self.remove(kind, name);
            return (200, json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }));
        }
        let is_terminal = matches!(object["status"]["phase"].as_str(), Some("Succeeded" | "Failed"));
        let has_node = object["spec"]["nodeName"].is_string();
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(self.time());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(i64::from(has_node && !is_terminal));
        }
        (200, self.put(kind, name, object))
    }
}
