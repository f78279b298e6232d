//! Whether a cache has its first list. Any number may wait: of those who wait for a kube store, only the last one is woken.

use tokio::sync::watch;

/// Tells that a cache is filled.
#[derive(Clone, Debug)]
pub(crate) struct Filled(watch::Sender<bool>);

impl Default for Filled {
    fn default() -> Self {
        Self(watch::Sender::new(false))
    }
}

impl Filled {
    /// The first list is complete.
    pub(crate) fn reached(&self) {
        self.0.send_replace(true);
    }

    /// Waits until the first list is complete.
    pub(crate) async fn wait(&self) {
        // An error would mean that the sender is gone, and this is it.
        let _ = self.0.subscribe().wait_for(|is_filled| *is_filled).await;
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, StreamExt, stream::FuturesUnordered};

    use super::*;

    #[tokio::test]
    async fn all_who_wait_are_woken() {
        let filled = Filled::default();
        // Each has a waker of its own in there.
        let mut waiting: FuturesUnordered<_> = (0..3).map(|_| filled.wait()).collect();
        assert_eq!(waiting.next().now_or_never(), None);
        filled.reached();
        assert_eq!(waiting.count().await, 3);
        filled.wait().await;
    }
}
