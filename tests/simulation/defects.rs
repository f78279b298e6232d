//! Defects of an operator, made at its connection and at its desk: each must be found by the invariants.

use longtask::{
    api::labels,
    contract::agent::{CONTAINER, Post, RestoreError, RestoreTrouble, RestoreWord, SaveName, StoreSettings},
    start::definition::DEFINITION,
    task::controller::{PodIdentity, Verdict},
};
use serde_json::{Value, json};

use crate::{
    connection::{Call, Verb},
    objects::{Answer, Kind, failure},
    troubles::TASK,
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
    /// It takes a change of a pod for done that is refused as something gone, changed or invalid.
    TakesRefusalsForDone,
    /// It never lets go of pods beyond the latest attempt that its status knows.
    KeepsPodsBeyondItsLast,
    /// It does not ask which deletion a pod's last word knew of.
    IgnoresGenerations,
    /// It blames the node for whatever does not end.
    BlamesTheNode,
    /// It never takes back what it told of a refused write.
    NeverTakesRefusalsBack,
    /// It does not tell GitOps tools that a task has failed.
    NeverStalls,
    /// It takes a report whatever its revision: an older one in the place of a newer one.
    IgnoresRevisions,
    /// It takes the report of any pod for that of the attempt under way.
    TakesForeignReports,
    /// It takes the silence of an agent for that of its program.
    TakesSilenceForAHang,
    /// It does not ask whether an agent knew a result that did not come.
    ForgetsResults,
    /// It merges a report twice.
    MergesTwice,
    /// It writes what is reported more often than the user wants.
    HurriesReports,
    /// The agent removes all but the newest save that the status names.
    RetentionWithoutKeep,
    /// The agent adopts also what was saved before checkpoints were dropped.
    AdoptsBelowTheEpoch,
    /// The agent tells of a save before its manifest is stored.
    TellsBeforeItIsStored,
    /// The agent takes a store that does not answer for one that has lost the checkpoint.
    TakesSilenceForALoss,
    /// The agent begins anew where the checkpoint cannot be read.
    BeginsAnew,
    /// It takes a task that has its definition for one that has none.
    ForgetsTheDefinition,
    /// It fills a task in over whatever has changed since it was read.
    FillsInOverChanges,
    /// It writes what is a task's own when it fills the task in.
    WritesWhatIsTheTasks,
    /// It does not ask whether the input is that of the run.
    IgnoresTheRunsInput,
}

impl Defect {
    pub(crate) const ALL: [Self; 33] = [
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
        Self::TakesRefusalsForDone,
        Self::KeepsPodsBeyondItsLast,
        Self::IgnoresGenerations,
        Self::BlamesTheNode,
        Self::NeverTakesRefusalsBack,
        Self::NeverStalls,
        Self::IgnoresRevisions,
        Self::TakesForeignReports,
        Self::TakesSilenceForAHang,
        Self::ForgetsResults,
        Self::MergesTwice,
        Self::HurriesReports,
        Self::RetentionWithoutKeep,
        Self::AdoptsBelowTheEpoch,
        Self::TellsBeforeItIsStored,
        Self::TakesSilenceForALoss,
        Self::BeginsAnew,
        Self::ForgetsTheDefinition,
        Self::FillsInOverChanges,
        Self::WritesWhatIsTheTasks,
        Self::IgnoresTheRunsInput,
    ];

    /// The seed that found it when all seeds were searched last: the search begins with it. What any seed finds has none.
    pub(crate) fn found_by(self) -> u64 {
        match self {
            Self::ForgetsTheWait => 89,
            Self::TakesRefusalsForDone => 256,
            Self::KeepsPodsBeyondItsLast => 18,
            Self::IgnoresGenerations => 50,
            Self::IgnoresRevisions => 20,
            Self::TakesForeignReports => 319,
            Self::TakesSilenceForAHang => 53,
            Self::RetentionWithoutKeep => 16,
            Self::AdoptsBelowTheEpoch => 184,
            Self::TakesSilenceForALoss => 82,
            _ => 0,
        }
    }

    /// Whether it shows only where a task names a template.
    pub(crate) fn is_of_templates(self) -> bool {
        matches!(
            self,
            Self::ForgetsTheDefinition
                | Self::FillsInOverChanges
                | Self::WritesWhatIsTheTasks
                | Self::IgnoresTheRunsInput
        )
    }
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
        Defect::FillsInOverChanges | Defect::WritesWhatIsTheTasks if fills_in(call) => {
            let mut call = call.clone();
            if defect == Defect::FillsInOverChanges {
                call.body["metadata"]["resourceVersion"] = Value::Null;
            } else {
                call.body["spec"]["suspend"] = json!(false);
            }
            world.serve(&call)
        }
        Defect::ForgetsTheDefinition | Defect::IgnoresTheRunsInput
            if call.kind == Some(Kind::Task) && call.verb != Verb::List =>
        {
            let (code, task) = world.serve(call);
            (code, as_told(defect, call, task))
        }
        Defect::NeverReleases
            if is_of_pod && call.verb == Verb::Patch && call.body.to_string().contains("finalizers") =>
        {
            (200, world.store.get(Kind::Pod, &call.name).cloned().unwrap_or_default())
        }
        Defect::KeepsPodsBeyondItsLast if is_of_pod && lets_go(call) && is_beyond_last(&world, &call.name) => {
            (200, world.store.get(Kind::Pod, &call.name).map(let_go).unwrap_or_default())
        }
        Defect::TakesRefusalsForDone if is_of_pod && call.verb == Verb::Patch => {
            let answer = world.serve(call);
            let pod = world.store.get(Kind::Pod, &call.name).filter(|_| matches!(answer.0, 404 | 409 | 422));
            pod.map_or(answer, |pod| (200, as_patched(pod, call)))
        }
        Defect::IgnoresGenerations | Defect::ForgetsResults if is_of_pod && call.verb != Verb::List => {
            let (code, pod) = world.serve(call);
            (code, as_told(defect, call, pod))
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

fn lets_go(call: &Call) -> bool {
    call.verb == Verb::Delete || call.verb == Verb::Patch && call.body.to_string().contains("finalizers")
}

fn is_beyond_last(world: &World, pod: &str) -> bool {
    let (task, pod) = (world.store.get(Kind::Task, TASK), world.store.get(Kind::Pod, pod));
    task.zip(pod).is_some_and(|(task, pod)| {
        let of_pod = &pod["metadata"]["labels"];
        let attempt = of_pod[labels::ATTEMPT].as_str().and_then(|number| number.parse::<i64>().ok());
        let known = task["status"]["currentAttempt"]["number"].as_i64();
        of_pod[labels::TASK_UID] == task["metadata"]["uid"] && attempt > known.or(Some(0))
    })
}

fn let_go(pod: &Value) -> Value {
    let mut pod = pod.clone();
    pod["metadata"]["finalizers"] = json!([]);
    pod["metadata"]["deletionTimestamp"] = pod["metadata"]["creationTimestamp"].clone();
    pod
}

fn as_patched(pod: &Value, call: &Call) -> Value {
    let mut pod = pod.clone();
    match call.asked_deadline() {
        Some(seconds) => pod["spec"]["activeDeadlineSeconds"] = json!(seconds),
        None => pod["metadata"]["finalizers"] = json!([]),
    }
    pod
}

fn fills_in(call: &Call) -> bool {
    call.kind == Some(Kind::Task) && call.verb == Verb::Replace && !call.is_status
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
        Defect::BlamesTheNode => {
            let is_stopping = status["phase"] == "Stopping";
            let refused = condition(status, "WriteRefused").filter(|refused| refused["status"] == "True").cloned();
            if let Some(overdue) = condition(status, "AttemptOverdue").filter(|overdue| overdue["status"] == "True") {
                overdue["reason"] = json!("NodeNotResponding");
            } else if let Some(mut blamed) = refused.filter(|_| is_stopping)
                && let Some(conditions) = status["conditions"].as_array_mut()
            {
                // It takes a pod that may not be stopped for one whose node is silent.
                (blamed["type"], blamed["reason"]) = (json!("AttemptOverdue"), json!("NodeNotResponding"));
                conditions.push(blamed);
            }
        }
        Defect::NeverTakesRefusalsBack => {
            if let Some(refused) = condition(status, "WriteRefused") {
                refused["status"] = json!("True");
            }
        }
        Defect::MergesTwice => merge_twice(world, status),
        Defect::NeverStalls => {
            if let Some(conditions) = status["conditions"].as_array_mut() {
                conditions.retain(|condition| condition["type"] != "Stalled");
            }
        }
        _ => {}
    }
    let answer = world.serve(&call);
    if defect == Defect::IgnoresConflicts && answer.0 == 409 { (200, call.body) } else { answer }
}

fn condition<'a>(status: &'a mut Value, type_: &str) -> Option<&'a mut Value> {
    status["conditions"].as_array_mut()?.iter_mut().find(|condition| condition["type"] == type_)
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
        return object;
    }
    as_told(defect, call, object)
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
    if call.kind == Some(Kind::Task) && object["spec"]["templateRef"].is_object() {
        match defect {
            Defect::ForgetsTheDefinition => {
                object["spec"]
                    .as_object_mut()
                    .expect("an object")
                    .retain(|field, _| !DEFINITION.contains(&field.as_str()));
            }
            Defect::IgnoresTheRunsInput if object["status"]["run"].is_object() => {
                object["status"]["run"].as_object_mut().expect("an object").remove("inputDigest");
            }
            _ => {}
        }
    }
    if defect == Defect::IgnoresGenerations
        && call.kind == Some(Kind::Pod)
        && let Some(status) = object["status"].as_object_mut()
    {
        status.remove("observedGeneration");
    }
    if defect == Defect::ForgetsResults && call.kind == Some(Kind::Pod) {
        forget_result(&mut object);
    }
    if defect == Defect::HurriesReports && object["spec"]["reporting"].is_object() {
        object["spec"]["reporting"]["interval"] = json!("1s");
    }
    object
}

/// A checkpoint that a report has brought counts as two.
fn merge_twice(world: &World, status: &mut Value) {
    let Some(task) = world.store.get(Kind::Task, TASK) else { return };
    let is_reported = status["currentAttempt"]["report"] != task["status"]["currentAttempt"]["report"];
    let sequence = |status: &Value| status["checkpoint"]["sequence"].as_i64();
    if let Some(sequence) = sequence(status).filter(|new| is_reported && Some(*new) > sequence(&task["status"])) {
        status["checkpoint"]["sequence"] = json!(sequence + 1);
        status["checkpointSequence"] = json!(sequence + 1);
    }
}

/// The last word of an agent says nothing of a result that it had no room for.
fn forget_result(pod: &mut Value) {
    let statuses = pod.pointer_mut("/status/initContainerStatuses").and_then(Value::as_array_mut);
    for status in statuses.into_iter().flatten().filter(|status| status["name"] == CONTAINER) {
        let Some(message) = status.pointer_mut("/state/terminated/message") else { continue };
        let Some((header, lines)) = message.as_str().and_then(|message| message.split_once('\n')) else { continue };
        let Ok(mut header) = serde_json::from_str::<Value>(header) else { continue };
        if let Some(agent) = header["agent"].as_object_mut() {
            agent.remove("result");
        }
        *message = json!(format!("{header}\n{lines}"));
    }
}

/// Hands a report in at the desk of the process in a slot, as the operator with its defect would take it.
pub(crate) fn hand_in(world: &mut World, slot: usize, pod: &PodIdentity, post: &Post) -> Option<Verdict> {
    let desk = world.slots[slot].desk.clone();
    match world.defect {
        Some(Defect::IgnoresRevisions) => {
            world.forged = world.forged.max(post.revision) + 1;
            desk.post(pod, &Post { revision: world.forged, number: world.forged, ..post.clone() })
        }
        Some(Defect::TakesForeignReports) => {
            let current = current_pod(world).unwrap_or_else(|| pod.clone());
            desk.post(&current, post)
        }
        _ => desk.post(pod, post),
    }
}

/// How an agent with a defect reads what it is told of the store.
pub(crate) fn misread(settings: &mut StoreSettings, defect: Option<Defect>) {
    forget_what_to_keep(Some(&mut settings.keep), defect);
    if let Some(restore) = settings.restore.as_mut().filter(|_| defect == Some(Defect::AdoptsBelowTheEpoch)) {
        restore.epoch = 0;
    }
}

/// Of the saves that the status names, an agent with that defect knows the newest.
pub(crate) fn forget_what_to_keep(keep: Option<&mut Vec<SaveName>>, defect: Option<Defect>) {
    if let Some(keep) = keep.filter(|_| defect == Some(Defect::RetentionWithoutKeep)) {
        let newest = keep.iter().max().cloned();
        keep.retain(|save| Some(save) == newest.as_ref());
    }
}

/// What a restore with a defect makes of what it finds.
pub(crate) fn retold(word: RestoreWord, defect: Option<Defect>) -> RestoreWord {
    let reason = word.error.as_ref().map(|error| error.reason);
    match (defect, reason) {
        (Some(Defect::TakesSilenceForALoss), Some(RestoreTrouble::Unreachable)) => {
            let error = word.error.map(|error| RestoreError { reason: RestoreTrouble::Unreadable, ..error });
            RestoreWord { error, ..word }
        }
        (Some(Defect::BeginsAnew), Some(RestoreTrouble::Unreadable)) => RestoreWord { error: None, ..word },
        _ => word,
    }
}

fn current_pod(world: &World) -> Option<PodIdentity> {
    let name = world.store.get(Kind::Task, TASK)?["status"]["currentAttempt"]["podName"].as_str()?;
    let uid = world.store.get(Kind::Pod, name)?["metadata"]["uid"].as_str()?;
    Some(PodIdentity { namespace: "n".into(), name: name.to_owned(), uid: uid.to_owned() })
}

impl World {
    /// What an operator makes of agents of which it has not heard for a while, if it makes something of that.
    pub(crate) fn miss_agents(&mut self) {
        if self.defect != Some(Defect::TakesSilenceForAHang) {
            return;
        }
        let Some(pod) = current_pod(self) else { return };
        for slot in 0..self.slots.len() {
            let Some((last, silent)) = self.last_heard(slot, &pod.uid) else { continue };
            if silent > 30 {
                let desk = self.slots[slot].desk.clone();
                desk.post(&pod, &Post { silent_seconds: silent, ..last });
            }
        }
    }
}
