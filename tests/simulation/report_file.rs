//! A program's report file, in memory, and how far an agent has read it. In the place of the agent's own: all else of its
//! mailbox is the real one.

use serde::{Deserialize, Serialize};

/// What the program has written.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportFile {
    text: String,
    /// How often it was written or touched.
    signs: usize,
    /// When that was last, in milliseconds.
    pub(crate) last_sign: Option<u64>,
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Position {
    offset: usize,
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

/// One agent's reading of it.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) position: Position,
    /// The signs of life that it has seen; none before its first look.
    seen: Option<usize>,
}

impl ReportFile {
    /// The program writes this line.
    pub(crate) fn write(&mut self, at: u64, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
        self.touch(at);
    }

    /// The program shows that it lives, and says nothing.
    pub(crate) fn touch(&mut self, at: u64) {
        self.signs += 1;
        self.last_sign = Some(at);
    }
}

impl Reading {
    /// Goes on where the agent before was.
    pub(crate) fn from(position: Position) -> Self {
        Self { position, seen: None }
    }

    pub(crate) fn look(&mut self, file: &ReportFile) -> Look {
        let lines = file.text[self.position.offset..].to_owned();
        let is_sign_of_life = self.seen.is_some_and(|seen| seen != file.signs);
        (self.position.offset, self.seen) = (file.text.len(), Some(file.signs));
        Look { lines, is_sign_of_life, problem: None }
    }
}
