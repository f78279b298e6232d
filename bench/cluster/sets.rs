//! B8: one set of many members, beside an Indexed Job and the same list through Argo's `withParam`.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use futures::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::{DynamicObject, PartialObjectMeta},
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use longtask::api::{set::LongTaskSet, task::LongTask};
use tokio::task::JoinHandle;

use crate::{
    argo,
    figures::{Run, Writes, name},
    live,
    load::{self, Load},
    operator,
    pods::Bystander,
    rig::{Rig, Running, until},
};

const NAMESPACE: &str = "bench-sets";
const NAME: &str = "set";
/// How many run at a time.
const PARALLEL: usize = 500;
/// How long each pod runs.
const RUN: &str = "1s";
/// How many run at a time, how long each, and how often the operator is killed meanwhile.
const FEW_PARALLEL: usize = 50;
const LONG_RUN: &str = "5s";
const KILLED_EVERY: Duration = Duration::from_secs(5);
/// How long one may take. Argo's own limit is that of its object.
const LIMIT: Duration = Duration::from_mins(40);

/// The set.
pub(crate) async fn set(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_sets(&rig.client, NAMESPACE).await?;
    load.create_beside(load::template_of(NAME, RUN)).await?;
    let operator = live::start_quietly(rig, &manager).await?;
    let (idle, started) = (operator.process().resident()?, Started::now(rig).await?);
    let (most, set) = (MostTasks::of(&rig.client), SetWrites::of(&rig.client));
    load.create(1, |_| load::set(NAME, count, PARALLEL)).await?;
    load.until_ended(1, LIMIT).await?;
    let mut figures = started.until_now(rig, count, &operator).await?;
    let seconds = started.at.elapsed().as_secs_f64();
    let writes = operator::writes()? - operator::sum("longtask_api_requests_total", &["resource=\"events\""])?;
    let there = most.seen.load(Ordering::Relaxed) as f64;
    // Those at work, the ten that are kept, and those that ended in the last 30 s, whose names are held.
    let may_be = (PARALLEL + 10) as f64 + 30.0 * count as f64 / seconds;
    figures.extend([
        name("controller memory above idle, MiB", operator.process().resident_peak()? - idle),
        name("operator writes per member, events aside", writes / count as f64),
        name("tasks there at a time, most", there),
        name("tasks there at a time, as a share of what may be", there / may_be),
        name("status of the set: writes per second", set.seen() / seconds),
        name("status of the set: kB per second", set.kilobytes() / seconds),
    ]);
    Run::of("sets", "LongTask", figures).record()?;
    drop((manager, operator));
    Ok(())
}

/// The set, while the operator is killed again and again. Each member must run exactly once.
pub(crate) async fn killed(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_sets(&rig.client, NAMESPACE).await?;
    load.create_beside(load::template_of(NAME, LONG_RUN)).await?;
    let bystander = Bystander::of(&rig.client, NAMESPACE);
    let mut operator = Some(rig.start_operator()?);
    let (began, mut kills) = (Instant::now(), 0);
    load.create(1, |_| load::set(NAME, count, FEW_PARALLEL)).await?;
    {
        let mut ended = std::pin::pin!(load.until_ended(1, LIMIT));
        while let Err(_elapsed) = tokio::time::timeout(KILLED_EVERY, &mut ended).await {
            operator.take().expect("one runs").kill();
            operator = Some(rig.start_operator()?);
            kills += 1;
        }
    }
    let seconds = began.elapsed().as_secs_f64();
    let (ran, again) = {
        let seen = bystander.seen.lock().expect("no panic");
        (seen.tasks(), seen.attempts() - seen.tasks() + seen.doubled())
    };
    let figures = [
        name("tasks", count as f64),
        name("seconds", seconds),
        name("operator kills", f64::from(kills)),
        name("members that never ran", count as f64 - ran as f64),
        name("members that ran more than once", again as f64),
    ];
    Run::of("sets-killed", "LongTask", figures).record()?;
    drop((manager, operator));
    Ok(())
}

/// The same as an Indexed Job.
pub(crate) async fn job(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(true)?;
    let load = Load::of_indexed_jobs(&rig.client, NAMESPACE, count).await?;
    until("it is quiet", Duration::from_mins(2), async || live::is_quiet(&manager).await).await?;
    let started = Started::now(rig).await?;
    load.create(1, |_| load::indexed_job(NAME, RUN, count, PARALLEL)).await?;
    load.until_ended(1, LIMIT).await?;
    Run::of("sets", "Indexed Job", started.until_now(rig, count, &manager).await?).record()
}

/// The same as a workflow that has a step for each item of a list.
pub(crate) async fn workflow(rig: &Rig, count: usize) -> Result<()> {
    argo::install(&rig.client).await?;
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_workflows(&rig.client, NAMESPACE).await?;
    let controller = rig.start_argo()?;
    let is_quiet = async || Ok(live::is_quiet(&manager).await? && live::is_quiet(&controller).await?);
    until("it is quiet", Duration::from_mins(2), is_quiet).await?;
    let started = Started::now(rig).await?;
    load.create(1, |_| argo::fan_out(NAME, RUN, count, PARALLEL)).await?;
    load.until_ended(1, LIMIT).await?;
    Run::of("sets", "Argo Workflows", started.until_now(rig, count, &controller).await?).record()?;
    drop(manager);
    Ok(())
}

/// What is counted from a start.
struct Started {
    writes: Writes,
    control_plane: Duration,
    at: Instant,
}

impl Started {
    async fn now(rig: &Rig) -> Result<Self> {
        let writes = Writes::now(&rig.client).await?;
        Ok(Self { writes, control_plane: Rig::cpu_of_control_plane()?, at: Instant::now() })
    }

    async fn until_now(&self, rig: &Rig, count: usize, controller: &Running) -> Result<Vec<(String, f64)>> {
        let seconds = self.at.elapsed().as_secs_f64();
        let control_plane = Rig::cpu_of_control_plane()?.saturating_sub(self.control_plane);
        let mut figures = vec![
            name("tasks", count as f64),
            name("seconds", seconds),
            name("members per second", count as f64 / seconds),
            name("controller cpu, s", controller.process().cpu()?.as_secs_f64()),
            name("controller memory peak, MiB", controller.process().resident_peak()?),
            name("API server and etcd cpu, s", control_plane.as_secs_f64()),
        ];
        let writes = Writes::now(&rig.client).await?.since(&self.writes);
        figures.extend(
            writes
                .into_iter()
                .filter(|(_, writes)| *writes >= 0.05 * count as f64)
                .map(|(what, writes)| (format!("{what}, per member"), writes / count as f64)),
        );
        Ok(figures)
    }
}

/// How many tasks there were at a time, at most, as a watch sees it.
struct MostTasks {
    seen: Arc<AtomicUsize>,
    watching: JoinHandle<()>,
}

impl MostTasks {
    fn of(client: &Client) -> Self {
        let seen = Arc::<AtomicUsize>::default();
        let noted = Arc::clone(&seen);
        let resource = kube::api::ApiResource::erase::<LongTask>(&());
        let api: Api<PartialObjectMeta<DynamicObject>> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        let watching = tokio::spawn(async move {
            let mut there = HashSet::new();
            let mut events = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Init) => there.clear(),
                    Ok(Event::InitApply(task) | Event::Apply(task)) => {
                        there.insert(task.name_any());
                    }
                    Ok(Event::Delete(task)) => {
                        there.remove(&task.name_any());
                    }
                    Ok(Event::InitDone) => {}
                    Err(error) => eprintln!("the watch of tasks: {error}"),
                }
                noted.fetch_max(there.len(), Ordering::Relaxed);
            }
        });
        Self { seen, watching }
    }
}

impl Drop for MostTasks {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// How often the set was written, and how many bytes that were, as a watch sees it.
struct SetWrites {
    seen: Arc<AtomicUsize>,
    bytes: Arc<AtomicUsize>,
    watching: JoinHandle<()>,
}

impl SetWrites {
    fn of(client: &Client) -> Self {
        let (seen, bytes) = (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default());
        let noted = (Arc::clone(&seen), Arc::clone(&bytes));
        let resource = kube::api::ApiResource::erase::<LongTaskSet>(&());
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NAMESPACE, &resource);
        let watching = tokio::spawn(async move {
            let mut sets = std::pin::pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(set) = sets.next().await {
                match set {
                    Ok(set) => {
                        noted.0.fetch_add(1, Ordering::Relaxed);
                        let length = serde_json::to_vec(&set).map_or(0, |text| text.len());
                        noted.1.fetch_add(length, Ordering::Relaxed);
                    }
                    Err(error) => eprintln!("the watch of sets: {error}"),
                }
            }
        });
        Self { seen, bytes, watching }
    }

    fn seen(&self) -> f64 {
        self.seen.load(Ordering::Relaxed) as f64
    }

    fn kilobytes(&self) -> f64 {
        self.bytes.load(Ordering::Relaxed) as f64 / 1000.0
    }
}

impl Drop for SetWrites {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
