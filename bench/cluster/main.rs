//! Measures the operator on a control plane whose kubelet is kwok, beside what people use today.
//!
//! See bench/README.md. Every run is added to bench/results; `report` makes docs/benchmarks.md from them.

#![expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]

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
    /// How long each segment of a chain runs.
    #[arg(long, default_value = "10s")]
    run: String,
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
    let (with_kubelet, on_rig): (Vec<_>, Vec<_>) =
        arguments.scenarios.iter().partition(|scenario| matches!(scenario, Scenario::Evicted));
    if !with_kubelet.is_empty() {
        let local = rig::Local::up().await?;
        for run in 1..=arguments.runs {
            println!("run {run} of {}", arguments.runs);
            evicted::evicted(&local).await?;
        }
    }
    if on_rig.is_empty() {
        return Ok(());
    }
    let rig = rig::Rig::set_up().await?;
    for run in 1..=arguments.runs {
        for scenario in &on_rig {
            println!("run {run} of {}", arguments.runs);
            match scenario {
                Scenario::Queued => queued::tasks(&rig, arguments.count).await?,
                Scenario::QueuedJobs => queued::jobs(&rig, arguments.count).await?,
                Scenario::Chains => chains::chains(&rig, arguments.count, &arguments.run, false).await?,
                Scenario::Killed => chains::chains(&rig, arguments.count, &arguments.run, true).await?,
                Scenario::Live if run == 1 => live::live(&rig, arguments.count, arguments.runs).await?,
                Scenario::Waiting if run == 1 => live::waiting(&rig, arguments.count, arguments.runs).await?,
                Scenario::Live | Scenario::Waiting | Scenario::Evicted | Scenario::Report => {}
                Scenario::Start => live::start_of_a_task(&rig, arguments.count).await?,
            }
        }
    }
    Ok(())
}
