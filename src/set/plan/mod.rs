//! What to do next about a set, from what was observed and the time.
//!
//! Pure, as a task's plan is. The set's own status says whose turn it is, never what a cache happens to show: each index that
//! was started is in one of the lists `succeeded`, `failed` and `waiting`, or it is active. So a stale reading cannot start too
//! many: its write is refused before a member is created or deleted.

mod blocked;
mod cleanup;
mod count;
mod digest;
mod draft;
mod ending;
mod inputs;
mod member;
mod observed;
mod pause;
mod round;
mod start;
mod steps;

use jiff::Timestamp;

use self::draft::Draft;
pub use self::{
    digest::digest,
    inputs::check,
    member::{index_of, input_of, member, member_name},
    observed::{BadInput, Cause, Facts, Inputs, Member, MemberPhase, ObservedSet, Refused, TemplateSeen},
    steps::{EventType, SetEvent, SetEventReason, SetPlan, SetStep, SetWake},
};

/// What to do next about a set.
pub fn plan(seen: &ObservedSet<'_>, now: Timestamp) -> SetPlan {
    if !seen.set.spec.is_managed_by_us() || seen.is_being_deleted() {
        // The garbage collector takes the members, or leaves them, as the user said.
        return SetPlan::default();
    }
    let mut draft = Draft::of(seen, now);
    round::apply_restart_token(&mut draft);
    if !draft.has_ended() {
        go_on(&mut draft);
    }
    cleanup::delete_counted(&mut draft);
    cleanup::delete_when_expired(&mut draft);
    draft.finish()
}

/// A round that has not ended, in the order of its questions.
fn go_on(draft: &mut Draft<'_>) {
    inputs::learn(draft);
    if let Some(bad) = inputs::bad_from_the_start(draft) {
        return ending::fail_before_the_start(draft, &bad);
    }
    count::count(draft);
    ending::request_stop(draft);
    match ending::end(draft) {
        Some(end) => ending::carry_out(draft, end),
        None if draft.status.stop.is_some() => ending::stopping(draft),
        None => {
            pause::follow(draft);
            if draft.set.spec.suspend {
                return pause::suspended(draft);
            }
            start::start(draft);
            start::running(draft);
        }
    }
}
