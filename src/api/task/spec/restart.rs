//! Another run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::cel::rule_at;

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

    /// With this new token, take the definition from the LongTaskTemplate of `templateRef` as it is now. Default false: go
    /// on with the copy that the task has. The checkpoints stay.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub renew: bool,
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
pub(crate) const NEW_TOKEN: &str =
    "(has(self.restart) && (!has(oldSelf.restart) || self.restart.token != oldSelf.restart.token))";

/// Whether an update leaves the input as it was, or begins another run of a task that has ended. Of the object as a whole.
///
/// CEL does not notice that a key of a free-form object was renamed: the operator compares the input with the run's, too.
pub(crate) const INPUT_STAYS: &str = "(has(self.spec.input) == has(oldSelf.spec.input) && (!has(self.spec.input) || self.spec.input == oldSelf.spec.input)) \
     || (has(self.spec.restart) && (!has(oldSelf.spec.restart) || self.spec.restart.token != oldSelf.spec.restart.token) \
     && has(oldSelf.status) && has(oldSelf.status.phase) && oldSelf.status.phase in ['Succeeded', 'Failed', 'Cancelled'])";
