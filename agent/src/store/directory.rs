//! The program's directory of checkpoints: what is opened below it stays below it.

use std::io;

use cap_std::ambient_authority;
pub use cap_std::fs::Dir as Directory;

/// Opens the directory with that path.
///
/// # Errors
/// If it is not there, or cannot be read.
pub fn open(path: &str) -> io::Result<Directory> {
    Directory::open_ambient_dir(path, ambient_authority())
}
