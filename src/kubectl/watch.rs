//! Following a task and its pods.

use futures::{Stream, StreamExt, stream::select};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    ResourceExt,
    api::ListParams,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};

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
