//! What a bystander sees of the pods of tasks: when each attempt's pod comes, and when it ends.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use tokio::task::JoinHandle;

/// A task's name and the number of an attempt.
type Attempt = (String, i64);

#[derive(Default)]
pub(crate) struct Sightings {
    came: BTreeMap<Attempt, Instant>,
    ended: HashMap<Attempt, Instant>,
    uids: HashMap<Attempt, HashSet<String>>,
}

impl Sightings {
    fn take_in(&mut self, pod: &Pod) {
        let label = |name: &str| pod.labels().get(name).cloned().unwrap_or_default();
        let Ok(number) = label("longtask.dev/attempt").parse() else { return };
        let attempt = (label("longtask.dev/task"), number);
        let now = Instant::now();
        self.came.entry(attempt.clone()).or_insert(now);
        self.uids.entry(attempt.clone()).or_default().insert(pod.uid().unwrap_or_default());
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if matches!(phase, Some("Succeeded" | "Failed")) {
            self.ended.entry(attempt).or_insert(now);
        }
    }

    /// The times from the end of one attempt to the next one's pod, sorted, in milliseconds.
    pub(crate) fn hand_overs(&self) -> Vec<f64> {
        let next = |((task, number), ended): (&Attempt, &Instant)| {
            let came = self.came.get(&(task.clone(), number + 1))?;
            Some(came.saturating_duration_since(*ended).as_secs_f64() * 1000.0)
        };
        let mut all: Vec<f64> = self.ended.iter().filter_map(next).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// The times in which a place changes hands, sorted, in milliseconds: while more wait than there are places, each pod that
    /// ends makes room for the one that comes so many later.
    pub(crate) fn places(&self, places: usize) -> Vec<f64> {
        let (mut came, mut ended): (Vec<_>, Vec<_>) = (self.came.values().collect(), self.ended.values().collect());
        came.sort();
        ended.sort();
        let changes = came.iter().skip(places).zip(ended);
        let mut all: Vec<f64> =
            changes.map(|(came, ended)| came.saturating_duration_since(*ended).as_secs_f64() * 1000.0).collect();
        all.sort_by(f64::total_cmp);
        all
    }

    /// When the pod of a task's first attempt came.
    pub(crate) fn first_of(&self, task: &str) -> Option<Instant> {
        self.came.get(&(task.to_owned(), 1)).copied()
    }

    /// Tasks that had a pod.
    pub(crate) fn tasks(&self) -> usize {
        self.came.keys().map(|(task, _)| task).collect::<HashSet<_>>().len()
    }

    pub(crate) fn attempts(&self) -> usize {
        self.came.len()
    }

    /// Attempts that had more than one pod.
    pub(crate) fn doubled(&self) -> usize {
        self.uids.values().filter(|uids| uids.len() > 1).count()
    }
}

/// Watches the pods of a namespace until it is dropped.
pub(crate) struct Bystander {
    pub(crate) seen: Arc<Mutex<Sightings>>,
    watching: JoinHandle<()>,
}

impl Bystander {
    pub(crate) fn of(client: &Client, namespace: &str) -> Self {
        let seen = Arc::new(Mutex::new(Sightings::default()));
        let api: Api<Pod> = Api::namespaced(client.clone(), namespace);
        let noted = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let mut pods = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().touched_objects());
            while let Some(pod) = pods.next().await {
                match pod {
                    Ok(pod) => noted.lock().expect("no panic").take_in(&pod),
                    Err(error) => eprintln!("the bystander's watch: {error}"),
                }
            }
        });
        Self { seen, watching }
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
