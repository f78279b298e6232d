//! The files of the agent: the report file that the program writes, what the agent keeps for itself, its last word.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use longtask_contract::agent::{REPORT_NAME, SAVED_NAME};
use rustix::fs::OFlags;

/// Where the files are.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    /// The agent's directory.
    pub(crate) directory: PathBuf,
    /// To which the program reports.
    pub(crate) report: PathBuf,
    /// In which the program finds the newest checkpoint that is safe.
    pub(crate) saved: PathBuf,
    /// What the agent needs when it is started again.
    pub(crate) kept: PathBuf,
    /// The agent's termination message.
    pub(crate) last_word: PathBuf,
}

impl Files {
    /// Those in the agent's directory, and its termination message.
    pub(crate) fn at(directory: impl Into<PathBuf>, last_word: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        let [report, saved, kept] = [REPORT_NAME, SAVED_NAME, ".agent"].map(|name| directory.join(name));
        Self { report, saved, kept, last_word: last_word.into(), directory }
    }

    /// Makes the directory, and in it the report file, which everybody may write: the program can run as any user.
    pub(crate) fn prepare(&self) -> io::Result<()> {
        match fs::DirBuilder::new().mode(0o755).create(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            Ok(()) | Err(_) => {}
        }
        // By the modes of the two calls alone the umask would decide.
        fs::set_permissions(&self.directory, Permissions::from_mode(0o755))?;
        let created = OpenOptions::new().append(true).create_new(true).custom_flags(no_follow()).open(&self.report);
        match created {
            Ok(file) => file.set_permissions(Permissions::from_mode(0o666)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Writes the last word over the one before. At once and whole, then cut to its length: a file that is emptied first is
    /// empty for whoever reads it, and for the kubelet when the agent is killed in between.
    pub(crate) fn write_last_word(&self, message: &str) -> io::Result<()> {
        let file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.last_word)?;
        file.write_all_at(message.as_bytes(), 0)?;
        file.set_len(message.len().try_into().unwrap_or(u64::MAX))
    }

    /// Keeps what the agent needs when it is started again; the program cannot read it.
    pub(crate) fn keep(&self, bytes: &[u8]) -> io::Result<()> {
        replace(&self.kept, bytes, 0o600)
    }

    /// Tells the program which checkpoint is safe.
    pub(crate) fn tell_saved(&self, path: &str) -> io::Result<()> {
        let line = format!("{}\n", serde_json::json!({ "path": path }));
        replace(&self.saved, line.as_bytes(), 0o644)
    }

    /// What was kept; none when the agent is started for the first time.
    pub(crate) fn kept(&self) -> io::Result<Option<Vec<u8>>> {
        match fs::read(&self.kept) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Writes a file anew, so that nobody ever finds a part of it.
fn replace(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&new)?;
    // The umask decides, too, on the mode of a new file.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(bytes)?;
    drop(file);
    fs::rename(new, path)
}

/// Opens a file that the program may have replaced, for reading and, if that is allowed, for writing. Fails for a link and
/// for all that is no regular file.
pub(crate) fn open_of_program(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    // A pipe would block the agent until somebody writes to it.
    options.read(true).custom_flags(no_follow() | i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default());
    let file = options.clone().write(true).open(path).or_else(|_| options.open(path))?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("is no regular file")) }
}

fn no_follow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, Files) {
        let folder = tempfile::tempdir().expect("a folder");
        let run = folder.path().join("run");
        let files = Files::at(run, folder.path().join("word"));
        (folder, files)
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o7777
    }

    #[test]
    fn everybody_may_write_the_report_file_and_only_the_agent_its_directory() {
        let (_folder, files) = files();
        files.prepare().expect("made");
        assert_eq!((mode(&files.directory), mode(&files.report)), (0o755, 0o666));
        fs::write(&files.report, "{\"done\":true}\n").expect("written");
        files.prepare().expect("made before");
        assert_eq!(fs::read_to_string(&files.report).expect("readable"), "{\"done\":true}\n", "a restart keeps it");
    }

    #[test]
    fn a_shorter_last_word_leaves_nothing_of_a_longer_one() {
        let (_folder, files) = files();
        for word in ["a long last word", "short", ""] {
            files.write_last_word(word).expect("written");
            assert_eq!(fs::read_to_string(&files.last_word).expect("readable"), word);
        }
    }

    #[test]
    fn what_is_kept_is_there_again_and_private() {
        let (_folder, files) = files();
        files.prepare().expect("made");
        assert_eq!(files.kept().expect("readable"), None);
        files.keep(b"1").expect("written");
        files.keep(b"2").expect("written");
        assert_eq!(files.kept().expect("readable").as_deref(), Some(&b"2"[..]));
        assert_eq!(mode(&files.kept), 0o600);
    }

    #[test]
    fn the_program_can_read_which_checkpoint_is_safe() {
        let (_folder, files) = files();
        files.prepare().expect("made");
        for path in ["step-900", "a \"b\""] {
            files.tell_saved(path).expect("written");
            let line = fs::read_to_string(&files.saved).expect("readable");
            assert_eq!(line, format!("{}\n", serde_json::json!({ "path": path })));
        }
        assert_eq!(mode(&files.saved), 0o644);
    }

    #[test]
    fn neither_a_link_nor_a_pipe_is_opened() {
        let (folder, files) = files();
        files.prepare().expect("made");
        let secret = folder.path().join("secret");
        fs::write(&secret, "token").expect("written");
        fs::remove_file(&files.report).expect("removed");
        std::os::unix::fs::symlink(&secret, &files.report).expect("linked");
        assert!(open_of_program(&files.report).is_err());
        assert!(open_of_program(&files.directory).is_err());
        fs::remove_file(&files.report).expect("removed");
        rustix::fs::mknodat(rustix::fs::CWD, &files.report, rustix::fs::FileType::Fifo, 0o666.into(), 0)
            .expect("a pipe");
        assert!(open_of_program(&files.report).is_err());
    }
}
