//! LongTaskSets in the plugin: `start --count` and `--items`, `results`, and what the other verbs do with `lts/NAME`.

use std::collections::BTreeMap;

use kube::{
    ResourceExt,
    api::{ListParams, Patch, PatchParams},
    core::{ApiResource, DynamicObject},
};
use serde_json::{Map, Value, json};

use super::{
    args::{Output, SetName, StartArgs},
    change::{Change, FIELD_MANAGER},
    error::Error,
    session::Session,
    text::sets::SetView,
    watch::{End, wait_for_end},
};
use crate::{
    api::{
        labels,
        set::{LongTaskSet, SetPhase},
        task::{LongTask, Phase},
    },
    contract::input::Input,
    start::name::{Key, request_digest, set_name},
};

/// What stands in front of a set's name where a task's could stand as well.
const PREFIXES: [&str; 3] = ["lts/", "longtaskset/", "longtasksets/"];

/// The name of the set that is meant, if one is.
pub(super) fn set_in(name: &str) -> Option<&str> {
    PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))
}

/// Where a set stands.
pub(super) async fn status(session: &Session, name: &str, output: Option<Output>) -> Result<String, Error> {
    let set: LongTaskSet = session.object(name).await?;
    let view = SetView::of(&set);
    match output {
        Some(Output::Json) => Ok(serde_json::to_string_pretty(&view)? + "\n"),
        None => Ok(view.text(session.clock.now())),
    }
}

/// Changes a set as `decide` says.
pub(super) async fn change(
    session: &Session,
    name: &str,
    output: Option<Output>,
    decide: impl Fn(&LongTaskSet) -> Result<Change, Error>,
) -> Result<String, Error> {
    let found: LongTaskSet = session.object(name).await?;
    let (set, said) = match decide(&found)? {
        Change::Nothing(what) => (found, what.to_owned()),
        Change::Spec(spec, what) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": spec }));
            let changed = session.api::<LongTaskSet>().patch(name, &params, &patch).await;
            (changed.map_err(Error::of_call(format!("patch LongTaskSet {name}")))?, what)
        }
    };
    match output {
        None => Ok(format!("longtaskset.longtask.dev/{name} {said}\n")),
        Some(Output::Json) => Ok(serde_json::to_string(&set)? + "\n"),
    }
}

/// Pauses a set.
pub(super) fn suspend(set: &LongTaskSet) -> Result<Change, Error> {
    if has_ended(set) {
        return Err(ended(set, "there is nothing to suspend"));
    }
    if set.spec.suspend {
        return Ok(Change::Nothing("is suspended already"));
    }
    Ok(Change::Spec(json!({ "suspend": true }), "suspended".to_owned()))
}

/// Lets a suspended set go on.
#[expect(clippy::unnecessary_wraps, reason = "one of several changes, of which others are refused")]
pub(super) fn resume(set: &LongTaskSet) -> Result<Change, Error> {
    if !set.spec.suspend {
        return Ok(Change::Nothing("is not suspended"));
    }
    Ok(Change::Spec(json!({ "suspend": false }), "resumed".to_owned()))
}

/// Stops a set for good.
pub(super) fn cancel(set: &LongTaskSet) -> Result<Change, Error> {
    if set.spec.cancel {
        return Ok(Change::Nothing("is cancelled already"));
    }
    if has_ended(set) {
        return Err(ended(set, "there is nothing to cancel"));
    }
    Ok(Change::Spec(json!({ "cancel": true }), "cancelled".to_owned()))
}

/// Begins another round of a set, at any time.
pub(super) fn restart(set: &LongTaskSet, is_latest: bool, renew: bool, token: &str) -> Result<Change, Error> {
    if !is_latest {
        let name = set.name_any();
        return Err(Error::WrongRequest(format!(
            "members of a set go on from their last checkpoints: leave --from out, or restart one of them, such as {name}-0"
        )));
    }
    let status = set.status.clone().unwrap_or_default();
    let again = status.failed.count.saturating_add(status.waiting.count);
    let when = if status.phase == Some(SetPhase::Stopping) { ", when its members have stopped" } else { "" };
    let paused = if set.spec.suspend { "; it is suspended: resume it as well" } else { "" };
    let restart = json!({ "token": token, "renew": renew });
    let said = format!("restarted: {again} of {} members go on{when}{paused}", status.total);
    Ok(Change::Spec(json!({ "cancel": false, "restart": restart }), said))
}

fn has_ended(set: &LongTaskSet) -> bool {
    set.status.as_ref().and_then(|status| status.phase).is_some_and(SetPhase::is_terminal)
}

fn ended(set: &LongTaskSet, so: &str) -> Error {
    let phase = set.status.as_ref().and_then(|status| status.phase).map_or("", Into::into);
    let name = set.name_any();
    Error::NotNow(format!(
        "{name} has ended (it is {phase}): {so}; `kubectl longtask restart lts/{name}` runs it again"
    ))
}

/// Prints the results of a set's members that are left, a JSON line each, in the order of their indexes.
pub(super) async fn results(session: &Session, args: &SetName) -> Result<String, Error> {
    let name = set_in(&args.name).unwrap_or(&args.name);
    let set: LongTaskSet = session.object(name).await?;
    let params = ListParams::default().labels(&format!("{}={name}", labels::SET));
    let members = session.api::<LongTask>().list(&params).await.map_err(Error::of_call("list the members"))?;
    let all = all_results(&set, &members.items);
    all.into_iter().map(|(index, result)| Ok(json!({ "index": index, "result": result }).to_string() + "\n")).collect()
}

fn all_results(set: &LongTaskSet, members: &[LongTask]) -> BTreeMap<i64, Value> {
    let recorded = set.status.iter().flat_map(|status| &status.results);
    let mut all: BTreeMap<_, _> = recorded.map(|one| (one.index, one.result.clone())).collect();
    for task in members {
        let is_own = task.owner_references().iter().any(|owner| Some(&owner.uid) == set.metadata.uid.as_ref());
        let index = task.labels().get(labels::INDEX).and_then(|index| index.parse().ok());
        let status = task.status.as_ref().filter(|status| is_own && status.phase == Some(Phase::Succeeded));
        if let Some((index, result)) = index.zip(status.and_then(|status| status.result.clone())) {
            all.insert(index, result);
        }
    }
    all
}

/// The set that `start` creates.
pub(super) fn of_start(
    namespace: &str,
    args: &StartArgs,
    key: Key<'_>,
    input: Option<Input>,
    items: Option<Vec<Value>>,
) -> DynamicObject {
    let mut spec = Map::from_iter([("templateRef".to_owned(), json!({ "name": args.template }))]);
    let mut add = |field: &str, value: Option<Value>| spec.extend(value.map(|value| (field.to_owned(), value)));
    add("count", args.count.map(|count| json!(count)));
    add("items", items.map(|items| json!(items)));
    add("input", input.map(Value::Object));
    add("maxParallel", args.parallel.map(|parallel| json!(parallel)));
    // What the key is for: a repeat with other members is another request.
    let digest = request_digest(&args.template, Some(&spec));
    let mut set =
        DynamicObject::new(&set_name(namespace, &args.template, key), &ApiResource::erase::<LongTaskSet>(&()));
    set.metadata.namespace = Some(namespace.to_owned());
    set.metadata.labels = Some(BTreeMap::from([(labels::STARTED_BY.to_owned(), "kubectl".to_owned())]));
    set.metadata.annotations = Some(BTreeMap::from([(labels::INPUT_DIGEST.to_owned(), digest)]));
    set.data = json!({ "spec": spec });
    set
}

/// Waits until the set has ended; an error unless it has succeeded.
pub(super) async fn wait(session: &Session, name: &str) -> Result<String, Error> {
    wait_for_end(session, name, &format!("lts/{name}"), |set: LongTaskSet| {
        let status = set.status?;
        let phase = status.phase.filter(|phase| phase.is_terminal())?;
        Some(End { is_success: phase == SetPhase::Succeeded, phase: phase.into(), reason: status.reason })
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn a_set(spec: &Value, status: &Value) -> LongTaskSet {
        let mut whole = json!({ "templateRef": { "name": "x" }, "count": 8 });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": "a", "uid": "set-uid" },
            "spec": whole, "status": status,
        }))
        .expect("a set")
    }

    fn said(change: Result<Change, Error>) -> String {
        match change {
            Ok(Change::Spec(spec, what)) => format!("{what}: {spec}"),
            Ok(Change::Nothing(what)) => what.to_owned(),
            Err(error) => format!("error: {error}"),
        }
    }

    #[test]
    fn a_set_is_known_by_what_stands_before_its_name() {
        let sets: Vec<_> = ["lts/a", "longtaskset/a", "longtasksets/a", "a", "tq/a"].map(set_in).into();
        assert_eq!(sets, [Some("a"), Some("a"), Some("a"), None, None]);
    }

    #[test]
    fn a_set_is_restarted_at_any_time_and_only_from_its_checkpoints() {
        let running =
            a_set(&json!({}), &json!({ "phase": "Running", "total": 8, "failed": { "count": 3, "indexes": "1-3" } }));
        let again = said(restart(&running, true, true, "now"));
        assert_eq!(
            again,
            r#"restarted: 3 of 8 members go on: {"cancel":false,"restart":{"renew":true,"token":"now"}}"#
        );
        assert!(said(restart(&running, false, false, "now")).contains("leave --from out"));
        let stopping = a_set(&json!({}), &json!({ "phase": "Stopping", "total": 8 }));
        assert!(said(restart(&stopping, true, false, "now")).contains("when its members have stopped"));
    }

    #[test]
    fn a_set_that_has_ended_is_neither_suspended_nor_cancelled() {
        let over = a_set(&json!({}), &json!({ "phase": "Failed" }));
        for change in [suspend(&over), cancel(&over)] {
            let said = said(change);
            assert!(said.contains("it is Failed") && said.contains("restart lts/a"), "{said}");
        }
        assert_eq!(said(resume(&a_set(&json!({}), &Value::Null))), "is not suspended");
        assert_eq!(said(suspend(&a_set(&json!({ "suspend": true }), &Value::Null))), "is suspended already");
    }

    #[test]
    fn results_are_those_that_are_recorded_and_those_of_members_that_are_there() {
        let task = |index: u32, owner: &str, result: Value| -> LongTask {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
                "metadata": { "name": format!("a-{index}"), "labels": { "longtask.dev/index": index.to_string() }, "ownerReferences": [
                    { "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "name": "a", "uid": owner },
                ] },
                "spec": { "templateRef": { "name": "x" } },
                "status": { "phase": "Succeeded", "result": result },
            }))
            .expect("a task")
        };
        let set = a_set(&json!({}), &json!({ "results": [{ "index": 5, "result": { "n": 5 } }] }));
        let members = [task(1, "set-uid", json!({ "n": 1 })), task(2, "another", json!({ "n": 2 }))];
        assert_eq!(json!(all_results(&set, &members)), json!({ "1": { "n": 1 }, "5": { "n": 5 } }));
    }
}
