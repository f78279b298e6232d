//! B6: two minutes of work whose pod is evicted again and again, on the real kubelet: as a LongTask, as a Job that does not
//! count evictions as failures, with and without a volume for what it has done, and as a step that Argo tries again, with one.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures::future;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client, ResourceExt,
    api::{EvictParams, ListParams},
};
use serde_json::{Value, json};

use crate::{
    argo,
    figures::{Run, Writes, name},
    journals::Journals,
    load::Load,
    rig::{Local, delete_namespace, until},
};

const NAMESPACE: &str = "bench-evicted";
const JOURNAL: &str = "work.jsonl";
/// Of a second each.
const STEPS: usize = 120;
/// How long the program runs before each eviction, in seconds: drawn once, exponential with a mean of 20 s. Together less
/// than the work.
const UNTIL_EVICTED: [u64; 4] = [21, 6, 33, 12];

#[derive(Clone, Copy)]
enum Side {
    LongTask,
    JobWithVolume,
    Job,
    ArgoWithVolume,
}

impl Side {
    fn title(self) -> &'static str {
        match self {
            Self::LongTask => "LongTask",
            Self::JobWithVolume => "Job with a volume",
            Self::Job => "Job",
            Self::ArgoWithVolume => "Argo Workflows with a volume",
        }
    }

    async fn load(self, client: &Client) -> Result<Load> {
        match self {
            Self::LongTask => Load::of_tasks(client, NAMESPACE).await,
            Self::JobWithVolume | Self::Job => Load::of_jobs(client, NAMESPACE).await,
            Self::ArgoWithVolume => {
                let load = Load::of_workflows(client, NAMESPACE).await?;
                argo::let_pods_report(client, NAMESPACE).await?;
                Ok(load)
            }
        }
    }

    fn manifest(self, journals: &Journals) -> Value {
        let resume = match self {
            Self::LongTask => "report",
            Self::JobWithVolume | Self::ArgoWithVolume => "journal",
            Self::Job => "none",
        };
        let arguments = [format!("--steps={STEPS}"), format!("--resume={resume}")];
        let mut pod = journals.pod_spec(JOURNAL, &arguments.each_ref().map(String::as_str));
        if matches!(self, Self::ArgoWithVolume) {
            return argo::tried_again("work", &pod["containers"][0], &pod["volumes"]);
        }
        if matches!(self, Self::LongTask) {
            return json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "work" },
                "spec": { "template": { "spec": pod } },
            });
        }
        pod["restartPolicy"] = json!("Never");
        json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "work" },
            "spec": {
                "template": { "spec": pod },
                "podFailurePolicy": { "rules": [
                    { "action": "Ignore", "onPodConditions": [{ "type": "DisruptionTarget" }] },
                ] },
            },
        })
    }
}

/// All sides, one after the other.
pub(crate) async fn evicted(local: &Local) -> Result<()> {
    argo::install(&local.client).await?;
    let _controllers = [local.start_operator()?, local.start_argo()?];
    for side in [Side::LongTask, Side::JobWithVolume, Side::Job, Side::ArgoWithVolume] {
        measure(&local.client, side).await?;
    }
    Ok(())
}

async fn measure(client: &Client, side: Side) -> Result<()> {
    let load = side.load(client).await?;
    let journals = Journals::new()?;
    let manifest = side.manifest(&journals);
    let before = Writes::now(client).await?;
    let began = Instant::now();
    load.create(1, |_| manifest.clone()).await?;
    future::try_join(evict_again_and_again(client), load.until_ended(1, Duration::from_mins(20))).await?;
    let seconds = began.elapsed().as_secs_f64();
    let steps = journals.read(JOURNAL)?.into_iter().filter(|entry| entry.event == "step").count();
    let is_idle_noise = |what: &str| what.contains("leases") || what.contains("nodes");
    let writes = Writes::now(client).await?.since(&before);
    let pods = writes.get("POST pods").copied().unwrap_or_default();
    let writes: f64 = writes.iter().filter(|(what, _)| !is_idle_noise(what)).map(|(_, writes)| writes).sum();
    let figures = [
        name("work, s", STEPS as f64),
        name("evictions", UNTIL_EVICTED.len() as f64),
        name("from create to done, s", seconds),
        name("work done twice, s", steps.saturating_sub(STEPS) as f64),
        name("pods", pods),
        name("requests that wrote", writes),
    ];
    Run::of("evicted", side.title(), figures).record()?;
    delete_namespace(client, NAMESPACE).await
}

/// Evicts the pod that runs, each time after its own while.
async fn evict_again_and_again(client: &Client) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(client.clone(), NAMESPACE);
    for (evicted, while_) in UNTIL_EVICTED.into_iter().enumerate() {
        let mut running = None;
        until("a pod runs", Duration::from_mins(15), async || {
            running = pods.list(&ListParams::default()).await?.into_iter().find(runs).map(|pod| pod.name_any());
            Ok(running.is_some())
        })
        .await?;
        tokio::time::sleep(Duration::from_secs(while_)).await;
        let pod = running.context("it runs")?;
        println!("    {:>6} s into pod {}: evicted", while_, evicted + 1);
        pods.evict(&pod, &EvictParams::default()).await?;
    }
    Ok(())
}

fn runs(pod: &Pod) -> bool {
    let is_going = pod.metadata.deletion_timestamp.is_some();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    !is_going && phase == Some("Running")
}
