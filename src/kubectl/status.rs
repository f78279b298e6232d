//! `status`: where a task or a set stands.

use super::{
    args::{OneTask, Output},
    error::Error,
    queues,
    session::Session,
    sets,
    text::status::StatusView,
};

/// Where the task stands.
pub(super) async fn status(session: &Session, args: &OneTask) -> Result<String, Error> {
    if let Some(set) = sets::set_in(&args.name) {
        return sets::status(session, set, args.output).await;
    }
    let task = session.task(&args.name).await?;
    let now = session.clock.now();
    let place = queues::place_of(session, &task).await;
    let standing = StatusView::of(&task, now).in_line(place.as_ref());
    match args.output {
        Some(Output::Json) => Ok(serde_json::to_string_pretty(&standing)? + "\n"),
        None => Ok(standing.text(now)),
    }
}
