//! How often the status of an object is written that speaks for many: at most every 100 ms per 32 KiB of the object.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::key::ObjectKey;

/// The shortest time between two writes, for so many bytes.
const PAUSE: Duration = Duration::from_millis(100);
const PER: usize = 32 * 1024;

/// When each object may be written again.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<HashMap<ObjectKey, Instant>>);

impl Pace {
    /// An object was written that has so many bytes.
    pub(crate) fn wrote(&self, object: &ObjectKey, bytes: usize) {
        let pauses = u32::try_from(bytes.div_ceil(PER)).unwrap_or(u32::MAX).max(1);
        let mut next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        next.insert(object.clone(), Instant::now() + PAUSE.saturating_mul(pauses));
    }

    /// How long it is until the object may be written again; none if it may now.
    pub(crate) fn left(&self, object: &ObjectKey) -> Option<Duration> {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = next.get(object)?.saturating_duration_since(Instant::now());
        Some(left).filter(|left| !left.is_zero())
    }

    /// Forgets an object that is gone.
    pub(crate) fn forget(&self, object: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_large_object_is_written_less_often() {
        let (pace, set) = (Pace::default(), ObjectKey { namespace: "n".into(), name: "s".into() });
        assert_eq!(pace.left(&set), None);
        pace.wrote(&set, 4000);
        assert_eq!(pace.left(&set), Some(PAUSE));
        time::advance(PAUSE).await;
        assert_eq!(pace.left(&set), None);
        pace.wrote(&set, 3 * PER + 1);
        assert_eq!(pace.left(&set), Some(4 * PAUSE));
    }
}
