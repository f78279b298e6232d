//! Programs that report while they run, through an agent beside them.

mod agent;
mod hang;
mod last_words;
mod server;

use std::{env, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use longtask::api::task::LongTaskStatus;
use serde_json::{Value, json};

use super::support::Task;

/// Reports are written every five seconds, and no time limit ends the program meanwhile.
pub(crate) fn live() -> Value {
    json!({ "spec": { "reporting": { "mode": "Live", "interval": "5s" }, "segment": { "duration": "10m" } } })
}

/// The shortest silence for which a program can be called hung.
const SILENCE: Duration = Duration::from_secs(30);

/// Likewise, and a program that is silent for half a minute has hung.
pub(crate) fn watched() -> Value {
    let mut live = live();
    live["spec"]["segment"]["heartbeatTimeout"] = json!("30s");
    live
}

/// For how long something is cut off that must not matter: longer than a program may be silent, and than its agent then waits
/// with saying so. Whoever took silence for a hang would have done so by then. `LONGTASK_E2E_CUT` says otherwise, in seconds.
pub(crate) fn length_of_a_cut() -> Duration {
    let given = env::var("LONGTASK_E2E_CUT").ok().and_then(|seconds| seconds.parse().ok());
    given.map_or(SILENCE * 5 / 4, Duration::from_secs)
}

/// How much is done, as the status says.
pub(crate) fn completed(status: &LongTaskStatus) -> i64 {
    status.progress.as_ref().and_then(|progress| progress.completed).unwrap_or(0)
}

/// Waits until the status says that so much is done.
pub(crate) async fn until_completed(task: &Task<'_>, steps: i64, seconds: u64) -> LongTaskStatus {
    task.until(&format!("{steps} steps are done"), seconds, |status| completed(status) >= steps).await
}

fn uid(pod: &Pod) -> &str {
    pod.metadata.uid.as_deref().expect("stored objects have one")
}

/// How often the agent of a pod was started again.
fn restarts_of_agent(pod: &Pod) -> i32 {
    let init = pod.status.iter().flat_map(|status| status.init_container_statuses.iter().flatten());
    init.filter(|container| container.name == "longtask-agent").map(|agent| agent.restart_count).sum()
}
