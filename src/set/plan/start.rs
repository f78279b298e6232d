//! Members are started: first those that wait for their turn again, then the next index.

use super::{
    blocked::{self, Obstacle},
    draft::Draft,
    observed::MemberPhase,
    pause::wake_at_limits,
    steps::SetStep,
};
use crate::{
    api::set::{Members, SetConditionReason, SetConditionType, SetPhase, SetPhaseReason},
    types::{is_condition_true, time::after},
};

/// How soon to look again whether a queue is full, in seconds.
const QUEUE_FULL: i64 = 10;
/// How many members are created in one pass.
pub(super) const MOST_CREATES: usize = 100;

/// Starts as many members as there is room for, and creates those that do not exist: started in this pass, or in one that was
/// cut off, or deleted by somebody.
pub(super) fn start(draft: &mut Draft<'_>) {
    if blocked::is_kept_from_creating(draft) {
        return;
    }
    let waits = |draft: &Draft<'_>, index: &u32| {
        draft.seen.refused.taken.get(index).is_some_and(|(_, again)| *again > draft.now)
    };
    let mut missing: Vec<_> = draft.active.iter().filter(|index| !draft.seen.members.contains_key(index)).collect();
    missing.retain(|index| !waits(draft, index));
    let room = room(draft);
    let free = u32::try_from(MOST_CREATES.saturating_sub(missing.len())).unwrap_or(0);
    for _ in 0..room.min(free) {
        let Some(index) = next(draft) else { break };
        begin(draft, index);
        if !draft.seen.members.contains_key(&index) {
            missing.push(index);
        }
    }
    let has_more = missing.len() > MOST_CREATES || (room > free && draft.has_more_to_start());
    for index in missing.into_iter().take(MOST_CREATES) {
        draft.step(SetStep::Create(index));
    }
    if has_more {
        draft.wake_at_once();
    }
    if waits_for_queue(draft) {
        draft.wake_at(after(draft.now, QUEUE_FULL));
    }
}

/// Whether only the queue keeps further members from being made.
fn waits_for_queue(draft: &Draft<'_>) -> bool {
    draft.seen.is_queue_full && draft.has_more_to_start()
}

/// How many more members may have their turn: none while those that are there fill the queue.
fn room(draft: &Draft<'_>) -> u32 {
    if draft.seen.is_queue_full { 0 } else { draft.set.spec.parallel().saturating_sub(draft.active.len()) }
}

/// Whose turn comes next.
fn next(draft: &Draft<'_>) -> Option<u32> {
    let next = draft.status.next_index();
    draft.status.waiting.indexes.first().or_else(|| (next < draft.total).then_some(next))
}

fn begin(draft: &mut Draft<'_>, index: u32) {
    let status = &mut draft.status;
    if status.waiting.indexes.contains(index) {
        let mut waiting = std::mem::take(&mut status.waiting.indexes);
        waiting.remove(index);
        status.waiting = Members::from(waiting);
    } else {
        status.next = i64::from(index) + 1;
    }
    draft.active.insert(index);
}

/// Shows how the round goes on, and what is in its way.
pub(super) fn running(draft: &mut Draft<'_>) {
    wake_at_limits(draft);
    if let Some(Obstacle { cause, again }) = blocked::obstacle(draft).or_else(|| all_held(draft)) {
        blocked::show(draft, &cause);
        draft.set_phase(SetPhase::Running, &cause.reason);
        if let Some(again) = again {
            draft.wake_at(again);
        }
    } else {
        if is_condition_true(&draft.status.conditions, SetConditionType::Blocked) {
            draft.mark_false(SetConditionType::Blocked, SetConditionReason::Created, "");
        }
        let reason = if waits_for_queue(draft) { SetPhaseReason::QueueFull.into() } else { "" };
        draft.set_phase(SetPhase::Running, reason);
    }
}

/// Whether all whose turn it is wait for a human: held by their failure policy, or suspended by their user.
fn all_held(draft: &Draft<'_>) -> Option<Obstacle> {
    let mut held = Vec::new();
    for index in draft.active.iter() {
        let member = draft.seen.members.get(&index).filter(|member| member.phase == MemberPhase::Held)?;
        held.push(member.name.as_str());
    }
    if held.is_empty() {
        return None;
    }
    let message = format!(
        "all members whose turn it is are held, or suspended by their user: {}; a new spec.restart.token lets those go on that \
         are held",
        super::count::named(held.into_iter())
    );
    Some(Obstacle::of(SetConditionReason::MembersHeld, message))
}
