//! B3: chains of segments: hand-over and writes per segment, also with an agent in each pod, and as retries of Argo
//! Workflows. B7: the same while the operator is killed every 10 s.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    argo,
    figures::{Run, Writes, name, percentile},
    load::{self, Load},
    operator,
    pods::Bystander,
    rig::{Rig, Running},
};

const NAMESPACE: &str = "bench-chains";
const SEGMENTS: usize = 20;
/// What `--live-writes` is by default.
const LIVE_WRITES: u32 = 50;
const KILLED_EVERY: Duration = Duration::from_secs(10);
/// How long all chains may take.
const LIMIT: Duration = Duration::from_hours(1);

/// What is special about chains.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Chains {
    /// Nothing.
    Plain,
    /// Each pod has an agent, which kwok plays: it never posts.
    Live,
    /// The operator is killed again and again.
    Killed,
}

pub(crate) async fn tasks(rig: &Rig, count: usize, run: u32, chains: Chains) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    let started = Started::now(rig).await?;
    let operator = match chains {
        Chains::Live => rig.start_operator_with_reports(LIVE_WRITES).await?,
        Chains::Plain | Chains::Killed => rig.start_operator()?,
    };
    let run = load::about(run);
    let chain = |number: usize| {
        let chain = load::chain(&format!("chain-{number}"), &run, SEGMENTS);
        if chains == Chains::Live { load::live(chain, 30) } else { chain }
    };
    load.create(count, chain).await?;
    let ended = load.until_ended(count, LIMIT);
    let mut kills = 0;
    let operator = if chains == Chains::Killed {
        let mut operator = Some(operator);
        let mut ended = std::pin::pin!(ended);
        while let Err(_elapsed) = tokio::time::timeout(KILLED_EVERY, &mut ended).await {
            operator.take().expect("one runs").kill();
            operator = Some(rig.start_operator()?);
            kills += 1;
        }
        operator.expect("one runs")
    } else {
        ended.await?;
        operator
    };
    let mut figures = started.until_now(rig, count, &operator).await?;
    figures.push(name("operator kills", f64::from(kills)));
    if chains == Chains::Killed {
        figures.retain(|(name, _)| !name.starts_with("controller")); // those of the last of many
    } else {
        let segments = (count * SEGMENTS) as f64;
        let writes = operator::writes()? - operator::sum("longtask_api_requests_total", &["resource=\"events\""])?;
        figures.push(name("operator writes per segment, events aside", writes / segments));
        for (share, title) in [(0.5, "p50"), (0.99, "p99")] {
            let bound = operator::histogram_bound("longtask_hand_over_seconds", share)?;
            figures.push(name(&format!("hand-over, operator's share {title} at most, ms"), 1000.0 * bound));
        }
    }
    let (scenario, side) = match chains {
        Chains::Plain => ("chains", "LongTask"),
        Chains::Live => ("chains", "LongTask with an agent"),
        Chains::Killed => ("killed", "LongTask"),
    };
    Run::of(scenario, side, figures).record()?;
    drop((manager, operator));
    Ok(())
}

/// The same as workflows whose step is tried again.
pub(crate) async fn workflows(rig: &Rig, count: usize, run: u32) -> Result<()> {
    argo::install(&rig.client).await?;
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_workflows(&rig.client, NAMESPACE).await?;
    let started = Started::now(rig).await?;
    let controller = rig.start_argo()?;
    let run = load::about(run);
    load.create(count, |number| argo::chain(&format!("chain-{number}"), &run, SEGMENTS)).await?;
    load.until_ended(count, LIMIT).await?;
    let figures = started.until_now(rig, count, &controller).await?;
    Run::of("chains", "Argo Workflows", figures).record()?;
    drop((manager, controller));
    Ok(())
}

/// What is counted from a start.
struct Started {
    bystander: Bystander,
    writes: Writes,
    cpu: Duration,
    at: Instant,
}

impl Started {
    async fn now(rig: &Rig) -> Result<Self> {
        let bystander = Bystander::of(&rig.client, NAMESPACE);
        let writes = Writes::now(&rig.client).await?;
        Ok(Self { bystander, writes, cpu: Rig::cpu_of_control_plane()?, at: Instant::now() })
    }

    async fn until_now(&self, rig: &Rig, count: usize, controller: &Running) -> Result<Vec<(String, f64)>> {
        let seconds = self.at.elapsed().as_secs_f64();
        let segments = (count * SEGMENTS) as f64;
        let per_segment = |used: Duration| 1000.0 * used.as_secs_f64() / segments;
        let mut figures = vec![
            name("tasks", count as f64),
            name("segments", segments),
            name("seconds", seconds),
            name("segments per second", segments / seconds),
            name("controller memory peak, MiB", controller.process().resident_peak()?),
            name("controller cpu per segment, ms", per_segment(controller.process().cpu()?)),
            name(
                "API server and etcd cpu per segment, ms",
                per_segment(Rig::cpu_of_control_plane()?.saturating_sub(self.cpu)),
            ),
        ];
        {
            let seen = self.bystander.seen.lock().expect("no panic");
            let hand_overs = seen.hand_overs();
            figures.extend([
                name("attempts", seen.attempts() as f64),
                name("attempts with two pods", seen.doubled() as f64),
                name("hand-over as a watch sees it p50, ms", percentile(&hand_overs, 0.5)),
                name("hand-over as a watch sees it p99, ms", percentile(&hand_overs, 0.99)),
            ]);
        }
        let writes = Writes::now(&rig.client).await?.since(&self.writes);
        figures.extend(
            writes
                .into_iter()
                .filter(|(_, writes)| *writes >= 0.02 * segments)
                .map(|(what, writes)| (format!("{what}, per segment"), writes / segments)),
        );
        Ok(figures)
    }
}
