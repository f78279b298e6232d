//! A queue that several namespaces share.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::{Namespace, Release, apply, chain, eventually, get, items, kubectl, stderr};

const QUEUE: &str = "install-crowd/shared";

/// So many tasks of one segment of three seconds, as one manifest.
fn queued(name: &str, count: usize) -> Value {
    let task = |number| {
        let mut task = chain(&format!("{name}-{number}"), 3);
        task["spec"]["queueName"] = json!(QUEUE);
        task
    };
    json!({ "apiVersion": "v1", "kind": "List", "items": (0..count).map(task).collect::<Vec<_>>() })
}

fn submit(namespace: &Namespace<'_>, tasks: &Value) {
    let output = apply(tasks, &["--namespace", &namespace.name]);
    assert!(output.status.success(), "{}", stderr(&output));
}

fn suspend(is_suspended: bool) {
    let patch = json!({ "spec": { "suspend": is_suspended } }).to_string();
    kubectl(&["patch", "taskqueue", "shared", "--namespace", "install-crowd", "--type=merge", "--patch", &patch]);
}

fn until_waiting(count: i64) {
    eventually(&format!("{count} wait"), Duration::from_mins(1), || {
        let queue = get(&["taskqueue", "shared", "--namespace", "install-crowd"]);
        (queue["status"]["waiting"] == count).then_some(())
    });
}

/// When each pod of a namespace was created.
fn pods(namespace: &Namespace<'_>) -> Vec<String> {
    let pods = get(&["pods", "--namespace", &namespace.name]);
    items(&pods).filter_map(|pod| pod["metadata"]["creationTimestamp"].as_str().map(str::to_owned)).collect()
}

fn complete(namespace: &Namespace<'_>, task: &str) {
    kubectl(&["wait", "longtask", task, "--namespace", &namespace.name, "--for=condition=Complete", "--timeout=60s"]);
}

#[test]
fn the_two_tasks_of_one_team_are_not_behind_the_hundred_of_another() {
    let release = Release::install("charts/longtask", &[]);
    let crowd = Namespace::create(&release, "install-crowd");
    let few = Namespace::create(&release, "install-few");
    let queue = json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "shared" },
        "spec": { "maxActive": 2, "suspend": true, "allowedNamespaces": ["install-crowd", "install-few"] },
    });
    submit(&crowd, &queue);
    submit(&crowd, &queued("many", 100));
    submit(&few, &queued("few", 2));
    until_waiting(102);
    suspend(false);
    complete(&few, "few-0");
    complete(&few, "few-1");
    let (of_crowd, of_few) = (pods(&crowd), pods(&few));
    let last = of_few.iter().max().expect("it has run");
    let before = of_crowd.iter().filter(|created| *created <= last).count();
    assert!(before + of_few.len() <= 4, "before the last of the few: {of_crowd:?}; {of_few:?}");

    // A team without quota keeps a place for a while, and does not keep the others from theirs.
    suspend(true);
    kubectl(&["create", "quota", "none", "--hard=pods=0", "--namespace", &crowd.name]);
    submit(&few, &queued("more", 2));
    suspend(false);
    complete(&few, "more-0");
    complete(&few, "more-1");
    eventually("one of the crowd says why it does not run", Duration::from_mins(1), || {
        let tasks = get(&["longtasks", "--namespace", &crowd.name]);
        items(&tasks).any(|task| task["status"]["reason"] == "QuotaExceeded").then_some(())
    });
}
