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
                "ttlAfterFailed": "10m",
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
    - {action: Ignore, onExitCodes: {operator: In, values: [256]}}
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
            "spec.template.spec.containers",
            "spec.podFailurePolicy.rules[0]",
            "spec.podFailurePolicy.rules[1]",
            "spec.podFailurePolicy.rules[2]",
            "metadata.name",
        ]
    );
}

/// What becomes of the fields below `spec`, and the notes beside the one about segments.
fn specified(spec: &str) -> (Value, Vec<String>) {
    let job = format!("metadata: {{name: j}}\nspec: {{{spec}, template: {{spec: {{containers: [{{name: main}}]}}}}}}");
    let Converted { mut task, mut notes } = converted(&job);
    notes.retain(|note| !note.starts_with("spec.segment.duration"));
    for same in ["segment", "template"] {
        task["spec"].as_object_mut().expect("a spec").remove(same);
    }
    (task["spec"].take(), notes)
}

#[test]
fn a_limit_that_a_task_cannot_have_is_the_next_that_it_can() {
    let (spec, notes) = specified("activeDeadlineSeconds: 0, ttlSecondsAfterFinished: 0");
    assert_eq!(spec, json!({ "limits": { "wallTime": "1s" }, "ttlAfterFinished": "0s", "ttlAfterFailed": "0s" }));
    assert_eq!(notes, ["spec.activeDeadlineSeconds: 0 is 1s now, the least that a task takes"]);
}

#[test]
fn a_limit_that_is_as_good_as_none_is_none() {
    let (spec, notes) = specified("activeDeadlineSeconds: 359999999, ttlSecondsAfterFinished: 359999999");
    let longest = "99999h59m59s";
    let limits = json!({ "wallTime": longest });
    assert_eq!(spec, json!({ "limits": limits, "ttlAfterFinished": longest, "ttlAfterFailed": longest }));
    assert_eq!(notes, [""; 0]);
    for (active, ttl) in [(360_000_000, 360_000_000), (999_999_999, 999_999_999), (i64::MAX, i32::MAX)] {
        let (spec, notes) = specified(&format!("activeDeadlineSeconds: {active}, ttlSecondsAfterFinished: {ttl}"));
        assert_eq!(spec, json!({}));
        assert_eq!(
            notes,
            [
                format!(
                    "spec.activeDeadlineSeconds: dropped; {active} seconds are as good as for ever, and so is no limit"
                ),
                format!(
                    "spec.ttlSecondsAfterFinished: dropped; {ttl} seconds are as good as for ever, and so is no limit"
                ),
            ]
        );
    }
}

#[test]
fn any_number_of_failures_is_a_budget() {
    for failures in [0, i32::MAX] {
        let (spec, notes) = specified(&format!("backoffLimit: {failures}"));
        assert_eq!((spec, notes.len()), (json!({ "retry": { "budgets": { "failures": failures } } }), 0));
    }
}

#[test]
fn a_job_that_may_have_no_pods_is_a_task_that_is_suspended() {
    let (spec, notes) = specified("parallelism: 0");
    assert_eq!(spec, json!({ "suspend": true }));
    assert_eq!(notes, ["spec.parallelism: 0 is suspend: true now"]);
}

#[test]
fn what_is_so_in_every_job_needs_no_note() {
    let (_, notes) = specified(
        "completions: 1, parallelism: 1, completionMode: NonIndexed, manualSelector: false, suspend: false, \
         podReplacementPolicy: TerminatingOrFailed, managedBy: kubernetes.io/job-controller, \
         selector: {matchLabels: {batch.kubernetes.io/controller-uid: x}}",
    );
    assert_eq!(notes, [""; 0]);
}

#[test]
fn nothing_of_a_job_in_a_cluster_that_is_not_the_users_is_carried_over() {
    let Converted { task, notes } = converted(
        "
apiVersion: batch/v1
kind: Job
metadata:
  name: import
  namespace: team-a
  uid: 9f0c
  resourceVersion: '812'
  generation: 1
  creationTimestamp: 2026-11-25T06:00:00Z
  deletionTimestamp: 2026-11-25T07:00:00Z
  finalizers: [orphan]
  ownerReferences: [{apiVersion: batch/v1, kind: CronJob, name: nightly, uid: 77, controller: true}]
  managedFields: [{manager: kubectl, operation: Apply, apiVersion: batch/v1, time: 2026-11-25T06:00:00Z, fieldsType: FieldsV1, fieldsV1: {'f:spec': {}}}]
  labels: {team: a, controller-uid: 9f0c, job-name: import, batch.kubernetes.io/controller-uid: 9f0c, batch.kubernetes.io/job-name: import}
  annotations: {batch.kubernetes.io/job-tracking: '', batch.kubernetes.io/cronjob-scheduled-timestamp: x, kubectl.kubernetes.io/last-applied-configuration: '{}'}
spec:
  selector: {matchLabels: {batch.kubernetes.io/controller-uid: 9f0c}}
  template:
    metadata:
      creationTimestamp: null
      finalizers: [batch.kubernetes.io/job-tracking]
      labels: {app: import, controller-uid: 9f0c, job-name: import, batch.kubernetes.io/controller-uid: 9f0c, batch.kubernetes.io/job-name: import}
    spec: {restartPolicy: Never, containers: [{name: main}]}
status: {active: 1, ready: 1, startTime: 2026-11-25T06:00:00Z, uncountedTerminatedPods: {}}
",
    );
    assert_eq!(task["metadata"], json!({ "name": "import", "namespace": "team-a", "labels": { "team": "a" } }));
    assert_eq!(task["spec"]["template"]["metadata"], json!({ "labels": { "app": "import" } }));
    assert_eq!(task.get("status"), None);
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_cron_job_gives_the_task_that_each_of_its_jobs_would() {
    let cron_job = "
metadata: {name: nightly, namespace: team-a, labels: {of: the-cron-job}}
spec:
  schedule: \"0 3 * * *\\n\"
  jobTemplate:
    metadata: {labels: {of: the-jobs}}
    spec:
      backoffLimit: 2
      template: {spec: {restartPolicy: Never, containers: [{name: main}]}}
";
    let Converted { task, notes } =
        convert_scheduled(serde_saphyr::from_str(cron_job).expect("a CronJob")).expect("a task");
    let metadata = json!({ "name": "nightly", "namespace": "team-a", "labels": { "of": "the-jobs" } });
    assert_eq!((&task["metadata"], &task["spec"]["retry"]), (&metadata, &json!({ "budgets": { "failures": 2 } })));
    assert!(notes[0].starts_with(r#"spec.schedule: "0 3 * * *\n" is dropped"#), "{notes:?}");
    assert!(notes[0].contains("keep a CronJob") && notes[0].contains("metadata.generateName: nightly- "), "{notes:?}");
}
