//! Defects of an operator, made at its connection: each must be found by the invariants.

use serde_json::{Value, json};

use crate::{
    connection::{Call, Verb},
    server::{Answer, Kind, failure},
    world::{Shared, World},
};

/// What is wrong with the operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// It overwrites a status without regard to what has changed since it was read.
    IgnoresVersions,
    /// It takes a conflict for success.
    IgnoresConflicts,
    /// It creates a pod first and records the attempt then.
    CreatesBeforeItRecords,
    /// It lets pods be held by its finalizer for ever.
    NeverReleases,
    /// It starts the next attempt without regard to the pod that runs.
    IsBlindToPods,
    /// After a restart it knows nothing of the wait until the next attempt.
    ForgetsTheWait,
    /// After a restart it counts the end of an attempt that is counted already.
    CountsAgain,
    /// After a restart it takes a task that has ended for one that goes on.
    ForgetsTheEnd,
    /// It loses the checkpoint while it waits.
    LosesCheckpoints,
    /// It sets the counters back with each attempt.
    ForgetsFailures,
    /// It writes what has not changed.
    IsNeverQuiet,
    /// It keeps in the status whatever a program has said.
    TrimsNothing,
}

impl Defect {
    pub(crate) const ALL: [Self; 12] = [
        Self::IgnoresVersions,
        Self::IgnoresConflicts,
        Self::CreatesBeforeItRecords,
        Self::NeverReleases,
        Self::IsBlindToPods,
        Self::ForgetsTheWait,
        Self::CountsAgain,
        Self::ForgetsTheEnd,
        Self::LosesCheckpoints,
        Self::ForgetsFailures,
        Self::IsNeverQuiet,
        Self::TrimsNothing,
    ];
}

/// Lets the API server answer a call, as the operator with its defect would have made it and would understand it.
pub(crate) fn serve(world: &Shared, call: &Call) -> Answer {
    let mut world = world.lock();
    let Some(defect) = world.defect else { return world.serve(call) };
    if writes_status(call) {
        return serve_status(&mut world, call, defect);
    }
    let is_of_pod = call.kind == Some(Kind::Pod);
    match defect {
        Defect::NeverReleases
            if is_of_pod && call.verb == Verb::Patch && call.body.to_string().contains("finalizers") =>
        {
            (200, world.store.get(Kind::Pod, &call.name).cloned().unwrap_or_default())
        }
        Defect::IsBlindToPods if is_of_pod && call.verb == Verb::Get => failure(404, "NotFound", "not seen"),
        Defect::CreatesBeforeItRecords if is_of_pod && call.verb == Verb::Create => {
            let answer = world.serve(call);
            if let Some(late) = world.late.take() {
                world.serve(&late);
            }
            answer
        }
        _ if call.verb == Verb::List => {
            let (code, mut list) = world.serve(call);
            let items = std::mem::take(&mut list["items"]);
            let items = items.as_array().cloned().unwrap_or_default();
            let is_seen = |_: &Value| !(defect == Defect::IsBlindToPods && is_of_pod);
            let items: Vec<_> =
                items.into_iter().filter(is_seen).map(|item| after_restart(defect, call, item)).collect();
            list["items"] = json!(items);
            (code, list)
        }
        _ => world.serve(call),
    }
}

fn writes_status(call: &Call) -> bool {
    call.kind == Some(Kind::Task) && call.verb == Verb::Replace && call.is_status
}

fn serve_status(world: &mut World, call: &Call, defect: Defect) -> Answer {
    let mut call = call.clone();
    let status = &mut call.body["status"];
    match defect {
        Defect::IgnoresVersions => {
            call.body["metadata"]["resourceVersion"] = Value::Null;
        }
        Defect::CreatesBeforeItRecords if status["currentAttempt"]["state"] == "Creating" => {
            world.late = Some(call.clone());
            return (200, call.body);
        }
        Defect::LosesCheckpoints if status["phase"] == "Waiting" => {
            status["checkpoint"] = Value::Null;
        }
        Defect::ForgetsFailures if status["currentAttempt"]["state"] == "Running" => {
            status["consecutive"] = json!({});
        }
        Defect::TrimsNothing if !status["lastFailure"].is_null() => {
            status["lastFailure"]["message"] = json!("no such file ".repeat(1000));
        }
        _ => {}
    }
    let answer = world.serve(&call);
    if defect == Defect::IgnoresConflicts && answer.0 == 409 { (200, call.body) } else { answer }
}

/// What the operator takes an object for that it lists.
fn after_restart(defect: Defect, call: &Call, mut object: Value) -> Value {
    if call.kind == Some(Kind::Task) && !object["status"].is_null() {
        let status = &mut object["status"];
        match defect {
            Defect::ForgetsTheWait => status["nextAttemptTime"] = Value::Null,
            Defect::CountsAgain if status["currentAttempt"]["state"] == "Ended" => {
                status["currentAttempt"]["state"] = json!("Running");
            }
            Defect::ForgetsTheEnd if !status["completionTime"].is_null() => status["phase"] = json!("Waiting"),
            _ => return as_told(defect, call, object),
        }
    }
    object
}

/// Whether the operator does not look at an event of this watch.
pub(crate) fn hides(world: &World, call: &Call) -> bool {
    world.defect == Some(Defect::IsBlindToPods) && call.kind == Some(Kind::Pod)
}

/// What the operator takes an object for that a watch tells of.
pub(crate) fn as_read(world: &World, call: &Call, object: Value) -> Value {
    match world.defect {
        Some(defect) => as_told(defect, call, object),
        None => object,
    }
}

fn as_told(defect: Defect, call: &Call, mut object: Value) -> Value {
    if defect == Defect::IsNeverQuiet && call.kind == Some(Kind::Task) && !object["status"].is_null() {
        object["status"]["observedGeneration"] = json!(0);
    }
    object
}
