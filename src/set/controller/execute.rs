//! Carries out a plan: status first, then creates and deletes, a few at a time; events follow behind.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, stream};
use kube::{
    Resource, ResourceExt,
    api::{DeleteParams, PostParams, Preconditions},
    core::Status,
};
use tracing::{debug, info};

use super::{context::Context, publish::publish};
use crate::{
    api::{labels, set::LongTaskSet, task::LongTask, template::LongTaskTemplate},
    runtime::{call::call, error::Error, key::ObjectKey, status::write_status, watch::strip_unread_fields},
    set::plan::{SetPlan, SetStep, SetWake, member, member_name},
    start::answer::cause,
};

/// How many creates or deletes are under way at a time.
const AT_ONCE: usize = 8;

/// What became of a plan.
#[derive(Debug)]
pub(super) enum Executed {
    /// All was done.
    Done(SetWake),
    /// The API server refused a create: an observation, to be planned with soon.
    Refused,
    /// The set is gone.
    SetGone,
}

/// What became of a create.
#[derive(Debug)]
enum Created {
    /// It is there.
    Done,
    /// It is refused.
    Refused,
    /// Something else has the name.
    NameTaken,
    /// It was not tried, since another one was refused.
    Left,
}

/// Carries out a plan. The first error is told when all that was under way is over.
pub(super) async fn execute(
    context: &Context,
    set: &LongTaskSet,
    template: Option<&LongTaskTemplate>,
    plan: SetPlan,
) -> Result<Executed, Error> {
    let SetPlan { status, steps, events, wake } = plan;
    let key = ObjectKey::of(set);
    let mut current = None;
    if let Some(status) = status {
        // Status first: a plan from a stale cache must lose here, before it creates or deletes anything.
        let next = LongTaskSet { status: Some(status), ..set.clone() };
        let written = write_status(&context.sets_api(&key.namespace), "set", &next).await?;
        let Some(stored) = written else { return Ok(Executed::SetGone) };
        current = Some(learn_written(context, &key, set, stored));
    }
    for event in events {
        info!(set = key.name, namespace = key.namespace, reason = %event.reason, "{}", event.note);
        publish(context, set, event);
    }
    let set = current.as_deref().unwrap_or(set);
    let (mut creates, mut deletes, mut ends) = (Vec::new(), Vec::new(), false);
    for step in steps {
        debug!(%step, "step");
        match step {
            SetStep::Create(index) => creates.push(index),
            SetStep::Delete { name, uid, resource_version } => deletes.push((name, uid, resource_version)),
            SetStep::DeleteSet => ends = true,
        }
    }
    if ends {
        delete_set(context, &key, set).await?;
        return Ok(Executed::SetGone);
    }
    let refused = create_all(context, &key, set, template, creates).await?;
    delete_all(context, &key, deletes).await?;
    Ok(if refused { Executed::Refused } else { Executed::Done(wake) })
}

/// Counts what a write has brought about, and plans from it until the watch tells of it. So do the members.
fn learn_written(context: &Context, key: &ObjectKey, set: &LongTaskSet, mut stored: LongTaskSet) -> Arc<LongTaskSet> {
    strip_unread_fields(&mut stored);
    let bytes = serde_json::to_vec(&stored).map_or(0, |written| written.len());
    context.pace.wrote(key, bytes);
    if let Some(after) = &stored.status {
        context.metrics.record(set.status.as_ref(), after);
    }
    let stored = Arc::new(stored);
    context.sets.written.keep(key.clone(), Arc::clone(&stored));
    stored
}

/// Creates members. Returns whether one was refused: those behind it are not tried then.
async fn create_all(
    context: &Context,
    key: &ObjectKey,
    set: &LongTaskSet,
    template: Option<&LongTaskTemplate>,
    indexes: Vec<u32>,
) -> Result<bool, Error> {
    let Some(template) = template else { return Ok(false) };
    let stop = AtomicBool::new(false);
    let creates = indexes.into_iter().map(|index| {
        let stop = &stop;
        async move {
            if stop.load(Ordering::Relaxed) {
                return Ok(Created::Left);
            }
            let created = create(context, key, set, template, index).await;
            if !matches!(created, Ok(Created::Done | Created::NameTaken)) {
                stop.store(true, Ordering::Relaxed);
            }
            created
        }
    });
    let all: Vec<_> = stream::iter(creates).buffered(AT_ONCE).collect().await;
    let mut refused = false;
    for created in all {
        refused |= matches!(created?, Created::Refused | Created::NameTaken);
    }
    Ok(refused)
}

/// Creates a member by POST, once: a create that is sent again later could bring back a member that has come and gone.
async fn create(
    context: &Context,
    key: &ObjectKey,
    set: &LongTaskSet,
    template: &LongTaskTemplate,
    index: u32,
) -> Result<Created, Error> {
    let (uid, generation) = (set.uid().unwrap_or_default(), set.metadata.generation.unwrap_or_default());
    let task = match member(set, template, index) {
        Ok(task) => task,
        Err(unfit) => {
            // All were found valid a moment ago: the next look knows better.
            debug!(set = key.name, index, %unfit, "the input does not fit any more");
            return Ok(Created::Left);
        }
    };
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    let lists = context.sets.members.lists();
    let api = context.whole_tasks_api(&key.namespace);
    let error = match context.leadership.create("create member", api.create(&params, &task)).await {
        Ok(created) => {
            if let Some(created) = as_task(&created) {
                context.sets.members.learn(&created, lists);
            }
            context.refusals.created(&uid, index);
            return Ok(Created::Done);
        }
        Err(error @ Error::NotLeading { .. }) => return Err(error),
        Err(error) => error,
    };
    let now = context.clock.now();
    if error.answer().is_some_and(Status::is_already_exists) {
        let found = call("read member", context.tasks_api(&key.namespace).get_opt(&member_name(set, index))).await?;
        let Some(mut found) = found else { return Err(error) };
        if found.owner_references().iter().any(|owner| owner.uid == uid) {
            // By this very set: in a pass that was cut off, or the answer got lost.
            strip_unread_fields(&mut found);
            context.sets.members.learn(&found, lists);
            context.refusals.created(&uid, index);
            return Ok(Created::Done);
        }
        let whose = found.owner_references().first().map(|owner| format!("of {} {}", owner.kind, owner.name));
        let whose = whose.unwrap_or_else(|| "not of this set".to_owned());
        context.refusals.taken(&uid, index, whose, now, generation);
        return Ok(Created::NameTaken);
    }
    if error.may_pass() && !context.backoffs.is_repeated(key) {
        return Err(error);
    }
    let words = cause(error.answer(), error.is_late(), error.to_string());
    context.refusals.create(&uid, words, now, generation);
    Ok(Created::Refused)
}

fn as_task(task: &kube::core::DynamicObject) -> Option<LongTask> {
    let mut task: LongTask = serde_json::from_value(serde_json::to_value(task).ok()?).ok()?;
    strip_unread_fields(&mut task);
    Some(task)
}

/// Deletes members as they were read. One that has changed since stays: the next plan knows why.
async fn delete_all(context: &Context, key: &ObjectKey, members: Vec<(String, String, String)>) -> Result<(), Error> {
    let deletes = members.into_iter().map(|(name, uid, resource_version)| async move {
        let preconditions = Preconditions { uid: Some(uid.clone()), resource_version: Some(resource_version) };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match call("delete member", context.tasks_api(&key.namespace).delete(&name, &params)).await {
            Ok(_) => {
                context.sets.members.forget(&key.namespace, &name, &uid);
                Ok(())
            }
            Err(error) if matches!(error.code(), Some(404 | 409)) => Ok(()),
            Err(error) => Err(error),
        }
    });
    let all: Vec<_> = stream::iter(deletes).buffered(AT_ONCE).collect().await;
    all.into_iter().collect()
}

/// Deletes the set as it was read: one that was restarted in the meantime is another reading, and stays.
async fn delete_set(context: &Context, key: &ObjectKey, set: &LongTaskSet) -> Result<(), Error> {
    let (uid, resource_version) = (set.meta().uid.clone(), set.meta().resource_version.clone());
    let preconditions = Preconditions { uid, resource_version };
    let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
    match call("delete set", context.sets_api(&key.namespace).delete(&key.name, &params)).await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some(404) => Ok(()),
        Err(error) => Err(error),
    }
}
