//! Which save it is, and laying it out.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use longtask_contract::agent::{
    NamedSave, RESTORED, RestoreError, RestoreSettings, RestoreTrouble, RestoreWord, Restored, SaveName, StoreSettings,
};
use tokio::task::JoinSet;
use tracing::{info, warn};

use super::{
    layout::{link_all, make_room, not_written, remove},
    parcel::{Parcel, Wanted, whole},
    patience::Patience,
};
use crate::store::{
    digest::Digest,
    directory::{self, Directory},
    failure::{Cause, Failure},
    flow::{Flow, REQUESTS, apart, joined},
    manifest::Manifest,
    open::{Address, Opened},
    room::{Room, Task},
};

/// For how long one request is tried by the library.
const REQUEST_PATIENCE: Duration = Duration::from_secs(10);

/// A restore in one pod.
#[derive(Clone, Debug)]
pub struct Restore {
    settings: StoreSettings,
    task: Task,
    patience: Patience,
    flow: Flow,
}

/// A save that can be laid out.
#[derive(Clone, Debug)]
struct Found {
    room: Room,
    name: SaveName,
    manifest: Arc<Manifest>,
    digest: Digest,
}

impl Restore {
    /// The restore of a pod that begins now.
    pub fn begin(settings: &StoreSettings) -> Self {
        let patience = Patience::of(Duration::from_secs(settings.patience_seconds.into()));
        Self { settings: settings.clone(), task: Task::of(settings), patience, flow: Flow::default() }
    }

    /// Likewise with another flow.
    #[must_use]
    pub fn with_flow(self, flow: Flow) -> Self {
        Self { flow, ..self }
    }

    /// Restores from the store of the settings. Tells what has become of it.
    pub async fn run(&self) -> RestoreWord {
        let address = Address::of(&self.settings);
        self.run_with(|url| address.with_url(url).open(REQUEST_PATIENCE)).await
    }

    /// Likewise with stores that are opened in another way.
    pub async fn run_with(&self, open: impl Fn(&str) -> Result<Opened, Failure>) -> RestoreWord {
        let restored = self.restored(open).await;
        let seconds = self.patience.seconds();
        match restored {
            Ok(restored) => RestoreWord { seconds, restored, error: None },
            Err(error) => RestoreWord { seconds, restored: None, error: Some(error) },
        }
    }

    async fn restored(&self, open: impl Fn(&str) -> Result<Opened, Failure>) -> Result<Option<Restored>, RestoreError> {
        let Some(wanted) = &self.settings.restore else {
            self.lay_out_nothing().await?;
            return Ok(None);
        };
        let rooms = self.rooms(wanted, open)?;
        // First of all: what is found from here on stays.
        for room in &rooms {
            self.begin_in(room).await?;
        }
        for (room, name) in self.newer_saves(wanted, &rooms).await? {
            match self.adopt(&room, &name).await {
                Ok(Some(found)) => return Ok(Some(found.told(true))),
                // It was never completed.
                Ok(None) => {}
                Err(error) if error.reason == RestoreTrouble::Unreadable => {
                    warn!(save = %name, message = error.message, "a save that nobody was told of cannot be read: the one before it");
                }
                Err(error) => return Err(error),
            }
        }
        let Some(named) = &wanted.named else {
            self.lay_out_nothing().await?;
            return Ok(None);
        };
        let found = self.named(named, &rooms).await?;
        self.lay_out(&found).await?;
        Ok(Some(found.told(false)))
    }

    /// Where saves are looked for: where new ones go, and where the named one is, if the address was another one then.
    fn rooms(
        &self,
        wanted: &RestoreSettings,
        open: impl Fn(&str) -> Result<Opened, Failure>,
    ) -> Result<Vec<Room>, RestoreError> {
        let url = self.settings.url.trim_end_matches('/');
        let mut urls = vec![url];
        if let Some(named) = &wanted.named {
            let of_named = Room::url_of_store(&named.uri, &self.task)
                .ok_or_else(|| unreadable(format!("{} is no save of this task", named.uri)))?;
            urls.extend(Some(of_named).filter(|of_named| *of_named != url));
        }
        let room = |url: &str| Ok(Room::new(&open(url)?, url, &self.task));
        urls.into_iter().map(room).collect::<Result<_, Failure>>().map_err(RestoreError::from)
    }

    /// The saves above the named one, the newest first.
    async fn newer_saves(
        &self,
        wanted: &RestoreSettings,
        rooms: &[Room],
    ) -> Result<Vec<(Room, SaveName)>, RestoreError> {
        let named = wanted.named.as_ref().and_then(|named| SaveName::in_uri(&named.uri, &self.task.uid));
        let mut newer = Vec::new();
        for room in rooms {
            let mut saves = self.saves(room).await?;
            let is_of_named = wanted.named.as_ref().is_some_and(|named| named.uri.starts_with(room.url()));
            if is_of_named && saves.is_empty() {
                // A store that says so once may be behind.
                saves = self.saves(room).await?;
            }
            if is_of_named && saves.is_empty() {
                let message = format!(
                    "{} has no save of this task: is it another store, or was it emptied? Nothing is dropped",
                    room.url()
                );
                return Err(RestoreError { reason: RestoreTrouble::Unusable, message });
            }
            let is_newer = |save: &SaveName| {
                Some(save) > named.as_ref() && save.attempt >= wanted.epoch && save.attempt < self.settings.attempt
            };
            newer.extend(saves.into_iter().filter(is_newer).map(|save| (room.clone(), save)));
        }
        newer.sort_by(|(_, a), (_, b)| b.cmp(a));
        Ok(newer)
    }

    /// Lays out a save that nobody was told of; none if it is not complete.
    async fn adopt(&self, room: &Room, name: &SaveName) -> Result<Option<Found>, RestoreError> {
        let mut waiting = self.patience.waiting();
        let bytes = loop {
            match self.patience.within(whole(room.store(), &room.manifest(name))).await {
                Ok(bytes) => break bytes,
                Err(failure) if failure.cause == Cause::Missing => return Ok(None),
                Err(failure) => waiting.after(failure).await?,
            }
        };
        let manifest = Manifest::read(&bytes, &self.task).map_err(|error| unreadable(error.to_string()))?;
        let found =
            Found { room: room.clone(), name: name.clone(), manifest: Arc::new(manifest), digest: Digest::of(&bytes) };
        self.lay_out(&found).await?;
        Ok(Some(found))
    }

    /// The named save.
    async fn named(&self, named: &NamedSave, rooms: &[Room]) -> Result<Found, RestoreError> {
        let no_save = || unreadable(format!("{} is no save of this task", named.uri));
        let name = SaveName::in_uri(&named.uri, &self.task.uid).ok_or_else(no_save)?;
        let room = rooms.iter().find(|room| room.uri(&name) == named.uri).ok_or_else(no_save)?;
        let digest = Digest::from_sorted(&named.digest)
            .map_err(|error| unreadable(format!("the digest {:?} cannot be compared: {error}", named.digest)))?;
        let mut waiting = self.patience.waiting();
        loop {
            let failure = match self.patience.within(whole(room.store(), &room.manifest(&name))).await {
                Ok(bytes) if Digest::of(&bytes) == digest => {
                    let manifest = Manifest::read(&bytes, &self.task).map_err(|error| unreadable(error.to_string()))?;
                    return Ok(Found { room: room.clone(), name, manifest: Arc::new(manifest), digest });
                }
                Ok(_) => Failure::new(
                    Cause::Missing,
                    format!("{} is not what was saved: its digest is another one", named.uri),
                ),
                Err(failure) => failure,
            };
            waiting.after(failure).await?;
        }
    }

    async fn saves(&self, room: &Room) -> Result<BTreeSet<SaveName>, RestoreError> {
        let mut waiting = self.patience.waiting();
        loop {
            match self.patience.within(room.saves()).await {
                Ok(saves) => return Ok(saves),
                Err(failure) => waiting.after(failure).await?,
            }
        }
    }

    async fn begin_in(&self, room: &Room) -> Result<(), RestoreError> {
        let mut waiting = self.patience.waiting();
        loop {
            match self.patience.within(room.begin(self.settings.attempt)).await {
                Ok(()) => return Ok(()),
                Err(failure) => waiting.after(failure).await?,
            }
        }
    }

    /// Removes what an earlier restore has left: the program begins anew.
    async fn lay_out_nothing(&self) -> Result<(), RestoreError> {
        let path = self.settings.directory.clone();
        apart(move || {
            let directory = directory::open(&path)?;
            remove(&directory, RESTORED)
        })
        .await
        .map_err(|error| not_written(&self.settings.directory, &error))
    }

    /// Lays out a save. What is there already and matches stays, the rest goes.
    async fn lay_out(&self, found: &Found) -> Result<(), RestoreError> {
        info!(save = %found.name, bytes = found.manifest.total_bytes, "restoring");
        let (path, manifest) = (self.settings.directory.clone(), Arc::clone(&found.manifest));
        let restored = apart(move || {
            let directory = directory::open(&path)?;
            make_room(&directory, &manifest).map(Arc::new)
        })
        .await
        .map_err(|error| not_written(&self.settings.directory, &error))?;
        self.fetch_all(found, &restored).await?;
        let manifest = Arc::clone(&found.manifest);
        apart(move || link_all(&restored, &manifest))
            .await
            .map_err(|error| not_written(&self.settings.directory, &error))
    }

    async fn fetch_all(&self, found: &Found, restored: &Arc<Directory>) -> Result<(), RestoreError> {
        let mut files: Vec<_> = found.manifest.files.iter().filter_map(Wanted::of).collect();
        files.sort_by_key(|file| file.size);
        let mut fetching = JoinSet::new();
        loop {
            while fetching.len() < REQUESTS
                && let Some(file) = files.pop()
            {
                let parcel = Parcel {
                    patience: self.patience,
                    flow: self.flow.clone(),
                    location: found.room.file(&found.name, &file.path),
                    store: Arc::clone(found.room.store()),
                    restored: Arc::clone(restored),
                    file,
                };
                fetching.spawn(async move { parcel.fetch().await });
            }
            match fetching.join_next().await {
                Some(fetched) => joined(fetched)?,
                None => return Ok(()),
            }
        }
    }
}

impl Found {
    fn told(&self, is_adopted: bool) -> Restored {
        Restored {
            path: self.manifest.path.clone(),
            uri: self.room.uri(&self.name),
            digest: self.digest.with_sort(),
            size_bytes: self.manifest.total_bytes,
            attempt: self.name.attempt,
            segment: self.manifest.segment,
            creation_time: self.manifest.creation_time,
            is_adopted,
        }
    }
}

impl From<Failure> for RestoreError {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.restore_trouble(), message: failure.words }
    }
}

fn unreadable(message: String) -> RestoreError {
    RestoreError { reason: RestoreTrouble::Unreadable, message }
}
