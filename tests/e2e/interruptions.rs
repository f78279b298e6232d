//! A pod that is taken away costs nothing but time.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::EvictParams};
use longtask::api::task::{LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};

use super::support::{Lab, PodExt, Task, manifest, story};

/// Says "done" by mistake when it is stopped, and leaves a checkpoint that nobody but its SIGTERM handler writes.
pub(crate) const EXITS_0_WHEN_STOPPED: [&str; 3] =
    ["--steps=6", "--step-time=1s", r#"term: checkpoint {"by": "SIGTERM handler"}; exit 0"#];

/// Starts the program, and returns when it has done two steps.
pub(crate) async fn two_steps_into<'a>(lab: &'a Lab, name: &str) -> Task<'a> {
    let task = lab.submit(manifest(name, &EXITS_0_WHEN_STOPPED)).await;
    task.journal().until_step(2, Duration::from_secs(20)).await;
    task
}

/// The next attempt got the checkpoint from the handler, the task went on to its end, and nothing else was counted.
pub(crate) async fn assert_only_interrupted(task: &Task<'_>, reason: &str) {
    let status = task.ends_as(Phase::Succeeded, 45).await;
    assert_eq!(ends(&status), [(Outcome::Interrupted, reason), (Outcome::Completed, "")]);
    assert_eq!(status.recent_attempts[1].exit_code, Some(0), "the program said that it was done");
    let received = task.journal().start_of(2);
    let checkpoint: Value = serde_json::from_str(&received.env["LONGTASK_CHECKPOINT"]).expect("JSON");
    assert_eq!(checkpoint, json!({ "by": "SIGTERM handler", "step": received.step }));
    assert_eq!(received.segment, 1, "an interruption does not end a segment");
    let stopped_at = task.journal().all("term")[0].time;
    println!("{}: the program ran again {:#} after its SIGTERM", task.name, received.time.duration_since(stopped_at));
    assert_eq!(task.journal().steps(), (1..=6).collect::<Vec<_>>());
    assert_eq!((status.totals.interruptions, status.totals.failures, status.retries), (1, 0, 0));
}

fn ends(status: &LongTaskStatus) -> Vec<(Outcome, &str)> {
    status.recent_attempts.iter().rev().map(|attempt| (attempt.outcome, attempt.reason.as_str())).collect()
}

#[tokio::test]
async fn exit_0_on_eviction_does_not_complete_the_task() {
    story(async |lab| {
        let task = two_steps_into(lab, "evicted").await;
        let pods: Api<Pod> = lab.api();
        pods.evict("evicted-1", &EvictParams::default()).await.expect("evict the pod");
        assert_only_interrupted(&task, "Evicted").await;
    })
    .await;
}

#[tokio::test]
async fn exit_0_on_kubectl_delete_pod_does_not_complete_the_task() {
    story(async |lab| {
        let task = two_steps_into(lab, "deleted").await;
        lab.kubectl_output(&["delete", "pod", "deleted-1", "--wait=false"]).await;
        assert_only_interrupted(&task, "Deleted").await;
    })
    .await;
}

#[tokio::test]
async fn a_program_that_says_done_while_it_is_evicted_is_done() {
    story(async |lab| {
        let says_done = r#"term: report {"result": {"early": true}, "done": true}; exit 0"#;
        let task = lab.submit(manifest("done", &["--steps=60", "--step-time=1s", says_done])).await;
        task.journal().until_step(1, Duration::from_secs(20)).await;
        lab.api::<Pod>().evict("done-1", &EvictParams::default()).await.expect("evict the pod");
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.result, status.totals.attempts), (Some(json!({ "early": true })), 1));
    })
    .await;
}

/// The API server would forget the pod at once; our finalizer keeps it until the kubelet has stopped it and its end is
/// counted.
#[tokio::test]
async fn a_pod_deleted_by_force_overlaps_with_nothing_and_is_counted_once() {
    story(async |lab| {
        let arguments = ["--steps=4", "--step-time=1s", "term: ignore", "attempt=1 before=3: sleep forever"];
        let task = lab.submit(manifest("forced", &arguments)).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        lab.kubectl_output(&["delete", "pod", "forced-1", "--force", "--grace-period=0", "--wait=false"]).await;
        let status = task.ends_as(Phase::Succeeded, 55).await;
        assert_eq!(ends(&status), [(Outcome::Interrupted, "Deleted"), (Outcome::Completed, "")]);
        assert_eq!(status.totals.interruptions, 1);
    })
    .await;
}

/// Somebody took our finalizer away, and with the object went its last report: the checkpoint in the status counts.
#[tokio::test]
async fn a_pod_that_vanished_while_the_operator_was_down_is_an_interruption() {
    story(async |lab| {
        let once =
            ["--steps=4", "--step-time=200ms", "segment=1 before=2: exit 75", "attempt=2 before=4: sleep forever"];
        let task = lab.submit(manifest("vanished", &once)).await;
        task.journal().until_step(3, Duration::from_secs(25)).await;
        task.until("attempt 2 runs", 10, |status| status.totals.attempts == 1 && status.phase == Some(Phase::Running))
            .await;
        lab.kill_operator().await;
        lab.kubectl_output(&["delete", "pod", "vanished-2", "--wait=false"]).await;
        task.until_pod(2, "has ended", 20, |pod| matches!(pod.phase(), "Succeeded" | "Failed")).await;
        let free = r#"[{"op": "remove", "path": "/metadata/finalizers"}]"#;
        lab.kubectl_output(&["patch", "pod", "vanished-2", "--type=json", "--patch", free]).await;
        let is_gone = |seen: &super::support::Sightings| seen.pods_of(&task.uid).nth(1)?.is_gone.then_some(());
        lab.until("it is gone", Duration::from_secs(10), is_gone).await;
        lab.start_operator();
        let status = task.ends_as(Phase::Succeeded, 30).await;
        let expected = [(Outcome::Yielded, ""), (Outcome::Interrupted, "Deleted"), (Outcome::Completed, "")];
        assert_eq!(ends(&status), expected);
        assert_eq!((status.totals.interruptions, status.totals.failures, status.retries), (1, 0, 0));
        assert_eq!(task.journal().start_of(3).step, 1, "from the checkpoint in the status");
    })
    .await;
}

/// Nothing is counted for an attempt whose pod somebody removed before it ran: the same segment goes on.
#[tokio::test]
async fn a_pod_deleted_before_it_ran_is_made_again() {
    story(async |lab| {
        let init = super::support::container("slow", &["--steps=0", "attempt=1: sleep forever"]);
        let mut slow = manifest("early", &["--steps=1", "--step-time=0"]);
        slow["spec"]["template"]["spec"]["initContainers"] = json!([init]);
        let task = lab.submit(slow).await;
        let init_runs = |pod: &Pod| pod.containers().any(|container| container.started == Some(true));
        task.until_pod(1, "runs its init container", 20, init_runs).await;
        lab.kubectl_output(&["delete", "pod", "early-1", "--wait=false"]).await;
        let status = task.ends_as(Phase::Succeeded, 45).await;
        assert_eq!(ends(&status), [(Outcome::Interrupted, "Deleted"), (Outcome::Completed, "")]);
        assert_eq!((status.segment, status.totals.start_failures), (1, 0));
    })
    .await;
}
