//! The fields of a report, taken one by one: a bad one is named and loses no other.

use serde_json::{Map, Number, Value};

use super::delay::Delay;
use crate::types::GoDuration;

/// An object of the contract, and where what is wrong with it is told.
pub(super) struct Fields<'a> {
    /// Its place in the line; empty for the line itself.
    path: &'static str,
    values: Map<String, Value>,
    pub(super) problems: &'a mut Vec<String>,
}

impl<'a> Fields<'a> {
    /// Names the keys that are not quite those of the contract.
    pub(super) fn of(
        path: &'static str,
        values: Map<String, Value>,
        keys: &[&str],
        problems: &'a mut Vec<String>,
    ) -> Self {
        let fields = Self { path, values, problems };
        for key in fields.values.keys().filter(|key| !keys.contains(&key.as_str())) {
            if let Some(right) = keys.iter().find(|right| letters(right) == letters(key)) {
                note(fields.problems, format!("{} is no key of the contract: write {right}", fields.path_of(key)));
            }
        }
        fields
    }

    /// Whether the field is there. Null is as absent.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.get(key).is_some_and(|value| !value.is_null())
    }

    /// Takes a field out; one that cannot be used is named.
    pub(super) fn take<T>(&mut self, key: &str, read: impl FnOnce(Value) -> Result<T, String>) -> Option<T> {
        let value = self.values.remove(key).filter(|value| !value.is_null())?;
        match read(value) {
            Ok(taken) => Some(taken),
            Err(problem) => {
                let problem = format!("{} {problem}", self.path_of(key));
                note(self.problems, problem);
                None
            }
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

/// Names a problem, once.
pub(super) fn note(problems: &mut Vec<String>, problem: String) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}

fn letters(key: &str) -> String {
    key.chars().filter(|c| !matches!(c, '_' | '-')).flat_map(char::to_lowercase).collect()
}

/// An object, such as the example.
pub(super) fn object(value: Value, example: &str) -> Result<Map<String, Value>, String> {
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(format!("is not a JSON object: write {example}")),
    }
}

/// A text. Codes are often numbers where they come from.
pub(super) fn text(value: Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text),
        Value::Number(_) | Value::Bool(_) => Ok(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => Err(format!("is {}: write a string", kind(&value))),
    }
}

/// A whole number: 3.0 is one.
pub(super) fn integer(value: Value) -> Result<i64, String> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().filter(|float| float.fract() == 0.0).and_then(whole))
            .ok_or_else(|| "is no whole number of at most 64 bits: write one, such as 1200".to_owned()),
        Value::String(text) if text.trim().parse::<i64>().is_ok() => Err("is a string: drop the quotes".into()),
        other => Err(format!("is {}: write a whole number", kind(&other))),
    }
}

/// True or false.
pub(super) fn boolean(value: Value) -> Result<bool, String> {
    match value {
        Value::Bool(is_true) => Ok(is_true),
        other => Err(format!("is {}: write true or false, without quotes", kind(&other))),
    }
}

/// A duration, a time or a number of seconds.
pub(super) fn delay(value: Value) -> Result<Delay, String> {
    let delay = match value {
        Value::Number(number) => seconds(&number),
        Value::String(text) => written_delay(text.trim()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    delay.ok_or_else(|| {
        "is no delay: write a duration (\"30s\"), a time (\"2026-11-25T06:00:00Z\") or seconds (30), not below 0".into()
    })
}

/// A duration, or a number of seconds.
pub(super) fn duration(value: Value) -> Result<GoDuration, String> {
    match delay(value) {
        Ok(Delay::For(duration)) => Ok(duration),
        Ok(Delay::Until(_)) | Err(_) => Err("is no duration: write one (\"2h\") or seconds (7200), not below 0".into()),
    }
}

fn written_delay(text: &str) -> Option<Delay> {
    let duration = text.parse().map(Delay::For).ok();
    let time = || text.parse().map(Delay::Until).ok();
    duration.or_else(time).or_else(|| seconds(&serde_json::from_str(text).ok()?))
}

/// A part of a second counts as a whole one, and more than can be counted as the most.
fn seconds(number: &Number) -> Option<Delay> {
    let exact = number.as_i64();
    let seconds = exact.or_else(|| number.as_f64().map(|float| whole(float.ceil()).unwrap_or(i64::MAX)))?;
    let is_negative = number.as_f64().is_some_and(|float| float < 0.0);
    (!is_negative).then_some(Delay::For(GoDuration::from_secs(seconds)))
}

/// A float without a fraction, if it fits.
fn whole(float: f64) -> Option<i64> {
    format!("{float:.0}").parse().ok()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_delay_is_a_duration_a_time_or_seconds() {
        let seconds = |seconds| Delay::For(GoDuration::from_secs(seconds));
        for (written, taken) in [
            (json!("10m"), seconds(600)),
            (json!("2026-11-24T10:20:00Z"), Delay::Until("2026-11-24T10:20:00Z".parse().expect("a time"))),
            (json!(30), seconds(30)),
            (json!(30.0), seconds(30)),
            (json!(1.5), seconds(2)),
            (json!("30"), seconds(30)),
            (json!("1.5"), seconds(2)),
            (json!(0), seconds(0)),
            (json!(-0.0), seconds(0)),
            (json!(u64::MAX), seconds(i64::MAX)),
            (json!(1e300), seconds(i64::MAX)),
        ] {
            assert_eq!(delay(written.clone()), Ok(taken), "{written}");
        }
        for unusable in [
            json!(-1),
            json!(-0.5),
            json!("-1"),
            json!("soon"),
            json!("inf"),
            json!(""),
            json!(true),
            json!([30]),
            json!({ "seconds": 30 }),
            json!(-1e300),
        ] {
            assert!(delay(unusable.clone()).is_err_and(|problem| problem.contains("\"30s\"")), "{unusable}");
        }
    }

    #[test]
    fn an_integer_is_a_number_without_a_fraction_within_64_bits() {
        for (written, taken) in [
            ("3", 3),
            ("3.0", 3),
            ("-2", -2),
            ("1e3", 1000),
            ("9223372036854775807", i64::MAX),
            ("-9223372036854775808", i64::MIN),
        ] {
            assert_eq!(integer(serde_json::from_str(written).expect("JSON")), Ok(taken), "{written}");
        }
        for (written, says) in [
            ("3.5", "no whole number"),
            ("9223372036854775808", "64 bits"),
            ("9223372036854775808.0", "64 bits"),
            ("1000000000000000000000000", "64 bits"),
            ("-1e300", "64 bits"),
            ("\"3\"", "drop the quotes"),
            ("\"three\"", "write a whole number"),
            ("[3]", "is a list"),
            ("true", "is true or false"),
        ] {
            let problem = integer(serde_json::from_str(written).expect("JSON")).expect_err(written);
            assert!(problem.contains(says), "{written}: {problem}");
        }
    }

    #[test]
    fn a_text_may_be_a_number_and_a_boolean_is_nothing_else() {
        assert_eq!(text(json!("rows")).as_deref(), Ok("rows"));
        assert_eq!((text(json!(429)).as_deref(), text(json!(false)).as_deref()), (Ok("429"), Ok("false")));
        assert!(text(json!(["a"])).is_err() && text(json!({ "a": 1 })).is_err());
        assert_eq!((boolean(json!(true)), boolean(json!(false))), (Ok(true), Ok(false)));
        for other in [json!("true"), json!(1), json!([]), json!({})] {
            assert!(boolean(other.clone()).is_err_and(|problem| problem.contains("true or false")), "{other}");
        }
    }

    #[test]
    fn a_field_is_named_by_its_path_and_once() {
        let mut problems = Vec::new();
        for _ in 0..2 {
            let values = object(json!({ "permanent": "yes", "code": null, "retry_after": 1 }), "").expect("an object");
            let mut fields = Fields::of("error", values, &["code", "permanent", "retryAfter"], &mut problems);
            assert!(fields.has("permanent") && !fields.has("code") && !fields.has("message"));
            assert_eq!((fields.take("permanent", boolean), fields.take("code", text)), (None, None));
        }
        let right = ["error.retry_after is no key of the contract: write retryAfter", "error.permanent is a string"];
        assert!(problems.len() == 2 && problems.iter().zip(right).all(|(a, b)| a.starts_with(b)), "{problems:?}");
    }

    #[test]
    fn keys_are_told_apart_by_their_letters_only() {
        let named = |key: &str| {
            let mut problems = Vec::new();
            Fields::of("", Map::from_iter([(key.to_owned(), json!(1))]), &["resumeAfter", "done"], &mut problems);
            problems.len()
        };
        assert_eq!(["resume_after", "ResumeAfter", "resume-after", "RESUMEAFTER", "Done"].map(named), [1; 5]);
        assert_eq!(["resumeAfter", "done", "resume", "level", "undone"].map(named), [0; 5]);
    }
}
