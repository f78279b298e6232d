//! What a program reports, and what becomes of it.

use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::json;

use super::{
    failure_examples::is_untold_kill_for_memory,
    support::{Change, PodExt, container, manifest, message_of, story},
};

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
        // What could not be used is said.
        lab.until_event_of("garbage", "ReportIgnored").await;
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
        let killed = status.recent_attempts.iter().find(|attempt| attempt.number == 1).expect("it is told");
        let is_told = (killed.outcome, killed.reason.as_str()) == (Outcome::Failed, "OOMKilled");
        assert!(is_told || is_untold_kill_for_memory(killed), "{killed:?}");
        assert_eq!(task.journal().start_of(2).step, 2);
        assert_eq!(status.totals.failures, 1);
    })
    .await;
}

/// The container's end is then called OOMKilled all the same.
#[tokio::test]
async fn a_program_that_ends_well_though_its_child_was_killed_for_memory_is_done() {
    story(async |lab| {
        let memory = json!({ "limits": { "memory": "64Mi" } });
        let child = "before=2: child allocate forever";
        let mut parent = manifest("parent", &["--steps=2", "--step-time=0", child, "end: ignore"]);
        parent["spec"]["template"]["spec"]["containers"][0]["resources"] = memory;
        let task = lab.submit(parent).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        let pod = task.pods()[0].latest().clone();
        println!("the kubelet says {:?}", pod.end_of("main").map(|end| (end.exit_code, end.reason.clone())));
        let attempt = &status.recent_attempts[0];
        assert_eq!((attempt.outcome, attempt.exit_code), (Outcome::Completed, Some(0)));
        assert_eq!((status.totals.attempts, status.totals.failures), (1, 0));
    })
    .await;
}

/// The most bytes of a result without an agent, in a pod of three containers.
const LARGEST_RESULT: usize = 3 * 1024;

#[tokio::test]
async fn a_result_of_3_kib_arrives_beside_two_containers_and_of_a_larger_one_it_is_told_that_it_was_ignored() {
    story(async |lab| {
        let reports = |name: &str, bytes: usize| {
            let frame = json!({ "data": "" }).to_string().len();
            let result = json!({ "data": "x".repeat(bytes - frame) });
            let rule = format!("end: ignore; report {}", json!({ "result": result, "done": true }));
            let mut task = manifest(name, &["--steps=0", &rule]);
            let containers = task["spec"]["template"]["spec"]["containers"].as_array_mut().expect("a list");
            containers.extend(["one", "another"].map(|name| container(name, &["--steps=0"])));
            task
        };
        let fits = lab.submit(reports("fits", LARGEST_RESULT)).await;
        let larger = lab.submit(reports("larger", LARGEST_RESULT + 1)).await;
        let status = fits.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(status.result.map(|result| result.to_string().len()), Some(LARGEST_RESULT));
        let status = larger.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.result, status.totals.failures), (None, 0));
        let words = lab.until_event_of("larger", "ReportIgnored").await;
        assert!(words.contains("result has 3073 bytes, the limit is 3072"), "{words}");
        assert_eq!(lab.events_of("fits", "ReportIgnored").await, 0);
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

#[tokio::test]
async fn a_checkpoint_that_has_become_old_is_told_once_until_there_is_another() {
    story(async |lab| {
        let change = json!({ "spec": {
            "segment": { "duration": "5s", "gracePeriod": "1s" }, "checkpoint": { "staleAfter": "8s" },
        } });
        let silent =
            ["--steps=2", "--step-time=0", "segment<=2: sleep forever", "term: exit 75", "segment=3 before=2: exit 75"];
        let task = lab.submit(manifest("silent", &silent).and(change)).await;
        let is_stale = |status: &LongTaskStatus| message_of(status, ConditionType::CheckpointStale).is_some();
        let status = task.until("its checkpoint is stale", 20, is_stale).await;
        let age = longtask::clock::Clock::wall().now().duration_since(status.run.start_time.expect("it has begun"));
        println!("told {age:?} after the start of the run");
        task.until("there is a checkpoint", 20, |status| status.checkpoint.is_some() && !is_stale(status)).await;
        task.ends_as(Phase::Succeeded, 20).await;
        assert_eq!(lab.events_of("silent", "CheckpointStale").await, 1);
        let changes = task.statuses().windows(2).filter(|pair| is_stale(&pair[0]) != is_stale(&pair[1])).count();
        assert_eq!(changes, 2, "it became true and false once");
    })
    .await;
}
