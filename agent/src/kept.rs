//! What an agent needs to know of the one before it: the kubelet starts it again when it dies.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::report_file::Position;

/// What the next agent in this pod needs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Kept {
    /// How far the report file was read.
    pub(crate) position: Position,
    /// The newest revision.
    pub(crate) revision: i64,
    /// The first revision with the result.
    pub(crate) result_revision: Option<i64>,
    /// When the newest checkpoint that is told was reported.
    pub(crate) checkpoint_time: Option<Timestamp>,
    /// With a store: the newest checkpoint that is safe, as a line.
    pub(crate) safe: String,
    /// With a store: when the program named a checkpoint that is not saved yet, if it has.
    pub(crate) wanted_since: Option<Timestamp>,
    /// What the program reported so far.
    pub(crate) lines: String,
    /// What of it could not be used.
    pub(crate) problems: Vec<String>,
}
