//! What a program gets told in its environment.

use k8s_openapi::api::core::v1::{Container, EnvVar};
use serde_json::json;

use super::{stored::save_of, trace::traceparent};
pub(super) use crate::contract::env::{CHECKPOINT_DIR, SAVED};
use crate::{
    api::{
        labels,
        task::{Checkpoint, CurrentAttempt, LongTask, LongTaskStatus},
    },
    contract::{agent, env, input},
};

/// The kubelet's default of `terminationMessagePath`.
const DEFAULT_REPORT: &str = "/dev/termination-log";

/// The variables that every container of an attempt gets.
pub(super) fn for_every_container(
    task: &LongTask,
    uid: &str,
    status: &LongTaskStatus,
    attempt: &CurrentAttempt,
) -> Vec<EnvVar> {
    let run = status.run.number;
    let segment = &task.spec.segment;
    let mut variables = vec![
        variable(env::NAME, task.metadata.name.as_deref().unwrap_or_default()),
        variable(env::NAMESPACE, task.metadata.namespace.as_deref().unwrap_or_default()),
        variable(env::UID, uid),
        variable(env::RUN, run.to_string()),
        variable(env::SEGMENT, attempt.segment.to_string()),
        variable(env::ATTEMPT, attempt.number.to_string()),
        variable(env::SEGMENT_SECONDS, segment.duration.as_secs().to_string()),
        variable(env::GRACE_SECONDS, segment.grace_period.as_secs().to_string()),
        variable(env::IDEMPOTENCY_PREFIX, prefix(task, uid, status)),
        variable(env::TRACEPARENT, traceparent(uid, run, attempt.number)),
    ];
    if let Some(Membership { set, index, count, .. }) = Membership::of(task) {
        variables.push(variable(env::SET, set));
        variables.push(variable(env::INDEX, index));
        variables.push(variable(env::COUNT, count));
        variables.push(variable(env::JOB_COMPLETION_INDEX, index));
    }
    if let Some(given) = &task.spec.input {
        variables.push(variable(env::INPUT, input::compact(given)));
        variables.extend(input::variables(given).into_iter().map(|(name, value)| variable(&name, value)));
    }
    if let Some(checkpoint) = &status.checkpoint {
        variables.push(variable(env::CHECKPOINT, as_reported(checkpoint, uid)));
        variables.push(variable(env::CHECKPOINT_SEQUENCE, checkpoint.sequence.to_string()));
    }
    variables
}

/// What a member of a set is told of it. It stays with the member when its set goes and leaves it behind.
struct Membership<'a> {
    set: &'a str,
    set_uid: &'a str,
    index: &'a str,
    count: &'a str,
}

impl<'a> Membership<'a> {
    fn of(task: &'a LongTask) -> Option<Self> {
        let (marks, notes) = (task.metadata.labels.as_ref()?, task.metadata.annotations.as_ref()?);
        Some(Self {
            set: marks.get(labels::SET)?,
            set_uid: notes.get(labels::SET_UID)?,
            index: marks.get(labels::INDEX)?,
            count: notes.get(labels::SET_COUNT)?,
        })
    }
}

/// The prefix of idempotency keys. A member of a set has the same in every round, and when it is made again.
fn prefix(task: &LongTask, uid: &str, status: &LongTaskStatus) -> String {
    match Membership::of(task) {
        Some(Membership { set_uid, index, .. }) => format!("{set_uid}/{index}"),
        None => format!("{uid}/{}", status.run.beginnings()),
    }
}

/// The variable that only the main container gets: where to report. Its termination message; with an agent, that one's file.
pub(super) fn report_path(main: &Container, has_agent: bool) -> EnvVar {
    let message = main.termination_message_path.as_deref().unwrap_or(DEFAULT_REPORT);
    variable(env::REPORT, if has_agent { agent::REPORT_FILE } else { message })
}

/// Adds the variables that the template does not set itself. In front, so that the template's may refer to them.
pub(super) fn add(container: &mut Container, ours: impl IntoIterator<Item = EnvVar>) {
    let theirs = container.env.take().unwrap_or_default();
    let ours = ours.into_iter();
    // Variables are large: a vector that grows would move each of them several times.
    let mut all = Vec::with_capacity(ours.size_hint().0 + theirs.len());
    all.extend(ours.filter(|ours| theirs.iter().all(|theirs| theirs.name != ours.name)));
    all.extend(theirs);
    container.env = Some(all);
}

/// A checkpoint in the form in which the program reported it; one that was stored, by the path where it is restored.
fn as_reported(checkpoint: &Checkpoint, uid: &str) -> String {
    if save_of(checkpoint, uid).is_some() {
        return json!({ "path": agent::RESTORED }).to_string();
    }
    if let Some(data) = &checkpoint.data {
        return data.to_string();
    }
    let mut reference = json!({ "uri": checkpoint.uri });
    if let Some(digest) = &checkpoint.digest {
        reference["digest"] = json!(digest);
    }
    if let Some(size_bytes) = checkpoint.size_bytes {
        reference["sizeBytes"] = json!(size_bytes);
    }
    reference.to_string()
}

/// A variable with a literal value: the kubelet expands `$(NAME)` and reads `$$` as `$`.
pub(super) fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    let value = value.into();
    let value = if value.contains('$') { value.replace('$', "$$") } else { value };
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}
