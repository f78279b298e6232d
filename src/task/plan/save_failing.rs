//! Whether the checkpoints that the program reports can be saved.

use super::{
    draft::Draft,
    observed::{CurrentPod, PodFacts},
    steps::{EventReason, PodRef},
};
use crate::{
    api::task::{ConditionReason, ConditionType},
    contract::agent::{SaveError, SaveReport, SaveTrouble},
    types::{find_condition, truncate},
};

/// How much of the store's words fits into the condition, in bytes.
const LONGEST_WORDS: usize = 320;

/// Keeps the condition `SaveFailing` true to what the agent says.
pub(super) fn watch_saves(draft: &mut Draft<'_>) {
    match failing(draft).cloned() {
        Some(error) => show(draft, &error),
        None => draft.mark_false(ConditionType::SaveFailing, ConditionReason::Saved, ""),
    }
}

/// Tells at the end of an attempt that its last save had failed, where no condition has told it while it ran.
pub(super) fn tell_at_end(draft: &mut Draft<'_>, pod: Option<&PodFacts>, save: Option<&SaveReport>) {
    let Some((save, error)) = save.and_then(|save| Some((save, save.error.as_ref()?))) else { return };
    let is_known = find_condition(&draft.status.conditions, ConditionType::SaveFailing)
        .is_some_and(|known| known.status == "True" && known.reason == reason(error.reason));
    if !is_known {
        let note = format!("The last checkpoint, {}, was not saved: {}.", save.path, error.message);
        draft.pod_warning(pod.map(PodRef::to), EventReason::SaveFailing, &note);
    }
}

/// Tells that a save takes longer than the grace period: with the first checkpoint that an attempt has saved.
pub(super) fn tell_grace_too_short(draft: &mut Draft<'_>, pod: Option<&PodFacts>, save: Option<&SaveReport>) {
    let grace = draft.spec.segment.grace_period.as_secs();
    let Some(save) =
        save.filter(|save| save.error.is_none() && i64::try_from(save.seconds).unwrap_or(i64::MAX) > grace)
    else {
        return;
    };
    let note = format!(
        "To save {} took {}s, and segment.gracePeriod is {grace}s: the last checkpoint of a segment would not be saved. Raise \
         it, or have the program report earlier.",
        save.path, save.seconds
    );
    draft.pod_warning(pod.map(PodRef::to), EventReason::GraceTooShort, &note);
}

/// Why the newest save of the attempt under way fails.
fn failing<'a>(draft: &Draft<'a>) -> Option<&'a SaveError> {
    draft.status.live_attempt()?;
    draft.seen.live.report.as_ref()?.save.as_ref()?.error.as_ref()
}

fn show(draft: &mut Draft<'_>, error: &SaveError) {
    let reason = reason(error.reason);
    let known = find_condition(&draft.status.conditions, ConditionType::SaveFailing);
    if known.is_some_and(|known| known.status == "True" && known.reason == reason) {
        return;
    }
    let pod = match &draft.seen.current {
        CurrentPod::Found(pod) => Some(PodRef::to(pod)),
        CurrentPod::None | CurrentPod::Gone => None,
    };
    let words = truncate(error.message.trim_end_matches(['.', ' ', '\n']), LONGEST_WORDS);
    let message = format!("{words}. What to do: {}", remedy(error.reason));
    draft.mark_true(ConditionType::SaveFailing, reason, &message);
    draft.pod_warning(pod, EventReason::SaveFailing, &format!("A checkpoint cannot be saved ({reason}): {message}."));
}

fn reason(trouble: SaveTrouble) -> ConditionReason {
    match trouble {
        SaveTrouble::AccessDenied => ConditionReason::AccessDenied,
        SaveTrouble::NoSuchBucket => ConditionReason::NoSuchBucket,
        SaveTrouble::Unreachable => ConditionReason::Unreachable,
        SaveTrouble::ChangedWhileSaving => ConditionReason::ChangedWhileSaving,
        SaveTrouble::NoSuchPath => ConditionReason::NoSuchPath,
        SaveTrouble::LeavesDirectory => ConditionReason::LeavesDirectory,
        SaveTrouble::TooManyFiles => ConditionReason::TooManyFiles,
        SaveTrouble::NotReadable => ConditionReason::NotReadable,
        SaveTrouble::Unknown => ConditionReason::SaveFailed,
    }
}

/// What the user can do. It is tried again for ever, with the newest checkpoint, and the program runs on.
fn remedy(trouble: SaveTrouble) -> &'static str {
    match trouble {
        SaveTrouble::AccessDenied => {
            "check the keys in the Secret of checkpoint.store.secretRef, and that they may get, put, list and delete there"
        }
        SaveTrouble::NoSuchBucket => "create the bucket, or correct checkpoint.store.url",
        SaveTrouble::Unreachable => {
            "see whether the store works, and whether a NetworkPolicy lets the pod reach it; it is tried again"
        }
        SaveTrouble::ChangedWhileSaving => {
            "have the program write each checkpoint under a new name, and leave it alone then"
        }
        SaveTrouble::NoSuchPath => "have the program report a path below LONGTASK_CHECKPOINT_DIR that exists",
        SaveTrouble::LeavesDirectory => "keep links within the directory of checkpoints",
        SaveTrouble::TooManyFiles => "write fewer and larger files, or pack them",
        SaveTrouble::NotReadable => {
            "make all of it readable for the program's user; only files, directories and links are saved"
        }
        SaveTrouble::Unknown => "see `kubectl logs` of the container longtask-agent",
    }
}
