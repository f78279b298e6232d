//! The status of a queue: who has a place. Written by the operator only.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::breaker::BreakerStatus;
use crate::types::GoDuration;

/// Who has a place, and how many wait.
// Atomic, as a task's.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct TaskQueueStatus {
    /// The `metadata.generation` that this status takes into account.
    pub observed_generation: i64,

    /// How many tasks have a place.
    pub active: i64,

    /// `active` and `spec.maxActive` in one text, for columns.
    pub summary: String,

    /// How many tasks wait for a place. Up to ten seconds old while nobody is called.
    pub waiting: i64,

    /// How long the task that was called last had waited.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_wait: Option<GoDuration>,

    /// The tasks that have a place, in the order in which they were called.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub holders: Vec<Holder>,

    /// With `spec.rate`: up to when the starts that may be are used up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_call_time: Option<Timestamp>,

    /// With `spec.breaker`: where that stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub breaker: Option<BreakerStatus>,

    /// The queue's conditions: Suspended and BreakerOpen.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

/// A task that has a place.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Holder {
    /// The task, as `namespace/name`.
    pub task: String,
    /// The first eight characters of its UID.
    pub uid: String,
    /// The ticket that was called: `status.queue.ticket` of the task.
    pub ticket: i64,
    /// With `spec.perKey`: the value of the label, when the task was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Whether it was called to try whether what the breaker guards works again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub probe: bool,
    /// Whether it had its place before this queue was made. The breaker does not count how its turn ends.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopted: bool,
}

impl Holder {
    /// The namespace of the task.
    pub fn namespace(&self) -> &str {
        self.task.split_once('/').map_or("", |(namespace, _)| namespace)
    }

    /// The name of the task.
    pub fn name(&self) -> &str {
        self.task.split_once('/').map_or(&self.task, |(_, name)| name)
    }
}
