//! The verb `convert`: the Jobs of a file as tasks.

use std::{fs, io, path::Path};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    args::{ConvertArgs, Format},
    error::Error,
    job::{self, Converted},
    manifests::written,
};

/// What the verb takes.
const TAKES: &str =
    "convert takes batch/v1 Jobs and CronJobs, as YAML or JSON, in several documents or in a List if you like";
/// What has texts for values or items. There an API server reads null as an empty one.
const OF_TEXTS: [&str; 5] = ["labels", "annotations", "nodeSelector", "command", "args"];

/// The Jobs of a file as tasks, and what is to be told beside that.
pub(super) fn convert(args: &ConvertArgs) -> Result<(String, Vec<String>), Error> {
    let file = args.filename.display().to_string();
    let yaml = read(&args.filename).map_err(|source| Error::Read { file: file.clone(), source })?;
    converted(&yaml, args.output).map_err(|error| {
        if let Error::Manifest(problem) = error { Error::Manifest(format!("{file}: {problem}")) } else { error }
    })
}

/// The text of a file; `-` is standard input.
fn read(file: &Path) -> io::Result<String> {
    if file == Path::new("-") { io::read_to_string(io::stdin()) } else { fs::read_to_string(file) }
}

fn converted(yaml: &str, format: Format) -> Result<(String, Vec<String>), Error> {
    let (mut manifests, mut notes, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for object in documents(yaml)?.into_iter().flat_map(objects) {
        let what = described(&object);
        let Some(Converted { task, notes: told }) = task_of(object, &what)? else {
            left_out.push(what);
            continue;
        };
        let text = written(&task, format)?;
        match format {
            // Where the reader of the manifest sees it.
            Format::Yaml => {
                // A name with a line break in it is none, but must not end a comment.
                let notes = told.iter().map(|note| note.replace('\n', " "));
                let comments: String = notes.flat_map(|note| ["# ".to_owned(), note, "\n".to_owned()]).collect();
                manifests.push(comments + &text);
            }
            Format::Json => {
                notes.extend(told.iter().map(|note| format!("{what}: {note}")));
                manifests.push(text);
            }
        }
    }
    if manifests.is_empty() {
        let found = if left_out.is_empty() { "nothing".to_owned() } else { left_out.join(", ") };
        return Err(Error::Manifest(format!("there is {found} in it; {TAKES}")));
    }
    notes.extend(
        left_out.iter().map(|what| format!("left out {what}: only Jobs and CronJobs of batch/v1 are converted")),
    );
    let between = match format {
        Format::Yaml => "---\n",
        Format::Json => "",
    };
    Ok((manifests.join(between), notes))
}

/// The documents of a file, read as kubectl reads them.
fn documents(yaml: &str) -> Result<Vec<Value>, Error> {
    let as_kubectl = serde_saphyr::options! {
        // `defaultMode: 0755` is that of chmod.
        legacy_octal_numbers: true,
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
    };
    serde_saphyr::from_multiple_with_options(yaml, as_kubectl)
        .map_err(|error| Error::Manifest(format!("not YAML: {error}\n{TAKES}")))
}

/// The object of a document, or those of the list that it is.
fn objects(mut document: Value) -> Vec<Value> {
    let Some(of_items) = document["kind"].as_str().and_then(|kind| kind.strip_suffix("List")).map(str::to_owned) else {
        return vec![document];
    };
    let version = document["apiVersion"].take();
    let Value::Array(items) = document["items"].take() else { return Vec::new() };
    let complete = |mut item: Value| {
        // A list of one kind need not name it in each item.
        if let Value::Object(fields) = &mut item
            && !of_items.is_empty()
        {
            fields.entry("kind").or_insert_with(|| of_items.clone().into());
            fields.entry("apiVersion").or_insert_with(|| version.clone());
        }
        item
    };
    items.into_iter().map(complete).flat_map(objects).collect()
}

/// What an object is and what it is called, for messages.
fn described(object: &Value) -> String {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    if !object.is_object() {
        return "something that is no object of Kubernetes".to_owned();
    }
    let Some(kind) = text(&object["kind"]) else { return "an object without a kind".to_owned() };
    let version = text(&object["apiVersion"]).unwrap_or_else(|| "without apiVersion".to_owned());
    let metadata = &object["metadata"];
    let name = text(&metadata["name"]).or_else(|| text(&metadata["generateName"]));
    [Some(kind), name, Some(format!("({version})"))].into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// The task of an object; none if it is neither a Job nor a CronJob.
fn task_of(mut object: Value, what: &str) -> Result<Option<Converted>, Error> {
    if object["apiVersion"] != "batch/v1" {
        return Ok(None);
    }
    let is_job = object["kind"] == "Job";
    let pod = match object["kind"].as_str() {
        Some("Job") => "/spec/template/spec",
        Some("CronJob") => "/spec/jobTemplate/spec/template/spec",
        _ => return Ok(None),
    };
    if object.pointer(pod).is_none_or(|pod| pod["containers"].as_array().is_none_or(Vec::is_empty)) {
        let field = pod.trim_start_matches('/').replace('/', ".");
        return Err(Error::Manifest(format!("{what}: {field}.containers: missing; a task needs a container")));
    }
    fill_in_texts(&mut object);
    Ok(Some(if is_job { job::convert(typed(object, what)?)? } else { job::convert_scheduled(typed(object, what)?)? }))
}

fn fill_in_texts(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                if OF_TEXTS.contains(&key.as_str()) {
                    nulls(value).for_each(|null| *null = "".into());
                } else {
                    fill_in_texts(value);
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(fill_in_texts),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn nulls(value: &mut Value) -> impl Iterator<Item = &mut Value> {
    let (fields, items) = match value {
        Value::Object(fields) => (Some(fields.values_mut()), None),
        Value::Array(items) => (None, Some(items.iter_mut())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (None, None),
    };
    fields.into_iter().flatten().chain(items.into_iter().flatten()).filter(|value| value.is_null())
}

fn typed<T: DeserializeOwned>(object: Value, what: &str) -> Result<T, Error> {
    serde_path_to_error::deserialize(object)
        .map_err(|error| Error::Manifest(format!("{what}: {}: {}", error.path(), error.inner())))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::api::{crd, task::LongTask};

    /// What people have.
    const JOBS: &str = include_str!("../../tests/jobs.yaml");
    const JOB: &str = "{apiVersion: batch/v1, kind: Job, metadata: {name: j}, spec: {template: {spec: {containers: [{name: main}]}}}}";

    fn tasks(yaml: &str) -> (Vec<Value>, Vec<String>) {
        let (text, notes) = converted(yaml, Format::Yaml).expect("tasks");
        (serde_saphyr::from_multiple(&text).expect("YAML"), notes)
    }

    fn refusal(yaml: &str) -> String {
        converted(yaml, Format::Yaml).expect_err("refused").to_string()
    }

    /// What the definition's schema has against a value, its rules in CEL aside.
    fn faults(path: &str, value: &Value, schema: &Value) -> Vec<String> {
        let mut found = Vec::new();
        let mut fault = |is_one: bool, what: &str| {
            if is_one {
                found.push(format!("{path}: {what}: {value}"));
            }
        };
        let bound = |key: &str| schema[key].as_u64().and_then(|bound| usize::try_from(bound).ok());
        let number = |key: &str| schema[key].as_f64();
        let kind = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        let is_either = schema["x-kubernetes-int-or-string"] == true && ["integer", "string"].contains(&kind);
        fault(!is_either && schema["type"].is_string() && schema["type"] != kind, "type");
        fault(schema["enum"].as_array().is_some_and(|values| !values.contains(value)), "enum");
        if let Some(given) = value.as_f64() {
            fault(number("minimum").is_some_and(|least| given < least), "minimum");
            fault(number("maximum").is_some_and(|most| given > most), "maximum");
        }
        if let Some(text) = value.as_str() {
            fault(bound("maxLength").is_some_and(|most| text.chars().count() > most), "maxLength");
            fault(bound("minLength").is_some_and(|least| text.chars().count() < least), "minLength");
        }
        if let Some(items) = value.as_array() {
            fault(bound("maxItems").is_some_and(|most| items.len() > most), "maxItems");
            fault(bound("minItems").is_some_and(|least| items.len() < least), "minItems");
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            let key_of = |item: &Value| match keys {
                Some(keys) => keys.iter().filter_map(|key| item.get(key.as_str()?)).cloned().collect(),
                None => vec![item.clone()],
            };
            let is_unique = keys.is_some() || schema["x-kubernetes-list-type"] == "set";
            let twice = |(at, item): (usize, &Value)| items[..at].iter().any(|other| key_of(other) == key_of(item));
            fault(is_unique && items.iter().enumerate().any(twice), "items of one key");
            found.extend(items.iter().flat_map(|item| faults(&format!("{path}[]"), item, &schema["items"])));
        } else if let Some(fields) = value.as_object() {
            fault(bound("maxProperties").is_some_and(|most| fields.len() > most), "maxProperties");
            for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
                fault(!fields.contains_key(required), required);
            }
            for (key, field) in fields {
                let of_field = schema["properties"].get(key).unwrap_or(&schema["additionalProperties"]);
                found.extend(faults(&format!("{path}.{key}"), field, of_field));
            }
        }
        found
    }

    #[test]
    fn every_job_becomes_a_task_as_the_definition_has_it() {
        let definition = json!(crd::definition().expect("the definition"));
        let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
        let (tasks, notes) = tasks(JOBS);
        assert_eq!((tasks.len(), notes), (JOBS.matches("\n---\n").count() + 1, Vec::new()));
        for task in tasks {
            let name = task["metadata"]["name"].as_str().expect("a name").to_owned();
            assert!(name.len() <= 52, "{name}");
            assert_eq!(faults(&name, &task, schema), [""; 0]);
            // The grammar of durations.
            serde_json::from_value::<LongTask>(task).expect("a task");
        }
    }

    #[test]
    fn a_manifest_is_read_as_kubectl_reads_it() {
        let (tasks, _) = tasks(
            "
apiVersion: batch/v1
kind: Job
metadata: {name: j, labels: {a: }}
spec:
  suspend: no
  suspend: yes
  template:
    metadata: {annotations: {b: ~}}
    spec:
      nodeSelector: {c: null}
      containers: [{name: main, args: [\"0755\", null, \"yes\"], resources: {limits: {cpu: 0.5}}}]
      volumes: [{name: v, configMap: {name: v, defaultMode: 0755}}]
",
        );
        let [task] = tasks.as_slice() else { panic!("{tasks:?}") };
        assert_eq!((&task["metadata"]["labels"], &task["spec"]["suspend"]), (&json!({ "a": "" }), &json!(true)));
        let template = &task["spec"]["template"];
        assert_eq!(template["metadata"]["annotations"], json!({ "b": "" }));
        assert_eq!(template["spec"]["nodeSelector"], json!({ "c": "" }));
        assert_eq!(template["spec"]["containers"][0]["args"], json!(["0755", "", "yes"]));
        assert_eq!(template["spec"]["containers"][0]["resources"]["limits"]["cpu"], json!("0.5"));
        assert_eq!(template["spec"]["volumes"][0]["configMap"]["defaultMode"], json!(0o755));
    }

    #[test]
    fn the_jobs_of_several_documents_and_of_lists_are_converted_and_the_rest_is_named() {
        let yaml = format!(
            "{JOB}
---
{{apiVersion: v1, kind: ConfigMap, metadata: {{name: settings}}}}
---
# nothing
---
{{apiVersion: v1, kind: List, items: [{JOB}, {{apiVersion: v1, kind: Secret, metadata: {{name: keys}}}}]}}
---
{{apiVersion: batch/v1, kind: JobList, items: [{{metadata: {{name: bare}}, spec: {{template: {{spec: {{containers: [{{name: main}}]}}}}}}}}]}}
"
        );
        let (text, notes) = converted(&yaml, Format::Yaml).expect("tasks");
        assert_eq!(text.matches("\n---\n").count(), 2, "{text}");
        let names: Vec<_> = tasks(&yaml).0.iter().map(|task| task["metadata"]["name"].clone()).collect();
        assert_eq!(names, ["j", "j", "bare"]);
        assert_eq!(
            notes,
            [
                "left out ConfigMap settings (v1): only Jobs and CronJobs of batch/v1 are converted",
                "left out Secret keys (v1): only Jobs and CronJobs of batch/v1 are converted",
            ]
        );
    }

    #[test]
    fn a_file_without_a_job_says_what_it_has_and_what_would_do() {
        for (yaml, found) in [
            ("", "there is nothing in it"),
            ("---\n# a comment\n---\n", "there is nothing in it"),
            ("hello", "there is something that is no object of Kubernetes in it"),
            ("[1, 2]", "there is something that is no object of Kubernetes in it"),
            ("{a: b}", "there is an object without a kind in it"),
            ("{kind: Job, metadata: {name: j}}", "there is Job j (without apiVersion) in it"),
            (
                "{apiVersion: batch/v1beta1, kind: CronJob, metadata: {name: nightly}}",
                "there is CronJob nightly (batch/v1beta1) in it",
            ),
            ("{apiVersion: v1, kind: List, items: []}", "there is nothing in it"),
            (
                "{apiVersion: apps/v1, kind: Deployment, metadata: {name: web}}\n---\n{apiVersion: v1, kind: Pod}",
                "there is Deployment web (apps/v1), Pod (v1) in it",
            ),
        ] {
            assert_eq!(refusal(yaml), format!("{found}; {TAKES}"), "{yaml}");
        }
        assert!(refusal("{").starts_with("not YAML: "), "{}", refusal("{"));
    }

    #[test]
    fn a_job_that_is_none_says_where() {
        assert_eq!(
            refusal("{apiVersion: batch/v1, kind: CronJob, metadata: {name: nightly}}"),
            "CronJob nightly (batch/v1): spec.jobTemplate.spec.template.spec.containers: missing; a task needs a container"
        );
        let wrong = JOB.replace("{template", "{backoffLimit: many, template");
        assert!(refusal(&wrong).starts_with("Job j (batch/v1): spec.backoffLimit: "), "{}", refusal(&wrong));
    }

    #[test]
    fn notes_on_json_say_of_which_job_they_are() {
        let (_, notes) = converted(JOB, Format::Json).expect("a task");
        assert!(notes[0].starts_with("Job j (batch/v1): spec.segment.duration: "), "{notes:?}");
    }
}
