//! One file on its way out of the store.

use std::sync::Arc;

use longtask::contract::agent::RestoreError;

use super::patience::Patience;
use crate::store::{
    digest::Digest,
    directory::Directory,
    failure::{Cause, Failure},
    flow::Flow,
    manifest::Entry,
    way::{Load, Way},
};

/// A file that has to be there in the end.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) size: u64,
    digest: Digest,
}

impl Wanted {
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::File { path, size, sha256, mode: _ } => {
                Some(Self { path: path.clone(), size: *size, digest: *sha256 })
            }
            Entry::Link { .. } | Entry::Directory { .. } => None,
        }
    }
}

/// A file on its way out of the store.
pub(super) struct Parcel {
    pub(super) patience: Patience,
    #[expect(dead_code, reason = "there is one file")]
    pub(super) flow: Flow,
    pub(super) store: Arc<Way>,
    pub(super) location: String,
    #[expect(dead_code, reason = "nothing is laid out")]
    pub(super) restored: Arc<Directory>,
    pub(super) file: Wanted,
}

impl Parcel {
    pub(super) async fn fetch(&self) -> Result<(), RestoreError> {
        let mut waiting = self.patience.waiting();
        loop {
            let failure = match self.patience.within(self.store.get(&self.location, Load::File)).await {
                Ok(bytes) if Digest::of(&bytes) == self.file.digest => return Ok(()),
                Ok(_) => Failure::new(Cause::Missing, format!("{} is not what was saved", self.location)),
                Err(failure) => failure,
            };
            waiting.after(failure).await?;
        }
    }
}

/// Fetches a whole object.
pub(super) async fn whole(store: &Arc<Way>, location: &str) -> Result<Vec<u8>, Failure> {
    store.get(location, Load::Little).await
}
