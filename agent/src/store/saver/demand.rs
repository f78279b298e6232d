//! What the agent wants of the saver, and how far that is.

use jiff::Timestamp;
use longtask_contract::{agent::SaveReport, report::ReportedCheckpoint};

/// What the agent wants of the saver.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Demand {
    /// The newest that the program has named; none if it is saved, or if the program has gone on without.
    pub(crate) wanted: Option<Wanted>,
    /// Whether the program has ended, so that there is no time to lose.
    pub(crate) is_last: bool,
}

/// A checkpoint that the program has named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// Its path.
    pub(crate) path: String,
    /// Grows with everything that the program reports as a checkpoint.
    pub(crate) order: u64,
    /// When it was reported.
    pub(crate) time: Timestamp,
}

/// How far the saver is.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Standing {
    /// The newest that is safe, and what is told of it.
    pub(crate) saved: Option<(Wanted, ReportedCheckpoint)>,
    /// What is told of the newest save.
    pub(crate) report: Option<SaveReport>,
    /// A save that fails, though it may be too early to tell.
    pub(crate) failing: Option<SaveReport>,
}
