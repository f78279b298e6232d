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
const PROGRAM: &str = "/bin/longtask-agent";
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

/// Where reports are posted; by default, at no address that a network has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
