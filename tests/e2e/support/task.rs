//! Manifests of tasks, and a handle to a task in the cluster.

use std::time::Duration;

use k8s_openapi::{api::core::v1::Pod, jiff::Timestamp};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams},
};
use longtask::{
    api::task::{ConditionType, LongTask, LongTaskStatus, Phase},
    types::find_condition,
};
use serde_json::{Value, json};

use super::{
    journal::Journal,
    lab::Lab,
    record::{PodHistory, Sightings},
};

/// The image of `tests/e2e/program`.
pub(crate) const PROGRAM: &str = "localhost/longtask-e2e-program:dev";
/// The same program in an image with another user: one with that number, and root.
pub(crate) const PROGRAM_OF_USER_1000: &str = "localhost/longtask-e2e-program:user-1000";
pub(crate) const PROGRAM_OF_ROOT: &str = "localhost/longtask-e2e-program:root";

/// A task that runs the program with these arguments, in segments of a minute unless the manifest is changed.
pub(crate) fn manifest(name: &str, arguments: &[&str]) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTask",
        "metadata": { "name": name },
        "spec": {
            "segment": { "duration": "60s", "gracePeriod": "5s" },
            "retry": { "backoff": { "initial": "1s", "jitter": "None" } },
            "template": { "spec": { "containers": [container("main", arguments)] } },
        },
    })
}

/// A task that names a template, and its input.
pub(crate) fn thin(name: &str, template: &str, input: &Value) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1",
        "kind": "LongTask",
        "metadata": { "name": name },
        "spec": { "templateRef": { "name": template }, "input": input },
    })
}

/// The spec of a template whose tasks run the program with these arguments, each with a journal of its own.
pub(super) fn definition(arguments: &[&str], lab: &Lab) -> Value {
    let mut spec = manifest("", arguments)["spec"].take();
    add_journal(&mut spec["template"]["spec"], "$(LONGTASK_NAME)", lab);
    spec
}

/// A container that runs the program.
pub(crate) fn container(name: &str, arguments: &[&str]) -> Value {
    json!({ "name": name, "image": PROGRAM, "args": arguments })
}

/// A pod of somebody else that runs the program.
pub(crate) fn pod(name: &str, arguments: &[&str]) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": {
            "containers": [container("main", arguments)], "restartPolicy": "Never", "terminationGracePeriodSeconds": 1,
        },
    })
}

/// Changes made to a manifest: what `kubectl patch --type=merge` would do.
pub(crate) trait Change {
    fn and(self, change: Value) -> Self;
}

impl Change for Value {
    fn and(mut self, change: Value) -> Self {
        merge(&mut self, change);
        self
    }
}

fn merge(target: &mut Value, change: Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change,
    }
}

/// A task in the cluster.
pub(crate) struct Task<'a> {
    lab: &'a Lab,
    pub(crate) name: String,
    pub(crate) uid: String,
}

impl<'a> Task<'a> {
    /// Creates it as a user would: the manifest goes to the API server as it is. Its main container gets a journal.
    pub(super) async fn create(lab: &'a Lab, mut manifest: Value) -> Self {
        let name = manifest["metadata"]["name"].as_str().expect("a manifest has a name").to_owned();
        if let Some(template) = manifest["spec"].get_mut("template") {
            add_journal(&mut template["spec"], &name, lab);
        }
        let object: DynamicObject = serde_json::from_value(manifest).expect("a manifest is an object");
        let created = Self::api_of(lab).create(&PostParams::default(), &object).await;
        let uid = created.expect("the API server takes the manifest").metadata.uid.expect("stored objects have a UID");
        Self { lab, name, uid }
    }

    fn api_of(lab: &Lab) -> Api<DynamicObject> {
        Api::namespaced_with(lab.client.clone(), &lab.namespace, &ApiResource::erase::<LongTask>(&()))
    }

    /// Changes its spec.
    pub(crate) async fn change(&self, spec: Value) {
        let patch = Patch::Merge(json!({ "spec": spec }));
        let changed = Self::api_of(self.lab).patch(&self.name, &PatchParams::default(), &patch).await;
        changed.expect("the API server takes the change");
    }

    pub(crate) async fn delete(&self, params: DeleteParams) {
        Self::api_of(self.lab).delete(&self.name, &params).await.expect("delete the task");
    }

    /// Waits until its status is as described, from now on; states that pass quickly are not missed.
    pub(crate) async fn until(
        &self,
        what: &str,
        seconds: u64,
        is_so: impl Fn(&LongTaskStatus) -> bool,
    ) -> LongTaskStatus {
        let mut next = self.lab.record.look(|seen| seen.statuses(&self.uid).len().saturating_sub(1));
        let look = |seen: &Sightings| {
            let statuses = seen.statuses(&self.uid);
            let found = statuses.iter().skip(next).find(|status| is_so(status)).cloned();
            next = statuses.len();
            found
        };
        self.lab.until(&format!("task {}: {what}", self.name), Duration::from_secs(seconds), look).await
    }

    /// Waits until it is in that phase.
    pub(crate) async fn until_phase(&self, phase: Phase, seconds: u64) -> LongTaskStatus {
        self.until(&format!("it is {phase}"), seconds, |status| status.phase == Some(phase)).await
    }

    /// Waits until it has ended, which must be in that phase.
    pub(crate) async fn ends_as(&self, phase: Phase, seconds: u64) -> LongTaskStatus {
        let has_ended = |status: &LongTaskStatus| status.phase.is_some_and(Phase::is_terminal);
        let status = self.until("it has ended", seconds, has_ended).await;
        assert_eq!(status.phase, Some(phase), "{} ended otherwise: {status:#?}", self.name);
        status
    }

    /// Waits until the pod of an attempt is as described; returns it as it was then.
    pub(crate) async fn until_pod(&self, attempt: i64, what: &str, seconds: u64, is_so: impl Fn(&Pod) -> bool) -> Pod {
        let what = format!("task {}: the pod of attempt {attempt} {what}", self.name);
        let look = |seen: &Sightings| {
            let pod = seen.pods_of(&self.uid).find(|pod| pod.attempt == attempt)?;
            pod.versions.iter().find(|version| is_so(version)).cloned()
        };
        self.lab.until(&what, Duration::from_secs(seconds), look).await
    }

    /// Every status that was seen, in order.
    pub(crate) fn statuses(&self) -> Vec<LongTaskStatus> {
        self.lab.record.look(|seen| seen.statuses(&self.uid).to_vec())
    }

    /// Every status that was seen with the moment at which it was written, as the API server noted it.
    pub(crate) fn writes(&self) -> Vec<(Timestamp, LongTaskStatus)> {
        self.lab.record.look(|seen| seen.writes(&self.uid).to_vec())
    }

    /// Every pod that was seen, in the order of creation.
    pub(crate) fn pods(&self) -> Vec<PodHistory> {
        self.lab.record.look(|seen| seen.pods_of(&self.uid).cloned().collect())
    }

    pub(crate) fn journal(&self) -> Journal {
        self.lab.journal(&self.name)
    }
}

/// The message of a condition that holds.
pub(crate) fn message_of(status: &LongTaskStatus, type_: ConditionType) -> Option<(String, String)> {
    let condition = find_condition(&status.conditions, type_).filter(|condition| condition.status == "True")?;
    Some((condition.reason.clone(), condition.message.clone()))
}

/// Gives the first container a journal on the node, if it runs the program.
fn add_journal(pod: &mut Value, task: &str, lab: &Lab) {
    let main = &mut pod["containers"][0];
    if ![PROGRAM, PROGRAM_OF_USER_1000, PROGRAM_OF_ROOT].iter().any(|program| main["image"] == *program) {
        return;
    }
    if let Some(arguments) = main["args"].as_array_mut() {
        arguments.insert(0, json!(format!("--journal=/journal/{task}.jsonl")));
    }
    append(main, "volumeMounts", json!({ "name": "journal", "mountPath": "/journal" }));
    let folder = json!({ "name": "journal", "hostPath": { "path": lab.folder(), "type": "Directory" } });
    append(pod, "volumes", folder);
}

/// Puts an item at the end of a list, which need not be there.
fn append(of: &mut Value, list: &str, item: Value) {
    let mut items = of[list].as_array().cloned().unwrap_or_default();
    items.push(item);
    of[list] = json!(items);
}
