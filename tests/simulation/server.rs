//! The API server: what it makes of each request.

use serde_json::{Map, Value, json};

use crate::{
    connection::Call,
    objects::{Answer, Kind, conflict, failure, is_going, is_terminal, not_found, patch},
    world::{Event, World, second_of},
};

/// What a change of the specification and the first delete of a pod do, where pods have generations.
fn raise_generation(pod: &mut Value) {
    if let Some(generation) = pod["metadata"]["generation"].as_i64() {
        pod["metadata"]["generation"] = json!(generation + 1);
    }
}

fn fields(object: &mut Value) -> &mut Map<String, Value> {
    object.as_object_mut().expect("an object")
}

impl World {
    pub(crate) fn get(&self, kind: Kind, name: &str) -> Answer {
        self.store.get(kind, name).map_or_else(|| not_found(name), |object| (200, object.clone()))
    }

    pub(crate) fn create(&mut self, kind: Kind, name: &str, mut object: Value) -> Answer {
        if self.store.get(kind, name).is_some() {
            return failure(409, "AlreadyExists", &format!("{name} already exists"));
        }
        if kind == Kind::Pod && !self.is_peace && self.dice.happens(self.weather.requests / 2) {
            return failure(403, "Forbidden", "exceeded quota: pods");
        }
        let uid = self.uid(name);
        object["metadata"]["uid"] = json!(uid);
        object["metadata"]["namespace"] = json!("n");
        object["metadata"]["creationTimestamp"] = json!(self.stamp());
        if kind == Kind::Task {
            object["metadata"]["generation"] = json!(1);
        }
        if kind == Kind::Pod {
            object["status"] = json!({ "phase": "Pending" });
            if self.policies.has_generations {
                object["metadata"]["generation"] = json!(1);
            }
            self.pod_created(&uid, &object);
        }
        (201, self.put(kind, name, object))
    }

    /// Stores an object in its new state, unless that is no news.
    pub(crate) fn put(&mut self, kind: Kind, name: &str, object: Value) -> Value {
        let (object, removed) = self.store.put(kind, name, object, self.now());
        if let Some(removed) = removed {
            self.is_removed(kind, &removed);
        }
        object
    }

    pub(crate) fn remove(&mut self, kind: Kind, name: &str) {
        if let Some(removed) = self.store.remove(kind, name, self.now()) {
            self.is_removed(kind, &removed);
        }
    }

    fn is_removed(&mut self, kind: Kind, object: &Value) {
        let uid = object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        match kind {
            Kind::Pod => {
                self.happen_in(0, Event::Kubelet(uid));
                let owner = object["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned();
                self.happen_in(50, Event::Collect(owner));
            }
            Kind::Task => {
                self.tell("apiserver", format!("task {uid} is gone"));
                self.collect_soon(&uid);
                if self.policies.has_ttl() {
                    self.happen_in(3000, Event::Apply);
                }
            }
            Kind::Set | Kind::Queue | Kind::Lease | Kind::Template => {}
        }
    }

    fn collect_soon(&mut self, owner: &str) {
        let delay = if self.is_peace { 500 } else { self.dice.between(100, 8000) };
        self.happen_in(delay, Event::Collect(owner.to_owned()));
    }

    pub(crate) fn replace_status(&mut self, call: &Call) -> Answer {
        let Some(before) = self.store.get(Kind::Task, &call.name).cloned() else { return not_found(&call.name) };
        let asked = &call.body["metadata"];
        if !asked["uid"].is_null() && asked["uid"] != before["metadata"]["uid"] {
            return conflict("the UID in the precondition is another");
        }
        if !asked["resourceVersion"].is_null() && asked["resourceVersion"] != before["metadata"]["resourceVersion"] {
            return conflict("the object has been modified");
        }
        let mut after = before.clone();
        after["status"] = call.body["status"].clone();
        self.note_input(&before, &after["status"]);
        self.judge_status(&before, &after, self.ahead(call.slot), (call.slot, call.process));
        (200, self.put(Kind::Task, &call.name, after))
    }

    pub(crate) fn replace(&mut self, kind: Kind, name: &str, body: &Value) -> Answer {
        let Some(before) = self.store.get(kind, name) else { return not_found(name) };
        if body["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"] {
            return conflict("the object has been modified");
        }
        (200, self.put(kind, name, body.clone()))
    }

    /// A strategic merge patch or a JSON patch, as far as the operator uses them.
    pub(crate) fn patch_pod(&mut self, call: &Call) -> Answer {
        let name = &call.name;
        let Some(mut pod) = self.store.get(Kind::Pod, name).cloned() else { return not_found(name) };
        if let Err(refusal) = patch(&mut pod, &call.body) {
            return refusal;
        }
        if let Some(seconds) = call.asked_deadline() {
            let current = pod["spec"]["activeDeadlineSeconds"].as_i64().unwrap_or(i64::MAX);
            if seconds > current || seconds < 1 {
                return failure(422, "Invalid", "activeDeadlineSeconds: must be less than or equal to the old value");
            }
            if seconds < current {
                raise_generation(&mut pod);
            }
            pod["spec"]["activeDeadlineSeconds"] = json!(seconds);
        }
        let pod = self.put(Kind::Pod, name, pod);
        self.nudge_kubelet(&pod);
        (200, pod)
    }

    /// The measured behaviour: a second delete only shortens the grace, and the time of the request stays what it was;
    /// a grace of 0 rewrites it to now.
    pub(crate) fn delete_pod(&mut self, name: &str, options: &Value) -> Answer {
        let Some(mut pod) = self.store.get(Kind::Pod, name).cloned() else { return not_found(name) };
        let uid = &options["preconditions"]["uid"];
        if !uid.is_null() && *uid != pod["metadata"]["uid"] {
            return conflict("the UID in the precondition is another");
        }
        let grace = options["gracePeriodSeconds"].as_i64();
        let has_node = pod["spec"]["nodeName"].is_string();
        let full = pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30);
        let grace = if has_node && !is_terminal(&pod) { grace.unwrap_or(full) } else { 0 };
        let before = pod["metadata"]["deletionGracePeriodSeconds"].as_i64().filter(|_| is_going(&pod));
        let request_time = match (before, grace) {
            (Some(before), grace) if grace >= before => return (200, pod),
            (Some(before), grace) if grace > 0 => {
                let at = pod["metadata"]["deletionTimestamp"].as_str().expect("a time");
                let at: jiff::Timestamp = at.parse().expect("a time");
                at - jiff::SignedDuration::from_secs(before)
            }
            _ => second_of(self.now(), 0),
        };
        let at = request_time + jiff::SignedDuration::from_secs(grace);
        if before.is_none() {
            raise_generation(&mut pod);
        }
        pod["metadata"]["deletionTimestamp"] = json!(at);
        pod["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        let pod = self.put(Kind::Pod, name, pod);
        self.nudge_kubelet(&pod);
        (200, pod)
    }

    pub(crate) fn delete_task(&mut self, name: &str, options: &Value) -> Answer {
        let Some(mut task) = self.store.get(Kind::Task, name).cloned() else { return not_found(name) };
        for (asked, actual) in [("uid", "uid"), ("resourceVersion", "resourceVersion")] {
            let asked = &options["preconditions"][asked];
            if !asked.is_null() && *asked != task["metadata"][actual] {
                return conflict("a precondition does not hold");
            }
        }
        let finalizer = match options["propagationPolicy"].as_str() {
            Some("Foreground") => "foregroundDeletion",
            Some("Orphan") => "orphan",
            _ => {
                self.remove(Kind::Task, name);
                return (200, json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }));
            }
        };
        if !is_going(&task) {
            task["metadata"]["deletionTimestamp"] = json!(self.stamp());
            task["metadata"]["finalizers"] = json!([finalizer]);
            let uid = task["metadata"]["uid"].as_str().expect("a UID").to_owned();
            task = self.put(Kind::Task, name, task);
            self.collect_soon(&uid);
        }
        (200, task)
    }

    /// The garbage collector: pods whose owner is gone are deleted; an owner that waits for its pods goes after them;
    /// one that leaves orphans lets them go first.
    pub(crate) fn collect_owned(&mut self, owner: &str) {
        let task = self.store.all(Kind::Task).find(|task| task["metadata"]["uid"] == owner).cloned();
        let is_gone = task.is_none();
        let finalizer =
            task.as_ref().and_then(|task| task["metadata"]["finalizers"][0].as_str()).map(ToOwned::to_owned);
        let is_owned = |pod: &&Value| pod["metadata"]["ownerReferences"][0]["uid"] == owner;
        let pods: Vec<_> = self.store.all(Kind::Pod).filter(is_owned).cloned().collect();
        let has_no_pods = pods.is_empty();
        for mut pod in pods {
            let name = pod["metadata"]["name"].as_str().expect("a name").to_owned();
            if finalizer.as_deref() == Some("orphan") {
                fields(&mut pod["metadata"]).remove("ownerReferences");
                self.put(Kind::Pod, &name, pod);
            } else if (is_gone || finalizer.is_some()) && !is_going(&pod) {
                self.tell("gc", format!("deletes pod {name}"));
                self.delete_pod(&name, &Value::Null);
            }
        }
        let Some(mut task) = task else { return };
        let is_collected = match finalizer.as_deref() {
            Some("orphan") => true,
            Some(_) => has_no_pods,
            None => false,
        };
        if is_collected {
            task["metadata"]["finalizers"] = json!([]);
            let name = task["metadata"]["name"].as_str().expect("a name").to_owned();
            self.put(Kind::Task, &name, task);
        }
    }
}
