//! B9: a queue: how fast a place changes hands, and how fast its breaker opens.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt;
use kube::{
    Api, Client, Resource, ResourceExt,
    api::PostParams,
    core::NamespaceResourceScope,
    runtime::{WatchStreamExt, watcher},
};
use longtask::api::{
    queue::{BreakerState, TaskQueue},
    task::{LongTask, Outcome},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::{
    figures::{Run, name, percentile},
    live,
    load::{self, Load},
    pods::Bystander,
    rig::{Rig, until},
};

const NAMESPACE: &str = "bench-places";
/// How many places the queue has.
const PLACES: usize = 50;
/// How long each pod runs at least, in seconds: pods that are longer would leave the control plane with nothing to do.
const RUN: u32 = 5;
/// The most breakers that are opened: each takes some seconds.
pub(crate) const MOST_BREAKERS: usize = 50;
/// How many tasks a breaker has, and how many of them may run at a time.
const FAILING: usize = 12;
const AT_A_TIME: usize = 8;

/// So many tasks through the places of one queue.
pub(crate) async fn change_hands(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    load.create_beside(load::queue(NAMESPACE, PLACES)).await?;
    let operator = live::start_quietly(rig, &manager).await?;
    let bystander = Bystander::of(&rig.client, NAMESPACE);
    let task = |number| load::queued(load::task_of(&format!("placed-{number}"), &load::about(RUN)), NAMESPACE);
    load.create(count, task).await?;
    load.until_ended(count, Duration::from_mins(20)).await?;
    let took = bystander.seen.lock().expect("no panic").places(PLACES);
    let figures = [
        name("tasks", count as f64),
        name("a place changes hands p50, ms", percentile(&took, 0.5)),
        name("a place changes hands p99, ms", percentile(&took, 0.99)),
    ];
    Run::of("places", "LongTask", figures).record()?;
    drop((manager, operator));
    Ok(())
}

/// Queues whose tasks all fail, one after the other.
pub(crate) async fn breaker(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    let operator = live::start_quietly(rig, &manager).await?;
    let openings = Openings::watch(&rig.client);
    for number in 0..count {
        let queue = format!("partner-{number}");
        load.create_beside(guarded(&queue)).await?;
        let fails = json!({ "bench.longtask.dev/run": "1s", "bench.longtask.dev/exit": "69" });
        for task in 0..FAILING {
            let task = load::queued(load::task_of(&format!("{queue}-{task}"), &fails), &queue);
            load.api().create(&PostParams::default(), &serde_json::from_value(task)?).await?;
        }
        until("it is open", Duration::from_secs(30), async || Ok(openings.of(&queue).is_some())).await?;
        // Who were called before run to their end, and nobody may be called in their places.
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
    let seen = openings.seen.lock().expect("no panic");
    let mut took = seen.values().map(Opening::milliseconds).collect::<Result<Vec<_>>>()?;
    took.sort_by(f64::total_cmp);
    ensure!(took.len() == count, "{} of {count} breakers opened", took.len());
    let calls: usize = seen.values().map(|queue| queue.calls_after).sum();
    let figures = [
        name("breakers", count as f64),
        name("failure recorded to open p50, ms", percentile(&took, 0.5)),
        name("failure recorded to open p99, ms", percentile(&took, 0.99)),
        name("calls after it was open", calls as f64),
    ];
    Run::of("breaker", "LongTask", figures).record()?;
    drop((manager, operator));
    Ok(())
}

/// A queue whose breaker opens with the second failure, and does not try before all is over.
fn guarded(name: &str) -> Value {
    let mut queue = load::queue(name, AT_A_TIME);
    let failures = json!([{ "onExitCodes": { "operator": "In", "values": [69] } }]);
    queue["spec"]["breaker"] = json!({ "counts": failures, "failures": 2, "openFor": "1h", "maxOpenFor": "1h" });
    queue
}

/// What a bystander sees of queues and of the failures of their tasks.
struct Openings {
    seen: Arc<Mutex<Seen>>,
    watching: [JoinHandle<()>; 2],
}

/// By the name of the queue.
type Seen = BTreeMap<String, Opening>;

#[derive(Default)]
struct Opening {
    /// When the first failure of each task was seen.
    failures: BTreeMap<String, Instant>,
    opened: Option<Instant>,
    called: BTreeSet<(String, i64)>,
    calls_after: usize,
}

impl Opening {
    /// From the second failure, with which it opens. Its status may be seen before that of the task.
    fn milliseconds(&self) -> Result<f64> {
        let mut failures: Vec<_> = self.failures.values().copied().collect();
        failures.sort();
        let (second, opened) = (failures.get(1).context("two failures")?, self.opened.context("it opened")?);
        Ok(opened.saturating_duration_since(*second).as_secs_f64() * 1000.0)
    }
}

impl Openings {
    fn watch(client: &Client) -> Self {
        let seen = Arc::default();
        let watching = [watch(client, &seen, take_task), watch(client, &seen, take_queue)];
        Self { seen, watching }
    }

    fn of(&self, queue: &str) -> Option<Instant> {
        self.seen.lock().expect("no panic").get(queue)?.opened
    }
}

/// Takes note of each object of a kind as it is now.
fn watch<K>(client: &Client, seen: &Arc<Mutex<Seen>>, take: fn(&mut Seen, &K)) -> JoinHandle<()>
where
    K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (api, seen) = (Api::<K>::namespaced(client.clone(), NAMESPACE), Arc::clone(seen));
    tokio::spawn(async move {
        let mut objects = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
        while let Some(object) = objects.next().await {
            match object {
                Ok(object) => take(&mut seen.lock().expect("no panic"), &object),
                Err(error) => eprintln!("the watch of {}: {error}", K::plural(&())),
            }
        }
    })
}

impl Drop for Openings {
    fn drop(&mut self) {
        self.watching.iter().for_each(JoinHandle::abort);
    }
}

fn take_task(seen: &mut Seen, task: &LongTask) {
    let now = Instant::now();
    let Some(queue) = task.spec.queue_name.clone() else { return };
    let mut attempts = task.status.iter().flat_map(|status| &status.recent_attempts);
    if attempts.any(|attempt| attempt.outcome == Outcome::Failed) {
        seen.entry(queue).or_default().failures.entry(task.name_any()).or_insert(now);
    }
}

fn take_queue(seen: &mut Seen, queue: &TaskQueue) {
    let now = Instant::now();
    let opening = seen.entry(queue.name_any()).or_default();
    let Some(status) = &queue.status else { return };
    let was_open = opening.opened.is_some();
    let called = status.holders.iter().map(|holder| (holder.task.clone(), holder.ticket));
    let new = called.filter(|call| opening.called.insert(call.clone())).count();
    if was_open {
        opening.calls_after += new;
    } else if status.breaker.as_ref().is_some_and(|breaker| breaker.state == BreakerState::Open) {
        opening.opened = Some(now);
    }
}
