//! How much is under way at the same time: here, all of it.

use tokio::task::JoinError;

/// The most requests at the same time.
pub(crate) const REQUESTS: usize = 32;

/// Admits everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flow {}

/// Does it at once: a thread of its own would come back at a moment that nobody has drawn.
pub(crate) async fn apart<T>(work: impl FnOnce() -> T) -> T {
    work()
}

/// What a task has come to.
pub(crate) fn joined<T>(ended: Result<T, JoinError>) -> T {
    ended.expect("it does not panic")
}
