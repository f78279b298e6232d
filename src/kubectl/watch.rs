//! Following a task and its pods, and waiting for the end of a task or a set.

use std::fmt::Debug;

use futures::{Stream, StreamExt, stream::select};
use k8s_openapi::{NamespaceResourceScope, api::core::v1::Pod};
use kube::{
    Resource, ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde::de::DeserializeOwned;

use super::{error::Error, session::Session};
use crate::api::{labels, task::LongTask};

/// What happened.
pub(super) enum Change {
    /// The task is so now.
    Task(Box<LongTask>),
    /// The task was deleted.
    TaskIsGone,
    /// A pod of the task changed.
    Pod,
}

/// What happens to the task and its pods, beginning with how they are now.
pub(super) fn changes(session: &Session, task: &LongTask) -> impl Stream<Item = Result<Change, Error>> + Unpin + use<> {
    let name = task.name_any();
    let uid = task.uid();
    let of_tasks =
        watcher(session.api::<LongTask>(), watcher::Config::default().fields(&format!("metadata.name={name}")));
    let of_pods = watcher(session.api::<Pod>(), watcher::Config::default().labels(&labels_of_pods(task)));
    let tasks = of_tasks.default_backoff().filter_map(move |event| {
        let change = match event {
            // One that was deleted and made anew is another task.
            Ok(Event::Apply(task) | Event::InitApply(task)) if task.uid() == uid => {
                Some(Ok(Change::Task(Box::new(task))))
            }
            Ok(Event::Apply(_) | Event::InitApply(_) | Event::Delete(_)) => Some(Ok(Change::TaskIsGone)),
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => lasting(error, "watch the task").map(Err),
        };
        std::future::ready(change)
    });
    let pods = of_pods.default_backoff().filter_map(|event| {
        let change = match event {
            Ok(Event::Apply(_) | Event::InitApply(_) | Event::Delete(_)) => Some(Ok(Change::Pod)),
            Ok(Event::Init | Event::InitDone) => None,
            Err(error) => lasting(error, "watch the task's pods").map(Err),
        };
        std::future::ready(change)
    });
    select(tasks.boxed(), pods.boxed())
}

/// How an object ended.
pub(super) struct End {
    pub(super) is_success: bool,
    pub(super) phase: &'static str,
    pub(super) reason: String,
}

/// Waits until an object has ended, as `end` reads it; an error unless it has succeeded. `typed` is its name as a user types it.
pub(super) async fn wait_for_end<K>(
    session: &Session,
    name: &str,
    typed: &str,
    end: impl Fn(K) -> Option<End>,
) -> Result<String, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug + Send + 'static,
{
    let kind = K::kind(&());
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut events = watcher(session.api::<K>(), config).default_backoff().boxed();
    while let Some(event) = events.next().await {
        let object = match event {
            Ok(Event::Apply(object) | Event::InitApply(object)) => object,
            Ok(Event::Delete(_)) => return Err(Error::NotNow(format!("{name} was deleted"))),
            Ok(Event::Init | Event::InitDone) => continue,
            Err(error) => match lasting(error, &format!("watch {kind} {name}")) {
                Some(error) => return Err(error),
                None => continue,
            },
        };
        match end(object) {
            Some(End { is_success: true, .. }) => {
                return Ok(format!("{}.longtask.dev/{name} succeeded\n", kind.to_lowercase()));
            }
            Some(End { phase, reason, .. }) => {
                let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
                return Err(Error::NotNow(format!(
                    "{name} has ended: it is {phase}{reason}; `kubectl longtask status {typed}` says why"
                )));
            }
            None => {}
        }
    }
    Err(Error::NotNow(format!(
        "nothing more is heard of {name}; `kubectl longtask status {typed}` says where it stands"
    )))
}

/// A watch that breaks is taken up again; one that is refused stays so.
fn lasting(error: watcher::Error, what: &str) -> Option<Error> {
    match error {
        watcher::Error::InitialListFailed(source) | watcher::Error::WatchStartFailed(source) if matches!(&source, kube::Error::Api(status) if [401, 403].contains(&status.code)) => {
            Some(Error::of_call(what)(source))
        }
        _ => None,
    }
}

/// The pods of a task that are there, by attempt.
pub(super) async fn pods_of(session: &Session, task: &LongTask) -> Result<Vec<(i64, Pod)>, Error> {
    let params = ListParams::default().labels(&labels_of_pods(task));
    let pods = session.api::<Pod>().list(&params).await.map_err(Error::of_call("list the task's pods"))?;
    let mut numbered: Vec<_> = pods.into_iter().filter_map(|pod| Some((number(&pod, labels::ATTEMPT)?, pod))).collect();
    numbered.sort_by_key(|(attempt, _)| *attempt);
    Ok(numbered)
}

/// The number that a label of a pod says.
pub(super) fn number(pod: &Pod, label: &str) -> Option<i64> {
    pod.labels().get(label)?.parse().ok()
}

fn labels_of_pods(task: &LongTask) -> String {
    format!("{}={}", labels::TASK_UID, task.uid().unwrap_or_default())
}
