//! TaskQueues in the plugin: `suspend` and `resume` take `tq/NAME`.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    args::Output,
    change::{Change, FIELD_MANAGER},
    error::{Error, is_object_missing},
    session::Session,
};
use crate::api::queue::TaskQueue;

/// What stands in front of a queue's name where a task's could stand as well.
const PREFIXES: [&str; 3] = ["tq/", "taskqueue/", "taskqueues/"];

/// The name of the queue that is meant, if one is.
pub(super) fn queue_in(name: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
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
