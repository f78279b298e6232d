//! Measures the operator on a control plane whose kubelet is kwok, beside what people use today.
//!
//! See bench/README.md. Every run is added to bench/results; `report` makes docs/benchmarks.md from them.

#![expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]

mod argo;
mod chains;
mod evicted;
mod figures;
mod live;
mod load;
mod operator;
mod pods;
mod queued;
mod report;
mod rig;

use anyhow::Result;
use clap::{Parser, ValueEnum};

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
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Scenario {
    /// Tasks that wait when the operator starts.
    Queued,
    /// Jobs that wait when their controller starts.
    QueuedJobs,
    /// Chains of 20 segments.
    Chains,
    /// The same as retries of Argo Workflows.
    ChainsArgo,
    /// The same, while the operator is killed every 10 s.
    Killed,
    /// Tasks that run.
    Live,
    /// Tasks that wait.
    Waiting,
    /// From a task to its pod.
    Start,
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
        arguments.scenarios.iter().copied().partition(|scenario| matches!(scenario, Scenario::Evicted));
    if !with_kubelet.is_empty() {
        let local = rig::Local::up().await?;
        for run in 1..=arguments.runs {
            println!("run {run} of {}", arguments.runs);
            evicted::evicted(&local).await?;
        }
    }
    for run in 1..=arguments.runs {
        for &scenario in &on_rig {
            if run > 1 && matches!(scenario, Scenario::Live | Scenario::Waiting) {
                continue; // all their runs are made with one population
            }
            println!("run {run} of {}", arguments.runs);
            on_a_rig_of_its_own(scenario, &arguments).await?;
        }
    }
    Ok(())
}

async fn on_a_rig_of_its_own(scenario: Scenario, arguments: &Arguments) -> Result<()> {
    let rig = rig::Rig::set_up().await?;
    let Arguments { count, runs, run, .. } = *arguments;
    match scenario {
        Scenario::Queued => queued::tasks(&rig, count).await,
        Scenario::QueuedJobs => queued::jobs(&rig, count).await,
        Scenario::Chains => chains::tasks(&rig, count, run, false).await,
        Scenario::ChainsArgo => chains::workflows(&rig, count, run).await,
        Scenario::Killed => chains::tasks(&rig, count, run, true).await,
        Scenario::Live => live::live(&rig, count, runs).await,
        Scenario::Waiting => live::waiting(&rig, count, runs).await,
        Scenario::Start => live::start_of_a_task(&rig, count).await,
        Scenario::Evicted | Scenario::Report => unreachable!("they need no rig"),
    }
}
