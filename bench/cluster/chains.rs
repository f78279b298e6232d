//! B3: chains of segments: hand-over and writes per segment. B7: the same while the operator is killed every 10 s.

use std::time::{Duration, Instant};

use anyhow::Result;

use crate::{
    figures::{Run, Writes, name, percentile},
    load::{self, Load},
    operator,
    pods::Bystander,
    rig::Rig,
};

const NAMESPACE: &str = "bench-chains";
const SEGMENTS: usize = 20;
const KILLED_EVERY: Duration = Duration::from_secs(10);

pub(crate) async fn chains(rig: &Rig, count: usize, run: &str, is_killed: bool) -> Result<()> {
    let manager = rig.start_controller_manager(false)?;
    let load = Load::of_tasks(&rig.client, NAMESPACE).await?;
    let bystander = Bystander::of(&rig.client, NAMESPACE);
    let before = Writes::now(&rig.client).await?;
    let operator = rig.start_operator()?;
    let began = Instant::now();
    load.create(count, |number| load::chain(&format!("chain-{number}"), run, SEGMENTS)).await?;
    let ended = load.until_ended(count, Duration::from_mins(40));
    let mut kills = 0;
    let operator = if is_killed {
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
    let seconds = began.elapsed().as_secs_f64();
    let (attempts, doubled, hand_overs) = {
        let seen = bystander.seen.lock().expect("no panic");
        (seen.attempts(), seen.doubled(), seen.hand_overs())
    };
    let segments = (count * SEGMENTS) as f64;
    let mut figures = vec![
        name("tasks", count as f64),
        name("segments", segments),
        name("attempts", attempts as f64),
        name("attempts with two pods", doubled as f64),
        name("operator kills", f64::from(kills)),
        name("seconds", seconds),
        name("segments per second", segments / seconds),
        name("hand-over as a watch sees it p50, ms", percentile(&hand_overs, 0.5)),
        name("hand-over as a watch sees it p99, ms", percentile(&hand_overs, 0.99)),
        name("operator memory peak, MiB", operator.process().resident_peak()?),
    ];
    if !is_killed {
        let writes = operator::writes()? - operator::sum("longtask_api_requests_total", &["resource=\"events\""])?;
        figures.push(name("operator writes per segment, events aside", writes / segments));
        figures.push(name(
            "hand-over, operator's share p50 at most, ms",
            1000.0 * operator::histogram_bound("longtask_hand_over_seconds", 0.5)?,
        ));
        figures.push(name(
            "hand-over, operator's share p99 at most, ms",
            1000.0 * operator::histogram_bound("longtask_hand_over_seconds", 0.99)?,
        ));
        figures.push(name("operator cpu per segment, ms", 1000.0 * operator.process().cpu()?.as_secs_f64() / segments));
    }
    let writes = Writes::now(&rig.client).await?.since(&before);
    figures.extend(
        writes
            .into_iter()
            .filter(|(_, writes)| *writes >= 0.02 * segments)
            .map(|(what, writes)| (format!("{what}, per segment"), writes / segments)),
    );
    Run::of(if is_killed { "killed" } else { "chains" }, "LongTask", figures).record()?;
    super::rig::delete_namespace(&rig.client, NAMESPACE).await?;
    drop((manager, operator));
    Ok(())
}
