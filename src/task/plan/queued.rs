//! A task's turn in its queue: it draws a ticket for each attempt, waits, takes its place, and gives it back.
//!
//! The queue calls and never takes back; only this status gives a place back, and only when no pod of its attempt can be there
//! any more.

use jiff::Timestamp;

use super::{blocked, draft::Draft, next::Next, observed::Cause, outcome, parent};
use crate::{
    api::{
        queue::{Admission, OpenQueue},
        task::{AttemptState, ConditionReason, CurrentAttempt, Phase, PhaseReason, Ticket, TicketState},
    },
    types::{
        GoDuration,
        time::{after, seconds_between},
    },
};

/// For how long after its intent the create of an attempt may arrive, in seconds: its place is kept so long.
const CREATES_ARRIVE: i64 = 30;
/// The last create of an attempt is sent so many seconds after its intent: it has arrived, or never will, when the place goes.
const LAST_CREATE: i64 = 20;

/// What comes next for a task that nothing else keeps from starting, and that names a queue; none when it is its turn.
pub(super) fn turn(draft: &Draft<'_>) -> Option<Next> {
    if let Some(cause) = obstacle(draft) {
        return Some(Next::Block(cause));
    }
    let open = open_queue(draft)?;
    (!may_start(draft, open)).then_some(Next::Queued)
}

/// Why the task cannot use the queue that it names, if it cannot.
fn obstacle(draft: &Draft<'_>) -> Option<Cause> {
    let name = draft.spec.queue_name.as_ref()?;
    let (reason, message) = match draft.seen.admission {
        Admission::NotAsked | Admission::Open(_) => return None,
        Admission::Missing => (ConditionReason::QueueNotFound, format!("there is no TaskQueue {name}")),
        Admission::NotAllowed => {
            (ConditionReason::QueueNotAllowed, format!("TaskQueue {name} does not allow tasks of this namespace"))
        }
        Admission::NotWatched => (
            ConditionReason::QueueNotWatched,
            format!("TaskQueue {name} is in a namespace that this operator does not watch"),
        ),
    };
    Some(Cause::new(reason, message))
}

/// The queue that the task names and may use; none for a task that names none.
fn open_queue(draft: &Draft<'_>) -> Option<OpenQueue> {
    draft.spec.queue_name.as_ref()?;
    match draft.seen.admission {
        Admission::Open(open) => Some(open),
        Admission::NotAsked | Admission::Missing | Admission::NotAllowed | Admission::NotWatched => None,
    }
}

/// The task's latest ticket, if it is of the queue that the task names now.
fn own_ticket<'a>(draft: &'a Draft<'_>) -> Option<&'a Ticket> {
    draft.status.queue.as_ref().filter(|ticket| draft.spec.queue_name.as_ref() == Some(&ticket.name))
}

fn may_start(draft: &Draft<'_>, open: OpenQueue) -> bool {
    let Some(ticket) = own_ticket(draft) else { return false };
    match ticket.state {
        TicketState::Waiting => open.called == Some(ticket.ticket),
        // It has kept its place through a wait, or its attempt was withdrawn a moment ago: it goes on under the same ticket.
        TicketState::Admitted => draft.status.next_attempt_time.is_some() || create_may_arrive(draft),
        TicketState::Returned => false,
    }
}

/// Whether an attempt was decided whose pod has never been seen, so short a time ago that its create may still arrive.
fn create_may_arrive(draft: &Draft<'_>) -> bool {
    unborn(draft).is_some_and(|attempt| after(attempt.creation_time, CREATES_ARRIVE) > draft.now)
}

/// The attempt of the latest ticket, if its pod has never been seen.
fn unborn<'a>(draft: &'a Draft<'_>) -> Option<&'a CurrentAttempt> {
    let attempt = draft.status.current_attempt.as_ref()?;
    let ticket = draft.status.queue.as_ref()?.ticket;
    (attempt.ticket == Some(ticket) && attempt.pod_uid.is_none()).then_some(attempt)
}

/// Whether an attempt whose pod does not exist has kept its place for as long as it may: others are to have their turn.
pub(super) fn has_tried_in_vain(draft: &Draft<'_>) -> bool {
    unborn(draft).is_some() && !create_may_arrive(draft)
}

/// Until when no further create is sent for an attempt that has a place, if that moment has come.
pub(super) fn sends_no_more_creates(draft: &Draft<'_>) -> Option<Next> {
    let attempt = unborn(draft)?;
    let is_late = after(attempt.creation_time, LAST_CREATE) <= draft.now;
    is_late.then(|| Next::CreateAt(after(attempt.creation_time, CREATES_ARRIVE)))
}

/// When the place of an attempt whose pod was never seen is free.
pub(super) fn place_free_at(draft: &Draft<'_>) -> Option<Timestamp> {
    let is_kept = draft.status.queue.as_ref().is_some_and(|ticket| ticket.state == TicketState::Admitted);
    let attempt = unborn(draft).filter(|_| is_kept)?;
    Some(after(attempt.creation_time, CREATES_ARRIVE))
}

/// The attempt gives its number and its place up: its create was refused for as long as it may try. What is shown of that stays.
pub(super) fn withdraw(draft: &mut Draft<'_>) {
    draft.set_attempt_state(AttemptState::Withdrawn);
    draft.status.next_attempt_time = None;
}

/// Takes back what was shown of a queue that could not be used, once it can, or is not named any more.
pub(super) fn unblock_when_over(draft: &mut Draft<'_>) {
    let is_of_queue = |shown: &Cause| {
        let of_queue =
            [ConditionReason::QueueNotFound, ConditionReason::QueueNotAllowed, ConditionReason::QueueNotWatched];
        of_queue.into_iter().any(|reason| shown.is(reason))
    };
    if obstacle(draft).is_none() && blocked::shown(draft).as_ref().is_some_and(is_of_queue) {
        blocked::unblock(draft, ConditionReason::QueueOpen);
    }
}

/// The task waits in its queue, with a ticket that it draws now if it has none.
pub(super) fn wait(draft: &mut Draft<'_>) {
    let is_waiting = own_ticket(draft).is_some_and(|ticket| ticket.state == TicketState::Waiting);
    if !is_waiting && is_free(draft) {
        draft.status.queue = next_ticket(draft);
    }
    draft.status.next_attempt_time = None;
    draft.set_phase_because(Phase::Pending, PhaseReason::Queued);
}

/// The next ticket. Its number is above all that the queue has seen, also where a status was lost.
fn next_ticket(draft: &Draft<'_>) -> Option<Ticket> {
    let name = draft.spec.queue_name.clone()?;
    let before = draft.status.queue.as_ref().map(|ticket| ticket.ticket);
    let called = open_queue(draft).and_then(|open| open.called);
    let number = before.max(called).unwrap_or(0).saturating_add(1);
    let created = draft.seen.task.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let queue_time = created.filter(|created| number == 1 && *created < draft.now).unwrap_or(draft.now);
    Some(Ticket { name, ticket: number, state: TicketState::Waiting, queue_time, probe: false })
}

/// The ticket under which the attempt starts that is decided now.
pub(super) fn ticket_to_start(draft: &Draft<'_>) -> Option<i64> {
    open_queue(draft)?;
    own_ticket(draft).map(|ticket| ticket.ticket)
}

/// How long the task has waited for the attempt that is decided now, for a message.
pub(super) fn waited(draft: &Draft<'_>) -> String {
    let waiting = own_ticket(draft).filter(|ticket| ticket.state == TicketState::Waiting);
    waiting.filter(|_| open_queue(draft).is_some()).map_or_else(String::new, |ticket| {
        let waited = GoDuration::from_secs(seconds_between(ticket.queue_time, draft.now));
        format!(" after {waited} in queue {}", ticket.name)
    })
}

/// The task takes the place that it was called to.
pub(super) fn take_place(draft: &mut Draft<'_>) {
    let Some(open) = open_queue(draft).filter(|_| own_ticket(draft).is_some()) else { return };
    if let Some(ticket) = &mut draft.status.queue {
        if ticket.state == TicketState::Waiting {
            ticket.probe = open.is_probe;
        }
        ticket.state = TicketState::Admitted;
    }
}

/// Whether the attempt is one by which the queue tries whether what its breaker guards works again.
pub(super) fn is_probe(draft: &Draft<'_>, attempt: &CurrentAttempt) -> bool {
    let ticket = draft.status.queue.as_ref();
    ticket.is_some_and(|ticket| ticket.probe && attempt.ticket == Some(ticket.ticket))
}

/// Gives back a ticket that the task does not want any more, a place as soon as no pod can be there any more.
pub(super) fn give_back(draft: &mut Draft<'_>, next: &Next) {
    if wants_ticket(draft, next) || !is_free(draft) {
        return;
    }
    if let Some(ticket) = &mut draft.status.queue {
        ticket.state = TicketState::Returned;
    }
}

/// Whether the task waits with its ticket, or has its place by it.
fn wants_ticket(draft: &Draft<'_>, next: &Next) -> bool {
    let Some(ticket) = &draft.status.queue else { return true };
    if draft.status.live_attempt().is_some_and(|attempt| attempt.ticket == Some(ticket.ticket)) {
        return true;
    }
    let is_admitted = ticket.state == TicketState::Admitted;
    match next {
        Next::Queued => true,
        Next::WaitUntil(_) => is_admitted && open_queue(draft).is_some_and(|open| open.keeps_place),
        // Until the queue is there again, it keeps its place among those who wait.
        Next::Block(cause) => !is_admitted && cause.is(ConditionReason::QueueNotFound),
        // An old reading of its set says nothing about its turn.
        Next::AwaitTurn => !parent::is_inactive(draft),
        // An attempt that is under way has another ticket, or none.
        Next::KeepUp(_)
        | Next::CreateAt(_)
        | Next::ShowRefusal(_)
        | Next::Create
        | Next::Start
        | Next::Rest
        | Next::Succeed
        | Next::Cancel
        | Next::Fail(..)
        | Next::StayHeld
        | Next::Suspend
        | Next::WaitForPod(..) => false,
    }
}

/// Whether no pod is there, or may come, that has its place by the latest ticket.
fn is_free(draft: &Draft<'_>) -> bool {
    let is_admitted = draft.status.queue.as_ref().is_some_and(|ticket| ticket.state == TicketState::Admitted);
    let has_pod = || draft.seen.known_pods().any(|pod| !outcome::has_ended(pod, draft.now));
    !is_admitted || !(create_may_arrive(draft) || has_pod())
}
