//! The directory that a save would be laid out in: nothing ever goes wrong there.
#![expect(clippy::unnecessary_wraps, reason = "the agent's own can fail")]

use std::io;

use longtask::contract::agent::{RestoreError, RestoreTrouble};

use crate::store::{directory::Directory, manifest::Manifest};

pub(super) fn make_room(_: &Directory, _: &Manifest) -> io::Result<Directory> {
    Ok(Directory)
}

pub(super) fn link_all(_: &Directory, _: &Manifest) -> io::Result<()> {
    Ok(())
}

pub(super) fn remove(_: &Directory, _: &str) -> io::Result<()> {
    Ok(())
}

pub(super) fn not_written(path: &str, error: &io::Error) -> RestoreError {
    RestoreError { reason: RestoreTrouble::Failed, message: format!("{path} cannot be written: {error}") }
}
