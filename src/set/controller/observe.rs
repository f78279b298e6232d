//! From caches to facts, with a live read where a cache would have to prove an absence.

use std::sync::{Arc, PoisonError};

use futures::{StreamExt, TryStreamExt, stream};
use kube::ResourceExt;

use super::{checked::Checked, context::Context};
use crate::{
    api::{
        set::{LongTaskSet, SetPhase},
        template::LongTaskTemplate,
    },
    runtime::{call::call, error::Error, key::ObjectKey},
    set::plan::{BadInput, Inputs, ObservedSet, TemplateSeen, check, digest, member_name},
    types::{Ranges, time::after},
};

/// How many reads are under way at a time, and how many members are asked for in one pass.
const AT_ONCE: usize = 8;
const MOST_READS: usize = 100;
/// After so many seconds no create from before a stop can arrive any more.
const CREATES_ARRIVE: i64 = 30;
/// With more items than that, their check is moved to a thread of its own.
const FEW_ITEMS: usize = 64;

/// Everything that a plan for this set is made from, and its template.
pub(super) async fn observe<'a>(
    context: &Context,
    set: &'a LongTaskSet,
) -> Result<(ObservedSet<'a>, Option<Arc<LongTaskTemplate>>), Error> {
    context.sets.members.filled().await;
    context.templates_filled.wait().await;
    let uid = set.uid().unwrap_or_default();
    let members = context.sets.members.of(&uid);
    let template = template(context, set);
    let inputs = inputs(context, set, &uid, template.as_ref()).await;
    let mut seen = ObservedSet {
        set,
        members,
        template: template.as_ref().map_or(TemplateSeen::Missing, |template| {
            TemplateSeen::Found(template.metadata.generation.unwrap_or_default())
        }),
        inputs,
        absent: Ranges::default(),
        refused: context.refusals.of(&uid, set.metadata.generation.unwrap_or_default()),
        is_queue_full: is_queue_full(context, set, template.as_deref()),
    };
    seen.absent = absent(context, &seen, &uid).await?;
    Ok((seen, template))
}

fn is_queue_full(context: &Context, set: &LongTaskSet, template: Option<&LongTaskTemplate>) -> bool {
    let queue = template.and_then(|template| template.spec.definition.get("queueName")?.as_str());
    queue.is_some_and(|queue| (context.is_full)(queue, &set.namespace().unwrap_or_default()))
}

fn template(context: &Context, set: &LongTaskSet) -> Option<Arc<LongTaskTemplate>> {
    let namespace = set.namespace().unwrap_or_default();
    let key = ObjectKey { namespace, name: set.spec.template_ref.name.clone() };
    let found = context.templates.get(&key.to_ref())?;
    // One that cannot be read has no spec to make a member from.
    found.0.as_ref().ok().filter(|template| template.metadata.deletion_timestamp.is_none()).cloned().map(Arc::new)
}

/// What the inputs are worth: as it was found before, if neither the set nor its template has changed since.
async fn inputs(context: &Context, set: &LongTaskSet, uid: &str, template: Option<&Arc<LongTaskTemplate>>) -> Inputs {
    let generation = set.metadata.generation.unwrap_or_default();
    let of_template =
        template.map(|template| (template.uid().unwrap_or_default(), template.metadata.generation.unwrap_or_default()));
    {
        let checked = context.checked.lock().unwrap_or_else(PoisonError::into_inner);
        let known = checked.get(uid).filter(|known| known.generation == generation && known.template == of_template);
        if let Some(known) = known {
            return known.inputs.clone();
        }
    }
    let inputs = if set.spec.items.as_ref().is_some_and(|items| items.len() > FEW_ITEMS) {
        let (spec, template) = (set.spec.clone(), template.cloned());
        let checking = tokio::task::spawn_blocking(move || Inputs {
            digest: digest(&spec),
            bad: template.and_then(|template| check(&spec, &template)),
        });
        checking.await.unwrap_or_else(|error| Inputs {
            digest: String::new(),
            bad: Some(BadInput::Schema(format!("the inputs could not be checked: {error}"))),
        })
    } else {
        Inputs { digest: digest(&set.spec), bad: template.and_then(|template| check(&set.spec, template)) }
    };
    let known = Checked { generation, template: of_template, inputs: inputs.clone() };
    context.checked.lock().unwrap_or_else(PoisonError::into_inner).insert(uid.to_owned(), known);
    inputs
}

/// The active indexes whose member does not exist by a live read, once the set has stopped for so long that none can arrive.
async fn absent(context: &Context, seen: &ObservedSet<'_>, uid: &str) -> Result<Ranges, Error> {
    let Some(status) = &seen.set.status else { return Ok(Ranges::default()) };
    let is_due =
        status.stop.as_ref().is_some_and(|stop| after(stop.request_time, CREATES_ARRIVE) <= context.clock.now());
    let has_ended = status.phase.is_some_and(SetPhase::is_terminal);
    if !is_due || has_ended {
        return Ok(Ranges::default());
    }
    let api = context.tasks_api(&seen.set.namespace().unwrap_or_default());
    let missing: Vec<_> =
        status.active_indexes().iter().filter(|index| !seen.members.contains_key(index)).take(MOST_READS).collect();
    let reads = missing.into_iter().map(|index| {
        let (api, name) = (api.clone(), member_name(seen.set, index));
        async move {
            let found = call("read member", api.get_metadata_opt(&name)).await?;
            let is_own = found.is_some_and(|found| found.owner_references().iter().any(|owner| owner.uid == uid));
            Ok::<_, Error>((!is_own).then_some(index))
        }
    });
    let found: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}
