//! Names, labels and annotations: only what a user writes.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::api::labels;

/// The longest name of a task.
const LONGEST_NAME: usize = 52;
/// What the API server appends to `generateName`.
const GENERATED: usize = 5;
/// What tells names apart whose beginnings are the same.
const HASH: usize = 8;
/// The most labels, and the most annotations, of a template.
const MOST: usize = 200;

/// What bears labels and annotations.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Bearer {
    /// The task.
    Task,
    /// Its template, which becomes a pod.
    Template,
}

/// The metadata of the task.
pub(super) fn of_task(metadata: ObjectMeta, notes: &mut Vec<String>) -> Value {
    // What the API server and controllers write stays behind: uid, owners, finalizers and the like.
    let ObjectMeta { name, generate_name, namespace, labels, annotations, .. } = metadata;
    let name = name.filter(|name| !name.is_empty()).unwrap_or_else(|| {
        let prefix = generate_name.unwrap_or_default();
        let prefix = prefix.trim_end_matches(['-', '.']);
        let name = if prefix.is_empty() { "task" } else { prefix };
        notes.push(format!("metadata.name: the Job has none; it is {name} now"));
        name.to_owned()
    });
    let short = shortened(&name, LONGEST_NAME);
    if short != name {
        notes.push(format!(
            "metadata.name: {short} is {name}, cut to {LONGEST_NAME} characters so that the pods' numbers fit behind it"
        ));
    }
    let mut written = Map::from_iter([("name".to_owned(), json!(short))]);
    if let Some(namespace) = namespace {
        written.insert("namespace".into(), json!(namespace));
    }
    for (field, entries) in [("labels", labels), ("annotations", annotations)] {
        if let Some(entries) = of_the_user(entries, Bearer::Task, &format!("metadata.{field}"), notes) {
            written.insert(field.into(), json!(entries));
        }
    }
    Value::Object(written)
}

/// The beginning of the names that the API server makes up for tasks of that name.
pub(super) fn prefix_of(name: &str) -> String {
    shortened(name, LONGEST_NAME - GENERATED - 1) + "-"
}

/// The name, or as much of it as there is room for, with a hash of the whole: names that differ only at their ends stay
/// different.
fn shortened(name: &str, longest: usize) -> String {
    if name.len() <= longest {
        return name.to_owned();
    }
    // Names of objects are ASCII.
    let beginning: String = name.chars().take(longest - HASH - 1).collect();
    let [a, b, c, d, ..]: [u8; 32] = Sha256::digest(name).into();
    let hash = u32::from_be_bytes([a, b, c, d]);
    format!("{}-{hash:0HASH$x}", beginning.trim_end_matches(['-', '.']))
}

/// The labels or annotations that neither kubectl nor the controller of Jobs has written, and that the bearer takes.
pub(super) fn of_the_user(
    entries: Option<BTreeMap<String, String>>,
    bearer: Bearer,
    field: &str,
    notes: &mut Vec<String>,
) -> Option<BTreeMap<String, String>> {
    let mut kept = entries.unwrap_or_default();
    kept.retain(|key, _| !is_of_a_controller(key));
    match bearer {
        Bearer::Task => {}
        Bearer::Template => {
            let (ours, mut rest): (Vec<_>, Vec<_>) =
                kept.into_iter().partition(|(key, _)| key.starts_with(labels::PREFIX));
            for (key, _) in ours {
                notes.push(format!("{field}: {key} is dropped; the operator sets what begins with {}", labels::PREFIX));
            }
            super::bounds::cut(&mut rest, MOST, field, notes);
            kept = rest.into_iter().collect();
        }
    }
    (!kept.is_empty()).then_some(kept)
}

fn is_of_a_controller(key: &str) -> bool {
    key.starts_with("batch.kubernetes.io/")
        || ["controller-uid", "job-name", "kubectl.kubernetes.io/last-applied-configuration"].contains(&key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leaves_no_room_for_numbers_is_cut_and_stays_its_own() {
        let name = |end: &str| format!("{}-.{}", "a".repeat(41), end.repeat(8));
        let (b, c) = (shortened(&name("b"), LONGEST_NAME), shortened(&name("c"), LONGEST_NAME));
        assert_eq!(name("b").len(), 51);
        assert_eq!(b, name("b"), "it fits");
        let (b, c2) = (shortened(&name("bb"), LONGEST_NAME), shortened(&name("cc"), LONGEST_NAME));
        assert_ne!(c, c2);
        assert!(b.starts_with(&format!("{}-", "a".repeat(41))) && b.len() == 41 + 1 + HASH, "{b}");
        assert_ne!(b, c2);
        assert_eq!(b, shortened(&name("bb"), LONGEST_NAME), "the same each time");
    }

    #[test]
    fn generated_names_have_room_for_numbers_as_well() {
        assert_eq!(prefix_of("nightly"), "nightly-");
        assert_eq!(prefix_of(&"a".repeat(LONGEST_NAME)).len() + GENERATED, LONGEST_NAME);
    }

    #[test]
    fn a_job_without_a_name_gives_one_all_the_same() {
        for (generate_name, name) in [(Some("crunch-"), "crunch"), (Some("a.-"), "a"), (None, "task")] {
            let mut notes = Vec::new();
            let metadata = ObjectMeta { generate_name: generate_name.map(Into::into), ..ObjectMeta::default() };
            assert_eq!(of_task(metadata, &mut notes), json!({ "name": name }));
            assert_eq!(notes, [format!("metadata.name: the Job has none; it is {name} now")]);
        }
    }

    #[test]
    fn labels_that_only_look_like_those_of_controllers_are_kept() {
        let entries = ["job-name", "job-name-of-mine", "controller-uid", "batch.kubernetes.io/x", "app"];
        let entries = entries.map(|key| (key.to_owned(), "x".to_owned())).into();
        let kept = of_the_user(Some(entries), Bearer::Template, "f", &mut Vec::new()).expect("some");
        assert_eq!(kept.into_keys().collect::<Vec<_>>(), ["app", "job-name-of-mine"]);
    }

    #[test]
    fn a_template_keeps_neither_our_prefix_nor_more_than_fits() {
        let mut notes = Vec::new();
        let entries = (0..=MOST)
            .map(|n| (format!("n{n}"), String::new()))
            .chain([(format!("{}team", labels::PREFIX), "a".to_owned())]);
        let kept = of_the_user(Some(entries.collect()), Bearer::Template, "labels", &mut notes).expect("some");
        assert_eq!(kept.len(), MOST);
        assert_eq!(
            notes,
            [
                "labels: longtask.dev/team is dropped; the operator sets what begins with longtask.dev/",
                "labels: 1 are dropped; a task takes 200",
            ]
        );
    }
}
