//! Logs of several attempts as one.

use jiff::Timestamp;
use serde_json::json;

use super::style::{BOLD, DIM, WARNING, paint};
use crate::api::task::{LongTask, Phase};

/// The part of the log that one attempt has written.
pub(in crate::kubectl) struct Chapter {
    pub(in crate::kubectl) attempt: i64,
    pub(in crate::kubectl) segment: i64,
    pub(in crate::kubectl) pod: String,
}

impl Chapter {
    /// The line above it.
    pub(in crate::kubectl) fn head(&self) -> String {
        let Self { attempt, segment, pod } = self;
        paint(BOLD, &format!("── attempt {attempt}, segment {segment}, pod {pod} ──")) + "\n"
    }
}

/// A line of a log, as the API server gives it when asked for times.
pub(in crate::kubectl) struct Line<'a> {
    pub(in crate::kubectl) time: Option<Timestamp>,
    written_at: &'a [u8],
    text: &'a [u8],
}

impl<'a> Line<'a> {
    /// The time, a space, and what the program has written, which need not be UTF-8.
    pub(in crate::kubectl) fn of(bytes: &'a [u8]) -> Self {
        let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let space = bytes.iter().position(|byte| *byte == b' ').unwrap_or(bytes.len());
        let time = std::str::from_utf8(&bytes[..space]).ok().and_then(|time| time.parse().ok());
        match time {
            Some(time) => {
                Self { time: Some(time), written_at: &bytes[..space], text: bytes.get(space + 1..).unwrap_or_default() }
            }
            None => Self { time: None, written_at: &[], text: bytes },
        }
    }

    /// For people: the line, with its time if they want that.
    pub(in crate::kubectl) fn bytes(&self, with_time: bool) -> Vec<u8> {
        let time: &[&[u8]] = if with_time { &[self.written_at, b" "] } else { &[] };
        [&time.concat(), self.text, b"\n"].concat()
    }

    /// For programs: an object that says who has written it.
    pub(in crate::kubectl) fn json(&self, chapter: &Chapter) -> Vec<u8> {
        let object = json!({
            "attempt": chapter.attempt,
            "segment": chapter.segment,
            "pod": chapter.pod,
            "time": self.time,
            "line": String::from_utf8_lossy(self.text),
        });
        (object.to_string() + "\n").into_bytes()
    }
}

/// Attempts whose logs are gone: from the first to the last of these.
pub(in crate::kubectl) fn missing(first: i64, last: i64, history_limit: i32) -> Option<String> {
    let which = match last.saturating_sub(first) {
        ..0 => return None,
        0 => format!("attempt {first}: its pod is gone, and its log with it"),
        _ => format!("attempts {first} to {last}: their pods are gone, and their logs with them"),
    };
    Some(dim(&format!("{which} (spec.podHistoryLimit is {history_limit})")))
}

/// No pod of the one attempt that was asked for.
pub(in crate::kubectl) fn no_such_attempt(wanted: i64, latest: i64) -> String {
    if wanted > latest {
        format!("there is no attempt {wanted} yet: the latest is {latest}")
    } else {
        format!("the pod of attempt {wanted} is gone, and its log with it; spec.podHistoryLimit says how many are kept")
    }
}

/// An attempt that has no log.
pub(in crate::kubectl) fn without(attempt: i64, why: &str) -> String {
    dim(&format!("attempt {attempt}: {why}"))
}

/// A log that cannot be read.
pub(in crate::kubectl) fn broken(attempt: i64, message: &str) -> String {
    paint(WARNING, &format!("── the log of attempt {attempt} breaks off: {message} ──")) + "\n"
}

/// Why nothing is written for a while.
pub(in crate::kubectl) fn pause(task: &LongTask) -> String {
    let status = task.status.clone().unwrap_or_default();
    let phase = status.phase.map_or("", Into::into);
    let until = status.next_attempt_time.map(|time| format!(" until {time}")).unwrap_or_default();
    let reason = if status.reason.is_empty() { String::new() } else { format!(" ({})", status.reason) };
    dim(&format!("the task is {phase}{reason}{until}"))
}

/// Nothing more will be written.
pub(in crate::kubectl) fn end(phase: Phase) -> String {
    dim(&format!("the task is {phase}"))
}

/// Nothing more will be written.
pub(in crate::kubectl) fn task_gone() -> String {
    dim("the task was deleted")
}

fn dim(text: &str) -> String {
    paint(DIM, &format!("── {text} ──")) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_printed_as_it_was_written_with_or_without_its_time() {
        let line = Line::of(b"2026-11-25T06:00:00.123456789Z  two\xff spaces\n");
        assert_eq!(line.bytes(false), b" two\xff spaces\n");
        assert_eq!(line.bytes(true), b"2026-11-25T06:00:00.123456789Z  two\xff spaces\n");
        assert!(line.time.is_some());
    }

    #[test]
    fn an_empty_line_and_one_that_was_cut_short_are_lines() {
        assert_eq!(Line::of(b"2026-11-25T06:00:00Z \n").bytes(false), b"\n");
        assert_eq!(Line::of(b"2026-11-25T06:00:00Z half").bytes(false), b"half\n");
        assert_eq!(Line::of(b"no time\n").bytes(false), b"no time\n");
    }

    #[test]
    fn a_line_as_json_says_who_has_written_it() {
        let chapter = Chapter { attempt: 4, segment: 2, pod: "a-4".to_owned() };
        let json: serde_json::Value =
            serde_json::from_slice(&Line::of(b"2026-11-25T06:00:00Z {\"a\": 1}\n").json(&chapter)).expect("JSON");
        let expected = json!({
            "attempt": 4, "segment": 2, "pod": "a-4", "time": "2026-11-25T06:00:00Z", "line": "{\"a\": 1}",
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn what_is_missing_is_said() {
        assert_eq!(missing(1, 0, 3), None);
        let text = |last| anstream::adapter::strip_str(&missing(2, last, 3).expect("some are")).to_string();
        assert_eq!(text(2), "── attempt 2: its pod is gone, and its log with it (spec.podHistoryLimit is 3) ──\n");
        assert!(text(4).contains("attempts 2 to 4: their pods are gone"), "{}", text(4));
        assert!(no_such_attempt(9, 4).contains("the latest is 4"));
        assert!(no_such_attempt(2, 4).contains("is gone"));
    }
}
