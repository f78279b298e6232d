//! What a program reported: the lines of its report file, or of its termination message.

mod delay;
mod fields;
mod line;
mod values;

use serde_json::{Map, Value};

pub use self::{
    delay::Delay,
    values::{LARGEST_CHECKPOINT, LARGEST_LIVE_RESULT, ReportedCheckpoint, Via},
};
use self::{
    fields::{Fields, boolean, delay, duration, integer, object, text},
    line::{KEYS, Line, begins_a_report_over_lines, is_report_file, lines, whole_lines},
    values::{checkpoint, name_rounded, result},
};
use crate::types::{GoDuration, keep_the_end, truncate};

const LONGEST_UNIT: usize = 32;
const LONGEST_TEXT: usize = 256;
const LONGEST_CODE: usize = 64;
/// The most bytes of text that are kept of what comes piece by piece: what a program said last explains its end.
const LONGEST_KEPT_TEXT: usize = 2048;

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
    /// For how long the program may be silent, if its last line said so.
    pub quiet: Option<GoDuration>,
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
    pub fn read_file_or_log(message: &str, via: Via) -> Self {
        if is_report_file(message) {
            Self::read(message, via)
        } else {
            Self { text: message.trim().to_owned(), ..Self::default() }
        }
    }

    /// Reads a whole message. Never fails: a torn line is skipped, what is unusable is named in `problems`.
    pub fn read(message: &str, via: Via) -> Self {
        let mut reader = Reader::new(via);
        reader.take_lines(lines(message));
        reader.report()
    }

    /// Takes one line over what earlier lines said.
    fn take(&mut self, line: &str, values: Map<String, Value>, via: Via) {
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
        if let Some(result) = fields.take("result", |value| result(value, via)) {
            name_rounded("result", &result, line, fields.problems);
            self.result = Some(Value::Object(result));
        }
        self.done = fields.take("done", boolean).unwrap_or(self.done);
        self.quiet = fields.take("quiet", duration);
    }
}

/// Reads a report piece by piece, as a program writes it.
#[derive(Clone, Debug)]
pub struct Reader {
    via: Via,
    report: Report,
    broken: BrokenLines,
    /// How many lines were read.
    lines: usize,
}

impl Reader {
    /// Reads what comes that way.
    pub fn new(via: Via) -> Self {
        Self { via, report: Report::default(), broken: BrokenLines::default(), lines: 0 }
    }

    /// Goes on from a report that was read before.
    pub fn with(report: Report) -> Self {
        let mut reader = Self::new(Via::Agent);
        if !report.text.is_empty() {
            add_line(&mut reader.report.text, &report.text);
        }
        reader.report = Report { text: reader.report.text, ..report };
        reader
    }

    /// Takes a whole termination message over what was read before, and ends.
    pub fn take_message(mut self, message: &str, via: Via) -> Report {
        (self.via, self.lines) = (via, 0);
        self.take_lines(lines(message));
        self.report()
    }

    /// Takes the next lines over what earlier ones said. They must be whole: only the very last one of all may lack its
    /// newline.
    pub fn take(&mut self, text: &str) {
        self.take_lines(whole_lines(text));
        keep_the_end(&mut self.report.text, LONGEST_KEPT_TEXT);
    }

    /// The report so far.
    pub fn report(&self) -> Report {
        let mut report = self.report.clone();
        report.text = report.text.trim().to_owned();
        report.problems.extend(self.broken.told());
        report
    }

    fn take_lines<'a>(&mut self, lines: impl Iterator<Item = (&'a str, Line)>) {
        let mut lines = lines.peekable();
        while let Some((line, what)) = lines.next() {
            self.lines += 1;
            let report = &mut self.report;
            report.quiet = None;
            match what {
                Line::Report(fields) => report.take(line, fields, self.via),
                Line::Torn => {}
                Line::Broken(fault) => self.broken.add(self.lines, fault),
                Line::OtherJson(fields) => {
                    Fields::of("", fields, &KEYS, &mut report.problems);
                    add_line(&mut report.text, line);
                }
                Line::Text => {
                    if begins_a_report_over_lines(line, lines.peek().map(|(next, _)| *next)) {
                        let fault = "begins a report of several lines: write the whole object on one";
                        self.broken.add(self.lines, fault.into());
                    }
                    add_line(&mut report.text, line);
                }
            }
        }
    }
}

fn add_line(text: &mut String, line: &str) {
    text.push_str(line);
    text.push('\n');
}

/// The lines that cannot be read, by their faults: a program makes the same one in each line.
#[derive(Clone, Debug, Default)]
struct BrokenLines(Vec<(String, usize, usize)>);

impl BrokenLines {
    fn add(&mut self, number: usize, fault: String) {
        match self.0.iter_mut().find(|(known, ..)| *known == fault) {
            Some((.., others)) => *others += 1,
            None => self.0.push((fault, number, 0)),
        }
    }

    fn told(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(fault, first, others)| match others {
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

    const ALONE: Via = Via::TerminationMessage { containers: 1 };

    fn read(message: &str) -> Report {
        Report::read(message, ALONE)
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
            let report = Report::read(&message, Via::TerminationMessage { containers });
            assert_eq!((report.result.is_some(), report.problems.is_empty()), (is_taken, is_taken), "{containers}");
            assert!(report.done);
        }
    }

    #[test]
    fn a_report_read_piece_by_piece_is_the_same() {
        let message =
            "{\"checkpoint\":{\"n\":1}}\nat work\n{\"error\":{\"code\":\"X\"}}\n{'done': True}\n{\"quiet\":\"2h\"}\n";
        let mut reader = Reader::new(ALONE);
        for line in message.split_inclusive('\n') {
            reader.take(line);
        }
        assert_eq!(reader.report(), read(message));
        assert_eq!(reader.report().quiet, Some(GoDuration::from_hours(2)));
        reader.take("at work\n");
        assert_eq!(reader.report().quiet, None, "any line is a sign of life");
    }

    #[test]
    fn a_message_over_a_report_that_was_read_before_begins_a_line_of_its_own() {
        let over = |before: &str, message: &str| {
            let reader = Reader::with(Report::read(before, Via::Agent));
            reader.take_message(message, ALONE).text
        };
        assert_eq!(over("loading rows", "no such table"), "loading rows\nno such table");
        assert_eq!(over("loading rows", ""), "loading rows");
        assert_eq!(over("", "no such table"), "no such table");
    }

    #[test]
    fn of_a_long_text_the_last_lines_are_kept() {
        let mut reader = Reader::new(Via::Agent);
        for number in 0..1000 {
            reader.take(&format!("line {number} ö\n"));
        }
        let text = reader.report().text;
        assert!(text.len() <= LONGEST_KEPT_TEXT && text.ends_with("\nline 999 ö"), "{text}");
        assert!(text.lines().all(|line| line.starts_with("line ")), "{text}");
        reader.take(&format!("{}\n", "ö".repeat(LONGEST_KEPT_TEXT)));
        assert!(reader.report().text.chars().all(|c| c == 'ö'), "a line that is too long is cut in itself");
    }

    #[test]
    fn an_agent_takes_a_larger_result() {
        let of = |size: usize| json!({ "result": { "data": "x".repeat(size) } }).to_string();
        assert!(Report::read(&of(16_000), Via::Agent).result.is_some());
        let report = Report::read(&of(LARGEST_LIVE_RESULT), Via::Agent);
        assert!(report.result.is_none() && report.problems[0].contains("the limit is 16384"), "{:?}", report.problems);
    }

    #[test]
    fn quiet_is_a_duration_and_not_a_point_in_time() {
        assert_eq!(read("{\"quiet\":90}").quiet, Some(GoDuration::from_secs(90)));
        let report = read("{\"quiet\":\"2026-11-24T10:20:00Z\"}");
        assert!(report.quiet.is_none() && report.problems[0].starts_with("quiet is no duration"), "{report:?}");
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
        let reference =
            ReportedCheckpoint::Reference { path: None, uri: "s3://b/k".into(), digest: None, size_bytes: None };
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
        assert_eq!(Report::read_file_or_log(mixed, ALONE), Report { text: mixed.trim().into(), ..Report::default() });
        let report = "{\"checkpoint\":{\"n\":1}}\n";
        assert_eq!(Report::read_file_or_log(report, ALONE), read(report));
    }
}
