//! `events`: what was told about a task and its pods.

use jiff::Timestamp;
use k8s_openapi::api::events::v1::Event;
use kube::{ResourceExt, api::ListParams};

use super::{
    args::{OneTask, Output},
    error::Error,
    session::Session,
    text::events::{Told, events as as_table},
};
use crate::api::task::LongTask;

/// The events of a task and its pods, the oldest first.
pub(super) async fn events(session: &Session, args: &OneTask) -> Result<String, Error> {
    let task = session.task(&args.name).await?;
    let told = events_of(session, &task).await?;
    match args.output {
        Some(Output::Json) => Ok(serde_json::to_string_pretty(&told)? + "\n"),
        None if told.is_empty() => {
            Ok(format!("No events of {} are left: clusters keep them for an hour.\n", args.name))
        }
        None => Ok(as_table(&told, session.clock.now())),
    }
}

async fn events_of(session: &Session, task: &LongTask) -> Result<Vec<Told>, Error> {
    let name = task.name_any();
    let of_task = format!("regarding.kind=LongTask,regarding.name={name}");
    let mut found = Vec::new();
    for selector in [of_task.as_str(), "regarding.kind=Pod"] {
        let list = session.api::<Event>().list(&ListParams::default().fields(selector)).await;
        found.extend(list.map_err(Error::of_call("list events"))?);
    }
    let since = task.creation_timestamp().map_or(Timestamp::MIN, |time| time.0);
    found.retain(|event| is_about(event, &name));
    // Some writers give fractions of a second and some do not: within one, the order of writing is the better one.
    found.sort_by_key(|event| event.resource_version().and_then(|version| version.parse::<u64>().ok()));
    let mut told: Vec<_> = found.iter().map(describe).collect();
    // What is older is about an earlier task of the same name.
    told.retain(|event| event.time >= since);
    told.sort_by_key(|event| event.time.as_second());
    Ok(told)
}

/// About the task, or about one of its pods: those that are gone as well, so by the form of the name.
fn is_about(event: &Event, task: &str) -> bool {
    let Some(object) = &event.regarding else { return false };
    let name = object.name.as_deref().unwrap_or_default();
    match object.kind.as_deref() {
        Some("LongTask") => name == task,
        _ => name.strip_prefix(task).and_then(|rest| rest.strip_prefix('-')).is_some_and(is_number),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn describe(event: &Event) -> Told {
    let series = event.series.as_ref();
    let count = series.map(|series| series.count).or(event.deprecated_count);
    // Of the two APIs that events are written by, each fills in times of its own.
    let time = series
        .map(|series| series.last_observed_time.0)
        .or(event.deprecated_last_timestamp.as_ref().map(|time| time.0))
        .or(event.event_time.as_ref().map(|time| time.0))
        .or(event.creation_timestamp().map(|time| time.0));
    let object = event.regarding.as_ref().map(|object| {
        let kind = object.kind.as_deref().unwrap_or_default().to_lowercase();
        format!("{kind}/{}", object.name.as_deref().unwrap_or_default())
    });
    Told {
        time: time.unwrap_or(Timestamp::MIN),
        count: count.unwrap_or(1),
        type_: event.type_.clone().unwrap_or_default(),
        reason: event.reason.clone().unwrap_or_default(),
        object: object.unwrap_or_default(),
        message: event.note.clone().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::ObjectReference;

    use super::*;

    fn event(kind: &str, name: &str) -> Event {
        let regarding =
            ObjectReference { kind: Some(kind.to_owned()), name: Some(name.to_owned()), ..ObjectReference::default() };
        Event { regarding: Some(regarding), ..Event::default() }
    }

    #[test]
    fn the_pods_of_a_task_are_known_by_their_names() {
        assert!(is_about(&event("LongTask", "import"), "import"));
        assert!(is_about(&event("Pod", "import-12"), "import"));
        for (kind, name) in [("LongTask", "import-1"), ("Pod", "import"), ("Pod", "import-1-2"), ("Pod", "import-x")] {
            assert!(!is_about(&event(kind, name), "import"), "{kind} {name}");
        }
    }
}
