//! The record of a story: every version of every task and pod in its namespace, and whether the invariants held.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::{
    api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod},
    jiff::Timestamp,
};
use kube::{
    Api, Client, ResourceExt,
    runtime::watcher::{self, Event, watcher},
};
use longtask::api::{
    labels,
    task::{LongTask, LongTaskStatus},
};
use tokio::{sync::watch, task::JoinHandle, time::timeout};

/// The most bytes that a status may have with every field at its maximum, 16 KiB of that a result.
const LARGEST_STATUS: usize = 36_000;

/// Label of a copy that a story made of a pod: it is no doing of the operator's, and not recorded.
pub(crate) const COPY_LABEL: &str = "longtask.dev/e2e-copy";

/// What was seen so far; clones share it.
#[derive(Clone)]
pub(crate) struct Record {
    seen: Arc<Mutex<Sightings>>,
    changed: watch::Sender<()>,
}

/// Everything that was seen.
#[derive(Default)]
pub(crate) struct Sightings {
    pods: Vec<PodHistory>,
    tasks: BTreeMap<String, TaskHistory>,
    violations: Vec<String>,
}

/// Every version of one pod.
#[derive(Clone, Debug)]
pub(crate) struct PodHistory {
    pub(crate) name: String,
    pub(crate) attempt: i64,
    pub(crate) versions: Vec<Pod>,
    pub(crate) is_gone: bool,
    uid: String,
    task: String,
    task_uid: String,
}

#[derive(Default)]
struct TaskHistory {
    name: String,
    statuses: Vec<LongTaskStatus>,
    /// The same with the moments at which they were written.
    writes: Vec<(Timestamp, LongTaskStatus)>,
    is_gone: bool,
}

/// Follows the namespace until it is dropped.
pub(super) struct Recorder(JoinHandle<()>);

impl Recorder {
    /// Returns when the watches stand.
    pub(super) async fn start(client: &Client, namespace: &str) -> (Record, Self) {
        let record = Record { seen: Arc::default(), changed: watch::Sender::new(()) };
        let stands = watch::Sender::new(0);
        let tasks = watcher(Api::<LongTask>::namespaced(client.clone(), namespace), watcher::Config::default());
        let pods = watcher(Api::<Pod>::namespaced(client.clone(), namespace), watcher::Config::default());
        let (of_tasks, of_pods) = (record.clone(), record.clone());
        let (count_tasks, count_pods) = (stands.clone(), stands.clone());
        let follow_tasks = tasks.for_each(move |event| {
            of_tasks.take_in(event, &count_tasks, Sightings::task_is, Sightings::task_is_gone);
            std::future::ready(())
        });
        let follow_pods = pods.for_each(move |event| {
            of_pods.take_in(event, &count_pods, Sightings::pod_is, Sightings::pod_is_gone);
            std::future::ready(())
        });
        let handle = tokio::spawn(async {
            tokio::join!(follow_tasks, follow_pods);
        });
        let both_stand = async { stands.subscribe().wait_for(|standing| *standing == 2).await.map(|_| ()) };
        let standing = timeout(Duration::from_secs(20), both_stand).await;
        assert!(matches!(standing, Ok(Ok(()))), "the watches of the record do not stand");
        (record, Self(handle))
    }

    /// A recorder that died saw no violations because it saw nothing.
    pub(super) fn assert_alive(&self) {
        assert!(!self.0.is_finished(), "the recorder ended before the story");
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Record {
    fn take_in<K>(
        &self,
        event: Result<Event<K>, watcher::Error>,
        standing: &watch::Sender<i32>,
        is: fn(&mut Sightings, K),
        is_gone: fn(&mut Sightings, &K),
    ) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => is(&mut seen, object),
            Ok(Event::Delete(object)) => is_gone(&mut seen, &object),
            Ok(Event::InitDone) => standing.send_modify(|standing| *standing += 1),
            Ok(Event::Init) => {}
            Err(error) => eprintln!("a watch of the record broke, and is resumed: {error}"),
        }
        drop(seen);
        self.changed.send_replace(());
    }

    /// Looks at what was seen so far.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Sightings) -> T) -> T {
        look(&self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until the question has an answer.
    pub(super) async fn answer<T>(&self, mut question: impl FnMut(&Sightings) -> Option<T>) -> T {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(answer) = self.look(&mut question) {
                return answer;
            }
            changed.changed().await.expect("the record has a sender of its own");
        }
    }
}

impl Sightings {
    /// Every status of a task that was seen, in order.
    pub(crate) fn statuses(&self, task_uid: &str) -> &[LongTaskStatus] {
        self.tasks.get(task_uid).map_or(&[], |task| &task.statuses)
    }

    /// Every status of a task that was seen, with the moment at which it was written.
    pub(crate) fn writes(&self, task_uid: &str) -> &[(Timestamp, LongTaskStatus)] {
        self.tasks.get(task_uid).map_or(&[], |task| &task.writes)
    }

    /// The pods of a task, in the order of creation.
    pub(crate) fn pods_of(&self, task_uid: &str) -> impl Iterator<Item = &PodHistory> {
        self.pods.iter().filter(move |pod| pod.task_uid == task_uid)
    }

    /// Whether a task was seen and is gone.
    pub(crate) fn is_task_gone(&self, task_uid: &str) -> bool {
        self.tasks.get(task_uid).is_some_and(|task| task.is_gone)
    }

    /// The pods that are there and carry our finalizer.
    pub(crate) fn held_pods(&self) -> Vec<String> {
        let held = self.pods.iter().filter(|pod| !pod.is_gone && pod.latest().has_our_finalizer());
        held.map(|pod| pod.name.clone()).collect()
    }

    pub(super) fn violations(&self) -> Vec<String> {
        let after_the_end = self.tasks.iter().filter_map(|(uid, task)| {
            let end = task.statuses.last()?.completion_time?;
            let late = self.pods_of(uid).find(|pod| pod.creation_time() > end)?;
            Some(format!("I6: {} was created after the task's end at {end}", late.name))
        });
        self.violations.iter().cloned().chain(after_the_end).collect()
    }

    // === what happens

    fn pod_is(&mut self, pod: Pod) {
        if pod.labels().contains_key(COPY_LABEL) {
            return;
        }
        let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
        let (task, task_uid) = (label(labels::TASK), label(labels::TASK_UID));
        let Ok(attempt) = label(labels::ATTEMPT).parse::<i64>() else { return };
        let uid = pod.uid().unwrap_or_default();
        match self.pods.iter_mut().find(|known| known.uid == uid) {
            Some(known) if known.latest().resource_version() == pod.resource_version() => {}
            Some(known) => known.versions.push(pod),
            None => {
                self.check_number(&task_uid, attempt, &pod);
                let (name, versions) = (pod.name_any(), vec![pod]);
                self.pods.push(PodHistory {
                    name,
                    attempt,
                    versions,
                    is_gone: false,
                    uid,
                    task: task.clone(),
                    task_uid,
                });
            }
        }
        self.check_running(&task);
    }

    fn pod_is_gone(&mut self, pod: &Pod) {
        let uid = pod.uid().unwrap_or_default();
        if let Some(known) = self.pods.iter_mut().find(|known| known.uid == uid) {
            known.is_gone = true;
            known.versions.push(pod.clone());
        }
    }

    fn task_is(&mut self, task: LongTask) {
        let uid = task.uid().unwrap_or_default();
        let history = self.tasks.entry(uid).or_default();
        history.name = task.name_any();
        let written_at = written_at(&task);
        if let Some(status) = task.status
            && history.statuses.last() != Some(&status)
        {
            let wrong = history.statuses.last().map(|before| steps_back(before, &status)).unwrap_or_default();
            self.violations.extend(wrong.into_iter().map(|wrong| format!("task {}: {wrong}", history.name)));
            history.writes.extend(written_at.map(|time| (time, status.clone())));
            history.statuses.push(status);
        }
    }

    fn task_is_gone(&mut self, task: &LongTask) {
        if let Some(history) = self.tasks.get_mut(&task.uid().unwrap_or_default()) {
            history.is_gone = true;
        }
    }

    // === the invariants

    /// I2: attempt numbers only grow, and each is created at most once.
    fn check_number(&mut self, task_uid: &str, attempt: i64, pod: &Pod) {
        let highest = self.pods_of(task_uid).map(|pod| pod.attempt).max().unwrap_or(0);
        if attempt <= highest {
            let name = pod.name_any();
            self.violations.push(format!("I2: {name} was created after attempt {highest} of the same task"));
        }
    }

    /// I1: at most one pod of a task has running containers; also not one of an earlier task of the same name.
    fn check_running(&mut self, task: &str) {
        let running: Vec<_> =
            self.pods.iter().filter(|pod| pod.task == task && !pod.is_gone && pod.is_running()).collect();
        if running.len() > 1 {
            let names: Vec<_> = running.iter().map(|pod| format!("{} ({})", pod.name, pod.uid)).collect();
            self.violations.push(format!("I1: at the same time there run {}", names.join(" and ")));
        }
    }

    /// For the log of a test that failed.
    pub(super) fn summary(&self) -> String {
        let mut text = String::new();
        for task in self.tasks.values() {
            let (name, versions) = (&task.name, task.statuses.len());
            let status = task.statuses.last().map(serde_json::to_string_pretty);
            let _ = writeln!(
                text,
                "task {name}, {versions} versions of its status, the last: {}",
                status.map(Result::unwrap_or_default).unwrap_or_default()
            );
        }
        for pod in &self.pods {
            let status = pod.latest().status.as_ref();
            let containers = status.and_then(|status| status.container_statuses.as_ref());
            let _ = writeln!(
                text,
                "pod {} gone {} phase {:?} reason {:?} deadline {:?} states {}",
                pod.name,
                pod.is_gone,
                status.and_then(|status| status.phase.as_deref()),
                status.and_then(|status| status.reason.as_deref()),
                pod.latest().spec.as_ref().and_then(|spec| spec.active_deadline_seconds),
                serde_json::to_string(&containers.map(|all| all.iter().map(|c| &c.state).collect::<Vec<_>>()))
                    .unwrap_or_default()
            );
        }
        text
    }
}

/// When the status was written last.
fn written_at(task: &LongTask) -> Option<Timestamp> {
    let of_status = task.managed_fields().iter().filter(|entry| entry.subresource.as_deref() == Some("status"));
    of_status.filter_map(|entry| entry.time.as_ref()).map(|time| time.0).max()
}

/// What must not happen from one status to the next.
fn steps_back(before: &LongTaskStatus, after: &LongTaskStatus) -> Vec<String> {
    let number = |status: &LongTaskStatus| status.current_attempt.as_ref().map_or(0, |attempt| attempt.number);
    let sequence = |status: &LongTaskStatus| status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.sequence);
    let size = serde_json::to_vec(after).map_or(0, |json| json.len());
    let was_terminal = before.phase.is_some_and(longtask::api::task::Phase::is_terminal);
    // A new restart token begins another run: what is counted by run starts anew, and the end was not the last one.
    let is_new_run = after.run.number > before.run.number;
    // By a rule, or since it cannot be read.
    let is_dropped = after.checkpoint_epoch > before.checkpoint_epoch;
    let ended = |status: &LongTaskStatus| status.totals.attempts;
    let mut numbers: Vec<_> = after.recent_attempts.iter().map(|attempt| attempt.number).collect();
    numbers.dedup();
    [
        (number(after) < number(before), "I2: the attempt's number fell"),
        (sequence(after) < sequence(before) && !is_new_run && !is_dropped, "I3: the checkpoint went back"),
        (sequence(after) == sequence(before) && after.checkpoint != before.checkpoint, "I3: the checkpoint changed"),
        (numbers.len() < after.recent_attempts.len(), "I4: an attempt was counted twice"),
        (
            !is_new_run && !(ended(before)..=ended(before) + 1).contains(&ended(after)),
            "I4: not one attempt was counted at a time",
        ),
        (is_new_run && !was_terminal, "I6: another run began before the end"),
        (was_terminal && !is_new_run && after.phase != before.phase, "I6: the end was not the end"),
        (size > LARGEST_STATUS, "I9: the status is too large"),
    ]
    .into_iter()
    .filter(|(is_wrong, _)| *is_wrong)
    .map(|(_, what)| format!("{what}: {before:?} -> {after:?}"))
    .collect()
}

impl PodHistory {
    /// The last version that was seen.
    pub(crate) fn latest(&self) -> &Pod {
        self.versions.last().expect("a history begins with a version")
    }

    pub(crate) fn creation_time(&self) -> Timestamp {
        self.latest().metadata.creation_timestamp.as_ref().expect("stored objects have one").0
    }

    fn is_running(&self) -> bool {
        self.latest()
            .containers()
            .any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
    }

    /// When a container started and when it ended.
    pub(crate) fn times_of(&self, container: &str) -> (Timestamp, Timestamp) {
        let state = self.latest().end_of(container).unwrap_or_else(|| panic!("{container} has ended: {self:#?}"));
        (state.started_at.as_ref().expect("it started").0, state.finished_at.as_ref().expect("it ended").0)
    }
}

/// Questions to a pod.
pub(crate) trait PodExt {
    /// Its containers, init containers included.
    fn containers(&self) -> impl Iterator<Item = &ContainerStatus>;
    /// How a container ended.
    fn end_of(&self, container: &str) -> Option<&ContainerStateTerminated>;
    fn has_our_finalizer(&self) -> bool;
    fn phase(&self) -> &str;
}

impl PodExt for Pod {
    fn containers(&self) -> impl Iterator<Item = &ContainerStatus> {
        let status = self.status.as_ref();
        let init = status.and_then(|status| status.init_container_statuses.as_ref());
        let main = status.and_then(|status| status.container_statuses.as_ref());
        init.into_iter().flatten().chain(main.into_iter().flatten())
    }

    fn end_of(&self, container: &str) -> Option<&ContainerStateTerminated> {
        self.containers().find(|status| status.name == container)?.state.as_ref()?.terminated.as_ref()
    }

    fn has_our_finalizer(&self) -> bool {
        self.finalizers().iter().any(|finalizer| finalizer == labels::OUTCOME_FINALIZER)
    }

    fn phase(&self) -> &str {
        self.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
    }
}
