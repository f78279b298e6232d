//! The LongTask of a member: its name, its input, what it is told, and how it is known.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt, core::DynamicObject};
use serde_json::Value;

use crate::{
    api::{
        labels,
        set::{LongTaskSet, LongTaskSetSpec, set_of},
        task::LongTask,
        template::LongTaskTemplate,
    },
    contract::input::Input,
    start::{
        input::Unfit,
        task::{Invocation, task},
    },
};

/// Under which key a member of a set with batches has its items.
const ITEMS: &str = "items";

/// Labels of others that mean something on the object that they are on: a member does not get those of its set.
const NOT_PASSED_ON: [&str; 4] = ["kubernetes.io", "k8s.io", "argoproj.io", "longtask.dev"];

/// The name of a member's LongTask.
pub fn member_name(set: &LongTaskSet, index: u32) -> String {
    format!("{}-{index}", set.name_any())
}

/// What the member of this index works on: the set's input, over which its item goes, or with its items as a list.
pub fn input_of(spec: &LongTaskSetSpec, index: u32) -> Option<Input> {
    let Some(items) = &spec.items else { return spec.input.clone() };
    let mut input = spec.input.clone().unwrap_or_default();
    let (at, size) = (usize::try_from(index).unwrap_or(usize::MAX), spec.batch_size());
    let own: Vec<_> = items.iter().skip(at.saturating_mul(size)).take(size).cloned().collect();
    if size == 1 {
        input.extend(own.into_iter().flatten());
    } else {
        input.insert(ITEMS.to_owned(), Value::Array(own.into_iter().map(Value::Object).collect()));
    }
    Some(input)
}

/// The LongTask of the member of this index, complete from the start.
///
/// # Errors
/// When its input does not fit the template.
pub fn member(set: &LongTaskSet, template: &LongTaskTemplate, index: u32) -> Result<DynamicObject, Unfit> {
    let uid = set.uid().unwrap_or_default();
    let is_passed_on = |label: &&String| {
        let domain = label.split_once('/').map_or("", |(domain, _)| domain);
        NOT_PASSED_ON.iter().all(|theirs| domain != *theirs && !domain.ends_with(&format!(".{theirs}")))
    };
    let own = set.labels().iter().filter(|(label, _)| is_passed_on(label));
    let ours = [(labels::SET, set.name_any()), (labels::INDEX, index.to_string())];
    let told = [(labels::SET_UID, uid.clone()), (labels::SET_COUNT, set.spec.total().to_string())];
    task(
        template,
        Invocation {
            name: member_name(set, index),
            namespace: set.namespace().unwrap_or_default(),
            input: input_of(&set.spec, index),
            owner: Some(OwnerReference {
                api_version: LongTaskSet::api_version(&()).into_owned(),
                kind: LongTaskSet::kind(&()).into_owned(),
                name: set.name_any(),
                uid,
                controller: Some(true),
                block_owner_deletion: Some(true),
            }),
            labels: own
                .map(|(label, value)| (label.clone(), value.clone()))
                .chain(ours.map(|(label, value)| (label.to_owned(), value)))
                .collect(),
            priority: set.spec.priority,
            annotations: told.map(|(name, value)| (name.to_owned(), value)).into_iter().collect::<BTreeMap<_, _>>(),
            ..Invocation::default()
        },
    )
}

/// The index of a task that is a member of a set: from its name, which nobody can change.
pub fn index_of(task: &LongTask) -> Option<u32> {
    let owner = set_of(task)?;
    let text = task.metadata.name.as_deref()?.strip_prefix(&*owner.name)?.strip_prefix('-')?;
    text.parse().ok().filter(|index: &u32| index.to_string() == text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(spec: &Value) -> LongTaskSet {
        let mut whole = json!({ "templateRef": { "name": "t" } });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "spec": whole,
            "metadata": {
                "name": "night", "namespace": "n", "uid": "set-uid",
                "labels": {
                    "team": "a", "example.com/x": "1", "app.kubernetes.io/name": "b", "argocd.argoproj.io/instance": "c",
                    "kueue.k8s.io/q": "d", "longtask.dev/set": "e", "notk8s.io/x": "2",
                },
            },
        }))
        .expect("a set")
    }

    fn template() -> LongTaskTemplate {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate",
            "metadata": { "name": "t", "namespace": "n", "generation": 7 },
            "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "i" }] } } },
        }))
        .expect("a template")
    }

    #[test]
    fn a_member_is_complete_and_goes_with_its_set() {
        let made = member(&set(&json!({ "count": 12 })), &template(), 11).expect("it fits");
        let task: LongTask = serde_json::from_value(serde_json::to_value(&made).expect("JSON")).expect("a task");
        assert_eq!((task.name_any(), task.namespace()), ("night-11".to_owned(), Some("n".to_owned())));
        assert_eq!(serde_json::to_value(task.spec.pod()).expect("JSON")["containers"][0]["image"], "i");
        let owner = &task.owner_references()[0];
        assert_eq!((owner.kind.as_str(), owner.uid.as_str()), ("LongTaskSet", "set-uid"));
        assert_eq!((owner.controller, owner.block_owner_deletion), (Some(true), Some(true)));
        assert_eq!(index_of(&task), Some(11));
        let expected = json!({
            "team": "a", "example.com/x": "1", "notk8s.io/x": "2", "longtask.dev/set": "night", "longtask.dev/index": "11",
        });
        assert_eq!(json!(task.labels()), expected);
        let told = [labels::SET_UID, labels::SET_COUNT].map(|name| task.annotations()[name].clone());
        assert_eq!(told, ["set-uid", "12"]);
    }

    #[test]
    fn a_task_is_a_member_by_its_owner_and_its_name() {
        let task = |name: &str, kind: &str, controller: bool| -> LongTask {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
                "metadata": { "name": name, "labels": { "longtask.dev/index": "5" }, "ownerReferences": [{
                    "apiVersion": "longtask.dev/v1alpha1", "kind": kind, "name": "a-1", "uid": "u", "controller": controller,
                }] },
                "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
            }))
            .expect("a task")
        };
        assert_eq!(index_of(&task("a-1-7", "LongTaskSet", true)), Some(7));
        for (name, kind, controller) in [
            ("a-1-7", "LongTaskFlow", true),
            ("a-1-7", "LongTaskSet", false),
            ("a-17", "LongTaskSet", true),
            ("a-1", "LongTaskSet", true),
            ("a-1-07", "LongTaskSet", true),
        ] {
            assert_eq!(index_of(&task(name, kind, controller)), None, "{name} {kind} {controller}");
        }
    }

    #[test]
    fn an_items_keys_win_and_a_batch_is_a_list() {
        let input = |spec: &Value, index: u32| Value::Object(input_of(&set(spec).spec, index).expect("an input"));
        let items = json!([{ "f": 0 }, { "f": 1, "p": "own" }, { "f": 2 }]);
        let both = |batch: i32| json!({ "items": items, "input": { "p": "all" }, "batch": batch });
        assert_eq!(input(&both(1), 0), json!({ "p": "all", "f": 0 }));
        assert_eq!(input(&both(1), 1), json!({ "p": "own", "f": 1 }));
        assert_eq!(input(&both(2), 0), json!({ "p": "all", "items": [{ "f": 0 }, { "f": 1, "p": "own" }] }));
        assert_eq!(input(&both(2), 1), json!({ "p": "all", "items": [{ "f": 2 }] }));
        assert_eq!(input(&json!({ "count": 5, "input": { "p": 1 } }), 4), json!({ "p": 1 }));
        assert_eq!(input_of(&set(&json!({ "count": 5 })).spec, 4), None);
    }
}
