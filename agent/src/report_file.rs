//! The report file, read as it grows.

use std::{
    fs::File,
    io,
    os::unix::fs::{FileExt, MetadataExt},
    path::PathBuf,
};

use rustix::fs::{FallocateFlags, fallocate};
use serde::{Deserialize, Serialize};

use crate::files::open_of_program;

/// A line that is longer is skipped: no report has that size.
const LONGEST_LINE: usize = 64 * 1024;
/// How much is read at a time.
const PIECE: usize = 64 * 1024;
/// How many bytes in front of what is unread are compared, to notice that the file was written anew.
const COMPARED: usize = 256;

/// The report file, and how far it was read.
///
/// It is looked at, not watched: inotify does not tell of everything in sandboxes, `stat` works in all of them.
#[derive(Debug)]
pub(crate) struct ReportFile {
    path: PathBuf,
    read: Position,
    seen: Option<Stamp>,
}

/// How far a file was read, in whole lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The file's inode.
    inode: u64,
    /// All bytes before this one are known.
    offset: u64,
    /// The bytes right before it.
    before: Vec<u8>,
    /// Whether a line goes on here that is too long.
    is_in_long_line: bool,
}

/// What changes with every write and every touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
}

/// What a look at the file found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Look {
    /// The whole lines that are new.
    pub(crate) lines: String,
    /// Whether the program has written or touched the file since the last look.
    pub(crate) is_sign_of_life: bool,
    /// What is wrong with the lines, in words for the user.
    pub(crate) problem: Option<String>,
}

impl ReportFile {
    /// The file at that path, read as far as that.
    pub(crate) fn new(path: PathBuf, read: Position) -> Self {
        Self { path, read, seen: None }
    }

    /// How far it was read.
    pub(crate) fn position(&self) -> &Position {
        &self.read
    }

    /// Looks for what is new.
    pub(crate) fn look(&mut self) -> io::Result<Look> {
        let file = open_of_program(&self.path)?;
        let stamp = Stamp::of(&file)?;
        if self.seen == Some(stamp) {
            return Ok(Look::default());
        }
        Ok(self.read(&file, stamp)?.0)
    }

    /// Looks for the last time: a line that lacks its newline is taken as well.
    pub(crate) fn last_look(&mut self) -> io::Result<Look> {
        let file = open_of_program(&self.path)?;
        let (mut look, begun) = self.read(&file, Stamp::of(&file)?)?;
        look.lines += &String::from_utf8_lossy(&begun);
        Ok(look)
    }

    /// Reads what is new, and returns with it the beginning of a line that is not whole yet.
    fn read(&mut self, file: &File, stamp: Stamp) -> io::Result<(Look, Vec<u8>)> {
        let mut look = Look { is_sign_of_life: self.seen.is_some_and(|seen| seen != stamp), ..Look::default() };
        if self.is_written_anew(file, stamp)? {
            self.read = Position::default();
        }
        let begun = self.read_to_the_end(file, &mut look)?;
        self.free_what_is_read(file);
        let after = Stamp::of(file)?;
        self.read.inode = after.inode;
        self.read.before = before(file, self.read.offset)?;
        // What was freed has changed the file's time; a touch meanwhile counts with what was read.
        self.seen = Some(Stamp { size: self.read.offset.saturating_add(size(&begun)), ..after });
        Ok((look, begun))
    }

    /// Whether it is another file, or the program has emptied it and begun again: what was read before is not there any
    /// more, neither as it was nor as the zeros that the agent has left.
    fn is_written_anew(&self, file: &File, stamp: Stamp) -> io::Result<bool> {
        if stamp.inode != self.read.inode || stamp.size < self.read.offset {
            return Ok(true);
        }
        Ok(before(file, self.read.offset)? != self.read.before)
    }

    fn read_to_the_end(&mut self, file: &File, look: &mut Look) -> io::Result<Vec<u8>> {
        let (mut piece, mut begun) = (vec![0; PIECE], Vec::new());
        loop {
            let length = match file.read_at(&mut piece, self.read.offset.saturating_add(size(&begun))) {
                Ok(0) => return Ok(begun),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            begun.extend_from_slice(&piece[..length]);
            let whole = begun.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
            let lines: Vec<u8> = begun.drain(..whole).collect();
            self.take(&lines, look);
            if begun.len() > LONGEST_LINE {
                look.problem = Some(format!("a line has more than {LONGEST_LINE} bytes: it is skipped"));
                self.read.offset = self.read.offset.saturating_add(size(&begun));
                self.read.is_in_long_line = true;
                begun.clear();
            }
        }
    }

    /// Takes whole lines, without the end of one that is too long, and without the zeros that freed memory reads as.
    fn take(&mut self, lines: &[u8], look: &mut Look) {
        self.read.offset = self.read.offset.saturating_add(size(lines));
        let mut lines = lines;
        if self.read.is_in_long_line && !lines.is_empty() {
            let end = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |newline| newline + 1);
            lines = &lines[end..];
            self.read.is_in_long_line = false;
        }
        let zeros = lines.iter().take_while(|byte| **byte == 0).count();
        look.lines += &String::from_utf8_lossy(&lines[zeros..]);
    }

    /// Frees the memory of what was read: the file is in memory, and counts in the program's own. Nothing can be freed of
    /// a file that only the program may write.
    fn free_what_is_read(&self, file: &File) {
        if self.read.offset > 0 {
            let _ = fallocate(file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 0, self.read.offset);
        }
    }
}

impl Stamp {
    fn of(file: &File) -> io::Result<Self> {
        let data = file.metadata()?;
        Ok(Self { inode: data.ino(), size: data.size(), modified: (data.mtime(), data.mtime_nsec()) })
    }
}

/// Some bytes before a place in a file; none if the file is not that long.
fn before(file: &File, offset: u64) -> io::Result<Vec<u8>> {
    let length = COMPARED.min(usize::try_from(offset).unwrap_or(COMPARED));
    let mut bytes = vec![0; length];
    let begin = offset.saturating_sub(size(&bytes));
    match file.read_exact_at(&mut bytes, begin) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(Vec::new()),
        read => read.map(|()| bytes),
    }
}

fn size(bytes: &[u8]) -> u64 {
    bytes.len().try_into().unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{fs, fs::OpenOptions, io::Write, path::Path, time::SystemTime};

    use super::*;

    /// On a file system in memory, as in a pod.
    fn folder() -> tempfile::TempDir {
        tempfile::tempdir_in("/dev/shm").expect("a folder in memory")
    }

    fn file_in(folder: &tempfile::TempDir) -> ReportFile {
        let path = folder.path().join("report");
        fs::write(&path, "").expect("made");
        let mut file = ReportFile::new(path, Position::default());
        assert_eq!(file.look().expect("readable"), Look::default(), "it is empty");
        file
    }

    fn append(path: &Path, text: &str) {
        let mut file = OpenOptions::new().append(true).open(path).expect("it is there");
        file.write_all(text.as_bytes()).expect("written");
    }

    fn found(lines: &str) -> Look {
        Look { lines: lines.into(), is_sign_of_life: true, problem: None }
    }

    #[test]
    fn whole_lines_are_found_once() {
        let folder = folder();
        let mut file = file_in(&folder);
        let path = file.path.clone();
        for (written, lines) in [("a\nb", "a\n"), ("c", ""), ("d\n", "bcd\n"), ("e\nf\n", "e\nf\n")] {
            append(&path, written);
            assert_eq!(file.look().expect("readable"), found(lines), "{written}");
            assert_eq!(file.look().expect("readable"), Look::default(), "nothing new after {written}");
        }
    }

    #[test]
    fn the_last_look_takes_a_line_without_its_newline() {
        let folder = folder();
        let mut file = file_in(&folder);
        append(&file.path, "a\n{\"done\":true}");
        assert_eq!(file.look().expect("readable"), found("a\n"));
        assert_eq!(file.last_look().expect("readable").lines, "{\"done\":true}");
    }

    #[test]
    fn a_touch_is_a_sign_of_life_and_freeing_what_was_read_is_none() {
        let folder = folder();
        let mut file = file_in(&folder);
        append(&file.path, &"a long line that takes a page of memory\n".repeat(200));
        assert!(file.look().expect("readable").is_sign_of_life);
        assert_eq!(file.look().expect("readable"), Look::default());
        let handle = OpenOptions::new().append(true).open(&file.path).expect("it is there");
        handle.set_modified(SystemTime::UNIX_EPOCH).expect("touched");
        assert_eq!(file.look().expect("readable"), found(""));
        assert_eq!(file.look().expect("readable"), Look::default());
    }

    #[test]
    fn a_file_that_is_written_anew_is_read_from_its_start_whatever_its_length() {
        let folder = folder();
        let mut file = file_in(&folder);
        let path = file.path.clone();
        for line in ["{\"a\":1}\n", "{\"a\":2}\n", "{\"a\":10}\n", "{}\n", "{\"a\":1,\"b\":2}\n{\"a\":3}\n"] {
            fs::write(&path, line).expect("emptied and written");
            assert_eq!(file.look().expect("readable"), found(line));
        }
        fs::remove_file(&path).expect("removed");
        fs::write(&path, "{\"another\":1}\n{\"file\":1}\n").expect("made anew");
        assert_eq!(file.look().expect("readable"), found("{\"another\":1}\n{\"file\":1}\n"));
    }

    #[test]
    fn what_was_read_takes_no_memory_any_more() {
        let folder = folder();
        let mut file = file_in(&folder);
        append(&file.path, &format!("{}\n", "x".repeat(99)).repeat(10_000));
        let blocks = || fs::metadata(folder.path().join("report")).expect("it is there").blocks();
        assert!(blocks() > 1900, "{}", blocks());
        assert_eq!(file.look().expect("readable").lines.len(), 1_000_000);
        assert!(blocks() <= 8, "{}", blocks());
        append(&file.path, "next\n");
        assert_eq!(file.look().expect("readable"), found("next\n"));
    }

    #[test]
    fn another_agent_goes_on_where_the_last_one_was_or_begins_anew_without_reading_zeros() {
        let folder = folder();
        let mut file = file_in(&folder);
        append(&file.path, "known\nhalf");
        assert_eq!(file.look().expect("readable").lines, "known\n");
        append(&file.path, " a line\n");
        let mut next = ReportFile::new(file.path.clone(), file.position().clone());
        assert_eq!(next.look().expect("readable").lines, "half a line\n");
        let mut without_memory = ReportFile::new(file.path.clone(), Position::default());
        append(&file.path, "new\n");
        assert_eq!(without_memory.look().expect("readable").lines, "new\n");
    }

    #[test]
    fn a_line_that_is_far_too_long_is_skipped_and_the_next_one_is_read() {
        let folder = folder();
        let mut file = file_in(&folder);
        append(&file.path, &"x".repeat(LONGEST_LINE * 3));
        let look = file.look().expect("readable");
        assert!(look.lines.is_empty() && look.problem.is_some(), "{look:?}");
        append(&file.path, "the end of it\n{\"done\":true}\n");
        assert_eq!(file.look().expect("readable"), found("{\"done\":true}\n"));
    }

    #[test]
    fn lines_that_are_no_text_are_taken_as_far_as_they_are() {
        let folder = folder();
        let mut file = file_in(&folder);
        let mut handle = OpenOptions::new().append(true).open(&file.path).expect("it is there");
        handle.write_all(b"\xff\xfe\n{\"done\":true}\n").expect("written");
        assert_eq!(file.look().expect("readable").lines, "\u{fffd}\u{fffd}\n{\"done\":true}\n");
    }
}
