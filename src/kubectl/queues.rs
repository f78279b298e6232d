//! TaskQueues in the plugin: `queue` shows one, `suspend` and `resume` take `tq/NAME`, and `status` tells a task its place in
//! line.

use std::sync::Arc;

use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::json;

use super::{
    args::{Output, QueueArgs},
    change::{Change, FIELD_MANAGER},
    error::{Error, is_forbidden, is_object_missing},
    session::Session,
    text::queue::{PlaceInLine, QueueView},
};
use crate::{
    api::{
        queue::{QueueKey, TaskQueue},
        task::{LongTask, LongTaskStatus, PhaseReason},
    },
    queue::plan::QueuedTask,
};

/// What stands in front of a queue's name where a task's could stand as well.
const PREFIXES: [&str; 3] = ["tq/", "taskqueue/", "taskqueues/"];

/// The name of the queue that is meant, if one is.
pub(super) fn queue_in(name: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
}

/// Who has a place in a queue, and who waits, in order.
pub(super) async fn show(session: &Session, args: &QueueArgs) -> Result<String, Error> {
    let queue: TaskQueue = session.object(queue_in(&args.name).unwrap_or(&args.name)).await?;
    let view = view(session, &queue).await?;
    match args.output {
        Some(Output::Json) => Ok(serde_json::to_string_pretty(&view)? + "\n"),
        None => Ok(view.text(session.clock.now())),
    }
}

/// Where a task stands in its queue, if it waits in one, and the user may see that.
pub(super) async fn place_of(session: &Session, task: &LongTask) -> Option<PlaceInLine> {
    let reason = task.status.as_ref().map(|status: &LongTaskStatus| status.reason.as_str());
    if reason != Some(PhaseReason::Queued.into()) {
        return None;
    }
    let namespace = task.namespace().unwrap_or_default();
    let key = QueueKey::meant_by(task.spec.queue_name.as_deref()?, &namespace);
    let queues: Api<TaskQueue> = Api::namespaced(session.client.clone(), &key.namespace);
    // Without it the task's own status is all that there is to tell.
    let queue = queues.get(&key.name).await.ok()?;
    view(session, &queue).await.ok()?.place_of(&namespace, &task.name_any())
}

/// A queue with those tasks that the user may list.
async fn view(session: &Session, queue: &TaskQueue) -> Result<QueueView, Error> {
    let (mut tasks, mut not_seen) = (Vec::new(), Vec::new());
    let mut namespaces = queue.namespaces();
    if namespaces.is_none() {
        if let Some(all) = list(Api::all(session.client.clone())).await? {
            tasks = all;
        } else {
            not_seen.push("*".to_owned());
            namespaces = Some(vec![session.namespace.clone()]);
        }
    }
    for namespace in namespaces.into_iter().flatten() {
        match list(Api::namespaced(session.client.clone(), &namespace)).await? {
            Some(some) => tasks.extend(some),
            None => not_seen.push(namespace),
        }
    }
    let tasks = tasks.iter().filter_map(QueuedTask::of).map(Arc::new).collect();
    Ok(QueueView::of(queue, tasks, not_seen, session.clock.now()))
}

/// The tasks there; none where the user may not list them.
async fn list(api: Api<LongTask>) -> Result<Option<Vec<LongTask>>, Error> {
    match api.list(&ListParams::default()).await {
        Ok(tasks) => Ok(Some(tasks.items)),
        Err(error) if is_forbidden(&error) => Ok(None),
        Err(error) => Err(Error::of_call("list LongTasks")(error)),
    }
}

/// Changes a queue as `decide` says.
pub(super) async fn change(
    session: &Session,
    name: &str,
    output: Option<Output>,
    decide: impl Fn(&TaskQueue) -> Result<Change, Error>,
) -> Result<String, Error> {
    let found = match session.api::<TaskQueue>().get(name).await {
        Ok(queue) => queue,
        Err(error) if is_object_missing(&error) => {
            let namespace = &session.namespace;
            return Err(Error::NotNow(format!(
                "there is no TaskQueue {name} in namespace {namespace}; `kubectl get taskqueues` lists those that there are"
            )));
        }
        Err(error) => return Err(Error::of_call(format!("get TaskQueue {name}"))(error)),
    };
    let (queue, said) = match decide(&found)? {
        Change::Nothing(what) => (found, what.to_owned()),
        Change::Spec(spec, what) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": spec }));
            let changed = session.api::<TaskQueue>().patch(name, &params, &patch).await;
            (changed.map_err(Error::of_call(format!("patch TaskQueue {name}")))?, what)
        }
    };
    match output {
        None => Ok(format!("taskqueue.longtask.dev/{name} {said}\n")),
        Some(Output::Json) => Ok(serde_json::to_string(&queue)? + "\n"),
    }
}

/// Has a queue call nobody.
#[expect(clippy::unnecessary_wraps, reason = "one of several changes, of which others are refused")]
pub(super) fn suspend(queue: &TaskQueue) -> Result<Change, Error> {
    if queue.spec.suspend {
        return Ok(Change::Nothing("is suspended already"));
    }
    Ok(Change::Spec(json!({ "suspend": true }), "suspended: nobody is called, and who runs, runs on".to_owned()))
}

/// Lets a queue go on.
#[expect(clippy::unnecessary_wraps, reason = "one of several changes, of which others are refused")]
pub(super) fn resume(queue: &TaskQueue) -> Result<Change, Error> {
    if !queue.spec.suspend {
        return Ok(Change::Nothing("is not suspended"));
    }
    Ok(Change::Spec(json!({ "suspend": false }), "resumed".to_owned()))
}

/// What a queue cannot be asked.
pub(super) fn no_such_change(queue: &TaskQueue) -> Result<Change, Error> {
    let name = queue.name_any();
    Err(Error::WrongRequest(format!(
        "a queue has no end: `kubectl longtask suspend tq/{name}` has it call nobody, and `resume` lets it go on"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(suspend: bool, change: impl Fn(&TaskQueue) -> Result<Change, Error>) -> String {
        let queue = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "a" },
            "spec": { "maxActive": 1, "suspend": suspend },
        }));
        match change(&queue.expect("a queue")) {
            Ok(Change::Spec(spec, what)) => format!("{what}: {spec}"),
            Ok(Change::Nothing(what)) => what.to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_queue_is_known_by_what_stands_before_its_name() {
        let queues: Vec<_> = ["tq/a", "taskqueue/a", "taskqueues/a", "a", "lts/a"].map(queue_in).into();
        assert_eq!(queues, [Some("a"), Some("a"), Some("a"), None, None]);
    }

    #[test]
    fn a_queue_is_suspended_and_resumed_and_nothing_else() {
        assert!(said(false, suspend).ends_with(r#": {"suspend":true}"#));
        assert_eq!(said(true, suspend), "is suspended already");
        assert_eq!(said(true, resume), r#"resumed: {"suspend":false}"#);
        assert_eq!(said(false, resume), "is not suspended");
        assert!(said(false, no_such_change).contains("suspend tq/a"));
    }
}
