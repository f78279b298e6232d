//! What a program gets told in its environment.

use k8s_openapi::api::core::v1::{Container, EnvVar};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::api::{Checkpoint, CurrentAttempt, LongTask, LongTaskStatus};

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
    let mut env = vec![
        variable("LONGTASK_NAME", task.metadata.name.as_deref().unwrap_or_default()),
        variable("LONGTASK_NAMESPACE", task.metadata.namespace.as_deref().unwrap_or_default()),
        variable("LONGTASK_UID", uid),
        variable("LONGTASK_RUN", run.to_string()),
        variable("LONGTASK_SEGMENT", attempt.segment.to_string()),
        variable("LONGTASK_ATTEMPT", attempt.number.to_string()),
        variable("LONGTASK_SEGMENT_SECONDS", segment.duration.as_secs().to_string()),
        variable("LONGTASK_GRACE_SECONDS", segment.grace_period.as_secs().to_string()),
        variable("LONGTASK_IDEMPOTENCY_PREFIX", format!("{uid}/{run}")),
        variable("TRACEPARENT", traceparent(uid, run, attempt.number)),
    ];
    if let Some(checkpoint) = &status.checkpoint {
        env.push(variable("LONGTASK_CHECKPOINT", as_reported(checkpoint)));
        env.push(variable("LONGTASK_CHECKPOINT_SEQUENCE", checkpoint.sequence.to_string()));
    }
    env
}

/// The variable that only the main container gets: where to report.
pub(super) fn report_path(main: &Container) -> EnvVar {
    variable("LONGTASK_REPORT", main.termination_message_path.as_deref().unwrap_or(DEFAULT_REPORT))
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

/// The W3C trace of the run: one trace per run, one parent span per attempt.
pub fn traceparent(uid: &str, run: i64, attempt: i64) -> String {
    format!("00-{}-{}-01", trace_id(uid, run), attempt_span_id(uid, attempt))
}

/// The span of an attempt, 16 hexadecimal digits.
pub fn attempt_span_id(uid: &str, attempt: i64) -> String {
    span_id(&format!("{uid}/{attempt}/span"))
}

/// The span of a run, of which those of its attempts are parts.
pub fn run_span_id(uid: &str, run: i64) -> String {
    span_id(&format!("{uid}/{run}/run"))
}

/// The span that a text stands for.
pub fn span_id(text: &str) -> String {
    let [a, b, ..] = digest(text);
    format!("{a:08x}{b:08x}")
}

/// The trace of a run, 32 hexadecimal digits.
pub fn trace_id(uid: &str, run: i64) -> String {
    let [a, b, c, d] = digest(&format!("{uid}/{run}/trace"));
    format!("{a:08x}{b:08x}{c:08x}{d:08x}")
}

/// The first 128 bits of a hash: the same text gives the same identifiers in every version of the operator.
fn digest(text: &str) -> [u32; 4] {
    let digest = Sha256::digest(text);
    let (words, _) = digest.as_chunks::<4>();
    [0, 1, 2, 3].map(|n| words.get(n).copied().map_or(0, u32::from_be_bytes))
}

/// A checkpoint in the form in which the program reported it.
fn as_reported(checkpoint: &Checkpoint) -> String {
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
fn variable(name: &str, value: impl Into<String>) -> EnvVar {
    let value = value.into();
    let value = if value.contains('$') { value.replace('$', "$$") } else { value };
    EnvVar { name: name.to_owned(), value: Some(value), value_from: None }
}
