//! A report as lines again: how an agent passes on what it has read.

use serde_json::{Map, Value, json};

use crate::{
    report::{Delay, Report, ReportedCheckpoint, ReportedError, ReportedProgress},
    types::{keep_the_end, truncate},
};

/// The most bytes of an error's message that are passed on: no more of it is kept.
const LONGEST_ERROR: usize = 1024;

/// A report as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Whole lines, each with its newline.
    pub lines: String,
    /// Whether the result that the report has did not fit.
    pub lacks_result: bool,
}

impl Report {
    /// The report as lines of at most `limit` bytes, which read as this report. Its problems and `quiet` are left out, and
    /// what does not fit: first the text, then the result, then the rest.
    pub fn written(&self, limit: usize) -> Written {
        let mut room = limit;
        let mut fits = |line: &String| {
            let size = line.len() + 1;
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        };
        // Behind what makes them lapse.
        let moved_on = self.moved_on().into_iter().find(&mut fits);
        let said = self.said_since().filter(&mut fits);
        let result = self.result.as_ref().map(|result| json!({ "result": result }).to_string()).filter(&mut fits);
        let lacks_result = self.result.is_some() && result.is_none();
        let text = Some(end_of(&self.text, room.saturating_sub(1))).filter(|text| !text.is_empty());
        let lines = [moved_on, said, result, text].into_iter().flatten();
        Written { lines: lines.flat_map(|line| [line, "\n".to_owned()]).collect(), lacks_result }
    }

    /// Checkpoint and progress as one line, or as much of the two as may have to do.
    fn moved_on(&self) -> Vec<String> {
        let checkpoint = self.checkpoint.as_ref().map(|checkpoint| ("checkpoint", checkpoint.as_reported()));
        let progress = self.progress.as_ref().map(|progress| ("progress", progress.as_reported()));
        let choices = [[checkpoint.clone(), progress.clone()], [checkpoint, None], [progress, None]];
        choices.into_iter().filter_map(|fields| line(fields.into_iter().flatten())).collect()
    }

    /// What a later checkpoint or progress would make lapse.
    fn said_since(&self) -> Option<String> {
        let error = self.error.as_ref().map(|error| ("error", error.as_reported()));
        let done = self.done.then_some(("done", Value::Bool(true)));
        let resume_after = self.resume_after.map(|delay| ("resumeAfter", delay.as_reported()));
        line([error, done, resume_after].into_iter().flatten())
    }
}

fn line<'a>(fields: impl Iterator<Item = (&'a str, Value)>) -> Option<String> {
    let fields: Map<_, _> = fields.map(|(key, value)| (key.to_owned(), value)).collect();
    (!fields.is_empty()).then(|| Value::Object(fields).to_string())
}

/// The end of a text, in whole lines if it has any that fits.
fn end_of(text: &str, limit: usize) -> String {
    let mut end = text.to_owned();
    keep_the_end(&mut end, limit);
    end
}

/// An object of those fields that are there.
fn object<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect::<Map<_, _>>().into()
}

impl ReportedCheckpoint {
    /// As the program could have reported it.
    pub fn as_reported(&self) -> Value {
        match self {
            Self::Data(data) => data.clone(),
            Self::Reference { path, uri, digest, size_bytes } => object([
                ("path", path.as_ref().map(|path| json!(path))),
                ("uri", Some(json!(uri))),
                ("digest", digest.as_ref().map(|digest| json!(digest))),
                ("sizeBytes", size_bytes.map(Value::from)),
            ]),
        }
    }
}

impl ReportedProgress {
    fn as_reported(&self) -> Value {
        object([
            ("completed", self.completed.map(Value::from)),
            ("total", self.total.map(Value::from)),
            ("unit", self.unit.as_ref().map(|unit| json!(unit))),
            ("message", self.message.as_ref().map(|message| json!(message))),
        ])
    }
}

impl ReportedError {
    fn as_reported(&self) -> Value {
        object([
            ("code", self.code.as_ref().map(|code| json!(code))),
            ("message", self.message.as_ref().map(|message| json!(truncate(message, LONGEST_ERROR)))),
            ("permanent", self.permanent.then_some(Value::Bool(true))),
            ("retryAfter", self.retry_after.map(Delay::as_reported)),
        ])
    }
}

impl Delay {
    fn as_reported(self) -> Value {
        match self {
            // As seconds: a text of a duration has a largest one.
            Self::For(duration) => duration.as_secs().into(),
            Self::Until(time) => time.to_string().into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{
        report::{LARGEST_LIVE_RESULT, Reader, Via},
        types::GoDuration,
    };

    fn read(message: &str) -> Report {
        Report::read(message, Via::Agent)
    }

    fn any_delay() -> impl Strategy<Value = Delay> {
        prop_oneof![
            any::<u32>().prop_map(|seconds| Delay::For(GoDuration::from_secs(i64::from(seconds)))),
            Just(Delay::For(GoDuration::from_secs(i64::MAX))),
            Just(Delay::Until("2026-11-24T10:20:00Z".parse().expect("a time"))),
        ]
    }

    fn any_text(most: usize) -> impl Strategy<Value = Option<String>> {
        prop::option::of(prop::collection::vec(any::<char>(), 0..most).prop_map(String::from_iter))
    }

    prop_compose! {
        fn any_report()(
            checkpoint in prop::option::of(prop_oneof![
                any::<i64>().prop_map(|n| ReportedCheckpoint::Data(json!({ "n": n }))),
                (any_text(20), prop::option::of(any::<i64>())).prop_map(|(digest, size_bytes)| {
                    ReportedCheckpoint::Reference { path: None, uri: "s3://b/k".into(), digest, size_bytes }
                }),
                any_text(20).prop_map(|path| ReportedCheckpoint::Reference {
                    path: Some(path.unwrap_or_default()),
                    uri: "s3://b/uid/3-1a2b3c4d/7/manifest.json".into(),
                    digest: None,
                    size_bytes: None,
                }),
            ]),
            progress in prop::option::of((prop::option::of(0..i64::MAX), prop::option::of(0..i64::MAX), any_text(4), any_text(40))),
            error in prop::option::of((any_text(8), any_text(100), any::<bool>(), prop::option::of(any_delay()))),
            resume_after in prop::option::of(any_delay()),
            result in prop::option::of(any::<i64>().prop_map(|n| json!({ "n": n }))),
            done in any::<bool>(),
            text in prop::sample::select(vec!["", "panic: no such table", "panic\nat line 3"]),
        ) -> Report {
            Report {
                checkpoint,
                progress: progress.map(|(completed, total, unit, message)| ReportedProgress { completed, total, unit, message }),
                error: error.map(|(code, message, permanent, retry_after)| ReportedError { code, message, permanent, retry_after }),
                resume_after, result, done, text: text.to_owned(), ..Report::default()
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_report(report in any_report()) {
            let written = report.written(24 * 1024);
            prop_assert!(!written.lacks_result);
            prop_assert_eq!(read(&written.lines), report);
        }

        #[test]
        fn what_is_written_fits_and_says_nothing_else(report in any_report(), limit in 0_usize..600) {
            let Written { lines, lacks_result } = report.written(limit);
            prop_assert!(lines.len() <= limit, "{} of {limit}", lines.len());
            let read = read(&lines);
            prop_assert!(read.checkpoint.is_none() || read.checkpoint == report.checkpoint);
            prop_assert!(read.progress.is_none() || read.progress == report.progress);
            prop_assert!(read.error.is_none() || read.error == report.error);
            prop_assert!(read.result == report.result.filter(|_| !lacks_result));
            prop_assert!(read.problems.is_empty(), "{:?}", read.problems);
        }
    }

    #[test]
    fn a_result_that_does_not_fit_is_left_out_and_missed() {
        let mut reader = Reader::new(Via::Agent);
        reader.take(&format!(
            "{}\n",
            json!({ "result": { "data": "x".repeat(5000) }, "checkpoint": { "n": 1 }, "done": true })
        ));
        let Written { lines, lacks_result } = reader.report().written(4096);
        assert!(lacks_result);
        assert_eq!(lines, "{\"checkpoint\":{\"n\":1}}\n{\"done\":true}\n");
        assert!(!reader.report().written(LARGEST_LIVE_RESULT).lacks_result);
    }

    #[test]
    fn the_message_of_an_error_is_cut_where_the_status_would_cut_it() {
        let report = read(&format!("{}\n", json!({ "error": { "message": "ö".repeat(5000) } })));
        let read = read(&report.written(4096).lines);
        assert_eq!(read.error.and_then(|error| error.message), Some("ö".repeat(512)));
    }

    #[test]
    fn of_a_text_the_last_lines_that_fit_are_written() {
        let report = Report { text: "the first line\nthe second line".into(), ..Report::default() };
        assert_eq!(report.written(20).lines, "the second line\n");
        assert_eq!(report.written(5).lines, "line\n");
    }
}
