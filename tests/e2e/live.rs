//! Programs that report while they run, through an agent beside them.

use std::{fs, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use longtask::api::task::{LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};

use super::support::{Change, PodExt, manifest, story_of_reports};

/// Reports are written every five seconds.
fn live() -> Value {
    json!({ "spec": { "reporting": { "mode": "Live", "interval": "5s" } } })
}

fn completed(status: &LongTaskStatus) -> i64 {
    status.progress.as_ref().and_then(|progress| progress.completed).unwrap_or(0)
}

#[tokio::test]
async fn progress_and_checkpoints_move_while_the_program_runs_and_not_more_often_than_is_wanted() {
    story_of_reports(async |lab| {
        let task = lab.submit(manifest("moves", &["--steps=50", "--step-time=1s"]).and(live())).await;
        let status = task.ends_as(Phase::Succeeded, 100).await;
        assert_eq!((status.totals.attempts, completed(&status)), (1, 50));
        let written: Vec<_> = task.writes().into_iter().filter(|(_, status)| status.totals.attempts == 0).collect();
        let mut seen: Vec<_> = written.iter().map(|(_, status)| completed(status)).filter(|steps| *steps > 0).collect();
        seen.dedup();
        println!("while it ran, the status said {seen:?} of 50 steps, in {} writes", written.len());
        assert!(seen.len() >= 7 && seen.is_sorted(), "{seen:?}");
        assert!(written.len() <= 14, "{}", written.len());
        assert!(written.iter().any(|(_, status)| status.checkpoint.is_some()));
    })
    .await;
}

#[tokio::test]
async fn an_agent_that_is_killed_loses_nothing_that_was_reported() {
    story_of_reports(async |lab| {
        let task = lab.submit(manifest("killed-agent", &["--steps=20", "--step-time=1s"]).and(live())).await;
        task.journal().until_step(5, Duration::from_secs(30)).await;
        kill_agent(task.pods()[0].latest().metadata.uid.as_deref().expect("stored objects have a UID"));
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!((status.totals.attempts, status.totals.failures, completed(&status)), (1, 0, 20));
        let agent = task.pods()[0].latest().status.clone().and_then(|status| status.init_container_statuses);
        let restarts = agent.unwrap_or_default().iter().map(|agent| agent.restart_count).sum::<i32>();
        assert_eq!(restarts, 1, "the kubelet has started it again");
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_was_away_for_a_whole_segment_goes_on_from_its_last_line() {
    story_of_reports(async |lab| {
        let change = json!({ "spec": { "segment": { "duration": "10s" } } });
        let task = lab.submit(manifest("away", &["--steps=15", "--step-time=1s"]).and(live()).and(change)).await;
        let deadline = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        task.until_pod(1, "has its deadline lowered", 30, |pod| deadline(pod).is_some_and(|seconds| seconds < 60))
            .await;
        lab.kill_operator().await;
        task.until_pod(1, "has ended", 60, |pod| pod.phase() == "Succeeded" || pod.phase() == "Failed").await;
        let done = task.journal().all("step").iter().map(|entry| entry.step).max().unwrap_or(0);
        lab.start_operator();
        let status = task.until("the segment is counted", 30, |status| status.totals.attempts == 1).await;
        assert_eq!((status.recent_attempts[0].outcome, completed(&status)), (Outcome::TimeLimit, done));
        task.ends_as(Phase::Succeeded, 60).await;
    })
    .await;
}

#[tokio::test]
async fn a_program_that_hangs_is_stopped_and_resumed_from_its_last_checkpoint() {
    story_of_reports(async |lab| {
        let change = json!({ "spec": { "segment": { "duration": "10m", "heartbeatTimeout": "30s" } } });
        let hangs = ["--steps=8", "--step-time=1s", "attempt=1 before=5: sleep forever"];
        let task = lab.submit(manifest("hangs", &hangs).and(live()).and(change)).await;
        let status = task.until("attempt 1 is counted", 80, |status| status.totals.attempts == 1).await;
        let ended = &status.recent_attempts[0];
        assert_eq!((ended.outcome, ended.reason.as_str()), (Outcome::Failed, "Hung"));
        let failure = status.last_failure.expect("it is told");
        assert!(failure.message.contains("heartbeatTimeout is 30s"), "{failure:?}");
        task.ends_as(Phase::Succeeded, 60).await;
        let resumed = task.journal().start_of(2).env.get("LONGTASK_CHECKPOINT").cloned();
        assert!(resumed.as_ref().is_some_and(|checkpoint| checkpoint.contains("\"step\":4")), "{resumed:?}");
    })
    .await;
}

#[tokio::test]
async fn a_result_that_only_an_agent_can_bring_arrives() {
    story_of_reports(async |lab| {
        let result = json!({ "result": { "data": "x".repeat(12_000) }, "done": true });
        let rule = format!("end: report {result}; ignore; exit 0");
        let task = lab.submit(manifest("large", &["--steps=2", "--step-time=1s", &rule]).and(live())).await;
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(status.result.map(|result| result["data"].as_str().map(str::len)), Some(Some(12_000)));
        assert_eq!(status.totals.attempts, 1);
    })
    .await;
}

/// Ends the agent of a pod as a lack of memory would.
fn kill_agent(pod_uid: &str) {
    let mut killed = 0;
    for process in fs::read_dir("/proc").expect("a Linux machine").flatten() {
        let read = |file: &str| fs::read_to_string(process.path().join(file)).unwrap_or_default();
        if read("comm").trim() == "longtask-agent" && read("cgroup").contains(pod_uid) {
            let id = process.file_name().to_string_lossy().into_owned();
            killed += usize::from(
                std::process::Command::new("kill").args(["-KILL", &id]).status().is_ok_and(|s| s.success()),
            );
        }
    }
    assert_eq!(killed, 1, "the agent of pod {pod_uid} runs on this machine");
}
