//! A batch/v1 Job as a LongTask. No I/O.

use k8s_openapi::{
    api::{
        batch::v1::{Job, JobSpec, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyRule},
        core::v1::{PodSpec, PodTemplateSpec},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::Resource;
use serde_json::{Map, Value, json};

use crate::api::{GoDuration, LongTask};

/// The longest name of a task.
const LONGEST_NAME: usize = 52;
/// The segment of a Job that has no limit for a pod.
const SEGMENT: GoDuration = GoDuration::from_hours(1);
/// What the Job controller writes onto pods.
const OF_JOBS: [&str; 3] = ["batch.kubernetes.io/", "controller-uid", "job-name"];

/// A task that was made from a Job.
#[derive(Debug)]
pub(super) struct Converted {
    /// The manifest.
    pub(super) task: Value,
    /// What the user should know: what has no counterpart, and what means something else now.
    pub(super) notes: Vec<String>,
}

/// The task that does what the Job does.
pub(super) fn convert(job: Job) -> Result<Converted, serde_json::Error> {
    let mut notes = Vec::new();
    let Job { metadata, spec, status: _ } = job;
    // Without `..`: a field that a later version of Kubernetes adds must not be forgotten here.
    let JobSpec {
        active_deadline_seconds,
        backoff_limit,
        backoff_limit_per_index,
        completion_mode,
        completions,
        managed_by,
        manual_selector: _,
        max_failed_indexes,
        parallelism,
        pod_failure_policy,
        pod_replacement_policy: _,
        scheduling,
        selector: _,
        success_policy,
        suspend,
        template,
        ttl_seconds_after_finished,
    } = spec.unwrap_or_default();

    for (field, given) in [("completions", completions), ("parallelism", parallelism)] {
        if given.is_some_and(|number| number != 1) {
            notes.push(format!(
                "spec.{field}: dropped; a task runs one pod at a time: make a task for each piece of work"
            ));
        }
    }
    for (field, is_given) in [
        ("completionMode", completion_mode.is_some_and(|mode| mode != "NonIndexed")),
        ("backoffLimitPerIndex", backoff_limit_per_index.is_some()),
        ("maxFailedIndexes", max_failed_indexes.is_some()),
        ("successPolicy", success_policy.is_some()),
        ("managedBy", managed_by.is_some()),
        ("scheduling", scheduling.is_some()),
    ] {
        if is_given {
            notes.push(format!("spec.{field}: dropped; it has no counterpart"));
        }
    }
    let mut spec = Map::new();
    let (template, segment) = template_of(template, &mut notes);
    let main = template.spec.as_ref().and_then(|pod| pod.containers.first()).map(|main| main.name.clone());
    let containers = template.spec.as_ref().map_or(0, |pod| pod.containers.len());
    if let Some(seconds) = active_deadline_seconds {
        spec.insert("limits".into(), json!({ "wallTime": GoDuration::from_secs(seconds) }));
    }
    if let Some(failures) = backoff_limit {
        spec.insert("retry".into(), json!({ "budgets": { "failures": failures } }));
    }
    if let Some(seconds) = ttl_seconds_after_finished {
        spec.insert("ttlAfterFinished".into(), json!(GoDuration::from_secs(seconds.into())));
    }
    if suspend == Some(true) {
        spec.insert("suspend".into(), json!(true));
    }
    if let Some(policy) = pod_failure_policy {
        let rules: Vec<_> = policy
            .rules
            .into_iter()
            .enumerate()
            .filter_map(|(at, rule)| rule_of(rule, at + 1, main.as_deref(), containers, &mut notes))
            .collect();
        if !rules.is_empty() {
            spec.insert("failurePolicy".into(), json!({ "rules": rules }));
        }
    }
    spec.insert("segment".into(), segment);
    spec.insert("template".into(), serde_json::to_value(template)?);
    let task = json!({
        "apiVersion": LongTask::api_version(&()),
        "kind": LongTask::kind(&()),
        "metadata": metadata_of(metadata, &mut notes),
        "spec": spec,
    });
    Ok(Converted { task, notes })
}

/// Only what a user writes.
fn metadata_of(metadata: ObjectMeta, notes: &mut Vec<String>) -> Value {
    let ObjectMeta { name, generate_name, namespace, labels, annotations, .. } = metadata;
    let mut name = name.unwrap_or_else(|| {
        let name = generate_name.as_deref().unwrap_or("task").trim_end_matches('-').to_owned();
        notes.push(format!("metadata.name: the Job has none; it is {name} now"));
        name
    });
    if name.len() > LONGEST_NAME {
        // Names of objects are ASCII.
        let room: String = name.chars().take(LONGEST_NAME).collect();
        room.trim_end_matches(['-', '.']).clone_into(&mut name);
        notes.push(format!("metadata.name: cut to {LONGEST_NAME} characters, so that the pods' numbers fit behind it"));
    }
    let mut written = Map::from_iter([("name".to_owned(), json!(name))]);
    if let Some(namespace) = namespace {
        written.insert("namespace".into(), json!(namespace));
    }
    let labels: Map<_, _> = of_the_user(labels);
    if !labels.is_empty() {
        written.insert("labels".into(), Value::Object(labels));
    }
    let mut annotations: Map<_, _> = of_the_user(annotations);
    annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    if !annotations.is_empty() {
        written.insert("annotations".into(), Value::Object(annotations));
    }
    Value::Object(written)
}

/// The labels or annotations that the Job controller has not written.
fn of_the_user<C: FromIterator<(String, V)>, V: From<String>>(
    all: Option<std::collections::BTreeMap<String, String>>,
) -> C {
    let is_of_user = |key: &str| !OF_JOBS.iter().any(|prefix| key.starts_with(prefix));
    all.into_iter().flatten().filter(|(key, _)| is_of_user(key)).map(|(key, value)| (key, value.into())).collect()
}

/// The template as a task takes it, and the segment that its own limits make.
fn template_of(template: PodTemplateSpec, notes: &mut Vec<String>) -> (PodTemplateSpec, Value) {
    let metadata = template.metadata.unwrap_or_default();
    let mut pod: PodSpec = template.spec.unwrap_or_default();
    if pod.restart_policy.take().is_some_and(|policy| policy == "OnFailure") {
        notes.push(
            "spec.template.spec.restartPolicy: OnFailure is dropped; a failure is followed by a new pod, and backoffLimit \
             counts pods"
                .to_owned(),
        );
    }
    let limit = pod.active_deadline_seconds.take();
    let duration = limit.map_or(SEGMENT, GoDuration::from_secs);
    let mut segment = json!({ "duration": duration });
    if let Some(seconds) = pod.termination_grace_period_seconds.take() {
        segment["gracePeriod"] = json!(GoDuration::from_secs(seconds));
    }
    notes.push(format!(
        "spec.segment.duration: after {duration} the program gets SIGTERM and the next pod goes on from its checkpoint, \
         as docs/task-contract.md says. A program that cannot save its place needs a duration that it never reaches"
    ));
    let labels: std::collections::BTreeMap<_, String> = of_the_user(metadata.labels);
    let annotations: std::collections::BTreeMap<_, String> = of_the_user(metadata.annotations);
    let kept = ObjectMeta {
        labels: (!labels.is_empty()).then_some(labels),
        annotations: (!annotations.is_empty()).then_some(annotations),
        ..ObjectMeta::default()
    };
    let is_empty = kept == ObjectMeta::default();
    (PodTemplateSpec { metadata: (!is_empty).then_some(kept), spec: Some(pod) }, segment)
}

/// The rule of a task that does what the rule of a Job does.
fn rule_of(
    rule: PodFailurePolicyRule,
    number: usize,
    main: Option<&str>,
    containers: usize,
    notes: &mut Vec<String>,
) -> Option<Value> {
    let field = format!("spec.podFailurePolicy.rules[{}]", number - 1);
    let PodFailurePolicyRule { action, on_exit_codes, on_pod_conditions } = rule;
    let action = match action.as_str() {
        "FailJob" => "Fail",
        "Ignore" => "Ignore",
        "Count" => "Retry",
        other => {
            notes.push(format!("{field}: dropped; action {other} has no counterpart"));
            return None;
        }
    };
    let mut written = json!({ "name": format!("rule-{number}"), "action": action });
    if let Some(codes) = on_exit_codes {
        let PodFailurePolicyOnExitCodesRequirement { container_name, operator, mut values } = codes;
        if container_name.as_deref().is_some_and(|name| Some(name) != main) {
            notes.push(format!("{field}: dropped; only the exit code of the main container counts"));
            return None;
        }
        // A rule is asked only about failures: 0 is none, and no process exits with more than 255.
        values.retain(|code| (1..=255).contains(code));
        if values.is_empty() {
            notes.push(format!("{field}: dropped; it has no exit code from 1 to 255"));
            return None;
        }
        if container_name.is_none() && containers > 1 {
            notes.push(format!("{field}: only the exit code of the main container counts now"));
        }
        written["onExitCodes"] = json!({ "operator": operator, "values": values });
    }
    let conditions: Vec<_> = on_pod_conditions
        .into_iter()
        .flatten()
        .map(|pattern| json!({ "type": pattern.type_, "status": pattern.status.unwrap_or_else(|| "True".to_owned()) }))
        .collect();
    if !conditions.is_empty() {
        written["onPodConditions"] = json!(conditions);
    }
    Some(written)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(job: &str) -> Converted {
        convert(serde_saphyr::from_str(job).expect("a Job")).expect("a task")
    }

    #[test]
    fn what_a_job_says_is_said_in_the_words_of_a_task() {
        let Converted { task, notes } = converted(
            "
metadata: {name: import, namespace: team-a, labels: {team: a}, uid: x, creationTimestamp: null}
spec:
  activeDeadlineSeconds: 7200
  backoffLimit: 4
  ttlSecondsAfterFinished: 600
  suspend: true
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: main, operator: In, values: [2, 3]}}
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}
    - {action: Count, onExitCodes: {operator: NotIn, values: [0, 4]}}
  template:
    metadata: {labels: {app: import, job-name: import, batch.kubernetes.io/controller-uid: x}}
    spec:
      restartPolicy: Never
      activeDeadlineSeconds: 900
      terminationGracePeriodSeconds: 45
      containers: [{name: main, image: registry.example/import:1}]
",
        );
        assert_eq!(
            task,
            json!({
                "apiVersion": "longtask.dev/v1alpha1",
                "kind": "LongTask",
                "metadata": { "name": "import", "namespace": "team-a", "labels": { "team": "a" } },
                "spec": {
                    "segment": { "duration": "15m", "gracePeriod": "45s" },
                    "limits": { "wallTime": "2h" },
                    "retry": { "budgets": { "failures": 4 } },
                    "failurePolicy": { "rules": [
                        { "name": "rule-1", "action": "Fail", "onExitCodes": { "operator": "In", "values": [2, 3] } },
                        {
                            "name": "rule-2", "action": "Ignore",
                            "onPodConditions": [{ "type": "DisruptionTarget", "status": "True" }],
                        },
                        { "name": "rule-3", "action": "Retry", "onExitCodes": { "operator": "NotIn", "values": [4] } },
                    ] },
                    "suspend": true,
                    "ttlAfterFinished": "10m",
                    "template": {
                        "metadata": { "labels": { "app": "import" } },
                        "spec": { "containers": [{ "name": "main", "image": "registry.example/import:1" }] },
                    },
                },
            })
        );
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].starts_with("spec.segment.duration: after 15m the program gets SIGTERM"), "{notes:?}");
    }

    #[test]
    fn what_has_no_counterpart_is_told() {
        let Converted { task, notes } = converted(
            "
metadata: {generateName: crunch-}
spec:
  completions: 5
  parallelism: 2
  completionMode: Indexed
  backoffLimitPerIndex: 1
  podFailurePolicy:
    rules:
    - {action: FailIndex, onExitCodes: {operator: In, values: [2]}}
    - {action: FailJob, onExitCodes: {containerName: other, operator: In, values: [2]}}
    - {action: Count, onExitCodes: {operator: NotIn, values: [0]}}
  template:
    spec:
      restartPolicy: OnFailure
      containers: [{name: main}, {name: other}]
",
        );
        assert_eq!(task["metadata"], json!({ "name": "crunch" }));
        assert_eq!(task["spec"].get("failurePolicy"), None);
        assert_eq!(task["spec"]["segment"], json!({ "duration": "1h" }));
        let fields: Vec<_> = notes.iter().filter_map(|note| Some(note.split_once(':')?.0)).collect();
        assert_eq!(
            fields,
            [
                "spec.completions",
                "spec.parallelism",
                "spec.completionMode",
                "spec.backoffLimitPerIndex",
                "spec.template.spec.restartPolicy",
                "spec.segment.duration",
                "spec.podFailurePolicy.rules[0]",
                "spec.podFailurePolicy.rules[1]",
                "spec.podFailurePolicy.rules[2]",
                "metadata.name",
            ]
        );
    }

    #[test]
    fn a_name_that_leaves_no_room_for_numbers_is_cut() {
        let name = format!("{}-{}", "a".repeat(51), "b".repeat(8));
        let Converted { task, notes } = converted(&format!("metadata: {{name: {name}}}\nspec: {{template: {{}}}}"));
        assert_eq!(task["metadata"]["name"], "a".repeat(51));
        assert!(notes.iter().any(|note| note.starts_with("metadata.name: cut")), "{notes:?}");
    }
}
