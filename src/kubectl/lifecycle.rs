//! The verbs that change the spec of a task, a set or a queue: suspend, resume, cancel, restart.

use kube::{
    ResourceExt,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{
    args::{From, Output, RestartArgs, Tasks},
    change::{Change, FIELD_MANAGER},
    error::Error,
    queues,
    session::Session,
    sets,
};
use crate::api::{
    queue::TaskQueue,
    set::LongTaskSet,
    task::{Checkpoint, LongTask, LongTaskStatus, Phase},
};

/// Pauses tasks.
pub(super) async fn suspend(session: &Session, args: &Tasks) -> Result<String, Error> {
    change(
        session,
        args,
        |task| {
            if has_ended(task) {
                return Err(ended(task, "there is nothing to suspend"));
            }
            if task.spec.suspend {
                return Ok(Change::Nothing("is suspended already"));
            }
            Ok(Change::Spec(json!({ "suspend": true }), "suspended".to_owned()))
        },
        sets::suspend,
        queues::suspend,
    )
    .await
}

/// Lets suspended tasks go on.
pub(super) async fn resume(session: &Session, args: &Tasks) -> Result<String, Error> {
    change(session, args, |task| {
        if task.status.as_ref().is_some_and(LongTaskStatus::is_held) && !task.spec.suspend {
            let name = task.name_any();
            return Err(Error::NotNow(format!(
                "{name} is held by its failure policy: `kubectl longtask status {name}` says why, and `kubectl longtask \
                 restart {name}` lets it go on"
            )));
        }
        if !task.spec.suspend {
            return Ok(Change::Nothing("is not suspended"));
        }
        Ok(Change::Spec(json!({ "suspend": false }), "resumed".to_owned()))
    }, sets::resume, queues::resume)
    .await
}

/// Stops tasks for good.
pub(super) async fn cancel(session: &Session, args: &Tasks) -> Result<String, Error> {
    change(
        session,
        args,
        |task| {
            if task.spec.cancel {
                return Ok(Change::Nothing("is cancelled already"));
            }
            if has_ended(task) {
                return Err(ended(task, "there is nothing to cancel"));
            }
            Ok(Change::Spec(json!({ "cancel": true }), "cancelled".to_owned()))
        },
        sets::cancel,
        queues::no_such_change,
    )
    .await
}

/// Runs tasks again.
pub(super) async fn restart(session: &Session, args: &RestartArgs) -> Result<String, Error> {
    // A token is any text that is not the one before. The time is one that tells something.
    let token = session.clock.now().to_string();
    let of_set = |set: &LongTaskSet| sets::restart(set, args.from == From::Latest, args.renew, &token);
    change(session, &args.tasks, |task| again(task, args.from, args.renew, &token), of_set, queues::no_such_change)
        .await
}

fn again(task: &LongTask, from: From, renew: bool, token: &str) -> Result<Change, Error> {
    let name = task.name_any();
    if !has_ended(task) && !task.status.as_ref().is_some_and(LongTaskStatus::is_held) {
        let phase = phase(task).map_or("not started yet", Into::into);
        return Err(Error::NotNow(format!(
            "{name} has not ended (it is {phase}), and a restart would not be obeyed; to begin again all the same, \
             `kubectl longtask cancel {name}` first"
        )));
    }
    if renew && task.spec.template_ref.is_none() {
        return Err(Error::NotNow(format!("{name} has no spec.templateRef: there is no template to take anew")));
    }
    let begins = beginning(&name, task.status.as_ref(), from)?;
    // A merge patch: what an earlier restart has named must go.
    let (from, sequence) = match from {
        From::Latest => ("Latest", None),
        From::Beginning => ("Beginning", None),
        From::Checkpoint(sequence) => ("Checkpoint", Some(sequence)),
    };
    let renew = renew.then_some(true);
    let restart = json!({ "token": token, "from": from, "checkpointSequence": sequence, "renew": renew });
    let paused = if task.spec.suspend { "; it is suspended: resume it as well" } else { "" };
    Ok(Change::Spec(json!({ "cancel": false, "restart": restart }), format!("restarted from {begins}{paused}")))
}

/// Where the task begins, in words.
fn beginning(name: &str, status: Option<&LongTaskStatus>, from: From) -> Result<String, Error> {
    let known: Vec<_> =
        status.iter().flat_map(|status| status.checkpoint.iter().chain(&status.checkpoint_history)).collect();
    let at = |checkpoint: &Checkpoint| format!("checkpoint {}", checkpoint.sequence);
    match from {
        From::Beginning => Ok("the beginning".to_owned()),
        From::Latest => {
            Ok(known.first().map_or_else(|| "the beginning: it has no checkpoint".to_owned(), |latest| at(latest)))
        }
        From::Checkpoint(sequence) => known
            .iter()
            .find(|checkpoint| checkpoint.sequence == sequence)
            .map(|checkpoint| at(checkpoint))
            .ok_or_else(|| {
                let numbers: Vec<_> = known.iter().map(|checkpoint| checkpoint.sequence.to_string()).collect();
                let exist =
                    if numbers.is_empty() { "it has none".into() } else { format!("it has {}", numbers.join(", ")) };
                Error::NotNow(format!("{name} has no checkpoint {sequence}; {exist}"))
            }),
    }
}

/// Changes one task, set or queue after the other, and stops at the first that cannot be changed.
async fn change(
    session: &Session,
    args: &Tasks,
    decide: impl Fn(&LongTask) -> Result<Change, Error>,
    decide_for_set: impl Fn(&LongTaskSet) -> Result<Change, Error>,
    decide_for_queue: impl Fn(&TaskQueue) -> Result<Change, Error>,
) -> Result<String, Error> {
    let mut said = String::new();
    for name in &args.names {
        let done = match (sets::set_in(name), queues::queue_in(name)) {
            (Some(set), _) => sets::change(session, set, args.output, &decide_for_set).await,
            (None, Some(queue)) => queues::change(session, queue, args.output, &decide_for_queue).await,
            (None, None) => change_one(session, name, args.output, &decide).await,
        };
        match done {
            Ok(line) => said += &line,
            Err(error) => {
                // What was done to those before it is told all the same.
                super::print(&said)?;
                return Err(error);
            }
        }
    }
    Ok(said)
}

async fn change_one(
    session: &Session,
    name: &str,
    output: Option<Output>,
    decide: impl Fn(&LongTask) -> Result<Change, Error>,
) -> Result<String, Error> {
    let task = session.task(name).await?;
    let (task, said) = match decide(&task)? {
        Change::Nothing(what) => (task, format!("longtask.longtask.dev/{name} {what}\n")),
        Change::Spec(spec, what) => {
            let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": spec }));
            let changed = session.api::<LongTask>().patch(name, &params, &patch).await;
            let changed = changed.map_err(Error::of_call(format!("patch LongTask {name}")))?;
            (changed, format!("longtask.longtask.dev/{name} {what}\n"))
        }
    };
    match output {
        None => Ok(said),
        Some(Output::Json) => Ok(serde_json::to_string(&task)? + "\n"),
    }
}

fn phase(task: &LongTask) -> Option<Phase> {
    task.status.as_ref().and_then(|status| status.phase)
}

fn has_ended(task: &LongTask) -> bool {
    phase(task).is_some_and(Phase::is_terminal)
}

fn ended(task: &LongTask, so: &str) -> Error {
    let (name, phase) = (task.name_any(), phase(task).map_or("", Into::into));
    Error::NotNow(format!("{name} has ended (it is {phase}): {so}; `kubectl longtask restart {name}` runs it again"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn task(status: &Value) -> LongTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1",
            "kind": "LongTask",
            "metadata": { "name": "a" },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
            "status": status,
        }))
        .expect("a task")
    }

    fn checkpoint(sequence: i64) -> Value {
        json!({ "sequence": sequence, "attempt": 1, "segment": 1, "recordTime": "2026-11-25T06:00:00Z" })
    }

    fn restarted(status: &Value, from: From) -> Result<(Value, String), String> {
        match again(&task(status), from, false, "now") {
            Ok(Change::Spec(spec, what)) => Ok((spec, what)),
            Ok(Change::Nothing(what)) => Err(what.to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_failed_task_runs_again_from_its_last_checkpoint() {
        let status = json!({ "phase": "Failed", "checkpoint": checkpoint(4) });
        let (spec, what) = restarted(&status, From::Latest).expect("it has ended");
        assert_eq!(what, "restarted from checkpoint 4");
        let restart = json!({ "token": "now", "from": "Latest", "checkpointSequence": null, "renew": null });
        assert_eq!(spec, json!({ "cancel": false, "restart": restart }));
    }

    #[test]
    fn a_held_task_is_let_go_from_an_earlier_checkpoint() {
        let held = json!({
            "type": "Suspended", "status": "True", "reason": "Held", "message": "",
            "lastTransitionTime": "2026-11-25T06:00:00Z",
        });
        let status = json!({
            "phase": "Suspended", "conditions": [held],
            "checkpoint": checkpoint(4), "checkpointHistory": [checkpoint(3)],
        });
        let (spec, what) = restarted(&status, From::Checkpoint(3)).expect("it is held");
        assert_eq!((what.as_str(), &spec["restart"]["checkpointSequence"]), ("restarted from checkpoint 3", &json!(3)));
        assert_eq!(restarted(&status, From::Checkpoint(9)), Err("a has no checkpoint 9; it has 4, 3".to_owned()));
    }

    #[test]
    fn only_a_task_that_names_a_template_takes_it_anew() {
        let mut failed = task(&json!({ "phase": "Failed" }));
        let refused = again(&failed, From::Latest, true, "now").map(|_| ()).expect_err("no template");
        assert!(refused.to_string().contains("has no spec.templateRef"), "{refused}");
        failed.spec.template_ref = Some(serde_json::from_value(json!({ "name": "x" })).expect("a reference"));
        let Ok(Change::Spec(spec, _)) = again(&failed, From::Latest, true, "now") else { panic!("not restarted") };
        assert_eq!(spec["restart"]["renew"], true);
    }

    #[test]
    fn a_task_that_is_under_way_is_not_restarted() {
        let message = restarted(&json!({ "phase": "Running" }), From::Latest).expect_err("it runs");
        assert!(message.contains("it is Running") && message.contains("kubectl longtask cancel a"), "{message}");
        let message = restarted(&Value::Null, From::Latest).expect_err("it is new");
        assert!(message.contains("not started yet"), "{message}");
    }
}
