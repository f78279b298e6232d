//! The status: where the work stands. Written by the operator only.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumIter, EnumMessage, IntoStaticStr};

use super::{
    ConditionReason, ConditionType,
    reasons::{Limit, Outcome, StopReason},
};
use crate::types::{MemorySize, find_condition, time::seconds_between};

/// Where the work stands, why it stopped and when it goes on.
// Atomic: it has one writer, which always writes all of it. Otherwise the API server tracks the owner of every field of it
// at every write, in managed fields as long as the status itself.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LongTaskStatus {
    /// The `metadata.generation` that this status takes into account.
    pub observed_generation: i64,

    /// Where the task stands, in one word. For people; machines read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Phase")] // of an optional enum, the type's own description would be taken
    pub phase: Option<Phase>,

    /// Why the task is in this phase, in one word, such as FailureBudgetExhausted or Unschedulable. Empty when there is
    /// nothing to explain.
    pub reason: String,

    /// The run that is under way, or the last one: the work from its start to a terminal phase.
    pub run: Run,

    /// When the task ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,

    /// Running time of all ended attempts of this run, in seconds.
    pub active_seconds: i64,

    /// The segment that runs or comes next, numbered from 1.
    pub segment: i64,

    /// How many retries this run has had. Interruptions are not retries.
    pub retries: i64,

    /// The latest attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_attempt: Option<CurrentAttempt>,

    /// The task's latest ticket of a TaskQueue. Only tasks that have named one have it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue: Option<Ticket>,

    /// The checkpoint that the next attempt resumes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,

    /// Earlier checkpoints, newest first; up to `spec.checkpoint.historyLimit`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub checkpoint_history: Vec<Checkpoint>,

    /// The highest sequence that a checkpoint of this task has had.
    pub checkpoint_sequence: i64,

    /// What attempts below this number have stored, and nobody recorded, is not resumed from. Checkpoints were dropped then: by a
    /// rule, by `restart`, or since they could not be read.
    #[serde(skip_serializing_if = "is_zero")]
    pub checkpoint_epoch: i64,

    /// What the program reported as done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,

    /// How many failures, stalls, failed starts and interruptions there were in a row since the last progress. Each is
    /// compared with its budget in `spec.retry.budgets`.
    pub consecutive: Consecutive,

    /// How many retries in a row each rule of `spec.failurePolicy` has had.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub rule_counters: Vec<RuleCounter>,

    /// Counts over the whole run.
    pub totals: Totals,

    /// The memory limit and request that the main container of the next attempts gets, once a rule with `memory` has
    /// raised it in this run. Never more than the rule allows. Without the rule it is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub memory: Option<MemorySize>,

    /// The name of the rule that raised `memory`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_rule: Option<String>,

    /// Up to three nodes that the next attempts avoid if they can, the latest first. Rules with `avoidNode` add them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub avoid_nodes: Vec<String>,

    /// The names of the rules that added `avoidNodes`, in the same order. A node is avoided for as long as its rule
    /// says so.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub avoid_node_rules: Vec<String>,

    /// When the next attempt starts. Its jitter is included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_attempt_time: Option<Timestamp>,

    /// The last attempt that failed, did not start or was interrupted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<LastFailure>,

    /// The last five attempts that ended, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub recent_attempts: Vec<EndedAttempt>,

    /// What the program reported as its result: JSON of up to 16 KiB with `reporting.mode` Live; else of up to 3 KiB, or
    /// 1 KiB where the pod has more than three containers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::any_object_schema")]
    pub result: Option<Value>,

    /// The task's conditions: Complete, Failed, Finished, Suspended, Blocked, CheckpointStale, AttemptOverdue, ReportsMissing, WriteRefused, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl LongTaskStatus {
    /// The attempt under way; none before the first one, and once the latest one was counted or withdrawn.
    pub fn live_attempt(&self) -> Option<&CurrentAttempt> {
        self.current_attempt.as_ref().filter(|attempt| match attempt.state {
            AttemptState::Creating | AttemptState::Starting | AttemptState::Running | AttemptState::Stopping => true,
            AttemptState::Ended | AttemptState::Withdrawn => false,
        })
    }

    /// Whether the failure policy holds the task for a human.
    pub fn is_held(&self) -> bool {
        find_condition(&self.conditions, ConditionType::Suspended)
            .is_some_and(|suspended| suspended.status == "True" && suspended.reason == ConditionReason::Held)
    }

    /// Running time of the run in seconds, that of the attempt under way included.
    pub fn active_seconds_at(&self, now: Timestamp) -> i64 {
        let started = self.live_attempt().and_then(|attempt| attempt.started_at);
        let running = started.map_or(0, |started| seconds_between(started, now).max(0));
        self.active_seconds.saturating_add(running)
    }
}

/// One-word summary of where a task stands.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    EnumMessage,
    IntoStaticStr,
)]
pub enum Phase {
    /// An attempt is about to run: being created, scheduled or started.
    Pending,
    /// The main container runs.
    Running,
    /// The attempt has been asked to stop.
    Stopping,
    /// Waiting for `nextAttemptTime`.
    Waiting,
    /// Paused by the user, or held by the failure policy for a human.
    Suspended,
    /// The program is done.
    Succeeded,
    /// Ended without success.
    Failed,
    /// Stopped for good by the user.
    Cancelled,
}

impl Phase {
    /// Whether the task has ended.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Pending | Self::Running | Self::Stopping | Self::Waiting | Self::Suspended => false,
        }
    }
}

/// The work from its start to a terminal phase.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Run {
    /// The run's number, from 1.
    pub number: i64,

    /// How often the task was begun from the Beginning: 1 at first, and one more with each restart `from: Beginning`. Any
    /// other restart goes on with the work that was done, so idempotency keys are made with this number and not with the
    /// run's.
    pub beginnings: i64,

    /// The restart token that this run answers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_token: Option<String>,

    /// When the run started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,

    /// How long the user kept the run suspended, in seconds, up to the last resume.
    pub suspended_seconds: i64,

    /// The highest `completed` that the program has reported in this run. Only more than that is progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub high_water: Option<i64>,

    /// The digest of the input that the run began with. No attempt starts with another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<String>,

    /// The last round of its set that the task has taken part in. Only members of a set have one.
    #[serde(skip_serializing_if = "is_zero")]
    pub round: i64,
}

impl Run {
    /// How often the task was begun from the Beginning. A status without the count is from a time when each run had keys of
    /// its own: it goes on with those.
    pub fn beginnings(&self) -> i64 {
        if self.beginnings > 0 { self.beginnings } else { self.number }
    }
}

/// The attempt that is being made, runs, or ended last.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentAttempt {
    /// The attempt's number, counted over the task's whole life. No number is used for two pods, so that programs can
    /// use it as a fencing token.
    pub number: i64,

    /// The number of the segment that it works on.
    pub segment: i64,

    /// How far it is, from Creating to Ended. Withdrawn: it was given up before its pod was created.
    pub state: AttemptState,

    /// The name of its pod.
    pub pod_name: String,

    /// The UID of its pod, once the operator has seen the pod.
    #[serde(rename = "podUID", default, skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,

    /// The node that it runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,

    /// The `metadata.generation` of the task from which it was made.
    pub generation: i64,

    /// A digest of those parts of `spec.template` and `spec.segment` that its pod is made from. An edit that does not
    /// change it leaves the pod alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_hash: Option<String>,

    /// When the operator decided to make it.
    pub creation_time: Timestamp,

    /// When its main container started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,

    /// The limit that cuts its segment short, when one does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Limit")] // as with `phase`
    pub cut_by: Option<Limit>,

    /// The operator's request that it stop, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop: Option<RequestedStop>,

    /// What was recorded of its reports while it ran, with `reporting.mode` Live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<RecordedReport>,

    /// The ticket with which a TaskQueue let it start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<i64>,

    /// With `spec.kueue.quota` PerRun: the Workload that has Kueue's quota for it, and for the attempts that follow it at once. Gone
    /// when the quota is given back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_group: Option<String>,
}

/// A task's numbered request to its queue for one attempt.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ticket {
    /// The TaskQueue, as `spec.queueName` had it.
    pub name: String,
    /// The number of the ticket, which only grows over the task's life.
    pub ticket: i64,
    /// What has become of it.
    pub state: TicketState,
    /// Since when the task has waited with it. With its first one it has waited since it was created.
    pub queue_time: Timestamp,
    /// Whether the queue has called it to try whether what its breaker guards works again. Its failures are charged to no
    /// budget and to no limit of a rule.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
}

/// What has become of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Display)]
pub enum TicketState {
    /// The task waits to be called, or has been called and not started yet.
    Waiting,
    /// The queue has called it, and the task has used it for an attempt: it has a place.
    Admitted,
    /// The task has given it back.
    Returned,
}

/// What was recorded of an attempt's reports while it ran.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RecordedReport {
    /// The revision of the newest report that was recorded. It grows with everything that the program reports.
    pub revision: i64,

    /// When it was recorded.
    pub record_time: Timestamp,

    /// When a report of this attempt was last recorded that is progress.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_time: Option<Timestamp>,
}

/// How far an attempt is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema, Display)]
pub enum AttemptState {
    /// Decided; its pod is being created.
    Creating,
    /// Its pod exists; the main container does not run yet.
    Starting,
    /// The main container runs.
    Running,
    /// Asked to stop.
    Stopping,
    /// Ended and counted; or withdrawn, and its number is given up.
    Ended,
    /// Not wanted any more before its pod was created; not counted. The next attempt has its number.
    Withdrawn,
}

/// The operator's request that an attempt stop.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedStop {
    /// Why the operator asked it to stop.
    pub reason: StopReason,
    /// When the operator asked, or the pod's deadline if that had passed already.
    pub request_time: Timestamp,
}

/// What an attempt left for the next one to resume from.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Checkpoint {
    /// The checkpoint's number, counted over the task's whole life.
    pub sequence: i64,

    /// The number of the attempt that reported it.
    pub attempt: i64,

    /// The number of the segment in which it was reported.
    pub segment: i64,

    /// When the operator recorded it: at the end of the attempt, or while it ran with `reporting.mode` Live.
    pub record_time: Timestamp,

    /// The path by which the program reported it, below its directory of checkpoints, when the agent has saved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,

    /// The checkpoint itself, up to 1 KiB of JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::any_object_schema")]
    pub data: Option<Value>,

    /// Where the checkpoint is stored, when it is a reference.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,

    /// The digest of what is stored there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,

    /// The size of what is stored there, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<i64>,
}

/// What the program reported as done.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// How many units are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<i64>,

    /// How many units there are in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<i64>,

    /// What is counted, such as rows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,

    /// The program's own words on where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,

    /// `completed` in percent of `total`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub percent: Option<i32>,

    /// `completed`, `total` and `unit` in one text, for columns.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,

    /// When the operator last recorded a report of progress.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_update_time: Option<Timestamp>,

    /// When the work will be done at the pace of this run so far, if it need not wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Timestamp>,
}

/// Troubles in a row since the last progress.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Consecutive {
    /// Failures in a row.
    pub failures: i64,
    /// Segments without progress in a row.
    pub stalls: i64,
    /// Failed starts in a row.
    pub start_failures: i64,
    /// Interruptions in a row.
    pub interruptions: i64,
}

/// Retries in a row by one rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleCounter {
    /// The name of the rule.
    pub name: String,
    /// How many retries it has had in a row.
    pub count: i64,
}

/// Totals of a run.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Totals {
    /// Attempts that ended; `spec.limits.attempts` bounds them. An attempt that was stopped before its program ran, by
    /// an edit or a pause, is not among them.
    pub attempts: i64,
    /// Attempts that failed.
    pub failures: i64,
    /// Segments that ended without progress.
    pub stalls: i64,
    /// Attempts that did not start.
    pub start_failures: i64,
    /// Attempts that were interrupted.
    pub interruptions: i64,
    /// Running time of the failed and interrupted attempts that left no new checkpoint, in seconds.
    pub work_lost_seconds: i64,
}

/// The last attempt that did not end well.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastFailure {
    /// How it ended: Failed, StartFailed or Interrupted.
    pub outcome: Outcome,
    /// The reason, such as Error, OOMKilled or ErrImagePull.
    pub reason: String,
    /// The main container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The error code that the program reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The program's or the cluster's own words, up to 1 KiB.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The number of the attempt.
    pub attempt: i64,
    /// The node that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// When it ended.
    pub time: Timestamp,
}

/// An attempt that ended.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndedAttempt {
    /// The attempt's number.
    pub number: i64,
    /// The number of the segment that it worked on.
    pub segment: i64,
    /// How it ended.
    pub outcome: Outcome,
    /// Why it ended so, where the outcome alone does not say it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The main container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// When its main container started; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The node that it ran on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node_name: Option<String>,
    /// The sequence of the newest checkpoint at its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_sequence: Option<i64>,
    /// The ticket of its turn, if it had to wait in a queue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<i64>,
}
