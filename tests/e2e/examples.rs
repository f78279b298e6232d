//! The examples of `examples/` are programs of today's contract: they run as they are, whether their reports are read while
//! they run or when they end.

use std::{fs, os::unix::fs::PermissionsExt};

use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use longtask::api::task::{LongTaskStatus, Phase};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::support::{Change, Lab, Task, Undo, story_of_reports};

/// How reports are read.
const MODES: [&str; 2] = ["Live", "AtExit"];

const IMPORT: &str = include_str!("../../examples/import/longtask.yaml");
const PRIMES: &str = include_str!("../../examples/primes/longtask.yaml");
const SHELL: &str = include_str!("../../examples/shell/longtask.yaml");

/// An example, and how it differs from what its folder says: less work, for which two slices are enough.
struct Example {
    name: &'static str,
    manifests: &'static str,
    settings: Value,
    slice: &'static str,
    /// A part of a core, where the work would be done too soon.
    cpu: Option<&'static str>,
}

const LINKS: usize = 150;

fn examples() -> [Example; 3] {
    let import = json!({ "ROWS_PER_SECOND": "2000" });
    let primes = json!({ "LIMIT": "1000000000" });
    let shell = json!({ "LINKS": LINKS.to_string() });
    [
        Example { name: "import", manifests: IMPORT, settings: import, slice: "10s", cpu: None },
        Example { name: "primes", manifests: PRIMES, settings: primes, slice: "10s", cpu: Some("50m") },
        // A slice of ten seconds or more counts as progress of a program that reports none.
        Example { name: "shell", manifests: SHELL, settings: shell, slice: "15s", cpu: None },
    ]
}

/// A task of the example with that mode, and a volume of its own if it has one. What is undone at the end is added.
async fn submit<'a>(lab: &'a Lab, example: &Example, mode: &str, undo: &mut Vec<Undo>) -> Task<'a> {
    let name = format!("{}-{}", example.name, mode.to_lowercase());
    let volume = format!("{}-{name}", lab.namespace);
    let mut task = Value::Null;
    for mut object in serde_saphyr::from_multiple::<Value>(example.manifests).expect("YAML") {
        match object["kind"].as_str() {
            Some("PersistentVolume") => {
                let folder = lab.folder().join(&name);
                fs::create_dir(&folder).expect("make the volume's folder");
                fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).expect("open it to programs");
                object["metadata"]["name"] = json!(volume);
                object["spec"]["hostPath"]["path"] = json!(folder);
                undo.push(Undo::by(&[
                    "kubectl",
                    "delete",
                    "persistentvolume",
                    &volume,
                    "--ignore-not-found",
                    "--wait=false",
                ]));
                let object: PersistentVolume = serde_json::from_value(object).expect("a volume");
                Api::all(lab.client.clone()).create(&PostParams::default(), &object).await.expect("make the volume");
            }
            Some("PersistentVolumeClaim") => {
                object["metadata"]["name"] = json!(name);
                object["spec"]["volumeName"] = json!(volume);
                let object: PersistentVolumeClaim = serde_json::from_value(object).expect("a claim");
                lab.api().create(&PostParams::default(), &object).await.expect("claim the volume");
            }
            _ => task = object,
        }
    }
    let spec = json!({ "segment": { "duration": example.slice }, "reporting": { "mode": mode } });
    let mut task = task.and(json!({ "metadata": { "name": name }, "spec": spec }));
    let pod = &mut task["spec"]["template"]["spec"];
    if pod["volumes"].is_array() {
        pod["volumes"][0]["persistentVolumeClaim"]["claimName"] = json!(name);
    }
    if let Some(cpu) = example.cpu {
        pod["containers"][0]["resources"] = json!({ "limits": { "cpu": cpu, "memory": "64Mi" } });
    }
    for variable in pod["containers"][0]["env"].as_array_mut().expect("a list") {
        let setting = &example.settings[variable["name"].as_str().expect("a name")];
        if setting.is_string() {
            variable["value"] = setting.clone();
        }
    }
    lab.submit(task).await
}

fn moved_while_it_ran(task: &Task<'_>) -> bool {
    let is_early = |status: &LongTaskStatus| status.totals.attempts == 0 && status.progress.is_some();
    task.statuses().iter().any(is_early)
}

/// The namespace holds all pods to the strictest standard, the agent's container too.
#[tokio::test]
async fn the_examples_end_well_in_both_modes_under_the_strictest_pod_security() {
    story_of_reports(async |lab| {
        let label = json!({ "metadata": { "labels": { "pod-security.kubernetes.io/enforce": "restricted" } } });
        let namespaces: Api<Namespace> = Api::all(lab.client.clone());
        let labelled = namespaces.patch(&lab.namespace, &PatchParams::default(), &Patch::Merge(label)).await;
        labelled.expect("restrict the namespace");
        let mut undo = Vec::new();
        let mut tasks = Vec::new();
        for example in examples() {
            for mode in MODES {
                tasks.push((mode, submit(lab, &example, mode, &mut undo).await));
            }
        }
        let mut results = Vec::new();
        for (mode, task) in &tasks {
            let status = task.ends_as(Phase::Succeeded, 120).await;
            assert_eq!((status.totals.failures, status.totals.start_failures), (0, 0), "{}: {status:#?}", task.name);
            println!("{}: {} segments, result {:?}", task.name, status.segment, status.result);
            let is_silent = task.name.starts_with("shell");
            assert_eq!(moved_while_it_ran(task), *mode == "Live" && !is_silent, "{}", task.name);
            results.push(status.result);
        }
        assert_eq!(results[0].as_ref().map(|result| &result["rows"]), Some(&json!(34_924)));
        let counted = json!({ "limit": 1_000_000_000, "primes": 50_847_534, "largest": 999_999_937 });
        assert_eq!(results[2].as_ref(), Some(&counted));
        for pair in results.chunks(2) {
            assert_eq!(pair[0], pair[1], "both modes have the same result");
        }
        for mode in MODES {
            let selector = format!("--selector=longtask.dev/task=shell-{}", mode.to_lowercase());
            let log = lab.kubectl_output(&["logs", &selector, "--container=main", "--tail=1"]).await;
            let end = format!("link {LINKS} is {}", link(LINKS));
            assert!(log.contains(&end), "{mode}: no {end} in {log}");
        }
        for volume in undo {
            volume.now().await;
        }
    })
    .await;
}

/// A link of the chain that the shell script computes, by other means.
fn link(number: usize) -> String {
    (0..number).fold("longtask".to_owned(), |before, _| {
        Sha256::digest(before.as_bytes()).iter().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"))
    })
}
