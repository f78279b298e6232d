//! Variables that are set more than once: a task's have names of their own.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::EnvVar;

/// Keeps the last variable of each name, as the program sees it.
///
/// What stands between reads the earlier value as `$(NAME)`, so that one is written out there.
pub(super) fn merge(field: &str, env: &mut Vec<EnvVar>, notes: &mut Vec<String>) {
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for variable in &*env {
        *times.entry(variable.name.clone()).or_default() += 1;
    }
    if times.values().all(|count| *count == 1) {
        return;
    }
    notes.extend(
        times.iter().filter(|(_, count)| **count > 1).map(|(name, _)| {
            format!("{field}: {name} is set more than once; the last one is kept, which is what counts")
        }),
    );
    let mut earlier: BTreeMap<String, EnvVar> = BTreeMap::new();
    let mut kept = Vec::new();
    for mut variable in std::mem::take(env) {
        if let Some(value) = &variable.value {
            variable.value = Some(written_out(value, &earlier, field, notes));
        }
        let Some(left) = times.get_mut(&variable.name) else { continue };
        *left -= 1;
        if *left == 0 {
            earlier.remove(&variable.name);
            kept.push(variable);
        } else {
            earlier.insert(variable.name.clone(), variable);
        }
    }
    *env = kept;
}

/// A value with the references to variables written out that are no more. `$$` stands for a dollar.
fn written_out(value: &str, earlier: &BTreeMap<String, EnvVar>, field: &str, notes: &mut Vec<String>) -> String {
    let (mut written, mut rest) = (String::new(), value);
    while let Some(at) = rest.find('$') {
        written.push_str(&rest[..at]);
        rest = &rest[at..];
        let name = rest.strip_prefix("$(").and_then(|behind| Some(behind.split_once(')')?.0));
        let length = match name {
            Some(name) => name.len() + "$()".len(),
            None if rest.starts_with("$$") => 2,
            None => 1,
        };
        match name.and_then(|name| earlier.get(name)) {
            Some(EnvVar { name, value_from: Some(_), .. }) => {
                notes.push(format!("{field}: $({name}) means one that is dropped: give that one a name of its own"));
                written.push_str(&rest[..length]);
            }
            Some(EnvVar { value, .. }) => written.push_str(value.as_deref().unwrap_or_default()),
            None => written.push_str(&rest[..length]),
        }
        rest = &rest[length..];
    }
    written + rest
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn merged(env: Value) -> (Value, Vec<String>) {
        let (mut env, mut notes) = (serde_json::from_value(env).expect("variables"), Vec::new());
        merge("env", &mut env, &mut notes);
        (json!(env), notes)
    }

    #[test]
    fn variables_with_names_of_their_own_are_left_alone() {
        let env = json!([{ "name": "A", "value": "$(B) $$(A) $" }, { "name": "B" }]);
        assert_eq!(merged(env.clone()), (env, Vec::new()));
    }

    #[test]
    fn the_last_of_one_name_is_kept_where_it_stands() {
        let (env, notes) = merged(json!([
            { "name": "A", "value": "1" }, { "name": "B", "value": "2" }, { "name": "A", "value": "3" },
        ]));
        assert_eq!(env, json!([{ "name": "B", "value": "2" }, { "name": "A", "value": "3" }]));
        assert_eq!(notes, ["env: A is set more than once; the last one is kept, which is what counts"]);
    }

    #[test]
    fn what_refers_to_an_earlier_value_still_gets_it() {
        let (env, _) = merged(json!([
            { "name": "P", "value": "/a" },
            { "name": "P", "value": "$(P):/b" },
            { "name": "Q", "value": "$(P) $$(P) $$$(P) $(Q $" },
            { "name": "P", "value": "$(P):/c" },
            { "name": "R", "value": "$(P)" },
        ]));
        assert_eq!(
            env,
            json!([
                { "name": "Q", "value": "/a:/b $$(P) $$/a:/b $(Q $" },
                { "name": "P", "value": "/a:/b:/c" },
                { "name": "R", "value": "$(P)" },
            ])
        );
    }

    #[test]
    fn a_value_that_cannot_be_written_out_is_told() {
        let node = json!({ "fieldRef": { "fieldPath": "spec.nodeName" } });
        let (env, notes) = merged(json!([{ "name": "N", "valueFrom": node }, { "name": "N", "value": "on $(N)" }]));
        assert_eq!(env, json!([{ "name": "N", "value": "on $(N)" }]));
        assert!(notes[1].starts_with("env: $(N) means one that is dropped"), "{notes:?}");
    }
}
