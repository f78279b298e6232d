//! Manifests that are refused, each with words that say what to write instead.

use crate::kubectl::{task, try_apply};

/// What is wrong, what stands below `spec`, and what the user must read.
const REFUSED: &[(&str, &str, &str)] = &[
    (
        "a duration in days",
        "segment: {duration: 3d}",
        "spec.segment.duration: Invalid value: \"3d\": must be a duration such as 90s, 15m or 1h30m (write 72h, not 3d), at least 5s",
    ),
    (
        "two claims of one name",
        "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}, {metadata: {name: data}, spec: {}}]",
        "spec.volumeClaimTemplates: Invalid value: each claim needs a name of its own",
    ),
    (
        "a claim of a volume's name",
        "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]\ntemplate: {spec: {volumes: [{name: data, emptyDir: {}}], containers: [{name: main, image: x}]}}",
        "spec.volumeClaimTemplates: Invalid value: each claim needs a name of its own: spec.template.spec.volumes has one",
    ),
    (
        "a claim of the operator's name",
        "volumeClaimTemplates: [{metadata: {name: longtask}, spec: {}}]",
        "are the operator's names: choose another",
    ),
    ("a claim without a name", "volumeClaimTemplates: [{metadata: {}, spec: {}}]", "metadata.name: Required value"),
    (
        "a claim whose name no volume can have",
        "volumeClaimTemplates: [{metadata: {name: My.Data}, spec: {}}]",
        "spec.volumeClaimTemplates[0].metadata.name: Invalid value",
    ),
    (
        "another word for keeping",
        "persistentVolumeClaimRetentionPolicy: {whenSucceeded: Keep}",
        "Unsupported value: \"Keep\"",
    ),
    ("a negative duration", "segment: {duration: -5s}", "must be a duration such as 90s"),
    ("a fraction of an hour", "segment: {duration: 1.5h}", "must be a duration such as 90s, 15m or 1h30m"),
    (
        "a rule that matches nothing",
        "failurePolicy: {rules: [{name: a, action: Retry}]}",
        "must have at least one of onExitCodes, onReasons, onErrorCodes and onPodConditions",
    ),
    (
        "more memory for nothing",
        "failurePolicy: {rules: [{name: a, onReasons: [Error], action: Fail, memory: {max: 1Gi}}]}",
        "spec.failurePolicy.rules[0].memory: Invalid value: goes only with an action that is followed by another attempt",
    ),
    (
        "a node avoided by nothing",
        "failurePolicy: {rules: [{name: a, onReasons: [Error], action: Hold, avoidNode: true}]}",
        "spec.failurePolicy.rules[0].avoidNode: Invalid value: goes only with an action that is followed by another attempt",
    ),
    (
        "memory that grows without end",
        "failurePolicy: {rules: [{name: a, onReasons: [OOMKilled], action: Retry, memory: {factor: 2}}]}",
        "spec.failurePolicy.rules[0].memory.max: Required value",
    ),
    (
        "memory that does not grow",
        "failurePolicy: {rules: [{name: a, onReasons: [OOMKilled], action: Retry, memory: {factor: 1, max: 1Gi}}]}",
        "spec.failurePolicy.rules[0].memory.factor: Invalid value: 1: must be more than 1, or nothing grows",
    ),
    (
        "memory in megabytes of no kind",
        "failurePolicy: {rules: [{name: a, onReasons: [OOMKilled], action: Retry, memory: {max: 16GB}}]}",
        "must be a whole amount of memory: write 512Mi or 16Gi",
    ),
    (
        "a condition that may be",
        "failurePolicy: {rules: [{name: a, onPodConditions: [{type: A, status: Maybe}], action: Fail}]}",
        "Unsupported value: \"Maybe\"",
    ),
    (
        "two rules of one name",
        "failurePolicy: {rules: [{name: a, onReasons: [Error], action: Retry}, {name: a, onReasons: [OOMKilled], action: Fail}]}",
        "each rule needs a name of its own",
    ),
    (
        "a delay before nothing",
        "failurePolicy: {rules: [{name: a, onReasons: [Error], action: Fail, delay: 5s}]}",
        "goes only with an action that is followed by another attempt: Retry, Ignore, Rollback or StartOver",
    ),
    (
        "an unknown reason",
        "failurePolicy: {rules: [{name: a, onReasons: [Bored], action: Fail}]}",
        "Unsupported value: \"Bored\"",
    ),
    (
        "an unknown action",
        "failurePolicy: {rules: [{name: a, onReasons: [Error], action: Continue}]}",
        "Unsupported value: \"Continue\"",
    ),
    (
        "exit code 0 in a rule",
        "failurePolicy: {rules: [{name: a, onExitCodes: {operator: In, values: [0]}, action: Fail}]}",
        "should be greater than or equal to 1",
    ),
    (
        "a checkpoint without its sequence",
        "restart: {token: v2, from: Checkpoint}",
        "spec.restart.checkpointSequence: Invalid value: is needed with from: Checkpoint",
    ),
    (
        "a sequence without from: Checkpoint",
        "restart: {token: v2, checkpointSequence: 3}",
        "spec.restart.checkpointSequence: Invalid value: goes only with from: Checkpoint",
    ),
    ("a restart without token", "restart: {from: Latest}", "spec.restart.token: Required value"),
    (
        "an unknown beginning",
        "restart: {token: v2, from: Start}",
        "supported values: \"Latest\", \"Beginning\", \"Checkpoint\"",
    ),
    (
        "a time to live in days",
        "ttlAfterFinished: 1d",
        "spec.ttlAfterFinished: Invalid value: \"1d\": must be a duration",
    ),
    (
        "a failure's time to live in days",
        "ttlAfterFailed: 1d",
        "spec.ttlAfterFailed: Invalid value: \"1d\": must be a duration",
    ),
    (
        "staleness within a segment",
        "segment: {duration: 2h}\ncheckpoint: {staleAfter: 2h}",
        "spec.checkpoint.staleAfter: Invalid value: must be longer than segment.duration and segment.gracePeriod together",
    ),
    (
        "staleness of checkpoints that are not recorded",
        "checkpoint: {source: External, staleAfter: 9h}",
        "spec.checkpoint.staleAfter: Invalid value: needs source Report",
    ),
    (
        "staleness within the interval of live reports",
        "reporting: {mode: Live, interval: 1m}\ncheckpoint: {staleAfter: 1m}",
        "spec.checkpoint.staleAfter: Invalid value: must be longer than reporting.interval",
    ),
    (
        "a heartbeat that nobody hears",
        "segment: {heartbeatTimeout: 30m}",
        "spec.segment.heartbeatTimeout: Invalid value: needs reporting.mode Live: silence is seen only while reports come",
    ),
    (
        "a heartbeat below 30s",
        "reporting: {mode: Live}\nsegment: {heartbeatTimeout: 29s}",
        "spec.segment.heartbeatTimeout: Invalid value: \"29s\": must be a duration",
    ),
    (
        "quota of nobody",
        "kueue: {quota: PerRun}",
        "spec.kueue.quota: Invalid value: PerRun needs the label kueue.x-k8s.io/queue-name in spec.template.metadata.labels",
    ),
    (
        "quota of a kind that does not exist",
        "kueue: {quota: PerTask}",
        "spec.kueue.quota: Unsupported value: \"PerTask\"",
    ),
    ("reports more often than every 5s", "reporting: {interval: 4s}", "at least 5s and at most 1h"),
    ("a mode that does not exist", "reporting: {mode: Always}", "spec.reporting.mode: Unsupported value: \"Always\""),
    (
        "a container of the operator's name",
        "template: {spec: {containers: [{name: longtask-agent, image: i}]}}",
        "longtask-agent and longtask-restore are the operator's names",
    ),
    (
        "an init container of the operator's name",
        "template: {spec: {containers: [{name: main, image: i}], initContainers: [{name: longtask-restore, image: i}]}}",
        "longtask-agent and longtask-restore are the operator's names",
    ),
    (
        "a volume of the operator's name",
        "template: {spec: {containers: [{name: main, image: i}], volumes: [{name: longtask, emptyDir: {}}]}}",
        "longtask, longtask-token and longtask-checkpoints are the operator's names",
    ),
    ("a duration with spaces", "segment: {duration: 1h 30m}", "must be a duration such as 90s, 15m or 1h30m"),
    ("an empty duration", "segment: {duration: ''}", "must be a duration such as 90s"),
    ("a text without unit", "segment: {duration: '90'}", "must be a duration such as 90s"),
    ("a number without unit", "segment: {duration: 90}", "spec.segment.duration in body must be of type string"),
    ("milliseconds", "segment: {duration: 90000ms}", "must be a duration such as 90s"),
    ("a segment below 5s", "segment: {duration: 4s}", "at least 5s"),
    (
        "no grace at all",
        "segment: {gracePeriod: 0s}",
        "spec.segment.gracePeriod: Invalid value: \"0s\": must be a duration such as 90s, 15m or 1h30m (write 72h, not 3d), at least 1s and at most 24h",
    ),
    ("a grace of two days", "segment: {gracePeriod: 48h}", "at most 24h"),
    ("no time to start", "segment: {startTimeout: 0s}", "spec.segment.startTimeout: Invalid value: \"0s\""),
    (
        "no time to be scheduled",
        "segment: {schedulingTimeout: 0m}",
        "spec.segment.schedulingTimeout: Invalid value: \"0m\"",
    ),
    (
        "exit code 0 to continue",
        "segment: {continueExitCodes: [0]}",
        "spec.segment.continueExitCodes[0] in body should be greater than or equal to 1",
    ),
    (
        "exit code 256",
        "segment: {continueExitCodes: [256]}",
        "spec.segment.continueExitCodes[0] in body should be less than or equal to 255",
    ),
    (
        "an exit code twice",
        "segment: {continueExitCodes: [75, 75]}",
        "spec.segment.continueExitCodes[1]: Duplicate value: 75",
    ),
    (
        "a main container that is not there",
        "segment: {container: worker}",
        "spec.segment.container: Invalid value: must be the name of one of spec.template.spec.containers",
    ),
    (
        "a main container without name",
        "segment: {container: ''}",
        "must be the name of one of spec.template.spec.containers",
    ),
    ("no active time", "limits: {activeTime: 0s}", "spec.limits.activeTime: Invalid value: \"0s\""),
    ("wall time in weeks", "limits: {wallTime: 2w}", "write 72h, not 3d"),
    (
        "a deadline in words",
        "limits: {deadline: tomorrow}",
        "spec.limits.deadline: Invalid value: \"tomorrow\": must be a point in time with its zone, before the year 9000: write 2026-11-25T06:00:00Z",
    ),
    ("a deadline without zone", "limits: {deadline: '2026-11-25T06:00:00'}", "must be a point in time with its zone"),
    (
        "a deadline at the end of time",
        "limits: {deadline: '9999-12-31T23:59:59Z'}",
        "must be a point in time with its zone, before the year 9000",
    ),
    (
        "a deadline on a day that does not exist",
        "limits: {deadline: '2026-02-30T06:00:00Z'}",
        "must be a point in time with its zone",
    ),
    ("no segments", "limits: {segments: 0}", "spec.limits.segments in body should be greater than or equal to 1"),
    ("no attempts", "limits: {attempts: 0}", "spec.limits.attempts in body should be greater than or equal to 1"),
    ("an unknown source", "checkpoint: {source: S3}", "supported values: \"Report\", \"External\""),
    (
        "a history of six",
        "checkpoint: {historyLimit: 6}",
        "spec.checkpoint.historyLimit in body should be less than or equal to 5",
    ),
    (
        "a budget of -2",
        "retry: {budgets: {failures: -2}}",
        "spec.retry.budgets.failures in body should be greater than or equal to -1",
    ),
    (
        "a backoff that shrinks",
        "retry: {backoff: {initial: 10m, max: 5m}}",
        "spec.retry.backoff.max: Invalid value: must not be less than initial",
    ),
    (
        "an initial delay above the default of max",
        "retry: {backoff: {initial: 10m}}",
        "spec.retry.backoff.max: Invalid value: must not be less than initial",
    ),
    ("no initial delay", "retry: {backoff: {initial: 0s}}", "spec.retry.backoff.initial: Invalid value: \"0s\""),
    (
        "a multiplier of 11",
        "retry: {backoff: {multiplier: 11}}",
        "spec.retry.backoff.multiplier: Invalid value: 11: must be a number from 1 to 10 with up to three decimals: write 2 or \"1.5\"",
    ),
    (
        "a multiplier below 1",
        "retry: {backoff: {multiplier: '0.5'}}",
        "must be a number from 1 to 10 with up to three decimals: write 2 or \"1.5\"",
    ),
    (
        "a multiplier as a float",
        "retry: {backoff: {multiplier: 1.5}}",
        "spec.retry.backoff.multiplier in body must be of type integer,string",
    ),
    (
        "jitter in lower case",
        "retry: {backoff: {jitter: full}}",
        "supported values: \"None\", \"Equal\", \"Full\", \"Additive\"",
    ),
    (
        "a retry after more than a week",
        "retry: {maxRetryAfter: 169h}",
        "spec.retry.maxRetryAfter: Invalid value: \"169h\": must be a duration such as 90s, 15m or 1h30m (write 72h, not 3d), at least 0s and at most 168h",
    ),
    ("no history of pods", "podHistoryLimit: 0", "spec.podHistoryLimit in body should be greater than or equal to 1"),
    (
        "a history of 101 pods",
        "podHistoryLimit: 101",
        "spec.podHistoryLimit in body should be less than or equal to 100",
    ),
    ("managed by an empty name", "managedBy: ''", "spec.managedBy in body should be at least 1 chars long"),
    ("suspend in words", "suspend: 'yes'", "spec.suspend in body must be of type boolean"),
    ("a misspelt field", "segment: {durations: 5m}", "unknown field \"spec.segment.durations\""),
    ("a field of a Job", "backoffLimit: 3", "unknown field \"spec.backoffLimit\""),
    (
        "a misspelt field of a container",
        "template: {spec: {containers: [{name: main, image: x, comand: [y]}]}}",
        "unknown field \"spec.template.spec.containers[0].comand\"",
    ),
    ("a template without spec", "template: {}", "spec.template.spec: Required value"),
    ("a template without containers", "template: {spec: {}}", "spec.template.spec.containers: Required value"),
    (
        "an empty list of containers",
        "template: {spec: {containers: []}}",
        "spec.template.spec.containers: Invalid value: must have at least one container",
    ),
    (
        "a container without name",
        "template: {spec: {containers: [{image: x}]}}",
        "spec.template.spec.containers[0].name: Required value",
    ),
    (
        "two containers of one name",
        "template: {spec: {containers: [{name: main, image: x}, {name: main, image: other}]}}",
        "spec.template.spec.containers[1]: Duplicate value: {\"name\":\"main\"}",
    ),
    (
        "pods that restart always",
        "template: {spec: {restartPolicy: Always, containers: [{name: main, image: x}]}}",
        "spec.template.spec.restartPolicy: Invalid value: must be absent or Never",
    ),
    (
        "pods that restart on failure",
        "template: {spec: {restartPolicy: OnFailure, containers: [{name: main, image: x}]}}",
        "what follows a failure is declared in spec.retry",
    ),
    (
        "a deadline of the pod's own",
        "template: {spec: {activeDeadlineSeconds: 60, containers: [{name: main, image: x}]}}",
        "spec.template.spec.activeDeadlineSeconds: Forbidden: write spec.segment.duration",
    ),
    (
        "a grace of the pod's own",
        "template: {spec: {terminationGracePeriodSeconds: 60, containers: [{name: main, image: x}]}}",
        "spec.template.spec.terminationGracePeriodSeconds: Forbidden: write spec.segment.gracePeriod",
    ),
    (
        "a container that restarts",
        "template: {spec: {containers: [{name: main, image: x, restartPolicy: OnFailure}]}}",
        "spec.template.spec.containers: Forbidden: a container may not set restartPolicy",
    ),
    (
        "a container with rules for restarts",
        "template: {spec: {containers: [{name: main, image: x, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [1]}}]}]}}",
        "spec.template.spec.containers: Forbidden: a container may not set restartPolicy or restartPolicyRules",
    ),
    (
        "an init container that restarts on failure",
        "template: {spec: {initContainers: [{name: i, image: x, restartPolicy: OnFailure}], containers: [{name: main, image: x}]}}",
        "spec.template.spec.initContainers: Invalid value: an init container may set restartPolicy only to Always, which makes it a sidecar",
    ),
    (
        "a variable that is given twice",
        "template: {spec: {containers: [{name: main, image: x, env: [{name: MODE, value: a}, {name: MODE, value: b}]}]}}",
        "spec.template.spec.containers[0].env[1]: Duplicate value: {\"name\":\"MODE\"}",
    ),
    (
        "an ephemeral container",
        "template: {spec: {ephemeralContainers: [{name: debug, image: x}], containers: [{name: main, image: x}]}}",
        "spec.template.spec.ephemeralContainers: Forbidden: add one to a running pod with kubectl debug",
    ),
    (
        "a label with the operator's prefix",
        "template: {metadata: {labels: {longtask.dev/x: why}}, spec: {containers: [{name: main, image: x}]}}",
        "spec.template.metadata.labels: Forbidden: labels that begin with longtask.dev/ are set by the operator",
    ),
    (
        "an annotation with the operator's prefix",
        "template: {metadata: {annotations: {longtask.dev/x: why}}, spec: {containers: [{name: main, image: x}]}}",
        "spec.template.metadata.annotations: Forbidden: annotations that begin with longtask.dev/ are set by the operator",
    ),
    (
        "a name for the pods",
        "template: {metadata: {name: mine}, spec: {containers: [{name: main, image: x}]}}",
        "unknown field \"spec.template.metadata.name\"",
    ),
];

/// A task without anything.
const HEAD: &str = "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {name: wrong}\n";

/// What the API server adds when a value has the wrong type: that it did not come to the rules.
const RULES_NOT_CHECKED: &str = "some validation rules were not checked because the object was invalid";

#[test]
fn a_wrong_manifest_is_refused_with_words_that_help() {
    let manifests = REFUSED.iter().map(|(what, spec, words)| (*what, task("wrong", spec), *words));
    let long_name = (
        "a name of 53 characters",
        task(&"a".repeat(53), ""),
        "metadata.name: Invalid value: must be at most 52 characters: the attempt's number is appended to name the pods",
    );
    let no_template =
        ("no template", format!("{HEAD}spec: {{}}\n"), "write a pod template, or name a LongTaskTemplate");
    let no_spec = ("no spec", HEAD.to_owned(), "spec: Required value");
    let mut wrong = Vec::new();
    for (what, manifest, words) in manifests.chain([long_name, no_template, no_spec]) {
        let answer = try_apply(&manifest);
        let errors: Vec<_> = answer.err.lines().filter(|line| is_an_error(line)).collect();
        println!("{what}: {}", errors.join("\n  "));
        if answer.is_ok || errors.len() != 1 || !errors[0].contains(words) {
            wrong.push(format!("{what}: expected one error, with {words:?}, got {}{}", answer.out, answer.err));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Whether a line of kubectl's is an error of the manifest, and not a heading or a remark.
fn is_an_error(line: &str) -> bool {
    !line.trim().is_empty()
        && !line.ends_with("is invalid: ")
        && !line.contains(RULES_NOT_CHECKED)
        && !line.to_lowercase().starts_with("warning")
}
