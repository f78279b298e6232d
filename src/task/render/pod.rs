//! The pod object.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, NodeSelectorRequirement, NodeSelectorTerm, Pod, PodSpec, PreferredSchedulingTerm},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use super::{
    agent::{self, AgentConfig},
    claims, env,
    made::Made,
    owner,
};
use crate::{
    api::{
        labels,
        task::{CurrentAttempt, LongTask, LongTaskStatus},
    },
    types::MemorySize,
};

/// The most that a preference of the scheduler can weigh.
const MOST_WEIGHT: i32 = 100;

/// The name of an attempt's pod. Task names have at most 52 characters, so it fits into 63.
pub fn pod_name(task: &str, attempt: i64) -> String {
    format!("{task}-{attempt}")
}

/// The pod of an attempt that may run for `slice_seconds` once its main container runs. It gets an agent if the task wants
/// one and there is one.
pub fn pod(
    task: &LongTask,
    uid: &str,
    status: &LongTaskStatus,
    attempt: &CurrentAttempt,
    slice_seconds: i64,
    agent: Option<&AgentConfig>,
) -> Pod {
    let agent = agent::of(task, agent);
    let mut spec = task.spec.pod().cloned().unwrap_or_default();
    let main = main_container(task, &spec);
    let segment = &task.spec.segment;
    spec.restart_policy = Some("Never".into());
    spec.termination_grace_period_seconds = Some(segment.grace_period.as_secs());
    let deadline = segment.start_timeout.as_secs().saturating_add(slice_seconds);
    spec.active_deadline_seconds = Some(deadline.clamp(1, i64::from(i32::MAX)));
    spec.automount_service_account_token = Some(spec.automount_service_account_token.unwrap_or(false));
    for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
        let report = (container.name == main).then(|| env::report_path(container, agent.is_some()));
        let ours = env::for_every_container(task, uid, status, attempt);
        env::add(container, report.into_iter().chain(ours));
    }
    if let Some(container) = spec.containers.iter_mut().find(|container| container.name == main) {
        raise_memory(container, status.memory);
    }
    avoid_nodes(&mut spec, &status.avoid_nodes);
    claims::add(&mut spec, task);
    let mut metadata = metadata(task, uid, status, attempt, main.clone());
    if let Some(config) = agent {
        agent::add(&mut spec, Made { task, uid, status, attempt, main: &main }, config);
        agent::annotate(metadata.annotations.get_or_insert_default(), &spec);
    }
    Pod { metadata, spec: Some(spec), status: None }
}

fn metadata(task: &LongTask, uid: &str, status: &LongTaskStatus, attempt: &CurrentAttempt, main: String) -> ObjectMeta {
    let template = task.spec.template.as_ref().and_then(|template| template.metadata.clone()).unwrap_or_default();
    let name = task.metadata.name.clone().unwrap_or_default();
    let mut all_labels = template.labels.unwrap_or_default();
    all_labels.extend(BTreeMap::from([
        (labels::TASK.to_owned(), name),
        (labels::TASK_UID.to_owned(), uid.to_owned()),
        (labels::RUN.to_owned(), status.run.number.to_string()),
        (labels::SEGMENT.to_owned(), attempt.segment.to_string()),
        (labels::ATTEMPT.to_owned(), attempt.number.to_string()),
    ]));
    let mut annotations = template.annotations.unwrap_or_default();
    annotations.insert(labels::GENERATION.to_owned(), attempt.generation.to_string());
    annotations.insert(labels::SEGMENT_SECONDS.to_owned(), task.spec.segment.duration.as_secs().to_string());
    annotations.insert(labels::MAIN_CONTAINER.to_owned(), main.clone());
    annotations.insert(labels::DEFAULT_CONTAINER.to_owned(), main);
    if let Some(hash) = &attempt.template_hash {
        annotations.insert(labels::TEMPLATE_HASH.to_owned(), hash.clone());
    }
    if let Some(group) = &attempt.pod_group {
        all_labels.insert(labels::KUEUE_GROUP.to_owned(), group.clone());
        annotations.insert(labels::POD_GROUP.to_owned(), group.clone());
        annotations.insert(labels::KUEUE_GROUP_SIZE.to_owned(), "1".to_owned());
    }
    if let Some(memory) = status.memory {
        annotations.insert(labels::RAISED_MEMORY.to_owned(), memory.to_string());
    }
    ObjectMeta {
        name: Some(attempt.pod_name.clone()),
        namespace: task.metadata.namespace.clone(),
        labels: Some(all_labels),
        annotations: Some(annotations),
        finalizers: Some(vec![labels::OUTCOME_FINALIZER.to_owned()]),
        owner_references: Some(vec![owner::reference(task, uid)]),
        ..ObjectMeta::default()
    }
}

/// The container whose exit code and report count: the one that `segment.container` names, else the one that the
/// template marks, else the first.
fn main_container(task: &LongTask, spec: &PodSpec) -> String {
    let template = task.spec.template.as_ref().and_then(|template| template.metadata.as_ref());
    let marked = template.and_then(|meta| meta.annotations.as_ref()?.get(labels::DEFAULT_CONTAINER));
    let is_there = |name: &&String| spec.containers.iter().any(|container| container.name == **name);
    let named = task.spec.segment.container.as_ref().filter(is_there).or(marked.filter(is_there));
    let first = || spec.containers.first().map(|container| container.name.clone());
    named.cloned().or_else(first).unwrap_or_default()
}

/// The memory limit that the template gives the main container.
pub fn memory_limit(task: &LongTask) -> Option<MemorySize> {
    let spec = task.spec.pod()?;
    let main = main_container(task, spec);
    spec.containers.iter().find(|container| container.name == main).and_then(limit_of)
}

fn limit_of(container: &Container) -> Option<MemorySize> {
    container.resources.as_ref()?.limits.as_ref()?.get("memory")?.try_into().ok()
}

/// Raises the memory limit, and the request with it: a container that is known to need the memory should have it
/// reserved. A higher limit is left alone; where there is none, a LimitRange would set the one that was too low.
fn raise_memory(container: &mut Container, raised: Option<MemorySize>) {
    let Some(memory) = raised.filter(|raised| limit_of(container).is_none_or(|limit| *raised > limit)) else { return };
    let resources = container.resources.get_or_insert_default();
    for amounts in [&mut resources.limits, &mut resources.requests] {
        amounts.get_or_insert_default().insert("memory".into(), memory.into());
    }
}

/// Asks the scheduler to prefer other nodes. By the node's name, not its hostname label, which need not be the same.
fn avoid_nodes(spec: &mut PodSpec, nodes: &[String]) {
    if nodes.is_empty() {
        return;
    }
    let not_this = |node: &String| NodeSelectorRequirement {
        key: "metadata.name".into(),
        operator: "NotIn".into(),
        values: Some(vec![node.clone()]),
    };
    let preference =
        NodeSelectorTerm { match_fields: Some(nodes.iter().map(not_this).collect()), ..NodeSelectorTerm::default() };
    let affinity = spec.affinity.get_or_insert_default().node_affinity.get_or_insert_default();
    affinity
        .preferred_during_scheduling_ignored_during_execution
        .get_or_insert_default()
        .push(PreferredSchedulingTerm { weight: MOST_WEIGHT, preference });
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use k8s_openapi::api::core::v1::Container;
    use serde_json::{Value, json};

    use super::*;
    use crate::types::GoDuration;

    /// The pod of attempt 3, segment 2, from this template and segment.
    fn rendered(template: Value, segment: Value, status: Value) -> Pod {
        rendered_for(template, segment, status, 90)
    }

    /// Likewise, for a slice of this length.
    #[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
    fn rendered_for(template: Value, segment: Value, status: Value, slice_seconds: i64) -> Pod {
        let task: LongTask = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": "t", "namespace": "n", "generation": 4, "labels": { "own": "not copied" } },
            "spec": { "template": template, "segment": segment },
        }))
        .expect("a task");
        let mut status: LongTaskStatus = serde_json::from_value(status).expect("a status");
        status.run.number = 2;
        let attempt: CurrentAttempt = serde_json::from_value(json!({
            "number": 3, "segment": 2, "state": "Creating", "podName": "t-3", "generation": 4,
            "creationTime": "2026-11-24T10:00:00Z",
        }))
        .expect("an attempt");
        pod(&task, "task-uid", &status, &attempt, slice_seconds, None)
    }

    fn two_containers() -> Value {
        json!({ "spec": {
            "containers": [{ "name": "side" }, { "name": "work", "terminationMessagePath": "/tmp/report" }],
            "initContainers": [{ "name": "init" }],
        } })
    }

    fn spec(pod: &Pod) -> PodSpec {
        pod.spec.clone().expect("a spec")
    }

    fn env(container: &Container) -> BTreeMap<String, String> {
        let all = container.env.clone().unwrap_or_default();
        all.into_iter().map(|variable| (variable.name, variable.value.unwrap_or_default())).collect()
    }

    #[test]
    fn a_pod_carries_what_the_operator_needs_to_find_it_again() {
        let pod = rendered(
            json!({ "metadata": { "labels": { "app": "x", "longtask.dev/attempt": "9" } },
                    "spec": { "containers": [{ "name": "main" }] } }),
            json!({}),
            json!({}),
        );
        let labels = pod.metadata.labels.clone().expect("labels");
        let expected = [
            ("app", "x"),
            ("longtask.dev/attempt", "3"),
            ("longtask.dev/run", "2"),
            ("longtask.dev/segment", "2"),
            ("longtask.dev/task", "t"),
            ("longtask.dev/task-uid", "task-uid"),
        ];
        assert_eq!(labels, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        let annotations = pod.metadata.annotations.clone().expect("annotations");
        assert_eq!(annotations["longtask.dev/generation"], "4");
        assert_eq!(annotations["longtask.dev/segment-seconds"], "3600");
        assert_eq!(annotations["longtask.dev/main-container"], "main");
        assert_eq!((pod.metadata.name.as_deref(), pod.metadata.namespace.as_deref()), (Some("t-3"), Some("n")));
        assert_eq!(pod.metadata.finalizers, Some(vec!["longtask.dev/outcome".to_owned()]));
        let owner = &pod.metadata.owner_references.as_ref().expect("an owner")[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str(), owner.controller), ("LongTask", "task-uid", Some(true)));
    }

    #[test]
    fn a_pod_of_a_group_is_the_only_one_in_it_whatever_its_template_says() {
        let template = json!({ "metadata": { "labels": { "kueue.x-k8s.io/pod-group-name": "mine" } },
                               "spec": { "containers": [{ "name": "main" }] } });
        let of = |group: Option<&str>| {
            let task = json!({ "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
                               "metadata": { "name": "t" }, "spec": { "template": template } });
            let attempt = json!({ "number": 3, "segment": 2, "state": "Creating", "podName": "t-3", "generation": 4,
                                  "creationTime": "2026-11-24T10:00:00Z", "podGroup": group });
            let task = serde_json::from_value(task).expect("a task");
            let attempt = serde_json::from_value(attempt).expect("an attempt");
            let metadata = pod(&task, "u", &LongTaskStatus::default(), &attempt, 90, None).metadata;
            let (labels, annotations) = (metadata.labels.expect("labels"), metadata.annotations.expect("annotations"));
            let size = annotations.get("kueue.x-k8s.io/pod-group-total-count").cloned();
            (labels["kueue.x-k8s.io/pod-group-name"].clone(), size, annotations.get("longtask.dev/pod-group").cloned())
        };
        let (one, group) = (Some("1".to_owned()), Some("t-1-u".to_owned()));
        assert_eq!(of(Some("t-1-u")), ("t-1-u".to_owned(), one, group));
        assert_eq!(of(None), ("mine".to_owned(), None, None), "it is no group of ours");
    }

    #[test]
    fn a_pod_has_its_bounds_and_no_token_unless_asked_for() {
        let segment = json!({ "gracePeriod": "45s", "startTimeout": "10s" });
        let bounded = spec(&rendered(json!({ "spec": { "containers": [{ "name": "main" }] } }), segment, json!({})));
        assert_eq!((bounded.active_deadline_seconds, bounded.termination_grace_period_seconds), (Some(100), Some(45)));
        assert_eq!(bounded.restart_policy.as_deref(), Some("Never"));
        assert_eq!(bounded.automount_service_account_token, Some(false));
        let template = json!({ "spec": { "containers": [{ "name": "main" }], "automountServiceAccountToken": true } });
        assert_eq!(spec(&rendered(template, json!({}), json!({}))).automount_service_account_token, Some(true));
    }

    #[test]
    fn the_longest_deadline_is_what_the_api_server_takes() {
        let longest = "99999h99999h99999h";
        let slice_seconds = longest.parse::<GoDuration>().expect("a duration").as_secs();
        let segment = json!({ "startTimeout": longest });
        let template = json!({ "spec": { "containers": [{ "name": "main" }] } });
        let longest = spec(&rendered_for(template, segment, json!({}), slice_seconds)).active_deadline_seconds;
        assert_eq!(longest, Some(i64::from(i32::MAX)));
    }

    #[test]
    fn every_container_is_told_and_only_the_main_one_reports() {
        let pod = spec(&rendered(two_containers(), json!({ "container": "work" }), json!({})));
        let init = &pod.init_containers.as_ref().expect("one")[0];
        for container in pod.containers.iter().chain([init]) {
            let env = env(container);
            let told = ["LONGTASK_RUN", "LONGTASK_SEGMENT", "LONGTASK_ATTEMPT", "LONGTASK_SEGMENT_SECONDS"];
            assert_eq!(told.map(|name| env[name].as_str()), ["2", "2", "3", "3600"], "{}", container.name);
            assert_eq!(env["LONGTASK_IDEMPOTENCY_PREFIX"], "task-uid/2");
            assert!(!env.contains_key("LONGTASK_CHECKPOINT"), "there is none yet");
            let report = (container.name == "work").then(|| "/tmp/report".to_owned());
            assert_eq!(env.get("LONGTASK_REPORT").cloned(), report, "{}", container.name);
        }
    }

    #[test]
    fn idempotency_keys_are_those_of_the_beginning_and_of_the_run_where_that_is_not_counted() {
        let prefix = |run: Value| {
            let template = json!({ "spec": { "containers": [{ "name": "main" }] } });
            let pod = spec(&rendered(template, json!({}), json!({ "run": run })));
            env(&pod.containers[0])["LONGTASK_IDEMPOTENCY_PREFIX"].clone()
        };
        assert_eq!(prefix(json!({ "beginnings": 1 })), "task-uid/1");
        assert_eq!(prefix(json!({ "beginnings": 3 })), "task-uid/3");
        assert_eq!(prefix(json!({})), "task-uid/2");
    }

    #[test]
    fn the_checkpoint_is_handed_over_as_it_was_reported() {
        let recorded = |what: Value| {
            let mut checkpoint =
                json!({ "sequence": 7, "attempt": 2, "segment": 1, "recordTime": "2026-11-24T10:00:00Z" });
            checkpoint.as_object_mut().expect("an object").extend(what.as_object().expect("an object").clone());
            let template = json!({ "spec": { "containers": [{ "name": "main" }] } });
            env(&spec(&rendered(template, json!({}), json!({ "checkpoint": checkpoint }))).containers[0])
        };
        let env = recorded(json!({ "data": { "path": "$(HOME)/a$b" } }));
        // The kubelet reads `$$` as `$`.
        assert_eq!(env["LONGTASK_CHECKPOINT"], r#"{"path":"$$(HOME)/a$$b"}"#);
        assert_eq!(env["LONGTASK_CHECKPOINT_SEQUENCE"], "7");
        let env = recorded(json!({ "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 9 }));
        let reference: Value = serde_json::from_str(&env["LONGTASK_CHECKPOINT"]).expect("JSON");
        assert_eq!(reference, json!({ "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 9 }));
        assert_eq!(recorded(json!({ "uri": "s3://b/k" }))["LONGTASK_CHECKPOINT"], r#"{"uri":"s3://b/k"}"#);
    }

    #[test]
    fn every_container_gets_the_input_whole_and_by_its_keys() {
        let told = |input: Value| {
            let task: LongTask = serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "t" },
                "spec": { "template": two_containers(), "input": input },
            }))
            .expect("a task");
            let attempt: CurrentAttempt = serde_json::from_value(json!({
                "number": 1, "segment": 1, "state": "Creating", "podName": "t-1", "generation": 1,
                "creationTime": "2026-11-24T10:00:00Z",
            }))
            .expect("an attempt");
            let pod = spec(&pod(&task, "u", &LongTaskStatus::default(), &attempt, 90, None));
            let init = pod.init_containers.iter().flatten().cloned().collect::<Vec<_>>();
            let of_inputs = |container: &Container| {
                let mut all = env(container);
                all.retain(|name, _| name.starts_with("LONGTASK_INPUT"));
                all
            };
            pod.containers.iter().chain(&init).map(of_inputs).collect::<Vec<_>>()
        };
        let all = told(json!({ "file": "$(X) \"a\"", "deep": { "z": 1, "a": "$" }, "n": 7 }));
        // The kubelet reads `$$` as `$`.
        let expected = [
            ("LONGTASK_INPUT", r#"{"deep":{"a":"$$","z":1},"file":"$$(X) \"a\"","n":7}"#),
            ("LONGTASK_INPUT_file", r#"$$(X) "a""#),
            ("LONGTASK_INPUT_n", "7"),
        ];
        let expected: BTreeMap<_, _> = expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(all, vec![expected; 3]);
        assert_eq!(told(json!({}))[0]["LONGTASK_INPUT"], "{}");
        assert!(told(Value::Null)[0].is_empty(), "no input, no variable");
    }

    #[test]
    fn a_name_that_the_template_sets_is_left_alone() {
        let template = json!({ "spec": { "containers": [{ "name": "main", "env": [
            { "name": "LONGTASK_REPORT", "value": "/mine" },
            { "name": "TRACEPARENT", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } },
            { "name": "GREETING", "value": "$(LONGTASK_NAME)" },
        ] }] } });
        let container = spec(&rendered(template, json!({}), json!({}))).containers[0].clone();
        let all = container.env.clone().expect("variables");
        assert_eq!(all.iter().filter(|variable| variable.name == "TRACEPARENT").count(), 1);
        assert_eq!(env(&container)["LONGTASK_REPORT"], "/mine");
        // The kubelet expands a variable from those before it.
        let place = |name| all.iter().position(|variable| variable.name == name);
        assert!(place("LONGTASK_NAME") < place("GREETING"));
    }

    #[test]
    fn the_main_container_is_the_named_one_then_the_marked_one_then_the_first() {
        let main = |segment: Value, marked: Option<&str>| {
            let mut template = two_containers();
            template["metadata"] =
                json!({ "annotations": marked.map(|name| json!({ labels::DEFAULT_CONTAINER: name })) });
            rendered(template, segment, json!({})).metadata.annotations.expect("some")[labels::DEFAULT_CONTAINER]
                .clone()
        };
        assert_eq!(main(json!({ "container": "work" }), Some("side")), "work");
        assert_eq!(main(json!({}), Some("work")), "work");
        assert_eq!(main(json!({}), Some("unknown")), "side");
        assert_eq!(main(json!({}), None), "side");
    }

    #[test]
    fn a_run_is_one_trace_and_each_attempt_a_span_of_it() {
        let parent = |uid, run, attempt| {
            let task = LongTask::new("t", serde_json::from_value(json!({ "template": {} })).expect("a spec"));
            let mut status = LongTaskStatus::default();
            status.run.number = run;
            let attempt: CurrentAttempt = serde_json::from_value(json!({
                "number": attempt, "segment": 1, "state": "Creating", "podName": "p", "generation": 1,
                "creationTime": "2026-11-24T10:00:00Z",
            }))
            .expect("an attempt");
            let env = env::for_every_container(&task, uid, &status, &attempt);
            let found = env.into_iter().find(|variable| variable.name == "TRACEPARENT");
            found.and_then(|variable| variable.value).expect("a parent")
        };
        let (one, two) = (parent("u", 1, 1), parent("u", 1, 2));
        assert_eq!((one.len(), &one[..36]), (55, &two[..36]));
        assert_ne!(one, two);
        assert_ne!(&one[..36], &parent("u", 2, 1)[..36]);
    }
}
