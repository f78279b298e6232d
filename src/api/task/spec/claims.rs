//! What becomes of the volumes of a task's own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What becomes of a task's claims.
#[derive(JsonSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClaimRetentionPolicy {
    /// What becomes of the claims when the task is deleted. Retain: they stay, and a later task of the same name uses them.
    /// Delete: they are deleted with it, and a claim of that name which is not this task's is not used. Default Retain. Holds
    /// for claims that are created from then on.
    pub when_deleted: ClaimRetention,

    /// What becomes of them when the task has succeeded. Delete: they are deleted, and so are the pods that have ended, for
    /// which Kubernetes would keep them. The claims of a task that failed or was cancelled stay in any case, since it can be
    /// restarted. Default Retain. Takes effect at once.
    pub when_succeeded: ClaimRetention,
}

/// Whether claims are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClaimRetention {
    /// They are kept.
    #[default]
    Retain,
    /// They are deleted.
    Delete,
}
