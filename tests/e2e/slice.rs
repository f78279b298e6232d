//! How long a slice lasts, and what cuts it.

use std::{ops::RangeInclusive, time::Duration};

use longtask::api::task::{Limit, Outcome, Phase};
use serde_json::{Value, json};

use super::support::{Change, PodExt, container, manifest, story};

/// A program that works until it is stopped, and yields then.
const WORKS_ON: [&str; 1] = ["start: sleep forever"];

fn segments_of(seconds: i64) -> Value {
    json!({ "spec": { "segment": { "duration": format!("{seconds}s") } } })
}

/// The pod's own deadline is up to 2 s behind the slice, and a kubelet that has much to do looks up to 2 s later. The init
/// container of 10 s would show.
const SLICE_OF_8: RangeInclusive<f64> = 6.0..=12.0;

#[tokio::test]
async fn a_slice_lasts_its_duration_from_the_containers_start() {
    story(async |lab| {
        let init = container("slow-start", &["--steps=1", "--step-time=10s"]);
        let with_init = json!({ "spec": { "template": { "spec": { "initContainers": [init] } } } });
        let plain = lab.submit(manifest("plain", &WORKS_ON).and(segments_of(8))).await;
        let slow = lab.submit(manifest("slow", &WORKS_ON).and(segments_of(8)).and(with_init)).await;
        for task in [plain, slow] {
            let status = task.until("attempt 1 is counted", 45, |status| status.totals.attempts == 1).await;
            assert_eq!(status.recent_attempts[0].outcome, Outcome::TimeLimit, "{status:#?}");
            let slice = task.journal().time_between(1, "start", "term").as_secs_f64();
            println!("{}: SIGTERM came {slice:.2}s after the program's start", task.name);
            assert!(SLICE_OF_8.contains(&slice), "{}: {slice:.2}s", task.name);
            let (start, end) = task.pods()[0].times_of("main");
            let lasted = end.duration_since(start).as_secs_f64();
            assert!(SLICE_OF_8.contains(&lasted), "{}: {lasted}s by the kubelet's times", task.name);
        }
    })
    .await;
}

#[tokio::test]
async fn a_slice_ends_on_time_while_the_operator_is_dead() {
    story(async |lab| {
        let task = lab.submit(manifest("alone", &WORKS_ON).and(segments_of(6))).await;
        let is_lowered = |pod: &k8s_openapi::api::core::v1::Pod| {
            pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds).is_some_and(|seconds| seconds < 60)
        };
        task.until_pod(1, "has its deadline lowered", 20, is_lowered).await;
        lab.kill_operator().await;
        task.until_pod(1, "has ended", 20, |pod| pod.phase() == "Failed").await;
        let slice = task.journal().time_between(1, "start", "term").as_secs_f64();
        assert!((4.0..=12.0).contains(&slice), "6s became {slice:.2}s");
        assert_eq!(task.statuses().last().expect("it has one").totals.attempts, 0, "nobody has counted it yet");
        lab.start_operator();
        let status = task.until("attempt 2 is under way", 20, |status| status.totals.attempts == 1).await;
        assert_eq!(status.recent_attempts[0].outcome, Outcome::TimeLimit);
        task.until_phase(Phase::Running, 20).await;
    })
    .await;
}

#[tokio::test]
async fn a_limit_cuts_the_slice_and_fails_the_task_with_its_reason() {
    story(async |lab| {
        let limits = json!({ "spec": { "limits": { "activeTime": "6s" } } });
        let task = lab.submit(manifest("limited", &["--steps=100", "--step-time=1s"]).and(limits)).await;
        task.until("the slice is cut", 20, |status| {
            status.current_attempt.as_ref().is_some_and(|attempt| attempt.cut_by == Some(Limit::ActiveTime))
        })
        .await;
        let status = task.ends_as(Phase::Failed, 30).await;
        assert_eq!(status.reason, "ActiveTimeExceeded");
        assert!((4..=9).contains(&status.active_seconds), "{}s", status.active_seconds);
        assert!(status.checkpoint.is_some(), "what the program left in its grace is kept");
    })
    .await;
}

#[tokio::test]
async fn a_program_deaf_to_sigterm_is_killed_after_its_grace_and_keeps_its_checkpoint() {
    story(async |lab| {
        let change = json!({ "spec": { "segment": { "duration": "5s", "gracePeriod": "3s" } } });
        let arguments = ["--steps=3", "--step-time=1s", "term: ignore", "attempt=1 before=3: sleep forever"];
        let task = lab.submit(manifest("deaf", &arguments).and(change)).await;
        let status = task.ends_as(Phase::Succeeded, 45).await;
        let first = &status.recent_attempts[1];
        assert_eq!((first.outcome, first.exit_code), (Outcome::TimeLimit, Some(137)));
        let (start, end) = task.pods()[0].times_of("main");
        let lasted = end.as_second() - start.as_second();
        assert!((7..=11).contains(&lasted), "5s of slice and 3s of grace took {lasted}s");
        assert_eq!(task.journal().steps(), [1, 2, 3]);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_does_not_start_in_time_is_a_failed_start() {
    story(async |lab| {
        let init = container("endless", &["--steps=1", "--step-time=1h"]);
        let change = json!({ "spec": {
            "segment": { "startTimeout": "5s" },
            "retry": { "budgets": { "startFailures": 0 } },
            "template": { "spec": { "initContainers": [init] } },
        } });
        let task = lab.submit(manifest("late", &[]).and(change)).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!(status.reason, "StartBudgetExhausted");
        assert_eq!(status.last_failure.expect("it is told").reason, "StartTimeout");
        assert!(task.journal().entries().is_empty(), "the program never ran");
        lab.until("the pod is gone", Duration::from_secs(20), |seen| {
            seen.pods_of(&task.uid).all(|pod| pod.is_gone || pod.latest().phase() == "Failed").then_some(())
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn the_segment_of_a_task_that_used_up_its_segments_is_the_last_one_that_ran() {
    story(async |lab| {
        let limits = json!({ "spec": { "limits": { "segments": 2 } } });
        let yields = ["--steps=9", "--step-time=0", "segment=1 before=2: exit 75", "segment=2 before=3: exit 75"];
        let task = lab.submit(manifest("two", &yields).and(limits)).await;
        let status = task.ends_as(Phase::Failed, 30).await;
        assert_eq!((status.reason.as_str(), status.segment, task.pods().len()), ("SegmentLimitReached", 2, 2));
    })
    .await;
}
