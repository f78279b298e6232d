//! One save: a file, what the store has of it, then the manifest. In this order, as the agent has it.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use longtask::contract::{
    agent::{SaveError, SaveName, SaveTrouble},
    report::ReportedCheckpoint,
};
use tokio::time::sleep;

use super::{
    digest::Digest,
    directory::{Directory, place_in},
    failure::{Cause, Failure},
    flow::Flow,
    manifest::{Entry, Manifest, Mode},
    room::Room,
    way::Load,
};
use crate::defects::Defect;

/// What is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) path: String,
    pub(crate) segment: i64,
    pub(crate) time: Timestamp,
}

pub(crate) async fn save(
    room: &Room,
    name: &SaveName,
    _: &Arc<Directory>,
    checkpoint: &Checkpoint,
    _: &Flow,
) -> Result<ReportedCheckpoint, SaveError> {
    let Checkpoint { path, segment, time } = checkpoint.clone();
    let way = room.store();
    let content = place_in(&path).expect("a program names what it has written").to_string().into_bytes();
    let file = room.file(name, &path);
    way.put(&file, content.clone(), Load::File).await?;
    if !way.list(&room.files(name)).await?.contains(&file) {
        return Err(Failure::new(Cause::Unreachable, "the store has not kept it").into());
    }
    if way.finds_the_program_at_fault() {
        let message = format!("{path} has changed while it was saved");
        return Err(SaveError { reason: SaveTrouble::ChangedWhileSaving, message });
    }
    let total_bytes = content.len() as u64;
    let manifest = Manifest {
        version: Manifest::VERSION,
        task: room.task().clone(),
        attempt: name.attempt,
        segment,
        path: path.clone(),
        creation_time: time,
        total_bytes,
        files: vec![Entry::File {
            path: path.clone(),
            size: total_bytes,
            sha256: Digest::of(&content),
            mode: Mode::of(0o644),
        }],
    };
    let digest = commit(room, name, &manifest).await?;
    Ok(ReportedCheckpoint::Reference {
        path: Some(path),
        uri: room.uri(name),
        digest: Some(digest.with_sort()),
        size_bytes: i64::try_from(total_bytes).ok(),
    })
}

async fn commit(room: &Room, name: &SaveName, manifest: &Manifest) -> Result<Digest, Failure> {
    let (way, location) = (Arc::clone(room.store()), room.manifest(name));
    let bytes = manifest.written().expect("JSON");
    let digest = Digest::of(&bytes);
    if way.has(Defect::TellsBeforeItIsStored) {
        tokio::spawn(async move {
            sleep(Duration::from_secs(10)).await;
            way.put(&location, bytes, Load::Little).await
        });
        return Ok(digest);
    }
    way.put(&location, bytes, Load::Little).await?;
    let stored = way.get(&location, Load::Little).await?;
    if Digest::of(&stored) == digest {
        Ok(digest)
    } else {
        Err(Failure::new(Cause::Unreachable, "the store has taken the manifest and has something else now"))
    }
}

impl From<Failure> for SaveError {
    fn from(failure: Failure) -> Self {
        Self { reason: failure.save_trouble(), message: failure.words }
    }
}
