//! The directory that a save is laid out in.

use std::{collections::HashMap, io};

use cap_std::fs::{Dir, Permissions, PermissionsExt};
use longtask_contract::agent::{RESTORED, RestoreError, RestoreTrouble};

use crate::store::manifest::{Entry, Manifest, parents};

/// Makes the directory, and in it all directories of the manifest and nothing that is not in it.
pub(super) fn make_room(directory: &Dir, manifest: &Manifest) -> io::Result<Dir> {
    let is_there = directory.symlink_metadata(RESTORED).is_ok_and(|metadata| metadata.is_dir());
    if !is_there {
        remove(directory, RESTORED)?;
        directory.create_dir(RESTORED)?;
    }
    open_to_all(directory, RESTORED)?;
    let restored = directory.open_dir(RESTORED)?;
    let wanted: HashMap<_, _> = manifest.files.iter().map(|entry| (entry.path(), entry)).collect();
    clear(&restored, "", &wanted)?;
    for entry in &manifest.files {
        let own = Some(entry.path()).filter(|_| entry.is_directory());
        for path in parents(entry.path()).chain(own) {
            match restored.create_dir(path) {
                Ok(()) => open_to_all(&restored, path)?,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(restored)
}

/// The program may run as another user, and what is restored is its own to delete. Of another user's directory the mode
/// cannot be changed, and need not be: the program has made it.
fn open_to_all(directory: &Dir, path: &str) -> io::Result<()> {
    match directory.set_permissions(path, Permissions::from_mode(0o777)) {
        Err(error) if error.kind() != io::ErrorKind::PermissionDenied => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Removes everything that is not what the manifest has there, as far as that can be told without reading.
fn clear(directory: &Dir, prefix: &str, wanted: &HashMap<&str, &Entry>) -> io::Result<()> {
    for entry in directory.entries()? {
        let entry = entry?;
        let name = entry.file_name();
        let path =
            name.to_str().map(|name| if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") });
        let metadata = entry.metadata()?;
        match path.as_ref().and_then(|path| wanted.get(path.as_str())) {
            Some(Entry::Directory { path, .. }) if metadata.is_dir() => clear(&entry.open_dir()?, path, wanted)?,
            Some(Entry::File { size, .. }) if metadata.is_file() && metadata.len() == *size => {}
            _ if metadata.is_dir() => directory.remove_dir_all(&name)?,
            _ => directory.remove_file(&name)?,
        }
    }
    Ok(())
}

/// Last, so that nothing is ever written through a link.
pub(super) fn link_all(restored: &Dir, manifest: &Manifest) -> io::Result<()> {
    for entry in &manifest.files {
        if let Some(link) = entry.link() {
            restored.symlink(link, entry.path())?;
        }
    }
    Ok(())
}

/// Removes whatever is there.
pub(super) fn remove(directory: &Dir, path: &str) -> io::Result<()> {
    match directory.symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(metadata) if metadata.is_dir() => directory.remove_dir_all(path),
        Ok(_) => directory.remove_file(path),
    }
}

/// A failure that is none of the store's.
pub(super) fn not_written(path: &str, error: &io::Error) -> RestoreError {
    RestoreError { reason: RestoreTrouble::Failed, message: format!("{path} cannot be written: {error}") }
}
