//! The user pauses a task, or ends it.

use std::time::Duration;

use longtask::api::task::{ConditionType, LongTaskStatus, Phase};
use serde_json::json;
use tokio::time::Instant;

use super::support::{Change, PodExt, Task, manifest, message_of, story};

fn sequence(status: &LongTaskStatus) -> Option<i64> {
    status.checkpoint.as_ref().map(|checkpoint| checkpoint.sequence)
}

fn nothing_runs(task: &Task<'_>) -> bool {
    let is_running = |pod: &super::support::PodHistory| {
        pod.latest().containers().any(|container| container.state.as_ref().is_some_and(|state| state.running.is_some()))
    };
    !task.pods().iter().any(|pod| !pod.is_gone && is_running(pod))
}

#[tokio::test]
async fn a_suspended_task_keeps_everything_and_goes_on_where_it_was() {
    story(async |lab| {
        let handler = r#"term: checkpoint {"by": "SIGTERM handler"}; exit 75"#;
        let arguments = ["--steps=8", "--step-time=1s", "attempt=1 step=1: checkpoint; exit 1", handler];
        let task = lab.submit(manifest("paused", &arguments)).await;
        task.journal().until_step(3, Duration::from_secs(25)).await;
        let asked = Instant::now();
        task.change(json!({ "suspend": true })).await;
        let paused = task.until_phase(Phase::Suspended, 15).await;
        let took = asked.elapsed();
        println!("suspended after {took:?}");
        assert!(took < Duration::from_secs(5 + 4), "the grace period is 5s: {took:?}");
        assert!(message_of(&paused, ConditionType::Suspended).is_some(), "{:?}", paused.conditions);
        let checkpoint = paused.checkpoint.clone().and_then(|checkpoint| checkpoint.data).expect("it was written");
        assert_eq!(checkpoint["by"], "SIGTERM handler");
        assert!(nothing_runs(&task));
        lab.kill_operator().await;
        lab.start_operator();
        task.change(json!({ "suspend": false })).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(task.journal().steps(), (1..=8).collect::<Vec<_>>());
        assert_eq!(task.journal().start_of(3).step, checkpoint["step"].as_i64().expect("a number"));
        assert_eq!((status.totals.failures, status.totals.interruptions, status.retries), (1, 0, 1), "kept");
        assert!(status.active_seconds >= paused.active_seconds && status.run.number == 1);
        assert_eq!(status.segment, 1, "a pause does not end a segment");
    })
    .await;
}

#[tokio::test]
async fn a_task_suspended_from_the_start_or_while_it_waits_starts_nothing() {
    story(async |lab| {
        let born = lab.submit(manifest("born", &["--steps=0"]).and(json!({ "spec": { "suspend": true } }))).await;
        let polls = r#"attempt=1: report {"resumeAfter": "4s"}; exit 75"#;
        let waits = lab.submit(manifest("waits", &["--steps=0", polls])).await;
        let waiting = waits.until_phase(Phase::Waiting, 20).await;
        waits.change(json!({ "suspend": true })).await;
        waits.until_phase(Phase::Suspended, 10).await;
        born.until_phase(Phase::Suspended, 10).await;
        // A third task that takes longer than the wait would have: when it has ended, the moment has passed.
        let clock = lab.submit(manifest("clock", &["--steps=6", "--step-time=1s"])).await;
        clock.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((born.pods().len(), waits.pods().len()), (0, 1));
        let kept = waits.statuses().last().cloned().expect("it has one");
        assert_eq!((kept.phase, sequence(&kept)), (Some(Phase::Suspended), sequence(&waiting)));
        for task in [&born, &waits] {
            task.change(json!({ "suspend": false })).await;
        }
        born.ends_as(Phase::Succeeded, 30).await;
        waits.ends_as(Phase::Succeeded, 30).await;
    })
    .await;
}

#[tokio::test]
async fn cancel_works_in_every_phase() {
    story(async |lab| {
        let unborn = manifest("unborn", &["--steps=0"]).and(json!({ "spec": { "cancel": true } }));
        let unborn = lab.submit(unborn).await;
        let running = lab.submit(manifest("running", &["--steps=99", "--step-time=1s"])).await;
        let waits = r#"start: report {"resumeAfter": "1h"}; exit 75"#;
        let waiting = lab.submit(manifest("waiting", &[waits])).await;
        let suspended = manifest("suspended", &["--steps=0"]).and(json!({ "spec": { "suspend": true } }));
        let suspended = lab.submit(suspended).await;
        let mut huge = manifest("pending", &["--steps=0"]);
        huge["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1000" } });
        let pending = lab.submit(huge).await;
        let deaf = lab.submit(manifest("stopping", &["start: sleep forever", "term: ignore; sleep forever"])).await;

        running.journal().until_step(1, Duration::from_secs(25)).await;
        deaf.journal().until("it runs", Duration::from_secs(25), |entry| entry.event == "start").await;
        deaf.until_phase(Phase::Running, 10).await;
        deaf.change(json!({ "suspend": true })).await;
        deaf.until_phase(Phase::Stopping, 10).await;
        waiting.until_phase(Phase::Waiting, 20).await;
        suspended.until_phase(Phase::Suspended, 20).await;
        pending.until("it is unschedulable", 20, |status| status.reason == "Unschedulable").await;
        for task in [&running, &waiting, &suspended, &pending, &deaf] {
            task.change(json!({ "cancel": true })).await;
        }
        for task in [&unborn, &running, &waiting, &suspended, &pending, &deaf] {
            let status = task.ends_as(Phase::Cancelled, 25).await;
            let finished = message_of(&status, ConditionType::Finished).expect("it has ended");
            assert_eq!(finished.0, "Cancelled", "{}", task.name);
            assert!(nothing_runs(task), "{}", task.name);
        }
        assert_eq!((unborn.pods().len(), suspended.pods().len(), running.pods().len()), (0, 0, 1));
        let status = running.statuses().last().cloned().expect("it has one");
        assert!(sequence(&status).is_some(), "the last checkpoint stays");
    })
    .await;
}
