//! The specification: what a user declares.
#![allow(clippy::duplicated_attributes, reason = "it takes the columns' keys for attributes")]

mod checkpoint;
mod claims;
mod kueue;
mod limits;
mod reporting;
mod restart;
mod retry;
mod segment;
mod template_ref;

use k8s_openapi::api::core::v1::{PersistentVolumeClaimTemplate, PodSpec, PodTemplateSpec};
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use self::restart::{INPUT_STAYS, NEW_TOKEN};
pub use self::{
    checkpoint::{CheckpointPolicy, CheckpointSource, CheckpointStore, SecretRef},
    claims::{ClaimRetention, ClaimRetentionPolicy},
    kueue::{Kueue, KueueQuota},
    limits::Limits,
    reporting::{AgentSpec, Reporting, ReportingMode},
    restart::{Restart, RestartFrom},
    retry::{Backoff, Budgets, Jitter, Retry},
    segment::Segment,
    template_ref::TemplateRef,
};
use super::{
    FailurePolicy,
    status::{LongTaskStatus, Phase},
};
use crate::{
    api::labels,
    types::{
        GoDuration,
        cel::{forbidden, rule, rule_at},
        duration::{duration_between, stale_after_live_rule, stale_after_rule},
    },
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
    selectable = ".spec.templateRef.name",
    selectable = ".spec.queueName",
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
        "!has(self.segment.container) || !has(self.template) || self.template.spec.containers.exists(c, c.name == self.segment.container)",
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
        ".checkpoint.store",
        "!has(self.checkpoint.store) || self.checkpoint.source == 'Report'",
        "needs source Report: with External the program keeps its own",
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
        ".kueue.quota",
        &format!(
            "!has(self.kueue) || self.kueue.quota != 'PerRun' || !has(self.template) || (has(self.template.metadata) && has(self.template.metadata.labels) && '{}' in self.template.metadata.labels)",
            labels::KUEUE_QUEUE,
        ),
        "PerRun needs the label kueue.x-k8s.io/queue-name in spec.template.metadata.labels, which says whose quota it is",
    ),
    rule_at(
        ".volumeClaimTemplates",
        "!has(self.volumeClaimTemplates) || !has(self.template) || !has(self.template.spec.volumes) || self.volumeClaimTemplates.all(c, self.template.spec.volumes.all(v, v.name != c.metadata.name))",
        "each claim needs a name of its own: spec.template.spec.volumes has one that is named so",
    ),
    rule_at(
        ".template",
        "has(self.template) || has(self.templateRef)",
        "write a pod template, or name a LongTaskTemplate in spec.templateRef",
    ),
    rule_at(
        ".template",
        "!has(oldSelf.template) || has(self.template)",
        "cannot be removed: the task runs from it",
    ),
    rule_at(
        ".templateRef",
        "has(self.templateRef) == has(oldSelf.templateRef) && (!has(self.templateRef) || self.templateRef == oldSelf.templateRef)",
        "is immutable: it says what the task was made from",
    ),
    rule_at(
        ".restart.renew",
        "!has(self.restart) || !has(self.restart.renew) || !self.restart.renew || has(self.templateRef)",
        "needs spec.templateRef: there is no template to take anew",
    ),
    rule_at(
        ".managedBy",
        "self.managedBy == oldSelf.managedBy",
        "is immutable: delete the task and create it anew",
    ),
]))]
#[serde(rename_all = "camelCase")]
pub struct LongTaskSpec {
    /// The LongTaskTemplate of the task's namespace that its definition comes from, in place of `template`. The operator
    /// copies the definition into this spec once, before the first pod: everything but `input`, `priority`, `suspend`, `cancel`,
    /// `restart`, `managedBy` and `limits.deadline`, which are the task's own. A later change of the LongTaskTemplate
    /// changes nothing here; see `restart.renew`. Immutable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_ref: Option<TemplateRef>,

    /// What the task is to work on: a JSON object of up to 16 KiB as compact JSON. Every container gets it as the
    /// variable LONGTASK_INPUT, and texts, numbers and booleans in it as LONGTASK_INPUT_<key>. No place for secrets: refer
    /// to them. It belongs to a run: it can be changed only together with a new `restart.token`, once the task has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::any_object_schema")]
    pub input: Option<Map<String, Value>>,

    /// The TaskQueue in which the task waits before each attempt: `name` in its own namespace, or `namespace/name`. Default: none.
    /// Takes effect at the next attempt, and at once for a task that waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 127), extend("x-kubernetes-validations" = [rule(
        "self.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(/[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)?$')",
        "must be a TaskQueue's name, or namespace/name",
    )]))]
    pub queue_name: Option<String>,

    /// How urgent the task is in its TaskQueue, -10 to 10: of those that wait, the one with the highest priority is called first.
    /// Default 0. Takes effect at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = -10, max = 10))]
    pub priority: i32,

    /// How Kueue gives quota to the task, whose pods have the label `kueue.x-k8s.io/queue-name`. Takes effect at the next attempt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kueue: Option<Kueue>,

    /// How long one pod may run, and how it is asked to stop. Changes take effect at the next attempt, a change of
    /// `schedulingTimeout` or `heartbeatTimeout` at once. A pod that cannot start is replaced if the edit would lead to a
    /// different pod.
    #[serde(default)]
    pub segment: Segment,

    /// How what the program reports reaches the status. A change of `mode` takes effect at the next attempt, one of
    /// `interval` at once.
    #[serde(default)]
    pub reporting: Reporting,

    /// The containers `longtask-agent` and `longtask-restore`, which the operator adds to the pods of a task whose
    /// `reporting.mode` is Live or that has a `checkpoint.store`. Changes take effect at the next attempt.
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
    ///
    /// Needed unless `templateRef` is set. Once it is there it cannot be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
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
    pub template: Option<PodTemplateSpec>,

    /// Volumes of the task's own, which outlive its pods: up to 8, each as PersistentVolumeClaim; see `kubectl explain
    /// pvc.spec`.
    ///
    /// A claim is named `<metadata.name>-<task>`, and the template's containers mount it by its `metadata.name`. It is created
    /// before a pod that mounts it, and never changed; one that somebody deleted is created anew, empty. Changes take effect at
    /// the next attempt. A claim whose template is removed here stays, and is not mounted any more.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(schema_with = "crate::api::crd::claim_templates_schema", extend("x-kubernetes-validations" = [
        rule(
            "self.all(c, self.exists_one(other, other.metadata.name == c.metadata.name))",
            "each claim needs a name of its own",
        ),
        rule(
            "self.all(c, !(c.metadata.name in ['longtask', 'longtask-token', 'longtask-checkpoints']))",
            "longtask, longtask-token and longtask-checkpoints are the operator's names: choose another",
        ),
    ]))]
    pub volume_claim_templates: Vec<PersistentVolumeClaimTemplate>,

    /// What becomes of the claims of `volumeClaimTemplates` when they are not needed any more.
    #[serde(default)]
    pub persistent_volume_claim_retention_policy: ClaimRetentionPolicy,
}

impl LongTaskSpec {
    /// Whether it waits to be filled in from the LongTaskTemplate that it names.
    pub fn is_thin(&self) -> bool {
        self.template.is_none() && self.template_ref.is_some()
    }

    /// The pod to run, if there is one yet.
    pub fn pod(&self) -> Option<&PodSpec> {
        self.template.as_ref()?.spec.as_ref()
    }

    /// Whether reports are to be read while the program runs.
    pub fn is_live(&self) -> bool {
        self.reporting.mode == ReportingMode::Live
    }

    /// Whether its pods have an agent, where the operator has one to give.
    pub fn wants_agent(&self) -> bool {
        self.is_live() || self.checkpoint.store.is_some()
    }

    /// Whether attempts that follow each other keep Kueue's quota.
    pub fn keeps_quota(&self) -> bool {
        self.kueue.as_ref().is_some_and(|kueue| kueue.quota == KueueQuota::PerRun)
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

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn three() -> i32 {
    3
}

fn managed_by_us() -> String {
    MANAGED_BY_US.to_owned()
}
