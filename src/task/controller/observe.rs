//! From caches to facts, with a live read wherever a cache would have to prove an absence.

use std::sync::Arc;

use kube::{ResourceExt, core::DynamicObject};

use super::context::Context;
use crate::{
    api::{
        labels,
        task::{ClaimRetention, CurrentAttempt, LongTask, LongTaskStatus, Phase},
    },
    runtime::{call::call, error::Error, key::ObjectKey, watch::strip_unread_fields},
    task::{
        plan::{ClaimFacts, CurrentPod, Observed, PodFacts, Template, TemplateReading, needs_template},
        render::claim_names,
    },
};

/// Everything that a plan for this task is made from.
pub(super) async fn observe<'a>(context: &Context, task: &'a LongTask) -> Result<Observed<'a>, Error> {
    context.pods.filled().await;
    let key = ObjectKey::of(task);
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    let (own, other): (Vec<_>, Vec<_>) = context.pods.of(&key).into_iter().partition(|pod| pod.task_uid == uid);
    let foreign = if other.is_empty() || !is_live(context, &key, uid).await? { Vec::new() } else { other };
    // A pod with our labels but without our owner reference is somebody else's; but when the task goes with
    // --cascade=orphan, its pods lose the reference before it is gone.
    let is_going = task.metadata.deletion_timestamp.is_some();
    let (pods, disowned): (Vec<_>, Vec<_>) =
        own.into_iter().partition(|pod| is_going || pod.owner_uid.as_deref() == Some(uid));
    let foreign = foreign.into_iter().chain(disowned).collect();
    let current = match task.status.as_ref().and_then(LongTaskStatus::live_attempt) {
        Some(attempt) => sight(context, &key, uid, attempt, &pods).await?,
        None => CurrentPod::None,
    };
    let claims = claims(context, &key, task, &current).await?;
    Ok(Observed {
        task,
        uid,
        pods,
        foreign,
        refusal: None,
        refused_steps: Vec::new(),
        late_creates: context.late_creates.of(&key),
        live: context.live.of(&current),
        current,
        claims,
        template: Template::NotAsked,
        parent: context.parents.of(task).await,
        admission: context.queues.of(task, &context.scope).await,
    })
}

/// A task that is to be filled in, as the API server has it now, and its template.
pub(super) enum Fresh {
    /// It need not be filled in, or will not be: the reading at hand is as good as any.
    AsRead(Template),
    /// It was read again.
    Read(Arc<LongTask>, Template),
    /// It is gone.
    Gone,
}

/// Reads a task that is to be filled in, and its template. From the API server: the caches lag behind an edit of a moment ago,
/// and lack what `kubectl apply` leaves behind, without which a write of the task would look like a change of every field.
pub(super) async fn refresh(context: &Context, task: &LongTask) -> Result<Fresh, Error> {
    let parent = context.parents.of(task).await;
    if !needs_template(task, parent) {
        return Ok(Fresh::AsRead(Template::NotAsked));
    }
    if !context.fills_in {
        return Ok(Fresh::AsRead(Template::Off));
    }
    let key = ObjectKey::of(task);
    let live = call("read task", context.raw_tasks_api(&key.namespace).get_opt(&key.name)).await?;
    let Some(live) = live.filter(|live| live.metadata.uid == task.metadata.uid) else { return Ok(Fresh::Gone) };
    let mut now: LongTask = call("read task", async { as_task(&live) }).await?;
    strip_unread_fields(&mut now);
    let template = match now.spec.template_ref.as_ref().filter(|_| needs_template(&now, parent)) {
        None => Template::NotAsked,
        Some(named) => match call("read template", context.templates_api(&key.namespace).get_opt(&named.name)).await? {
            None => Template::Missing,
            Some(template) => Template::Found(Box::new(TemplateReading { task: live, template })),
        },
    };
    Ok(Fresh::Read(Arc::new(now), template))
}

/// A task with all its fields as one with those that this program knows.
pub(super) fn as_task(raw: &DynamicObject) -> kube::Result<LongTask> {
    let known = serde_json::to_value(raw).and_then(serde_json::from_value);
    known.map_err(kube::Error::SerdeError)
}

/// The task's own claims that exist, where the plan can ask for them. No watch tells of them: there are few, and they are
/// asked for once an attempt.
async fn claims(
    context: &Context,
    key: &ObjectKey,
    task: &LongTask,
    current: &CurrentPod,
) -> Result<Vec<ClaimFacts>, Error> {
    let mut found = Vec::new();
    if may_need_claims(task, current) {
        let api = context.claims_api(&key.namespace);
        for name in claim_names(task) {
            let claim = call("read claim", api.get_metadata_opt(&name)).await?;
            found.extend(claim.map(|claim| ClaimFacts {
                name,
                uid: claim.uid().unwrap_or_default(),
                task_uid: claim.labels().get(labels::TASK_UID).cloned(),
                is_being_deleted: claim.metadata.deletion_timestamp.is_some(),
            }));
        }
    }
    Ok(found)
}

/// Whether a pod may be created now, or claims deleted. The plan that records the end of an attempt starts the next one.
fn may_need_claims(task: &LongTask, current: &CurrentPod) -> bool {
    let status = task.status.as_ref();
    let is_paused = task.spec.suspend || task.metadata.deletion_timestamp.is_some();
    let has_ended = status.and_then(|status| status.phase).is_some_and(Phase::is_terminal);
    let recorded = status.and_then(|status| status.run.restart_token.as_ref());
    let is_restarted = recorded != task.spec.restart.as_ref().map(|restart| &restart.token);
    let deletes = task.spec.persistent_volume_claim_retention_policy.when_succeeded == ClaimRetention::Delete;
    let is_under_way = match current {
        CurrentPod::Found(pod) => !pod.is_terminal() && pod.deletion.is_none(),
        CurrentPod::None | CurrentPod::Gone => false,
    };
    !is_under_way && !is_paused && (!has_ended || is_restarted || deletes)
}

async fn sight(
    context: &Context,
    key: &ObjectKey,
    uid: &str,
    attempt: &CurrentAttempt,
    known: &[Arc<PodFacts>],
) -> Result<CurrentPod, Error> {
    let cached = known.iter().find(|pod| pod.is_of(attempt));
    if let Some(pod) = cached.filter(|pod| !pod.lacks_last_word() && !pod.leaves_words_out()) {
        return Ok(CurrentPod::Found(Arc::clone(pod)));
    }
    // The task's watch and the pods' watch lag independently: only the API server can say that it is not there, or that
    // nothing more was heard of it.
    let name = &attempt.pod_name;
    let pod = call("read pod", context.pods_api(&key.namespace).get_opt(name)).await?;
    let ours = pod
        .and_then(|pod| PodFacts::with_words(&pod))
        .filter(|pod| pod.is_of(attempt) && pod.task_uid == uid && pod.owner_uid.as_deref() == Some(uid));
    Ok(ours.map_or(CurrentPod::Gone, |pod| CurrentPod::Found(Arc::new(pod))))
}

/// Whether the task of this name is, right now, the one with this UID.
async fn is_live(context: &Context, key: &ObjectKey, uid: &str) -> Result<bool, Error> {
    let live = call("read task", context.tasks_api(&key.namespace).get_metadata_opt(&key.name)).await?;
    Ok(live.is_some_and(|task| task.uid().as_deref() == Some(uid)))
}
