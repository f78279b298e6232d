//! Whether the last checkpoint is older than the user wants.

use jiff::Timestamp;

use super::{draft::Draft, steps::EventReason};
use crate::{
    api::task::{ConditionReason, ConditionType, Phase},
    types::{
        find_condition, is_condition_true,
        time::{after, seconds_between},
    },
};

/// Keeps the condition `CheckpointStale` true to the age of the last checkpoint.
pub(super) fn watch_checkpoint_age(draft: &mut Draft<'_>) {
    let (Some(due), Some(since)) = (due(draft), counted_since(draft)) else {
        draft.mark_false(ConditionType::CheckpointStale, ConditionReason::NotWatched, "");
        return;
    };
    if due > draft.now {
        draft.mark_false(ConditionType::CheckpointStale, ConditionReason::Recent, "");
    } else if !is_condition_true(&draft.status.conditions, ConditionType::CheckpointStale) {
        let message = format!(
            "no checkpoint was recorded for {}s, since {since}; an interruption now would cost all work since then; \
             does the program report checkpoints before its time is up?",
            seconds_between(since, draft.now)
        );
        draft.mark_true(ConditionType::CheckpointStale, ConditionReason::NoCheckpoint, &message);
        draft.warning(EventReason::CheckpointStale, &message);
    }
}

/// When the last checkpoint gets older than the user wants; none while nobody watches it.
pub(super) fn due(draft: &Draft<'_>) -> Option<Timestamp> {
    let is_watched = !draft.status.phase.is_some_and(Phase::is_terminal)
        && !is_condition_true(&draft.status.conditions, ConditionType::Suspended);
    let stale_after = draft.spec.checkpoint.stale_after.filter(|_| is_watched)?;
    Some(after(counted_since(draft)?, stale_after.as_secs()))
}

/// From when the age counts: the last checkpoint, the start of the run or the end of a pause, whichever was last.
fn counted_since(draft: &Draft<'_>) -> Option<Timestamp> {
    let recorded = draft.status.checkpoint.as_ref().map(|checkpoint| checkpoint.record_time);
    // One that waits for its write is as good as recorded.
    let reported = draft.seen.live.report.as_ref().and_then(|live| live.checkpoint_time);
    let resumed = find_condition(&draft.status.conditions, ConditionType::Suspended)
        .map(|suspended| suspended.last_transition_time.0);
    [recorded, reported, resumed, draft.status.run.start_time].into_iter().flatten().max()
}
