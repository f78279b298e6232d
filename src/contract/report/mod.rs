//! What a program reported: the lines of its termination message.

mod delay;
mod fields;
mod line;
mod values;

use serde_json::{Map, Value};

pub use self::{
    delay::Delay,
    values::{LARGEST_CHECKPOINT, ReportedCheckpoint},
};
use self::{
    fields::{Fields, boolean, delay, integer, object, text},
    line::{KEYS, Line, begins_a_report_over_lines, is_report_file, lines},
    values::{checkpoint, name_rounded, result},
};
use crate::types::truncate;

const LONGEST_UNIT: usize = 32;
const LONGEST_TEXT: usize = 256;
const LONGEST_CODE: usize = 64;

/// A report: field by field the last complete line that had it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// What to resume from.
    pub checkpoint: Option<ReportedCheckpoint>,
    /// What is done.
    pub progress: Option<ReportedProgress>,
    /// The program's own error.
    pub error: Option<ReportedError>,
    /// When to go on after a yield.
    pub resume_after: Option<Delay>,
    /// The result.
    pub result: Option<Value>,
    /// Whether the program said that it is done, whatever its exit code may mean.
    pub done: bool,
    /// The text between the reports: a program that knows nothing of us explains itself there.
    pub text: String,
    /// What was reported and could not be used, or not quite, in words for the user.
    pub problems: Vec<String>,
}

/// Progress, as reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedProgress {
    /// Units done.
    pub completed: Option<i64>,
    /// Units in all.
    pub total: Option<i64>,
    /// What is counted.
    pub unit: Option<String>,
    /// The program's own words.
    pub message: Option<String>,
}

/// An error, as reported.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedError {
    /// A code for rules to match.
    pub code: Option<String>,
    /// What happened.
    pub message: Option<String>,
    /// Whether trying again is no use.
    pub permanent: bool,
    /// When to try again.
    pub retry_after: Option<Delay>,
}

impl Report {
    /// Reads a message that may be the end of the log, as [`Self::read`] does. The log is no report: a program that
    /// writes JSON there speaks to others.
    pub fn read_file_or_log(message: &str, containers: usize) -> Self {
        if is_report_file(message) {
            Self::read(message, containers)
        } else {
            Self { text: message.trim().to_owned(), ..Self::default() }
        }
    }

    /// Reads a termination message from a pod of so many containers. Never fails: a torn line is skipped, what is
    /// unusable is named in `problems`.
    pub fn read(message: &str, containers: usize) -> Self {
        let mut report = Self::default();
        let (mut words, mut broken) = (Vec::new(), BrokenLines::default());
        let mut lines = lines(message).enumerate().peekable();
        while let Some((index, (line, what))) = lines.next() {
            match what {
                Line::Report(fields) => report.take(line, fields, containers),
                Line::Torn => {}
                Line::Broken(fault) => broken.add(index + 1, fault),
                Line::OtherJson(fields) => {
                    Fields::of("", fields, &KEYS, &mut report.problems);
                    words.push(line);
                }
                Line::Text => {
                    if begins_a_report_over_lines(line, lines.peek().map(|(_, (next, _))| *next)) {
                        broken.add(index + 1, "begins a report of several lines: write the whole object on one".into());
                    }
                    words.push(line);
                }
            }
        }
        words.join("\n").trim().clone_into(&mut report.text);
        report.problems.extend(broken.told());
        report
    }

    /// Takes one line over what earlier lines said.
    fn take(&mut self, line: &str, values: Map<String, Value>, containers: usize) {
        let mut fields = Fields::of("", values, &KEYS, &mut self.problems);
        if fields.has("checkpoint") || fields.has("progress") {
            // The program has moved on since it said these.
            (self.error, self.resume_after, self.done) = (None, None, false);
        }
        if let Some(checkpoint) = fields.take("checkpoint", checkpoint) {
            name_rounded("checkpoint", &checkpoint, line, fields.problems);
            self.checkpoint = Some(ReportedCheckpoint::of(checkpoint, fields.problems));
        }
        if let Some(progress) = fields.take("progress", |value| object(value, "{\"completed\": 1200, \"total\": 5000}"))
        {
            self.progress = Some(ReportedProgress::of(progress, fields.problems));
        }
        if let Some(error) = fields.take("error", |value| object(value, "{\"message\": \"card expired\"}")) {
            self.error = Some(ReportedError::of(error, fields.problems));
        }
        self.resume_after = fields.take("resumeAfter", delay).or(self.resume_after);
        if let Some(result) = fields.take("result", |value| result(value, containers)) {
            name_rounded("result", &result, line, fields.problems);
            self.result = Some(Value::Object(result));
        }
        self.done = fields.take("done", boolean).unwrap_or(self.done);
    }
}

/// The lines that cannot be read, by their faults: a program makes the same one in each line.
#[derive(Default)]
struct BrokenLines(Vec<(String, usize, usize)>);

impl BrokenLines {
    fn add(&mut self, number: usize, fault: String) {
        match self.0.iter_mut().find(|(known, ..)| *known == fault) {
            Some((.., others)) => *others += 1,
            None => self.0.push((fault, number, 0)),
        }
    }

    fn told(self) -> impl Iterator<Item = String> {
        self.0.into_iter().map(|(fault, first, others)| match others {
            0 => format!("line {first} {fault}"),
            others => format!("line {first}, like {others} more, {fault}"),
        })
    }
}

impl ReportedProgress {
    fn of(values: Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut fields = Fields::of("progress", values, &["completed", "total", "unit", "message"], problems);
        Self {
            completed: fields.take("completed", integer).map(|completed| completed.max(0)),
            total: fields.take("total", integer).map(|total| total.max(0)),
            unit: fields.take("unit", text).map(|unit| truncate(&unit, LONGEST_UNIT).to_owned()),
            message: fields.take("message", text).map(|message| truncate(&message, LONGEST_TEXT).to_owned()),
        }
    }
}

impl ReportedError {
    fn of(values: Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let mut fields = Fields::of("error", values, &["code", "message", "permanent", "retryAfter"], problems);
        Self {
            code: fields.take("code", text).map(|code| truncate(&code, LONGEST_CODE).to_owned()),
            message: fields.take("message", text),
            permanent: fields.take("permanent", boolean).unwrap_or_default(),
            retry_after: fields.take("retryAfter", delay),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::types::GoDuration;

    fn read(message: &str) -> Report {
        Report::read(message, 1)
    }

    #[test]
    fn each_field_is_the_last_one_reported() {
        let report = read(
            "{\"checkpoint\":{\"offset\":1},\"progress\":{\"completed\":1,\"total\":9,\"unit\":\"rows\"}}\n\
             {\"checkpoint\":{\"offset\":2}}\n{\"result\":{\"rows\":9},\"done\":true}\n",
        );
        assert_eq!(report.checkpoint, Some(ReportedCheckpoint::Data(json!({ "offset": 2 }))));
        assert_eq!(report.progress.and_then(|progress| progress.total), Some(9));
        assert_eq!(report.result, Some(json!({ "rows": 9 })));
        assert!(report.done);
    }

    #[test]
    fn what_was_said_before_the_last_progress_lapses() {
        for moved_on in ["{\"checkpoint\":{}}", "{\"progress\":{}}"] {
            let report = read(&format!(
                "{{\"error\":{{\"code\":\"X\"}}}}\n{{\"resumeAfter\":\"10m\"}}\n{{\"done\":true}}\n{moved_on}"
            ));
            assert_eq!((report.error, report.resume_after, report.done), (None, None, false), "{moved_on}");
        }
        assert!(read("{\"checkpoint\":{\"n\":1},\"done\":true}").done, "one line says both");
    }

    #[test]
    fn torn_lines_are_skipped() {
        let report = read("{\"checkpoint\":{\"n\":1}}\n{\"checkpoint\":{\"n\":2}");
        assert_eq!(report.checkpoint, Some(ReportedCheckpoint::Data(json!({ "n": 1 }))));
        assert_eq!(report.text, "");
        let front_torn = format!("\":{{}}}}\n{{\"done\":true,\"x\":\"{}\"}}", "y".repeat(4096));
        assert_eq!(read(&front_torn), Report { done: true, ..Report::default() });
    }

    #[test]
    fn text_is_kept_as_the_message() {
        let report = read("panic: no such table\nat line 3\n{\"done\":false}\n");
        assert_eq!(report.text, "panic: no such table\nat line 3");
    }

    #[test]
    fn an_unusable_field_is_named_and_the_others_are_taken() {
        let report = read("{\"progress\":\"a lot\",\"checkpoint\":[1],\"done\":true}");
        assert!(report.done && report.checkpoint.is_none() && report.progress.is_none());
        assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
        let report = read("{\"progress\":[7],\"error\":[\"X\"]}");
        assert!(report.progress.is_none() && report.error.is_none() && report.problems.len() == 2, "{report:?}");
    }

    #[test]
    fn too_large_a_checkpoint_is_refused_with_the_way_out() {
        let report = read(&json!({ "checkpoint": { "data": "x".repeat(LARGEST_CHECKPOINT) } }).to_string());
        assert_eq!(report.checkpoint, None);
        assert!(report.problems[0].contains("report its uri"), "{:?}", report.problems);
    }

    #[test]
    fn a_result_may_be_larger_where_few_containers_share_the_room() {
        let message = json!({ "result": { "data": "x".repeat(2000) }, "done": true }).to_string();
        for (containers, is_taken) in [(1, true), (3, true), (4, false)] {
            let report = Report::read(&message, containers);
            assert_eq!((report.result.is_some(), report.problems.is_empty()), (is_taken, is_taken), "{containers}");
            assert!(report.done);
        }
    }

    #[test]
    fn a_code_is_cut_and_the_rest_of_the_error_is_kept() {
        let code = "C".repeat(LONGEST_CODE + 1);
        let report = read(&json!({ "error": { "code": code, "message": "m", "permanent": true } }).to_string());
        let error = report.error.expect("an error");
        assert_eq!(error.code.as_deref(), Some(&code[1..]));
        assert!(error.permanent && error.message.as_deref() == Some("m"));
    }

    #[test]
    fn a_delay_is_never_longer_than_allowed_and_never_over_before_now() {
        let now: jiff::Timestamp = "2026-11-24T10:00:00Z".parse().expect("a timestamp");
        for (written, end) in [
            ("\"10m\"", "2026-11-24T10:10:00Z"),
            ("90", "2026-11-24T10:01:30Z"),
            ("\"2026-11-24T10:20:00Z\"", "2026-11-24T10:20:00Z"),
            ("\"5h\"", "2026-11-24T11:00:00Z"),
            ("1e300", "2026-11-24T11:00:00Z"),
            ("\"2026-11-24T09:00:00Z\"", "2026-11-24T10:00:00Z"),
        ] {
            let delay = read(&format!("{{\"resumeAfter\":{written}}}")).resume_after.expect(written);
            assert_eq!(delay.end(now, GoDuration::from_hours(1)).to_string(), end, "{written}");
        }
    }

    #[test]
    fn json_within_a_text_is_text() {
        let text = "got {\"done\":true}\nfailed to x: {\"checkpoint\":{\"n\":1}}";
        assert_eq!(read(text), Report { text: text.into(), ..Report::default() });
    }

    #[test]
    fn a_bad_field_loses_no_other_at_any_depth() {
        let report = read(
            "{\"progress\":{\"completed\":\"3\",\"total\":10.0,\"unit\":[],\"message\":7},\"done\":1,\"resumeAfter\":-1}\n\
             {\"error\":{\"code\":429,\"message\":{},\"permanent\":true,\"retryAfter\":\"soon\"}}\n\
             {\"checkpoint\":{\"uri\":\"s3://b/k\",\"digest\":[],\"sizeBytes\":\"7\"}}\n",
        );
        let progress = report.progress.expect("progress");
        assert_eq!((progress.completed, progress.total, progress.message.as_deref()), (None, Some(10), Some("7")));
        let reference = ReportedCheckpoint::Reference { uri: "s3://b/k".into(), digest: None, size_bytes: None };
        assert_eq!((report.checkpoint, report.error), (Some(reference), None));
        let paths: Vec<_> = report.problems.iter().map(|problem| problem.split(' ').next().expect("a path")).collect();
        assert_eq!(
            paths,
            [
                "progress.completed",
                "progress.unit",
                "resumeAfter",
                "done",
                "error.message",
                "error.retryAfter",
                "checkpoint.digest",
                "checkpoint.sizeBytes",
            ]
        );
    }

    #[test]
    fn the_good_fields_of_an_error_count() {
        let report = read("{\"error\":{\"code\":429,\"message\":\"m\",\"permanent\":true,\"retryAfter\":\"soon\"}}");
        let (code, message) = (Some("429".into()), Some("m".into()));
        assert_eq!(report.error, Some(ReportedError { code, message, permanent: true, retry_after: None }));
        let report = read("{\"error\":\"boom\"}");
        assert_eq!(report.error, None);
        assert!(report.problems[0].contains("write {\"message\""), "{:?}", report.problems);
    }

    #[test]
    fn null_is_as_absent_and_makes_nothing_lapse() {
        let said = "{\"checkpoint\":{\"n\":1},\"progress\":{\"completed\":1}}\n{\"error\":{\"code\":\"X\"},\"resumeAfter\":\"10m\",\"result\":{\"n\":null},\"done\":true}\n";
        let nothing = "{\"checkpoint\":null,\"progress\":null,\"error\":null,\"resumeAfter\":null,\"result\":null,\"done\":null}\n";
        assert_eq!(read(&format!("{said}{nothing}")), read(said));
        let within = read("{\"progress\":{\"completed\":null},\"error\":{\"code\":null,\"permanent\":null}}");
        assert_eq!(
            (within.progress, within.error),
            (Some(ReportedProgress::default()), Some(ReportedError::default()))
        );
        assert!(within.problems.is_empty(), "{:?}", within.problems);
    }

    #[test]
    fn a_line_that_cannot_be_read_is_named_once_and_is_no_text() {
        let report = read(
            "a text\n{\"progress\":{\"completed\":1},\"checkpoint\":{\"loss\":NaN}}\n{\"checkpoint\":{\"loss\":NaN}}\n\
             {'done': True}\n{\"checkpoint\":{\"n\":2}}\n",
        );
        assert_eq!((report.text.as_str(), report.problems.len()), ("a text", 2), "{:?}", report.problems);
        assert!(report.problems[0].starts_with("line 2, like 1 more, is no JSON"), "{:?}", report.problems);
        assert!(report.problems[1].starts_with("line 4 is no JSON"), "{:?}", report.problems);
        assert_eq!(report.checkpoint, Some(ReportedCheckpoint::Data(json!({ "n": 2 }))));
    }

    #[test]
    fn a_report_over_several_lines_is_named_and_kept_as_text() {
        let pretty = serde_json::to_string_pretty(&json!({ "done": true })).expect("JSON");
        let report = read(&pretty);
        assert!(report.problems[0].starts_with("line 1 begins a report of several lines"), "{:?}", report.problems);
        assert_eq!((report.done, report.text), (false, pretty));
        assert!(read("{\n  \"level\": 1\n}\n").problems.is_empty());
    }

    #[test]
    fn a_line_with_none_but_misspelt_keys_is_text_and_named() {
        let report = read("{\"Checkpoint\":{\"n\":1}}\n");
        assert_eq!((report.checkpoint, report.text.as_str()), (None, "{\"Checkpoint\":{\"n\":1}}"));
        assert_eq!(report.problems, ["Checkpoint is no key of the contract: write checkpoint"]);
    }

    #[test]
    fn of_what_may_be_the_log_only_what_is_surely_a_report_is_one() {
        let mixed = "{\"checkpoint\":{\"n\":1}}\n{\"done\":NaN}\npanic\n";
        assert_eq!(Report::read_file_or_log(mixed, 1), Report { text: mixed.trim().into(), ..Report::default() });
        let report = "{\"checkpoint\":{\"n\":1}}\n";
        assert_eq!(Report::read_file_or_log(report, 1), read(report));
    }
}
