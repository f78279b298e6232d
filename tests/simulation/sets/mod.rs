//! Sets: the real controllers of sets and tasks, two operators at a time, before a small API server in memory on virtual time.
//!
//! A world of its own, beside the one of a single task: here there are a set, its template, its members and their pods; programs do
//! nothing but end. What can go wrong is what concerns sets: requests that are lost, answered late or not at all, watches that are
//! late or break, operators that crash after any write, users who delete members, restart them by hand, and change the set.
//!
//! A seed draws the same weather each time, but does not replay to the letter: with several tasks, the order of what happens in
//! the same millisecond is that of hash maps inside kube's controller.

mod client;
mod judge;
mod queue;
mod server;
mod world;

use std::sync::Arc;

use tokio::{runtime, time};

pub(crate) use self::{queue::QueueDefect, world::SetDefect};
use self::{
    queue::QueueWeather,
    world::{Event, Shared, World},
};

/// What came of a simulation.
pub(crate) struct SetRun {
    pub(crate) violation: Option<String>,
    pub(crate) trace: Vec<String>,
}

/// How long a set may take to end once nothing goes wrong any more, in milliseconds.
const LONGEST_END: u64 = 3_600_000;
/// How long all must be quiet then.
const TIDYING: u64 = 120_000;
const QUIET: u64 = 660_000;

/// The life of a seed.
pub(crate) fn simulate_set(seed: u64, defect: Option<SetDefect>) -> SetRun {
    simulate(seed, |seed| World::shared(seed, defect, None))
}

/// Likewise, of a set whose members wait in a queue.
pub(crate) fn simulate_queue(seed: u64, defect: Option<QueueDefect>) -> SetRun {
    simulate(seed, |seed| World::shared(seed, None, Some(QueueWeather::draw(seed, defect))))
}

fn simulate(seed: u64, world: impl FnOnce(u64) -> Shared) -> SetRun {
    // The pauses of broken watches are drawn from here.
    fastrand::seed(seed);
    let runtime = runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = world(seed);
        live(&world).await;
        let mut world = world.lock();
        SetRun { violation: world.violation.take(), trace: std::mem::take(&mut world.trace) }
    })
}

async fn live(shared: &Shared) {
    let peace_at = {
        let mut world = shared.lock();
        let weather = format!("{:?}", world.weather);
        world.tell("world", weather);
        world.begin();
        world.weather.peace_at
    };
    run(shared, peace_at, |_| false).await;
    shared.lock().make_peace();
    run(shared, peace_at + LONGEST_END, World::is_over).await;
    if shared.lock().has_failed() {
        // A program had failed before, and the operator heard of it in the round of the peace. The user asks once more.
        shared.lock().give_token();
        run(shared, peace_at + 2 * LONGEST_END, World::is_over).await;
    }
    if !shared.lock().is_over() {
        return shared.lock().accuse("the set does not end".to_owned());
    }
    let now = shared.lock().now();
    run(shared, now + TIDYING, |_| false).await;
    let writes = {
        let mut world = shared.lock();
        world.judge_rest();
        world.tell("world", "rests");
        world.writes
    };
    run(shared, now + TIDYING + QUIET, |_| false).await;
    let mut world = shared.lock();
    let more = world.writes - writes;
    if more > 0 {
        world.accuse(format!("{more} writes although nothing changes"));
    }
}

/// Lets the world go on until `until`, in milliseconds, or `is_enough`, or a violation.
async fn run(shared: &Shared, until: u64, is_enough: impl Fn(&World) -> bool) {
    loop {
        let (next, woken) = {
            let world = shared.lock();
            if world.violation.is_some() || is_enough(&world) || world.now() >= until {
                return;
            }
            let next = world.queue.keys().next().map_or(until, |(at, _)| *at).min(until);
            (world.instant(next), Arc::clone(&world.woken))
        };
        if time::timeout_at(next, woken.notified()).await.is_ok() {
            continue;
        }
        let start = {
            let mut world = shared.lock();
            let now = world.now();
            match world
                .queue
                .first_entry()
                .filter(|first| first.key().0 <= now)
                .map(std::collections::btree_map::OccupiedEntry::remove)
            {
                Some(Event::Start(slot)) => Some(slot),
                Some(event) => {
                    world.handle(event);
                    None
                }
                None => None,
            }
        };
        if let Some(slot) = start {
            client::start(shared, slot);
        }
    }
}
