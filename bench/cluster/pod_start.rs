//! B10: what an agent adds to the start of a pod, on the real kubelet: the same task with and without it, in turn.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::{
    Api,
    api::{DeleteParams, PostParams},
};
use longtask::api::task::{LongTask, Phase};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    figures::{Run, name, now, percentile},
    journals::Journals,
    load::{self, Load},
    pods::Bystander,
    rig::{Local, delete_namespace, until},
};

const NAMESPACE: &str = "bench-pod-start";
/// How often each is done at the most.
pub(crate) const MOST: usize = 50;

pub(crate) async fn pod_start(local: &Local, count: usize) -> Result<()> {
    let operator = local.start_operator_with_reports().await?;
    let load = Load::of_tasks(&local.client, NAMESPACE).await?;
    let bystander = Bystander::of(&local.client, NAMESPACE);
    let journals = Journals::new()?;
    let (mut without, mut with) = (Vec::new(), Vec::new());
    for number in 0..count {
        // Neither is always the first.
        for is_live in if number % 2 == 0 { [false, true] } else { [true, false] } {
            let took = start(&load, &bystander, &journals, &format!("start-{number}-{is_live}"), is_live).await?;
            if is_live { &mut with } else { &mut without }.push(took);
        }
    }
    for all in [&mut without, &mut with] {
        all.sort_by(f64::total_cmp);
    }
    let figures = [
        name("tasks", count as f64),
        name("pod to the program's first line p50, s", percentile(&without, 0.5)),
        name("pod to the program's first line p90, s", percentile(&without, 0.9)),
        name("with an agent: pod to the program's first line p50, s", percentile(&with, 0.5)),
        name("with an agent: pod to the program's first line p90, s", percentile(&with, 0.9)),
        name("an agent adds p50, s", percentile(&with, 0.5) - percentile(&without, 0.5)),
        name("an agent adds p90, s", percentile(&with, 0.9) - percentile(&without, 0.9)),
    ];
    Run::of("pod-start", "LongTask", figures).record()?;
    // The operator has to let the pods go.
    delete_namespace(&local.client, NAMESPACE).await?;
    drop(operator);
    Ok(())
}

/// The seconds from the creation of a task's pod, as a watch sees it, to the first line of its program.
async fn start(load: &Load, bystander: &Bystander, journals: &Journals, task: &str, is_live: bool) -> Result<f64> {
    let pod = journals.pod_spec(task, &["--steps=1", "--step-time=0"]);
    let manifest = load::task_with(task, &json!({ "spec": pod }));
    let manifest = if is_live { load::live(manifest, 30) } else { manifest };
    let api: Api<LongTask> = Api::namespaced(load.client.clone(), NAMESPACE);
    api.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
    until("it is done", Duration::from_mins(5), async || {
        let status = api.get(task).await?.status;
        Ok(status.is_some_and(|status| status.phase == Some(Phase::Succeeded)))
    })
    .await?;
    let came = bystander.seen.lock().expect("no panic").first_of(task).context("it had a pod")?;
    let age = Instant::now().into_std().saturating_duration_since(came);
    let first_line = journals.read(task)?.into_iter().find(|entry| entry.event == "start").context("it started")?;
    let since_first_line = now().duration_since(first_line.time).as_secs_f64();
    api.delete(task, &DeleteParams::default()).await?;
    until("it is gone", Duration::from_mins(5), async || Ok(api.get_opt(task).await?.is_none())).await?;
    Ok(age.as_secs_f64() - since_first_line)
}
