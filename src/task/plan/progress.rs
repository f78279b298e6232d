//! What an attempt reported, merged into the status.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    api::task::{Checkpoint, CheckpointPolicy, CurrentAttempt, LongTaskStatus, Progress},
    contract::{
        agent::Restored,
        report::{Report, ReportedCheckpoint, ReportedProgress},
    },
    types::time::{after, seconds_between},
};

/// What a report adds to the status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Gain {
    /// The work has moved on.
    pub(super) is_progress: bool,
    /// A checkpoint was recorded that was not there before.
    pub(super) has_new_checkpoint: bool,
    /// The program has reported `completed` in this run, so that decides what progress is.
    pub(super) completed_is_known: bool,
}

/// What the report adds to the status, which does not have it yet.
pub(super) fn gain(status: &LongTaskStatus, report: &Report) -> Gain {
    let (mark, completed) = (status.run.high_water, report.progress.as_ref().and_then(|progress| progress.completed));
    let completed_is_known = mark.is_some() || completed.is_some();
    let is_unseen = report.checkpoint.as_ref().is_some_and(|reported| is_new_to(status, reported));
    Gain {
        is_progress: if completed_is_known { rises(completed, mark) } else { is_unseen },
        has_new_checkpoint: report.checkpoint.as_ref().is_some_and(|reported| !is_current(status, reported)),
        completed_is_known,
    }
}

/// What the report of an attempt that has ended adds; the work has moved on also by what was recorded while it ran.
pub(super) fn gain_of_attempt(status: &LongTaskStatus, attempt: &CurrentAttempt, report: &Report) -> Gain {
    let gain = gain(status, report);
    let has_progressed = attempt.report.as_ref().is_some_and(|recorded| recorded.progress_time.is_some());
    Gain { is_progress: gain.is_progress || has_progressed, ..gain }
}

/// Whether the newest checkpoint that is recorded is of this attempt.
pub(super) fn has_own_checkpoint(status: &LongTaskStatus, attempt: &CurrentAttempt) -> bool {
    status.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.attempt == attempt.number)
}

/// Whether reported work is more than the most that the run has had.
fn rises(completed: Option<i64>, mark: Option<i64>) -> bool {
    completed.is_some_and(|completed| completed > mark.unwrap_or(0))
}

/// When a report is merged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Merging {
    pub(super) now: Timestamp,
    /// Running time of the run so far, in seconds.
    pub(super) active_seconds: i64,
    /// Whether the attempt has ended. While it runs, the time alone is no news.
    pub(super) is_at_end: bool,
}

/// Merges what an attempt reported.
pub(super) fn merge(
    status: &mut LongTaskStatus,
    attempt: &CurrentAttempt,
    report: &Report,
    policy: &CheckpointPolicy,
    when: Merging,
) {
    let Report { checkpoint, progress, result, .. } = report;
    if let Some(reported) = checkpoint {
        record_checkpoint(status, reported, (attempt.number, attempt.segment), when.now);
    }
    trim_history(status, policy);
    if let Some(reported) = progress.as_ref().filter(|reported| when.is_at_end || is_news(status, reported)) {
        record_progress(status, reported, when);
    }
    if result.is_some() {
        status.result.clone_from(result);
    }
}

/// Whether a checkpoint differs from the current one and from every one in history: a program that goes round in
/// circles makes no progress.
fn is_new_to(status: &LongTaskStatus, reported: &ReportedCheckpoint) -> bool {
    !status.checkpoint.iter().chain(&status.checkpoint_history).any(|recorded| is_same(reported, recorded))
}

fn is_current(status: &LongTaskStatus, reported: &ReportedCheckpoint) -> bool {
    status.checkpoint.as_ref().is_some_and(|current| is_same(reported, current))
}

/// Whether a recorded checkpoint says the same as a reported one.
fn is_same(reported: &ReportedCheckpoint, recorded: &Checkpoint) -> bool {
    match reported {
        ReportedCheckpoint::Data(data) => recorded.data.as_ref().is_some_and(|recorded| same_json(data, recorded)),
        ReportedCheckpoint::Reference { uri, digest, size_bytes, path: _ } => {
            (Some(uri), digest, size_bytes) == (recorded.uri.as_ref(), &recorded.digest, &recorded.size_bytes)
        }
    }
}

/// Equal as canonical JSON. The API server writes the number 1.0 as 1, so numbers are compared by value.
fn same_json(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

/// Makes a reported checkpoint the current one, unless it is already. It is of that attempt and segment.
fn record_checkpoint(
    status: &mut LongTaskStatus,
    reported: &ReportedCheckpoint,
    (attempt, segment): (i64, i64),
    now: Timestamp,
) {
    if is_current(status, reported) {
        return;
    }
    let current = status.checkpoint.as_ref().map_or(0, |current| current.sequence);
    let sequence = status.checkpoint_sequence.max(current).saturating_add(1);
    status.checkpoint_sequence = sequence;
    let nothing = Checkpoint {
        sequence,
        attempt,
        segment,
        record_time: now,
        path: None,
        data: None,
        uri: None,
        digest: None,
        size_bytes: None,
    };
    let checkpoint = match reported.clone() {
        ReportedCheckpoint::Data(data) => Checkpoint { data: Some(data), ..nothing },
        ReportedCheckpoint::Reference { path, uri, digest, size_bytes } => {
            Checkpoint { path, uri: Some(uri), digest, size_bytes, ..nothing }
        }
    };
    if let Some(previous) = status.checkpoint.replace(checkpoint) {
        status.checkpoint_history.insert(0, previous);
    }
}

/// Makes a checkpoint the current one that an earlier attempt has saved and nobody recorded.
pub(super) fn adopt(status: &mut LongTaskStatus, restored: &Restored, policy: &CheckpointPolicy, now: Timestamp) {
    let reported = ReportedCheckpoint::Reference {
        path: Some(restored.path.clone()),
        uri: restored.uri.clone(),
        digest: Some(restored.digest.clone()),
        size_bytes: i64::try_from(restored.size_bytes).ok(),
    };
    record_checkpoint(status, &reported, (restored.attempt, restored.segment), now);
    trim_history(status, policy);
}

/// Keeps no more earlier checkpoints than the user wants.
fn trim_history(status: &mut LongTaskStatus, policy: &CheckpointPolicy) {
    status.checkpoint_history.truncate(usize::try_from(policy.history_limit).unwrap_or(0));
}

/// Records progress field by field.
fn record_progress(status: &mut LongTaskStatus, reported: &ReportedProgress, when: Merging) {
    let ReportedProgress { completed, total, unit, message } = reported.clone();
    let mut progress = status.progress.take().unwrap_or_default();
    progress.completed = completed.or(progress.completed);
    progress.total = total.or(progress.total);
    progress.unit = unit.or(progress.unit);
    progress.message = message.or(progress.message);
    progress.percent = percent(&progress);
    progress.summary = summary(&progress);
    progress.estimated_completion_time = estimated_completion(&progress, when.active_seconds, when.now);
    progress.last_update_time = Some(when.now);
    status.progress = Some(progress);
    status.run.high_water = completed.max(status.run.high_water);
}

/// Whether the status does not have this progress yet.
fn is_news(status: &LongTaskStatus, reported: &ReportedProgress) -> bool {
    let nothing = Progress::default();
    let known = status.progress.as_ref().unwrap_or(&nothing);
    let is_new = |reported: &Option<String>, known: &Option<String>| reported.is_some() && reported != known;
    let differs = |reported: Option<i64>, known: Option<i64>| reported.is_some() && reported != known;
    differs(reported.completed, known.completed)
        || differs(reported.total, known.total)
        || is_new(&reported.unit, &known.unit)
        || is_new(&reported.message, &known.message)
        || reported.completed > status.run.high_water
}

fn percent(progress: &Progress) -> Option<i32> {
    let (completed, total) = (progress.completed?, progress.total.filter(|total| *total > 0)?);
    i32::try_from((i128::from(completed) * 100 / i128::from(total)).clamp(0, 100)).ok()
}

/// Such as `1200/5000 rows`.
fn summary(progress: &Progress) -> Option<String> {
    let completed = progress.completed?;
    let total = progress.total.map(|total| format!("/{total}")).unwrap_or_default();
    let unit = progress.unit.as_ref().map(|unit| format!(" {unit}")).unwrap_or_default();
    Some(format!("{completed}{total}{unit}"))
}

/// When the rest will be done, at the pace of the running time so far.
fn estimated_completion(progress: &Progress, active_seconds: i64, now: Timestamp) -> Option<Timestamp> {
    let (completed, total) = (progress.completed.filter(|completed| *completed > 0)?, progress.total?);
    let left = i128::from(total.saturating_sub(completed).max(0));
    let seconds = left * i128::from(active_seconds) / i128::from(completed);
    let end = after(now, i64::try_from(seconds).unwrap_or(i64::MAX));
    (seconds_between(now, end) >= 0).then_some(end)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::contract::report::Via;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn at_end(second: i64) -> Merging {
        Merging { now: at(second), active_seconds: 0, is_at_end: true }
    }

    fn reported(completed: Option<i64>, total: Option<i64>) -> ReportedProgress {
        ReportedProgress { completed, total, ..ReportedProgress::default() }
    }

    #[test]
    fn progress_is_what_rises_above_the_mark() {
        let mut status = LongTaskStatus::default();
        let rises: Vec<_> = [0, 5, 3, 5, 6]
            .into_iter()
            .map(|completed| {
                let rises = rises(Some(completed), status.run.high_water);
                record_progress(&mut status, &reported(Some(completed), None), at_end(0));
                rises
            })
            .collect();
        assert_eq!(rises, [false, true, false, false, true]);
        assert_eq!(status.run.high_water, Some(6));
    }

    #[test]
    fn a_message_alone_keeps_the_numbers_and_is_no_progress() {
        let mut status = LongTaskStatus::default();
        record_progress(&mut status, &reported(Some(5), Some(20)), at_end(0));
        let message =
            ReportedProgress { message: Some("file 3".into()), unit: Some("rows".into()), ..reported(None, None) };
        record_progress(&mut status, &message, at_end(1));
        let progress = status.progress.expect("progress");
        assert_eq!((progress.summary.as_deref(), progress.percent), (Some("5/20 rows"), Some(25)));
        assert_eq!((progress.message.as_deref(), progress.last_update_time), (Some("file 3"), Some(at(1))));
    }

    #[test]
    fn percent_is_known_only_with_a_total_and_stays_within_0_and_100() {
        let of = |completed, total| percent(&Progress { completed, total, ..Progress::default() });
        assert_eq!(
            [of(Some(1), Some(3)), of(Some(9), Some(3)), of(Some(i64::MAX), Some(i64::MAX))],
            [Some(33), Some(100), Some(100)]
        );
        assert_eq!([of(Some(1), None), of(Some(1), Some(0)), of(None, Some(3))], [None; 3]);
    }

    #[test]
    fn the_end_is_estimated_at_the_pace_so_far() {
        let of = |completed, total, active| {
            estimated_completion(&Progress { completed, total, ..Progress::default() }, active, at(1000))
        };
        assert_eq!(of(Some(25), Some(100), 50), Some(at(1150)));
        assert_eq!(of(Some(100), Some(25), 50), Some(at(1000)), "more than all");
        assert_eq!([of(Some(0), Some(9), 50), of(None, Some(9), 50), of(Some(3), None, 50)], [None; 3]);
        let never = of(Some(1), Some(i64::MAX), i64::MAX).expect("a time");
        assert_eq!(never.as_second(), Timestamp::MAX.as_second());
    }

    #[test]
    fn checkpoints_are_compared_as_canonical_json() {
        assert!(same_json(&json!({ "a": 1.0, "b": [1] }), &json!({ "b": [1], "a": 1 })));
        assert!(!same_json(&json!({ "a": 9_007_199_254_740_993_i64 }), &json!({ "a": 9_007_199_254_740_992_i64 })));
        assert!(!same_json(&json!({ "a": 1 }), &json!({ "a": 1, "b": null })));
        assert!(same_json(&json!([1.0, [2]]), &json!([1, [2.0]])), "within lists");
        assert!(!same_json(&json!([1]), &json!([1, 2])) && !same_json(&json!([1, 2]), &json!([1])), "one is longer");
        assert!(!same_json(&json!([1, 2]), &json!([2, 1])), "lists have an order");
        assert!(!same_json(&json!({ "a": 1 }), &json!({ "b": 1 })) && !same_json(&json!("a"), &json!("b")));
    }

    #[test]
    fn a_checkpoint_is_the_same_only_when_all_of_it_is() {
        let recorded = |checkpoint: Value| -> Checkpoint {
            let mut fields = json!({ "sequence": 1, "attempt": 1, "segment": 1, "recordTime": "2026-11-24T10:00:00Z" });
            fields.as_object_mut().expect("fields").extend(checkpoint.as_object().expect("fields").clone());
            serde_json::from_value(fields).expect("a checkpoint")
        };
        let reported = |value: Value| {
            Report::read(&json!({ "checkpoint": value }).to_string(), Via::Agent).checkpoint.expect("it is reported")
        };
        let reference = json!({ "uri": "s3://b/k", "digest": "sha256:1", "sizeBytes": 7 });
        assert!(is_same(&reported(reference.clone()), &recorded(reference.clone())));
        for (field, other) in [("uri", json!("s3://b/l")), ("digest", json!("sha256:2")), ("sizeBytes", json!(8))] {
            let mut changed = reference.clone();
            changed[field] = other;
            assert!(!is_same(&reported(changed), &recorded(reference.clone())), "{field}");
        }
        let data = recorded(json!({ "data": { "n": 1 } }));
        assert!(is_same(&reported(json!({ "n": 1 })), &data));
        assert!(!is_same(&reported(json!({ "n": 2 })), &data) && !is_same(&reported(reference), &data));
    }
}
