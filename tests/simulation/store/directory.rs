//! The program's directory of checkpoints. What a program has written it names by its place, so the path tells what is in it.

use std::io;

/// The directory.
#[derive(Debug)]
pub(crate) struct Directory;

/// Opens it. It is always there, as an agent's real one is.
#[expect(clippy::unnecessary_wraps, reason = "the agent's own may not be there")]
pub(crate) fn open(_: &str) -> io::Result<Directory> {
    Ok(Directory)
}

/// The path by which a program names what it has written at that place.
pub(crate) fn path_of(place: u64) -> String {
    format!("step-{place}")
}

/// The place that a path names.
pub(crate) fn place_in(path: &str) -> Option<u64> {
    path.strip_prefix("step-")?.parse().ok()
}
