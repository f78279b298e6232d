//! A task that has ended runs again by a new token, or is deleted by its age.

use std::time::Duration;

use longtask::api::task::{ConditionType, LongTaskStatus, Phase};
use serde_json::json;

use super::support::{Change, Task, manifest, message_of, story};

/// The status at the end of that run.
async fn run_ended(task: &Task<'_>, run: i64) -> LongTaskStatus {
    let has_ended = |status: &LongTaskStatus| status.run.number == run && status.completion_time.is_some();
    task.until(&format!("run {run} has ended"), 30, has_ended).await
}

#[tokio::test]
async fn a_failed_task_runs_again_from_its_last_checkpoint_and_from_an_earlier_one() {
    story(async |lab| {
        let fails = "run=1 step=4: checkpoint; exit 1";
        let reports_steps = ["--steps=6", "--step-time=200ms", "--report=checkpoint", fails];
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } }, "restart": { "token": "first" } } });
        let task = lab.submit(manifest("redriven", &reports_steps).and(once)).await;
        let failed = task.ends_as(Phase::Failed, 20).await;
        assert_eq!(failed.run.restart_token.as_deref(), Some("first"), "the first token is only recorded");
        let last = failed.checkpoint.clone().expect("it reported");

        task.change(json!({ "restart": { "token": "second" } })).await;
        let again = task
            .until("its second run has ended", 20, |status| status.run.number == 2 && status.completion_time.is_some())
            .await;
        assert_eq!(again.phase, Some(Phase::Succeeded));
        assert_eq!((again.totals.attempts, again.totals.failures, again.retries), (1, 0, 0), "counted anew");
        assert_eq!(again.current_attempt.as_ref().map(|attempt| attempt.number), Some(2), "numbers go on");
        assert_eq!(task.journal().start_of(2).step, 4, "from checkpoint {}", last.sequence);

        task.change(json!({ "restart": { "token": "third", "from": "Checkpoint", "checkpointSequence": 999 } })).await;
        let refused = task.until("the wrong sequence is answered", 10, |status| {
            message_of(status, ConditionType::Blocked).is_some_and(|(reason, _)| reason == "UnknownCheckpoint")
        });
        let (_, words) = message_of(&refused.await, ConditionType::Blocked).expect("it is blocked");
        assert!(words.contains("these exist:"), "{words}");
        let chosen =
            json!({ "restart": { "token": "third", "from": "Checkpoint", "checkpointSequence": last.sequence } });
        task.change(chosen).await;
        let third = task
            .until("its third run has ended", 20, |status| status.run.number == 3 && status.completion_time.is_some())
            .await;
        assert_eq!(third.phase, Some(Phase::Succeeded));
        assert_eq!(task.journal().start_of(3).step, 4, "from the chosen checkpoint, not from the last");
        let keys = [1, 2, 3].map(|attempt| task.journal().start_of(attempt).env["LONGTASK_IDEMPOTENCY_PREFIX"].clone());
        assert_eq!(keys, [1, 1, 1].map(|beginning| format!("{}/{beginning}", task.uid)), "nothing is charged twice");
        assert!(third.checkpoint.is_some_and(|newest| newest.sequence > again.checkpoint_sequence), "sequences go on");
    })
    .await;
}

#[tokio::test]
async fn a_cancelled_task_runs_again_from_the_beginning() {
    story(async |lab| {
        let task = lab.submit(manifest("regretted", &["--steps=3", "run=1 step=1: sleep forever"])).await;
        task.journal().until_step(1, Duration::from_secs(20)).await;
        task.change(json!({ "cancel": true })).await;
        task.until_phase(Phase::Cancelled, 20).await;
        task.change(json!({ "cancel": false, "restart": { "token": "again", "from": "Beginning" } })).await;
        let status = run_ended(&task, 2).await;
        assert_eq!(status.phase, Some(Phase::Succeeded));
        assert_eq!(task.journal().start_of(2).step, 0);
        let keys = task.journal().start_of(2).env["LONGTASK_IDEMPOTENCY_PREFIX"].clone();
        assert_eq!(keys, format!("{}/2", task.uid), "all of it is done again");
        assert!(message_of(&status, ConditionType::Complete).is_some());
    })
    .await;
}

#[tokio::test]
async fn a_task_that_ended_is_deleted_with_its_pods_when_its_time_has_come() {
    story(async |lab| {
        let short_lived = json!({ "spec": { "ttlAfterFinished": "3s", "retry": { "budgets": { "failures": 0 } } } });
        let dead_letter = lab.submit(manifest("dead-letter", &["start: exit 1"]).and(short_lived.clone())).await;
        dead_letter.ends_as(Phase::Failed, 20).await;
        let task = lab.submit(manifest("short-lived", &["--steps=0"]).and(short_lived)).await;
        let ended = task.ends_as(Phase::Succeeded, 20).await.completion_time.expect("it ended");
        let is_gone = |seen: &super::support::Sightings| {
            (seen.is_task_gone(&task.uid) && seen.pods_of(&task.uid).all(|pod| pod.is_gone)).then_some(())
        };
        lab.until("the task and its pods are gone", Duration::from_secs(20), is_gone).await;
        let took = longtask::clock::Clock::wall().now().duration_since(ended);
        assert!(took >= jiff::SignedDuration::from_secs(3), "{took:?}");

        lab.kubectl_output(&["get", "lt", "dead-letter"]).await; // It is still there: it ended before, and failed.
        dead_letter.change(json!({ "ttlAfterFailed": "0s" })).await;
        let is_gone = |seen: &super::support::Sightings| seen.is_task_gone(&dead_letter.uid).then_some(());
        lab.until("the dead letter is gone", Duration::from_secs(20), is_gone).await;
    })
    .await;
}
