//! A task's input: a JSON object, which every container of its pods gets as environment.

use serde_json::{Map, Value};

use crate::env;

/// What a task is given to work on: a JSON object.
pub type Input = Map<String, Value>;

/// The largest input, as [`compact`] JSON, in bytes.
pub const LARGEST: usize = 16 * 1024;
/// How many keys have a variable of their own at most: the first by name.
pub const MOST_VARIABLES: usize = 16;
/// The longest value that has a variable of its own, in bytes.
pub const LONGEST_VALUE: usize = 256;
/// The longest key that has a variable of its own, in bytes.
pub const LONGEST_KEY: usize = 63;

/// The input as JSON without white space, its keys sorted by their bytes, on every level.
pub fn compact(input: &Input) -> String {
    sorted(&Value::Object(input.clone())).to_string()
}

/// The same value with the keys of its objects sorted, whichever map `serde_json` is built with.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(key, _)| *key);
            Value::Object(fields.into_iter().map(|(key, value)| (key.clone(), sorted(value))).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        plain => plain.clone(),
    }
}

/// The names and values of the variables that keys of the input have of their own, at most [`MOST_VARIABLES`].
///
/// A key has one if [`has_form`] allows it, its value [`is_plain`], and it is among the first such keys by name. A text is
/// given as it is, a number and a boolean as in JSON.
pub fn variables(input: &Input) -> Vec<(String, String)> {
    let mut keys: Vec<_> = input.iter().filter(|(key, value)| has_form(key) && is_plain(value)).collect();
    keys.sort_unstable_by_key(|(key, _)| *key);
    keys.truncate(MOST_VARIABLES);
    keys.into_iter().map(|(key, value)| (format!("{}{key}", env::INPUT_PREFIX), as_text(value))).collect()
}

/// Whether a key can be part of a variable's name: letters, digits and underscores, up to [`LONGEST_KEY`], no digit first.
pub fn has_form(key: &str) -> bool {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
    key.len() <= LONGEST_KEY
        && key.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
        && key.chars().all(is_allowed)
}

/// Whether a value can stand in a variable of its own: a text, number or boolean of at most [`LONGEST_VALUE`].
pub fn is_plain(value: &Value) -> bool {
    match value {
        Value::String(text) => text.len() <= LONGEST_VALUE,
        Value::Bool(_) => true,
        Value::Number(number) => number.to_string().len() <= LONGEST_VALUE,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

fn as_text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn input(value: &Value) -> Input {
        value.as_object().expect("an object").clone()
    }

    fn given(value: &Value) -> Vec<String> {
        variables(&input(value)).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn the_whole_is_compact_and_sorted_on_every_level() {
        let unsorted: Value = serde_json::from_str(r#"{"b": [{"z": 1, "a": null}], "a": "x y"}"#).expect("JSON");
        assert_eq!(compact(&input(&unsorted)), r#"{"a":"x y","b":[{"a":null,"z":1}]}"#);
        assert_eq!(compact(&Input::new()), "{}");
    }

    #[test]
    fn texts_are_given_as_they_are_and_the_rest_as_json() {
        let all = json!({ "file": "a \"b\" $(c)", "n": 1.5, "on": true, "list": [1], "none": null, "in": {} });
        assert_eq!(given(&all), ["LONGTASK_INPUT_file=a \"b\" $(c)", "LONGTASK_INPUT_n=1.5", "LONGTASK_INPUT_on=true"]);
    }

    #[test]
    fn a_key_that_is_no_name_of_a_variable_has_none() {
        for key in ["a-b", "1a", "", "a.b", "ä", &"k".repeat(64)] {
            assert_eq!(given(&json!({ key: 1 })), [""; 0], "{key}");
        }
        for key in ["a", "_", "A_1", &"k".repeat(63)] {
            assert_eq!(given(&json!({ key: 1 })), [format!("LONGTASK_INPUT_{key}=1")], "{key}");
        }
    }

    #[test]
    fn a_long_value_has_no_variable_and_leaves_its_place_to_the_next_key() {
        assert_eq!(given(&json!({ "a": "x".repeat(256) })).len(), 1);
        assert_eq!(given(&json!({ "a": "ä".repeat(129) })), [""; 0], "bytes count");
        let mut many: Input = (10..30).map(|number| (format!("k{number}"), json!(number))).collect();
        many.insert("k10".into(), json!("x".repeat(257)));
        let names: Vec<_> = variables(&many).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), MOST_VARIABLES);
        assert_eq!((names[0].as_str(), names[15].as_str()), ("LONGTASK_INPUT_k11", "LONGTASK_INPUT_k26"));
    }
}
