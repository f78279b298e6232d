//! What the agent posts, and what it is answered.

use serde::{Deserialize, Serialize};

use super::saves::{SaveName, SaveReport};

/// The most bytes of a post: a result and its place.
pub const LONGEST_POST: usize = 24 * 1024;

/// The newest word of a program, as its agent posts it. Times are given as ages, since no two clocks agree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Post {
    /// Grows with everything new.
    pub revision: i64,
    /// Grows with every look at what the program says: of two posts with one revision, the one with more is the later one.
    #[serde(default)]
    pub number: i64,
    /// For how many seconds the program has given no sign of life.
    pub silent_seconds: i64,
    /// For how many seconds it said that it would be silent, if it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_seconds: Option<i64>,
    /// How many seconds ago it reported its newest checkpoint, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_age_seconds: Option<i64>,
    /// What it reported, as lines: see [`Report::written`](crate::report::Report::written).
    #[serde(default)]
    pub lines: String,
    /// How it goes with the newest save, if the task has a store and the program has named a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<SaveReport>,
}

impl Post {
    /// The most bytes of `lines` without a result; all that makes progress, errors and text.
    pub const LONGEST_LINES: usize = 4 * 1024;
    /// The most bytes of `lines` with a result.
    pub const LONGEST_LINES_WITH_RESULT: usize = 20 * 1024;
}

/// What the operator answers to a post.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// How many seconds the agent waits with the next news.
    pub next: u32,
    /// How many seconds until it posts without news.
    pub keep_alive: u32,
    /// The saves that the task's status names; absent if the operator does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keep: Option<Vec<SaveName>>,
}
