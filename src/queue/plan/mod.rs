//! Who is called next, from what was observed and the time.
//!
//! Pure, as a task's plan is. The queue's own status says who has a place, never what a cache happens to show, and a call is
//! never taken back: only the task's own status gives it back. So a stale reading, a late write or a second operator cannot call
//! more than there are places for.

mod breaker;
mod breaker_news;
mod holders;
mod line;
mod observed;
mod order;
mod pause;
mod rate;
mod record;
mod steps;
mod verdict;
mod window;

use jiff::Timestamp;

use self::{
    breaker::Judge,
    holders::{Places, Run, TasksOfHolders},
    line::line,
    order::{Order, first_in_line},
    rate::Pace,
    record::Record,
};
pub use self::{
    holders::unknown_holders,
    observed::{ObservedQueue, QueuedTask, SeenTicket, Turn},
    rate::Rhythm,
    steps::{QueueEvent, QueueEventReason, QueuePlan, QueueWake},
};
use crate::{
    api::queue::{BreakerState, BreakerStatus, Holder, PerKey, TaskQueueSpec, TaskQueueStatus},
    types::GoDuration,
};

/// What to do next about a queue. The time is to the microsecond.
pub fn plan(seen: &ObservedQueue<'_>, now: Timestamp) -> QueuePlan {
    if seen.is_being_deleted() {
        // Who has a place keeps it to the end of its attempt.
        return QueuePlan::default();
    }
    let (spec, generation) = (&seen.queue.spec, seen.queue.metadata.generation.unwrap_or_default());
    let before = seen.queue.status.clone().unwrap_or_default();
    let tasks = TasksOfHolders::among(&seen.tasks, seen.queue.holders());
    let Places { kept: mut holders, over, runs, has_unknown } = holders::places(seen, &tasks);
    let waiting = line(seen, &holders, &tasks);
    let breaker = spec.breaker.as_ref().map(|breaker| {
        let judge = Judge::of(breaker, spec.places(), before.breaker.as_ref(), now);
        (breaker, judge.after(&over, &runs, !waiting.is_empty()))
    });
    let judged = breaker.as_ref().map(|(spec, standing)| (*spec, standing));
    let standing = judged.map(|(_, standing)| standing);
    let is_probing = forget_past_probes(&mut holders, standing);
    let pace = Pace::of(spec.rate.as_ref(), before.next_call_time, now);
    let room = spec.places().saturating_sub(holders.len());
    let allowed = if spec.suspend { 0 } else { allowed(standing, &runs).min(room) };
    let most = allowed.min(pace.slots());
    let order = Order { spec, begun_first: begun_first(standing), now };
    let called = if most == 0 { Vec::new() } else { first_in_line(&waiting, &holders, order, most) };
    holders.extend(called.iter().filter_map(|task| Some(Holder { probe: is_probing, ..task.place(spec)? })));
    let waits: Vec<_> = called.iter().map(|task| task.waited(now)).collect();
    let left = waiting.len().saturating_sub(called.len());
    let pace = pace.after(called.len());
    let is_full = left == 0 || called.len() >= allowed;
    let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let mut conditions = before.conditions.clone();
    breaker_news::conditions(&mut conditions, judged, now);
    let told = [
        pause::news(spec.suspend, &before.conditions),
        judged.and_then(|(spec, standing)| breaker_news::news(spec, before.breaker.as_ref(), standing)),
    ];
    let breaker_moment = judged.and_then(|(spec, standing)| breaker::next_moment(spec, standing, &runs, now));
    let status = TaskQueueStatus {
        observed_generation: generation,
        active: count(holders.len()),
        summary: format!("{}/{}", holders.len(), spec.max_active),
        waiting: count(left),
        last_wait: waits.last().map(|seconds| GoDuration::from_secs(*seconds)).or(before.last_wait),
        holders,
        next_call_time: pace.next_call_time(),
        breaker: breaker.map(|(_, standing)| standing),
        conditions: pause::conditions(spec.suspend, conditions, generation, now),
    };
    let record = Record::of(seen, &status, now);
    let moments = [
        pace.next_slot().filter(|_| !is_full),
        has_unknown.then(|| holders::look_again_at(now)),
        breaker_moment,
        record.put_off_to(),
    ];
    QueuePlan {
        events: told.into_iter().flatten().collect(),
        waits,
        waiting: left,
        status: record.is_due().then_some(status),
        wake: moments.into_iter().flatten().min().map_or(QueueWake::OnChange, QueueWake::At),
    }
}

/// Those who wait in a queue, in the order in which they would be called if there were room for all of them now, whatever their
/// keys have.
pub fn in_order<'a>(seen: &'a ObservedQueue<'_>, now: Timestamp) -> Vec<&'a QueuedTask> {
    let spec = &seen.queue.spec;
    let per_key = spec.per_key.clone().map(|per_key| PerKey { max_active: None, ..per_key });
    let spec = TaskQueueSpec { per_key, ..spec.clone() };
    let holders = seen.queue.holders();
    let waiting = line(seen, holders, &TasksOfHolders::among(&seen.tasks, holders));
    let standing = seen.queue.status.as_ref().and_then(|status| status.breaker.as_ref());
    let order = Order { spec: &spec, begun_first: begun_first(standing), now };
    first_in_line(&waiting, holders, order, waiting.len())
}

/// Has holders be no probes any more unless the breaker is half open; says whether it is.
fn forget_past_probes(holders: &mut [Holder], standing: Option<&BreakerStatus>) -> bool {
    let is_probing = standing.is_some_and(|standing| standing.state == BreakerState::HalfOpen);
    if !is_probing {
        for holder in holders {
            holder.probe = false;
        }
    }
    is_probing
}

/// How many may be called, as far as a breaker is concerned.
fn allowed(standing: Option<&BreakerStatus>, runs: &[Run]) -> usize {
    let probes = runs.iter().filter(|run| run.is_probe).count();
    standing.and_then(|standing| breaker::slots(standing, probes)).unwrap_or(usize::MAX)
}

fn begun_first(standing: Option<&BreakerStatus>) -> bool {
    standing.is_none_or(|standing| standing.state == BreakerState::Closed)
}
