//! The verbs that list tasks and sets: `dead-letters` and `top`.

use std::{collections::HashSet, fmt::Debug};

use kube::{
    Api, ResourceExt,
    api::ListParams,
    core::{NamespaceResourceScope, Resource},
};
use serde::{Serialize, de::DeserializeOwned};

use super::{
    args::{ListArgs, Output, TopArgs},
    error::Error,
    session::Session,
    text::{dead_letters, top, top_sets},
};
use crate::api::{
    set::LongTaskSet,
    task::{LongTask, LongTaskStatus},
};

/// The tasks that have failed, or are held for a human, and the sets that have failed. Failed members are left to the sets that
/// are seen beside them.
pub(super) async fn dead_letters(session: &Session, args: &ListArgs) -> Result<String, Error> {
    let mut tasks = list::<LongTask>(session, args, Some("status.phase=Failed")).await?;
    let sets = match list::<LongTaskSet>(session, args, None).await {
        Ok(sets) => sets,
        // An older operator's cluster.
        Err(Error::NoResource) => Vec::new(),
        Err(error) => return Err(error),
    };
    let uids: HashSet<_> = sets.iter().filter_map(|set| set.metadata.uid.as_deref()).collect();
    tasks.retain(|task| !task.owner_references().iter().any(|owner| uids.contains(owner.uid.as_str())));
    let suspended = list::<LongTask>(session, args, Some("status.phase=Suspended")).await?;
    let is_held = |task: &LongTask| task.status.as_ref().is_some_and(LongTaskStatus::is_held);
    tasks.extend(suspended.into_iter().filter(is_held));
    let letters = dead_letters::letters(&tasks, &sets);
    let place = place(session, args);
    text(
        args,
        &letters,
        || format!("No task has failed or is held {place}, and no set has failed.\n"),
        |all| dead_letters::table(all, args.all_namespaces, session.clock.now()),
    )
}

/// The tasks by the work that they have done, or the sets by how far they are.
pub(super) async fn top(session: &Session, args: &TopArgs) -> Result<String, Error> {
    let TopArgs { list: args, sets } = args;
    let (now, place) = (session.clock.now(), place(session, args));
    if *sets {
        let rows = top_sets::rows(&list(session, args, None).await?, now);
        let none = || format!("There is no set {place}.\n");
        return text(args, &rows, none, |all| top_sets::table(all, args.all_namespaces, now));
    }
    let works = top::works(&list(session, args, None).await?, now);
    text(args, &works, || format!("There is no task {place}.\n"), |all| top::table(all, args.all_namespaces))
}

async fn list<K>(session: &Session, args: &ListArgs, fields: Option<&str>) -> Result<Vec<K>, Error>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()> + Clone + DeserializeOwned + Debug,
{
    let api: Api<K> = if args.all_namespaces { Api::all(session.client.clone()) } else { session.api() };
    let params = ListParams {
        label_selector: args.selector.clone(),
        field_selector: fields.map(ToOwned::to_owned),
        ..ListParams::default()
    };
    let what = format!("list {}s", K::kind(&()));
    Ok(api.list(&params).await.map_err(Error::of_call(what))?.items)
}

fn place(session: &Session, args: &ListArgs) -> String {
    if args.all_namespaces { "in any namespace".to_owned() } else { format!("in namespace {}", session.namespace) }
}

fn text<T: Serialize>(
    args: &ListArgs,
    all: &[T],
    none: impl FnOnce() -> String,
    table: impl FnOnce(&[T]) -> String,
) -> Result<String, Error> {
    match args.output {
        Some(Output::Json) => Ok(serde_json::to_string_pretty(all)? + "\n"),
        None if all.is_empty() => Ok(none()),
        None => Ok(table(all)),
    }
}
