//! B8: ten thousand programs that report while they run: what their agents' posts cost, how often the status is written for
//! them, and what it costs when they have nothing to say.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::json;

use crate::{
    agents::{Agents, Counted, Have},
    figures::{Run, name, percentile},
    load::{self, Load},
    operator,
    rig::{Rig, Running, until},
};

const NAMESPACE: &str = "bench-reports";
/// `reporting.interval`, in seconds.
const INTERVAL: u32 = 30;
/// How long nobody takes posts between two operators.
const OUTAGE: Duration = Duration::from_secs(30);
/// How long silence is watched.
const SILENCE: Duration = Duration::from_mins(1);
/// In how long a stretch the busiest is looked for.
const STRETCH: Duration = Duration::from_secs(10);

pub(crate) async fn reports(rig: &Rig, count: usize, live_writes: u32) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    let operator = rig.start_operator_with_reports(live_writes).await?;
    let agents = Agents::of(&rig.client, NAMESPACE, count);
    load.create(count, |number| load::live(load::task_of(&format!("reports-{number}"), &json!({})), INTERVAL)).await?;
    until("all are heard", Duration::from_mins(40), async || {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(operator::sum("longtask_live_pods", &[])? >= count as f64)
    })
    .await?;
    println!("    all {count} are heard; {:.0} MiB", operator.process().resident()?);
    tell(&agents.counted());

    // In that time each is written once.
    let round = Duration::from_secs(u64::from(INTERVAL.max(u32::try_from(count)?.div_ceil(live_writes))));
    let with_news = Stretches::of(&operator, round).await?;
    let posts = agents.counted();
    tell(&posts);
    let memory_peak = operator.process().resident_peak()?;
    operator.kill();
    tokio::time::sleep(OUTAGE).await;
    let operator = rig.start_operator_with_reports(live_writes).await?;
    until("the operator is ready", Duration::from_mins(5), async || Ok(operator::is_ready())).await?;
    let restarted = Stretches::of(&operator, round).await?;
    tell(&agents.counted());
    let memory = operator.process().resident()?;

    agents.have(Have::Nothing);
    until("all news are written", round * 2, async || Ok(Stretches::of(&operator, STRETCH).await?.status_writes < 1.0))
        .await?;
    let writes = writes()?;
    let without_news = Stretches::of(&operator, SILENCE).await?;
    let writes = self::writes()? - writes;
    agents.have(Have::NothingEvery(Duration::from_secs(INTERVAL.into())));
    tokio::time::sleep(Duration::from_secs(INTERVAL.into())).await;
    let every_interval = Stretches::of(&operator, SILENCE).await?;
    tell(&agents.counted());

    let mut took = posts.took;
    took.sort_by(f64::total_cmp);
    let mut figures = vec![
        name("tasks", count as f64),
        name("memory, MiB", memory),
        name("memory peak, MiB", memory_peak.max(operator.process().resident_peak()?)),
        name("a post takes p50, ms", percentile(&took, 0.5)),
        name("a post takes p99, ms", percentile(&took, 0.99)),
        name("posts that resume TLS, %", 100.0 * posts.resumed as f64 / took.len() as f64),
        name("without news: writes in a minute", writes),
        name("every 30 s whatever is answered: cpu per post, ms", 1000.0 * every_interval.cpu / every_interval.posts),
    ];
    figures.extend(with_news.figures("with news"));
    figures.extend(restarted.figures("after a restart"));
    figures.extend(without_news.figures("without news"));
    figures.extend(every_interval.figures("every 30 s whatever is answered"));
    Run::of("reports", "LongTask", figures).record()?;
    drop((manager, operator));
    Ok(())
}

/// Says why posts were not taken.
fn tell(counted: &Counted) {
    for (words, times) in &counted.failures {
        println!("    {times} posts: {words}");
    }
}

/// Requests of the operator that wrote. A review of a token writes nothing.
fn writes() -> Result<f64> {
    Ok(operator::writes()? - operator::sum("longtask_api_requests_total", &["resource=\"tokenreviews\""])?)
}

fn status_writes() -> Result<f64> {
    operator::sum("longtask_api_requests_total", &["resource=\"longtasks/status\""])
}

fn posts() -> Result<f64> {
    operator::sum("longtask_reports_total", &["result=\"accepted\""])
}

/// What an operator does in a while.
struct Stretches {
    seconds: f64,
    status_writes: f64,
    /// The most in ten seconds, per second.
    busiest: f64,
    posts: f64,
    /// In seconds.
    cpu: f64,
    cpu_of_control_plane: f64,
}

impl Stretches {
    async fn of(operator: &Running, lasts: Duration) -> Result<Self> {
        let began = Instant::now();
        let (written, posted) = (status_writes()?, posts()?);
        let (cpu, cpu_of_control_plane) = (operator.process().cpu()?, Rig::cpu_of_control_plane()?);
        let (mut busiest, mut before) = (0.0_f64, (began, written));
        while began.elapsed() < lasts {
            tokio::time::sleep(STRETCH.min(lasts.saturating_sub(began.elapsed()))).await;
            let now = (Instant::now(), status_writes()?);
            busiest = busiest.max((now.1 - before.1) / (now.0 - before.0).as_secs_f64());
            before = now;
        }
        Ok(Self {
            seconds: began.elapsed().as_secs_f64(),
            status_writes: status_writes()? - written,
            busiest,
            posts: posts()? - posted,
            cpu: operator.process().cpu()?.saturating_sub(cpu).as_secs_f64(),
            cpu_of_control_plane: Rig::cpu_of_control_plane()?.saturating_sub(cpu_of_control_plane).as_secs_f64(),
        })
    }

    fn figures(&self, when: &str) -> [(String, f64); 5] {
        let Self { seconds, status_writes, busiest, posts, cpu, cpu_of_control_plane } = self;
        [
            name(&format!("{when}: status writes per second"), status_writes / seconds),
            name(&format!("{when}: status writes per second, busiest 10 s"), *busiest),
            name(&format!("{when}: posts per second"), posts / seconds),
            name(&format!("{when}: cpu, cores"), cpu / seconds),
            name(&format!("{when}: API server and etcd cpu, cores"), cpu_of_control_plane / seconds),
        ]
    }
}
