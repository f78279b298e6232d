//! The newest path that the program has named is saved, again and again until it is stored.

use std::{collections::BTreeSet, fmt, future, sync::Arc, time::Duration};

use longtask_contract::{
    agent::{SaveError, SaveName, SaveReport, SaveTrouble, StoreSettings},
    report::ReportedCheckpoint,
};
use tokio::{join, select, sync::watch, time::Instant};
use tracing::info;

use super::{
    demand::{Demand, Standing, Wanted},
    trouble::Trouble,
};
use crate::{
    clock::Clock,
    office::Known,
    store::{
        directory::{self, Directory},
        failure::Failure,
        flow::Flow,
        open::{Address, Opened},
        room::{Room, Task},
        save::{Checkpoint, save},
    },
};

/// For how long one request is tried before the save fails: the store may be away for a moment.
const REQUEST_PATIENCE: Duration = Duration::from_mins(1);
/// How many complete saves are remembered.
const REMEMBERED: usize = 2;

/// Saves what a program names, for as long as it is polled.
pub(crate) struct Saver {
    pub(super) settings: StoreSettings,
    pod_uid: String,
    clock: Clock,
    open: Box<dyn Fn() -> Result<Opened, Failure> + Send + Sync>,
}

/// A saver that has opened its store and its directory.
pub(super) struct Workshop<'a> {
    pub(super) saver: &'a Saver,
    pub(super) room: Room,
    directory: Arc<Directory>,
    /// The newest saves that are complete.
    pub(super) complete: watch::Sender<BTreeSet<SaveName>>,
}

impl Saver {
    /// The saver of a pod.
    pub(crate) fn of(settings: &StoreSettings, pod_uid: &str, clock: &Clock) -> Self {
        let address = Address::of(settings);
        Self::with(settings, pod_uid, clock, move || address.open(REQUEST_PATIENCE))
    }

    /// Likewise with a store that is opened in another way.
    pub(crate) fn with(
        settings: &StoreSettings,
        pod_uid: &str,
        clock: &Clock,
        open: impl Fn() -> Result<Opened, Failure> + Send + Sync + 'static,
    ) -> Self {
        let (settings, pod_uid) = (settings.clone(), pod_uid.to_owned());
        Self { settings, pod_uid, clock: clock.clone(), open: Box::new(open) }
    }

    /// Saves and tidies, until another attempt is known to be under way: then this one touches the store no more.
    pub(crate) async fn run(
        self,
        demand: watch::Receiver<Demand>,
        standing: watch::Sender<Standing>,
        known: Option<watch::Receiver<Known>>,
    ) {
        let superseded = Known::until_superseded(known.clone());
        let work = async {
            let workshop = self.opened(demand.clone(), &standing).await;
            join!(workshop.save_all(demand, &standing), workshop.tidy(known));
        };
        select! {
            biased;
            () = superseded => info!("another attempt of the task is under way: nothing more is saved"),
            () = work => {}
        }
        future::pending::<()>().await;
    }

    async fn opened(&self, mut demand: watch::Receiver<Demand>, standing: &watch::Sender<Standing>) -> Workshop<'_> {
        let mut trouble = Trouble::begin();
        loop {
            match self.open_now() {
                Ok(workshop) => return workshop,
                Err(error) => {
                    let wanted = demand.borrow().wanted.clone();
                    trouble.tell(wanted.as_ref(), &error, standing);
                    trouble.pause(wanted.as_ref(), &error, &mut demand).await;
                }
            }
        }
    }

    fn open_now(&self) -> Result<Workshop<'_>, SaveError> {
        let opened = (self.open)()?;
        let path = &self.settings.directory;
        let directory = directory::open(path).map_err(|error| SaveError {
            reason: SaveTrouble::NotReadable,
            message: format!("{path} cannot be opened: {error}"),
        })?;
        Ok(Workshop {
            saver: self,
            room: Room::new(&opened, &self.settings.url, &Task::of(&self.settings)),
            directory: Arc::new(directory),
            complete: watch::Sender::default(),
        })
    }

    pub(super) fn name(&self, number: u64) -> SaveName {
        SaveName::of_pod(self.settings.attempt, &self.pod_uid, number)
    }
}

impl Workshop<'_> {
    async fn save_all(&self, mut demand: watch::Receiver<Demand>, standing: &watch::Sender<Standing>) {
        let (mut done, mut next) = (None, None);
        loop {
            let is_new = |demand: &Demand| demand.wanted.as_ref().is_some_and(|wanted| Some(wanted.order) > done);
            match demand.wait_for(is_new).await.map(|demand| demand.wanted.clone()) {
                Ok(Some(first)) => done = Some(self.save_newest(first, &mut next, &mut demand, standing).await),
                // Nobody wants anything any more.
                Ok(None) | Err(_) => return future::pending().await,
            }
        }
    }

    /// Saves what is wanted, or what is wanted by the time that a save succeeds. Returns the order of what is done with.
    async fn save_newest(
        &self,
        mut wanted: Wanted,
        next: &mut Option<u64>,
        demand: &mut watch::Receiver<Demand>,
        standing: &watch::Sender<Standing>,
    ) -> u64 {
        let mut trouble = Trouble::begin();
        loop {
            let begun = Instant::now();
            match self.save_once(&wanted, next).await {
                Ok(checkpoint) => {
                    let report =
                        SaveReport { path: wanted.path.clone(), seconds: begun.elapsed().as_secs(), error: None };
                    info!(path = report.path, seconds = report.seconds, "saved");
                    let order = wanted.order;
                    let saved = Some((wanted, checkpoint));
                    standing.send_replace(Standing { saved, report: Some(report), failing: None });
                    return order;
                }
                Err(error) => {
                    trouble.tell(Some(&wanted), &error, standing);
                    trouble.pause(Some(&wanted), &error, demand).await;
                    let now = demand.borrow_and_update().wanted.clone();
                    let Some(now) = now else {
                        // The program has gone on without it.
                        standing.send_modify(|standing| (standing.report, standing.failing) = (None, None));
                        return wanted.order;
                    };
                    wanted = now;
                }
            }
        }
    }

    async fn save_once(&self, wanted: &Wanted, next: &mut Option<u64>) -> Result<ReportedCheckpoint, SaveError> {
        let number = match *next {
            Some(number) => number,
            None => self.first_number().await?,
        };
        // What failed may be there all the same: no number is used twice.
        *next = Some(number.saturating_add(1));
        let name = self.saver.name(number);
        let checkpoint = Checkpoint {
            path: wanted.path.clone(),
            segment: self.saver.settings.segment,
            time: self.saver.clock.now(),
        };
        let saved = save(&self.room, &name, &self.directory, &checkpoint, &Flow::default()).await?;
        self.complete.send_modify(|complete| {
            complete.insert(name);
            while complete.len() > REMEMBERED {
                complete.pop_first();
            }
        });
        Ok(saved)
    }

    /// The number after those that an agent before this one has used in the pod.
    async fn first_number(&self) -> Result<u64, Failure> {
        let own = self.saver.name(0);
        let saves = self.room.saves().await?;
        let used = saves.iter().filter(|save| (save.attempt, &save.pod) == (own.attempt, &own.pod));
        Ok(used.map(|save| save.number).max().unwrap_or_default().saturating_add(1))
    }
}

impl fmt::Debug for Saver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Saver").field("settings", &self.settings).finish_non_exhaustive()
    }
}
