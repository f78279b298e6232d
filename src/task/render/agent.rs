//! The agent beside the program: its container, its volumes, and what it is told.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Capabilities, Container, EmptyDirVolumeSource, EnvVar, ExecAction, Lifecycle, LifecycleHandler, PodSpec,
        ProjectedVolumeSource, ResourceRequirements, SeccompProfile, SecurityContext, ServiceAccountTokenProjection,
        Volume, VolumeMount, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

use super::env;
use crate::{
    api::task::LongTask,
    contract::agent::{self, PostSettings, Settings},
};

/// The agent's program in the operator's image.
const PROGRAM: &str = "/longtask-agent";
/// The user of the operator's image.
const IMAGE_USER: i64 = 65532;
/// How long a token is good for, in seconds; the kubelet renews it before.
const TOKEN_SECONDS: i64 = 3600;
/// The most that the volume of reports takes. What the agent has read is freed at once.
const VOLUME_SIZE: &str = "16Mi";
/// Tells the cluster's autoscaler which volumes need not keep a node.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// What agents have to know of how the operator was installed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentConfig {
    /// The image with the agent.
    pub image: String,
    /// Where reports are posted; none where the operator takes none.
    pub reports: Option<ReportServer>,
}

/// Where reports are posted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportServer {
    /// The addresses of the operator, the best one first.
    pub addresses: Vec<String>,
    /// The certificate authority of its certificate, as PEM.
    pub certificate_authority: String,
}

/// The agent that the pods of this task get, if they get one. Kubernetes on Windows has no place for it.
pub(super) fn of<'a>(task: &LongTask, config: Option<&'a AgentConfig>) -> Option<&'a AgentConfig> {
    let os = task.spec.template.spec.as_ref().and_then(|spec| spec.os.as_ref());
    config.filter(|_| task.spec.is_live() && os.is_none_or(|os| os.name != "windows"))
}

/// Adds the agent to a pod: the last of its init containers, so that the template's own sidecars are there before it and
/// after it.
pub(super) fn add(spec: &mut PodSpec, main: &str, task: &LongTask, config: &AgentConfig) {
    let container = container(spec, main, task, config);
    if let Some(main) = spec.containers.iter_mut().find(|container| container.name == main) {
        show_report_file(main);
    }
    spec.init_containers.get_or_insert_default().push(container);
    let volumes = spec.volumes.get_or_insert_default();
    volumes.push(reports_volume());
    if config.reports.is_some() {
        volumes.push(token_volume());
    }
}

/// Adds our volume to those that need not keep a node.
pub(super) fn annotate(annotations: &mut BTreeMap<String, String>) {
    let volumes = annotations.entry(SAFE_TO_EVICT.to_owned()).or_default();
    if !volumes.is_empty() {
        volumes.push(',');
    }
    volumes.push_str(agent::VOLUME);
}

/// Shows the main container the report file. A template that names another file in the variable keeps that: what is written
/// there is read at the end.
fn show_report_file(main: &mut Container) {
    let mount =
        VolumeMount { name: agent::VOLUME.into(), mount_path: agent::VOLUME_PATH.into(), ..VolumeMount::default() };
    main.volume_mounts.get_or_insert_default().push(mount);
}

fn container(spec: &PodSpec, main: &str, task: &LongTask, config: &AgentConfig) -> Container {
    let containers = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len) + 1;
    let prepare = ExecAction { command: Some(vec![PROGRAM.into(), "prepare".into()]) };
    let mount = |name: &str, path: &str, read_only| VolumeMount {
        name: name.to_owned(),
        mount_path: path.to_owned(),
        read_only,
        ..VolumeMount::default()
    };
    let token = config.reports.as_ref().map(|_| mount(agent::TOKEN_VOLUME, agent::TOKEN_PATH, Some(true)));
    Container {
        name: agent::CONTAINER.into(),
        image: Some(config.image.clone()),
        command: Some(vec![PROGRAM.into()]),
        restart_policy: Some("Always".into()),
        // The report file is there before the program starts.
        lifecycle: Some(Lifecycle {
            post_start: Some(LifecycleHandler { exec: Some(prepare), ..LifecycleHandler::default() }),
            ..Lifecycle::default()
        }),
        env: Some(vec![settings(task, config, containers)]),
        resources: resources(spec, task),
        security_context: Some(security_context(spec, main)),
        volume_mounts: Some([mount(agent::VOLUME, agent::VOLUME_PATH, None)].into_iter().chain(token).collect()),
        ..Container::default()
    }
}

fn settings(task: &LongTask, config: &AgentConfig, containers: usize) -> EnvVar {
    let segment = &task.spec.segment;
    let seconds = |seconds: i64| u32::try_from(seconds).unwrap_or(u32::MAX);
    let settings = Settings {
        version: Settings::VERSION,
        word_bytes: Settings::word_bytes_beside(containers),
        posts: config.reports.as_ref().map(|server| PostSettings {
            addresses: server.addresses.clone(),
            certificate_authority: server.certificate_authority.clone(),
            next_seconds: seconds(task.spec.reporting.interval.as_secs()),
            keep_alive_seconds: seconds(segment.keep_alive_seconds()),
            grace_seconds: seconds(segment.grace_period.as_secs()),
        }),
    };
    // Such a value cannot fail to be written; if it did, the agent would say that it cannot read it.
    env::variable(agent::SETTINGS, serde_json::to_string(&settings).unwrap_or_default())
}

/// All that Pod Security *restricted* asks for. As the program's user, so that the two can read each other's files; one that
/// is root makes a root of the agent, too.
fn security_context(spec: &PodSpec, main: &str) -> SecurityContext {
    let of_main = spec.containers.iter().find(|container| container.name == main);
    let of_main = of_main.and_then(|main| main.security_context.as_ref());
    let of_pod = spec.security_context.as_ref();
    let user = of_main.and_then(|main| main.run_as_user).or_else(|| of_pod.and_then(|pod| pod.run_as_user));
    let group = of_main.and_then(|main| main.run_as_group).or_else(|| of_pod.and_then(|pod| pod.run_as_group));
    SecurityContext {
        run_as_user: Some(user.unwrap_or(IMAGE_USER)),
        run_as_group: group.or_else(|| user.is_none().then_some(IMAGE_USER)),
        run_as_non_root: Some(user != Some(0)),
        allow_privilege_escalation: Some(false),
        privileged: Some(false),
        read_only_root_filesystem: Some(true),
        capabilities: Some(Capabilities { drop: Some(vec!["ALL".into()]), add: None }),
        seccomp_profile: Some(SeccompProfile { type_: "RuntimeDefault".into(), localhost_profile: None }),
        ..SecurityContext::default()
    }
}

/// What the user says; else little, and such that the pod's quality of service stays what it is.
fn resources(spec: &PodSpec, task: &LongTask) -> Option<ResourceRequirements> {
    if task.spec.agent.resources.is_some() {
        return task.spec.agent.resources.clone();
    }
    let amounts = |amounts: &[(&str, &str)]| {
        let amounts = amounts.iter().map(|(name, amount)| ((*name).to_owned(), Quantity((*amount).to_owned())));
        Some(amounts.collect::<BTreeMap<_, _>>())
    };
    let of = |requests: &[(&str, &str)], limits: &[(&str, &str)]| {
        Some(ResourceRequirements {
            requests: amounts(requests),
            limits: amounts(limits),
            ..ResourceRequirements::default()
        })
    };
    if spec.resources.is_some() {
        // Those of the pod must hold the sum of all containers, and decide alone.
        None
    } else if is_guaranteed(spec) {
        let all = [("cpu", "50m"), ("memory", "64Mi")];
        of(&all, &all)
    } else {
        of(&[("cpu", "10m"), ("memory", "32Mi")], &[("memory", "64Mi")])
    }
}

/// Whether the pod is of quality of service Guaranteed: all containers have limits of CPU and memory, and request no less.
fn is_guaranteed(spec: &PodSpec) -> bool {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let has_equal = |container: &Container| {
        let Some(resources) = &container.resources else { return false };
        ["cpu", "memory"].into_iter().all(|name| {
            let limit = resources.limits.as_ref().and_then(|limits| limits.get(name));
            let request = resources.requests.as_ref().and_then(|requests| requests.get(name));
            limit.is_some() && request.is_none_or(|request| Some(request) == limit)
        })
    };
    all.into_iter().all(has_equal)
}

/// In memory, so that a full disk does not stop reports.
fn reports_volume() -> Volume {
    let size_limit = Some(Quantity(VOLUME_SIZE.into()));
    let empty_dir =
        Some(EmptyDirVolumeSource { medium: Some("Memory".into()), size_limit, ..EmptyDirVolumeSource::default() });
    Volume { name: agent::VOLUME.into(), empty_dir, ..Volume::default() }
}

/// A token that only the operator's report server takes, and that says which pod it is of.
fn token_volume() -> Volume {
    let token = ServiceAccountTokenProjection {
        audience: Some(agent::TOKEN_AUDIENCE.into()),
        expiration_seconds: Some(TOKEN_SECONDS),
        path: "token".into(),
        ..ServiceAccountTokenProjection::default()
    };
    let sources = Some(vec![VolumeProjection { service_account_token: Some(token), ..VolumeProjection::default() }]);
    let projected = Some(ProjectedVolumeSource { sources, ..ProjectedVolumeSource::default() });
    Volume { name: agent::TOKEN_VOLUME.into(), projected, ..Volume::default() }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;
    use crate::{
        api::task::{CurrentAttempt, LongTaskStatus},
        task::render::pod,
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
        let prepare = json!(["/longtask-agent", "prepare"]);
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
}
