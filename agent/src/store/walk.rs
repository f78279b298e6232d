//! What there is to save: the tree below a path that the program has named. No link is followed.

use std::{io, path::Component};

use cap_std::fs::{Dir, File, FileType, Metadata, MetadataExt, OpenOptions, OpenOptionsExt};
use longtask_contract::agent::{LONGEST_PATH, SaveTrouble};
use rustix::fs::OFlags;

use super::manifest::{Mode, link_stays};

/// The most files, links and directories that a save may have.
pub const MOST_FILES: usize = 100_000;

/// What a path that the program has named leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tree {
    /// The directory that the paths in it begin at.
    pub base: String,
    /// All that is in it, by path.
    pub found: Vec<Found>,
}

/// Something in a tree.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Its path.
    pub path: String,
    /// What it is.
    pub what: What,
}

/// What something in a tree is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// A file.
    File(Stamp),
    /// A symbolic link, and what it leads to.
    Link(String),
    /// A directory.
    Directory,
}

/// What changes when somebody writes to a file, or puts another one in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// How many bytes it has.
    pub size: u64,
    mode: u32,
    inode: u64,
    modified: (i64, i64),
}

/// Why something cannot be saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Unsavable {
    /// In a word.
    pub trouble: SaveTrouble,
    /// In words for the user.
    pub words: String,
}

/// Walks what the program has named in its directory.
///
/// # Errors
/// If there is nothing by that name, or something that cannot be saved.
pub fn walk(directory: &Dir, path: &str) -> Result<Tree, Unsavable> {
    let parts = parts_of(path)?;
    check_no_link(directory, &parts)?;
    let whole = parts.join("/");
    let metadata = directory.symlink_metadata(&whole).map_err(|error| not_walked(&whole, &error))?;
    if metadata.is_dir() {
        return Ok(Tree { found: below(directory, &whole)?, base: whole });
    }
    let (base, name) = whole.rsplit_once('/').unwrap_or((".", &whole));
    let found = Found { path: name.to_owned(), what: What::File(file(&whole, &metadata)?) };
    Ok(Tree { base: base.to_owned(), found: vec![found] })
}

impl Tree {
    /// Opens a file of the tree.
    ///
    /// # Errors
    /// If it is not the file that was walked over.
    pub fn open(&self, directory: &Dir, path: &str, walked: Stamp) -> Result<File, Unsavable> {
        let mut options = OpenOptions::new();
        // What is a pipe by now would block us until somebody writes to it.
        options.read(true).custom_flags(i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default());
        let whole = format!("{}/{path}", self.base);
        let file = directory.open_with(&whole, &options).map_err(|error| not_opened(&whole, &error))?;
        check_unchanged(&whole, &file, walked)?;
        Ok(file)
    }

    /// How many bytes its files have.
    pub fn total_bytes(&self) -> u64 {
        self.found.iter().filter_map(Found::as_file).map(|(_, stamp)| stamp.size).sum()
    }
}

impl Found {
    /// Its path and its stamp, if it is a file.
    pub fn as_file(&self) -> Option<(&str, Stamp)> {
        match self.what {
            What::File(stamp) => Some((&self.path, stamp)),
            What::Link(_) | What::Directory => None,
        }
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { size: metadata.len(), mode: metadata.mode(), inode: metadata.ino(), modified }
    }

    /// Who may read, write and execute it.
    pub fn mode(&self) -> Mode {
        Mode::of(self.mode)
    }
}

impl Unsavable {
    /// A reason with its words.
    pub fn new(trouble: SaveTrouble, words: impl Into<String>) -> Self {
        Self { trouble, words: words.into() }
    }

    /// Something has changed while it was saved.
    pub fn changed(path: &str) -> Self {
        let words = format!("{path} has changed while it was saved: write each checkpoint under a new name");
        Self::new(SaveTrouble::ChangedWhileSaving, words)
    }
}

/// Fails if an open file is not, or no longer, the one that was walked over.
///
/// # Errors
/// If it has changed.
pub fn check_unchanged(path: &str, file: &File, walked: Stamp) -> Result<(), Unsavable> {
    let metadata = file.metadata().map_err(|error| not_walked(path, &error))?;
    if metadata.is_file() && Stamp::of(&metadata) == walked { Ok(()) } else { Err(Unsavable::changed(path)) }
}

fn parts_of(path: &str) -> Result<Vec<&str>, Unsavable> {
    if path.len() > LONGEST_PATH {
        let words = format!("the path has {} bytes, the limit is {LONGEST_PATH}", path.len());
        return Err(Unsavable::new(SaveTrouble::NotReadable, words));
    }
    let mut parts = Vec::new();
    for component in std::path::Path::new(path).components() {
        match component {
            Component::Normal(part) => parts.extend(part.to_str()),
            Component::CurDir => {}
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                let words = format!("{path} does not stay in the checkpoint directory: name what is below it");
                return Err(Unsavable::new(SaveTrouble::LeavesDirectory, words));
            }
        }
    }
    if parts.is_empty() {
        let words = format!("{path:?} names nothing below the checkpoint directory");
        return Err(Unsavable::new(SaveTrouble::NoSuchPath, words));
    }
    Ok(parts)
}

fn check_no_link(directory: &Dir, parts: &[&str]) -> Result<(), Unsavable> {
    for end in 1..=parts.len() {
        let path = parts[..end].join("/");
        let metadata = directory.symlink_metadata(&path).map_err(|error| not_walked(&path, &error))?;
        if metadata.is_symlink() {
            let words = format!("{path} is a link, and links are not followed: name what it leads to");
            return Err(Unsavable::new(SaveTrouble::NotReadable, words));
        }
    }
    Ok(())
}

fn below(directory: &Dir, base: &str) -> Result<Vec<Found>, Unsavable> {
    let (mut found, mut unread) = (Vec::new(), vec![String::new()]);
    while let Some(parent) = unread.pop() {
        let place = if parent.is_empty() { base.to_owned() } else { format!("{base}/{parent}") };
        // What has been there a moment ago.
        let gone = |error: &io::Error| match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Unsavable::changed(&place),
            _ => not_walked(&place, error),
        };
        for entry in directory.read_dir(&place).map_err(|error| gone(&error))? {
            let entry = entry.map_err(|error| gone(&error))?;
            let name = entry.file_name().into_string().map_err(|name| {
                let words = format!("{place}/{} is no UTF-8", name.display());
                Unsavable::new(SaveTrouble::NotReadable, words)
            })?;
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let metadata = entry.metadata().map_err(|error| gone(&error))?;
            let what = if metadata.is_dir() {
                unread.push(path.clone());
                What::Directory
            } else if metadata.is_symlink() {
                What::Link(target(directory, base, &path)?)
            } else {
                What::File(file(&format!("{base}/{path}"), &metadata)?)
            };
            found.push(Found { path, what });
            if found.len() > MOST_FILES {
                let words = format!("{base} has more than {MOST_FILES} files: write fewer and larger ones");
                return Err(Unsavable::new(SaveTrouble::TooManyFiles, words));
            }
        }
    }
    found.sort();
    Ok(found)
}

fn target(directory: &Dir, base: &str, path: &str) -> Result<String, Unsavable> {
    let place = format!("{base}/{path}");
    let target = directory.read_link_contents(&place).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::InvalidInput => Unsavable::changed(&place),
        _ => not_walked(&place, &error),
    })?;
    match target.to_str() {
        Some(target) if link_stays(path, target) => Ok(target.to_owned()),
        _ => {
            let words = format!("{place} leads to {}, which is not below {base}", target.display());
            Err(Unsavable::new(SaveTrouble::LeavesDirectory, words))
        }
    }
}

fn file(place: &str, metadata: &Metadata) -> Result<Stamp, Unsavable> {
    if metadata.is_file() {
        return Ok(Stamp::of(metadata));
    }
    let words = format!("{place} is {}, which cannot be saved", kind(metadata.file_type()));
    Err(Unsavable::new(SaveTrouble::NotReadable, words))
}

fn kind(file_type: FileType) -> &'static str {
    use cap_std::fs::FileTypeExt;
    if file_type.is_fifo() {
        "a pipe"
    } else if file_type.is_socket() {
        "a socket"
    } else if file_type.is_symlink() {
        "a link"
    } else {
        "a device"
    }
}

fn not_walked(path: &str, error: &io::Error) -> Unsavable {
    let trouble = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => SaveTrouble::NoSuchPath,
        _ => SaveTrouble::NotReadable,
    };
    Unsavable::new(trouble, format!("{path} cannot be read: {error}"))
}

fn not_opened(path: &str, error: &io::Error) -> Unsavable {
    match error.kind() {
        io::ErrorKind::PermissionDenied if !leaves(error) => {
            let words = format!("{path} cannot be read by the agent, which may run as another user: {error}");
            Unsavable::new(SaveTrouble::NotReadable, words)
        }
        // It was there when it was walked over.
        _ => Unsavable::changed(path),
    }
}

/// Whether a path was refused since it leads out of its directory, and not since the system refused to open it.
fn leaves(error: &io::Error) -> bool {
    error.raw_os_error().is_none()
}

#[cfg(test)]
pub(crate) mod tests {
    use std::{
        fs,
        os::unix::{ffi::OsStrExt, fs::symlink},
        path::Path,
    };

    use cap_std::ambient_authority;

    use super::*;

    pub(crate) fn opened(path: &Path) -> Dir {
        Dir::open_ambient_dir(path, ambient_authority()).expect("a directory")
    }

    fn folder() -> (tempfile::TempDir, Dir) {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = opened(folder.path());
        (folder, directory)
    }

    fn pipe(path: &Path) {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0).expect("a pipe");
    }

    fn trouble(directory: &Dir, path: &str) -> SaveTrouble {
        walk(directory, path).expect_err(path).trouble
    }

    #[test]
    fn everything_below_the_path_is_found_by_its_path() {
        let (folder, directory) = folder();
        let save = folder.path().join("runs/step-1");
        fs::create_dir_all(save.join("model/empty")).expect("made");
        fs::write(save.join("model/rank-0"), "abc").expect("written");
        symlink("model/rank-0", save.join("latest")).expect("linked");
        let tree = walk(&directory, "./runs/step-1/").expect("walked");
        let paths: Vec<_> = tree.found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(
            (tree.base.as_str(), paths),
            ("runs/step-1", vec!["latest", "model", "model/empty", "model/rank-0"])
        );
        assert_eq!(tree.found[0].what, What::Link("model/rank-0".into()));
        assert_eq!(tree.total_bytes(), 3);
        assert_eq!(walk(&directory, "runs/step-1").expect("walked"), tree);
    }

    #[test]
    fn a_file_is_a_tree_of_its_own() {
        let (folder, directory) = folder();
        fs::create_dir(folder.path().join("runs")).expect("made");
        for (path, base) in [("step-1.pt", "."), ("runs/step-1.pt", "runs")] {
            fs::write(folder.path().join(path), "abc").expect("written");
            let tree = walk(&directory, path).expect("walked");
            assert_eq!((tree.base.as_str(), tree.found[0].path.as_str()), (base, "step-1.pt"));
            let What::File(stamp) = tree.found[0].what else { panic!("{tree:?}") };
            tree.open(&directory, "step-1.pt", stamp).expect("opened");
        }
    }

    #[test]
    fn what_is_not_below_the_directory_is_named() {
        let (folder, directory) = folder();
        let outside = tempfile::tempdir().expect("another folder");
        fs::write(outside.path().join("token"), "secret").expect("written");
        fs::create_dir(folder.path().join("step-1")).expect("made");
        symlink(outside.path(), folder.path().join("outside")).expect("linked");
        symlink("step-1", folder.path().join("inside")).expect("linked");
        for path in ["..", "../x", "step-1/../../x", "/etc/passwd"] {
            assert_eq!(trouble(&directory, path), SaveTrouble::LeavesDirectory, "{path}");
        }
        for path in ["", ".", "step-2", "step-1/x", "step-1/x/y"] {
            assert_eq!(trouble(&directory, path), SaveTrouble::NoSuchPath, "{path}");
        }
        for path in ["outside", "outside/token", "inside", &"x".repeat(129)] {
            assert_eq!(trouble(&directory, path), SaveTrouble::NotReadable, "{path}");
        }
        for target in [outside.path().join("token").to_str().expect("UTF-8"), "../outside/token", "a/../../outside"] {
            symlink(target, folder.path().join("step-1/link")).expect("linked");
            assert_eq!(trouble(&directory, "step-1"), SaveTrouble::LeavesDirectory, "{target}");
            fs::remove_file(folder.path().join("step-1/link")).expect("removed");
        }
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let (folder, directory) = folder();
        let save = folder.path().join("step-1");
        fs::create_dir(&save).expect("made");
        pipe(&save.join("pipe"));
        assert!(walk(&directory, "step-1").expect_err("a pipe").words.contains("a pipe"));
        assert_eq!(trouble(&directory, "step-1/pipe"), SaveTrouble::NotReadable);
        fs::remove_file(save.join("pipe")).expect("removed");
        let _listener = std::os::unix::net::UnixListener::bind(save.join("socket")).expect("a socket");
        assert!(walk(&directory, "step-1").expect_err("a socket").words.contains("a socket"));
        fs::remove_file(save.join("socket")).expect("removed");
        fs::write(save.join(std::ffi::OsStr::from_bytes(b"\xff")), "").expect("written");
        assert!(walk(&directory, "step-1").expect_err("no text").words.contains("no UTF-8"));
    }

    #[test]
    fn more_files_than_a_save_may_have_are_too_many() {
        // A busy disk takes a minute for that many files; memory does not.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.expect("a folder");
        let directory = opened(folder.path());
        let save = folder.path().join("step-1");
        fs::create_dir(&save).expect("made");
        for number in 0..MOST_FILES {
            fs::File::create(save.join(number.to_string())).expect("made");
        }
        assert_eq!(walk(&directory, "step-1").expect("walked").found.len(), MOST_FILES);
        fs::File::create(save.join("one more")).expect("made");
        assert_eq!(trouble(&directory, "step-1"), SaveTrouble::TooManyFiles);
    }

    #[test]
    fn a_file_that_is_another_one_by_now_is_not_opened() {
        let (folder, directory) = folder();
        let save = folder.path().join("step-1");
        fs::create_dir(&save).expect("made");
        fs::write(folder.path().join("other"), "xyz").expect("written");
        let path = save.join("a");
        let changes: [(&str, &dyn Fn()); 6] = [
            ("written again", &|| fs::write(&path, "abcd").expect("written")),
            ("cut", &|| fs::write(&path, "a").expect("written")),
            ("replaced", &|| {
                fs::write(save.join("b"), "abc").expect("written");
                fs::rename(save.join("b"), &path).expect("renamed");
            }),
            ("a link", &|| {
                fs::remove_file(&path).expect("removed");
                symlink("../other", &path).expect("linked");
            }),
            ("a pipe", &|| {
                fs::remove_file(&path).expect("removed");
                pipe(&path);
            }),
            ("gone", &|| fs::remove_file(&path).expect("removed")),
        ];
        for (what, change) in changes {
            let _ = fs::remove_file(&path);
            fs::write(&path, "abc").expect("written");
            let tree = walk(&directory, "step-1").expect("walked");
            let What::File(stamp) = tree.found[0].what else { panic!("{tree:?}") };
            tree.open(&directory, "a", stamp).expect("it is the same");
            change();
            let failed = tree.open(&directory, "a", stamp).expect_err(what);
            assert_eq!(failed.trouble, SaveTrouble::ChangedWhileSaving, "{what}");
        }
    }
}
