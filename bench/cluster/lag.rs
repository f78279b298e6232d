//! B9: from a line in the report file to the status, through the agents of real pods, and what such an agent takes.

use std::{
    collections::HashMap,
    pin::pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use futures::StreamExt;
use jiff::Timestamp;
use kube::{
    ResourceExt,
    runtime::{WatchStreamExt, watcher},
};
use longtask::{api::task::LongTask, contract::agent::CONTAINER as AGENT};
use serde_json::json;

use crate::{
    figures::{Process, Run, name, now, percentile},
    journals::Journals,
    load::{self, Load},
    operator,
    rig::{Local, delete_namespace, until},
};

const NAMESPACE: &str = "bench-lag";
/// The most programs: a node has room for so many pods.
pub(crate) const MOST: usize = 100;
/// `reporting.interval`, in seconds.
const INTERVAL: u32 = 5;
/// How long lines are looked at.
const LINES: Duration = Duration::from_mins(2);
/// How long the last of them may take.
const LAST: Duration = Duration::from_secs(30);

/// Programs that report a line every second.
pub(crate) async fn lag(local: &Local, count: usize) -> Result<()> {
    let operator = local.start_operator_with_reports().await?;
    let load = Load::of_tasks(&local.client, NAMESPACE).await?;
    let journals = Journals::new()?;
    let sightings = Sightings::begin(&load);
    let task = |number: usize| {
        let pod = journals.pod_spec(&journal(number), &["--steps=100000", "--step-time=1s", "--resume=none"]);
        load::live(load::task_with(&task_name(number), &json!({ "spec": pod })), INTERVAL)
    };
    load.create(count, task).await?;
    until("all are heard", Duration::from_mins(20), async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(operator::sum("longtask_live_pods", &[])? >= count as f64)
    })
    .await?;
    // The last to come has to find its pace first.
    tokio::time::sleep(LAST).await;
    let agents = Process::all_named(AGENT)?;
    ensure!(agents.len() == count, "{} agents run, of {count}", agents.len());
    let (from, cpu, cpu_of_operator) = (now(), cpu_of(&agents)?, operator.process().cpu()?);
    tokio::time::sleep(LINES).await;
    let (to, cpu) = (now(), cpu_of(&agents)?.saturating_sub(cpu));
    let cpu_of_operator = operator.process().cpu()?.saturating_sub(cpu_of_operator);
    let mut memory = agents.iter().map(|agent| agent.resident()).collect::<Result<Vec<_>>>()?;
    let mut memory_peak = agents.iter().map(|agent| agent.resident_peak()).collect::<Result<Vec<_>>>()?;
    tokio::time::sleep(LAST).await;

    let (mut lags, mut unseen, mut at_risk) = (Vec::new(), 0, Vec::new());
    for number in 0..count {
        let entries = journals.read(&journal(number))?;
        let steps: Vec<_> = entries.into_iter().filter(|entry| entry.event == "step").collect();
        for entry in steps.iter().filter(|entry| (from..to).contains(&entry.time)) {
            match sightings.of(&task_name(number), entry.step) {
                Some(seen) => lags.push(seen.duration_since(entry.time).as_secs_f64()),
                None => unseen += 1,
            }
            let known = sightings.known_at(&task_name(number), entry.time);
            let known = steps.iter().find(|step| step.step == known).context("the status knows of a step")?;
            at_risk.push(entry.time.duration_since(known.time).as_secs_f64());
        }
    }
    for all in [&mut lags, &mut memory, &mut memory_peak, &mut at_risk] {
        all.sort_by(f64::total_cmp);
    }
    let per_agent = |all: Duration| 100.0 * all.as_secs_f64() / LINES.as_secs_f64() / count as f64;
    let figures = [
        name("tasks", count as f64),
        name("lines", lags.len() as f64),
        name("lines that never came", f64::from(unseen)),
        name("line to status p50, s", percentile(&lags, 0.5)),
        name("line to status p99, s", percentile(&lags, 0.99)),
        name("line to status, longest, s", percentile(&lags, 1.0)),
        name("work lost with the node p50, s", percentile(&at_risk, 0.5)),
        name("work lost with the node p99, s", percentile(&at_risk, 0.99)),
        name("agent memory p50, MiB", percentile(&memory, 0.5)),
        name("agent memory, most, MiB", percentile(&memory_peak, 1.0)),
        name("agent cpu, % of a core", per_agent(cpu)),
        name("operator cpu, cores", cpu_of_operator.as_secs_f64() / LINES.as_secs_f64()),
        name("size of the agent's program, MiB", agents.first().context("an agent")?.program_size()?),
    ];
    Run::of("lag", "LongTask", figures).record()?;
    // The operator has to let the pods go.
    delete_namespace(&local.client, NAMESPACE).await?;
    drop(operator);
    Ok(())
}

fn task_name(number: usize) -> String {
    format!("lag-{number}")
}

fn journal(number: usize) -> String {
    format!("lag-{number}.jsonl")
}

fn cpu_of(agents: &[Process]) -> Result<Duration> {
    agents.iter().map(|agent| agent.cpu()).sum()
}

/// How far each task was, and when, in the order in which that was seen.
type Seen = HashMap<String, Vec<(i64, Timestamp)>>;

/// When a watch has seen how far each task is, until this is dropped.
struct Sightings {
    seen: Arc<Mutex<Seen>>,
    watching: tokio::task::JoinHandle<()>,
}

impl Sightings {
    fn begin(load: &Load) -> Self {
        let seen = Arc::<Mutex<Seen>>::default();
        let api: kube::Api<LongTask> = kube::Api::namespaced(load.client.clone(), &load.namespace);
        let noted = Arc::clone(&seen);
        let watching = tokio::spawn(async move {
            let mut tasks = pin!(watcher(api, watcher::Config::default()).default_backoff().applied_objects());
            while let Some(task) = tasks.next().await {
                match task {
                    Ok(task) => {
                        let progress = task.status.as_ref().and_then(|status| status.progress.as_ref());
                        if let Some(completed) = progress.and_then(|progress| progress.completed) {
                            let mut seen = noted.lock().expect("no panic");
                            seen.entry(task.name_any()).or_default().push((completed, now()));
                        }
                    }
                    Err(error) => eprintln!("the watch of tasks: {error}"),
                }
            }
        });
        Self { seen, watching }
    }

    /// When a task was seen to have done that step, or a later one.
    fn of(&self, task: &str, step: i64) -> Option<Timestamp> {
        let seen = self.seen.lock().expect("no panic");
        seen.get(task)?.iter().find(|(completed, _)| *completed >= step).map(|(_, at)| *at)
    }

    /// The step that a task was known to have done at a moment: what it has done since is lost with its node.
    fn known_at(&self, task: &str, moment: Timestamp) -> i64 {
        let seen = self.seen.lock().expect("no panic");
        let before = seen.get(task).into_iter().flatten().rfind(|(_, at)| *at <= moment);
        before.map_or(0, |(completed, _)| *completed)
    }
}

impl Drop for Sightings {
    fn drop(&mut self) {
        self.watching.abort();
    }
}
