//! A task as a user wrote it: YAML, perhaps among other objects.

use kube::ResourceExt;
use serde_json::Value;

use crate::api::{GROUP, crd, task::LongTask};

/// A manifest without a task that could be tried.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Not YAML.
    #[error("the manifest is not YAML: {0}")]
    NotYaml(#[source] Box<serde_saphyr::Error>),
    /// There is no task, or more than one.
    #[error("the manifest has {0} objects of kind LongTask: give it exactly one")]
    NotOneTask(usize),
    /// A field has a value that it cannot have.
    #[error("{path}: {problem}")]
    WrongValue {
        /// Where.
        path: String,
        /// Why.
        problem: serde_json::Error,
    },
    /// A field that does not exist; the API server would drop it.
    #[error("{path}: no such field; there are {known}")]
    NoSuchField {
        /// Where.
        path: String,
        /// The fields that exist there.
        known: String,
    },
    /// The definition is elsewhere.
    #[error(
        "spec.template: missing; the operator would copy it from the LongTaskTemplate of spec.templateRef: write what is to be \
         tried into the manifest"
    )]
    NoTemplate,
    /// The pods' names begin with the task's.
    #[error("metadata.name: missing; give the task a name")]
    NoName,
    /// What to compare the manifest with.
    #[error(transparent)]
    NoSchema(#[from] crd::CannotPrint),
}

/// The one task in a manifest; what else there is in it is left alone.
///
/// # Errors
/// When there is no such task, or one that cannot be read; the message names the field.
pub fn read_task(yaml: &str) -> Result<LongTask, ManifestError> {
    // As kubectl reads it: `defaultMode: 0755` is that of chmod.
    let as_kubectl = serde_saphyr::options! { legacy_octal_numbers: true };
    let documents: Vec<Value> = serde_saphyr::from_multiple_with_options(yaml, as_kubectl)
        .map_err(|error| ManifestError::NotYaml(Box::new(error)))?;
    let tasks: Vec<_> = documents.into_iter().filter(is_task).collect();
    let [written] = tasks.as_slice() else { return Err(ManifestError::NotOneTask(tasks.len())) };
    refuse_unknown_fields(written)?;
    let task: LongTask = serde_path_to_error::deserialize(written).map_err(|error| {
        let is_whole = error.path().iter().next().is_none();
        let path = if is_whole { "the task".to_owned() } else { error.path().to_string() };
        ManifestError::WrongValue { path, problem: error.into_inner() }
    })?;
    if task.name_any().is_empty() {
        Err(ManifestError::NoName)
    } else if task.spec.template.is_none() {
        Err(ManifestError::NoTemplate)
    } else {
        Ok(task)
    }
}

fn is_task(document: &Value) -> bool {
    let group = document["apiVersion"].as_str().and_then(|version| version.split('/').next());
    document["kind"] == "LongTask" && group == Some(GROUP)
}

/// A name with a typo would otherwise be read as if it were not there.
fn refuse_unknown_fields(task: &Value) -> Result<(), ManifestError> {
    let definition = crd::definition()?;
    let schemas = definition.spec.versions.into_iter().filter_map(|version| version.schema?.open_api_v3_schema);
    for schema in schemas {
        let schema = serde_json::to_value(schema).map_err(crd::CannotPrint::Schema)?;
        if let Some(error) = unknown_field(&task["spec"], &schema["properties"]["spec"], "spec") {
            return Err(error);
        }
    }
    Ok(())
}

fn unknown_field(value: &Value, schema: &Value, path: &str) -> Option<ManifestError> {
    match value {
        Value::Object(fields) => fields.iter().find_map(|(name, inner)| {
            let path = format!("{path}.{name}");
            match schema["properties"].as_object() {
                None => unknown_field(inner, &schema["additionalProperties"], &path),
                Some(known) => match known.get(name) {
                    Some(schema) => unknown_field(inner, schema, &path),
                    None => Some(ManifestError::NoSuchField { path, known: listed(known) }),
                },
            }
        }),
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(at, item)| unknown_field(item, &schema["items"], &format!("{path}[{at}]")))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn listed(fields: &serde_json::Map<String, Value>) -> String {
    fields.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: &str = "\
apiVersion: longtask.dev/v1alpha1
kind: LongTask
metadata: {name: t}
spec:
  template:
    spec:
      containers: [{name: main, image: i, resources: {limits: {memory: 1Gi}}}]
";

    fn refused(change: &str) -> String {
        read_task(&format!("{TASK}{change}")).expect_err("wrong").to_string()
    }

    #[test]
    fn the_defaults_are_filled_in() {
        let task = read_task(TASK).expect("a task");
        assert_eq!((task.spec.retry.budgets.failures, task.spec.segment.duration.as_secs()), (6, 3600));
    }

    #[test]
    fn the_task_is_found_among_other_objects() {
        let claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c}\n---\n";
        assert_eq!(read_task(&format!("# first\n{claim}{TASK}")).expect("a task").name_any(), "t");
        let two = read_task(&format!("{TASK}---\n{TASK}")).expect_err("two tasks").to_string();
        assert_eq!(two, "the manifest has 2 objects of kind LongTask: give it exactly one");
        assert!(read_task(claim).expect_err("none").to_string().contains("has 0 objects"));
    }

    #[test]
    fn the_mode_of_a_file_is_read_as_kubectl_reads_it() {
        let volumes = "volumes: [{name: v, configMap: {name: v, defaultMode: 0755}}]\n      containers:";
        let task = read_task(&TASK.replace("containers:", volumes)).expect("a task");
        let pod = serde_json::to_value(task.spec.pod()).expect("JSON");
        assert_eq!(pod["volumes"][0]["configMap"]["defaultMode"], 0o755);
    }

    #[test]
    fn a_wrong_value_is_named_with_its_field() {
        for (change, expected) in [
            ("  retry: {backoff: {initial: 3d}}", "spec.retry.backoff.initial: \"3d\" is not a duration: write whole"),
            ("  retry: {budgets: {failures: many}}", "spec.retry.budgets.failures: invalid type: string \"many\""),
            (
                "  failurePolicy: {rules: [{name: r, action: Again}]}",
                "spec.failurePolicy.rules[0].action: unknown variant",
            ),
            ("  failurePolicy: {rules: [{name: r}]}", "spec.failurePolicy.rules[0]: missing field `action`"),
            ("  segment: {duration: 5}", "spec.segment.duration: invalid type: integer `5`"),
        ] {
            let message = refused(change);
            assert!(message.starts_with(expected), "{change}: {message}");
        }
    }

    #[test]
    fn a_field_that_does_not_exist_is_named_with_those_that_do() {
        assert_eq!(
            refused("  retry: {budget: {failures: 1}}"),
            "spec.retry.budget: no such field; there are backoff, budgets, maxRetryAfter, resetOnProgress"
        );
        let message = refused("  failurePolicy: {rules: [{name: r, action: Retry, onErrorCode: [X]}]}");
        assert!(message.starts_with("spec.failurePolicy.rules[0].onErrorCode: no such field"), "{message}");
        let nested = TASK.replace("image: i", "imagee: i");
        let message = read_task(&nested).expect_err("a typo").to_string();
        assert!(message.starts_with("spec.template.spec.containers[0].imagee: no such field"), "{message}");
    }

    #[test]
    fn what_is_no_yaml_or_has_no_name_is_said() {
        assert!(read_task("{").expect_err("no YAML").to_string().starts_with("the manifest is not YAML: "));
        let nameless = TASK.replace("metadata: {name: t}", "metadata: {}");
        assert_eq!(
            read_task(&nameless).expect_err("no name").to_string(),
            "metadata.name: missing; give the task a name"
        );
        let thin = format!("{}spec: {{templateRef: {{name: x}}}}", TASK.split("spec:").next().unwrap_or_default());
        assert!(read_task(&thin).expect_err("thin").to_string().starts_with("spec.template: missing; "));
        let unspecified = TASK.split("spec:").next().unwrap_or_default();
        assert_eq!(read_task(unspecified).expect_err("no spec").to_string(), "the task: missing field `spec`");
    }
}
