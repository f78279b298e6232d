//! A task runs as a chain of pods.

use std::time::Duration;

use longtask::api::task::{ConditionType, Phase};
use serde_json::json;

use super::support::{Change, PodExt, manifest, message_of, story};

#[tokio::test]
async fn each_step_is_done_exactly_once_over_at_least_four_segments() {
    story(async |lab| {
        let ten_steps = manifest("ten-steps", &["--steps=10", "--step-time=2s"])
            .and(json!({ "spec": { "segment": { "duration": "6s" }, "podHistoryLimit": 100 } }));
        let task = lab.submit(ten_steps).await;
        let status = task.ends_as(Phase::Succeeded, 58).await;
        assert!(status.segment >= 4, "{} segments", status.segment);
        assert_eq!(task.journal().steps(), (1..=10).collect::<Vec<_>>());
        assert_eq!(status.result, Some(json!({ "steps": 10 })));
        let progress = status.progress.as_ref().expect("progress was reported");
        assert_eq!((progress.summary.as_deref(), progress.percent), (Some("10/10 steps"), Some(100)));
        assert!(message_of(&status, ConditionType::Complete).is_some(), "{:?}", status.conditions);
        assert_eq!((status.retries, status.totals.failures, status.totals.stalls), (0, 0, 0));
        assert_no_two_ran(&task.pods());
    })
    .await;
}

/// By the times that the kubelet reports, beside what the record has checked at every event.
fn assert_no_two_ran(pods: &[super::support::PodHistory]) {
    assert!(pods.len() >= 4, "{} pods", pods.len());
    for (earlier, later) in pods.iter().zip(&pods[1..]) {
        let ((_, end), (start, _)) = (earlier.times_of("main"), later.times_of("main"));
        assert!(end <= start, "{} ended at {end}, {} started at {start}", earlier.name, later.name);
    }
}

#[tokio::test]
async fn a_program_is_told_who_it_is_and_where_to_resume() {
    story(async |lab| {
        let arguments = ["--steps=2", "--step-time=0", "segment=1 before=2: exit 75"];
        let task = lab.submit(manifest("told", &arguments)).await;
        task.ends_as(Phase::Succeeded, 30).await;
        let (first, second) = (task.journal().start_of(1).env, task.journal().start_of(2).env);
        for (name, value) in [
            ("NAME", "told"),
            ("NAMESPACE", lab.namespace.as_str()),
            ("UID", task.uid.as_str()),
            ("RUN", "1"),
            ("SEGMENT", "2"),
            ("ATTEMPT", "2"),
            ("SEGMENT_SECONDS", "60"),
            ("GRACE_SECONDS", "5"),
            ("CHECKPOINT", r#"{"step":1}"#),
            ("CHECKPOINT_SEQUENCE", "1"),
            ("IDEMPOTENCY_PREFIX", &format!("{}/1", task.uid)),
            ("REPORT", "/dev/termination-log"),
        ] {
            assert_eq!(second.get(&format!("LONGTASK_{name}")).map(String::as_str), Some(value), "{name}");
        }
        assert!(!first.contains_key("LONGTASK_CHECKPOINT"), "{first:?}");
        let trace = |env: &std::collections::BTreeMap<String, String>| env["TRACEPARENT"][..35].to_owned();
        assert_eq!(trace(&first), trace(&second), "one trace per run");
        assert_ne!(first["TRACEPARENT"], second["TRACEPARENT"], "a span of its own per attempt");
        let spec = task.pods()[0].latest().spec.clone().unwrap_or_default();
        assert_eq!(spec.automount_service_account_token, Some(false), "no access to the API");
    })
    .await;
}

#[tokio::test]
async fn finished_pods_are_kept_up_to_the_limit_and_released() {
    story(async |lab| {
        let arguments = ["--steps=4", "--step-time=0", "before>=2 segment<4: exit 75"];
        let task = lab.submit(manifest("kept", &arguments).and(json!({ "spec": { "podHistoryLimit": 2 } }))).await;
        task.ends_as(Phase::Succeeded, 40).await;
        let two_are_left = |seen: &super::support::Sightings| {
            let left: Vec<_> = seen.pods_of(&task.uid).filter(|pod| !pod.is_gone).collect();
            let released = left.iter().all(|pod| !pod.latest().has_our_finalizer());
            (released && left.iter().map(|pod| pod.attempt).eq([3, 4])).then_some(())
        };
        lab.until("the last two pods are left, and free", Duration::from_secs(10), two_are_left).await;
    })
    .await;
}
