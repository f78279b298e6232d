//! One save: the files are sent, what is stored is compared with what was sent, and only then the manifest is written.

use std::{
    collections::{BTreeMap, HashMap},
    io::{self, Read},
    sync::Arc,
};

use bytes::Bytes;
use cap_std::fs::{Dir, File};
use futures::TryStreamExt;
use jiff::Timestamp;
use longtask_contract::{
    agent::{SaveError, SaveName, SaveTrouble},
    report::ReportedCheckpoint,
};
use object_store::{MultipartUpload, ObjectStoreExt, path::Path};
use tokio::task::JoinSet;

use super::{
    buffer::Buffer,
    digest::{Digest, Hasher},
    failure::{Cause, Failure},
    flow::{Flow, REQUESTS, apart, joined},
    manifest::{Entry, Manifest},
    room::Room,
    walk::{Found, Stamp, Tree, Unsavable, What, check_unchanged, walk},
};

/// The most bytes of a key that all stores take.
const LONGEST_KEY: usize = 1024;

/// What is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The path by which the program reported it.
    pub path: String,
    /// The segment in which it was reported.
    pub segment: i64,
    /// What time it is, by the clock of the node.
    pub time: Timestamp,
}

/// Saves what the program has named below its directory, and returns it as a checkpoint that can be told of.
///
/// # Errors
/// If something there cannot be saved, or the store does not take it. What was sent is left for
/// [`retention`](super::retention).
pub async fn save(
    room: &Room,
    name: &SaveName,
    directory: &Arc<Dir>,
    checkpoint: &Checkpoint,
    flow: &Flow,
) -> Result<ReportedCheckpoint, SaveError> {
    let path = &checkpoint.path;
    let tree = Arc::new(walked(directory, path).await?);
    check_keys(room, name, &tree)?;
    let digests = send(room, name, directory, &tree, flow).await?;
    compare(room, name, &tree).await?;
    // Something may have come, gone or changed that was sent before.
    if walked(directory, path).await.map_err(|_| Unsavable::changed(path))? != *tree {
        return Err(Unsavable::changed(path).into());
    }
    let manifest = Manifest {
        version: Manifest::VERSION,
        task: room.task().clone(),
        attempt: name.attempt,
        segment: checkpoint.segment,
        path: path.clone(),
        creation_time: checkpoint.time,
        total_bytes: tree.total_bytes(),
        files: entries(&tree, &digests),
    };
    let digest = commit(room, name, &manifest).await?;
    Ok(ReportedCheckpoint::Reference {
        path: Some(path.clone()),
        uri: room.uri(name),
        digest: Some(digest.with_sort()),
        size_bytes: Some(i64::try_from(manifest.total_bytes).unwrap_or(i64::MAX)),
    })
}

async fn walked(directory: &Arc<Dir>, path: &str) -> Result<Tree, Unsavable> {
    let (directory, path) = (Arc::clone(directory), path.to_owned());
    apart(move || walk(&directory, &path)).await
}

fn check_keys(room: &Room, name: &SaveName, tree: &Tree) -> Result<(), Unsavable> {
    let too_long = |path: &&str| room.file(name, path).as_ref().len() > LONGEST_KEY;
    match tree.found.iter().filter_map(Found::as_file).map(|(path, _)| path).find(too_long) {
        None => Ok(()),
        Some(path) => {
            let words = format!("{path} is too long: its key in the store would have more than {LONGEST_KEY} bytes");
            Err(Unsavable::new(SaveTrouble::NotReadable, words))
        }
    }
}

/// Sends all files, and returns their digests by path.
async fn send(
    room: &Room,
    name: &SaveName,
    directory: &Arc<Dir>,
    tree: &Arc<Tree>,
    flow: &Flow,
) -> Result<HashMap<String, Digest>, SaveError> {
    let mut files: Vec<_> = tree.found.iter().filter_map(Found::as_file).collect();
    // The largest first, so that none is left over at the end when nothing else is.
    files.sort_by_key(|(_, stamp)| stamp.size);
    let (mut sending, mut digests) = (JoinSet::new(), HashMap::new());
    loop {
        while sending.len() < REQUESTS
            && let Some((path, stamp)) = files.pop()
        {
            let letter = Letter {
                room: room.clone(),
                location: room.file(name, path),
                flow: flow.clone(),
                directory: Arc::clone(directory),
                tree: Arc::clone(tree),
                path: path.to_owned(),
                stamp,
            };
            sending.spawn(letter.send());
        }
        let Some(sent) = sending.join_next().await else { return Ok(digests) };
        let (path, digest) = joined(sent)?;
        digests.insert(path, digest);
    }
}

/// A file on its way into the store.
struct Letter {
    room: Room,
    location: Path,
    flow: Flow,
    directory: Arc<Dir>,
    tree: Arc<Tree>,
    path: String,
    stamp: Stamp,
}

impl Letter {
    async fn send(self) -> Result<(String, Digest), SaveError> {
        let (directory, tree, path, stamp) =
            (Arc::clone(&self.directory), Arc::clone(&self.tree), self.path.clone(), self.stamp);
        let reading = apart(move || Reading::begin(&directory, &tree, path, stamp)).await?;
        let is_large = self.stamp.size > self.flow.part_of(self.stamp.size);
        let digest = if is_large { self.send_in_parts(reading).await? } else { self.send_whole(reading).await? };
        Ok((self.path, digest))
    }

    async fn send_whole(&self, reading: Reading) -> Result<Digest, SaveError> {
        let place = self.flow.admit(self.stamp.size).await;
        let (reading, bytes) = reading.read(self.stamp.size).await?;
        let digest = reading.end().await?;
        self.room.store().put(&self.location, bytes.into()).await.map_err(Failure::from)?;
        drop(place);
        Ok(digest)
    }

    async fn send_in_parts(&self, reading: Reading) -> Result<Digest, SaveError> {
        let mut upload = self.room.store().put_multipart(&self.location).await.map_err(Failure::from)?;
        match self.send_parts(&mut upload, reading).await {
            Ok(digest) => {
                upload.complete().await.map_err(Failure::from)?;
                Ok(digest)
            }
            Err(error) => {
                // Parts that nobody needs cost money; a rule of the bucket removes those that stay.
                let _ = upload.abort().await;
                Err(error)
            }
        }
    }

    async fn send_parts(
        &self,
        upload: &mut Box<dyn MultipartUpload>,
        mut reading: Reading,
    ) -> Result<Digest, SaveError> {
        let part = self.flow.part_of(self.stamp.size);
        let (mut sending, mut left) = (JoinSet::new(), self.stamp.size);
        while left > 0 {
            let size = part.min(left);
            let place = self.flow.admit(size).await;
            // A part that failed ends it before more is read.
            while let Some(sent) = sending.try_join_next() {
                joined::<object_store::Result<()>>(sent).map_err(Failure::from)?;
            }
            let bytes;
            (reading, bytes) = reading.read(size).await?;
            let part = upload.put_part(bytes.into());
            sending.spawn(async move {
                let sent = part.await;
                drop(place);
                sent
            });
            left -= size;
        }
        while let Some(sent) = sending.join_next().await {
            joined(sent).map_err(Failure::from)?;
        }
        Ok(reading.end().await?)
    }
}

/// A file that is read from its beginning to its end, once.
struct Reading {
    file: File,
    path: String,
    stamp: Stamp,
    hasher: Hasher,
}

impl Reading {
    fn begin(directory: &Dir, tree: &Tree, path: String, stamp: Stamp) -> Result<Self, Unsavable> {
        let file = tree.open(directory, &path, stamp)?;
        Ok(Self { file, path, stamp, hasher: Hasher::default() })
    }

    /// Reads the next bytes.
    async fn read(mut self, size: u64) -> Result<(Self, Bytes), Unsavable> {
        apart(move || {
            let mut buffer = Buffer::of(size).map_err(|error| self.not_read(&error))?;
            self.file.read_exact(buffer.room()).map_err(|error| self.not_read(&error))?;
            let bytes = buffer.into_bytes();
            self.hasher.take(&bytes);
            Ok((self, bytes))
        })
        .await
    }

    fn not_read(&self, error: &io::Error) -> Unsavable {
        // It was longer when it was walked over.
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Unsavable::changed(&self.path);
        }
        Unsavable::new(SaveTrouble::NotReadable, format!("{} cannot be read: {error}", self.path))
    }

    /// The digest of all that was read, if nobody has written meanwhile.
    async fn end(self) -> Result<Digest, Unsavable> {
        apart(move || {
            check_unchanged(&self.path, &self.file, self.stamp)?;
            Ok(self.hasher.digest())
        })
        .await
    }
}

/// Compares what is stored with what was sent, by its size. Its content was guarded on the way, by TLS or by a digest that the
/// store compares, and is compared with the manifest when it is restored.
async fn compare(room: &Room, name: &SaveName, tree: &Tree) -> Result<(), Failure> {
    let stored: BTreeMap<_, _> = room
        .store()
        .list(Some(&room.files(name)))
        .map_ok(|stored| (stored.location, stored.size))
        .try_collect()
        .await?;
    for (path, stamp) in tree.found.iter().filter_map(Found::as_file) {
        let location = room.file(name, path);
        let is_listed = stored.get(&location) == Some(&stamp.size);
        // What is not in a list may still be there.
        if !is_listed && room.store().head(&location).await?.size != stamp.size {
            return Err(not_kept(path));
        }
    }
    Ok(())
}

/// Writes the manifest, and reads it again: from now on, the save counts.
async fn commit(room: &Room, name: &SaveName, manifest: &Manifest) -> Result<Digest, Failure> {
    let location = room.manifest(name);
    let bytes = manifest.written().map_err(|error| Failure::new(Cause::Unreachable, error.to_string()))?;
    let digest = Digest::of(&bytes);
    room.store().put(&location, bytes.into()).await?;
    let stored = room.store().get(&location).await?.bytes().await?;
    if Digest::of(&stored) == digest { Ok(digest) } else { Err(not_kept("the manifest")) }
}

fn not_kept(what: &str) -> Failure {
    Failure::new(Cause::Unreachable, format!("the store has taken {what} and has something else now"))
}

fn entries(tree: &Tree, digests: &HashMap<String, Digest>) -> Vec<Entry> {
    let entry = |found: &Found| {
        let path = found.path.clone();
        Some(match &found.what {
            What::File(stamp) => {
                Entry::File { size: stamp.size, sha256: *digests.get(&path)?, mode: stamp.mode(), path }
            }
            What::Link(link) => Entry::Link { path, link: link.clone() },
            What::Directory => Entry::Directory { path, dir: true },
        })
    };
    tree.found.iter().filter_map(entry).collect()
}

impl From<Failure> for SaveError {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.save_trouble(), message: failure.words }
    }
}

impl From<Unsavable> for SaveError {
    fn from(unsavable: Unsavable) -> Self {
        Self { reason: unsavable.trouble, message: unsavable.words }
    }
}
