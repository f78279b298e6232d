//! Removing saves that nobody needs, while the program runs.

use std::{collections::BTreeSet, future, time::Duration};

use longtask_contract::agent::{SaveName, StoreSettings};
use tokio::{sync::watch, time::sleep};
use tracing::{info, warn};

use super::work::Workshop;
use crate::{
    office::Known,
    store::{failure::Failure, retention},
};

/// The time until a removal at the start is tried again.
const PAUSE: Duration = Duration::from_mins(1);

impl Workshop<'_> {
    /// Removes what nobody needs: of earlier attempts at once, of its own as newer ones become known.
    pub(super) async fn tidy(&self, known: Option<watch::Receiver<Known>>) {
        let settings = &self.saver.settings;
        while let Err(error) = self.remove_of_earlier_attempts(settings).await {
            complain(&error);
            sleep(PAUSE).await;
        }
        let own = self.saver.name(0);
        match known {
            Some(known) => self.tidy_by_word(known, &own).await,
            None => self.tidy_without_word(&own).await,
        }
    }

    async fn tidy_by_word(&self, mut known: watch::Receiver<Known>, own: &SaveName) {
        let mut seen = None;
        while let Ok(keep) = known.wait_for(|known| known.keep != seen).await.map(|known| known.keep.clone()) {
            let named = keep.clone().unwrap_or_default();
            if let Err(error) = self.remove(|saves| retention::of_this_pod(saves, &named, own)).await {
                complain(&error);
            }
            seen = keep;
        }
        future::pending::<()>().await;
    }

    /// The next attempt may resume from a save of this one that nobody has told of. So nothing is removed once it has begun.
    async fn tidy_without_word(&self, own: &SaveName) {
        let mut complete = self.complete.subscribe();
        while complete.changed().await.is_ok() {
            let complete = complete.borrow_and_update().clone();
            match self.room.has_begun_after(own.attempt).await {
                Ok(true) => {
                    info!("another attempt of the task has begun: nothing more is removed");
                    break;
                }
                Ok(false) => {
                    if let Err(error) = self.remove(|saves| retention::without_word(saves, &complete, own)).await {
                        complain(&error);
                    }
                }
                Err(error) => complain(&error),
            }
        }
        future::pending::<()>().await;
    }

    async fn remove_of_earlier_attempts(&self, settings: &StoreSettings) -> Result<(), Failure> {
        self.remove(|saves| retention::of_earlier_attempts(saves, &settings.keep, settings.attempt)).await?;
        self.room.forget_beginnings_before(settings.attempt).await
    }

    async fn remove(&self, needless: impl Fn(&BTreeSet<SaveName>) -> Vec<SaveName>) -> Result<(), Failure> {
        for save in needless(&self.room.saves().await?) {
            self.room.remove(&save).await?;
            info!(%save, "removed: newer checkpoints are safe");
        }
        Ok(())
    }
}

fn complain(error: &Failure) {
    warn!(%error, "saves that nobody needs cannot be removed now");
}
