//! The agent beside the program: its containers, its volumes, and what it is told.

mod config;
mod likeness;
mod pieces;
mod store;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{
        Container, EmptyDirVolumeSource, EnvVar, ExecAction, Lifecycle, LifecycleHandler, PodSpec,
        ProjectedVolumeSource, ServiceAccountTokenProjection, Volume, VolumeProjection,
    },
    apimachinery::pkg::api::resource::Quantity,
};

pub use self::config::{AgentConfig, ReportServer};
use self::{
    pieces::{PROGRAM, mount, seconds},
    store::Place,
};
use super::{env, made::Made};
use crate::{
    api::task::LongTask,
    contract::agent::{self, PostSettings, Settings},
};

/// How long a token is good for, in seconds; the kubelet renews it before.
const TOKEN_SECONDS: i64 = 3600;
/// The most that the volume of reports takes. What the agent has read is freed at once.
const VOLUME_SIZE: &str = "16Mi";
/// Tells the cluster's autoscaler which volumes need not keep a node.
const SAFE_TO_EVICT: &str = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes";

/// The agent that the pods of this task get, if they get one. Kubernetes on Windows has no place for it.
pub(super) fn of<'a>(task: &LongTask, config: Option<&'a AgentConfig>) -> Option<&'a AgentConfig> {
    config.filter(|_| task.spec.wants_agent() && !is_for_windows(task))
}

/// Whether the pods of a task are for Windows.
pub fn is_for_windows(task: &LongTask) -> bool {
    let os = task.spec.pod().and_then(|spec| spec.os.as_ref());
    os.is_some_and(|os| os.name == "windows")
}

/// Adds the agent to a pod: behind the template's own init containers, so that their sidecars are there before it and after
/// it. With a store, the container that restores comes right before it.
pub(super) fn add(spec: &mut PodSpec, made: Made<'_>, config: &AgentConfig) {
    let place = made.task.spec.checkpoint.store.as_ref().map(|store| Place::of(store, spec, made.main));
    let posts = config.reports.as_ref().filter(|_| made.task.spec.is_live());
    let settings = settings(spec, made, posts);
    let restore = place.as_ref().map(|place| store::restore(spec, made, config, place, &settings));
    let container = container(spec, made, config, place.as_ref(), &settings);
    if let Some(main) = spec.containers.iter_mut().find(|container| container.name == made.main) {
        show_report_file(main);
        if let Some(place) = &place {
            place.show(main);
        }
    }
    spec.init_containers.get_or_insert_default().extend(restore.into_iter().chain([container]));
    let volumes = spec.volumes.get_or_insert_default();
    volumes.push(reports_volume());
    volumes.extend(posts.map(|_| token_volume()));
    volumes.extend(place.and_then(Place::into_volume));
}

/// Adds our volumes to those that need not keep a node.
pub(super) fn annotate(annotations: &mut BTreeMap<String, String>, spec: &PodSpec) {
    let named = annotations.entry(SAFE_TO_EVICT.to_owned()).or_default();
    let volumes = spec.volumes.iter().flatten().map(|volume| volume.name.as_str());
    for ours in volumes.filter(|name| [agent::VOLUME, agent::CHECKPOINTS_VOLUME].contains(name)) {
        if !named.is_empty() {
            named.push(',');
        }
        named.push_str(ours);
    }
}

/// Shows the main container the report file. A template that names another file in the variable keeps that: what is written
/// there is read at the end.
fn show_report_file(main: &mut Container) {
    main.volume_mounts.get_or_insert_default().push(mount(agent::VOLUME, agent::VOLUME_PATH, None));
}

fn container(
    spec: &PodSpec,
    made: Made<'_>,
    config: &AgentConfig,
    place: Option<&Place>,
    settings: &EnvVar,
) -> Container {
    let prepare = ExecAction { command: Some(vec![PROGRAM.into(), "prepare".into()]) };
    let posts = config.reports.is_some() && made.task.spec.is_live();
    let token = posts.then(|| mount(agent::TOKEN_VOLUME, agent::TOKEN_PATH, Some(true)));
    let reports = mount(agent::VOLUME, agent::VOLUME_PATH, None);
    let mounts = [reports].into_iter().chain(token).chain(place.iter().flat_map(|place| place.mounts()));
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
        env: Some([settings.clone()].into_iter().chain(place.map(|_| store::pod_uid())).collect()),
        env_from: place.and_then(Place::credentials),
        resources: likeness::resources(spec, made.task),
        security_context: Some(likeness::security_context(spec, made.main)),
        volume_mounts: Some(mounts.collect()),
        ..Container::default()
    }
}

fn settings(spec: &PodSpec, made: Made<'_>, posts: Option<&ReportServer>) -> EnvVar {
    let segment = &made.task.spec.segment;
    let ours = 1 + usize::from(made.task.spec.checkpoint.store.is_some());
    let containers = spec.containers.len() + spec.init_containers.as_ref().map_or(0, Vec::len) + ours;
    let settings = Settings {
        version: Settings::VERSION,
        word_bytes: Settings::word_bytes_beside(containers),
        posts: posts.map(|server| PostSettings {
            addresses: server.addresses.clone(),
            certificate_authority: server.certificate_authority.clone(),
            next_seconds: seconds(made.task.spec.reporting.interval.as_secs()),
            keep_alive_seconds: seconds(segment.keep_alive_seconds()),
            grace_seconds: seconds(segment.grace_period.as_secs()),
        }),
        store: store::settings(made),
    };
    // Such a value cannot fail to be written; if it did, the agent would say that it cannot read it.
    env::variable(agent::SETTINGS, serde_json::to_string(&settings).unwrap_or_default())
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
