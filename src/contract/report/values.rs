//! What a program may put into a checkpoint or a result: JSON of its own, as long as it is small.

use serde_json::{Map, Number, Value};

use super::fields::{Fields, integer, note, object, text};

/// The most bytes that a checkpoint or a result may have as JSON: they are kept in the task's status.
pub const LARGEST_VALUE: usize = 1024;

const REFERENCE: [&str; 3] = ["uri", "digest", "sizeBytes"];

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

impl ReportedCheckpoint {
    /// A reference is an object that has nothing of the program's own.
    pub(super) fn of(fields: Map<String, Value>, problems: &mut Vec<String>) -> Self {
        let uri = fields.get("uri").and_then(Value::as_str).map(ToOwned::to_owned);
        match uri.filter(|_| fields.keys().all(|key| REFERENCE.contains(&key.as_str()))) {
            Some(uri) => {
                let mut fields = Fields::of("checkpoint", fields, &REFERENCE, problems);
                let digest = fields.take("digest", text);
                Self::Reference { uri, digest, size_bytes: fields.take("sizeBytes", integer) }
            }
            None => Self::Data(Value::Object(fields)),
        }
    }
}

/// An object that is not too large for the status.
pub(super) fn small_object(value: Value, example: &str) -> Result<Map<String, Value>, String> {
    let size = value.to_string().len();
    let fields = object(value, example)?;
    if size > LARGEST_VALUE {
        return Err(format!(
            "has {size} bytes, the limit is {LARGEST_VALUE}: store it elsewhere and report its uri and digest"
        ));
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
        assert_eq!(of_size(LARGEST_VALUE).to_string().len(), LARGEST_VALUE);
        assert!(small_object(of_size(LARGEST_VALUE), "").is_ok());
        assert!(small_object(of_size(LARGEST_VALUE + 1), "").is_err());
    }

    #[test]
    fn a_checkpoint_with_a_uri_is_a_reference() {
        let of = |value: Value| {
            let mut problems = Vec::new();
            let checkpoint = ReportedCheckpoint::of(value.as_object().expect("fields").clone(), &mut problems);
            (checkpoint, problems)
        };
        let reference = ReportedCheckpoint::Reference { uri: "s3://b/k".into(), digest: None, size_bytes: Some(7) };
        for digest in [json!({}), json!({ "digest": null })] {
            let mut written = json!({ "uri": "s3://b/k", "sizeBytes": 7.0 });
            written.as_object_mut().expect("fields").extend(digest.as_object().expect("fields").clone());
            assert_eq!(of(written), (reference.clone(), vec![]));
        }
        for own in
            [json!({ "uri": "s3://b/k", "offset": 7 }), json!({ "uri": null }), json!({ "digest": "d" }), json!({})]
        {
            assert_eq!(of(own.clone()), (ReportedCheckpoint::Data(own), vec![]), "an object of the program's own");
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
}
