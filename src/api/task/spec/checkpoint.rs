//! Where checkpoints come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{GoDuration, duration::duration_between};

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

/// Who keeps the checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckpointSource {
    /// The program reports them to the operator, which hands the last one to the next attempt.
    Report,
    /// The program keeps them itself.
    External,
}
