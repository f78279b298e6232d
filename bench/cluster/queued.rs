//! B1: single-segment tasks that wait when the operator starts, also in a queue, against as many Jobs that wait for the Job
//! controller. And tasks without a queue of which as many are there at a time as that queue has places.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    figures::{Run, Writes, name},
    load::{self, Load},
    operator,
    rig::{Rig, Running},
};

const NAMESPACE: &str = "bench-queued";
/// How long each pod runs.
const RUN: &str = "1s";
/// How many places the queue has.
const PLACES: usize = 50;
const THROUGH_A_QUEUE: &str = "LongTask through a queue";
const WITHOUT_A_QUEUE: &str = "LongTask, as many at a time";
const LIMIT: Duration = Duration::from_mins(20);

pub(crate) async fn tasks(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    load.create(count, |number| load::task(&format!("queued-{number}"), RUN)).await?;
    measure(rig, "LongTask", count, || rig.start_operator(), load.until_ended(count, LIMIT)).await?;
    drop(manager);
    Ok(())
}

/// The same tasks in a queue, which has places for some of them at a time.
pub(crate) async fn admitted(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    load.create_beside(load::queue(NAMESPACE, PLACES)).await?;
    let task = |number| load::queued(load::task(&format!("queued-{number}"), RUN), NAMESPACE);
    load.create(count, task).await?;
    measure(rig, THROUGH_A_QUEUE, count, || rig.start_operator(), load.until_ended(count, LIMIT)).await?;
    drop(manager);
    Ok(())
}

/// The same tasks without a queue, each made when one before it has ended: what somebody does by hand for so many at a time. Tasks
/// that start all at once are no pair for a queue: their events are dropped, and none waits while a pod starts and ends.
pub(crate) async fn at_a_time(rig: &Rig, count: usize) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    let task = |number| load::task(&format!("queued-{number}"), RUN);
    let run = load.run(count, PLACES, task, LIMIT);
    measure(rig, WITHOUT_A_QUEUE, count, || rig.start_operator(), run).await?;
    drop(manager);
    Ok(())
}

pub(crate) async fn jobs(rig: &Rig, count: usize) -> Result<()> {
    // A namespace needs one for its service account; the Jobs wait for one with a Job controller.
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_jobs(&rig.client, NAMESPACE).await?;
    load.create(count, |number| load::job(&format!("queued-{number}"), RUN)).await?;
    manager.kill();
    measure(rig, "Job", count, || rig.start_controller_manager(true), load.until_ended(count, LIMIT)).await
}

async fn measure(
    rig: &Rig,
    side: &str,
    count: usize,
    start: impl FnOnce() -> Result<Running>,
    all_ended: impl Future<Output = Result<()>>,
) -> Result<()> {
    let before = Writes::now(&rig.client).await?;
    let used_before = Rig::cpu_of_control_plane()?;
    let began = Instant::now();
    let controller = start()?;
    all_ended.await?;
    let seconds = began.elapsed().as_secs_f64();
    let mut figures = vec![
        name("objects", count as f64),
        name("seconds", seconds),
        name("objects per second", count as f64 / seconds),
        name("controller cpu, s", controller.process().cpu()?.as_secs_f64()),
        name("controller memory peak, MiB", controller.process().resident_peak()?),
        name("API server and etcd cpu, s", Rig::cpu_of_control_plane()?.saturating_sub(used_before).as_secs_f64()),
    ];
    let writes = Writes::now(&rig.client).await?.since(&before);
    figures.extend(
        writes
            .into_iter()
            .filter(|(_, writes)| *writes >= 0.05 * count as f64)
            .map(|(what, writes)| (format!("{what}, per object"), writes / count as f64)),
    );
    if side.starts_with("LongTask") {
        let of = |words: &[&str]| {
            Ok::<_, anyhow::Error>(operator::sum("longtask_api_requests_total", words)? / count as f64)
        };
        figures.push(name("operator: reads of a pod, per object", of(&["verb=\"get\"", "resource=\"pods\""])?));
        figures.push(name("operator: conflicts, per object", of(&["code=\"409\""])?));
    }
    Run::of("queued", side, figures).record()
}
