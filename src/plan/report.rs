//! What a program reported: the lines of its termination message.

use jiff::Timestamp;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use super::time::after;
use crate::api::{Checkpoint, GoDuration};

/// The most bytes that a checkpoint or a result may have as JSON: they are kept in the task's status.
pub const LARGEST_VALUE: usize = 1024;
/// The kubelet keeps the last 4096 bytes of the file: the first line of a message this long may be torn.
const KUBELET_LIMIT: usize = 4096;
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
    /// What was reported and could not be used, in words for the user.
    pub problems: Vec<String>,
}

/// A checkpoint: a small object, or a reference to data stored elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportedCheckpoint {
    /// The checkpoint itself.
    Data(Value),
    /// Where it is stored.
    Reference {
        /// Where.
        uri: String,
        /// The digest of what is stored.
        digest: Option<String>,
        /// Its size.
        size_bytes: Option<i64>,
    },
}

/// Progress, as reported.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
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

/// A delay that the program asks for: a duration, or a point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum Delay {
    /// That long from when the attempt's end is recorded.
    For(GoDuration),
    /// Until then.
    Until(Timestamp),
}

impl Delay {
    /// When the delay is over, at most `longest` from now.
    pub fn end(self, now: Timestamp, longest: GoDuration) -> Timestamp {
        let end = match self {
            Self::For(duration) => after(now, duration.as_secs()),
            Self::Until(time) => time,
        };
        end.min(after(now, longest.as_secs())).max(now)
    }
}

impl Report {
    /// Reads a termination message. Never fails: a torn line is skipped, an unusable field is named in `problems`.
    pub fn read(message: &str) -> Self {
        let mut report = Self::default();
        let mut text = Vec::new();
        for (number, line) in message.lines().enumerate() {
            match object_in(line) {
                Some(fields) => report.take(fields),
                None if number == 0 && message.len() >= KUBELET_LIMIT => {}
                None if line.trim_start().starts_with('{') => {}
                None => text.push(line),
            }
        }
        text.join("\n").trim().clone_into(&mut report.text);
        report
    }

    /// Takes one line over what earlier lines said.
    fn take(&mut self, mut fields: Map<String, Value>) {
        if fields.contains_key("checkpoint") || fields.contains_key("progress") {
            // The program has moved on since it said these.
            (self.error, self.resume_after, self.done) = (None, None, false);
        }
        if let Some(value) = fields.remove("checkpoint") {
            self.take_checkpoint(value);
        }
        if let Some(progress) = self.parsed_object::<ReportedProgress>("progress", fields.remove("progress")) {
            self.progress = Some(progress.trimmed());
        }
        if let Some(error) = self.parsed_object::<ReportedError>("error", fields.remove("error")) {
            self.error = Some(error.trimmed());
        }
        if let Some(delay) = self.parsed("resumeAfter", fields.remove("resumeAfter")) {
            self.resume_after = Some(delay);
        }
        if let Some(value) = fields.remove("result") {
            self.take_result(value);
        }
        if let Some(done) = self.parsed("done", fields.remove("done")) {
            self.done = done;
        }
    }

    /// A list would pass for an object whose fields are in the order of their declaration.
    fn parsed_object<T: DeserializeOwned>(&mut self, field: &str, value: Option<Value>) -> Option<T> {
        let value = value?;
        if !value.is_object() {
            self.problems.push(format!("{field} is not a JSON object"));
            return None;
        }
        self.parsed(field, Some(value))
    }

    fn parsed<T: DeserializeOwned>(&mut self, field: &str, value: Option<Value>) -> Option<T> {
        match serde_json::from_value(value?) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                self.problems.push(format!("{field} is not of the documented form: {error}"));
                None
            }
        }
    }

    fn take_checkpoint(&mut self, value: Value) {
        match usable("checkpoint", &value) {
            Ok(()) => self.checkpoint = Some(ReportedCheckpoint::of(value)),
            Err(problem) => self.problems.push(problem),
        }
    }

    fn take_result(&mut self, value: Value) {
        match usable("result", &value) {
            Ok(()) => self.result = Some(value),
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// The JSON object in a line. A runtime may have put words of its own in front.
fn object_in(line: &str) -> Option<Map<String, Value>> {
    let start = line.find('{')?;
    serde_json::from_str(line[start..].trim_end()).ok()
}

fn usable(field: &str, value: &Value) -> Result<(), String> {
    let size = value.to_string().len();
    if !value.is_object() {
        return Err(format!("{field} is not a JSON object"));
    }
    if size > LARGEST_VALUE {
        return Err(format!(
            "{field} has {size} bytes, the limit is {LARGEST_VALUE}: store it elsewhere and report its uri and digest"
        ));
    }
    Ok(())
}

impl ReportedCheckpoint {
    fn of(value: Value) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        struct Reference {
            uri: String,
            digest: Option<String>,
            size_bytes: Option<i64>,
        }
        match serde_json::from_value::<Reference>(value.clone()) {
            Ok(Reference { uri, digest, size_bytes }) => Self::Reference { uri, digest, size_bytes },
            Err(_) => Self::Data(value),
        }
    }

    /// Whether a recorded checkpoint says the same.
    pub fn equals(&self, recorded: &Checkpoint) -> bool {
        match self {
            Self::Data(data) => recorded.data.as_ref().is_some_and(|recorded| same_json(data, recorded)),
            Self::Reference { uri, digest, size_bytes } => {
                (Some(uri), digest, size_bytes) == (recorded.uri.as_ref(), &recorded.digest, &recorded.size_bytes)
            }
        }
    }
}

/// Equal as canonical JSON. The API server writes the number 1.0 as 1, so numbers are compared by value.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

impl ReportedProgress {
    fn trimmed(self) -> Self {
        Self {
            completed: self.completed.map(|completed| completed.max(0)),
            total: self.total.map(|total| total.max(0)),
            unit: self.unit.map(|unit| crate::api::cut(&unit, LONGEST_UNIT).to_owned()),
            message: self.message.map(|message| crate::api::cut(&message, LONGEST_TEXT).to_owned()),
        }
    }
}

impl ReportedError {
    fn trimmed(self) -> Self {
        Self { code: self.code.map(|code| crate::api::cut(&code, LONGEST_CODE).to_owned()), ..self }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_field_is_the_last_one_reported() {
        let report = Report::read(
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
            let report = Report::read(&format!(
                "{{\"error\":{{\"code\":\"X\"}}}}\n{{\"resumeAfter\":\"10m\"}}\n{{\"done\":true}}\n{moved_on}"
            ));
            assert_eq!((report.error, report.resume_after, report.done), (None, None, false), "{moved_on}");
        }
        assert!(Report::read("{\"checkpoint\":{\"n\":1},\"done\":true}").done, "one line says both");
    }

    #[test]
    fn torn_lines_are_skipped() {
        let report = Report::read("{\"checkpoint\":{\"n\":1}}\n{\"checkpoint\":{\"n\":2}");
        assert_eq!(report.checkpoint, Some(ReportedCheckpoint::Data(json!({ "n": 1 }))));
        assert_eq!(report.text, "");
        let front_torn = format!("\":{{}}}}\n{{\"done\":true,\"x\":\"{}\"}}", "y".repeat(KUBELET_LIMIT));
        assert_eq!(Report::read(&front_torn), Report { done: true, ..Report::default() });
    }

    #[test]
    fn text_is_kept_as_the_message() {
        let report = Report::read("panic: no such table\nat line 3\n{\"done\":false}\n");
        assert_eq!(report.text, "panic: no such table\nat line 3");
    }

    #[test]
    fn words_of_the_runtime_before_a_report_do_not_hide_it() {
        assert!(Report::read("failed to x: {\"done\":true}").done);
    }

    #[test]
    fn an_unusable_field_is_named_and_the_others_are_taken() {
        let report = Report::read("{\"progress\":\"a lot\",\"checkpoint\":[1],\"done\":true}");
        assert!(report.done && report.checkpoint.is_none() && report.progress.is_none());
        assert_eq!(report.problems.len(), 2, "{:?}", report.problems);
        let report = Report::read("{\"progress\":[7],\"error\":[\"X\"]}");
        assert!(report.progress.is_none() && report.error.is_none() && report.problems.len() == 2, "{report:?}");
    }

    #[test]
    fn too_large_a_checkpoint_is_refused_with_the_way_out() {
        let report = Report::read(&json!({ "checkpoint": { "data": "x".repeat(LARGEST_VALUE) } }).to_string());
        assert_eq!(report.checkpoint, None);
        assert!(report.problems[0].contains("report its uri"), "{:?}", report.problems);
    }

    #[test]
    fn a_checkpoint_with_a_uri_is_a_reference() {
        let report = Report::read("{\"checkpoint\":{\"uri\":\"s3://b/k\",\"sizeBytes\":7}}");
        let reference = ReportedCheckpoint::Reference { uri: "s3://b/k".into(), digest: None, size_bytes: Some(7) };
        assert_eq!(report.checkpoint, Some(reference));
        let data = Report::read("{\"checkpoint\":{\"uri\":\"s3://b/k\",\"offset\":7}}");
        assert!(matches!(data.checkpoint, Some(ReportedCheckpoint::Data(_))), "an object of the program's own");
    }

    #[test]
    fn a_delay_is_a_duration_or_a_time_and_never_longer_than_allowed() {
        let now: Timestamp = "2026-11-24T10:00:00Z".parse().expect("a timestamp");
        let longest = GoDuration::from_hours(1);
        for (written, end) in [
            ("\"10m\"", "2026-11-24T10:10:00Z"),
            ("\"2026-11-24T10:20:00Z\"", "2026-11-24T10:20:00Z"),
            ("\"5h\"", "2026-11-24T11:00:00Z"),
            ("\"2026-11-24T09:00:00Z\"", "2026-11-24T10:00:00Z"),
        ] {
            let delay: Delay = serde_json::from_str(written).expect(written);
            assert_eq!(delay.end(now, longest).to_string(), end, "{written}");
        }
    }

    #[test]
    fn checkpoints_are_compared_as_canonical_json() {
        assert!(same_json(&json!({ "a": 1.0, "b": [1] }), &json!({ "b": [1], "a": 1 })));
        assert!(!same_json(&json!({ "a": 9_007_199_254_740_993_i64 }), &json!({ "a": 9_007_199_254_740_992_i64 })));
        assert!(!same_json(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })));
        assert!(same_json(&json!([1.0, [2]]), &json!([1, [2.0]])), "within lists");
        assert!(!same_json(&json!([1]), &json!([1, 2])) && !same_json(&json!([1, 2]), &json!([1])), "one is longer");
        assert!(!same_json(&json!([1, 2]), &json!([2, 1])), "lists have an order");
        assert!(!same_json(&json!({ "a": 1 }), &json!({ "b": 1 })) && !same_json(&json!("a"), &json!("b")));
    }

    #[test]
    fn a_checkpoint_is_the_same_only_when_all_of_it_is() {
        let recorded = |checkpoint: Value| -> Checkpoint {
            let mut fields = json!({ "sequence": 1, "attempt": 1, "segment": 1, "recordedAt": "2026-11-24T10:00:00Z" });
            fields.as_object_mut().expect("fields").extend(checkpoint.as_object().expect("fields").clone());
            serde_json::from_value(fields).expect("a checkpoint")
        };
        let reported = |value: Value| ReportedCheckpoint::of(value);
        let reference = json!({ "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 7 });
        assert!(reported(reference.clone()).equals(&recorded(reference.clone())));
        for (field, other) in [("uri", json!("s3://b/l")), ("digest", json!("sha256:2")), ("sizeBytes", json!(8))] {
            let mut changed = reference.clone();
            changed[field] = other;
            assert!(!reported(changed).equals(&recorded(reference.clone())), "{field}");
        }
        let data = recorded(json!({ "data": { "n": 1 } }));
        assert!(reported(json!({ "n": 1 })).equals(&data));
        assert!(!reported(json!({ "n": 2 })).equals(&data) && !reported(reference).equals(&data));
    }

    #[test]
    fn a_value_of_exactly_the_limit_is_taken() {
        let of_size = |size: usize| json!({ "data": "x".repeat(size - json!({ "data": "" }).to_string().len()) });
        assert_eq!(of_size(LARGEST_VALUE).to_string().len(), LARGEST_VALUE);
        assert!(usable("result", &of_size(LARGEST_VALUE)).is_ok());
        assert!(usable("result", &of_size(LARGEST_VALUE + 1)).is_err());
    }

    #[test]
    fn a_code_is_cut_and_the_rest_of_the_error_is_kept() {
        let code = "C".repeat(LONGEST_CODE + 1);
        let report = Report::read(&json!({ "error": { "code": code, "message": "m", "permanent": true } }).to_string());
        let error = report.error.expect("an error");
        assert_eq!(error.code.as_deref(), Some(&code[1..]));
        assert!(error.permanent && error.message.as_deref() == Some("m"));
    }
}
