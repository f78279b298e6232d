//! The API server: what it makes of each request.

use serde_json::{Value, json};

use super::world::{Event, SetDefect, World};
use crate::{
    connection::{Call, Verb},
    objects::{Answer, Kind, conflict, failure, is_going, is_terminal, not_found, patch},
};

impl World {
    /// What the API server makes of a call.
    pub(super) fn serve(&mut self, call: &Call) -> Answer {
        let Some(kind) = call.kind else { return (200, call.body.clone()) };
        let name = call.name.as_str();
        let answer = match call.verb {
            Verb::List => self.store.list(kind),
            Verb::Get => self.store.get(kind, name).map_or_else(|| not_found(name), |object| (200, object.clone())),
            Verb::Create => self.create(kind, name, call.body.clone()),
            Verb::Replace => self.replace_status(kind, name, &call.body),
            Verb::Patch => self.patch_pod(call),
            Verb::Delete => {
                if let Some(task) = self.store.get(kind, name).filter(|_| kind == Kind::Task).cloned()
                    && self.may_delete(&task, &call.body)
                {
                    self.judge_deletion(&task);
                }
                self.delete(kind, name, &call.body)
            }
            Verb::Watch => unreachable!("a watch is a stream"),
        };
        if call.is_write() && answer.0 < 300 {
            self.writes += 1;
        }
        answer
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
            self.judge_places(&object);
            let delay = self.dice.between(100, 3000);
            self.happen_in(delay, Event::Run(name.to_owned()));
        }
        (201, self.put(kind, name, object))
    }

    /// Stores an object in its new state, unless that is no news.
    pub(super) fn put(&mut self, kind: Kind, name: &str, object: Value) -> Value {
        let now = self.now();
        self.store.put(kind, name, object, now).0
    }

    fn replace_status(&mut self, kind: Kind, name: &str, body: &Value) -> Answer {
        let Some(before) = self.store.get(kind, name).cloned() else { return not_found(name) };
        let asked = &body["metadata"];
        if asked["uid"] != before["metadata"]["uid"]
            || asked["resourceVersion"] != before["metadata"]["resourceVersion"]
        {
            return conflict("the object has been modified");
        }
        let mut after = before.clone();
        after["status"] = body["status"].clone();
        if kind == Kind::Set {
            if self.defect == Some(SetDefect::CountsFromTheCache) {
                self.miscount(&mut after["status"]);
            }
            self.judge_set(&before, &after);
        }
        if kind == Kind::Queue {
            self.seed_queue_defect(&mut after["status"]);
            self.judge_queue(&before, &after);
        }
        if kind == Kind::Task {
            self.seed_task_defect(&mut after["status"]);
            self.judge_tickets(name, &after);
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

    fn patch_pod(&mut self, call: &Call) -> Answer {
        let name = &call.name;
        let Some(mut pod) = self.store.get(Kind::Pod, name).cloned() else { return not_found(name) };
        if let Err(refusal) = patch(&mut pod, &call.body) {
            return refusal;
        }
        let deadline = call.asked_deadline();
        if let Some(seconds) = deadline {
            pod["spec"]["activeDeadlineSeconds"] = json!(seconds);
        }
        let pod = self.put(Kind::Pod, name, pod);
        if deadline == Some(1) {
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
            return conflict("a precondition does not hold");
        }
        if kind != Kind::Pod {
            let now = self.now();
            self.store.remove(kind, name, now);
            return (200, json!({ "apiVersion": "v1", "kind": "Status", "status": "Success" }));
        }
        let has_grace = object["spec"]["nodeName"].is_string() && !is_terminal(&object);
        if !is_going(&object) {
            object["metadata"]["deletionTimestamp"] = json!(self.time());
            object["metadata"]["deletionGracePeriodSeconds"] = json!(i64::from(has_grace));
        }
        (200, self.put(kind, name, object))
    }
}
