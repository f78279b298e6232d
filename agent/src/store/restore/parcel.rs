//! One file on its way out of the store.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    ops::Range,
    sync::Arc,
};

use bytes::Bytes;
use cap_std::fs::{Dir, File, OpenOptions, Permissions, PermissionsExt};
use futures::TryStreamExt;
use longtask_contract::agent::RestoreError;
use object_store::{GetOptions, ObjectStore, ObjectStoreExt, path::Path};

use super::{
    layout::{not_written, remove},
    patience::Patience,
};
use crate::store::{
    buffer::Buffer,
    digest::{Digest, Hasher},
    failure::{Cause, Failure},
    flow::{Awaited, Flow, Place, apart},
    manifest::{Entry, Mode},
};

/// A file that has to be there in the end.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) size: u64,
    digest: Digest,
    mode: Mode,
}

impl Wanted {
    /// The file that an entry is, if it is one.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        match entry {
            Entry::File { path, size, sha256, mode } => {
                Some(Self { path: path.clone(), size: *size, digest: *sha256, mode: *mode })
            }
            Entry::Link { .. } | Entry::Directory { .. } => None,
        }
    }

    /// Whether it is there already.
    fn is_in(&self, restored: &Dir) -> io::Result<bool> {
        let metadata = match restored.symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            metadata => metadata?,
        };
        if !metadata.is_file() || metadata.len() != self.size {
            return Ok(false);
        }
        // One that the agent may not read is replaced.
        let Ok(mut file) = restored.open(&self.path) else { return Ok(false) };
        let (mut hasher, mut piece) = (Hasher::default(), vec![0; 1024 * 1024]);
        loop {
            match file.read(&mut piece)? {
                0 => break,
                read => hasher.take(&piece[..read]),
            }
        }
        if hasher.digest() != self.digest {
            return Ok(false);
        }
        // Of another user's file the mode cannot be changed.
        let mode = Permissions::from_mode(self.mode.bits());
        Ok(metadata.permissions().mode() & 0o777 == self.mode.bits() || file.set_permissions(mode).is_ok())
    }
}

/// A file on its way out of the store.
pub(super) struct Parcel {
    pub(super) patience: Patience,
    pub(super) flow: Flow,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) location: Path,
    pub(super) restored: Arc<Dir>,
    pub(super) file: Wanted,
}

/// A file that grows by what has come, in its order.
struct Landing {
    file: File,
    hasher: Hasher,
}

impl Parcel {
    /// Has the file there, unless it is there already.
    pub(super) async fn fetch(&self) -> Result<(), RestoreError> {
        let (restored, file) = (Arc::clone(&self.restored), self.file.clone());
        if apart(move || file.is_in(&restored)).await.map_err(|error| not_written(&self.file.path, &error))? {
            return Ok(());
        }
        let mut waiting = self.patience.waiting();
        loop {
            let landing = self.new_landing().await?;
            let is_large = self.file.size > self.flow.part_of(self.file.size);
            let digest = if is_large { self.land_pieces(landing).await? } else { self.land_whole(landing).await? };
            if digest == self.file.digest {
                return Ok(());
            }
            self.land_nothing().await?;
            let words = format!("{} is not what was saved: its digest is another one", self.location);
            waiting.after(Failure::new(Cause::Missing, words)).await?;
        }
    }

    async fn new_landing(&self) -> Result<Landing, RestoreError> {
        let (restored, path) = (Arc::clone(&self.restored), self.file.path.clone());
        let opened = apart(move || {
            remove(&restored, &path)?;
            restored.open_with(&path, OpenOptions::new().write(true).create_new(true))
        });
        let file = opened.await.map_err(|error| not_written(&self.file.path, &error))?;
        Ok(Landing { file, hasher: Hasher::default() })
    }

    async fn land_nothing(&self) -> Result<(), RestoreError> {
        let (restored, path) = (Arc::clone(&self.restored), self.file.path.clone());
        apart(move || remove(&restored, &path)).await.map_err(|error| not_written(&self.file.path, &error))
    }

    async fn land_whole(&self, landing: Landing) -> Result<Digest, RestoreError> {
        let _place = self.flow.admit(self.file.size).await;
        let bytes = fetch(&self.patience, &self.store, &self.location, self.file.size, None).await?;
        let landing = self.land(landing, bytes).await?;
        self.end(landing).await
    }

    /// Fetches the pieces of a file several at a time, and lands them in their order.
    async fn land_pieces(&self, mut landing: Landing) -> Result<Digest, RestoreError> {
        let part = self.flow.part_of(self.file.size);
        let mut begins = (0..self.file.size).step_by(usize::try_from(part).unwrap_or(usize::MAX)).peekable();
        let mut coming: VecDeque<Awaited<Result<(Place, Bytes), RestoreError>>> = VecDeque::new();
        loop {
            if let Some(begin) = begins.peek().copied() {
                let range = begin..begin.saturating_add(part).min(self.file.size);
                let size = range.end - range.start;
                // Waiting for a place is of no use while something comes that will make one.
                let place =
                    if coming.is_empty() { Some(self.flow.admit(size).await) } else { self.flow.admit_now(size) };
                if let Some(place) = place {
                    begins.next();
                    coming.push_back(self.begin_piece(place, range));
                    continue;
                }
            }
            let Some(piece) = coming.pop_front() else { return self.end(landing).await };
            let (place, bytes) = piece.end().await?;
            landing = self.land(landing, bytes).await?;
            drop(place);
        }
    }

    fn begin_piece(&self, place: Place, range: Range<u64>) -> Awaited<Result<(Place, Bytes), RestoreError>> {
        let (patience, store, location) = (self.patience, Arc::clone(&self.store), self.location.clone());
        let size = self.file.size;
        Awaited::begin(async move {
            let bytes = fetch(&patience, &store, &location, size, Some(range)).await?;
            Ok((place, bytes))
        })
    }

    async fn land(&self, mut landing: Landing, bytes: Bytes) -> Result<Landing, RestoreError> {
        let landed = apart(move || {
            landing.file.write_all(&bytes)?;
            landing.hasher.take(&bytes);
            Ok(landing)
        });
        landed.await.map_err(|error| not_written(&self.file.path, &error))
    }

    async fn end(&self, landing: Landing) -> Result<Digest, RestoreError> {
        let mode = Permissions::from_mode(self.file.mode.bits());
        let ended = apart(move || landing.file.set_permissions(mode).map(|()| landing.hasher.digest()));
        ended.await.map_err(|error| not_written(&self.file.path, &error))
    }
}

/// Fetches an object of that size, or a range of it.
async fn fetch(
    patience: &Patience,
    store: &Arc<dyn ObjectStore>,
    location: &Path,
    size: u64,
    range: Option<Range<u64>>,
) -> Result<Bytes, RestoreError> {
    let mut waiting = patience.waiting();
    loop {
        match patience.within(piece(store, location, size, range.clone())).await {
            Ok(bytes) => return Ok(bytes),
            Err(failure) => waiting.after(failure).await?,
        }
    }
}

async fn piece(
    store: &Arc<dyn ObjectStore>,
    location: &Path,
    size: u64,
    range: Option<Range<u64>>,
) -> Result<Bytes, Failure> {
    let another = |has: u64| Failure::new(Cause::Missing, format!("{location} has {has} bytes, {size} were saved"));
    let expected = range.as_ref().map_or(size, |range| range.end - range.start);
    let got = store.get_opts(location, GetOptions::new().with_range(range)).await?;
    if got.meta.size != size {
        return Err(another(got.meta.size));
    }
    let out_of_memory = |error: io::Error| Failure::new(Cause::Unreachable, format!("{location}: {error}"));
    let mut buffer = Buffer::of(expected).map_err(out_of_memory)?;
    let (mut left, mut chunks) = (buffer.room(), got.into_stream());
    while let Some(chunk) = chunks.try_next().await? {
        let Some((begin, rest)) = left.split_at_mut_checked(chunk.len()) else {
            return Err(another(size.saturating_add(1)));
        };
        begin.copy_from_slice(&chunk);
        left = rest;
    }
    let lacking = u64::try_from(left.len()).unwrap_or(u64::MAX);
    if lacking == 0 { Ok(buffer.into_bytes()) } else { Err(another(size.saturating_sub(lacking))) }
}

/// Fetches a whole object of any size.
pub(super) async fn whole(store: &Arc<dyn ObjectStore>, location: &Path) -> Result<Bytes, Failure> {
    Ok(store.get(location).await?.bytes().await?)
}
