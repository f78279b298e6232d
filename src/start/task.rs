//! The task to create.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::PodTemplateSpec, apimachinery::pkg::apis::meta::v1::OwnerReference};
use kube::core::{ApiResource, DynamicObject};
use serde_json::{Map, Value, json};

use super::{
    definition,
    input::{self, Unfit},
    name,
};
use crate::{
    api::{labels, task::LongTask, template::LongTaskTemplate},
    contract::input::Input,
};

/// What a task is started with, beside its template.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Invocation {
    /// The name of the task.
    pub name: String,
    /// Its namespace, which is the template's.
    pub namespace: String,
    /// What it is to work on.
    pub input: Option<Input>,
    /// What it is a part of, if it is a part of something.
    pub owner: Option<OwnerReference>,
    /// More labels.
    pub labels: BTreeMap<String, String>,
    /// More annotations.
    pub annotations: BTreeMap<String, String>,
    /// How urgent it is in its queue.
    pub priority: i32,
    /// The moment after which nothing of it runs.
    pub deadline: Option<Timestamp>,
}

/// A task that only names its template: the operator fills it in. It carries the digest of the request, by which a repeat
/// is known.
pub fn thin(template: &str, invocation: Invocation) -> DynamicObject {
    let digest = name::request_digest(template, invocation.input.as_ref());
    let mut task = object(template, invocation);
    task.metadata.annotations.get_or_insert_default().insert(labels::INPUT_DIGEST.to_owned(), digest);
    task
}

/// A task that is complete from the start: for who makes many of one template, and knows which edition each of them has.
///
/// # Errors
/// When the input does not fit the template.
pub fn task(template: &LongTaskTemplate, invocation: Invocation) -> Result<DynamicObject, Unfit> {
    let pod = pod_template(template).and_then(|pod| pod.spec);
    input::check(invocation.input.as_ref(), template.spec.input_schema.as_ref(), pod.as_ref())?;
    let name = template.metadata.name.clone().unwrap_or_default();
    Ok(definition::fill_in(&object(&name, invocation), template, None))
}

/// The pod of a template; none where it has none, or one that this program cannot read.
pub fn pod_template(template: &LongTaskTemplate) -> Option<PodTemplateSpec> {
    serde_json::from_value(template.spec.definition.get("template")?.clone()).ok()
}

fn object(template: &str, invocation: Invocation) -> DynamicObject {
    let Invocation { name, namespace, input, owner, labels, annotations, priority, deadline } = invocation;
    let mut spec = Map::from_iter([("templateRef".to_owned(), json!({ "name": template }))]);
    if let Some(input) = input {
        spec.insert("input".to_owned(), Value::Object(input));
    }
    if priority != 0 {
        spec.insert("priority".to_owned(), json!(priority));
    }
    if let Some(deadline) = deadline {
        spec.insert("limits".to_owned(), json!({ "deadline": deadline }));
    }
    let mut task = DynamicObject::new(&name, &ApiResource::erase::<LongTask>(&())).within(&namespace);
    task.metadata.owner_references = owner.map(|owner| vec![owner]);
    task.metadata.labels = (!labels.is_empty()).then_some(labels);
    task.metadata.annotations = (!annotations.is_empty()).then_some(annotations);
    task.data = json!({ "spec": spec });
    task
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invocation(input: &Value) -> Invocation {
        Invocation {
            name: "x-1".into(),
            namespace: "n".into(),
            input: input.as_object().cloned(),
            labels: BTreeMap::from([("longtask.dev/started-by".into(), "kubectl".into())]),
            ..Invocation::default()
        }
    }

    fn template() -> LongTaskTemplate {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate",
            "metadata": { "name": "x", "generation": 2 },
            "spec": {
                "inputSchema": { "required": ["file"] },
                "template": { "spec": { "containers": [{ "name": "main", "args": ["$(LONGTASK_INPUT_file)"] }] } },
            },
        }))
        .expect("a template")
    }

    #[test]
    fn a_thin_task_names_its_template_and_nothing_of_the_definition() {
        let task = thin("x", invocation(&json!({ "file": "a" })));
        assert_eq!(task.data, json!({ "spec": { "templateRef": { "name": "x" }, "input": { "file": "a" } } }));
        assert_eq!((task.metadata.name.as_deref(), task.metadata.namespace.as_deref()), (Some("x-1"), Some("n")));
        let annotations = task.metadata.annotations.expect("annotations");
        assert!(annotations["longtask.dev/input-digest"].starts_with("sha256:"));
        assert_eq!(thin("x", invocation(&Value::Null)).data, json!({ "spec": { "templateRef": { "name": "x" } } }));
    }

    #[test]
    fn a_whole_task_is_checked_and_has_a_copy_of_the_template() {
        let made = task(&template(), invocation(&json!({ "file": "a" }))).expect("it fits");
        assert_eq!(made.data["spec"]["template"]["spec"]["containers"][0]["name"], "main");
        assert_eq!(made.metadata.annotations.expect("annotations")["longtask.dev/template-generation"], "2");
        let unfit = task(&template(), invocation(&json!({}))).expect_err("no file");
        assert!(unfit.to_string().contains("/file: is required"), "{unfit}");
    }
}
