//! What a pod waits for before its program runs, which nobody tells but its silence, is shown; and the end says it too.

use std::time::Duration;

use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::{Change, Task, container, manifest, message_of, story};

fn one_start_of(seconds: u32) -> Value {
    json!({ "spec": {
        "segment": { "startTimeout": format!("{seconds}s"), "gracePeriod": "1s" },
        "retry": { "budgets": { "startFailures": 0 } },
    } })
}

fn in_pod(change: &Value) -> Value {
    json!({ "spec": { "template": { "spec": change } } })
}

/// Waits until that reason is shown, within 20 s; returns what is said.
async fn shown(task: &Task<'_>, reason: &str) -> String {
    let since = Instant::now();
    let blocked = |status: &LongTaskStatus| message_of(status, ConditionType::Blocked);
    let is_shown = |status: &LongTaskStatus| status.reason == reason && blocked(status).is_some();
    let status = task.until(&format!("{reason} is shown"), 20, is_shown).await;
    assert!(since.elapsed() < Duration::from_secs(20), "{:?}", since.elapsed());
    let totals = &status.totals;
    assert_eq!((totals.attempts, totals.start_failures, task.pods().len()), (0, 0, 1), "{totals:?}");
    blocked(&status).expect("just seen").1
}

/// The words of the failure, which the condition `Failed` says as well.
fn last_words(status: &LongTaskStatus) -> String {
    let words = status.last_failure.clone().expect("it is told").message;
    let (_, failed) = message_of(status, ConditionType::Failed).expect("it failed");
    let beginning: String = words.chars().take(100).collect();
    assert!(failed.contains(&beginning), "{failed}");
    words
}

#[tokio::test]
async fn a_scheduler_that_does_not_exist_is_named() {
    story(async |lab| {
        let scheduler = in_pod(&json!({ "schedulerName": "volcanoo" }));
        let task = lab.submit(manifest("unseen", &["--steps=1", "--step-time=0"]).and(scheduler)).await;
        let words = shown(&task, "NotScheduled").await;
        assert!(words.contains("volcanoo") && words.contains("schedulerName"), "{words}");
        task.change(json!({ "template": { "spec": { "schedulerName": null } } })).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.totals.attempts, status.totals.start_failures), (1, 0), "an edit mends it at once");
    })
    .await;
}

#[tokio::test]
async fn a_node_that_does_not_exist_is_named() {
    story(async |lab| {
        let node = in_pod(&json!({ "nodeName": "no-such-node" }));
        let task = lab.submit(manifest("nowhere", &["--steps=1"]).and(node)).await;
        let words = shown(&task, "NodeNotResponding").await;
        assert!(words.contains("no-such-node"), "{words}");
        // No kubelet will end it.
        lab.kubectl_output(&["delete", "pod", "nowhere-1", "--force", "--grace-period=0", "--wait=false"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_missing_secret_that_is_a_volume_is_told_while_it_is_waited_for_and_in_the_end() {
    story(async |lab| {
        let secret = json!({ "name": "credentials", "secret": { "secretName": "there-is-none" } });
        let mut wants = manifest("wants", &[]).and(one_start_of(13));
        wants["spec"]["template"]["spec"]["volumes"] = json!([secret]);
        wants["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
            json!([{ "name": "credentials", "mountPath": "/credentials" }]);
        let task = lab.submit(wants).await;
        let words = shown(&task, "NotReadyToStart").await;
        assert!(words.contains("volume") && words.contains("Secret"), "{words}");
        let status = task.ends_as(Phase::Failed, 30).await;
        let failure = status.last_failure.clone().expect("it is told");
        assert_eq!((failure.outcome, failure.reason.as_str()), (Outcome::StartFailed, "StartTimeout"));
        let words = last_words(&status);
        assert!(words.contains("volume") && !words.contains("could not be located"), "{words}");
    })
    .await;
}

#[tokio::test]
async fn an_init_container_that_does_not_end_is_named_when_the_start_is_given_up() {
    story(async |lab| {
        let init = json!({ "initContainers": [container("wait-for-db", &["start: sleep forever", "term: ignore"])] });
        let task = lab.submit(manifest("waits", &[]).and(one_start_of(8)).and(in_pod(&init))).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        let words = last_words(&status);
        assert!(words.contains("wait-for-db"), "{words}");
    })
    .await;
}

#[tokio::test]
async fn an_init_container_killed_for_memory_is_told_to_be() {
    story(async |lab| {
        let limit = json!({ "resources": { "limits": { "memory": "30Mi" } } });
        let init = container("fetch", &["start: allocate forever"]).and(limit);
        let init = in_pod(&json!({ "initContainers": [init] }));
        let task = lab.submit(manifest("greedy", &[]).and(one_start_of(60)).and(init)).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        let words = last_words(&status);
        assert!(words.contains("fetch") && words.contains("OOMKilled"), "{words}");
    })
    .await;
}

/// The kubelet says that a container runs only when its hook has ended; the program runs already.
#[tokio::test]
async fn a_program_whose_hook_takes_longer_than_a_start_may_has_started() {
    story(async |lab| {
        let mut hooked = manifest("hooked", &["start: sleep forever", "term: checkpoint; exit 75"]);
        let hook = ["/bin/program", "--report=none", "start: sleep 9s; exit 0"];
        hooked["spec"]["template"]["spec"]["containers"][0]["lifecycle"] =
            json!({ "postStart": { "exec": { "command": hook } } });
        let task = lab.submit(hooked.and(one_start_of(5))).await;
        let status = task.until("its first attempt has ended", 50, |status| !status.recent_attempts.is_empty()).await;
        let ended = &status.recent_attempts[0];
        assert_eq!((ended.outcome, ended.reason.as_str()), (Outcome::TimeLimit, "StartTimeout"), "{status:#?}");
        assert_eq!((status.totals.start_failures, status.consecutive.start_failures), (0, 0));
        assert_eq!(task.journal().all("start").first().map(|entry| entry.attempt), Some(1), "it ran");
    })
    .await;
}
