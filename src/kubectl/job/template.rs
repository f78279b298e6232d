//! The pod template as a task takes it, and the segment that its own limits make.

use k8s_openapi::{
    api::core::v1::{Container, PodSpec, PodTemplateSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use serde_json::{Value, json};

use super::{
    bounds::{LONGEST, clamped, cut},
    env,
    metadata::{Bearer, of_the_user},
};
use crate::{api::labels, types::GoDuration};

/// The segment of a Job that has no limit for a pod.
const SEGMENT: GoDuration = GoDuration::from_hours(1);
const SHORTEST_SEGMENT: GoDuration = GoDuration::from_secs(5);
const SHORTEST_GRACE: GoDuration = GoDuration::from_secs(1);
const LONGEST_GRACE: GoDuration = GoDuration::from_hours(24);
/// The most containers, and the most init containers.
const MOST_CONTAINERS: usize = 100;

/// What the template of a Job becomes.
pub(super) struct Parts {
    /// What stays a template.
    pub(super) template: PodTemplateSpec,
    /// What becomes `spec.segment`.
    pub(super) segment: Value,
    /// The container that counts.
    pub(super) main: Main,
}

/// The container whose exit code counts.
pub(super) struct Main {
    /// Its name.
    pub(super) name: String,
    /// Whether there are others beside it.
    pub(super) has_neighbours: bool,
}

/// The template of a Job as that of a task.
pub(super) fn of_task(template: PodTemplateSpec, notes: &mut Vec<String>) -> Parts {
    let metadata = metadata_of(template.metadata.unwrap_or_default(), notes);
    let mut pod = template.spec.unwrap_or_default();
    if pod.restart_policy.take().is_some_and(|policy| policy == "OnFailure") {
        notes.push(
            "spec.template.spec.restartPolicy: OnFailure is dropped; a failure is followed by a new pod, and backoffLimit \
             counts pods"
                .to_owned(),
        );
    }
    // An API server takes an empty list, and only that.
    pod.ephemeral_containers = None;
    let segment = segment_of(&mut pod, notes);
    let path = "spec.template.spec";
    cut(&mut pod.containers, MOST_CONTAINERS, &format!("{path}.containers"), notes);
    for container in &mut pod.containers {
        let field = format!("{path}.containers.{}", container.name);
        restart_with_the_pod(container, &field, notes);
        set_once(container, &field, notes);
    }
    if let Some(containers) = &mut pod.init_containers {
        cut(containers, MOST_CONTAINERS, &format!("{path}.initContainers"), notes);
        for container in containers {
            let field = format!("{path}.initContainers.{}", container.name);
            let sidecar = container.restart_policy.take_if(|policy| policy == "Always");
            restart_with_the_pod(container, &field, notes);
            container.restart_policy = sidecar;
            set_once(container, &field, notes);
        }
    }
    let main = main_of(&metadata, &pod);
    if main.has_neighbours {
        notes.push(format!(
            "{path}.containers: {} is the main one now; when it has ended, the others are stopped. Another can be named in \
             spec.segment.container",
            main.name
        ));
    }
    let metadata = (metadata != ObjectMeta::default()).then_some(metadata);
    Parts { template: PodTemplateSpec { metadata, spec: Some(pod) }, segment, main }
}

fn metadata_of(metadata: ObjectMeta, notes: &mut Vec<String>) -> ObjectMeta {
    let path = "spec.template.metadata";
    ObjectMeta {
        labels: of_the_user(metadata.labels, Bearer::Template, &format!("{path}.labels"), notes),
        annotations: of_the_user(metadata.annotations, Bearer::Template, &format!("{path}.annotations"), notes),
        ..ObjectMeta::default()
    }
}

/// The time limits of a pod are those of a segment.
fn segment_of(pod: &mut PodSpec, notes: &mut Vec<String>) -> Value {
    let path = "spec.template.spec";
    let limit = pod
        .active_deadline_seconds
        .take()
        .map(|seconds| clamped(&format!("{path}.activeDeadlineSeconds"), seconds, SHORTEST_SEGMENT, LONGEST, notes));
    let duration = limit.unwrap_or(SEGMENT);
    let mut segment = json!({ "duration": duration });
    if let Some(seconds) = pod.termination_grace_period_seconds.take() {
        let field = format!("{path}.terminationGracePeriodSeconds");
        segment["gracePeriod"] = json!(clamped(&field, seconds, SHORTEST_GRACE, LONGEST_GRACE, notes));
    }
    notes.push(format!(
        "spec.segment.duration: after {duration} the program gets SIGTERM and the next pod goes on from its checkpoint, \
         as docs/task-contract.md says. A program that cannot save its place needs a duration that it never reaches"
    ));
    segment
}

/// One that is restarted in place would break the chain.
fn restart_with_the_pod(container: &mut Container, field: &str, notes: &mut Vec<String>) {
    // Never is what a task does anyway.
    if let Some(policy) = container.restart_policy.take().filter(|policy| policy != "Never") {
        notes.push(format!("{field}.restartPolicy: {policy} is dropped; a failure is followed by a new pod"));
    }
    if container.restart_policy_rules.take().is_some_and(|rules| !rules.is_empty()) {
        notes.push(format!("{field}.restartPolicyRules: dropped; a failure is followed by a new pod"));
    }
}

fn set_once(container: &mut Container, field: &str, notes: &mut Vec<String>) {
    if let Some(variables) = &mut container.env {
        env::merge(&format!("{field}.env"), variables, notes);
    }
}

/// The container that the well-known annotation names, else the first.
fn main_of(metadata: &ObjectMeta, pod: &PodSpec) -> Main {
    let marked = metadata.annotations.as_ref().and_then(|annotations| annotations.get(labels::DEFAULT_CONTAINER));
    let is_there = |name: &&String| pod.containers.iter().any(|container| container.name == **name);
    let first = || pod.containers.first().map(|container| &container.name);
    let name = marked.filter(is_there).or_else(first).cloned().unwrap_or_default();
    Main { name, has_neighbours: pod.containers.len() > 1 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(template: Value) -> (Parts, Vec<String>) {
        let mut notes = Vec::new();
        (of_task(serde_json::from_value(template).expect("a template"), &mut notes), notes)
    }

    #[test]
    fn time_limits_are_brought_within_the_bounds_of_a_segment() {
        for (deadline, grace, segment, told) in [
            (3, 0, json!({ "duration": "5s", "gracePeriod": "1s" }), 2),
            (1, -5, json!({ "duration": "5s", "gracePeriod": "1s" }), 2),
            (5, 1, json!({ "duration": "5s", "gracePeriod": "1s" }), 0),
            (900, 86_400, json!({ "duration": "15m", "gracePeriod": "24h" }), 0),
            (359_999_999, 86_401, json!({ "duration": "99999h59m59s", "gracePeriod": "24h" }), 1),
            (i64::from(i32::MAX), i64::MAX, json!({ "duration": "99999h59m59s", "gracePeriod": "24h" }), 2),
        ] {
            let limits = json!({ "activeDeadlineSeconds": deadline, "terminationGracePeriodSeconds": grace });
            let (template, notes) = converted(json!({ "spec": limits }));
            assert_eq!(template.segment, segment);
            // And the one that each task gets.
            assert_eq!(notes.len(), told + 1, "{notes:?}");
        }
        let (_, notes) = converted(json!({ "spec": { "terminationGracePeriodSeconds": 0 } }));
        assert_eq!(
            notes[0],
            "spec.template.spec.terminationGracePeriodSeconds: 0 is 1s now, the least that a task takes"
        );
    }

    #[test]
    fn no_container_restarts_in_place_but_a_sidecar() {
        let rules = json!([{ "action": "Restart", "exitCodes": { "operator": "In", "values": [42] } }]);
        let (Parts { template, .. }, notes) = converted(json!({ "spec": {
            "ephemeralContainers": [],
            "initContainers": [
                { "name": "proxy", "restartPolicy": "Always" },
                { "name": "setup", "restartPolicy": "Never", "restartPolicyRules": rules },
                { "name": "fetch", "restartPolicy": "OnFailure" },
            ],
            "containers": [{ "name": "main", "restartPolicy": "Never", "restartPolicyRules": rules }],
        } }));
        assert_eq!(
            json!(template.spec),
            json!({
                "initContainers": [{ "name": "proxy", "restartPolicy": "Always" }, { "name": "setup" }, { "name": "fetch" }],
                "containers": [{ "name": "main" }],
            })
        );
        let fields: Vec<_> = notes.iter().filter_map(|note| Some(note.split_once(':')?.0)).collect();
        assert_eq!(
            fields,
            [
                "spec.segment.duration",
                "spec.template.spec.containers.main.restartPolicyRules",
                "spec.template.spec.initContainers.setup.restartPolicyRules",
                "spec.template.spec.initContainers.fetch.restartPolicy",
            ]
        );
    }

    #[test]
    fn variables_are_set_once_in_every_container() {
        let env = json!([{ "name": "A", "value": "1" }, { "name": "A", "value": "2" }]);
        let (Parts { template, .. }, notes) = converted(json!({ "spec": {
            "initContainers": [{ "name": "setup", "env": env }],
            "containers": [{ "name": "main", "env": env }],
        } }));
        let spec = json!(template.spec);
        for containers in ["containers", "initContainers"] {
            assert_eq!(spec[containers][0]["env"], json!([{ "name": "A", "value": "2" }]), "{containers}");
        }
        assert!(notes[1].starts_with("spec.template.spec.containers.main.env: A is set more than once"), "{notes:?}");
    }

    #[test]
    fn more_containers_than_fit_are_cut() {
        let containers: Vec<_> = (0..=MOST_CONTAINERS).map(|n| json!({ "name": format!("c{n}") })).collect();
        let (Parts { template, .. }, notes) = converted(json!({ "spec": { "containers": containers } }));
        assert_eq!(template.spec.expect("a pod").containers.len(), MOST_CONTAINERS);
        assert_eq!(notes[1], "spec.template.spec.containers: 1 are dropped; a task takes 100");
    }

    #[test]
    fn the_main_container_is_the_one_that_the_operator_will_take() {
        for (marked, main) in [(Some("work"), "work"), (Some("gone"), "proxy"), (None, "proxy")] {
            let annotations = json!(marked.map(|name| json!({ labels::DEFAULT_CONTAINER: name })));
            let (template, notes) = converted(json!({
                "metadata": { "annotations": annotations },
                "spec": { "containers": [{ "name": "proxy" }, { "name": "work" }] },
            }));
            assert_eq!(template.main.name, main);
            assert!(
                notes[1].starts_with(&format!("spec.template.spec.containers: {main} is the main one")),
                "{notes:?}"
            );
        }
    }
}
