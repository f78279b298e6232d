//! What a pod is made for.

use crate::api::task::{CurrentAttempt, LongTask, LongTaskStatus};

/// What a pod is made for.
#[derive(Clone, Copy)]
pub(super) struct Made<'a> {
    pub(super) task: &'a LongTask,
    /// The task's UID.
    pub(super) uid: &'a str,
    pub(super) status: &'a LongTaskStatus,
    pub(super) attempt: &'a CurrentAttempt,
    /// The name of the main container.
    pub(super) main: &'a str,
}
