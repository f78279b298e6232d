//! The values: what may be given, and that all of it is documented.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::support::{helm, rendered_with, run, stderr};

fn values() -> Value {
    serde_saphyr::from_str(&fs::read_to_string("charts/longtask/values.yaml").expect("values.yaml")).expect("YAML")
}

fn schema() -> Value {
    let text = fs::read_to_string("charts/longtask/values.schema.json").expect("values.schema.json");
    serde_json::from_str(&text).expect("JSON")
}

/// The paths of all objects' fields, as far as the schema names them.
fn paths(schema: &Value, at: &str, found: &mut BTreeSet<String>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
        paths(field, &path, found);
        found.insert(path);
    }
}

fn has_default(values: &Value, path: &str) -> bool {
    path.split('.').try_fold(values, |value, name| value.get(name)).is_some()
}

#[test]
fn every_value_has_a_default_and_a_schema() {
    let (values, mut known) = (values(), BTreeSet::new());
    paths(&schema(), "", &mut known);
    // Helm's own, and former names.
    for other in ["global", "replicas", "crds.install"] {
        assert!(known.remove(other), "{other}");
    }
    assert!(known.len() > 60, "{known:?}");
    let without: Vec<_> = known.iter().filter(|path| !has_default(&values, path)).collect();
    assert!(without.is_empty(), "in values.schema.json and not in values.yaml: {without:?}");
    // The other way round: the schema allows no name that it does not know, and helm checks the defaults too.
    rendered_with(&[]);
}

#[test]
fn what_cannot_be_meant_is_refused_by_name() {
    for (setting, named) in [
        ("replica=3", "replica"),
        ("replicaCount=-1", "replicaCount"),
        ("image.digest=sha256:ab", "digest"),
        ("watch.namespace=Team_A", "namespace"),
        ("operator.log.format=xml", "format"),
        ("operator.concurrency=0", "concurrency"),
        ("podDisruptionBudget.maxUnavailable=0", "maxUnavailable"),
        ("metrics.podMonitor.interval=often", "interval"),
        ("admissionPolicies.maxSegmentDuration.duration=3d", "duration"),
        ("admissionPolicies.allowedImages.prefixes={registry.example}", "prefixes"),
        ("admissionPolicies.actions={Deny,Warn}", "actions"),
    ] {
        let output = helm(&["template", "longtask", "charts/longtask", "--set", setting]);
        let said = stderr(&output);
        assert!(!output.status.success() && said.contains(named), "{setting}: {said}");
    }
}

#[test]
fn the_readme_is_made_of_the_values() {
    let arguments = ["--chart-search-root=charts", "--sort-values-order=file", "--dry-run", "--log-level=error"];
    let output = run("helm-docs", &arguments);
    assert!(output.status.success(), "{}", stderr(&output));
    let made = String::from_utf8(output.stdout).expect("text");
    let committed = fs::read_to_string("charts/longtask/README.md").expect("the chart's README");
    assert!(made.trim() == committed.trim(), "charts/longtask/README.md is out of date; `make generate` writes it");
}

#[test]
fn every_value_is_explained() {
    let readme = fs::read_to_string("charts/longtask/README.md").expect("the chart's README");
    let rows: Vec<_> = readme.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| Key")).collect();
    assert!(rows.len() > 40, "{}", rows.len());
    let silent: Vec<_> = rows.iter().filter(|row| row.ends_with("|  |")).collect();
    assert!(silent.is_empty(), "no comment that begins with `--`: {silent:?}");
}
