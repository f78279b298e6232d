//! Writes that the API server refuses: the condition `WriteRefused`.

use jiff::Timestamp;

use super::{
    blocked::REMEDY,
    draft::Draft,
    observed::{Cause, RefusedStep},
    steps::{EventReason, Step, TaskEvent},
};
use crate::{
    api::task::{ConditionReason, ConditionType},
    types::{
        find_condition, is_condition_true,
        time::{after, seconds_between},
        truncate,
    },
};

/// The shortest and longest wait before what was refused is tried again, in seconds; in between, as long as it has been
/// refused already.
pub(super) const REFUSED_WAIT: std::ops::RangeInclusive<i64> = 5..=60;

/// How much of the server's words fits into a condition beside ours, in bytes.
const LONGEST_WORDS: usize = 300;

/// Shows the write that is refused, with the server's words, and takes the condition back when it is not needed any more.
/// In between it is tried again; the condition stays as it is.
pub(super) fn show(draft: &mut Draft<'_>) {
    let refused = draft.refused_steps().next();
    match refused {
        Some(refused) => show_refused(draft, refused),
        None if is_shown_and_needed(draft) => {}
        None => draft.mark_false(ConditionType::WriteRefused, ConditionReason::Done, ""),
    }
}

fn show_refused(draft: &mut Draft<'_>, refused: &RefusedStep) {
    let reason = reason(&refused.step);
    let known = find_condition(&draft.status.conditions, ConditionType::WriteRefused);
    // The server's words may have figures that move; another reason of its own is news.
    let in_brackets = format!("({})", refused.words.reason);
    let is_known = known
        .is_some_and(|known| known.status == "True" && known.reason == reason && known.message.contains(&in_brackets));
    if !is_known {
        let message = message(refused);
        draft.mark_true(ConditionType::WriteRefused, reason, &message);
        draft.pod_warning(
            refused.step.pod().cloned(),
            EventReason::WriteRefused,
            &format!("{}.", first_upper(&message)),
        );
    }
}

/// When the writes that are refused now are tried again.
pub(super) fn tried_again_at(draft: &Draft<'_>) -> Option<Timestamp> {
    draft.refused_steps().next()?;
    let since = find_condition(&draft.status.conditions, ConditionType::WriteRefused)
        .map_or(draft.now, |condition| condition.last_transition_time.0);
    let waited = seconds_between(since, draft.now).clamp(*REFUSED_WAIT.start(), *REFUSED_WAIT.end());
    Some(after(draft.now, waited))
}

/// An event about a refused write where no status will be written any more: the task is going, or gone.
pub fn event_without_status(refused: &RefusedStep) -> TaskEvent {
    let note = format!("{}.", first_upper(&message(refused)));
    let pod = refused.step.pod().cloned();
    TaskEvent { pod, ..TaskEvent::warning(EventReason::WriteRefused, &reason(&refused.step).to_string(), &note) }
}

/// An event about a status that the API server refuses: it can be shown nowhere else.
pub fn event_of_status(words: &Cause) -> TaskEvent {
    let note = format!(
        "The API server refuses to have the status of this task written ({}): {}. Nothing goes on before it does. What to \
         do: let the operator update longtasks/status; it is tried again within a minute.",
        words.reason, words.message
    );
    TaskEvent::warning(EventReason::WriteRefused, "StatusRefused", &note)
}

/// What is refused, in the server's words, and what the user can do.
fn message(refused: &RefusedStep) -> String {
    let RefusedStep { step, words } = refused;
    let said = truncate(words.message.trim_end_matches(['.', ' ', '\n']), LONGEST_WORDS);
    let instead = match step {
        Step::LowerDeadline { .. } => "; to stop it, it will be deleted instead",
        Step::CreateClaim(_)
        | Step::CreatePod(_)
        | Step::DeletePod(_)
        | Step::DeleteClaim(_)
        | Step::DeleteTask
        | Step::FillIn(_)
        | Step::RestoreLabel(_)
        | Step::ReturnQuota(_)
        | Step::ReleasePod(_) => "",
    };
    format!(
        "{} is refused ({}): {said}{REMEDY}let the operator make this change{instead}; it is tried again within a minute",
        what(step),
        words.reason
    )
}

/// Whether a write is shown as refused, and one is to be tried now: what becomes of that decides. Taken back before, the
/// condition would be away for a moment each time another write is the one that is refused.
fn is_shown_and_needed(draft: &Draft<'_>) -> bool {
    let mut writes = draft.steps().filter(|step| !step.is_create());
    is_condition_true(&draft.status.conditions, ConditionType::WriteRefused) && writes.next().is_some()
}

/// Whether the API server refuses to let this attempt's pod be stopped.
pub(super) fn keeps_from_stopping(draft: &Draft<'_>) -> bool {
    let shown = find_condition(&draft.status.conditions, ConditionType::WriteRefused);
    let is_stop = |reason| matches!(reason, ConditionReason::StopRefused | ConditionReason::DeletionRefused);
    shown.is_some_and(|shown| shown.status == "True" && shown.reason.parse().is_ok_and(is_stop))
        || draft.refused_steps().any(|refused| is_stop(reason(&refused.step)))
}

fn reason(step: &Step) -> ConditionReason {
    match step {
        Step::CreateClaim(_) | Step::CreatePod(_) | Step::FillIn(_) => ConditionReason::CreationRefused,
        Step::LowerDeadline { .. } => ConditionReason::StopRefused,
        Step::DeletePod(_) => ConditionReason::DeletionRefused,
        Step::DeleteClaim(_) => ConditionReason::ClaimDeletionRefused,
        Step::DeleteTask => ConditionReason::TaskDeletionRefused,
        Step::RestoreLabel(_) => ConditionReason::LabelRefused,
        Step::ReturnQuota(_) => ConditionReason::QuotaReturnRefused,
        Step::ReleasePod(_) => ConditionReason::ReleaseRefused,
    }
}

fn what(step: &Step) -> String {
    match step {
        Step::CreateClaim(_) => "to create a claim of the task's own".to_owned(),
        Step::CreatePod(_) => "to create the next pod".to_owned(),
        Step::LowerDeadline { pod, .. } => format!("to lower activeDeadlineSeconds of pod {}", pod.name),
        Step::DeletePod(pod) => format!("to delete pod {}", pod.name),
        Step::DeleteClaim(claim) => format!("to delete claim {}", claim.name),
        Step::DeleteTask => "to delete this task".to_owned(),
        Step::FillIn(_) => "to fill this task in".to_owned(),
        Step::RestoreLabel(pod) => format!("to put the label longtask.dev/task back on pod {}", pod.name),
        Step::ReturnQuota(pod) => format!("to tell Kueue by an annotation that nothing follows pod {}", pod.name),
        Step::ReleasePod(pod) => format!("to take the finalizer longtask.dev/outcome off pod {}", pod.name),
    }
}

fn first_upper(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
