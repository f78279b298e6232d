//! Edits of a task while a pod of it runs.

use std::time::Duration;

use longtask::api::task::{ConditionType, Phase};
use serde_json::json;

use super::support::{Change, manifest, message_of, story};

#[tokio::test]
async fn an_edit_waits_for_the_next_attempt_and_the_status_says_so_until_then() {
    story(async |lab| {
        let change = json!({ "spec": { "segment": { "duration": "8s" }, "podHistoryLimit": 100 } });
        let task = lab.submit(manifest("edited", &["--steps=12", "--step-time=1s"]).and(change)).await;
        task.journal().until_step(1, Duration::from_secs(20)).await;
        task.change(json!({ "segment": { "duration": "1h" } })).await;
        let waiting = task.until("it knows of the edit", 10, |status| status.observed_generation == 2).await;
        let (reason, words) = message_of(&waiting, ConditionType::Reconciling).expect("it is under way");
        assert_eq!(reason, "EditWaits");
        assert!(words.starts_with("attempt 1 runs generation 1 of the spec; what generation 2 changes"), "{words}");
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!((status.totals.attempts, status.segment), (2, 2), "the first slice was not made longer");
        assert_eq!(task.journal().start_of(2).env["LONGTASK_SEGMENT_SECONDS"], "3600");
        assert_eq!(status.current_attempt.map(|attempt| attempt.generation), Some(2));
    })
    .await;
}

#[tokio::test]
async fn an_edit_that_is_not_about_the_pod_keeps_it_in_its_queue() {
    story(async |lab| {
        let gate = json!({ "schedulingGates": [{ "name": "example.com/queue" }] });
        let gated = manifest("gated", &["--steps=1", "--step-time=0"]);
        let gated = lab.submit(gated.and(json!({ "spec": { "template": { "spec": gate } } }))).await;
        let runs = lab.submit(manifest("runs", &["--steps=99", "--step-time=1s"])).await;
        gated.until("it waits at its gate", 20, |status| status.reason == "SchedulingGated").await;
        runs.until_phase(Phase::Running, 20).await;
        let edits = [
            json!({ "podHistoryLimit": 2 }),
            json!({ "ttlAfterFinished": "10h" }),
            json!({ "limits": { "wallTime": "10h" } }),
        ];
        for (edit, generation) in edits.into_iter().zip(2..) {
            for task in [&gated, &runs] {
                task.change(edit.clone()).await;
                let known = task.until("it knows", 10, |status| status.observed_generation == generation).await;
                let reconciling = message_of(&known, ConditionType::Reconciling);
                assert!(reconciling.is_none_or(|(reason, _)| reason != "EditWaits"), "{}: {edit}", task.name);
            }
        }
        let open = r#"{"spec": {"schedulingGates": null}}"#;
        lab.kubectl_output(&["patch", "pod", "gated-1", "--patch", open]).await;
        let status = gated.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.totals.attempts, gated.pods().len()), (1, 1), "it kept its place");
        assert_eq!(runs.pods().len(), 1);
    })
    .await;
}
