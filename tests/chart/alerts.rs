//! The rules for Prometheus: each alert fires when it should, stays silent when it should, and leads to its section of
//! the runbook.
//!
//! Needs promtool: `make tools` installs it.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{
    metrics::{all_metrics, assert_known},
    support::{named, objects, rendered, run, stderr},
};

const RULES: &str = "charts/longtask/files/rules.yaml";
const TESTS: &str = "tests/chart/rules.test.yaml";

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&fs::read_to_string(file).expect(file)).expect("YAML")
}

fn items<'a>(list: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    list[field].as_array().into_iter().flatten()
}

fn rules() -> Vec<Value> {
    let all = yaml(RULES);
    items(&all, "groups").flat_map(|group| items(group, "rules").cloned().collect::<Vec<_>>()).collect()
}

/// Each alert's name with its rule.
fn alerts() -> Vec<(String, Value)> {
    rules().into_iter().filter_map(|rule| Some((rule["alert"].as_str()?.to_owned(), rule))).collect()
}

#[test]
fn the_rules_are_what_prometheus_takes() {
    let output = run("promtool", &["check", "rules", RULES]);
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn each_alert_fires_and_stays_silent_in_its_healthy_twin() {
    let output = run("promtool", &["test", "rules", TESTS]);
    assert!(output.status.success(), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    let tests = yaml(TESTS);
    let cases: Vec<_> = items(&tests, "tests").flat_map(|test| items(test, "alert_rule_test")).collect();
    for (name, _) in alerts() {
        let of_alert = cases.iter().filter(|case| case["alertname"] == *name);
        let fired: BTreeSet<_> = of_alert.map(|case| items(case, "exp_alerts").count() > 0).collect();
        assert_eq!(fired, [false, true].into(), "{name} needs a test in which it fires, and one in which it does not");
    }
}

#[test]
fn each_alert_has_a_section_of_the_runbook_and_links_to_it() {
    let runbook = fs::read_to_string("docs/runbook.md").expect("the runbook");
    let sections: BTreeSet<_> =
        runbook.lines().filter_map(|line| line.strip_prefix("## ")).map(str::to_owned).collect();
    let alerts = alerts();
    assert_eq!(sections, alerts.iter().map(|(name, _)| name.clone()).collect());
    for (name, rule) in alerts {
        let link = rule["annotations"]["runbook_url"].as_str().expect("a link");
        let anchor = format!("/docs/runbook.md#{}", name.to_lowercase());
        assert!(link.starts_with(env!("CARGO_PKG_REPOSITORY")) && link.ends_with(&anchor), "{name}: {link}");
        assert!(["warning", "critical"].map(Value::from).contains(&rule["labels"]["severity"]), "{name}");
    }
}

#[test]
fn the_page_on_observability_lists_each_alert() {
    let page = fs::read_to_string("docs/observability.md").expect("the page");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| LongTask")?.split_once(" |"));
    let listed: BTreeSet<_> = rows.map(|(name, _)| format!("LongTask{name}")).collect();
    assert_eq!(listed, alerts().into_iter().map(|(name, _)| name).collect());
}

#[test]
fn every_metric_that_a_rule_asks_for_is_one_of_the_operators() {
    let text = all_metrics();
    for rule in rules() {
        assert_known(rule["expr"].as_str().expect("an expression"), &text);
    }
}

#[test]
fn the_prometheus_rule_has_the_rules_as_they_are() {
    let objects = objects(&rendered(&["metrics.prometheusRule.enabled=true"]));
    assert_eq!(named(&objects, "PrometheusRule", "longtask")["spec"], yaml(RULES));
}
