//! What one line of a termination message is: a report, text, or something that was meant to be a report.

use serde_json::{Map, Value};

/// The keys of a report.
pub(super) const KEYS: [&str; 7] = ["checkpoint", "progress", "error", "resumeAfter", "result", "done", "quiet"];
/// The kubelet keeps the last 4096 bytes of the file: the first line of a message this long may be torn.
pub(super) const KUBELET_LIMIT: usize = 4096;
/// How much of a line is shown where it goes wrong.
const SHOWN_CHARS: usize = 16;

/// A line of a termination message.
#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// A JSON object with at least one key of the contract.
    Report(Map<String, Value>),
    /// A JSON object with none.
    OtherJson(Map<String, Value>),
    /// The kubelet, or the program's end, has cut a part off.
    Torn,
    /// Meant to be a report, and unreadable: what is wrong with it, and what to write.
    Broken(String),
    /// Anything else.
    Text,
}

/// The lines of a termination message, as they are and what they are.
pub(super) fn lines(message: &str) -> impl Iterator<Item = (&str, Line)> {
    read_lines(message, message.len() >= KUBELET_LIMIT)
}

/// Likewise of a text that begins with a line's beginning.
pub(super) fn whole_lines(text: &str) -> impl Iterator<Item = (&str, Line)> {
    read_lines(text, false)
}

fn read_lines(message: &str, is_cut_in_front: bool) -> impl Iterator<Item = (&str, Line)> {
    let last = message.lines().count().saturating_sub(1);
    message.lines().enumerate().map(move |(index, line)| {
        let may_lack_its_front = index == 0 && is_cut_in_front;
        let may_lack_its_end = index == last && !message.ends_with('\n');
        (line, Line::read(bare(line), may_lack_its_front, may_lack_its_end))
    })
}

/// A line without what surrounds it. A file that was emptied under a program's open handle begins with zeros.
pub(super) fn bare(line: &str) -> &str {
    line.trim_matches(|c: char| c.is_whitespace() || matches!(c, '\u{feff}' | '\0'))
}

/// Whether the message is the report file for certain, and not the end of the log: nothing but reports that say nothing
/// beside the contract.
pub(super) fn is_report_file(message: &str) -> bool {
    let mut has_report = false;
    for (text, line) in lines(message) {
        match line {
            Line::Report(fields) if fields.iter().all(|(key, value)| is_of_the_contract(key, value)) => {
                has_report = true;
            }
            Line::Torn => {}
            Line::Text if bare(text).is_empty() => {}
            Line::Report(_) | Line::OtherJson(_) | Line::Broken(_) | Line::Text => return false,
        }
    }
    has_report
}

/// Loggers, too, have an `error` and a `progress`; theirs are texts and numbers.
fn is_of_the_contract(key: &str, value: &Value) -> bool {
    match key {
        "checkpoint" | "progress" | "error" | "result" => value.is_object() || value.is_null(),
        other => KEYS.contains(&other),
    }
}

/// Whether a report begins here that goes over several lines, as pretty-printed JSON does.
pub(super) fn begins_a_report_over_lines(line: &str, next: Option<&str>) -> bool {
    bare(line) == "{" && next.is_some_and(|next| has_key_of_the_contract(&format!("{{{}", bare(next))))
}

impl Line {
    fn read(text: &str, may_lack_its_front: bool, may_lack_its_end: bool) -> Self {
        match serde_json::from_str::<Map<String, Value>>(text) {
            Ok(fields) if KEYS.iter().any(|key| fields.contains_key(*key)) => Self::Report(fields),
            Ok(fields) => Self::OtherJson(fields),
            Err(_) if may_lack_its_front => Self::Torn,
            Err(_) if !text.starts_with('{') => Self::Text,
            // JSON that was cut is sound up to its end: any other fault was in it before.
            Err(error) if may_lack_its_end && error.is_eof() => Self::Torn,
            Err(error) if has_key_of_the_contract(text) => Self::Broken(fault(text, &error)),
            Err(_) => Self::Text,
        }
    }
}

/// Whether the text has a key of the contract, be it in other quotes or in none.
fn has_key_of_the_contract(text: &str) -> bool {
    let is_key = |key: &str, at: usize| {
        let (before, after) = (&text[..at], &text[at + key.len()..]);
        let opened = before.trim_end_matches(is_quote);
        let stands_apart = opened.len() < before.len() || opened.trim_end().ends_with(['{', ',']);
        let after = after.trim_start_matches(is_quote).trim_start();
        stands_apart && (after.is_empty() || after.starts_with([':', '=']))
    };
    KEYS.iter().any(|key| text.match_indices(key).any(|(at, _)| is_key(key, at)))
}

fn is_quote(c: char) -> bool {
    matches!(c, '"' | '\'' | '\\' | '`' | '“' | '”' | '‘' | '’')
}

fn fault(text: &str, error: &serde_json::Error) -> String {
    let words = error.to_string();
    let what = words.split_once(" at line ").map_or(words.as_str(), |(what, _)| what);
    let near = piece(text, error.column());
    format!("is no JSON ({what}, near {near:?}): write {}", remedy(what, &near, error.is_eof()))
}

/// The word, or a few characters, of the text at a column that counts bytes from 1.
fn piece(text: &str, column: usize) -> String {
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.' | '_');
    let at = column.saturating_sub(1).min(text.len());
    let at = (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let begin = text[..at].trim_end_matches(is_of_word).len();
    let word = text[begin..].split(|c| !is_of_word(c)).next().unwrap_or_default();
    let shown = if word.is_empty() { &text[begin..] } else { word };
    shown.chars().take(SHOWN_CHARS).collect()
}

fn remedy(what: &str, near: &str, is_eof: bool) -> &'static str {
    let is_no_number =
        ["nan", "inf", "infinity"].contains(&near.trim_start_matches(['+', '-']).to_lowercase().as_str());
    if is_no_number || what == "number out of range" {
        "null or a string there"
    } else if ["True", "False", "None"].contains(&near) {
        "true, false and null"
    } else if near.starts_with('\'') {
        "double quotes in place of single ones"
    } else if what == "key must be a string" {
        "each key in plain double quotes"
    } else if what == "trailing characters" {
        "one object a line, with a newline behind it and nothing else"
    } else if is_eof {
        "the whole object on one line"
    } else {
        "one JSON object a line"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(message: &str) -> Line {
        let mut lines: Vec<_> = lines(message).map(|(_, line)| line).collect();
        assert_eq!(lines.len(), 1, "{message}");
        lines.remove(0)
    }

    fn broken(line: &str) -> String {
        match only(&format!("{line}\n")) {
            Line::Broken(fault) => fault,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_report_is_a_whole_line() {
        for line in ["{\"done\":true}", "  {\"done\":true} \r", "\u{feff}{\"done\":true}", "\0\0{\"done\":true}"] {
            assert!(matches!(only(line), Line::Report(_)), "{line:?}");
            assert!(matches!(only(&format!("{line}\n")), Line::Report(_)), "{line:?}");
        }
        for text in ["got {\"done\":true}", "failed to x: {\"done\":true}", "null", "[{\"done\":true}]", "{ok}", "{"] {
            assert_eq!(only(&format!("{text}\n")), Line::Text, "{text:?}");
        }
        assert!(matches!(only("{\"level\":\"info\"}"), Line::OtherJson(_)));
    }

    #[test]
    fn a_line_is_torn_only_where_something_can_have_been_cut_off() {
        for begun in ["{\"done\":tr", "{\"checkpoint\":{\"n\":1", "{\"a\":\"\\u00", "{\"a\":-", "{"] {
            assert_eq!(only(begun), Line::Torn, "{begun}");
            assert_ne!(only(&format!("{begun}\n")), Line::Torn, "{begun}");
        }
        assert_eq!(only("a last word"), Line::Text);
        let filler = format!("{{\"done\":true,\"x\":\"{}\"}}", "y".repeat(KUBELET_LIMIT));
        let first = |front: &str| lines(&format!("{front}\n{filler}\n")).next().map(|(_, line)| line);
        assert_eq!(first("\":{\"done\": NaN}}"), Some(Line::Torn));
        assert!(matches!(first("{\"done\":true}"), Some(Line::Report(_))), "a whole one is not");
        assert!(matches!(lines("{\"done\": NaN}\nx").next(), Some((_, Line::Broken(_)))), "not so long a message");
    }

    #[test]
    fn an_unreadable_report_is_told_what_to_write() {
        for (line, near, write) in [
            ("{\"checkpoint\":{\"loss\":NaN,\"n\":1}}", "near \"NaN\"", "null or a string"),
            ("{\"checkpoint\":{\"loss\":-Infinity}}", "near \"-Infinity\"", "null or a string"),
            ("{\"checkpoint\":{\"x\":1e999}}", "near \"1e999\"", "null or a string"),
            ("{'done': True}", "near \"'done': True}\"", "double quotes"),
            ("{\"done\": True}", "near \"True\"", "true, false and null"),
            ("{done: true}", "near \"done\"", "plain double quotes"),
            ("{\\\"done\\\": true}", "key must be a string", "plain double quotes"),
            ("{\"done\"=>true}", "expected `:`", "one JSON object a line"),
            ("{\"done\":true} ok", "near \"ok\"", "a newline behind it"),
            ("{\"done\":true}{\"done\":true}", "trailing characters", "a newline behind it"),
            ("{\"checkpoint\":{\"n\":1}", "EOF", "on one line"),
            ("{\"n\":1; \"done\":true}", "expected `,`", "one JSON object a line"),
            ("{\"checkpoint\":{\"ö\": ö}}", "near \"ö}}\"", "one JSON object a line"),
        ] {
            let fault = broken(line);
            assert!(fault.contains(near) && fault.contains(write), "{line}: {fault}");
        }
    }

    #[test]
    fn a_fault_that_no_cut_makes_is_named_in_the_last_line_too() {
        for line in ["{\"checkpoint\":{\"loss\":NaN}}", "{\"done\":true}{\"done\":true}", "{'done': True}"] {
            assert!(matches!(only(line), Line::Broken(_)), "{line}");
        }
    }

    #[test]
    fn what_has_no_key_of_the_contract_is_text() {
        for text in ["{\"msg\":\"done\" oops}", "{\"abandoned\": NaN}", "{there was an error: 5}", "{undone: x}"] {
            assert_eq!(only(&format!("{text}\n")), Line::Text, "{text}");
        }
    }

    #[test]
    fn the_report_file_has_nothing_but_reports() {
        for message in ["{\"done\":true}\n", "\n{\"checkpoint\":{},\"done\":true}\n\n{\"che", "{\"error\":null}"] {
            assert!(is_report_file(message), "{message}");
        }
        for message in [
            "",
            "{\"che",
            "panic\n",
            "{\"done\":true}\npanic",
            "{\"done\":true,\"level\":\"info\"}",
            "{\"error\":\"refused\"}",
            "{\"progress\":0.5}",
            "{\"done\":true}\n{\"done\":NaN}\n",
            "{\"done\":true}\n{\"level\":\"info\"}\n",
        ] {
            assert!(!is_report_file(message), "{message}");
        }
    }
}
