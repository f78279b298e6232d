//! What a program may put into a checkpoint or a result: JSON of its own, as long as it is small.

use serde_json::{Map, Number, Value};

use super::fields::{Fields, integer, note, object, text};
use crate::agent::SaveName;

/// The most bytes that a checkpoint may have as JSON: several are kept in the task's status.
pub const LARGEST_CHECKPOINT: usize = 1024;
/// The most bytes that a result may have as JSON. With the rest of its line it fits into the 4096 bytes that the kubelet
/// keeps of a container's message.
const LARGEST_RESULT: usize = 3072;
/// The most bytes that a result may have in a pod of many containers.
const LARGEST_RESULT_OF_MANY: usize = 1024;
/// The most bytes that a result may have that an agent takes: the largest part of a task's status.
pub const LARGEST_LIVE_RESULT: usize = 16 * 1024;
/// Up to so many containers get all of their 4096 bytes: the kubelet divides 12 KiB by the number of containers.
const FEW_CONTAINERS: usize = 3;

/// How a report comes. That decides how much a result may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// As the termination message of a container.
    TerminationMessage {
        /// How many containers its pod has, those of all sorts: they share the room that the kubelet has for messages.
        containers: usize,
    },
    /// Through the agent in the pod.
    Agent,
}

const REFERENCE: [&str; 3] = ["uri", "digest", "sizeBytes"];
const SAVE: [&str; 4] = ["path", "uri", "digest", "sizeBytes"];

/// A checkpoint: a small object, or a reference to data stored elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportedCheckpoint {
    /// The checkpoint itself.
    Data(Value),
    /// Where it is stored.
    Reference {
        /// The path by which the program reported it, if an agent has stored it for the program.
        path: Option<String>,
        /// Where.
        uri: String,
        /// The digest of what is stored.
        digest: Option<String>,
        /// Its size.
        size_bytes: Option<i64>,
    },
}

impl ReportedCheckpoint {
    /// A reference is an object that has nothing of the program's own. An object with a path is one only if it leads to what
    /// an agent has stored: else the path is the program's own, too.
    pub(super) fn of(fields: Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let uri = fields.get("uri").and_then(Value::as_str).map(ToOwned::to_owned);
        let path = fields.get("path").and_then(Value::as_str).map(ToOwned::to_owned);
        let has_only = |keys: &[&str]| fields.keys().all(|key| keys.contains(&key.as_str()));
        let is_reference =
            |uri: &String| has_only(&REFERENCE) || has_only(&SAVE) && path.is_some() && SaveName::is_in(uri);
        match uri.filter(is_reference) {
            Some(uri) => {
                let mut fields = Fields::of("checkpoint", fields, &REFERENCE, problems);
                let digest = fields.take("digest", text);
                Self::Reference { path, uri, digest, size_bytes: fields.take("sizeBytes", integer) }
            }
            None => Self::Data(Value::Object(fields)),
        }
    }

    /// The path, if the object has nothing else: with a store, that is what the agent stores.
    pub fn unsaved_path(&self) -> Option<&str> {
        match self {
            Self::Data(Value::Object(fields)) if fields.len() == 1 => fields.get("path").and_then(Value::as_str),
            Self::Data(_) | Self::Reference { .. } => None,
        }
    }
}

/// The most bytes that a result may have as JSON, and why.
fn largest_result(via: Via) -> (usize, String) {
    match via {
        Via::Agent => (LARGEST_LIVE_RESULT, "since the task's status keeps it".into()),
        Via::TerminationMessage { containers } if containers <= FEW_CONTAINERS => {
            (LARGEST_RESULT, "since the kubelet keeps 4096 bytes of a report".into())
        }
        Via::TerminationMessage { containers } => (
            LARGEST_RESULT_OF_MANY,
            format!(
                "since the {containers} containers of the pod share 12 KiB for their messages; with up to \
                 {FEW_CONTAINERS} it is {LARGEST_RESULT}"
            ),
        ),
    }
}

/// The object of a checkpoint.
pub(super) fn checkpoint(value: Value) -> Result<Map<String, Value>, String> {
    let size = value.to_string().len();
    let fields = object(value, "{\"offset\": 1200}")?;
    if size > LARGEST_CHECKPOINT {
        return Err(format!(
            "has {size} bytes, the limit is {LARGEST_CHECKPOINT}: store it elsewhere and report its uri and digest"
        ));
    }
    Ok(fields)
}

/// The object of a result that comes that way.
pub(super) fn result(value: Value, via: Via) -> Result<Map<String, Value>, String> {
    let size = value.to_string().len();
    let fields = object(value, "{\"rows\": 5000}")?;
    let (largest, why) = largest_result(via);
    if size > largest {
        return Err(format!("has {size} bytes, the limit is {largest} ({why}): store it elsewhere and report where"));
    }
    Ok(fields)
}

/// Names the integers of an object that the API server rounds. They are rounded here already where they have more than
/// 64 bits, so the line tells which numbers were written as integers.
pub(super) fn name_rounded(path: &str, fields: &Map<String, Value>, line: &str, problems: &mut Vec<String>) {
    let long = long_integers(line);
    if !long.is_empty() {
        name_those(&long, path, fields, problems);
    }
}

fn name_those(long: &[Number], path: &str, fields: &Map<String, Value>, problems: &mut Vec<String>) {
    for (key, value) in fields {
        name_in(long, &format!("{path}.{key}"), value, problems);
    }
}

fn name_in(long: &[Number], path: &str, value: &Value, problems: &mut Vec<String>) {
    match value {
        Value::Number(number) if long.contains(number) => {
            note(problems, format!("{path} has an integer beyond 64 bits, which gets rounded: write it as a string"));
        }
        Value::Array(values) => values.iter().for_each(|value| name_in(long, path, value, problems)),
        Value::Object(fields) => name_those(long, path, fields, problems),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The integers in a line of JSON that do not fit into 64 bits with a sign, as they are read.
fn long_integers(line: &str) -> Vec<Number> {
    let (mut outside, mut is_string, mut is_escaped) = (String::new(), false, false);
    for c in line.chars() {
        if !is_string {
            outside.push(c);
        }
        is_string ^= c == '"' && !is_escaped;
        is_escaped = is_string && c == '\\' && !is_escaped;
    }
    let numbers = outside.split(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-' | '.'));
    let integers = numbers.filter(|number| number.trim_start_matches('-').bytes().all(|byte| byte.is_ascii_digit()));
    integers
        .filter(|integer| integer.parse::<i64>().is_err())
        .filter_map(|integer| serde_json::from_str(integer).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_of_exactly_the_limit_is_taken() {
        let of_size = |size: usize| json!({ "data": "x".repeat(size - json!({ "data": "" }).to_string().len()) });
        assert_eq!(of_size(LARGEST_CHECKPOINT).to_string().len(), LARGEST_CHECKPOINT);
        assert!(checkpoint(of_size(LARGEST_CHECKPOINT)).is_ok());
        assert!(checkpoint(of_size(LARGEST_CHECKPOINT + 1)).is_err());
        for (containers, largest) in [(1, 3072), (3, 3072), (4, 1024), (20, 1024)] {
            let via = Via::TerminationMessage { containers };
            assert!(result(of_size(largest), via).is_ok());
            assert!(result(of_size(largest + 1), via).is_err());
        }
    }

    #[test]
    fn too_large_a_result_is_told_which_limit_holds_and_why() {
        let refused = |containers| {
            let result = result(json!({ "data": "x".repeat(4000) }), Via::TerminationMessage { containers });
            result.expect_err("it is too large")
        };
        let few = refused(1);
        assert!(few.contains("the limit is 3072 (since the kubelet keeps 4096 bytes"), "{few}");
        let many = refused(5);
        assert!(many.contains("the limit is 1024 (since the 5 containers of the pod share 12 KiB"), "{many}");
    }

    #[test]
    fn a_checkpoint_with_a_uri_is_a_reference() {
        let of = |value: Value| {
            let mut problems = Vec::new();
            let checkpoint = ReportedCheckpoint::of(value.as_object().expect("fields").clone(), &mut problems);
            (checkpoint, problems)
        };
        let reference =
            ReportedCheckpoint::Reference { path: None, uri: "s3://b/k".into(), digest: None, size_bytes: Some(7) };
        for digest in [json!({}), json!({ "digest": null })] {
            let mut written = json!({ "uri": "s3://b/k", "sizeBytes": 7.0 });
            written.as_object_mut().expect("fields").extend(digest.as_object().expect("fields").clone());
            assert_eq!(of(written), (reference.clone(), vec![]));
        }
        for own in [
            json!({ "uri": "s3://b/k", "offset": 7 }),
            json!({ "uri": "s3://b/k", "path": "step-900" }),
            json!({ "uri": null }),
            json!({ "digest": "d" }),
            json!({}),
        ] {
            assert_eq!(of(own.clone()), (ReportedCheckpoint::Data(own), vec![]), "an object of the program's own");
        }
        let uri = "s3://b/ml/train/uid/3-1a2b3c4d/7/manifest.json";
        let (stored, problems) = of(json!({ "path": "step-900", "uri": uri, "digest": "sha256:00", "sizeBytes": 7 }));
        let (path, digest) = (Some("step-900".into()), Some("sha256:00".into()));
        assert_eq!(stored, ReportedCheckpoint::Reference { path, uri: uri.into(), digest, size_bytes: Some(7) });
        assert_eq!(problems, [""; 0]);
    }

    #[test]
    fn what_has_nothing_but_a_path_is_to_be_saved() {
        let path_of = |value: Value| ReportedCheckpoint::Data(value).unsaved_path().map(ToOwned::to_owned);
        assert_eq!(path_of(json!({ "path": "step-900" })).as_deref(), Some("step-900"));
        for own in [json!({ "path": "step-900", "n": 1 }), json!({ "path": 900 }), json!({ "n": 1 }), json!({})] {
            assert_eq!(path_of(own), None);
        }
    }

    fn rounded(line: &str) -> Vec<String> {
        let mut problems = Vec::new();
        let fields: Map<String, Value> = serde_json::from_str(line).expect("JSON");
        name_rounded("checkpoint", &fields, line, &mut problems);
        problems.iter().map(|problem| problem.split(' ').next().expect("a path").to_owned()).collect()
    }

    #[test]
    fn integers_beyond_64_bits_are_named_by_their_place() {
        for long in ["9223372036854775808", "18446744073709551615", "-9223372036854775809", "1000000000000000000000000"]
        {
            assert_eq!(
                rounded(&format!("{{\"a\":{{\"b\":[1,{long},{long}]}},\"c\":{long}}}")),
                ["checkpoint.a.b", "checkpoint.c"]
            );
        }
    }

    #[test]
    fn what_is_kept_as_it_is_written_is_not_named() {
        for exact in [
            "9223372036854775807",
            "-9223372036854775808",
            "9007199254740993",
            "1e24",
            "9223372036854775808.0",
            "-0",
            "\"9223372036854775808\"",
            "\"\\\"9223372036854775808\"",
            "\"\\\\\"",
        ] {
            assert_eq!(rounded(&format!("{{\"a\":{exact},\"9223372036854775809\":1}}")), [""; 0], "{exact}");
        }
    }

    #[test]
    fn a_text_with_the_digits_of_a_number_does_not_make_it_an_integer() {
        let digits = format!("1{}", "0".repeat(24));
        for text in [digits.clone(), format!("\\\"{digits}"), format!("\\\\\",\"c\":\"{digits}")] {
            assert_eq!(rounded(&format!("{{\"a\":1e24,\"b\":\"{text}\"}}")), [""; 0], "{text}");
        }
    }
}
