//! Manifests that are accepted.

use crate::{
    kubectl::{kubectl, task, try_apply},
    manifests::{self, Manifest},
};

/// What is special, and what stands below `spec`.
const ACCEPTED: &[(&str, &str)] = &[
    (
        "live reports",
        "reporting: {mode: Live, interval: 5s}\nsegment: {duration: 6h, heartbeatTimeout: 30m}\ncheckpoint: {staleAfter: 20m}",
    ),
    ("the resources of an agent", "reporting: {mode: Live}\nagent: {resources: {limits: {cpu: 50m, memory: 64Mi}}}"),
    (
        "volumes of the task's own",
        "volumeClaimTemplates: [{metadata: {name: data, labels: {tier: fast}}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Gi}}}}]\npersistentVolumeClaimRetentionPolicy: {whenDeleted: Delete, whenSucceeded: Delete}",
    ),
    (
        "quota that is kept",
        "kueue: {quota: PerRun}\ntemplate: {metadata: {labels: {kueue.x-k8s.io/queue-name: team}}, spec: {containers: [{name: main, image: i}]}}",
    ),
    ("quota for each segment, of a queue that Kueue gives by itself", "kueue: {quota: PerSegment}"),
    ("nothing but a template", ""),
    ("the shortest segment", "segment: {duration: 5s, gracePeriod: 1s, startTimeout: 1s, schedulingTimeout: 1s}"),
    ("a duration of three terms", "segment: {duration: 1h30m15s}"),
    ("a duration of a year", "limits: {wallTime: 8760h}"),
    ("no exit codes that continue", "segment: {continueExitCodes: []}"),
    (
        "every limit",
        "limits: {activeTime: 24h, wallTime: 72h, deadline: '2026-11-25T06:00:00Z', segments: 500, attempts: 1000}",
    ),
    ("a deadline in another zone", "limits: {deadline: '2026-11-25T07:00:00+01:00'}"),
    ("a task that keeps its own checkpoints", "checkpoint: {source: External, historyLimit: 0}"),
    ("unlimited budgets, and none", "retry: {budgets: {failures: -1, stalls: 0, startFailures: 0, interruptions: -1}}"),
    ("a factor with decimals", "retry: {backoff: {multiplier: '1.125', jitter: Additive}}"),
    ("the largest factor", "retry: {backoff: {multiplier: 10, initial: 5m, max: 5m}}"),
    ("no waiting on the program's word", "retry: {resetOnProgress: false, maxRetryAfter: 0s}"),
    ("a task that begins suspended", "suspend: true"),
    ("a task that begins cancelled", "cancel: true"),
    ("the longest history of pods", "podHistoryLimit: 100"),
    ("null for a default", "segment: {duration: null}\nretry: null\nsuspend: null"),
    ("a restart policy of Never", "template: {spec: {restartPolicy: Never, containers: [{name: main, image: x}]}}"),
    (
        "a sidecar",
        "template: {spec: {initContainers: [{name: proxy, image: x, restartPolicy: Always}, {name: setup, image: x}], containers: [{name: main, image: x}]}}",
    ),
    (
        "a main container by name",
        "segment: {container: work}\ntemplate: {spec: {containers: [{name: proxy, image: x}, {name: work, image: x}]}}",
    ),
    (
        "quantities and ports as numbers",
        "template: {spec: {containers: [{name: main, image: x, resources: {limits: {cpu: 2, memory: 8589934592}}, \
         livenessProbe: {httpGet: {port: 80}}, readinessProbe: {tcpSocket: {port: http}}}]}}",
    ),
    (
        "two ports of one number",
        "template: {spec: {containers: [{name: main, image: x, ports: [{containerPort: 80}, {name: again, containerPort: 80}]}]}}",
    ),
    (
        "labels and annotations",
        "template: {metadata: {labels: {app: x}, annotations: {kubectl.kubernetes.io/default-container: main}}, spec: {containers: [{name: main, image: x}]}}",
    ),
];

#[test]
fn a_sound_manifest_is_accepted() {
    let manifests = ACCEPTED.iter().map(|(what, spec)| (*what, task("sound", spec)));
    let long_name = ("a name of 52 characters", task(&"a".repeat(52), ""));
    let refused: Vec<_> = manifests
        .chain([long_name])
        .map(|(what, manifest)| (what, try_apply(&manifest)))
        .filter(|(_, answer)| !answer.is_ok)
        .map(|(what, answer)| format!("{what}: {}", answer.err))
        .collect();
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn the_manifests_of_examples_and_documentation_are_accepted() {
    for Manifest { file, text } in manifests::all() {
        let answer = try_apply(&text);
        assert!(answer.is_ok, "{file}: {}", answer.err);
    }
}

#[test]
fn what_is_left_out_is_filled_in() {
    let apply = [
        "apply",
        "--dry-run=server",
        "-o",
        "jsonpath={.spec.segment.duration} {.spec.segment.continueExitCodes} \
        {.spec.checkpoint.source} {.spec.retry.budgets.interruptions} {.spec.retry.backoff.jitter} {.spec.suspend} \
        {.spec.podHistoryLimit}",
        "-f",
        "-",
    ];
    let stored = kubectl(&apply, &task("defaults", "segment: {duration: null}")).expect_ok();
    assert_eq!(stored, "1h [75] Report -1 Full false 3");
}
