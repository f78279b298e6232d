//! The dashboards for Grafana. That each panel's query returns something is tested where there is data: `tests/e2e`.

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use super::{
    metrics::{all_figures, all_metrics, assert_known},
    support::{named, objects, rendered},
};

fn dashboard(name: &str) -> Value {
    let text = fs::read_to_string(format!("charts/longtask/dashboards/{name}.json")).expect("a dashboard");
    serde_json::from_str(&text).expect("JSON")
}

fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    value[field].as_array().into_iter().flatten()
}

#[test]
fn every_panel_asks_for_metrics_that_there_are() {
    let known = all_metrics() + &all_figures();
    for name in ["fleet", "task"] {
        let dashboard = dashboard(name);
        let panels: Vec<_> = list(&dashboard, "panels").filter(|panel| panel["type"] != "row").collect();
        assert!(panels.len() >= 10, "{name} has {} panels", panels.len());
        for panel in panels {
            assert_ne!(list(panel, "targets").count(), 0, "{name}: {}", panel["title"]);
            for target in list(panel, "targets") {
                assert_known(target["expr"].as_str().expect("a query"), &known);
            }
        }
    }
}

#[test]
fn panels_have_their_own_numbers_and_their_own_places() {
    for name in ["fleet", "task"] {
        let dashboard = dashboard(name);
        let (mut ids, mut cells) = (BTreeSet::new(), BTreeSet::new());
        for panel in list(&dashboard, "panels") {
            assert!(ids.insert(panel["id"].as_i64().expect("a number")), "{}", panel["title"]);
            let at = |field: &str| panel["gridPos"][field].as_i64().expect("a place");
            assert!(at("x") + at("w") <= 24, "{} is too wide", panel["title"]);
            for (x, y) in (at("x")..at("x") + at("w")).flat_map(|x| (at("y")..at("y") + at("h")).map(move |y| (x, y))) {
                assert!(cells.insert((x, y)), "{} covers another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn the_config_maps_have_the_dashboards_as_they_are() {
    let every = objects(&rendered(&["dashboards.enabled=true", "metrics.tasks=10"]));
    for name in ["fleet", "task"] {
        let map = named(&every, "ConfigMap", &format!("longtask-dashboard-{name}"));
        assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
        let text = map["data"][format!("longtask-{name}.json")].as_str().expect("a dashboard");
        assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), dashboard(name));
    }
    let fleet_only = rendered(&["dashboards.enabled=true"]);
    assert!(!fleet_only.contains("longtask-task.json"), "there would be nothing to see");
}
