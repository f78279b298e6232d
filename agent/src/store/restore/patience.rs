//! How long a restore waits for its store.

use std::time::Duration;

use longtask_contract::agent::RestoreError;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::info;

use crate::store::failure::{Cause, Failure};

/// The time until a request that failed is tried again, which doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time until a request that failed is tried again.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// For how long a store may refuse: new keys take a while to be known.
const REFUSAL: Duration = Duration::from_mins(1);
/// How often something is looked at that is not what was saved, before that is believed.
const LOOKS: u32 = 3;

/// How long to wait for a store.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    begun: Instant,
    until: Instant,
}

impl Patience {
    /// From now on, for that long.
    pub(super) fn of(time: Duration) -> Self {
        let begun = Instant::now();
        Self { begun, until: begun + time }
    }

    /// For how many seconds it has lasted.
    pub(super) fn seconds(&self) -> u64 {
        self.begun.elapsed().as_secs()
    }

    /// One request that is tried again.
    pub(super) fn waiting(&self) -> Waiting {
        Waiting { patience: *self, pause: FIRST_PAUSE, refused: None, looks: 0 }
    }

    /// Waits for a request, not longer than the store is waited for. Once that time is over, the start itself has a limit.
    pub(super) async fn within<T>(&self, request: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        if Instant::now() >= self.until {
            return request.await;
        }
        let unanswered = || Failure::new(Cause::Unreachable, "the store does not answer");
        timeout_at(self.until, request).await.unwrap_or_else(|_| Err(unanswered()))
    }
}

/// One request that is tried again.
pub(super) struct Waiting {
    patience: Patience,
    pause: Duration,
    /// Since when the store refuses.
    refused: Option<Instant>,
    /// How often it was not what was saved.
    looks: u32,
}

impl Waiting {
    /// Waits until it is time to try again, or gives up.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), RestoreError> {
        let now = Instant::now();
        let gives_up = match failure.cause {
            Cause::NoBucket => true,
            Cause::Refused => now - *self.refused.get_or_insert(now) >= REFUSAL,
            Cause::Missing => {
                self.looks += 1;
                self.looks >= LOOKS
            }
            Cause::Unreachable => now + self.pause >= self.patience.until,
        };
        if gives_up {
            return Err(failure.into());
        }
        info!(%failure, "tried again");
        let pause = if failure.cause == Cause::Missing { FIRST_PAUSE } else { self.pause };
        sleep(pause).await;
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        Ok(())
    }
}
