//! A task that has ended stays as it is, whatever is done to it.

use longtask::api::task::Phase;
use serde_json::json;

use super::support::{Change, manifest, story};

#[tokio::test]
async fn nothing_starts_a_finished_task_again_but_a_restart_token() {
    story(async |lab| {
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        let done = lab.submit(manifest("done", &["--steps=1", "--step-time=0"])).await;
        let failed = lab.submit(manifest("failed", &["start: exit 1"]).and(once)).await;
        let cancelled = lab.submit(manifest("cancelled", &[]).and(json!({ "spec": { "cancel": true } }))).await;
        let ended = [(&done, Phase::Succeeded), (&failed, Phase::Failed), (&cancelled, Phase::Cancelled)];
        for (task, phase) in ended {
            task.ends_as(phase, 25).await;
        }
        lab.kubectl_output(&["delete", "pods", "--all"]).await;
        for (task, _) in ended {
            let more = json!({
                "segment": { "duration": "2m" }, "limits": { "attempts": 50 },
                "retry": { "budgets": { "failures": 9 } }, "suspend": true,
            });
            task.change(more).await;
            // Events are sent after the status is written: an operator that is killed in between sends none.
            lab.until_event_of(&task.name, "EditIgnored").await;
            task.change(json!({ "suspend": false })).await;
        }
        lab.kill_operator().await;
        lab.start_operator();
        // When another task, submitted last, has come to its end, the others have had their chance.
        let clock = lab.submit(manifest("clock", &["--steps=4", "--step-time=1s"])).await;
        clock.ends_as(Phase::Succeeded, 30).await;
        for (task, phase) in ended {
            let last = task.statuses().last().cloned().expect("it has one");
            let attempts = i64::from(phase != Phase::Cancelled);
            assert_eq!((last.phase, last.totals.attempts), (Some(phase), attempts), "{}", task.name);
            assert_eq!(task.pods().len(), usize::try_from(attempts).expect("small"), "{}", task.name);
            let of_task = format!("--field-selector=involvedObject.name={},type=Warning", task.name);
            let told = lab.kubectl_output(&["get", "events", &of_task, "-o", "jsonpath={.items[*].message}"]).await;
            assert!(told.contains("restart.token"), "{}: {told}", task.name);
        }
    })
    .await;
}
