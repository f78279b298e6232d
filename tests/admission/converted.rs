//! What `kubectl longtask convert` makes of Jobs is accepted as the Jobs were.

use std::{fs, os::unix::process::CommandExt, process::Command};

use serde_json::{Value, json};

use crate::kubectl::{kubectl, pipe};

/// Jobs and CronJobs as people have them.
const JOBS: &str = "tests/jobs.yaml";

/// The tasks that the plugin makes of Jobs.
fn converted(jobs: &str) -> String {
    let mut plugin = Command::new(env!("CARGO_BIN_EXE_longtask"));
    pipe(plugin.arg0("kubectl-longtask").args(["convert", "-f", "-"]), jobs).expect_ok()
}

/// The objects as an API server would store them.
fn stored(manifests: &str) -> Vec<Value> {
    let created = kubectl(&["create", "--dry-run=server", "-o", "json", "-f", "-"], manifests).expect_ok();
    // One after the other, in no list.
    serde_json::Deserializer::from_str(&created).into_iter().collect::<Result<_, _>>().expect("JSON")
}

#[test]
fn a_converted_job_is_accepted_as_the_job_was() {
    let jobs = fs::read_to_string(JOBS).expect(JOBS);
    let (jobs, tasks) = (stored(&jobs), stored(&converted(&jobs)));
    assert_eq!(tasks.len(), jobs.len());
    for (job, task) in jobs.iter().zip(&tasks) {
        let is_scheduled = job["kind"] == "CronJob";
        let job = if is_scheduled { &job["spec"]["jobTemplate"] } else { job };
        let main = |object: &Value| object["spec"]["template"]["spec"]["containers"][0].clone();
        // Text comes through YAML as it was.
        for field in ["image", "command", "args"] {
            assert_eq!(main(task)[field], main(job)[field], "{}", task["metadata"]["name"]);
        }
    }
}

#[test]
fn a_job_of_the_cluster_is_converted() {
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "live" },
        "spec": {
            "suspend": true,
            "template": { "spec": { "restartPolicy": "Never", "containers": [{ "name": "main", "image": "x" }] } },
        },
    });
    kubectl(&["create", "-f", "-"], &job.to_string()).expect_ok();
    let live = kubectl(&["get", "job", "live", "-o", "yaml", "--show-managed-fields"], "").expect_ok();
    let tasks = stored(&converted(&live));
    let [task] = tasks.as_slice() else { panic!("{tasks:?}") };
    assert_eq!((&task["kind"], &task["metadata"]["name"]), (&json!("LongTask"), &json!("live")));
    assert_eq!(task["spec"]["template"].get("metadata"), None);
    let all = kubectl(&["get", "jobs", "-o", "yaml"], "").expect_ok();
    assert_eq!(stored(&converted(&all)).len(), 1);
}
