//! `docs/api-reference.md` is made from the definition. `make generate` writes it: it sets `UPDATE_REFERENCE`.

use std::{env, fs};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use longtask::api::crd;
use serde_json::Value;

const COMMITTED: &str = "docs/api-reference.md";
const COMMITTED_OF_SETS: &str = "docs/api-reference-sets.md";

const COMMITTED_OF_QUEUES: &str = "docs/api-reference-queues.md";

const HEAD: &str = "\
<!-- Generated from the definition by `make generate`; do not edit. -->
# API reference

`LongTask`, group `longtask.dev`, version `v1alpha1`. `kubectl explain longtask.spec --recursive` shows the same fields in
a terminal.

A duration is written as in Go, in whole hours, minutes and seconds: `90s`, `15m`, `1h30m`, and `72h`, not `3d`. A field
that is absent has its default; null means the same.
";

const HEAD_OF_SETS: &str = "\
<!-- Generated from the definition by `make generate`; do not edit. -->
# API reference of LongTaskSet

`LongTaskSet`, group `longtask.dev`, version `v1alpha1`. `kubectl explain longtaskset.spec --recursive` shows the same fields
in a terminal. [How to run a template many times](sets.md) has examples.
";

const HEAD_OF_QUEUES: &str = "\
<!-- Generated from the definition by `make generate`; do not edit. -->
# API reference of TaskQueue

`TaskQueue`, group `longtask.dev`, version `v1alpha1`. `kubectl explain taskqueue.spec --recursive` shows the same fields in a
terminal. [How to limit how many tasks run](queues.md) has examples.
";

#[test]
fn the_committed_references_are_the_generated_ones() {
    for (file, generated) in [
        (COMMITTED, reference(HEAD, &crd::definition().expect("the definition")) + "\n" + &template()),
        (COMMITTED_OF_SETS, reference(HEAD_OF_SETS, &crd::set_definition().expect("the definition"))),
        (COMMITTED_OF_QUEUES, reference(HEAD_OF_QUEUES, &crd::queue_definition().expect("the definition"))),
    ] {
        if env::var_os("UPDATE_REFERENCE").is_some() {
            fs::write(file, &generated).expect("writable");
        }
        let committed = fs::read_to_string(file).unwrap_or_default();
        assert!(committed == generated, "{file} is out of date: run make generate");
    }
}

fn reference(head: &str, definition: &CustomResourceDefinition) -> String {
    let mut definition = serde_json::to_value(definition).expect("JSON");
    let version = definition["spec"]["versions"][0].take();
    let properties = &version["schema"]["openAPIV3Schema"]["properties"];
    let parts = [section("spec", &properties["spec"]), columns(&version), section("status", &properties["status"])];
    [head.to_owned()].into_iter().chain(parts).collect::<Vec<_>>().join("\n")
}

/// What a template has beside the fields of a task.
fn template() -> String {
    let mut definition = serde_json::to_value(crd::template_definition().expect("the definition")).expect("JSON");
    let version = definition["spec"]["versions"][0].take();
    let schema = &version["schema"]["openAPIV3Schema"];
    let words = schema["description"].as_str().unwrap_or_default();
    let fields = schema["properties"]["spec"]["properties"].as_object().expect("fields");
    let of_input = fields["inputSchema"]["description"].as_str().unwrap_or_default();
    let own = crd::OWN_FIELDS.map(code).join(", ");
    format!(
        "## LongTaskTemplate\n\n{words}\n\nIts `spec` has the fields above, except {own} and `limits.deadline`, which are a task's own; \
         `template` is required. It has one more:\n\n| field | type | default | meaning |\n|---|---|---|---|\n{}",
        row(&["`inputSchema`", "object", "", of_input])
    )
}

fn columns(version: &Value) -> String {
    let columns = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let rows = columns.map(|column| {
        let word = |key: &str| column[key].as_str().unwrap_or_default();
        row(&[&word("name").to_uppercase(), &code(word("jsonPath")), word("description")])
    });
    let wide = version["additionalPrinterColumns"].as_array().into_iter().flatten();
    let wide = wide.filter(|column| column["priority"] == 1).count();
    let those =
        if wide == 1 { "The last one is that".to_owned() } else { format!("The last {} are those", in_words(wide)) };
    let head =
        format!("## Columns of kubectl get\n\n{those} of `-o wide`.\n\n| column | from | meaning |\n|---|---|---|\n");
    [head].into_iter().chain(rows).collect()
}

fn in_words(number: usize) -> &'static str {
    ["none", "one", "two", "three", "four", "five", "six"].get(number).copied().unwrap_or("ones")
}

/// A table of the fields of an object, then one for each object among them. The pod template is core's.
fn section(path: &str, schema: &Value) -> String {
    let words = schema["description"].as_str().unwrap_or_default();
    let head = format!("## {path}\n\n{words}\n\n| field | type | default | meaning |\n|---|---|---|---|\n");
    let fields = || schema["properties"].as_object().into_iter().flatten();
    let is_required = |name: &String| {
        let required = schema["required"].as_array().into_iter().flatten();
        path.starts_with("spec") && required.into_iter().any(|required| required == name)
    };
    let rows = fields().map(|(name, field)| {
        let default = match field.get("default") {
            Some(default) if default.is_object() => String::new(),
            Some(default) => code(&default.as_str().map_or_else(|| default.to_string(), ToOwned::to_owned)),
            None if is_required(name) => "required".to_owned(),
            None => String::new(),
        };
        let meaning = field["description"].as_str().unwrap_or_default().replace("\n\n", "<br>");
        row(&[&code(name), &type_of(field), &default, &meaning])
    });
    let inner = fields().filter(|(name, _)| *name != "template").filter_map(|(name, field)| {
        let (object, mark) = if field["type"] == "array" { (&field["items"], "[]") } else { (field, "") };
        object.get("properties").map(|_| format!("\n{}", section(&format!("{path}.{name}{mark}"), object)))
    });
    [head].into_iter().chain(rows).chain(inner).collect()
}

fn type_of(field: &Value) -> String {
    let says =
        |words: &str| field["x-kubernetes-validations"][0]["message"].as_str().is_some_and(|m| m.contains(words));
    match field["type"].as_str() {
        Some("array") => format!("list of {}", type_of(&field["items"])),
        Some("string") if field.get("enum").is_some() => {
            let values = field["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
            values.map(code).collect::<Vec<_>>().join(", ")
        }
        Some("string") if field["format"] == "date-time" || says("point in time") => "time".to_owned(),
        Some("string") if says("duration") => "duration".to_owned(),
        Some(plain) => plain.to_owned(),
        None => "integer or string".to_owned(),
    }
}

fn code(text: &str) -> String {
    format!("`{text}`")
}

fn row(cells: &[&str]) -> String {
    format!("| {} |\n", cells.iter().map(|cell| cell.replace('|', "\\|")).collect::<Vec<_>>().join(" | "))
}
