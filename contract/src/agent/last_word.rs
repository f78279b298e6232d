//! The agent's termination message: the newest word, for when nobody takes a post.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::saves::SaveReport;
use crate::types::truncate;

/// The most bytes of the words of a save that fails.
const LONGEST_ERROR: usize = 256;
/// The most bytes of all problems together in a last word.
const LONGEST_PROBLEMS: usize = 512;

/// What the agent leaves behind as its termination message: a line of its own, then the program's lines.
#[derive(Clone, Debug, PartialEq)]
pub struct LastWord {
    /// What the agent says itself.
    pub header: Header,
    /// The program's lines: see [`Report::written`](crate::report::Report::written).
    pub lines: String,
}

/// The agent's own line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Header {
    /// How many bytes the program's lines have: fewer are there if somebody cut the message.
    pub bytes: usize,
    /// The revision of the lines.
    pub revision: i64,
    /// When the newest checkpoint was reported, by the clock of the pod's node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint_time: Option<Timestamp>,
    /// How it goes with the newest save, if the task has a store and the program has named a checkpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub save: Option<SaveReport>,
    /// The result, if there is one, be it in the lines or not: there may be no room for it, and of a message that is too
    /// long the kubelet keeps the front.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<HeldBack>,
    /// What the program reported and the agent could not use, in words for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// A result that the last word may not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeldBack {
    /// How many bytes it has as JSON.
    pub bytes: usize,
    /// The first revision with it: if the operator came as far, it has the result.
    pub revision: i64,
}

/// The agent's line as JSON.
#[derive(Deserialize)]
struct FirstLine {
    agent: Header,
}

impl LastWord {
    /// Reads a termination message; none if the agent did not write it.
    pub fn read(message: &str) -> Option<Self> {
        let (first, lines) = message.split_once('\n')?;
        let FirstLine { agent: header } = serde_json::from_str(first).ok()?;
        Some(Self { header, lines: lines.to_owned() })
    }

    /// As a message of at most `limit` bytes. `lines` makes as many lines as fit into what it is given.
    pub fn write(header: Header, limit: usize, lines: impl FnOnce(usize) -> String) -> String {
        let mut header = Header { bytes: limit, ..header };
        keep_short(&mut header.problems);
        if let Some(error) = header.save.as_mut().and_then(|save| save.error.as_mut()) {
            error.message = truncate(&error.message, LONGEST_ERROR).to_owned();
        }
        let room = limit.saturating_sub(first_line(&header).len());
        let lines = lines(room);
        header.bytes = lines.len();
        first_line(&header) + &lines
    }
}

fn first_line(header: &Header) -> String {
    let mut line = serde_json::json!({ "agent": header }).to_string();
    line.push('\n');
    line
}

/// Keeps the first problems: a program makes the same ones again and again.
fn keep_short(problems: &mut Vec<String>) {
    let mut room = LONGEST_PROBLEMS;
    let is_too_much = |problem: &String| {
        let size = serde_json::json!(problem).to_string().len() + 1;
        let is_too_much = size > room;
        room = room.saturating_sub(size);
        is_too_much
    };
    let kept = problems.iter().position(is_too_much).unwrap_or(problems.len());
    problems.truncate(kept);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::saves::{SaveError, SaveTrouble};

    #[test]
    fn what_is_written_is_read() {
        let header = Header {
            revision: 7,
            checkpoint_time: Some("2026-11-24T10:20:00Z".parse().expect("a time")),
            result: Some(HeldBack { bytes: 9000, revision: 5 }),
            problems: vec!["line 3 is no JSON".into()],
            save: Some(SaveReport { path: "step-900".into(), seconds: 12, error: None }),
            ..Header::default()
        };
        let message = LastWord::write(header.clone(), 4096, |room| {
            assert!(room > 3800, "{room}");
            "{\"done\":true}\n".into()
        });
        let word = LastWord::read(&message).expect("a last word");
        assert_eq!(word, LastWord { header: Header { bytes: 14, ..header }, lines: "{\"done\":true}\n".into() });
    }

    #[test]
    fn a_message_of_somebody_else_is_none() {
        for message in ["", "panic", "panic\n", "{\"done\":true}\n", "{\"agent\":1}\n", "{\"agent\":{\"bytes\":0"] {
            assert_eq!(LastWord::read(message), None, "{message}");
        }
        let later = "{\"agent\":{\"bytes\":0,\"revision\":7,\"unheardOf\":{}},\"more\":1}\n";
        assert_eq!(LastWord::read(later).map(|word| word.header.revision), Some(7), "fields of a later release");
    }

    #[test]
    fn a_last_word_is_never_longer_than_its_share() {
        for limit in [600, 1024, 4096] {
            let error = SaveError { reason: SaveTrouble::Unreachable, message: "w".repeat(5000) };
            let save = SaveReport { path: "step-900".into(), seconds: 60, error: Some(error) };
            let header = Header {
                problems: vec!["p".repeat(200); 40],
                save: (limit > 600).then_some(save),
                ..Header::default()
            };
            let message = LastWord::write(header, limit, |room| "x".repeat(room));
            assert!((limit - 8..=limit).contains(&message.len()), "{limit}: {}", message.len());
            assert_eq!(LastWord::read(&message).expect("a last word").header.problems.len(), 2);
        }
    }
}
