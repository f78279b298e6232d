//! Tests of a pod with an agent.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{AgentConfig, ReportServer};
use crate::{
    api::task::{CurrentAttempt, LongTask, LongTaskStatus},
    contract::agent::Settings,
    task::render::pod,
};

fn config() -> AgentConfig {
    let reports = ReportServer { addresses: vec!["10.0.0.7:8443".into()], certificate_authority: "PEM".into() };
    AgentConfig { image: "longtask:1".into(), reports: Some(reports) }
}

/// The pod of a task with this specification, as JSON.
fn rendered_with(spec: &Value, config: Option<&AgentConfig>) -> Value {
    rendered_from(spec, &LongTaskStatus::default(), config)
}

/// Likewise, with this status.
fn rendered_from(spec: &Value, status: &LongTaskStatus, config: Option<&AgentConfig>) -> Value {
    let task: LongTask = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "t", "namespace": "n" },
        "spec": spec,
    }))
    .expect("a task");
    let attempt: CurrentAttempt = serde_json::from_value(json!({
        "number": 3, "segment": 2, "state": "Creating", "podName": "t-3", "generation": 4,
        "creationTime": "2026-11-24T10:00:00Z",
    }))
    .expect("an attempt");
    let pod: Pod = pod(&task, "task-uid", status, &attempt, 90, config);
    serde_json::to_value(pod).expect("JSON")
}

#[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
fn live(pod_spec: Value) -> Value {
    rendered_with(&json!({ "reporting": { "mode": "Live" }, "template": { "spec": pod_spec } }), Some(&config()))
}

fn agent_of(pod: &Value) -> &Value {
    let init = pod["spec"]["initContainers"].as_array().expect("init containers");
    init.last().filter(|last| last["name"] == "longtask-agent").expect("the agent is the last")
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let all = container["env"].as_array().expect("variables");
    &all.iter().find(|variable| variable["name"] == name).expect(name)["value"]
}

#[test]
fn the_agent_is_a_sidecar_behind_those_of_the_template_and_shares_a_volume_with_the_program() {
    let pod = live(json!({ "containers": [{ "name": "side" }, { "name": "main" }],
                           "initContainers": [{ "name": "proxy", "restartPolicy": "Always" }] }));
    let agent = agent_of(&pod);
    assert_eq!((&agent["restartPolicy"], &agent["image"]), (&json!("Always"), &json!("longtask:1")));
    let prepare = json!(["/bin/longtask-agent", "prepare"]);
    assert_eq!(agent["lifecycle"]["postStart"]["exec"]["command"], prepare);
    let main = &pod["spec"]["containers"][0];
    assert_eq!(main["volumeMounts"], json!([{ "name": "longtask", "mountPath": "/longtask" }]));
    assert_eq!(variable(main, "LONGTASK_REPORT"), "/longtask/run/report");
    assert!(pod["spec"]["containers"][1]["volumeMounts"].is_null(), "only the main container reports");
    let settings: Settings =
        serde_json::from_str(variable(agent, "LONGTASK_AGENT").as_str().expect("a text")).expect("settings");
    assert_eq!(settings.word_bytes, 12 * 1024 / 5, "four containers and one that may come");
    let posts = settings.posts.expect("it posts");
    assert_eq!((posts.next_seconds, posts.keep_alive_seconds, posts.grace_seconds), (30, 300, 30));
    let volumes = &pod["spec"]["volumes"];
    assert_eq!(volumes[0]["emptyDir"], json!({ "medium": "Memory", "sizeLimit": "16Mi" }));
    let token = json!({ "audience": "longtask.dev/reports", "expirationSeconds": 3600, "path": "token" });
    assert_eq!(volumes[1]["projected"]["sources"], json!([{ "serviceAccountToken": token }]));
    let annotation = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    assert_eq!(pod["metadata"]["annotations"][annotation], "longtask");
}

#[test]
fn a_task_that_reports_at_exit_a_pod_for_windows_and_an_operator_without_an_image_get_no_agent() {
    let template = json!({ "spec": { "containers": [{ "name": "main" }] } });
    let at_exit = json!({ "template": template });
    let plain = rendered_with(&at_exit, None);
    assert_eq!(rendered_with(&at_exit, Some(&config())), plain);
    let live = json!({ "reporting": { "mode": "Live" }, "template": template });
    assert_eq!(rendered_with(&live, None), plain);
    let windows = json!({ "containers": [{ "name": "main" }], "os": { "name": "windows" } });
    let windows = json!({ "reporting": { "mode": "Live" }, "template": { "spec": windows } });
    assert!(rendered_with(&windows, Some(&config()))["spec"]["initContainers"].is_null());
}

#[test]
fn without_a_server_the_agent_leaves_its_last_word_and_needs_no_token() {
    let spec =
        json!({ "reporting": { "mode": "Live" }, "template": { "spec": { "containers": [{ "name": "main" }] } } });
    let pod = rendered_with(&spec, Some(&AgentConfig { reports: None, ..config() }));
    let settings = variable(agent_of(&pod), "LONGTASK_AGENT").as_str().expect("a text");
    assert!(!settings.contains("posts"), "{settings}");
    assert_eq!(pod["spec"]["volumes"].as_array().map(Vec::len), Some(1));
}

#[test]
fn a_template_that_names_its_own_report_file_keeps_it() {
    let own = json!([{ "name": "LONGTASK_REPORT", "value": "/dev/termination-log" }]);
    let pod = live(json!({ "containers": [{ "name": "main", "env": own }] }));
    assert_eq!(variable(&pod["spec"]["containers"][0], "LONGTASK_REPORT"), "/dev/termination-log");
}

#[test]
fn the_agent_runs_as_the_program_does_and_meets_the_restricted_standard() {
    for (pod_user, main_user, user, is_root) in [
        (None, None, 65532, false),
        (Some(1000), None, 1000, false),
        (Some(1000), Some(2000), 2000, false),
        (Some(0), None, 0, true),
    ] {
        let context = |user: Option<i64>| user.map_or(Value::Null, |user| json!({ "runAsUser": user }));
        let pod = live(json!({ "securityContext": context(pod_user),
                               "containers": [{ "name": "main", "securityContext": context(main_user) }] }));
        let context = &agent_of(&pod)["securityContext"];
        assert_eq!((&context["runAsUser"], &context["runAsNonRoot"]), (&json!(user), &json!(!is_root)));
        assert_eq!(context["capabilities"], json!({ "drop": ["ALL"] }));
        assert_eq!(context["seccompProfile"], json!({ "type": "RuntimeDefault" }));
        assert_eq!(context["allowPrivilegeEscalation"], false);
    }
}

#[test]
fn the_pods_quality_of_service_stays_what_it_is() {
    let of = |pod_spec: Value| agent_of(&live(pod_spec))["resources"].clone();
    let little = json!({ "requests": { "cpu": "10m", "memory": "32Mi" }, "limits": { "memory": "64Mi" } });
    assert_eq!(of(json!({ "containers": [{ "name": "main" }] })), little);
    let all = json!({ "cpu": "1", "memory": "1Gi" });
    let guaranteed = json!({ "limits": all, "requests": all });
    let equal = json!({ "cpu": "50m", "memory": "64Mi" });
    let equal = json!({ "requests": equal, "limits": equal });
    assert_eq!(of(json!({ "containers": [{ "name": "main", "resources": guaranteed }] })), equal);
    assert_eq!(of(json!({ "containers": [{ "name": "main", "resources": { "limits": all } }] })), equal);
    let half = json!({ "containers": [{ "name": "main", "resources": guaranteed }, { "name": "side" }] });
    assert_eq!(of(half), little);
    let of_pod = json!({ "containers": [{ "name": "main" }], "resources": guaranteed });
    assert_eq!(of(of_pod), Value::Null, "those of the pod decide");
    let own = json!({ "limits": { "memory": "1Gi" } });
    let spec = json!({ "reporting": { "mode": "Live" }, "agent": { "resources": own },
                       "template": { "spec": { "containers": [{ "name": "main" }] } } });
    assert_eq!(agent_of(&rendered_with(&spec, Some(&config())))["resources"], own);
}

// === with a store of checkpoints

fn with_store(store: &Value, pod_spec: &Value, config: &AgentConfig) -> Value {
    rendered_with(&json!({ "checkpoint": { "store": store }, "template": { "spec": pod_spec } }), Some(config))
}

fn settings_of(container: &Value) -> Settings {
    serde_json::from_str(variable(container, "LONGTASK_AGENT").as_str().expect("a text")).expect("settings")
}

#[test]
fn a_store_brings_a_container_that_restores_and_a_volume_for_checkpoints() {
    let store = json!({ "url": "s3://bucket/runs", "endpoint": "http://minio:9000", "secretRef": { "name": "s3" } });
    let pod = with_store(&store, &json!({ "containers": [{ "name": "main" }, { "name": "side" }] }), &config());
    let init = pod["spec"]["initContainers"].as_array().expect("init containers");
    let names: Vec<_> = init.iter().map(|container| container["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["longtask-restore", "longtask-agent"]);
    let [restore, agent] = &init[..] else { panic!("two") };
    assert_eq!(restore["command"], json!(["/bin/longtask-agent", "restore"]));
    assert!(restore["restartPolicy"].is_null(), "it ends before the program starts");
    for container in [restore, agent] {
        assert_eq!(container["envFrom"], json!([{ "secretRef": { "name": "s3" } }]));
        assert_eq!(container["resources"]["limits"], json!({ "memory": "256Mi" }));
        let mounts = container["volumeMounts"].as_array().expect("mounts");
        assert!(mounts.contains(&json!({ "name": "longtask-checkpoints", "mountPath": "/checkpoints" })));
        let settings = settings_of(container).store.expect("a store");
        assert_eq!(
            (settings.url.as_str(), settings.endpoint.as_deref()),
            ("s3://bucket/runs", Some("http://minio:9000"))
        );
        assert_eq!((settings.uid.as_str(), settings.attempt, settings.segment), ("task-uid", 3, 2));
        assert_eq!((settings.patience_seconds, settings.grace_seconds), (480, 30));
        assert!(settings.restore.is_some_and(|restore| restore.named.is_none()));
    }
    let main = &pod["spec"]["containers"][0];
    assert_eq!(variable(main, "LONGTASK_CHECKPOINT_DIR"), "/checkpoints");
    assert_eq!(variable(main, "LONGTASK_SAVED"), "/longtask/run/saved");
    assert!(main["envFrom"].is_null(), "the program does not get the keys");
    assert!(pod["spec"]["containers"][1]["volumeMounts"].is_null());
    let annotation = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";
    assert_eq!(pod["metadata"]["annotations"][annotation], "longtask,longtask-checkpoints");
    assert!(settings_of(agent).posts.is_none(), "without live reports nothing is posted");
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    assert!(volumes.iter().all(|volume| volume["name"] != "longtask-token"));
}

#[test]
fn a_mount_of_the_program_that_covers_the_directory_or_the_store_is_the_agents_as_well() {
    let mounts = json!([
        { "name": "scratch", "mountPath": "/" },
        { "name": "nvme", "mountPath": "/checkpoints/", "subPath": "of-task" },
        { "name": "nfs", "mountPath": "/mnt/store" },
        { "name": "other", "mountPath": "/check" },
    ]);
    let spec = json!({ "containers": [{ "name": "main", "volumeMounts": mounts }] });
    let store = json!({ "url": "file:///mnt/store/runs", "directory": "/checkpoints" });
    let pod = with_store(&store, &spec, &config());
    let restore = &pod["spec"]["initContainers"][0];
    assert_eq!(restore["volumeMounts"], json!([mounts[1], mounts[2]]));
    let volumes = pod["spec"]["volumes"].as_array().expect("volumes");
    assert!(volumes.iter().all(|volume| volume["name"] != "longtask-checkpoints"));
    let main = pod["spec"]["containers"][0]["volumeMounts"].as_array().expect("mounts");
    assert_eq!(main.len(), 5, "its own, and that of reports");
}

#[test]
fn what_the_status_names_is_restored_and_kept_and_the_program_is_told_where_it_is() {
    let uri = |task: &str, number: u32| format!("s3://bucket/n/t/{task}/2-1a2b3c4d/{number}/manifest.json");
    let checkpoint = |sequence: u32, uri: String| {
        json!({
            "sequence": sequence, "attempt": 2, "segment": 1, "recordTime": "2026-11-24T10:00:00Z",
            "uri": uri, "digest": "sha256:1",
        })
    };
    let of = |checkpoint: Value, history: Value| {
        let status = json!({ "checkpoint": checkpoint, "checkpointHistory": history, "checkpointEpoch": 2 });
        let spec = json!({
            "checkpoint": { "store": { "url": "s3://bucket" } }, "template": { "spec": { "containers": [{ "name": "main" }] } },
        });
        let pod = rendered_from(&spec, &serde_json::from_value(status).expect("a status"), Some(&config()));
        let settings = settings_of(&pod["spec"]["initContainers"][0]).store.expect("a store");
        (settings, variable(&pod["spec"]["containers"][0], "LONGTASK_CHECKPOINT").clone())
    };
    let (settings, told) = of(
        checkpoint(5, uri("task-uid", 7)),
        json!([checkpoint(4, uri("task-uid", 6)), checkpoint(3, "s3://own/model".into())]),
    );
    let restore = settings.restore.expect("it restores");
    assert_eq!(restore.named.map(|named| (named.uri, named.digest)), Some((uri("task-uid", 7), "sha256:1".into())));
    assert_eq!(restore.epoch, 2);
    let kept: Vec<_> = settings.keep.iter().map(ToString::to_string).collect();
    assert_eq!(kept, ["2-1a2b3c4d/7", "2-1a2b3c4d/6"]);
    assert_eq!(told, json!("{\"path\":\"restored\"}"));
    let (settings, told) = of(checkpoint(5, uri("another-task", 7)), json!([]));
    let named = settings.restore.and_then(|restore| restore.named).expect("it is refused, and not passed over");
    assert_eq!((named.uri, settings.keep), (uri("another-task", 7), Vec::new()));
    assert!(told.as_str().is_some_and(|told| told.contains("another-task")));
    let (settings, _) = of(checkpoint(5, "s3://own/model".into()), json!([]));
    assert!(settings.restore.is_none(), "the program keeps its own");
}
