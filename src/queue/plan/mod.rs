//! Who is called next, from what was observed and the time.
//!
//! Pure, as a task's plan is. The queue's own status says who has a place, never what a cache happens to show, and a call is
//! never taken back: only the task's own status gives it back. So a stale reading, a late write or a second operator cannot call
//! more than there are places for.

mod holders;
mod line;
mod observed;
mod order;
mod pause;
mod rate;
mod record;
mod steps;

use jiff::Timestamp;

pub use self::{
    holders::unknown_holders,
    observed::{ObservedQueue, QueuedTask, SeenTicket},
    order::first_in_line,
    rate::Rhythm,
    steps::{QueueEvent, QueueEventReason, QueuePlan, QueueWake},
};
use self::{line::line, rate::Pace, record::Record};
use crate::{api::queue::TaskQueueStatus, types::GoDuration};

/// What to do next about a queue. The time is to the microsecond.
pub fn plan(seen: &ObservedQueue<'_>, now: Timestamp) -> QueuePlan {
    if seen.is_being_deleted() {
        // Who has a place keeps it to the end of its attempt.
        return QueuePlan::default();
    }
    let (spec, generation) = (&seen.queue.spec, seen.queue.metadata.generation.unwrap_or_default());
    let before = seen.queue.status.clone().unwrap_or_default();
    let mut holders = holders::kept(seen);
    let has_unknown = !unknown_holders(&holders, &seen.tasks).is_empty();
    let waiting = line(seen, &holders);
    let pace = Pace::of(spec.rate.as_ref(), before.next_call_time, now);
    let room = spec.places().saturating_sub(holders.len());
    let most = if spec.suspend { 0 } else { room.min(pace.slots()) };
    let called = if most == 0 { Vec::new() } else { first_in_line(&waiting, &holders, spec, now, most) };
    holders.extend(called.iter().filter_map(|task| task.place(spec)));
    let waits: Vec<_> = called.iter().map(|task| task.waited(now)).collect();
    let left = waiting.len().saturating_sub(called.len());
    let pace = pace.after(called.len());
    let is_full = spec.suspend || left == 0 || holders.len() >= spec.places();
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let status = TaskQueueStatus {
        observed_generation: generation,
        active: count(holders.len()),
        summary: format!("{}/{}", holders.len(), spec.max_active),
        waiting: count(left),
        last_wait: waits.last().map(|seconds| GoDuration::from_secs(*seconds)).or(before.last_wait),
        holders,
        next_call_time: pace.next_call_time(),
        conditions: pause::conditions(spec.suspend, before.conditions.clone(), generation, now),
    };
    let record = Record::of(seen, &status, now);
    let moments =
        [pace.next_slot().filter(|_| !is_full), has_unknown.then(|| holders::look_again_at(now)), record.put_off_to()];
    QueuePlan {
        events: pause::news(spec.suspend, &before.conditions).into_iter().collect(),
        waits,
        waiting: left,
        status: record.is_due().then_some(status),
        wake: moments.into_iter().flatten().min().map_or(QueueWake::OnChange, QueueWake::At),
    }
}
