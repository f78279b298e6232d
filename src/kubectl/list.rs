//! The verbs that list tasks: `dead-letters` and `top`.

use kube::{Api, api::ListParams};
use serde::Serialize;

use super::{
    args::{ListArgs, Output},
    error::Error,
    session::Session,
    text::{dead_letters, top},
};
use crate::api::task::{LongTask, LongTaskStatus};

/// The tasks that have failed, or are held for a human.
pub(super) async fn dead_letters(session: &Session, args: &ListArgs) -> Result<String, Error> {
    let mut tasks = list(session, args, Some("status.phase=Failed")).await?;
    let suspended = list(session, args, Some("status.phase=Suspended")).await?;
    let is_held = |task: &LongTask| task.status.as_ref().is_some_and(LongTaskStatus::is_held);
    tasks.extend(suspended.into_iter().filter(is_held));
    let letters = dead_letters::letters(&tasks);
    let place = place(session, args);
    text(
        args,
        &letters,
        || format!("No task has failed or is held {place}.\n"),
        |all| dead_letters::table(all, args.all_namespaces, session.clock.now()),
    )
}

/// The tasks by the work that they have done.
pub(super) async fn top(session: &Session, args: &ListArgs) -> Result<String, Error> {
    let works = top::works(&list(session, args, None).await?, session.clock.now());
    let place = place(session, args);
    text(args, &works, || format!("There is no task {place}.\n"), |all| top::table(all, args.all_namespaces))
}

async fn list(session: &Session, args: &ListArgs, fields: Option<&str>) -> Result<Vec<LongTask>, Error> {
    let api = if args.all_namespaces { Api::all(session.client.clone()) } else { session.api::<LongTask>() };
    let params = ListParams {
        label_selector: args.selector.clone(),
        field_selector: fields.map(ToOwned::to_owned),
        ..ListParams::default()
    };
    Ok(api.list(&params).await.map_err(Error::of_call("list LongTasks"))?.items)
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
