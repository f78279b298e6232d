//! What keeps further members from being created: the condition `Blocked`.

use jiff::Timestamp;

use super::{
    draft::Draft,
    inputs,
    observed::{BadInput, Cause, TemplateSeen},
    steps::SetEventReason,
};
use crate::{
    api::set::{SetConditionReason, SetConditionType},
    types::{find_condition, truncate},
};

/// How much of the server's words fits into a condition beside ours, in bytes.
const LONGEST_WORDS: usize = 320;

/// What is in the way, and when that may be over by itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Obstacle {
    pub(super) cause: Cause,
    pub(super) again: Option<Timestamp>,
}

impl Obstacle {
    pub(super) fn of(reason: SetConditionReason, message: impl Into<String>) -> Self {
        Self { cause: Cause::new(reason, message), again: None }
    }
}

/// Whether no member can be created now.
pub(super) fn is_kept_from_creating(draft: &Draft<'_>) -> bool {
    of_inputs(draft).is_some() || refusal(draft).is_some()
}

/// What is in the way of a member that is still to be created, if something is.
pub(super) fn obstacle(draft: &Draft<'_>) -> Option<Obstacle> {
    let lacks_member = draft.active.iter().any(|index| !draft.seen.members.contains_key(&index));
    if !lacks_member && !draft.has_more_to_start() {
        return None;
    }
    of_inputs(draft).or_else(|| refusal(draft)).or_else(|| name_taken(draft))
}

fn of_inputs(draft: &Draft<'_>) -> Option<Obstacle> {
    let name = &draft.set.spec.template_ref.name;
    if draft.seen.template == TemplateSeen::Missing {
        let message =
            format!("there is no LongTaskTemplate {name} in this namespace; it goes on by itself when there is one");
        return Some(Obstacle::of(SetConditionReason::TemplateNotFound, message));
    }
    if let Some(bad) = &draft.seen.inputs.bad {
        let reason = match bad {
            BadInput::Schema(_) => SetConditionReason::InvalidSchema,
            BadInput::Input(..) => SetConditionReason::InvalidInput,
        };
        let message = format!("{}; correct the LongTaskTemplate, or make another set", inputs::words(draft, bad));
        return Some(Obstacle::of(reason, message));
    }
    let is_changed = draft.status.input_digest.as_ref().is_some_and(|known| *known != draft.seen.inputs.digest);
    is_changed.then(|| {
        let message = "spec.items or spec.input is not what the set began with: change it back, or make another set";
        Obstacle::of(SetConditionReason::ItemsChanged, message)
    })
}

fn refusal(draft: &Draft<'_>) -> Option<Obstacle> {
    let (cause, again) = draft.seen.refused.create.clone().filter(|(_, again)| *again > draft.now)?;
    let message = format!("the API server refuses a member: {}; it is tried again within a minute", cause.message);
    Some(Obstacle { cause: Cause { message, ..cause }, again: Some(again) })
}

/// A member whose name something else has. The others go on.
fn name_taken(draft: &Draft<'_>) -> Option<Obstacle> {
    let taken = &draft.seen.refused.taken;
    let (index, (whose, _)) =
        taken.iter().find(|(index, _)| draft.active.contains(**index) && !draft.seen.members.contains_key(index))?;
    let name = super::member::member_name(draft.set, *index);
    let message = format!("a LongTask {name} exists that is {whose}: delete it, and the member is made");
    let again = taken.values().map(|(_, again)| *again).filter(|again| *again > draft.now).min();
    Some(Obstacle { again, ..Obstacle::of(SetConditionReason::NameTaken, message) })
}

/// Shows what is in the way. Said again only when the reason or the specification changes: messages carry figures that move.
pub(super) fn show(draft: &mut Draft<'_>, cause: &Cause) {
    let shown = find_condition(&draft.status.conditions, SetConditionType::Blocked);
    let is_known_edit = draft.status.observed_generation == draft.seen.generation();
    if shown.is_some_and(|shown| shown.status == "True" && shown.reason == cause.reason) && is_known_edit {
        return;
    }
    let message = truncate(cause.message.trim_end_matches(['.', ' ', '\n']), LONGEST_WORDS).to_owned();
    draft.mark_true(SetConditionType::Blocked, &cause.reason, &message);
    let note = format!("No further member can start ({}): {message}.", cause.reason);
    draft.warning_of(SetEventReason::Blocked, &cause.reason, &note);
}
