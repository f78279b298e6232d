//! What the operator has told in events.

use std::{pin::pin, time::Duration};

use futures::TryStreamExt;
use k8s_openapi::api::events::v1::Event;
use kube::{
    api::ListParams,
    runtime::{WatchStreamExt, watcher},
};
use tokio::time::timeout;

use super::lab::{Lab, PATIENCE};

impl Lab {
    /// How often an event of this reason was sent about a task, repetitions included.
    pub(crate) async fn events_of(&self, task: &str, reason: &str) -> i32 {
        let about = ListParams::default().fields(&about("LongTask", task, reason));
        let events = self.api::<Event>().list(&about).await.expect("list events");
        events.iter().map(|event| event.series.as_ref().map_or(1, |series| series.count)).sum()
    }

    /// Waits until an event of this reason has been sent about a task; returns what it says.
    pub(crate) async fn until_event_of(&self, task: &str, reason: &str) -> String {
        self.until_event("LongTask", task, reason).await
    }

    /// Likewise, about a pod.
    pub(crate) async fn until_event_of_pod(&self, pod: &str, reason: &str) -> String {
        self.until_event("Pod", pod, reason).await
    }

    /// Likewise, about a TaskQueue.
    pub(crate) async fn until_event_of_queue(&self, queue: &str, reason: &str) -> String {
        self.until_event("TaskQueue", queue, reason).await
    }

    async fn until_event(&self, kind: &str, name: &str, reason: &str) -> String {
        let about = watcher::Config::default().fields(&about(kind, name, reason));
        let mut sent = pin!(watcher(self.api::<Event>(), about).applied_objects());
        let first = timeout(Duration::from_secs(10) * PATIENCE, sent.try_next()).await;
        let first = first.unwrap_or_else(|_| panic!("no event {reason} about {kind} {name}")).expect("watch events");
        first.and_then(|event| event.note).unwrap_or_default()
    }
}

fn about(kind: &str, name: &str, reason: &str) -> String {
    format!("regarding.kind={kind},regarding.name={name},reason={reason}")
}
