//! The node's clock.

use std::sync::Arc;

use jiff::Timestamp;

/// Tells the time of the node.
#[derive(Clone)]
pub(crate) struct Clock(Arc<dyn Fn() -> Timestamp + Send + Sync>);

impl Clock {
    /// The wall clock.
    #[expect(clippy::disallowed_methods, reason = "the one place that asks the system")]
    pub(crate) fn wall() -> Self {
        Self(Arc::new(Timestamp::now))
    }

    /// A clock for tests.
    #[cfg(test)]
    pub(crate) fn from_fn(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.0)()
    }
}
