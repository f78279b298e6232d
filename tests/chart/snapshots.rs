//! The whole output for some sets of values, as files to read and to review. `make generate` writes them.

use std::{env, fs};

use super::support::rendered_with;

/// The definition is left out: it is a file of its own, and would bury the rest.
fn is_as_committed(name: &str) {
    let values = format!("tests/chart/values/{name}.yaml");
    let committed = format!("tests/chart/snapshots/{name}.yaml");
    let rendered = rendered_with(&["--values", &values, "--set", "crds.enabled=false"]);
    if env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&committed, &rendered).expect("writable");
    }
    let expected = fs::read_to_string(&committed).unwrap_or_default();
    assert!(
        rendered == expected,
        "{committed} is out of date; `make generate` writes it, `git diff` shows what changed"
    );
}

#[test]
fn the_default_values_render_as_committed() {
    is_as_committed("default");
}

#[test]
fn one_namespace_renders_as_committed() {
    is_as_committed("one-namespace");
}

#[test]
fn everything_switched_on_renders_as_committed() {
    is_as_committed("everything");
}

#[test]
fn deploy_is_what_the_chart_renders() {
    let rendered = rendered_with(&["--set", "namespace.create=true"]);
    let committed = fs::read_to_string("deploy/longtask.yaml").expect("deploy/longtask.yaml");
    assert!(rendered == committed, "deploy/longtask.yaml is out of date; `make generate` writes it");
}

#[test]
fn the_chart_has_the_generated_definitions() {
    for (definition, copy) in [
        ("longtasks", "crd"),
        ("longtasktemplates", "crd-longtasktemplates"),
        ("longtasksets", "crd-longtasksets"),
        ("taskqueues", "crd-taskqueues"),
    ] {
        let generated = fs::read_to_string(format!("crds/longtask.dev_{definition}.yaml")).expect("the definition");
        let in_chart = fs::read_to_string(format!("charts/longtask/files/{copy}.yaml")).expect("the chart's copy");
        assert!(generated == in_chart, "charts/longtask/files/{copy}.yaml is out of date; `make generate` writes it");
    }
}

/// A template that no set of values reaches is a template that nobody has seen.
#[test]
fn every_template_is_in_a_snapshot() {
    let mut snapshots = fs::read_to_string("deploy/longtask.yaml").expect("deploy/longtask.yaml");
    for name in ["default", "one-namespace", "everything"] {
        snapshots += &fs::read_to_string(format!("tests/chart/snapshots/{name}.yaml")).expect("a snapshot");
    }
    for template in fs::read_dir("charts/longtask/templates").expect("templates") {
        let path = template.expect("a template").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension() == Some("yaml".as_ref()) {
            assert!(snapshots.contains(&format!("# Source: longtask/templates/{name}\n")), "{name}");
        }
    }
}
