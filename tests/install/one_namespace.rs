//! An operator of one namespace, and the policies for its tasks.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Namespace, Release, apply, chain, eventually, get, items, kubectl, stderr};

#[test]
fn an_operator_of_one_namespace_runs_its_tasks_and_no_others() {
    let release = Release::install("charts/longtask", &["watch.namespace=default"]);
    let (mine, other) = (Namespace::create(&release, "install-mine"), Namespace::create(&release, "install-other"));
    // Its role is made in that namespace, which had to be there first.
    release.upgrade("charts/longtask", &[&format!("watch.namespace={}", mine.name)]);
    let roles = get(&["clusterroles,clusterrolebindings", "--selector=app.kubernetes.io/instance=longtask"]);
    assert_eq!(items(&roles).count(), 0, "no right in the whole cluster");
    other.start_chain("foreign", 3);
    mine.start_chain("own", 8);
    mine.succeeds("own");
    let foreign = get(&["longtask", "foreign", "--namespace", &other.name]);
    assert_eq!(foreign["status"], Value::Null, "nobody has touched it");
}

#[test]
fn policies_refuse_new_tasks_and_let_old_ones_be_cancelled() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-policies");
    let within = ["--namespace", namespace.name.as_str()];
    let with = |name: &str, change: Value| {
        let mut task = chain(name, 3);
        task["spec"]["suspend"] = json!(true);
        merge(&mut task, &change);
        task
    };
    let host_path =
        json!({ "spec": { "template": { "spec": { "volumes": [{ "name": "root", "hostPath": { "path": "/" } }] } } } });
    assert!(apply(&with("old", host_path.clone()), &within).status.success(), "there is no policy yet");

    let selector = "admissionPolicies.namespaceSelector.matchLabels.kubernetes\\.io/metadata\\.name=install-policies";
    release.upgrade(
        "charts/longtask",
        &[
            selector,
            "admissionPolicies.hostPath.forbidden=true",
            "admissionPolicies.maxSegmentDuration.duration=1h",
            "admissionPolicies.allowedImages.prefixes={localhost/}",
        ],
    );
    let image = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "main", "image": "localhost.example/x:1" }] } } } });
    for (change, words) in [
        (host_path, "hostPath volumes are not allowed"),
        (json!({ "spec": { "segment": { "duration": "61m" } } }), "write 1h or less"),
        (image, "images begin with localhost/"),
    ] {
        // A policy takes some seconds to act.
        eventually(&format!("a task is refused with: {words}"), Duration::from_secs(30), || {
            let output = apply(&with("new", change.clone()), &[&within[..], &["--dry-run=server"]].concat());
            (!output.status.success() && stderr(&output).contains(words)).then_some(())
        });
    }
    let good = apply(&with("good", json!({})), &within);
    assert!(good.status.success(), "{}", stderr(&good));
    let patch = r#"{"spec":{"cancel":true,"suspend":false}}"#;
    kubectl(&["patch", "longtask", "old", "--type=merge", "--patch", patch, within[0], within[1]]);
    kubectl(&[
        "wait",
        "longtask",
        "old",
        "--for=jsonpath={.status.phase}=Cancelled",
        "--timeout=60s",
        within[0],
        within[1],
    ]);
}

/// What `kubectl patch --type=merge` would do.
fn merge(target: &mut Value, change: &Value) {
    match (target, change) {
        (Value::Object(target), Value::Object(change)) => {
            for (key, value) in change {
                merge(target.entry(key).or_insert(Value::Null), value);
            }
        }
        (target, change) => *target = change.clone(),
    }
}
