//! How Kueue gives quota to a task.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How [Kueue](https://kueue.sigs.k8s.io) gives quota to the task.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Kueue {
    /// PerSegment: each attempt is a Workload of its own, and its quota is given back when it ends. PerRun: attempts that follow
    /// each other are one Workload, which keeps its quota from one to the next. The quota is given back when the task waits for a
    /// retry, is paused or ends, and the next attempt asks anew; also when its pod would be another one, by an edit or a rule.
    /// After an interruption it is kept. Without `kueue`, PerSegment. Takes effect at the next attempt.
    pub quota: KueueQuota,
}

/// For how long quota is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum KueueQuota {
    /// For one attempt.
    PerSegment,
    /// For attempts that follow each other.
    PerRun,
}
