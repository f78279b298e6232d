//! What the agent of a model pod has in the task's store: each checkpoint is one step of the program.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use crate::contract::agent::{
    self, MANIFEST, NamedSave, RestoreError, RestoreTrouble, RestoreWord, SaveName, Settings, StoreSettings,
};

/// What stands in the place of a pod's UID in the names of saves.
const POD: &str = "simulate";

/// The saves of a task that has a store.
#[derive(Debug)]
pub(super) struct Saves(StoreSettings);

impl Saves {
    /// Those that a pod is told of.
    pub(super) fn of(pod: &Pod) -> Option<Self> {
        let mut containers = pod.spec.iter().flat_map(|spec| spec.init_containers.iter().flatten());
        let restore = containers.find(|container| container.name == agent::RESTORE_CONTAINER)?;
        let settings = restore.env.iter().flatten().find(|variable| variable.name == agent::SETTINGS)?;
        let settings: Settings = serde_json::from_str(settings.value.as_deref()?).ok()?;
        settings.store.map(Self)
    }

    fn named(&self) -> Option<&NamedSave> {
        self.0.restore.as_ref()?.named.as_ref()
    }

    /// The step that the program resumes from.
    pub(super) fn last_step(&self) -> Option<i64> {
        let name = SaveName::in_uri(&self.named()?.uri, &self.0.uid)?;
        i64::try_from(name.number).ok()
    }

    /// The checkpoint of a step, as an agent tells of it that has saved it.
    pub(super) fn checkpoint(&self, step: i64) -> Value {
        let StoreSettings { url, namespace, name, uid, attempt, .. } = &self.0;
        let save = SaveName::of_pod(*attempt, POD, step.unsigned_abs());
        json!({ "path": format!("step-{step}"), "uri": format!("{url}/{namespace}/{name}/{uid}/{save}/{MANIFEST}") })
    }

    /// How the container ends that cannot read the save that it is to restore: its exit code and its message. None where
    /// there is nothing to restore.
    pub(super) fn unreadable(&self) -> Option<(i32, String)> {
        let message = format!("{} is not what was saved", self.named()?.uri);
        let reason = RestoreTrouble::Unreadable;
        let error = Some(RestoreError { reason, message });
        Some((reason.exit_code().into(), RestoreWord { error, ..RestoreWord::default() }.written()))
    }
}
