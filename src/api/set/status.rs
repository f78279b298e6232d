//! The status of a set: which members have ended how, and whose turn it is. Written by the operator only.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumIter, EnumMessage, IntoStaticStr};

use super::reasons::SetStopReason;
use crate::types::Ranges;

/// Where the set stands: which members have ended how, and whose turn it is.
// Atomic, as a task's.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct LongTaskSetStatus {
    /// The `metadata.generation` that this status takes into account.
    pub observed_generation: i64,

    /// Where the set stands, in one word. For people; machines read the conditions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "SetPhase")] // of an optional enum, the type's own description would be taken
    pub phase: Option<SetPhase>,

    /// Why the set is in this phase, in one word, such as TooManyFailed or TemplateNotFound. Empty when there is nothing to
    /// explain.
    pub reason: String,

    /// The round that is under way, or the last one.
    pub round: Round,

    /// When the set ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completion_time: Option<Timestamp>,

    /// The digest of `spec.input` and `spec.items` as they were when all of them had been found valid. With others no further
    /// member starts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_digest: Option<String>,

    /// The generation of the LongTaskTemplate that the latest members were made from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_generation: Option<i64>,

    /// How many members there are in all.
    pub total: i64,

    /// The first index that was never started.
    pub next: i64,

    /// How many members have their turn: started, and neither succeeded, failed nor waiting.
    pub active: i64,

    /// The members that have succeeded.
    pub succeeded: Members,

    /// The members that have failed in this round.
    pub failed: Members,

    /// The members that were started and wait for their turn again.
    pub waiting: Members,

    /// How much is done.
    pub progress: SetProgress,

    /// The member that failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<MemberFailure>,

    /// Why and when all members were asked to stop, in this round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop: Option<RequestedSetStop>,

    /// The results of members, up to 64 KiB together, first come.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub results: Vec<MemberResult>,

    /// How many results found no room in `results`. They go with their members.
    #[serde(skip_serializing_if = "is_zero")]
    pub results_dropped: i64,

    /// The set's conditions: Complete, Failed, Finished, Suspended, Blocked, Reconciling, Stalled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

impl LongTaskSetStatus {
    /// The first index that was never started.
    pub fn next_index(&self) -> u32 {
        u32::try_from(self.next).unwrap_or(0)
    }

    /// Whether it is the turn of this index: it was started, and is in no list.
    pub fn is_active(&self, index: u32) -> bool {
        index < self.next_index()
            && [&self.succeeded, &self.failed, &self.waiting].iter().all(|list| !list.indexes.contains(index))
    }

    /// All indexes whose turn it is.
    pub fn active_indexes(&self) -> Ranges {
        let lists = [&self.succeeded, &self.failed, &self.waiting];
        lists.iter().fold(Ranges::below(self.next_index()), |left, list| left.without(&list.indexes))
    }
}

/// One-word summary of where a set stands.
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
pub enum SetPhase {
    /// Members run, or could if nothing kept them from it.
    Running,
    /// All members have been asked to stop; then the set ends.
    Stopping,
    /// Paused by the user.
    Suspended,
    /// All members have ended, and no more failed than is tolerated.
    Succeeded,
    /// Ended without success.
    Failed,
    /// Stopped for good by the user.
    Cancelled,
}

impl SetPhase {
    /// Whether the set has ended.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Succeeded | Self::Failed | Self::Cancelled => true,
            Self::Running | Self::Stopping | Self::Suspended => false,
        }
    }
}

/// A run of the set.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Round {
    /// The round's number, from 1.
    pub number: i64,

    /// The restart token that this round answers to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart_token: Option<String>,

    /// When the round started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start_time: Option<Timestamp>,

    /// How long the user kept the round suspended, in seconds, up to the last resume.
    pub suspended_seconds: i64,

    /// How many members had succeeded when the round started.
    pub succeeded_before: i64,
}

/// Some of the members.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Members {
    /// How many.
    pub count: i64,

    /// Which, as an Indexed Job writes it: `0-700,702-3127`.
    pub indexes: Ranges,
}

impl From<Ranges> for Members {
    fn from(indexes: Ranges) -> Self {
        Self { count: i64::from(indexes.len()), indexes }
    }
}

/// How much of a set is done.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetProgress {
    /// How many members have succeeded.
    pub completed: i64,

    /// How many members there are in all.
    pub total: i64,

    /// `completed` in percent of `total`.
    pub percent: i32,

    /// `completed` and `total` in one text, for columns.
    pub summary: String,

    /// When the last member will have ended at the pace of this round so far.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimated_completion_time: Option<Timestamp>,
}

/// A member that failed.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberFailure {
    /// The index of the member.
    pub index: i64,
    /// The name of its LongTask.
    pub task: String,
    /// Why it failed, in one word.
    pub reason: String,
    /// Its last failure in its own words, up to 256 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

/// The request that all members stop.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestedSetStop {
    /// Why they were asked to stop.
    pub reason: SetStopReason,
    /// When they were asked.
    pub request_time: Timestamp,
}

/// What a member reported as its result.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberResult {
    /// The index of the member.
    pub index: i64,
    /// Its result.
    #[schemars(schema_with = "crate::api::crd::any_object_schema")]
    pub result: Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_status_without_results_is_small() {
        let every_other: Ranges = (0..10_000).filter(|index| index % 2 == 1).collect();
        let status = LongTaskSetStatus {
            next: 10_000,
            failed: every_other.clone().into(),
            succeeded: Ranges::below(10_000).without(&every_other).into(),
            ..LongTaskSetStatus::default()
        };
        let written = serde_json::to_string(&status).expect("JSON");
        assert!(written.len() < 60_000, "{}", written.len());
        assert_eq!(serde_json::from_str::<LongTaskSetStatus>(&written).expect("the status again"), status);
        assert_eq!(status.active_indexes(), Ranges::default());
    }
}
