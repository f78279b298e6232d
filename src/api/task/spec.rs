//! The specification: what a user declares.
#![allow(clippy::duplicated_attributes, reason = "it takes the columns' keys for attributes")]

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{PodTemplateSpec, ResourceRequirements};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FailurePolicy,
    status::{LongTaskStatus, Phase},
};
use crate::types::{
    Decimal, GoDuration,
    cel::{forbidden, rule_at},
    decimal::factor_from_1_to_10,
    duration::{duration_between, longest_not_below_shortest, stale_after_live_rule, stale_after_rule},
};

/// The value of `spec.managedBy` that this operator answers to, and its default.
pub const MANAGED_BY_US: &str = "longtask.dev/operator";

/// What to run, how long one pod of it may run, and what to do when one fails.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "longtask.dev",
    version = "v1alpha1",
    kind = "LongTask",
    plural = "longtasks",
    shortname = "lt",
    category = "all",
    namespaced,
    status = "LongTaskStatus",
    derive = "PartialEq",
    doc = "A LongTask runs one program for as long as it takes, as a chain of time-limited pods. Each pod resumes from \
           the last checkpoint. What happens on failure, eviction or deadline is declared in `spec`; `status` always \
           says where the work stands.",
    selectable = ".status.phase",
    selectable = ".status.reason",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where the task stands, in one word."
    ),
    printcolumn(
        name = "Segment",
        type_ = "integer",
        json_path = ".status.segment",
        description = "The segment that runs or comes next."
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress.summary",
        description = "What the program reported as done."
    ),
    printcolumn(
        name = "Checkpoint",
        type_ = "date",
        json_path = ".status.checkpoint.recordTime",
        description = "Age of the last checkpoint."
    ),
    printcolumn(
        name = "Retries",
        type_ = "integer",
        json_path = ".status.retries",
        description = "Retries in this run."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Age of the task."
    ),
    printcolumn(
        name = "Attempt",
        type_ = "integer",
        priority = 1,
        json_path = ".status.currentAttempt.number",
        description = "The latest attempt."
    ),
    printcolumn(
        name = "Pod",
        type_ = "string",
        priority = 1,
        json_path = ".status.currentAttempt.podName",
        description = "The pod of the latest attempt."
    ),
    printcolumn(
        name = "Next",
        type_ = "string",
        priority = 1,
        json_path = ".status.nextAttemptTime",
        description = "When the next attempt starts."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.reason",
        description = "Why the task is in that phase, in one word."
    )
)]
#[schemars(extend("x-kubernetes-validations" = [
    rule_at(
        ".segment.container",
        "!has(self.segment.container) || self.template.spec.containers.exists(c, c.name == self.segment.container)",
        "must be the name of one of spec.template.spec.containers",
    ),
    rule_at(
        ".cancel",
        &format!("!oldSelf.cancel || self.cancel || {NEW_TOKEN}"),
        "is for good and can be taken back only together with a new spec.restart.token, which starts another run",
    ),
    rule_at(
        ".restart.token",
        &format!("!self.cancel || !({NEW_TOKEN})"),
        "a new token starts another run: set spec.cancel to false with it",
    ),
    rule_at(
        ".checkpoint.staleAfter",
        "!has(self.checkpoint.staleAfter) || self.checkpoint.source == 'Report'",
        "needs source Report: no checkpoints are recorded of a program that keeps its own",
    ),
    rule_at(
        ".checkpoint.staleAfter",
        &format!("(has(self.reporting.mode) && self.reporting.mode == 'Live') || {}", stale_after_rule()),
        "must be longer than segment.duration and segment.gracePeriod together: checkpoints are recorded when an attempt ends",
    ),
    rule_at(
        ".checkpoint.staleAfter",
        &stale_after_live_rule(),
        "must be longer than reporting.interval",
    ),
    rule_at(
        ".segment.heartbeatTimeout",
        "!has(self.segment.heartbeatTimeout) || (has(self.reporting.mode) && self.reporting.mode == 'Live')",
        "needs reporting.mode Live: silence is seen only while reports come",
    ),
    rule_at(
        ".managedBy",
        "self.managedBy == oldSelf.managedBy",
        "is immutable: delete the task and create it anew",
    ),
]))]
#[serde(rename_all = "camelCase")]
pub struct LongTaskSpec {
    /// How long one pod may run, and how it is asked to stop. Changes take effect at the next attempt, a change of
    /// `schedulingTimeout` or `heartbeatTimeout` at once. A pod that cannot start is replaced if the edit would lead to a
    /// different pod.
    #[serde(default)]
    pub segment: Segment,

    /// How what the program reports reaches the status. A change of `mode` takes effect at the next attempt, one of
    /// `interval` at once.
    #[serde(default)]
    pub reporting: Reporting,

    /// The container `longtask-agent`, which the operator adds to the pods of a task whose `reporting.mode` is Live.
    /// Changes take effect at the next attempt.
    #[serde(default, skip_serializing_if = "AgentSpec::is_default")]
    pub agent: AgentSpec,

    /// Bounds of a run. Each is optional. When one is reached, the task fails, and the reason names it. Changes take
    /// effect at once: a new limit can cut short the segment that is running.
    #[serde(default)]
    pub limits: Limits,

    /// Where checkpoints come from and how many are kept. Changes take effect when the running attempt ends.
    #[serde(default)]
    pub checkpoint: CheckpointPolicy,

    /// How often, and after what delay, an attempt that did not succeed is followed by another. Changes take effect
    /// when the running attempt ends.
    #[serde(default)]
    pub retry: Retry,

    /// What follows particular failures: rules by exit code, reason or the program's own error code. Changes take
    /// effect when the running attempt ends. What a rule has changed (`status.memory`, `status.avoidNodes`) is undone
    /// when the rule is removed or no longer asks for it.
    #[serde(default)]
    pub failure_policy: FailurePolicy,

    /// Set to true to pause: the program is asked to write a checkpoint and stop, everything is kept, and no pod runs.
    /// Set to false to go on from there. Default false. Takes effect at once.
    #[serde(default)]
    pub suspend: bool,

    /// Set to true to stop for good: the program is asked to write a checkpoint and stop, and the task ends in phase
    /// Cancelled. Can be taken back only together with a new `restart.token`, which starts another run. Default false.
    /// Takes effect at once.
    #[serde(default)]
    pub cancel: bool,

    /// Runs a task again that has ended, or releases one that is held, when `token` changes. Takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,

    /// How long a task is kept after it ended in phase Succeeded or Cancelled. Then it is deleted, and its pods with
    /// it. Default: for ever. Takes effect at once. For a task that failed, see `ttlAfterFailed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", None)]))]
    pub ttl_after_finished: Option<GoDuration>,

    /// How long a task is kept after it ended in phase Failed. Then it is deleted, and its pods with it. Default: for
    /// ever, so that no failure goes unseen. Takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", None)]))]
    pub ttl_after_failed: Option<GoDuration>,

    /// How many finished pods are kept for their logs, 1 to 100. Default 3. Takes effect at once.
    #[serde(default = "three")]
    #[schemars(range(min = 1, max = 100))]
    pub pod_history_limit: i32,

    /// The controller that runs this task. This operator runs it if the value is the default, `longtask.dev/operator`,
    /// and otherwise leaves it alone. Immutable.
    #[serde(default = "managed_by_us")]
    #[schemars(length(min = 1, max = 63))]
    pub managed_by: String,

    /// The pod to run: as PodTemplateSpec; see `kubectl explain pod.spec`.
    ///
    /// `restartPolicy` is always Never, and the pod's time limits come from `segment`. The pods get no API token unless
    /// `automountServiceAccountToken: true` is set here. Changes take effect at the next attempt.
    #[schemars(schema_with = "crate::api::crd::template_schema", extend("x-kubernetes-validations" = [
        rule_at(
            ".spec.containers",
            "self.spec.containers.size() > 0",
            "must have at least one container",
        ),
        rule_at(
            ".spec.restartPolicy",
            "!has(self.spec.restartPolicy) || self.spec.restartPolicy == 'Never'",
            "must be absent or Never: what follows a failure is declared in spec.retry",
        ),
        forbidden(
            ".spec.activeDeadlineSeconds",
            "!has(self.spec.activeDeadlineSeconds)",
            "write spec.segment.duration to bound one pod, or spec.limits.activeTime to bound all of them",
        ),
        forbidden(
            ".spec.terminationGracePeriodSeconds",
            "!has(self.spec.terminationGracePeriodSeconds)",
            "write spec.segment.gracePeriod",
        ),
        forbidden(
            ".spec.containers",
            "self.spec.containers.all(c, !has(c.restartPolicy) && !has(c.restartPolicyRules))",
            "a container may not set restartPolicy or restartPolicyRules: one restarted in place would break the chain; what follows a failure is declared in spec.retry",
        ),
        rule_at(
            ".spec.initContainers",
            "!has(self.spec.initContainers) || self.spec.initContainers.all(c, (!has(c.restartPolicy) || c.restartPolicy == 'Always') && !has(c.restartPolicyRules))",
            "an init container may set restartPolicy only to Always, which makes it a sidecar, and no restartPolicyRules",
        ),
        rule_at(
            ".spec.containers",
            "self.spec.containers.all(c, !(c.name in ['longtask-agent', 'longtask-restore']))",
            "longtask-agent and longtask-restore are the operator's names: choose another",
        ),
        rule_at(
            ".spec.initContainers",
            "!has(self.spec.initContainers) || self.spec.initContainers.all(c, !(c.name in ['longtask-agent', 'longtask-restore']))",
            "longtask-agent and longtask-restore are the operator's names: choose another",
        ),
        rule_at(
            ".spec.volumes",
            "!has(self.spec.volumes) || self.spec.volumes.all(v, !(v.name in ['longtask', 'longtask-token', 'longtask-checkpoints']))",
            "longtask, longtask-token and longtask-checkpoints are the operator's names: choose another",
        ),
        forbidden(
            ".spec.ephemeralContainers",
            "!has(self.spec.ephemeralContainers)",
            "add one to a running pod with kubectl debug",
        ),
        forbidden(
            ".metadata.labels",
            "!has(self.metadata) || !has(self.metadata.labels) || self.metadata.labels.all(k, !k.startsWith('longtask.dev/'))",
            "labels that begin with longtask.dev/ are set by the operator: choose another prefix",
        ),
        forbidden(
            ".metadata.annotations",
            "!has(self.metadata) || !has(self.metadata.annotations) || self.metadata.annotations.all(k, !k.startsWith('longtask.dev/'))",
            "annotations that begin with longtask.dev/ are set by the operator: choose another prefix",
        ),
    ]))]
    pub template: PodTemplateSpec,
}

impl LongTaskSpec {
    /// Whether reports are to be read while the program runs.
    pub fn is_live(&self) -> bool {
        self.reporting.mode == ReportingMode::Live
    }

    /// Whether this operator is the one to run the task.
    pub fn is_managed_by_us(&self) -> bool {
        self.managed_by == MANAGED_BY_US
    }

    /// How long a task that ended in this phase is kept; none if it is kept until somebody deletes it.
    pub fn ttl_after(&self, phase: Phase) -> Option<GoDuration> {
        match phase {
            Phase::Succeeded | Phase::Cancelled => self.ttl_after_finished,
            Phase::Failed => self.ttl_after_failed,
            Phase::Pending | Phase::Running | Phase::Stopping | Phase::Waiting | Phase::Suspended => None,
        }
    }
}

/// The longest that an agent waits with a sign that it is there, in seconds.
const LONGEST_KEEP_ALIVE: i64 = 300;

fn three() -> i32 {
    3
}

fn managed_by_us() -> String {
    MANAGED_BY_US.to_owned()
}

/// One planned leg of the work: how long a pod may run.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Segment {
    /// How long the main container may run before it is asked to write a checkpoint and stop. The next segment follows
    /// at once.
    ///
    /// Counted from the moment the main container runs: image pulls and init containers do not count. The kubelet
    /// enforces it to about a second. Default 1h, at least 5s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("5s", None)]))]
    pub duration: GoDuration,

    /// The time from SIGTERM to SIGKILL: how long the program has for its last checkpoint. Becomes the pod's
    /// `terminationGracePeriodSeconds`. Default 30s, at least 1s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", Some("24h"))]))]
    pub grace_period: GoDuration,

    /// How long a scheduled pod may take until its main container runs: volumes, image pulls, init containers, and a
    /// `postStart` hook of the main container. If it takes longer, the start has failed; if the program ran already
    /// beside its hook, the attempt ends as at its time limit. Default 10m, at least 1s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub start_timeout: GoDuration,

    /// How long a pod may wait for the scheduler, or behind a scheduling gate, before that counts as a failed start.
    /// Default: no limit. Waiting then counts in no budget, and the status shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub scheduling_timeout: Option<GoDuration>,

    /// How long the program may be silent while it runs: then it counts as hung, and is stopped. The attempt has failed with
    /// reason Hung, and the next one resumes from the last checkpoint. Any line in the report file is a sign of life, and so
    /// is a touch of it; `{"quiet": "2h"}` announces a longer silence. Needs `reporting.mode` Live. A program is never
    /// stopped because reports do not arrive. Default: no limit. At least 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("30s", None)]))]
    pub heartbeat_timeout: Option<GoDuration>,

    /// Exit codes of the main container that mean "checkpointed, run me again": a new segment follows, and no failure
    /// is counted. The default is 75 (EX_TEMPFAIL of sysexits.h). Up to 20 codes from 1 to 255. Changes take effect when
    /// the running attempt ends.
    #[schemars(length(max = 20), inner(range(min = 1, max = 255)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub continue_exit_codes: Vec<i32>,

    /// The main container: the one whose exit code and report count. Default: the one that the template's annotation
    /// `kubectl.kubernetes.io/default-container` names, else the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub container: Option<String>,
}

impl Segment {
    /// How many seconds an agent waits at most with a sign that it is there: a quarter of what the program may be silent
    /// for, so that a hang is seen soon, from 5 to 300.
    pub fn keep_alive_seconds(&self) -> i64 {
        self.heartbeat_timeout
            .map_or(LONGEST_KEEP_ALIVE, |timeout| (timeout.as_secs() / 4).clamp(5, LONGEST_KEEP_ALIVE))
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            duration: GoDuration::from_hours(1),
            grace_period: GoDuration::from_secs(30),
            start_timeout: GoDuration::from_mins(10),
            scheduling_timeout: None,
            heartbeat_timeout: None,
            continue_exit_codes: vec![75],
            container: None,
        }
    }
}

/// How what the program reports reaches the status.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reporting {
    /// AtExit: what the program reports is read when its attempt ends. Live: also while it runs, by a container
    /// `longtask-agent` that the operator adds to the pod. The program is the same in both modes. Default AtExit. Changes
    /// take effect at the next attempt.
    pub mode: ReportingMode,

    /// With mode Live, the shortest time between two writes of the status for reports. Default 30s, 5s to 1h. Takes effect
    /// at once.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("5s", Some("1h"))]))]
    pub interval: GoDuration,
}

impl Default for Reporting {
    fn default() -> Self {
        Self { mode: ReportingMode::AtExit, interval: GoDuration::from_secs(30) }
    }
}

/// When reports are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportingMode {
    /// When an attempt ends.
    AtExit,
    /// Also while it runs.
    Live,
}

/// The container `longtask-agent`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSpec {
    /// Its resources, as of any container. Default: requests of 10m CPU and 32Mi of memory and a limit of 64Mi of memory;
    /// where the template's pod is Guaranteed, limits of 50m and 64Mi that are its requests as well, so that the pod stays
    /// so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::resources_schema")]
    pub resources: Option<ResourceRequirements>,
}

impl AgentSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Bounds of a run. Each is optional; absent means unlimited.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// The longest running time of all attempts together. Waiting and suspension do not count. A segment that would
    /// exceed it is cut short. When it is reached, the task fails with reason ActiveTimeExceeded. At least 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub active_time: Option<GoDuration>,

    /// The longest time since the run's start. Waiting counts; time for which the user suspended the task does not. A
    /// segment that would exceed it is cut short. When it is reached, the task fails with reason WallTimeExceeded. At
    /// least 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub wall_time: Option<GoDuration>,

    /// The moment after which nothing of this task runs. Suspension does not move it. RFC 3339, such as
    /// 2026-11-25T06:00:00Z. When it is reached, the task fails with reason DeadlinePassed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::types::cel::point_in_time")]
    pub deadline: Option<Timestamp>,

    /// The largest number of segments. When one more is needed, the task fails with reason SegmentLimitReached. A
    /// segment that is tried again after a failure or an interruption counts once. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub segments: Option<i32>,

    /// The largest number of attempts, compared with `status.totals.attempts`. An attempt that was stopped before its
    /// program ran, by an edit or a pause, does not count. When one more is needed, the task fails with reason
    /// AttemptLimitReached. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub attempts: Option<i32>,
}

/// Where checkpoints come from.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckpointPolicy {
    /// Report: the program reports its checkpoints, and a segment without progress is a stall. External: the program
    /// keeps its own, for example on a volume, and a segment that ran to its end counts as progress. Default Report.
    pub source: CheckpointSource,

    /// How many earlier checkpoints are kept in status beside the current one, 0 to 5. Default 3.
    #[schemars(range(min = 0, max = 5))]
    pub history_limit: i32,

    /// Sets the condition CheckpointStale, with an event, when no checkpoint has been recorded for that long. Time for
    /// which the user suspended the task does not count. Must exceed `segment.duration` and `segment.gracePeriod`
    /// together, since checkpoints are recorded when an attempt ends; with `reporting.mode` Live it must exceed
    /// `reporting.interval`. Default: never. Takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub stale_after: Option<GoDuration>,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self { source: CheckpointSource::Report, history_limit: 3, stale_after: None }
    }
}

/// Another run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    rule_at(
        ".checkpointSequence",
        "self.from != 'Checkpoint' || has(self.checkpointSequence)",
        "is needed with from: Checkpoint; status.checkpoint and status.checkpointHistory have the sequences that exist",
    ),
    rule_at(
        ".checkpointSequence",
        "self.from == 'Checkpoint' || !has(self.checkpointSequence)",
        "goes only with from: Checkpoint",
    ),
]))]
#[serde(rename_all = "camelCase")]
pub struct Restart {
    /// Any text. A value other than `status.run.restartToken` starts another run of a task that has ended, or releases
    /// one that is held. Counters, limits and segments start anew; attempt numbers and checkpoint sequences go on. The
    /// token that a task is created with is only recorded. While a run is under way, a new token is only recorded, with
    /// a Warning event.
    #[schemars(length(min = 1, max = 63))]
    pub token: String,

    /// Where the new run begins. Latest: at the last checkpoint. Beginning: without one, and with new idempotency keys.
    /// Checkpoint: at the one with `checkpointSequence`. Default Latest.
    #[serde(default)]
    pub from: RestartFrom,

    /// The sequence of the checkpoint to begin at: the current one or one of the history. Newer ones are dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub checkpoint_sequence: Option<i64>,
}

/// Where another run begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RestartFrom {
    /// At the last checkpoint.
    #[default]
    Latest,
    /// Without a checkpoint.
    Beginning,
    /// At the checkpoint with `checkpointSequence`.
    Checkpoint,
}

/// Whether an update brings a new restart token.
const NEW_TOKEN: &str = "(has(self.restart) && (!has(oldSelf.restart) || self.restart.token != oldSelf.restart.token))";

/// Who keeps the checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckpointSource {
    /// The program reports them to the operator, which hands the last one to the next attempt.
    Report,
    /// The program keeps them itself.
    External,
}

/// What follows an attempt that did not succeed.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// How many retries in a row each kind of trouble may have. n retries allow n + 1 tries; -1 means no limit.
    pub budgets: Budgets,

    /// How long to wait before a retry. Interruptions do not use it: the wait after one is 1s, doubling up to 30s.
    pub backoff: Backoff,

    /// Whether progress sets all counters back to 0. Then troubles that lie days apart do not fail a long task. Default
    /// true.
    pub reset_on_progress: bool,

    /// The longest delay that the program may ask for with `retryAfter` or `resumeAfter`. A longer one is shortened to
    /// it. Default 1h, at most 168h.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", Some("168h"))]))]
    pub max_retry_after: GoDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            budgets: Budgets::default(),
            backoff: Backoff::default(),
            reset_on_progress: true,
            max_retry_after: GoDuration::from_hours(1),
        }
    }
}

/// Retries allowed in a row. A counter falls only by progress, never through another class of trouble.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Budgets {
    /// Retries after failures: a non-zero exit, out of memory. Default 6. -1 means no limit.
    #[schemars(range(min = -1))]
    pub failures: i32,

    /// Further segments after one that ended without progress. Default 3. -1 means no limit.
    #[schemars(range(min = -1))]
    pub stalls: i32,

    /// Retries after failed starts: image, configuration, init containers, startTimeout. Default 5. -1 means no limit.
    #[schemars(range(min = -1))]
    pub start_failures: i32,

    /// Retries after interruptions: eviction, preemption, lost nodes. Default -1: no limit.
    #[schemars(range(min = -1))]
    pub interruptions: i32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { failures: 6, stalls: 3, start_failures: 5, interruptions: -1 }
    }
}

/// The delay before retry n: `min(max, initial * multiplier^(n-1))`, then jitter; in whole seconds.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [longest_not_below_shortest("max", "initial")]))]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// The delay before the first retry. Default 10s, at least 1s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub initial: GoDuration,

    /// Each further delay is the one before times this: 1 to 10, an integer or a string such as "1.5". Default 2.
    #[schemars(extend("x-kubernetes-validations" = [factor_from_1_to_10()]))]
    pub multiplier: Decimal,

    /// The longest delay before jitter. Default 5m.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub max: GoDuration,

    /// How a delay d is varied, so that tasks that failed together do not retry together. None: exactly d. Equal:
    /// between d/2 and d. Full: anything up to d. Additive: between d and d + initial. Default Full.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: GoDuration::from_secs(10),
            multiplier: Decimal::whole(2),
            max: GoDuration::from_mins(5),
            jitter: Jitter::Full,
        }
    }
}

/// How a delay is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Half of it fixed, half drawn.
    Equal,
    /// All of it drawn.
    Full,
    /// All of it fixed, and up to `initial` drawn on top.
    Additive,
}
