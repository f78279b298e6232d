//! Checkpoints that the agent keeps in an object store, on the real kubelet.

use std::time::Duration;

use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};

use super::support::{Change, Lab, PodExt, Store, Task, kill_all_of_pod, manifest, message_of, story_of_reports};

/// A live task that keeps trees of files in this store, and checks what it finds restored byte for byte.
fn keeps_files(name: &str, store: &Store, arguments: &[&str]) -> Value {
    let all: Vec<_> = ["--report=files", "--resume=files", "--step-time=1s"].iter().chain(arguments).copied().collect();
    manifest(name, &all).and(json!({ "spec": {
        "reporting": { "mode": "Live", "interval": "5s" },
        "checkpoint": { "store": store.settings() },
        "retry": { "budgets": { "failures": 0 } },
    } }))
}

/// The step that an attempt went on from.
fn resumed_at(task: &Task<'_>, attempt: i64) -> i64 {
    task.journal().start_of(attempt).step
}

async fn until_saved(lab: &Lab, store: &Store, saves: usize) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(90);
    while store.manifests().len() < saves {
        assert!(tokio::time::Instant::now() < deadline, "{saves} saves: {:?} in {}", store.keys(), lab.namespace);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The status names a checkpoint that the agent has stored.
async fn until_recorded(task: &Task<'_>, what: &str) -> LongTaskStatus {
    task.until(what, 40, |status| status.checkpoint.as_ref().is_some_and(|checkpoint| checkpoint.path.is_some())).await
}

#[tokio::test]
async fn a_program_that_is_killed_goes_on_from_what_was_saved_byte_for_byte() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let task = lab.submit(keeps_files("saved", &store, &["--steps=14"])).await;
        let recorded = until_recorded(&task, "a checkpoint is recorded").await.checkpoint.expect("recorded");
        assert!(recorded.uri.is_some_and(|uri| uri.ends_with("/manifest.json")) && recorded.size_bytes > Some(4096));
        let uid = task.pods()[0].latest().metadata.uid.clone().expect("stored objects have a UID");
        lab.kubectl_output(&["delete", "pod", &format!("{}-1", task.name), "--grace-period=1", "--wait=false"]).await;
        let status = task.ends_as(Phase::Succeeded, 120).await;
        assert_eq!(status.totals.interruptions, 1, "pod {uid}");
        assert!(resumed_at(&task, 2) >= 1, "it went on");
        assert_eq!(status.result, Some(json!({ "steps": 14 })));
    })
    .await;
}

#[tokio::test]
async fn a_store_that_hangs_is_shown_and_loses_nothing_and_is_waited_for_at_a_start() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let yields = "attempt=1 step=6: save; exit 75";
        let short = json!({ "spec": { "segment": { "startTimeout": "20s" } } });
        let task = lab.submit(keeps_files("hangs", &store, &["--steps=8", yields]).and(short)).await;
        until_recorded(&task, "a checkpoint is recorded").await;
        task.until("attempt 1 is counted", 60, |status| status.totals.attempts == 1).await;
        store.hang();
        let waiting = |status: &LongTaskStatus| status.reason == "StoreUnreachable";
        let status = task.until("the store is waited for", 120, waiting).await;
        assert_eq!((status.retries, status.phase), (0, Some(Phase::Waiting)));
        store.go_on();
        task.ends_as(Phase::Succeeded, 120).await;
    })
    .await;
}

#[tokio::test]
async fn an_object_that_was_overwritten_costs_one_checkpoint_and_all_of_them_the_task() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let rules = ["--steps=9", "attempt=1 step=6: save; exit 75", "attempt>1 before=8: wait /journal/go; exit 75"];
        let task = lab.submit(keeps_files("spoiled", &store, &rules)).await;
        task.until_pod(1, "has ended", 60, |pod| pod.phase() == "Succeeded" || pod.phase() == "Failed").await;
        let status = task.until("attempt 1 is counted", 30, |status| status.totals.attempts == 1).await;
        assert!(!status.checkpoint_history.is_empty(), "{status:?}");
        task.journal().until("attempt 2 runs", Duration::from_secs(60), |entry| entry.attempt == 2).await;
        for manifest in store.manifests().iter().rev().take(1) {
            store.overwrite(manifest);
        }
        lab.touch("go");
        let status = task.until("it fell back", 60, |status| status.totals.start_failures > 0).await;
        assert_eq!(status.last_failure.map(|failure| failure.reason).as_deref(), Some("CheckpointUnreadable"));
        for manifest in store.manifests() {
            store.overwrite(&manifest);
        }
        let failed = task.ends_as(Phase::Failed, 120).await;
        assert_eq!(failed.reason, "CheckpointUnreadable");
    })
    .await;
}

#[tokio::test]
async fn what_was_saved_while_the_operator_was_away_is_adopted() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let task =
            lab.submit(keeps_files("adopted", &store, &["--steps=10", "attempt=1 before=7: sleep forever"])).await;
        until_recorded(&task, "a checkpoint is recorded").await;
        lab.kill_operator().await;
        until_saved(lab, &store, 4).await;
        task.journal().until_step(6, Duration::from_secs(60)).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        kill_all_of_pod(task.pods()[0].latest().metadata.uid.as_deref().expect("stored objects have a UID"));
        lab.kubectl_output(&["delete", "pod", "adopted-1", "--grace-period=0", "--force", "--wait=false"]).await;
        lab.start_operator();
        lab.until_event_of(&task.name, "CheckpointAdopted").await;
        task.ends_as(Phase::Succeeded, 120).await;
        assert_eq!(resumed_at(&task, 2), 6);
    })
    .await;
}

#[tokio::test]
async fn a_link_that_leaves_the_directory_is_named_and_nothing_of_it_is_saved() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let rule = "step=2: escape /var/run/secrets/longtask; sleep 70s; ignore";
        let long = json!({ "spec": { "segment": { "duration": "5m" } } });
        let task = lab.submit(keeps_files("escapes", &store, &["--steps=4", rule]).and(long)).await;
        let shown = |status: &LongTaskStatus| {
            message_of(status, ConditionType::SaveFailing).is_some_and(|(reason, _)| reason == "LeavesDirectory")
        };
        task.until("it is named", 90, shown).await;
        assert!(store.keys().iter().all(|key| !key.contains("escape")), "{:?}", store.keys());
        task.ends_as(Phase::Succeeded, 120).await;
    })
    .await;
}

#[tokio::test]
async fn old_saves_are_deleted_and_those_that_the_status_names_are_kept() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let one = json!({ "spec": { "checkpoint": { "historyLimit": 1 } } });
        let task = lab.submit(keeps_files("tidy", &store, &["--steps=12", "--step-time=2s"]).and(one)).await;
        let status = task.ends_as(Phase::Succeeded, 120).await;
        assert_eq!(status.recent_attempts[0].outcome, Outcome::Completed);
        let kept = store.manifests();
        assert!(kept.len() <= 4, "{kept:?}");
        for named in status.checkpoint.iter().chain(&status.checkpoint_history) {
            let uri = named.uri.as_deref().expect("it is stored");
            assert!(kept.iter().any(|key| uri.ends_with(key)), "{uri} is not among {kept:?}");
        }
    })
    .await;
}
