//! Tests of a pod with an agent.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{
    agent::{AgentConfig, ReportServer},
    pod::pod,
};
use crate::{
    api::task::{CurrentAttempt, LongTask, LongTaskStatus},
    contract::agent::Settings,
};

fn config() -> AgentConfig {
    let reports = ReportServer { addresses: vec!["10.0.0.7:8443".into()], certificate_authority: "PEM".into() };
    AgentConfig { image: "longtask:1".into(), reports: Some(reports) }
}

/// The pod of a task with this specification, as JSON.
fn rendered_with(spec: &Value, config: Option<&AgentConfig>) -> Value {
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
    let pod: Pod = pod(&task, "task-uid", &LongTaskStatus::default(), &attempt, 90, config);
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
