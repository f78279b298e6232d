//! What a program reports, and what becomes of it.

use longtask::api::{Outcome, Phase};
use serde_json::json;

use super::support::{Change, manifest, story};

#[tokio::test]
async fn a_checkpoint_with_dollars_comes_back_as_it_was_written() {
    story(async |lab| {
        // The kubelet expands arguments as well: each dollar is written twice here.
        let note = r#"attempt=1 step=1: ignore; checkpoint {"note": "$$$$ $$(LONGTASK_NAME) $$$$(HOME) $$5"}; exit 75"#;
        let task = lab.submit(manifest("dollars", &["--steps=2", "--step-time=0", note])).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        let written = json!({ "note": "$$ $(LONGTASK_NAME) $$(HOME) $5", "step": 1 });
        assert_eq!(status.checkpoint_history[0].data.as_ref(), Some(&written));
        let received = &task.journal().start_of(2).env["LONGTASK_CHECKPOINT"];
        assert_eq!(serde_json::from_str::<serde_json::Value>(received).expect("JSON"), written);
    })
    .await;
}

#[tokio::test]
async fn torn_and_garbage_lines_hide_nothing() {
    story(async |lab| {
        let garbage = r#"attempt=1 step=2: ignore; write }{ nonsense\n; checkpoint; write {"progress": [7]}\nnull\n"x"\n; write {"checkpoint": {"step": 9; exit 75"#;
        let task = lab.submit(manifest("garbage", &["--steps=3", "--step-time=0", garbage])).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(task.journal().start_of(2).step, 2, "the last whole checkpoint");
        assert_eq!(task.journal().steps(), [1, 2, 3]);
        assert_eq!(status.progress.and_then(|progress| progress.summary).as_deref(), Some("3/3 steps"));
        let events = lab.kubectl_output(&["get", "events", "-o", "jsonpath={.items[*].reason}"]).await;
        assert!(events.contains("ReportIgnored"), "what could not be used is said: {events}");
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_survives_an_out_of_memory_kill() {
    story(async |lab| {
        let memory = json!({ "limits": { "memory": "64Mi" } });
        let mut oom = manifest("oom", &["--steps=3", "--step-time=0", "attempt=1 before=3: allocate forever"]);
        oom["spec"]["template"]["spec"]["containers"][0]["resources"] = memory;
        let task = lab.submit(oom).await;
        let status = task.ends_as(Phase::Succeeded, 40).await;
        let failure = status.last_failure.expect("it is told");
        assert_eq!((failure.outcome, failure.reason.as_str()), (Outcome::Failed, "OOMKilled"));
        assert_eq!(task.journal().start_of(2).step, 2);
        assert_eq!(status.totals.failures, 1);
    })
    .await;
}

#[tokio::test]
async fn a_permanent_error_fails_the_task_at_once() {
    story(async |lab| {
        let rule = r#"before=2: report {"error": {"code": "PaymentDeclined", "message": "card expired", "permanent": true}}; exit 3"#;
        let task = lab.submit(manifest("declined", &["--steps=3", "--step-time=0", rule])).await;
        let status = task.ends_as(Phase::Failed, 30).await;
        assert_eq!(status.reason, "PermanentError");
        let failure = status.last_failure.expect("it is told");
        assert_eq!((failure.code.as_deref(), failure.message.as_str()), (Some("PaymentDeclined"), "card expired"));
        assert_eq!((failure.exit_code, status.totals.attempts), (Some(3), 1));
        assert_eq!(status.checkpoint.and_then(|checkpoint| checkpoint.data), Some(json!({ "step": 1 })));
    })
    .await;
}

#[tokio::test]
async fn a_program_that_keeps_its_own_checkpoints_makes_progress_by_running() {
    story(async |lab| {
        let external = json!({ "spec": {
            "segment": { "duration": "5s" },
            "checkpoint": { "source": "External" },
            "retry": { "budgets": { "stalls": 0 } },
        } });
        let arguments = ["--steps=14", "--step-time=1s", "--resume=journal", "--report=none"];
        let task = lab.submit(manifest("external", &arguments).and(external)).await;
        let status = task.ends_as(Phase::Succeeded, 45).await;
        assert!(status.segment >= 2 && status.totals.stalls == 0, "{status:#?}");
        assert_eq!(task.journal().steps(), (1..=14).collect::<Vec<_>>());
    })
    .await;
}
