//! A save that fails: when it is told, and when it is tried again.

use std::time::Duration;

use longtask_contract::agent::{SaveError, SaveReport, SaveTrouble};
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep_until},
};
use tracing::warn;

use super::demand::{Demand, Standing, Wanted};

/// The time until a save that failed is tried again, which doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest time until a save that failed is tried again.
pub(super) const LAST_PAUSE: Duration = Duration::from_mins(1);
/// For how long a save fails until it is told.
const TOLD_AFTER: Duration = Duration::from_mins(1);

/// A save that fails: since when, and when it is tried again.
pub(super) struct Trouble {
    since: Instant,
    pause: Duration,
    /// The last failure, so that one that lasts is logged once.
    logged: Option<SaveError>,
}

impl Trouble {
    /// It begins now.
    pub(super) fn begin() -> Self {
        Self { since: Instant::now(), pause: FIRST_PAUSE, logged: None }
    }

    /// Says what fails: at once if waiting mends nothing, else after a while.
    pub(super) fn tell(&mut self, wanted: Option<&Wanted>, error: &SaveError, standing: &watch::Sender<Standing>) {
        if self.logged.as_ref() != Some(error) {
            let path = wanted.map(|wanted| &wanted.path);
            warn!(path, reason = ?error.reason, message = error.message, "a checkpoint cannot be saved; it is tried again");
            self.logged = Some(error.clone());
        }
        let Some(wanted) = wanted else { return };
        let seconds = self.since.elapsed().as_secs();
        let report = SaveReport { path: wanted.path.clone(), seconds, error: Some(error.clone()) };
        let is_told = error.reason.is_refusal() || self.since.elapsed() >= TOLD_AFTER;
        standing.send_modify(|standing| {
            if is_told {
                standing.report = Some(report.clone());
            }
            standing.failing = Some(report);
        });
    }

    /// Waits until it is time to try again, or until nothing is wanted any more. Another path may be better where this one is
    /// at fault, and at the end there is no time to wait.
    pub(super) async fn pause(
        &mut self,
        failed: Option<&Wanted>,
        error: &SaveError,
        demand: &mut watch::Receiver<Demand>,
    ) {
        let (begun, until) = (Instant::now(), Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LAST_PAUSE);
        loop {
            let now = demand.borrow_and_update().clone();
            if failed.is_some() && now.wanted.is_none() {
                return;
            }
            let is_other = now.wanted.as_ref() != failed;
            if now.is_last || (is_other && is_of_the_program(error.reason)) {
                self.pause = FIRST_PAUSE;
                return sleep_until(until.min(begun + FIRST_PAUSE)).await;
            }
            select! {
                () = sleep_until(until) => return,
                changed = demand.changed() => if changed.is_err() {
                    return sleep_until(until).await;
                },
            }
        }
    }
}

/// Whether what the program has named is at fault, and not the store.
fn is_of_the_program(trouble: SaveTrouble) -> bool {
    match trouble {
        SaveTrouble::ChangedWhileSaving
        | SaveTrouble::NoSuchPath
        | SaveTrouble::LeavesDirectory
        | SaveTrouble::TooManyFiles
        | SaveTrouble::NotReadable => true,
        SaveTrouble::AccessDenied | SaveTrouble::NoSuchBucket | SaveTrouble::Unreachable | SaveTrouble::Unknown => {
            false
        }
    }
}
