//! Checkpoints that the agent keeps in an object store, on the real kubelet.

use std::{env, fs, time::Duration};

use k8s_openapi::{
    api::core::v1::{ContainerStatus, Pod},
    jiff::{SignedDuration, Timestamp},
};
use kube::{
    api::{DeleteParams, Patch, PatchParams},
    runtime::{conditions, wait::await_condition},
};
use longtask::api::task::{ConditionType, LongTask, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::support::{
    Change, Entry, Lab, PodExt, Save, Store, Task, kill_all_of_pod, manifest, message_of, story_of_reports,
};

/// A live task that keeps trees of files in this store, and checks what it finds restored byte for byte.
fn keeps_files(name: &str, store: &Store, arguments: &[&str]) -> Value {
    let all: Vec<_> = ["--report=files", "--resume=files"].iter().chain(arguments).copied().collect();
    manifest(name, &all).and(json!({ "spec": {
        "reporting": { "mode": "Live", "interval": "5s" },
        "segment": { "duration": "10m" },
        "checkpoint": { "store": store.settings() },
        "retry": { "budgets": { "failures": 0 } },
    } }))
}

/// The path of the newest checkpoint that the status names.
fn path(status: &LongTaskStatus) -> Option<&str> {
    status.checkpoint.as_ref()?.path.as_deref()
}

async fn until_recorded(task: &Task<'_>, wanted: &str) -> LongTaskStatus {
    task.until(&format!("{wanted} is recorded"), 40, |status| path(status) == Some(wanted)).await
}

/// The step that an attempt went on from.
fn resumed_at(task: &Task<'_>, attempt: i64) -> i64 {
    task.journal().start_of(attempt).step
}

/// The first pod's machine is lost: all its processes die, and it is given up.
async fn lose_first_pod(lab: &Lab, task: &Task<'_>) {
    kill_all_of_pod(task.pods()[0].latest().metadata.uid.as_deref().expect("stored objects have one"));
    let pods = lab.api::<Pod>();
    let force = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    pods.delete(&format!("{}-1", task.name), &force).await.expect("delete the pod");
}

fn newest_complete(saves: &[Save]) -> Option<&Save> {
    saves.iter().rfind(|save| save.is_complete)
}

// === saved, and brought back

#[tokio::test]
async fn a_machine_that_is_lost_in_mid_save_costs_that_save_and_the_one_before_comes_back_byte_for_byte() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let task = lab.submit(keeps_files("torn", &store, &["--steps=8", "--step-time=2s", "--size=64Mi"])).await;
        let is_torn = |saves: &[Save]| {
            saves.iter().any(|save| save.is_complete) && saves.last().is_some_and(|save| !save.is_complete)
        };
        store.until("a save is under way", Duration::from_mins(1), is_torn).await;
        store.hang();
        lose_first_pod(lab, &task).await;
        store.go_on();
        let saves = store.saves();
        let torn = saves.last().expect("just seen");
        assert!(!torn.is_complete, "it was not finished in between");
        let before = store.path_of(newest_complete(&saves).expect("just seen"));
        task.journal().until("it resumes", Duration::from_mins(1), |entry| entry.attempt == 2).await;
        assert_eq!(format!("step-{}", resumed_at(&task, 2)), before);
        let status = task.ends_as(Phase::Succeeded, 90).await;
        assert_eq!((status.totals.interruptions, status.totals.failures), (1, 0));
        assert_eq!(status.result, Some(json!({ "steps": 8 })));
    })
    .await;
}

#[tokio::test]
async fn what_was_saved_while_the_operator_was_away_is_adopted() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let rules = [
            "--steps=8",
            "--step-time=1s",
            "attempt=1 before=3: wait /journal/away",
            "attempt=1 before=7: sleep forever",
        ];
        let task = lab.submit(keeps_files("adopted", &store, &rules)).await;
        until_recorded(&task, "step-2").await;
        lab.kill_operator().await;
        lab.touch("away");
        let is_saved = |saves: &[Save]| newest_complete(saves).is_some_and(|save| store.path_of(save) == "step-6");
        store.until("step 6 is saved", Duration::from_mins(1), is_saved).await;
        lose_first_pod(lab, &task).await;
        // The kubelet of a lost node would not tell how its containers ended.
        let held = json!({ "metadata": { "finalizers": null } });
        let pods = lab.api::<Pod>();
        pods.patch("adopted-1", &PatchParams::default(), &Patch::Merge(&held)).await.expect("let the pod go");
        lab.start_operator();
        lab.until_event_of("adopted", "CheckpointAdopted").await;
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(resumed_at(&task, 2), 6);
        let recorded = status.checkpoint_history.iter().filter_map(|earlier| earlier.path.as_deref());
        assert!(recorded.clone().any(|path| path == "step-6"), "{:?}", recorded.collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn what_a_rollback_dropped_is_not_adopted() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let poison =
            json!([{ "name": "poison", "onExitCodes": { "operator": "In", "values": [65] }, "action": "Rollback" }]);
        let waits = ["attempt=1 before=2: wait /journal/one", "attempt=1 before=4: wait /journal/go; exit 65"];
        let rules = ["--steps=6", "--step-time=1s", waits[0], waits[1]];
        let policy = json!({ "failurePolicy": { "rules": poison }, "retry": { "budgets": { "failures": 1 } } });
        let task = keeps_files("dropped", &store, &rules).and(json!({ "spec": policy }));
        let task = lab.submit(task).await;
        until_recorded(&task, "step-1").await;
        lab.touch("one");
        until_recorded(&task, "step-3").await;
        lab.touch("go");
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(resumed_at(&task, 2), 1, "steps 2 and 3 were in the store all the time");
        assert_eq!(status.checkpoint_epoch, 2);
    })
    .await;
}

/// When a container began that runs or has ended.
fn began(container: &ContainerStatus) -> Option<Timestamp> {
    let state = container.state.as_ref()?;
    let running = state.running.as_ref().and_then(|running| running.started_at.as_ref());
    let ended = state.terminated.as_ref().and_then(|ended| ended.started_at.as_ref());
    running.or(ended).map(|time| time.0)
}

/// How large the tree is that must come back before a short segment begins.
fn large() -> String {
    env::var("LONGTASK_E2E_TREE").unwrap_or_else(|_| "256Mi".into())
}

#[tokio::test]
async fn a_large_checkpoint_is_saved_after_an_exit_and_brought_back_without_a_second_of_the_slice() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let size = format!("--size={}", large());
        let rules = [
            &size,
            "--steps=100",
            "--step-time=1s",
            "step: ignore",
            "attempt=1 before=3: save; exit 75",
            "attempt=2 term: exit 75",
        ];
        let short =
            json!({ "spec": { "segment": { "duration": "10s", "gracePeriod": "60s", "startTimeout": "10m" } } });
        let task = lab.submit(keeps_files("large", &store, &rules).and(short)).await;
        let is_stopped = |entry: &Entry| entry.attempt == 2 && entry.event == "term";
        let stopped = task.journal().until("its slice ends", Duration::from_mins(2), is_stopped).await;
        assert_eq!(resumed_at(&task, 2), 2);
        // Not from the program's first word: it has checked what it found restored before.
        let pods = task.pods();
        let main = pods[1].latest().containers().find(|one| one.name == "main");
        let began = main.and_then(began).expect("it has run");
        let slice = stopped.time.duration_since(began);
        println!("the program had {slice:#} of its 10 s, with {} restored before", large());
        assert!(slice >= SignedDuration::from_secs(9), "{slice:#}");
    })
    .await;
}

// === a store that fails

/// For how much longer the store stays away when it is waited for, and how long a start may take. `LONGTASK_E2E_AWAY` says
/// otherwise, in seconds.
fn away() -> (Duration, &'static str) {
    match env::var("LONGTASK_E2E_AWAY").ok().and_then(|seconds| seconds.parse().ok()) {
        Some(seconds) => (Duration::from_secs(seconds), "2m"),
        // Its pod has to be made within it, by a kubelet that has much to do.
        None => (Duration::ZERO, "40s"),
    }
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_waited_for_at_a_start_and_costs_no_retry() {
    story_of_reports(async |lab| {
        let (away, start_timeout) = away();
        let store = Store::start(lab).await;
        let yields = "attempt=1 before=4: wait /journal/go; exit 75";
        let short = json!({ "spec": { "segment": { "startTimeout": start_timeout } } });
        let task = keeps_files("waits", &store, &["--steps=5", "--step-time=1s", yields]).and(short);
        let task = lab.submit(task).await;
        until_recorded(&task, "step-3").await;
        store.hang();
        lab.touch("go");
        let waits = |status: &LongTaskStatus| {
            (status.phase, status.reason.as_str()) == (Some(Phase::Waiting), "StoreUnreachable")
        };
        task.until("the store is waited for", 180, waits).await;
        sleep(away).await;
        store.go_on();
        // Each attempt that waited in vain has made the pause before the next one longer.
        let status = task.ends_as(Phase::Succeeded, 120 + away.as_secs() / 2).await;
        assert_eq!((status.retries, status.totals.start_failures, status.totals.failures), (0, 0, 0));
        assert!(status.totals.interruptions >= 1);
        let starts: Vec<_> = task.journal().all("start").iter().map(|start| start.step).collect();
        assert_eq!(starts, [0, 3], "the program started twice, and lost nothing");
    })
    .await;
}

#[tokio::test]
async fn a_save_that_was_overwritten_costs_one_checkpoint_and_all_of_them_the_task_and_nothing_begins_anew() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let first = "attempt=1 before=5: exit 75";
        let later =
            ["attempt=2 before=6: wait /journal/one; exit 75", "attempt=4 before=6: wait /journal/all; exit 75"];
        let rules = ["--steps=9", "--step-time=500ms", first, later[0], later[1]];
        let task = lab.submit(keeps_files("spoiled", &store, &rules)).await;
        let named = task.until("step 5 is recorded", 60, |status| path(status) == Some("step-5")).await;
        let uri = named.checkpoint.and_then(|checkpoint| checkpoint.uri).expect("it is stored");
        let saves = store.saves();
        store.spoil(saves.iter().find(|save| save.is_at(&uri)).expect("it is in the store"));
        lab.touch("one");
        lab.until_event_of("spoiled", "CheckpointUnreadable").await;
        task.journal().until("it resumes", Duration::from_mins(1), |entry| entry.attempt == 4).await;
        assert_eq!(resumed_at(&task, 4), 4, "the one before");
        let attempt_4 = |save: &Save| save.attempt == 4 && save.is_complete;
        store.until("attempt 4 has saved", Duration::from_mins(1), |saves| saves.iter().any(attempt_4)).await;
        task.until("that is recorded", 40, |status| status.checkpoint.as_ref().is_some_and(|one| one.attempt == 4))
            .await;
        for save in store.saves() {
            store.spoil(&save);
        }
        lab.touch("all");
        let status = task.ends_as(Phase::Failed, 120).await;
        assert_eq!(status.reason, "CheckpointUnreadable");
        let starts: Vec<_> = task.journal().all("start").iter().map(|start| (start.attempt, start.step)).collect();
        assert_eq!(starts, [(1, 0), (2, 4), (4, 4)]);
    })
    .await;
}

// === what is not saved, and what is not kept

#[tokio::test]
async fn a_link_to_the_agents_token_is_named_and_nothing_of_that_tree_is_saved() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let rule = "attempt=1 step=2: escape /var/run/secrets/longtask.dev/token; wait /journal/seen; ignore";
        let task = lab.submit(keeps_files("escapes", &store, &["--steps=3", "--step-time=1s", rule])).await;
        let is_named = |status: &LongTaskStatus| {
            message_of(status, ConditionType::SaveFailing).is_some_and(|(reason, _)| reason == "LeavesDirectory")
        };
        let status = task.until("it is named", 90, is_named).await;
        let (_, words) = message_of(&status, ConditionType::SaveFailing).expect("just seen");
        assert!(words.contains("escape"), "{words}");
        assert!(store.saves().iter().all(|save| save.is_complete && store.path_of(save) != "step-2"));
        lab.touch("seen");
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(message_of(&status, ConditionType::SaveFailing), None, "the next one was saved");
    })
    .await;
}

#[tokio::test]
async fn of_ten_saves_at_most_four_are_kept_and_all_that_the_status_names() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let one = json!({ "spec": { "checkpoint": { "historyLimit": 1 } } });
        let task = lab.submit(keeps_files("tidy", &store, &["--steps=10", "--step-time=6s"]).and(one)).await;
        let status = task.ends_as(Phase::Succeeded, 90).await;
        assert_eq!(status.recent_attempts[0].outcome, Outcome::Completed);
        assert!(status.checkpoint_sequence >= 4, "{}: too few for a test", status.checkpoint_sequence);
        let kept = store.saves();
        assert!(kept.len() <= 4, "{kept:?}");
        for named in status.checkpoint.iter().chain(&status.checkpoint_history) {
            let uri = named.uri.as_deref().expect("it is stored");
            assert!(kept.iter().any(|save| save.is_complete && save.is_at(uri)), "{uri} is not among {kept:?}");
        }
    })
    .await;
}

/// Runs the example that tidies a store, and returns its log.
async fn collect_garbage(lab: &Lab, store: &Store, job: &str, says_yes: bool) -> String {
    let example = fs::read_to_string("examples/store-gc/cronjob.yaml").expect("the example");
    let settings = store.settings();
    let endpoint = settings["endpoint"].as_str().expect("an address");
    let mut cron_job = example
        .replace("# - --endpoint=http://store:9000", &format!("- --endpoint={endpoint}"))
        .replace("- --succeeded-after=168h", "")
        .replace("--spare=168h", "--spare=0s");
    if says_yes {
        cron_job = cron_job.replace("# - --yes", "- --yes");
    }
    let file = lab.folder().join(format!("{job}.yaml"));
    fs::write(&file, cron_job).expect("write the manifest");
    lab.kubectl_output(&["apply", "-f", file.to_str().expect("UTF-8")]).await;
    lab.kubectl_output(&["create", "job", job, "--from=cronjob/longtask-store-gc"]).await;
    let job = format!("job/{job}");
    lab.kubectl_output(&["wait", "--for=condition=complete", &job, "--timeout=60s"]).await;
    lab.kubectl_output(&["logs", &job]).await
}

#[tokio::test]
async fn what_a_task_that_is_gone_has_left_is_listed_and_deleted_when_the_user_says_yes() {
    story_of_reports(async |lab| {
        let store = Store::start(lab).await;
        let arguments = ["--steps=2", "--step-time=1s"];
        let gone = lab.submit(keeps_files("gone", &store, &arguments)).await;
        let kept = lab.submit(keeps_files("kept", &store, &arguments)).await;
        for task in [&gone, &kept] {
            task.ends_as(Phase::Succeeded, 60).await;
        }
        gone.delete(DeleteParams::background()).await;
        let is_gone = await_condition(lab.api::<LongTask>(), "gone", conditions::is_deleted(&gone.uid));
        timeout(Duration::from_mins(1), is_gone).await.expect("in time").expect("it is watched");
        let before = store.saves();
        assert!(before.iter().any(|save| save.is_of(&gone.uid)), "{before:?}");
        let log = collect_garbage(lab, &store, "look", false).await;
        assert!(log.contains(&gone.uid) && !log.contains(&kept.uid), "{log}");
        assert_eq!(store.saves().len(), before.len(), "nothing is deleted yet: {log}");
        let log = collect_garbage(lab, &store, "tidy", true).await;
        assert!(log.contains(&gone.uid), "{log}");
        let left = store.saves();
        assert!(!left.is_empty() && left.iter().all(|save| save.is_of(&kept.uid)), "{left:?}");
    })
    .await;
}
