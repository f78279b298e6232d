//! An input is read, and checked: its size, the template's schema, and what the template refers to.
//!
//! No message has a value of the input in it: messages go to logs, and inputs do not.

use std::{collections::BTreeSet, fmt};

use jsonschema::{Draft, PatternOptions, ValidationError, Validator, error::ValidationErrorKind};
use k8s_openapi::api::core::v1::{Container, PodSpec};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value, json};

use crate::{
    contract::{
        env,
        input::{self, Input, LARGEST, LONGEST_VALUE, MOST_VARIABLES},
    },
    types::{counted, truncate},
};

/// How deep an input may be nested.
pub const DEEPEST: usize = 32;
/// The largest schema, as compact JSON, in bytes.
pub const LARGEST_SCHEMA: usize = 16 * 1024;

/// The only dialect of schemas.
const DIALECT: &str = "https://json-schema.org/draft/2020-12/schema";
/// What a schema may not have: it would be another document's, or never end.
const REFERENCES: [&str; 2] = ["$ref", "$dynamicRef"];
/// The most memory that a pattern of a schema may take, in bytes.
const LARGEST_PATTERN: usize = 1 << 20;
/// How many problems of an input a message tells.
const MOST_PROBLEMS: usize = 5;
/// The longest message, in bytes.
const LONGEST_MESSAGE: usize = 512;

/// What is wrong with an input. It says where, by JSON pointers such as `/file`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidInput(String);

/// What is wrong with a template's `inputSchema`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidSchema(String);

/// Why a template and an input do not go together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is the input's fault.
    #[error(transparent)]
    Input(#[from] InvalidInput),
    /// It is the template's fault.
    #[error("spec.inputSchema of the LongTaskTemplate: {0}")]
    Schema(#[from] InvalidSchema),
}

/// Reads an input from JSON text. What is no object becomes `{"value": …}`.
///
/// # Errors
/// When the text is not UTF-8 or not JSON, is nested deeper than [`DEEPEST`], or has a name twice in an object.
pub fn parse(text: &[u8]) -> Result<Input, InvalidInput> {
    let text = std::str::from_utf8(text).map_err(|error| InvalidInput(format!("the input is not UTF-8: {error}")))?;
    let Unambiguous(value) = serde_json::from_str(text).map_err(|error| {
        // Its own words may quote the text.
        let place = format!("line {}, column {}", error.line(), error.column());
        InvalidInput(match error.classify() {
            serde_json::error::Category::Data => format!("{error}"),
            _ => format!("the input is not JSON: see {place}"),
        })
    })?;
    let input = match value {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    };
    check_depth(&input)?;
    Ok(input)
}

/// Whether an input can be given to a template: its size, the template's `schema`, and what `pod`, the template's, refers to.
///
/// # Errors
/// What is wrong, and whose fault it is. A schema that cannot be checked against is told even where there is no input.
pub fn check(input: Option<&Input>, schema: Option<&Value>, pod: Option<&PodSpec>) -> Result<(), Unfit> {
    let validator = schema.map(validator).transpose()?;
    if let Some(input) = input {
        check_size(input)?;
    }
    if let Some(validator) = validator {
        // Where there is none, an empty one would be as good.
        check_schema(&validator, input.cloned().unwrap_or_default())?;
    }
    Ok(check_references(input, pod)?)
}

/// Checks many inputs against one template.
#[derive(Debug)]
pub struct Checker {
    validator: Option<Validator>,
    pod: Option<PodSpec>,
}

impl Checker {
    /// What checks inputs for a template, of which these are the `schema` and the `pod`.
    ///
    /// # Errors
    /// When the schema cannot be checked against.
    pub fn new(schema: Option<&Value>, pod: Option<PodSpec>) -> Result<Self, InvalidSchema> {
        Ok(Self { validator: schema.map(validator).transpose()?, pod })
    }

    /// Whether an input can be given to the template, as [`check`] tells it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self, input: Option<&Input>) -> Result<(), InvalidInput> {
        if let Some(input) = input {
            check_size(input)?;
        }
        if let Some(validator) = &self.validator {
            check_schema(validator, input.cloned().unwrap_or_default())?;
        }
        check_references(input, self.pod.as_ref())
    }
}

/// Whether a run can begin with an input: its size, and what `pod`, the task's own by now, refers to.
///
/// # Errors
/// What is wrong with it.
pub fn check_run(input: Option<&Input>, pod: Option<&PodSpec>) -> Result<(), InvalidInput> {
    if let Some(input) = input {
        check_size(input)?;
    }
    check_references(input, pod)
}

/// Whether a schema is one that inputs can be checked against.
///
/// # Errors
/// What is wrong with it.
pub fn check_is_schema(schema: &Value) -> Result<(), InvalidSchema> {
    validator(schema).map(|_| ())
}

fn check_size(input: &Input) -> Result<(), InvalidInput> {
    check_depth(input)?;
    let size = input::compact(input).len();
    if size > LARGEST {
        let problem =
            format!("the input has {size} bytes as compact JSON; {LARGEST} are allowed: refer to what is larger");
        return Err(InvalidInput(problem));
    }
    Ok(())
}

fn check_depth(input: &Input) -> Result<(), InvalidInput> {
    fn is_too_deep(value: &Value, left: usize) -> bool {
        match value {
            Value::Object(fields) => left == 0 || fields.values().any(|value| is_too_deep(value, left - 1)),
            Value::Array(items) => left == 0 || items.iter().any(|value| is_too_deep(value, left - 1)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        }
    }
    if input.values().any(|value| is_too_deep(value, DEEPEST - 1)) {
        return Err(InvalidInput(format!("the input is nested deeper than {DEEPEST} levels")));
    }
    Ok(())
}

fn validator(schema: &Value) -> Result<Validator, InvalidSchema> {
    let size = schema.to_string().len();
    if size > LARGEST_SCHEMA {
        return Err(InvalidSchema(format!("it has {size} bytes as compact JSON; {LARGEST_SCHEMA} are allowed")));
    }
    if let Some(path) = reference(schema, "") {
        return Err(InvalidSchema(format!("{path} is not allowed: write the schema out")));
    }
    if schema.get("$schema").is_some_and(|dialect| dialect.as_str() != Some(DIALECT)) {
        return Err(InvalidSchema(format!("$schema is not {DIALECT}")));
    }
    let patterns = PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN);
    let options = jsonschema::options().with_draft(Draft::Draft202012).with_pattern_options(patterns).offline();
    options.build(schema).map_err(|error| {
        let place = error.instance_path().to_string();
        InvalidSchema(
            truncate(&format!("{}: {error}", if place.is_empty() { "/" } else { &place }), LONGEST_MESSAGE).to_owned(),
        )
    })
}

/// The path of the first reference in a schema.
fn reference(schema: &Value, path: &str) -> Option<String> {
    match schema {
        Value::Object(fields) => fields.iter().find_map(|(key, inner)| {
            let path = format!("{path}/{}", escaped(key));
            if REFERENCES.contains(&key.as_str()) { Some(path) } else { reference(inner, &path) }
        }),
        Value::Array(items) => {
            items.iter().enumerate().find_map(|(at, inner)| reference(inner, &format!("{path}/{at}")))
        }
        _ => None,
    }
}

fn check_schema(validator: &Validator, input: Input) -> Result<(), InvalidInput> {
    let input = Value::Object(input);
    told(validator.iter_errors(&input).map(|error| in_words(&error)))
}

/// Some problems in one message; none is none.
fn told(problems: impl Iterator<Item = String>) -> Result<(), InvalidInput> {
    let mut seen = BTreeSet::new();
    let all: Vec<_> = problems.filter(|problem| seen.insert(problem.clone())).collect();
    if all.is_empty() {
        return Ok(());
    }
    let rest = all.len().saturating_sub(MOST_PROBLEMS);
    let more = if rest == 0 {
        String::new()
    } else {
        format!("; and {} more", counted(i64::try_from(rest).unwrap_or(i64::MAX), "problem"))
    };
    let shown = all.into_iter().take(MOST_PROBLEMS).collect::<Vec<_>>().join("; ");
    Err(InvalidInput(format!("{}{more}", truncate(&shown, LONGEST_MESSAGE))))
}

/// What a value does not fulfil, without the value.
fn in_words(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().to_string();
    let below = |name: &str| format!("{place}/{}", escaped(name));
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            format!("{}: is required", below(property.as_str().unwrap_or_default()))
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().map(|name| format!("{}: is not allowed", below(name))).collect::<Vec<_>>().join("; ")
        }
        _ => format!("{}: {}", if place.is_empty() { "/" } else { &place }, error.masked_with("the value")),
    }
}

/// A key as a part of a JSON pointer.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// Whether each variable of the input that a pod refers to exists: the kubelet would leave the reference as it stands.
fn check_references(input: Option<&Input>, pod: Option<&PodSpec>) -> Result<(), InvalidInput> {
    let Some(pod) = pod else { return Ok(()) };
    let containers = pod.init_containers.iter().flatten().chain(&pod.containers);
    let referred: Vec<_> =
        containers.flat_map(|container| references_of(container).map(|name| (container.name.as_str(), name))).collect();
    if referred.is_empty() {
        return Ok(());
    }
    let given: BTreeSet<_> = input.map(input::variables).into_iter().flatten().map(|(name, _)| name).collect();
    let is_missing = |name: &str| if name == env::INPUT { input.is_none() } else { !given.contains(name) };
    told(referred.into_iter().filter(|(_, name)| is_missing(name)).map(|(container, name)| {
        let Some(key) = name.strip_prefix(env::INPUT_PREFIX) else {
            return format!("an input is required: container {container} refers to $({name})");
        };
        let place = escaped(key);
        if input.is_some_and(|input| input.contains_key(key)) {
            format!(
                "/{place}: container {container} refers to $({name}), which only a text, number or boolean of up to \
                 {LONGEST_VALUE} bytes has, and of those the first {MOST_VARIABLES} by name"
            )
        } else {
            format!("/{place}: is required: container {container} refers to $({name})")
        }
    }))
}

/// The variables of the input that a container refers to and does not set itself.
fn references_of(container: &Container) -> impl Iterator<Item = &str> {
    let variables = container.env.iter().flatten();
    let own: BTreeSet<_> = variables.clone().map(|variable| variable.name.as_str()).collect();
    let texts = container.command.iter().chain(&container.args).flatten();
    let texts = texts.chain(variables.filter_map(|variable| variable.value.as_ref()));
    texts
        .flat_map(|text| references(text))
        .filter(|name| *name == env::INPUT || name.starts_with(env::INPUT_PREFIX))
        .filter(move |name| !own.contains(name))
}

/// The names in `$(NAME)`, as the kubelet finds them: `$$` is a `$` that begins nothing.
fn references(text: &str) -> Vec<&str> {
    let (mut found, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find('$') {
        rest = &rest[at + 1..];
        if let Some(behind) = rest.strip_prefix('$') {
            rest = behind;
        } else if let Some((name, behind)) = rest.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            found.push(name);
            rest = behind;
        }
    }
    found
}

/// JSON without a name that stands twice in one object: which of the two counts would be anybody's guess.
struct Unambiguous(Value);

impl<'de> Deserialize<'de> for Unambiguous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UnambiguousVisitor).map(Self)
    }
}

struct UnambiguousVisitor;

impl<'de> Visitor<'de> for UnambiguousVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom("the input has a number that JSON does not"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(json!(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Unambiguous(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let Unambiguous(value) = fields.next_value()?;
            if all.contains_key(&name) {
                return Err(de::Error::custom(format!("the input has the name {name:?} twice in one object")));
            }
            all.insert(name, value);
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(value: &Value) -> Input {
        value.as_object().expect("an object").clone()
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
    fn pod(container: Value) -> PodSpec {
        let mut all = json!({ "name": "main" });
        all.as_object_mut().expect("fields").extend(container.as_object().expect("fields").clone());
        serde_json::from_value(json!({ "containers": [all] })).expect("a pod")
    }

    fn unfit(value: &Value, schema: &Value) -> String {
        check(Some(&input(value)), Some(schema), None).expect_err("unfit").to_string()
    }

    #[test]
    fn json_that_is_no_object_becomes_the_value() {
        assert_eq!(
            parse(b"{\"a\": [1, null, 2.5, true, \"x\"]}"),
            Ok(input(&json!({ "a": [1, null, 2.5, true, "x"] })))
        );
        assert_eq!(parse(b"[1]"), Ok(input(&json!({ "value": [1] }))));
        assert_eq!(parse(b"\"x\""), Ok(input(&json!({ "value": "x" }))));
    }

    #[test]
    fn text_that_says_too_little_or_too_much_is_refused_without_being_quoted() {
        for (text, words) in [
            (&b"{\"secret\": "[..], "the input is not JSON: see line 1"),
            (b"\"\xff\"", "the input is not UTF-8"),
            (b"{\"a\": 1, \"b\": {\"c\": 1, \"c\": 2}}", "the input has the name \"c\" twice in one object"),
            (b"secret", "the input is not JSON"),
        ] {
            let said = parse(text).expect_err("refused").to_string();
            assert!(said.starts_with(words) && !said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn an_input_is_nested_32_levels_deep_at_most() {
        let nested = |levels: usize| format!("{{\"a\": {}1{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(parse(nested(32).as_bytes()).is_ok());
        assert_eq!(
            parse(nested(33).as_bytes()).expect_err("too deep").to_string(),
            "the input is nested deeper than 32 levels"
        );
    }

    #[test]
    fn an_input_has_16_kib_at_most() {
        let of_size = |size: usize| input(&json!({ "a": "x".repeat(size - r#"{"a":""}"#.len()) }));
        assert_eq!(check_run(Some(&of_size(16384)), None), Ok(()));
        let said = check_run(Some(&of_size(16385)), None).expect_err("too large").to_string();
        assert!(said.starts_with("the input has 16385 bytes as compact JSON; 16384 are allowed"), "{said}");
    }

    #[test]
    fn what_the_schema_asks_for_is_named_with_its_place_and_without_the_value() {
        let schema = json!({
            "type": "object", "required": ["file", "a/b"], "additionalProperties": false,
            "properties": { "file": { "type": "string", "pattern": "^[a-z]+$" }, "n": { "maximum": 3 }, "a/b": {} },
        });
        let ok = json!({ "file": "abc", "a/b": 1 });
        assert_eq!(check(Some(&input(&ok)), Some(&schema), None), Ok(()));
        assert_eq!(unfit(&json!({ "file": "abc" }), &schema), "/a~1b: is required");
        let said = unfit(&json!({ "file": "SECRET", "a/b": 1, "n": 12345, "extra": 1 }), &schema);
        assert!(
            said.contains("/extra: is not allowed") && said.contains("/file: the value") && said.contains("/n: "),
            "{said}"
        );
        assert!(!said.contains("SECRET") && !said.contains("12345"), "{said}");
        let said = check(None, Some(&schema), None).expect_err("none").to_string();
        assert!(said.contains("/file: is required"), "{said}");
    }

    #[test]
    fn many_problems_are_told_in_a_short_message() {
        let names: Vec<_> = (0..20).map(|number| format!("k{number:02}")).collect();
        let said = unfit(&json!({}), &json!({ "required": names }));
        assert!(
            said.starts_with("/k00: is required; /k01: is required") && said.ends_with("; and 15 problems more"),
            "{said}"
        );
    }

    #[test]
    fn a_schema_is_one_that_can_be_checked_without_asking_anybody() {
        for (schema, words) in [
            (
                json!({ "properties": { "a": { "$ref": "https://example.com/a" } } }),
                "/properties/a/$ref is not allowed",
            ),
            (json!({ "items": [{ "$dynamicRef": "#a" }] }), "/items/0/$dynamicRef is not allowed"),
            (json!({ "type": "text" }), "/type: "),
            (json!({ "properties": { "a": { "pattern": "(" } } }), "/properties/a/pattern: "),
            (json!({ "pattern": "(?=a)" }), "/pattern: "),
            (
                json!({ "$schema": "http://json-schema.org/draft-07/schema#" }),
                "$schema is not https://json-schema.org/draft/2020-12/schema",
            ),
            (json!({ "title": "x".repeat(16 * 1024) }), "it has 16396 bytes"),
        ] {
            let said = check_is_schema(&schema).expect_err("no schema").to_string();
            assert!(said.starts_with(words), "{said}");
            assert!(matches!(check(None, Some(&schema), None), Err(Unfit::Schema(_))));
        }
        assert_eq!(check_is_schema(&json!({ "$schema": DIALECT, "type": "object" })), Ok(()));
    }

    #[test]
    fn a_pattern_takes_no_time_that_grows_with_the_square_of_the_text() {
        let schema = json!({ "properties": { "a": { "pattern": "^(a+)+$" } } });
        let text = format!("{}!", "a".repeat(10_000));
        assert!(unfit(&json!({ "a": text }), &schema).starts_with("/a: "));
    }

    #[test]
    fn references_are_found_as_the_kubelet_finds_them() {
        for (text, names) in [
            ("$(A) and $(B)", &["A", "B"][..]),
            ("$$(A) $$$(B)", &["B"]),
            ("$(A $x $", &[]),
            ("${A} $A", &[]),
            ("", &[]),
        ] {
            assert_eq!(references(text), names, "{text}");
        }
    }

    #[test]
    fn each_reference_to_a_key_needs_the_key() {
        let file = json!({ "args": ["--file=$(LONGTASK_INPUT_file)"] });
        assert_eq!(check_run(Some(&input(&json!({ "file": "a" }))), Some(&pod(file.clone()))), Ok(()));
        let missing = |value: &Value, container: Value| {
            check_run(value.as_object(), Some(&pod(container))).expect_err("missing").to_string()
        };
        let said = "/file: is required: container main refers to $(LONGTASK_INPUT_file)";
        assert_eq!(missing(&json!({ "other": 1 }), file.clone()), said);
        assert_eq!(
            missing(&Value::Null, json!({ "command": ["$(LONGTASK_INPUT_file)", "$(LONGTASK_INPUT_file)"] })),
            said
        );
        let said = missing(&json!({ "file": "x".repeat(257) }), file);
        assert!(
            said.starts_with("/file: container main refers to $(LONGTASK_INPUT_file), which only a text"),
            "{said}"
        );
        let whole = json!({ "env": [{ "name": "ALL", "value": "$(LONGTASK_INPUT)" }] });
        assert!(missing(&Value::Null, whole).starts_with("an input is required: container main"));
    }

    #[test]
    fn what_a_container_sets_itself_and_what_is_no_reference_need_no_key() {
        for container in [
            json!({ "args": ["$(LONGTASK_INPUT_file)"], "env": [{ "name": "LONGTASK_INPUT_file", "value": "mine" }] }),
            json!({ "args": ["$(LONGTASK_INPUT_file)"], "env": [{ "name": "LONGTASK_INPUT_file", "valueFrom": { "fieldRef": { "fieldPath": "metadata.name" } } }] }),
            json!({ "args": ["$$(LONGTASK_INPUT_file)", "$(LONGTASK_NAME)", "$(LONGTASK_INPUTS)"] }),
            json!({}),
        ] {
            assert_eq!(check_run(None, Some(&pod(container.clone()))), Ok(()), "{container}");
        }
    }
}
