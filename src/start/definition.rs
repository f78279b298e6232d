//! What a LongTaskTemplate gives a task: its definition, copied as JSON, so that fields which this program does not know come
//! along.

use kube::core::DynamicObject;
use serde_json::{Map, Value, json};

use crate::{
    api::{
        crd::OWN_FIELDS,
        labels,
        task::{LongTaskSpec, TemplateRef},
        template::LongTaskTemplate,
    },
    types::GoDuration,
};

/// The fields of a task's spec that are its definition.
pub const DEFINITION: [&str; 15] = [
    "kueue",
    "queueName",
    "segment",
    "reporting",
    "agent",
    "limits",
    "checkpoint",
    "retry",
    "failurePolicy",
    "ttlAfterFinished",
    "ttlAfterFailed",
    "podHistoryLimit",
    "template",
    "volumeClaimTemplates",
    "persistentVolumeClaimRetentionPolicy",
];

/// The shortest `ttlAfterFinished` of a template whose tasks are started with a key.
const SHORTEST_WINDOW: GoDuration = GoDuration::from_hours(1);

/// A task with the definition of a template in place of its own. What is the task's own stays as it is, and so does what
/// this program does not know and the template does not have.
///
/// `renewed_for` is the restart token for which a task takes the template anew; none for one that takes it for the first
/// time.
pub fn fill_in(task: &DynamicObject, template: &LongTaskTemplate, renewed_for: Option<&str>) -> DynamicObject {
    let mut filled = task.clone();
    let before = task.data["spec"].as_object().cloned().unwrap_or_default();
    filled.data["spec"] = Value::Object(merged(before, template));
    let annotations = filled.metadata.annotations.get_or_insert_default();
    let generation = template.metadata.generation.unwrap_or_default();
    annotations.insert(labels::TEMPLATE_GENERATION.to_owned(), generation.to_string());
    if let Some(token) = renewed_for {
        annotations.insert(labels::RENEWED_FOR.to_owned(), token.to_owned());
    }
    filled
}

/// A spec in which the definition is the template's.
pub(super) fn merged(before: Map<String, Value>, template: &LongTaskTemplate) -> Map<String, Value> {
    let mut spec = template.spec.definition.clone();
    for own in OWN_FIELDS {
        spec.remove(own);
    }
    let deadline = before.get("limits").and_then(|limits| limits.get("deadline")).cloned();
    for (field, value) in before {
        let is_unknown = !DEFINITION.contains(&field.as_str());
        if OWN_FIELDS.contains(&field.as_str()) || (is_unknown && !spec.contains_key(&field)) {
            spec.insert(field, value);
        }
    }
    if let Some(limits) = spec.get_mut("limits").and_then(Value::as_object_mut) {
        limits.remove("deadline");
    }
    if let Some(deadline) = deadline {
        spec.entry("limits").or_insert_with(|| json!({}))["deadline"] = deadline;
    }
    spec
}

/// A field of the definition that a task sets which is to get its definition from a template, such as `segment.duration`.
///
/// A value that is the default counts as not set: the API server fills defaults in.
pub fn set_by_task(spec: &LongTaskSpec) -> Option<String> {
    let unset = json!({ "templateRef": TemplateRef { name: String::new() } });
    // Such a value cannot fail to be read or written; if it did, nothing would be set.
    let unset: LongTaskSpec = serde_json::from_value(unset).ok()?;
    let (given, unset) = (serde_json::to_value(spec).ok()?, serde_json::to_value(unset).ok()?);
    DEFINITION.iter().find_map(|field| difference(field, given.get(field), unset.get(field)))
}

fn difference(path: &str, given: Option<&Value>, unset: Option<&Value>) -> Option<String> {
    if given == unset || path == "limits.deadline" {
        return None;
    }
    match (given, unset) {
        (Some(Value::Object(given)), Some(Value::Object(unset))) => {
            let mut fields = given.keys().chain(unset.keys());
            fields.find_map(|field| difference(&format!("{path}.{field}"), given.get(field), unset.get(field)))
        }
        _ => Some(path.to_owned()),
    }
}

/// Why tasks of a template should not be started with a key, if they should not: the key is known for as long as the task is
/// there.
pub fn unfit_for_keys(template: &LongTaskTemplate) -> Option<String> {
    let ttl = template.spec.definition.get("ttlAfterFinished")?.as_str()?;
    let is_short = ttl.parse::<GoDuration>().is_ok_and(|ttl| ttl < SHORTEST_WINDOW);
    is_short.then(|| {
        format!(
            "spec.ttlAfterFinished of the LongTaskTemplate is {ttl}: a repeat after that would start another task; set it to 1h \
             or more, or leave the key out"
        )
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::api::crd;

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
    fn template(spec: Value) -> LongTaskTemplate {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate",
            "metadata": { "name": "x", "generation": 7 }, "spec": spec,
        }))
        .expect("a template")
    }

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
    fn task(spec: Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": { "name": "t", "resourceVersion": "5", "annotations": { "kept": "yes" } },
            "spec": spec, "status": { "segment": 1 },
        }))
        .expect("a task")
    }

    fn pod(image: &str) -> Value {
        json!({ "spec": { "containers": [{ "name": "main", "image": image, "newer": true }] } })
    }

    #[test]
    fn every_field_of_a_task_is_its_own_or_its_definition() {
        let definition = serde_json::to_value(crd::definition().expect("the definition")).expect("JSON");
        let spec = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"];
        let all: BTreeSet<_> = spec.as_object().expect("fields").keys().map(String::as_str).collect();
        assert_eq!(OWN_FIELDS.into_iter().chain(DEFINITION).collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn a_filled_in_task_has_the_definition_of_the_template_and_what_was_its_own() {
        let own = json!({
            "templateRef": { "name": "x" }, "input": { "a": 1 }, "suspend": true, "cancel": false,
            "restart": { "token": "v1" }, "managedBy": "longtask.dev/operator", "newerOfTheTask": 1,
            "limits": { "deadline": "2026-11-25T06:00:00Z" }, "segment": { "duration": "1h0m0s" },
        });
        let given = json!({
            "template": pod("i:1"), "segment": { "duration": "15m", "newer": [1] }, "limits": { "wallTime": "8h" },
            "newerOfTheTemplate": { "x": 1 }, "inputSchema": { "type": "object" }, "suspend": false,
        });
        let filled = fill_in(&task(own), &template(given), None);
        let expected = json!({
            "templateRef": { "name": "x" }, "input": { "a": 1 }, "suspend": true, "cancel": false,
            "restart": { "token": "v1" }, "managedBy": "longtask.dev/operator", "newerOfTheTask": 1,
            "limits": { "wallTime": "8h", "deadline": "2026-11-25T06:00:00Z" },
            "template": pod("i:1"), "segment": { "duration": "15m", "newer": [1] }, "newerOfTheTemplate": { "x": 1 },
        });
        assert_eq!(filled.data["spec"], expected);
        assert_eq!(filled.metadata.resource_version.as_deref(), Some("5"), "as it was read");
        let annotations = filled.metadata.annotations.expect("annotations");
        assert_eq!(annotations["kept"], "yes");
        assert_eq!(annotations["longtask.dev/template-generation"], "7");
        assert!(!annotations.contains_key("longtask.dev/renewed-for"));
    }

    #[test]
    fn a_renewed_task_loses_what_the_template_does_not_have_any_more() {
        let own = json!({
            "templateRef": { "name": "x" }, "template": pod("i:1"), "ttlAfterFailed": "1h", "newer": 1,
            "limits": { "wallTime": "8h", "deadline": "2026-11-25T06:00:00Z" }, "restart": { "token": "v2", "renew": true },
        });
        let filled = fill_in(&task(own), &template(json!({ "template": pod("i:2") })), Some("v2"));
        let expected = json!({
            "templateRef": { "name": "x" }, "template": pod("i:2"), "newer": 1,
            "limits": { "deadline": "2026-11-25T06:00:00Z" }, "restart": { "token": "v2", "renew": true },
        });
        assert_eq!(filled.data["spec"], expected);
        assert_eq!(filled.metadata.annotations.expect("annotations")["longtask.dev/renewed-for"], "v2");
    }

    #[test]
    fn what_a_task_sets_beside_its_template_is_found_and_defaults_are_not() {
        let set = |fields: Value| {
            let mut spec = json!({ "templateRef": { "name": "x" } });
            spec.as_object_mut().expect("fields").extend(fields.as_object().expect("fields").clone());
            set_by_task(&serde_json::from_value(spec).expect("a spec"))
        };
        for fields in [
            json!({}),
            json!({ "segment": { "duration": "60m" }, "retry": {}, "volumeClaimTemplates": [] }),
            json!({ "limits": { "deadline": "2026-11-25T06:00:00Z" } }),
            json!({ "input": { "a": 1 }, "suspend": true, "restart": { "token": "a" } }),
        ] {
            assert_eq!(set(fields.clone()), None, "{fields}");
        }
        for (fields, path) in [
            (json!({ "segment": { "duration": "2h" } }), "segment.duration"),
            (json!({ "limits": { "deadline": "2026-11-25T06:00:00Z", "attempts": 3 } }), "limits.attempts"),
            (json!({ "ttlAfterFinished": "1h" }), "ttlAfterFinished"),
            (json!({ "podHistoryLimit": 5 }), "podHistoryLimit"),
            (json!({ "retry": { "budgets": { "failures": 7 } } }), "retry.budgets.failures"),
        ] {
            assert_eq!(set(fields).as_deref(), Some(path));
        }
    }

    #[test]
    fn a_key_needs_a_template_whose_tasks_are_kept_for_a_while() {
        let unfit = |ttl: Value| unfit_for_keys(&template(json!({ "template": pod("i"), "ttlAfterFinished": ttl })));
        assert!(unfit(json!("59m59s")).expect("too short").contains("set it to 1h or more"));
        assert_eq!((unfit(json!("1h")), unfit(Value::Null)), (None, None));
    }
}
