//! Running helm, and reading what it renders.

use std::process::{Command, Output};

use serde_json::Value;

pub(crate) fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program)
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("run {program}: {error}. `make tools` installs it; `make test` finds it"))
}

pub(crate) fn helm(args: &[&str]) -> Output {
    run("helm", args)
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The chart with some values, as text.
pub(crate) fn rendered(settings: &[&str]) -> String {
    let set: Vec<_> = settings.iter().flat_map(|setting| ["--set", *setting]).collect();
    rendered_with(&set)
}

/// The chart with arguments of `helm template`, as text.
pub(crate) fn rendered_with(arguments: &[&str]) -> String {
    let release = ["template", "longtask", "charts/longtask", "--namespace", "longtask-system"];
    let output = helm(&[&release, arguments].concat());
    assert!(output.status.success(), "{}", stderr(&output));
    String::from_utf8(output.stdout).expect("manifests are text")
}

pub(crate) fn objects(manifests: &str) -> Vec<Value> {
    manifests
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str::<Value>(text).expect("each document is YAML"))
        .filter(|object| !object.is_null())
        .collect()
}

pub(crate) fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

pub(crate) fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}
