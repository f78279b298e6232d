//! B4: many tasks at once: memory, start-up, and what they cost while nothing happens. And from create to pod.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::{
    figures::{Run, name, percentile},
    load::{self, Load},
    operator,
    pods::Bystander,
    rig::{Rig, Running, until},
};

const NAMESPACE: &str = "bench-live";
const QUEUE: &str = "queue";
/// How long idleness is watched.
const IDLE: Duration = Duration::from_mins(1);

/// Tasks whose pods run on and on; the operator is started anew for each run.
pub(crate) async fn live(rig: &Rig, count: usize, runs: usize) -> Result<()> {
    let task = |number| load::task_of(&format!("live-{number}"), &json!({}));
    population(rig, "live", (count, "Running"), runs, async |load| load.create(count, task).await).await
}

/// Tasks that wait for a time that is far away.
pub(crate) async fn waiting(rig: &Rig, count: usize, runs: usize) -> Result<()> {
    let annotations =
        json!({ "bench.longtask.dev/run": "1s", "bench.longtask.dev/report": r#"{"resumeAfter": "24h"}"# });
    let task = |number| load::task_of(&format!("waiting-{number}"), &annotations);
    population(rig, "waiting", (count, "Waiting"), runs, async |load| load.create(count, task).await).await
}

/// Tasks that wait in a queue whose only place is taken.
pub(crate) async fn queue_waiting(rig: &Rig, count: usize, runs: usize) -> Result<()> {
    let task = |number| load::queued(load::task_of(&format!("queued-{number}"), &json!({})), QUEUE);
    population(rig, "queue-waiting", (count, "Pending"), runs, async |load| {
        load.create_beside(load::queue(QUEUE, 1)).await?;
        load.create(count + 1, task).await
    })
    .await
}

/// A set whose members all run on and on.
pub(crate) async fn members(rig: &Rig, count: usize, runs: usize) -> Result<()> {
    population(rig, "members", (count, "Running"), runs, async |load| {
        load.create_beside(load::template_with("members", &json!({}))).await?;
        load.create_beside(load::set("members", count, count)).await
    })
    .await
}

async fn population(
    rig: &Rig,
    scenario: &str,
    (count, phase): (usize, &str),
    runs: usize,
    make: impl AsyncFnOnce(&Load) -> Result<()>,
) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    let operator = rig.start_operator()?;
    make(&load).await?;
    let words = format!("phase=\"{phase}\"");
    until("all are there", Duration::from_mins(40), async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(operator::sum("longtask_tasks", &[&words])? >= count as f64)
    })
    .await?;
    println!("    all {count} are {phase}; {:.0} MiB", operator.process().resident()?);
    operator.kill();
    for _ in 0..runs {
        let (operator, ready_after) = start(rig).await?;
        until("it is quiet", Duration::from_mins(5), async || is_quiet(&operator).await).await?;
        let (writes, cpu) = (operator::writes()?, operator.process().cpu()?);
        tokio::time::sleep(IDLE).await;
        let used = operator.process().cpu()?.saturating_sub(cpu);
        let figures = [
            name("tasks", count as f64),
            name("start until ready, s", ready_after.as_secs_f64()),
            name("memory, MiB", operator.process().resident()?),
            name("memory peak, MiB", operator.process().resident_peak()?),
            name("idle writes in a minute", operator::writes()? - writes),
            name("idle cpu, % of a core", 100.0 * used.as_secs_f64() / IDLE.as_secs_f64()),
        ];
        Run::of(scenario, "LongTask", figures).record()?;
    }
    drop(manager);
    Ok(())
}

/// Starts the operator; says how long it took to be ready.
pub(crate) async fn start(rig: &Rig) -> Result<(Running, Duration)> {
    let began = Instant::now();
    let operator = rig.start_operator()?;
    until("the operator is ready", Duration::from_mins(5), async || Ok(operator::is_ready())).await?;
    Ok((operator, began.elapsed()))
}

/// Starts the operator, and waits until neither it nor the controller manager is busy with its own start: in its first seconds,
/// that uses all it can get.
pub(crate) async fn start_quietly(rig: &Rig, manager: &Running) -> Result<Running> {
    let (operator, _) = start(rig).await?;
    until("it is quiet", Duration::from_mins(2), async || Ok(is_quiet(manager).await? && is_quiet(&operator).await?))
        .await?;
    Ok(operator)
}

/// Whether all that a start has to look at is done.
pub(crate) async fn is_quiet(operator: &Running) -> Result<bool> {
    let before = operator.process().cpu()?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(operator.process().cpu()?.saturating_sub(before) < Duration::from_millis(100))
}

/// What of a task is created.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Started {
    /// All.
    Whole,
    /// The name of its template, from which it is filled in.
    Thin,
    /// All, and it waits for its turn in a queue that has places.
    Queued,
}

/// From the create of a task to that of its pod, on a cluster that has little to do.
pub(crate) async fn start_of_a_task(rig: &Rig, count: usize, what: Started) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    load.create_beside(load::template_of("start", "1s")).await?;
    load.create_beside(load::queue(QUEUE, 1000)).await?;
    let operator = start_quietly(rig, &manager).await?;
    let bystander = Bystander::of(&rig.client, NAMESPACE);
    let mut asked = Vec::new();
    for number in 0..count {
        let task_name = format!("start-{number}");
        let object = serde_json::from_value(match what {
            Started::Whole => load::task(&task_name, "1s"),
            Started::Thin => load::thin_task(&task_name, "start"),
            Started::Queued => load::queued(load::task(&task_name, "1s"), QUEUE),
        })?;
        asked.push((task_name, Instant::now()));
        load.api().create(&kube::api::PostParams::default(), &object).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    load.until_ended(count, Duration::from_mins(5)).await?;
    let mut took = {
        let seen = bystander.seen.lock().expect("no panic");
        let took = |(task, asked): &(String, Instant)| {
            let came = seen.first_of(task).context("each has a pod")?;
            Ok(came.saturating_duration_since(*asked).as_secs_f64() * 1000.0)
        };
        asked.iter().map(took).collect::<Result<Vec<_>>>()?
    };
    took.sort_by(f64::total_cmp);
    let figures = [
        name("tasks", count as f64),
        name("create of the task to its pod p50, ms", percentile(&took, 0.5)),
        name("create of the task to its pod p99, ms", percentile(&took, 0.99)),
    ];
    let scenario = match what {
        Started::Whole => "start",
        Started::Thin => "start-thin",
        Started::Queued => "start-queued",
    };
    Run::of(scenario, "LongTask", figures).record()?;
    drop((manager, operator));
    Ok(())
}
