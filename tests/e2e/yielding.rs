//! A program that gives up its pod by itself.

use longtask::api::task::{Outcome, Phase};
use serde_json::json;

use super::{
    backoff::{assert_delays, assert_starts_follow_the_delays},
    support::{Change, manifest, story},
};

#[tokio::test]
async fn between_a_yield_and_its_resume_time_no_pod_runs_and_nothing_is_counted() {
    story(async |lab| {
        let polls = r#"segment<3: report {"resumeAfter": "6s"}; exit 75"#;
        let task = lab.submit(manifest("polls", &["--steps=1", "--step-time=0", polls])).await;
        let waiting = task.until_phase(Phase::Waiting, 20).await;
        assert_eq!(waiting.reason, "ResumeAfter");
        let status = task.ends_as(Phase::Succeeded, 45).await;
        let outcomes: Vec<_> = status.recent_attempts.iter().rev().map(|attempt| attempt.outcome).collect();
        assert_eq!(outcomes, [Outcome::Yielded, Outcome::Yielded, Outcome::Completed]);
        assert_eq!((status.totals.failures, status.totals.stalls, status.retries), (0, 0, 0));
        let pods = task.pods();
        assert_eq!(pods.len(), 3);
        assert_delays(&task, &[6, 6]);
        assert_starts_follow_the_delays(&task);
        for (earlier, later) in pods.iter().zip(&pods[1..]) {
            let (_, end) = earlier.times_of("main");
            let pause = later.creation_time().as_second() - end.as_second();
            println!("{} was created {pause}s after the end of {}", later.name, earlier.name);
            assert!(pause >= 6, "{pause}s");
        }
    })
    .await;
}

#[tokio::test]
async fn segments_without_progress_end_the_task_when_their_budget_is_used_up() {
    story(async |lab| {
        let budget = json!({ "spec": { "retry": { "budgets": { "stalls": 1 } } } });
        let task = lab.submit(manifest("stalls", &["--step-time=0", "before=3: exit 75"]).and(budget)).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!(status.reason, "NoProgress");
        assert_eq!((status.totals.stalls, status.totals.attempts), (2, 3), "the first segment made progress");
    })
    .await;
}

/// What keeps its own checkpoints makes progress by running; what gives up its pod at once does not run.
#[tokio::test]
async fn a_program_that_always_yields_at_once_ends_even_when_it_keeps_its_own_checkpoints() {
    story(async |lab| {
        let external = json!({ "spec": { "checkpoint": { "source": "External" } } });
        let task = lab.submit(manifest("hot-loop", &["start: exit 75"]).and(external)).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!((status.reason.as_str(), status.totals.stalls, status.totals.attempts), ("NoProgress", 4, 4));
    })
    .await;
}
