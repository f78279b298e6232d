//! The store of checkpoints: the container that restores, and where the agent finds what it saves.

use k8s_openapi::api::core::v1::{
    Container, EmptyDirVolumeSource, EnvFromSource, EnvVar, EnvVarSource, ObjectFieldSelector, PodSpec,
    SecretEnvSource, Volume, VolumeMount,
};

use super::{
    config::AgentConfig,
    likeness,
    pieces::{PROGRAM, mount, seconds},
};
use crate::{
    api::task::{CheckpointStore, LongTaskStatus},
    contract::agent::{self, NamedSave, RestoreSettings, StoreSettings},
    task::render::{
        env,
        made::Made,
        stored::{is_save, saves_named},
    },
};

/// How much of the time that a start may take a restore waits for a store that does not answer, in percent.
const PATIENCE: i64 = 80;
/// How a URL begins that is a directory on a volume of the main container.
const FILE: &str = "file://";

/// The directory of checkpoints, and what else the agent needs of the main container's volumes.
pub(super) struct Place {
    directory: String,
    /// The mounts of the main container that cover the directory, and the store if that is a directory.
    given: Vec<VolumeMount>,
    /// Whether the directory is on a volume of ours.
    is_own: bool,
    secret: Option<String>,
}

impl Place {
    pub(super) fn of(store: &CheckpointStore, spec: &PodSpec, main: &str) -> Self {
        let main = spec.containers.iter().find(|container| container.name == main);
        let mounts = main.and_then(|main| main.volume_mounts.as_deref()).unwrap_or_default();
        let covering = covering(mounts, &store.directory);
        let of_store = store.url.strip_prefix(FILE).and_then(|path| self::covering(mounts, path));
        let mut given: Vec<_> = covering.into_iter().chain(of_store).cloned().collect();
        given.dedup();
        Self {
            directory: store.directory.clone(),
            is_own: covering.is_none(),
            given,
            secret: store.secret_ref.as_ref().map(|secret| secret.name.clone()),
        }
    }

    /// Shows the main container where it finds checkpoints, and where it learns which are safe.
    pub(super) fn show(&self, main: &mut Container) {
        let ours = [env::variable(env::CHECKPOINT_DIR, &self.directory), env::variable(env::SAVED, agent::SAVED_FILE)];
        env::add(main, ours);
        if self.is_own {
            main.volume_mounts.get_or_insert_default().push(self.own_mount());
        }
    }

    /// What the agent's containers mount for it.
    pub(super) fn mounts(&self) -> impl Iterator<Item = VolumeMount> {
        self.given.iter().cloned().chain(self.is_own.then(|| self.own_mount()))
    }

    /// The credentials, which the program does not get.
    pub(super) fn credentials(&self) -> Option<Vec<EnvFromSource>> {
        let secret = SecretEnvSource { name: self.secret.clone()?, optional: None };
        Some(vec![EnvFromSource { secret_ref: Some(secret), ..EnvFromSource::default() }])
    }

    /// The volume, if the template has none.
    pub(super) fn into_volume(self) -> Option<Volume> {
        self.is_own.then(|| Volume {
            name: agent::CHECKPOINTS_VOLUME.into(),
            empty_dir: Some(EmptyDirVolumeSource::default()),
            ..Volume::default()
        })
    }

    fn own_mount(&self) -> VolumeMount {
        mount(agent::CHECKPOINTS_VOLUME, &self.directory, None)
    }
}

/// The mount that a path is on: the innermost of those above it.
fn covering<'a>(mounts: &'a [VolumeMount], path: &str) -> Option<&'a VolumeMount> {
    let is_above = |mount: &&VolumeMount| {
        let rest = path.strip_prefix(mount.mount_path.trim_end_matches('/'));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    mounts.iter().filter(is_above).max_by_key(|mount| mount.mount_path.len())
}

/// The container that restores what the program resumes from. It is there in every attempt, and ends at once if there is
/// nothing to restore: a pod's shape does not change between attempts.
pub(super) fn restore(
    spec: &PodSpec,
    made: Made<'_>,
    config: &AgentConfig,
    place: &Place,
    settings: &EnvVar,
) -> Container {
    Container {
        name: agent::RESTORE_CONTAINER.into(),
        image: Some(config.image.clone()),
        command: Some(vec![PROGRAM.into(), "restore".into()]),
        env: Some(vec![settings.clone(), pod_uid()]),
        env_from: place.credentials(),
        resources: likeness::resources(spec, made.task),
        security_context: Some(likeness::security_context(spec, made.main)),
        volume_mounts: Some(place.mounts().collect()),
        ..Container::default()
    }
}

/// The UID of the pod, which nobody knows before it is there.
pub(super) fn pod_uid() -> EnvVar {
    let field_ref = ObjectFieldSelector { field_path: "metadata.uid".into(), api_version: None };
    EnvVar {
        name: agent::POD_UID.into(),
        value_from: Some(EnvVarSource { field_ref: Some(field_ref), ..EnvVarSource::default() }),
        value: None,
    }
}

/// What the agent is told of the store, if the task has one.
pub(super) fn settings(made: Made<'_>) -> Option<StoreSettings> {
    let Made { task, uid, status, attempt, .. } = made;
    let store = task.spec.checkpoint.store.as_ref()?;
    let segment = &task.spec.segment;
    Some(StoreSettings {
        url: store.url.clone(),
        endpoint: store.endpoint.clone(),
        region: store.region.clone(),
        directory: store.directory.clone(),
        namespace: task.metadata.namespace.clone().unwrap_or_default(),
        name: task.metadata.name.clone().unwrap_or_default(),
        uid: uid.to_owned(),
        attempt: attempt.number,
        segment: attempt.segment,
        restore: what_to_restore(status),
        keep: saves_named(status, uid),
        grace_seconds: seconds(segment.grace_period.as_secs()),
        patience_seconds: seconds(segment.start_timeout.as_secs().saturating_mul(PATIENCE) / 100),
    })
}

/// The save that the status names, or whatever is newer. A program that keeps its checkpoint elsewhere has nothing restored.
/// A save of another task is named as well: the restore refuses it, and else the program would begin anew.
fn what_to_restore(status: &LongTaskStatus) -> Option<RestoreSettings> {
    let epoch = status.checkpoint_epoch;
    let Some(checkpoint) = &status.checkpoint else { return Some(RestoreSettings { named: None, epoch }) };
    if !is_save(checkpoint) {
        return None;
    }
    let named = NamedSave { uri: checkpoint.uri.clone()?, digest: checkpoint.digest.clone().unwrap_or_default() };
    Some(RestoreSettings { named: Some(named), epoch })
}
