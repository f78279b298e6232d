//! The model cluster: one task, its pods, an API server that refuses nothing, and a clock that jumps.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::{
    agent::SimAgent,
    pod::{SimPod, later},
    script::{Edit, Fate, Word},
};
use crate::{
    api::task::{LongTask, LongTaskStatus, Restart, RestartFrom},
    task::{
        plan::{CurrentPod, Live, Observed, Plan, Step, plan},
        render::AgentConfig,
    },
    types::GoDuration,
};

/// The cluster.
pub(super) struct Cluster {
    pub(super) task: LongTask,
    pub(super) now: Timestamp,
    pub(super) is_task_gone: bool,
    uid: String,
    pods: Vec<SimPod>,
    agents: Arc<AgentConfig>,
    /// When the task was applied.
    start: Timestamp,
}

impl Cluster {
    /// A cluster in which the task was just applied.
    pub(super) fn new(mut task: LongTask, uid: &str, now: Timestamp) -> Self {
        task.status = None;
        task.metadata.uid = Some(uid.to_owned());
        task.metadata.generation = Some(1);
        task.metadata.deletion_timestamp = None;
        // Where `kubectl apply` would put it.
        task.metadata.namespace.get_or_insert_with(|| "default".to_owned());
        let agents = SimAgent::config();
        Self { task, now, is_task_gone: false, uid: uid.to_owned(), pods: Vec::new(), agents, start: now }
    }

    /// The status, or none yet.
    pub(super) fn status(&self) -> LongTaskStatus {
        self.task.status.clone().unwrap_or_default()
    }

    /// The planner's answer to what is so now.
    pub(super) fn plan(&self) -> Plan {
        let pods: Vec<_> = self.pods.iter().filter_map(SimPod::facts).map(Arc::new).collect();
        let mut seen = Observed::of(&self.task, &self.uid, pods);
        seen.live = self.live(&seen.current);
        plan(&seen, self.now)
    }

    /// What the operator knows of the agent in that pod: it takes reports, and each of them comes through.
    fn live(&self, current: &CurrentPod) -> Live {
        let report = match current {
            CurrentPod::Found(pod) => self.pods.iter().find(|one| one.has_uid(&pod.uid)).and_then(SimPod::posted),
            CurrentPod::None | CurrentPod::Gone => None,
        };
        Live { agent: Some(Arc::clone(&self.agents)), listening_since: Some(self.start), report, turn: None }
    }

    /// Writes the status.
    pub(super) fn write(&mut self, status: LongTaskStatus) {
        self.task.status = Some(status);
    }

    /// Takes a step that needs nothing from the script.
    pub(super) fn take(&mut self, step: &Step) {
        match step {
            // A create is the script's; nobody touches labels or has quota here, claims are as good as there, and the task is complete.
            Step::CreateClaim(_)
            | Step::CreatePod(_)
            | Step::DeleteClaim(_)
            | Step::FillIn(_)
            | Step::RestoreLabel(_)
            | Step::ReturnQuota(_) => {}
            Step::LowerDeadline { pod, seconds } => {
                self.pods.iter_mut().filter(|one| one.is(pod)).for_each(|one| one.lower_deadline(*seconds));
            }
            Step::DeletePod(pod) => self.pods.iter_mut().filter(|one| one.is(pod)).for_each(|one| one.delete(self.now)),
            Step::ReleasePod(pod) => self.pods.iter_mut().filter(|one| one.is(pod)).for_each(SimPod::release),
            Step::DeleteTask => self.is_task_gone = true,
        }
    }

    /// Creates a pod that is to end like this.
    pub(super) fn create(&mut self, pod: Pod, word: &Word, fate: Fate) {
        self.pods.push(SimPod::create(pod, word, fate, self.now));
    }

    /// Lets happen what is due.
    pub(super) fn go_on(&mut self) -> Option<Edit> {
        let now = self.now;
        let edits: Vec<_> = self.pods.iter_mut().filter_map(|pod| pod.go_on(now)).collect();
        self.pods.retain(|pod| !pod.is_gone());
        edits.into_iter().next()
    }

    /// When something happens to a pod next, or is heard of it; none when no pod runs.
    pub(super) fn next_moment(&self) -> Option<Timestamp> {
        let silences = self.pods.iter().filter_map(|pod| self.silent_for_too_long_at(pod));
        self.pods.iter().filter_map(SimPod::next_moment).chain(silences).min()
    }

    /// When the agent of a pod tells that its program has been silent for as long as it may.
    fn silent_for_too_long_at(&self, pod: &SimPod) -> Option<Timestamp> {
        let timeout = self.task.spec.segment.heartbeat_timeout.map(GoDuration::as_secs)?;
        pod.silent_since().map(|since| later(since, timeout)).filter(|moment| *moment > self.now)
    }

    /// The user changes the specification.
    pub(super) fn edit(&mut self, edit: Edit) {
        let generation = self.task.metadata.generation.unwrap_or_default().saturating_add(1);
        self.task.metadata.generation = Some(generation);
        let spec = &mut self.task.spec;
        match edit {
            Edit::Suspend => spec.suspend = true,
            Edit::Resume => spec.suspend = false,
            Edit::Cancel => spec.cancel = true,
            Edit::Restart => {
                spec.cancel = false;
                let (from, checkpoint_sequence) = spec
                    .restart
                    .as_ref()
                    .map_or((RestartFrom::Latest, None), |old| (old.from, old.checkpoint_sequence));
                spec.restart =
                    Some(Restart { token: format!("simulated-{generation}"), from, checkpoint_sequence, renew: false });
            }
        }
    }
}
