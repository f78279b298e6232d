//! Another run of a task that has ended, by a new `spec.restart.token`.

use super::{
    blocked, draft::Draft, fill_in, input, observed::Cause, steps::EventReason, stored_checkpoint, suspension,
};
use crate::api::task::{
    AttemptState, Checkpoint, ConditionReason, ConditionType, CurrentAttempt, LongTaskStatus, Phase, Restart,
    RestartFrom, Run,
};

/// Acts on a new restart token: begins another run, or says why not.
pub(super) fn apply_restart_token(draft: &mut Draft<'_>) {
    let Some(restart) = &draft.spec.restart else { return };
    if draft.status.run.restart_token.as_ref() == Some(&restart.token) {
        // A token that named an unknown checkpoint may have been taken back.
        if blocked::shown(draft).is_some_and(|shown| shown.is(ConditionReason::UnknownCheckpoint)) {
            blocked::unblock(draft, ConditionReason::TokenTakenBack);
        }
        return;
    }
    if let Some(cause) = fill_in::obstacle_to_renewal(draft) {
        // The run that asks for the template as it is now does not begin without it.
        return blocked::block(draft, &cause);
    }
    if draft.status.phase.is_some_and(Phase::is_terminal) {
        return begin_again(draft, restart);
    }
    if draft.status.is_held() {
        return release(draft, restart);
    }
    draft.status.run.restart_token = Some(restart.token.clone());
    let note = "The new restart token is recorded and not obeyed: the run has not ended. Set another one when it has.";
    draft.warning(EventReason::RestartIgnored, note);
}

/// Lets a held task go on in the same run, from where the user says.
pub(super) fn release(draft: &mut Draft<'_>, restart: &Restart) {
    let Some(kept) = checkpoints_kept(&draft.status, restart) else { return block_unknown(draft, restart) };
    if restart.from != RestartFrom::Latest {
        let mut kept = kept.into_iter();
        (draft.status.checkpoint, draft.status.checkpoint_history) = (kept.next(), kept.collect());
        // What is done again is progress again.
        draft.status.run.high_water = None;
        stored_checkpoint::begin_epoch(&mut draft.status);
    }
    draft.status.run.beginnings = beginnings_with(&draft.status.run, restart);
    draft.status.run.restart_token = Some(restart.token.clone());
    blocked::unblock(draft, ConditionReason::Released);
    let from = beginning(draft.status.checkpoint.as_ref());
    suspension::release(draft, &from);
}

pub(super) fn begin_again(draft: &mut Draft<'_>, restart: &Restart) {
    let Some(kept) = checkpoints_kept(&draft.status, restart) else { return block_unknown(draft, restart) };
    let from = beginning(kept.first());
    let before = std::mem::take(&mut draft.status);
    draft.status = next_run(before, kept, draft.now, restart);
    input::record(draft);
    if restart.from != RestartFrom::Latest {
        stored_checkpoint::begin_epoch(&mut draft.status);
    }
    for over in [ConditionType::Complete, ConditionType::Failed, ConditionType::Finished, ConditionType::Stalled] {
        draft.mark_false(over, ConditionReason::Restarted, "");
    }
    blocked::unblock(draft, ConditionReason::Restarted);
    draft.mark_true(ConditionType::Reconciling, ConditionReason::Restarted, "another run has started");
    draft.event(EventReason::Restarted, &format!("Began run {} from {from}.", draft.status.run.number));
}

fn beginning(checkpoint: Option<&Checkpoint>) -> String {
    checkpoint.map_or_else(|| "the beginning".to_owned(), |checkpoint| format!("checkpoint {}", checkpoint.sequence))
}

fn block_unknown(draft: &mut Draft<'_>, restart: &Restart) {
    let unknown = restart.checkpoint_sequence.unwrap_or_default();
    let words = format!("there is no checkpoint {unknown}; {}", sequences(&draft.status));
    blocked::block(draft, &Cause::new(ConditionReason::UnknownCheckpoint, words));
}

/// The checkpoints that the new run knows, newest first: the first is where it begins. None when there is no such one.
///
/// Those newer than the chosen one are dropped: reported again, they are progress.
fn checkpoints_kept(status: &LongTaskStatus, restart: &Restart) -> Option<Vec<Checkpoint>> {
    let all: Vec<_> = status.checkpoint.iter().chain(&status.checkpoint_history).cloned().collect();
    match restart.from {
        RestartFrom::Latest => Some(all),
        RestartFrom::Beginning => Some(Vec::new()),
        RestartFrom::Checkpoint => {
            let chosen = all.iter().position(|checkpoint| Some(checkpoint.sequence) == restart.checkpoint_sequence)?;
            Some(all.into_iter().skip(chosen).collect())
        }
    }
}

fn sequences(status: &LongTaskStatus) -> String {
    let all: Vec<_> =
        status.checkpoint.iter().chain(&status.checkpoint_history).map(|known| known.sequence.to_string()).collect();
    if all.is_empty() { "none exists".to_owned() } else { format!("these exist: {}", all.join(", ")) }
}

/// Only who asks for the Beginning wants to have done again what was done. A restart from the last checkpoint is none,
/// also where no checkpoint was reported.
fn beginnings_with(run: &Run, restart: &Restart) -> i64 {
    run.beginnings().saturating_add(i64::from(restart.from == RestartFrom::Beginning))
}

/// A number that was withdrawn in one run is not used in the next: a late pod of that name would carry the old run's
/// checkpoint.
fn over(attempt: CurrentAttempt) -> CurrentAttempt {
    CurrentAttempt { state: AttemptState::Ended, ..attempt }
}

/// A status with everything of the run set back. Attempt numbers and checkpoint sequences go on.
fn next_run(before: LongTaskStatus, kept: Vec<Checkpoint>, now: jiff::Timestamp, restart: &Restart) -> LongTaskStatus {
    let mut kept = kept.into_iter();
    LongTaskStatus {
        run: Run {
            number: before.run.number.saturating_add(1),
            beginnings: beginnings_with(&before.run, restart),
            restart_token: Some(restart.token.clone()),
            start_time: Some(now),
            suspended_seconds: 0,
            high_water: None,
            input_digest: None,
            round: before.run.round,
        },
        segment: 1,
        current_attempt: before.current_attempt.map(over),
        queue: before.queue,
        checkpoint_sequence: before.checkpoint_sequence,
        checkpoint_epoch: before.checkpoint_epoch,
        checkpoint: kept.next(),
        checkpoint_history: kept.collect(),
        recent_attempts: before.recent_attempts,
        conditions: before.conditions,
        ..LongTaskStatus::default()
    }
}
