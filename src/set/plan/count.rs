//! Members that have ended are counted: each index moves from the active ones to a list, with its result.

use std::sync::Arc;

use serde_json::Value;

use super::{
    draft::Draft,
    observed::{Cause, Member, MemberPhase},
    steps::SetEventReason,
};
use crate::{
    api::set::{LongTaskSetStatus, MemberFailure, MemberResult, Members},
    types::{
        counted,
        time::{after, seconds_between},
        truncate,
    },
};

/// The most bytes of results, as JSON, that stay in status.
const MOST_RESULTS: usize = 64 * 1024;
/// The most bytes of a failure's message that stay in status.
const LONGEST_MESSAGE: usize = 256;
/// How many members an event names.
pub(super) const MOST_NAMES: usize = 5;
/// How long after a stop a create may still arrive, in seconds: it was planned before the stop was written, and lasts three
/// calls of 10 s at most.
pub(super) const CREATES_ARRIVE: i64 = 30;

/// What becomes of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Succeeded,
    Failed,
    Waiting,
}

/// Counts every member that has ended, and every one that will not come any more.
pub(super) fn count(draft: &mut Draft<'_>) {
    let moves: Vec<_> =
        draft.seen.members.values().filter_map(|member| Some((Arc::clone(member), move_of(draft, member)?))).collect();
    let mut failed = Vec::new();
    for (member, to) in moves {
        let index = member.index;
        draft.active.remove(index);
        let status = &mut draft.status;
        for list in [&mut status.failed, &mut status.waiting] {
            list.indexes.remove(index);
        }
        match to {
            Move::Succeeded => {
                status.succeeded.indexes.insert(index);
                keep_result(draft, &member);
            }
            Move::Failed => {
                status.failed.indexes.insert(index);
                failed.push(member);
            }
            Move::Waiting => status.waiting.indexes.insert(index),
        }
    }
    for index in gone(draft) {
        draft.active.remove(index);
        draft.status.waiting.indexes.insert(index);
    }
    let status = &mut draft.status;
    for list in [&mut status.succeeded, &mut status.failed, &mut status.waiting] {
        *list = Members::from(std::mem::take(&mut list.indexes));
    }
    tell_failed(draft, &failed);
    show_progress(draft);
}

/// Where the index of a member goes now, if it moves.
fn move_of(draft: &Draft<'_>, member: &Member) -> Option<Move> {
    let is_of_this_round = member.round == draft.status.round.number;
    let is_stopping = draft.status.stop.is_some();
    if !draft.active.contains(member.index) {
        // Its user has restarted it by hand, and it succeeded after all.
        let is_mended = member.phase == MemberPhase::Succeeded && draft.status.failed.indexes.contains(member.index);
        return is_mended.then_some(Move::Succeeded);
    }
    match member.phase {
        MemberPhase::Succeeded => Some(Move::Succeeded),
        MemberPhase::Cancelled if is_of_this_round && is_stopping => Some(Move::Waiting),
        // What its user cancels has failed.
        MemberPhase::Failed | MemberPhase::Cancelled if is_of_this_round => Some(Move::Failed),
        MemberPhase::Failed | MemberPhase::Cancelled | MemberPhase::New | MemberPhase::UnderWay | MemberPhase::Held => {
            None
        }
    }
}

/// Active indexes that have no member and get none any more: the set stops, and no create can be on its way.
fn gone(draft: &Draft<'_>) -> Vec<u32> {
    let Some(stop) = &draft.status.stop else { return Vec::new() };
    if after(stop.request_time, CREATES_ARRIVE) > draft.now {
        return Vec::new();
    }
    let is_gone = |index: &u32| draft.seen.absent.contains(*index) && !draft.seen.members.contains_key(index);
    draft.active.iter().filter(is_gone).collect()
}

/// Keeps the result of a member, if there is room.
fn keep_result(draft: &mut Draft<'_>, member: &Member) {
    let Some(result) = &member.result else { return };
    let index = i64::from(member.index);
    if draft.status.results.iter().any(|known| known.index == index) {
        return;
    }
    let kept = MemberResult { index, result: Value::clone(result) };
    if size(&draft.status.results) + size(&kept) + 1 > MOST_RESULTS {
        draft.status.results_dropped = draft.status.results_dropped.saturating_add(1);
        if draft.status.results_dropped == 1 {
            let note = "The results of members fill the 64 KiB that a status has for them: from now on a result goes with its \
                        member. To keep more, raise spec.taskHistoryLimit, or have the program write where its index says.";
            draft.warning(SetEventReason::ResultsDropped, note);
        }
        return;
    }
    draft.status.results.push(kept);
}

fn size(value: &impl serde::Serialize) -> usize {
    // Such a value cannot fail to be written; if it did, it would not be kept.
    serde_json::to_vec(value).map_or(MOST_RESULTS, |written| written.len())
}

fn tell_failed(draft: &mut Draft<'_>, failed: &[Arc<Member>]) {
    let Some(last) = failed.last() else { return };
    let none = Arc::new(Cause::new("Failed", ""));
    let cause = last.failure.clone().unwrap_or(none);
    draft.status.last_failure = Some(MemberFailure {
        index: i64::from(last.index),
        task: last.name.clone(),
        reason: cause.reason.clone(),
        message: truncate(&cause.message, LONGEST_MESSAGE).to_owned(),
    });
    let said = if cause.message.is_empty() { String::new() } else { format!(": {}", cause.message) };
    let number = i64::try_from(failed.len()).unwrap_or(i64::MAX);
    let text = format!(
        "{} failed: {}. The last one with {}{said}",
        counted(number, "member"),
        named(failed.iter().map(|member| member.name.as_str())),
        cause.reason
    );
    draft.warning(SetEventReason::MembersFailed, &text);
}

/// Some names, the first few of them.
pub(super) fn named<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let all: Vec<_> = names.collect();
    let rest = all.len().saturating_sub(MOST_NAMES);
    let shown = all.into_iter().take(MOST_NAMES).collect::<Vec<_>>().join(", ");
    if rest == 0 { shown } else { format!("{shown} and {rest} more") }
}

fn show_progress(draft: &mut Draft<'_>) {
    let recorded = draft.set.status.as_ref();
    let is_counted = |status: &LongTaskSetStatus| (status.succeeded.count, status.failed.count, status.round.number);
    let is_news = recorded.is_none_or(|recorded| is_counted(recorded) != is_counted(&draft.status));
    let (completed, total) = (draft.status.succeeded.count, i64::from(draft.total));
    let percent = completed.saturating_mul(100).checked_div(total).unwrap_or(0);
    let end = if is_news { estimated_end(draft) } else { draft.status.progress.estimated_completion_time };
    let progress = &mut draft.status.progress;
    (progress.completed, progress.total) = (completed, total);
    progress.percent = i32::try_from(percent).unwrap_or(100);
    progress.summary = format!("{completed}/{total}");
    progress.estimated_completion_time = end;
}

/// When the last member will have ended, if all go on at the pace of this round.
fn estimated_end(draft: &Draft<'_>) -> Option<jiff::Timestamp> {
    let round = &draft.status.round;
    let done =
        draft.status.succeeded.count.saturating_sub(round.succeeded_before).saturating_add(draft.status.failed.count);
    let took = seconds_between(round.start_time?, draft.now).saturating_sub(round.suspended_seconds);
    let left =
        i64::from(draft.total).saturating_sub(draft.status.succeeded.count).saturating_sub(draft.status.failed.count);
    (done > 0 && took > 0 && left > 0).then(|| after(draft.now, took.saturating_mul(left) / done))
}
