//! Measures the operator on a control plane whose kubelet is kwok, beside what people use today.
//!
//! See bench/README.md. Every run is added to bench/results; `report` makes docs/benchmarks.md from them.

#![expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod agents;
mod argo;
mod chains;
mod evicted;
mod figures;
mod journals;
mod lag;
mod live;
mod load;
mod operator;
mod places;
mod pod_start;
mod pods;
mod queued;
mod report;
mod reports;
mod rig;
mod sets;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use crate::{chains::Chains, live::Started};

/// What is asked of the benchmark.
#[derive(Parser)]
struct Arguments {
    /// What to measure.
    scenarios: Vec<Scenario>,
    /// How often.
    #[arg(long, default_value = "1")]
    runs: usize,
    /// How many objects.
    #[arg(long, default_value = "5000")]
    count: usize,
    /// How long each segment of a chain runs, in seconds, and half as long again: something between the two.
    #[arg(long, default_value = "20")]
    run: u32,
    /// How many statuses the operator may write for reports in a second. 200 tasks with one are written as seldom as 10,000
    /// with 50.
    #[arg(long, default_value = "50")]
    live_writes: u32,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// Tasks that wait when the operator starts.
    Queued,
    /// The same in a queue.
    QueuedAdmitted,
    /// The same without a queue, as many at a time.
    QueuedAtATime,
    /// Jobs that wait when their controller starts.
    QueuedJobs,
    /// Chains of 20 segments.
    Chains,
    /// The same with agents in their pods.
    ChainsLive,
    /// The same as retries of Argo Workflows.
    ChainsArgo,
    /// The same, while the operator is killed every 10 s.
    Killed,
    /// Tasks that run.
    Live,
    /// Tasks that wait.
    Waiting,
    /// Tasks that wait in a queue.
    QueueWaiting,
    /// Members of a set that run.
    Members,
    /// From a task to its pod.
    Start,
    /// The same, where the task names a template only.
    StartThin,
    /// The same as `start` with a queue that has places.
    StartQueued,
    /// Tasks that follow each other in the places of a queue.
    Places,
    /// Breakers that open, one after the other: at most 50.
    Breaker,
    /// Programs that report while they run.
    Reports,
    /// One set of many members.
    Sets,
    /// The same, while the operator is killed every 5 s.
    SetsKilled,
    /// The same as an Indexed Job.
    SetsJob,
    /// The same as a workflow of Argo with a step for each item of a list.
    SetsArgo,
    /// From a line in the report file to the status, on the real kubelet: at most 100 programs.
    Lag,
    /// From a pod to its program with and without an agent, on the real kubelet: at most 50 of each.
    PodStart,
    /// Work that is evicted again and again, on the real kubelet, beside the same as a Job.
    Evicted,
    /// None: writes docs/benchmarks.md.
    Report,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if arguments.scenarios.iter().any(|scenario| matches!(scenario, Scenario::Report)) {
        return report::report();
    }
    let (with_kubelet, on_rig): (Vec<Scenario>, Vec<Scenario>) =
        arguments.scenarios.iter().copied().partition(|scenario| scenario.needs_kubelet());
    if !with_kubelet.is_empty() {
        let local = rig::Local::up().await?;
        for run in 1..=arguments.runs {
            for &scenario in &with_kubelet {
                println!("run {run} of {}", arguments.runs);
                with_the_kubelet(scenario, &local, arguments.count).await?;
            }
        }
    }
    for run in 1..=arguments.runs {
        for &scenario in &on_rig {
            if run > 1 && scenario.has_one_population() {
                continue;
            }
            println!("run {run} of {}", arguments.runs);
            on_a_rig_of_its_own(scenario, &arguments).await?;
        }
    }
    Ok(())
}

impl Scenario {
    /// Whether it is of real pods.
    fn needs_kubelet(self) -> bool {
        matches!(self, Self::Evicted | Self::Lag | Self::PodStart)
    }

    /// Whether all its runs are made with the same objects.
    fn has_one_population(self) -> bool {
        matches!(self, Self::Live | Self::Waiting | Self::QueueWaiting | Self::Members)
    }
}

async fn with_the_kubelet(scenario: Scenario, local: &rig::Local, count: usize) -> Result<()> {
    match scenario {
        Scenario::Lag => lag::lag(local, count.min(lag::MOST)).await,
        Scenario::PodStart => pod_start::pod_start(local, count.min(pod_start::MOST)).await,
        _ => evicted::evicted(local).await,
    }
}

async fn on_a_rig_of_its_own(scenario: Scenario, arguments: &Arguments) -> Result<()> {
    let rig = rig::Rig::set_up().await?;
    let Arguments { count, runs, run, live_writes, .. } = *arguments;
    match scenario {
        Scenario::Queued => queued::tasks(&rig, count).await,
        Scenario::QueuedAdmitted => queued::admitted(&rig, count).await,
        Scenario::QueuedAtATime => queued::at_a_time(&rig, count).await,
        Scenario::QueuedJobs => queued::jobs(&rig, count).await,
        Scenario::Chains => chains::tasks(&rig, count, run, Chains::Plain).await,
        Scenario::ChainsLive => chains::tasks(&rig, count, run, Chains::Live).await,
        Scenario::ChainsArgo => chains::workflows(&rig, count, run).await,
        Scenario::Killed => chains::tasks(&rig, count, run, Chains::Killed).await,
        Scenario::Live => live::live(&rig, count, runs).await,
        Scenario::Waiting => live::waiting(&rig, count, runs).await,
        Scenario::QueueWaiting => live::queue_waiting(&rig, count, runs).await,
        Scenario::Members => live::members(&rig, count, runs).await,
        Scenario::Start => live::start_of_a_task(&rig, count, Started::Whole).await,
        Scenario::StartThin => live::start_of_a_task(&rig, count, Started::Thin).await,
        Scenario::StartQueued => live::start_of_a_task(&rig, count, Started::Queued).await,
        Scenario::Places => places::change_hands(&rig, count).await,
        Scenario::Breaker => places::breaker(&rig, count.min(places::MOST_BREAKERS)).await,
        Scenario::Reports => reports::reports(&rig, count, live_writes).await,
        Scenario::Sets => sets::set(&rig, count).await,
        Scenario::SetsKilled => sets::killed(&rig, count).await,
        Scenario::SetsJob => sets::job(&rig, count).await,
        Scenario::SetsArgo => sets::workflow(&rig, count).await,
        Scenario::Evicted | Scenario::Lag | Scenario::PodStart | Scenario::Report => {
            unreachable!("they need no rig")
        }
    }
}
