//! Pods with more than the program in them.

use k8s_openapi::api::core::v1::Pod;
use longtask::api::task::{ConditionType, Outcome, Phase};
use serde_json::{Value, json};

use super::support::{Change, PodExt, container, manifest, message_of, story};

/// What a proxy does: works until it is told to stop.
const PROXY: [&str; 2] = ["start: sleep forever", "term: exit 0"];

fn outcomes(status: &longtask::api::task::LongTaskStatus) -> Vec<Outcome> {
    status.recent_attempts.iter().rev().map(|attempt| attempt.outcome).collect()
}

#[tokio::test]
async fn a_native_sidecar_serves_every_segment_and_ends_after_the_program() {
    story(async |lab| {
        let sidecar = container("proxy", &PROXY).and(json!({ "restartPolicy": "Always" }));
        let change = json!({ "spec": {
            "segment": { "duration": "5s" },
            "template": { "spec": { "initContainers": [sidecar] } },
        } });
        let task = lab.submit(manifest("native", &["--steps=4", "--step-time=2s"]).and(change)).await;
        let status = task.ends_as(Phase::Succeeded, 45).await;
        assert!(status.segment >= 2, "{status:#?}");
        assert_eq!(task.journal().steps(), [1, 2, 3, 4]);
        let has_told_all = |pod: &Pod| pod.end_of("main").is_some() && pod.end_of("proxy").is_some();
        for attempt in 1..=status.totals.attempts {
            task.until_pod(attempt, "has told how both ended", 10, has_told_all).await;
        }
        for pod in task.pods() {
            let ((_, program), (_, proxy)) = (pod.times_of("main"), pod.times_of("proxy"));
            assert!(program <= proxy, "{}: the program ended at {program}, its proxy at {proxy}", pod.name);
        }
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_that_never_ends_is_stopped_and_the_programs_own_end_counts() {
    story(async |lab| {
        let arguments = ["--steps=2", "--step-time=0", "segment=1 before=2: exit 75"];
        let task = lab.submit(with_containers("injected", &arguments, [container("proxy", &PROXY)])).await;
        let stopping = task.until_phase(Phase::Stopping, 20).await;
        assert_eq!(stopping.reason, "MainEnded");
        let status = task.ends_as(Phase::Succeeded, 50).await;
        assert_eq!(outcomes(&status), [Outcome::Yielded, Outcome::Completed]);
        assert_eq!(status.result, Some(json!({ "steps": 2 })));
        assert_eq!((status.totals.failures, status.retries), (0, 0));
    })
    .await;
}

#[tokio::test]
async fn the_failure_of_a_program_beside_a_sidecar_is_a_failure() {
    story(async |lab| {
        let arguments = ["--steps=1", "--step-time=0", "attempt=1 before=1: exit 3"];
        let task = lab.submit(with_containers("fails", &arguments, [container("proxy", &PROXY)])).await;
        let status = task.ends_as(Phase::Succeeded, 50).await;
        assert_eq!(outcomes(&status), [Outcome::Failed, Outcome::Completed]);
        assert_eq!(status.last_failure.and_then(|failure| failure.exit_code), Some(3));
    })
    .await;
}

/// A native sidecar that ends with 143 when it is stopped, as most do.
fn stopped_sidecar() -> Value {
    let sidecar = container("proxy", &["start: sleep forever", "term: exit 143"]);
    json!({ "spec": { "template": { "spec": { "initContainers": [sidecar.and(json!({ "restartPolicy": "Always" }))] } } } })
}

fn budget(of: &str) -> Value {
    json!({ "spec": { "retry": { "budgets": { of: 0 } } } })
}

#[tokio::test]
async fn a_sidecar_that_was_stopped_is_blamed_for_nothing() {
    story(async |lab| {
        let fails = manifest("fails", &["start: exit 3"]).and(budget("failures")).and(stopped_sidecar());
        let mut absent = manifest("absent", &[]).and(budget("startFailures")).and(stopped_sidecar());
        absent["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/no/such/program"]);
        let deleted =
            manifest("deleted", &["start: sleep forever"]).and(budget("interruptions")).and(stopped_sidecar());
        let (fails, absent, deleted) = (lab.submit(fails).await, lab.submit(absent).await, lab.submit(deleted).await);
        deleted.until_phase(Phase::Running, 30).await;
        lab.kubectl_output(&["delete", "pod", "deleted-1", "--wait=false"]).await;
        for (task, outcome) in
            [(&fails, Outcome::Failed), (&absent, Outcome::StartFailed), (&deleted, Outcome::Interrupted)]
        {
            let status = task.ends_as(Phase::Failed, 50).await;
            let (_, failed) = message_of(&status, ConditionType::Failed).expect("it failed");
            let failure = status.last_failure.expect("it is told");
            assert_eq!(failure.outcome, outcome, "{failure:?}");
            assert!(!failure.message.contains("proxy") && !failed.contains("proxy"), "{failure:?}, {failed}");
            assert_eq!(task.name == "absent", failure.message.contains("no such"), "the runtime's words: {failure:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_sidecar_that_crashes_before_the_program_starts_can_be_matched_by_a_rule() {
    story(async |lab| {
        let crashes = container("proxy", &["start: exit 1"]).and(json!({
            "restartPolicy": "Always",
            "startupProbe": { "exec": { "command": ["/no/such/program"] }, "periodSeconds": 1 },
        }));
        let rule = json!({ "name": "crashes", "onReasons": ["CrashLoopBackOff"], "action": "Hold" });
        let change = json!({ "spec": {
            "segment": { "startTimeout": "10s", "gracePeriod": "1s" },
            "failurePolicy": { "rules": [rule] },
            "template": { "spec": { "initContainers": [crashes] } },
        } });
        let task = lab.submit(manifest("held", &["--steps=0"]).and(change)).await;
        let status = task.until_phase(Phase::Suspended, 40).await;
        assert_eq!(status.reason, "Held");
        let failure = status.last_failure.expect("it is told");
        assert_eq!((failure.outcome, failure.reason.as_str()), (Outcome::StartFailed, "CrashLoopBackOff"));
        assert!(failure.message.contains("proxy"), "{failure:?}");
    })
    .await;
}

/// The kubelet shares 12288 bytes of messages among the containers, and cuts each at its *end*.
#[tokio::test]
async fn reports_are_whole_beside_five_containers_that_fill_theirs() {
    story(async |lab| {
        let talker = |number: i32| {
            let report = json!([{ "name": "LONGTASK_REPORT", "value": "/dev/termination-log" }]);
            container(&format!("talker-{number}"), &["--steps=0", "end: ignore; fill 4000"])
                .and(json!({ "env": report }))
        };
        // Each line pads the file, so that the program has to empty it several times on the way.
        let arguments = [
            "--steps=20",
            "--step-time=100ms",
            r#"step: ignore; checkpoint {"padding": "................................................................................................................................................................................................................................................................................................................................................................................................................"}"#,
            "segment=1 before=11: exit 75",
        ];
        let task = lab.submit(with_containers("six", &arguments, (1..=5).map(talker))).await;
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!(task.journal().start_of(2).step, 10, "the last checkpoint of segment 1 came through");
        assert_eq!(status.result, Some(json!({ "steps": 20 })));
        assert_eq!(outcomes(&status), [Outcome::Yielded, Outcome::Completed]);
    })
    .await;
}

fn with_containers(name: &str, arguments: &[&str], others: impl IntoIterator<Item = Value>) -> Value {
    let mut manifest = manifest(name, arguments);
    let containers = manifest["spec"]["template"]["spec"]["containers"].as_array_mut().expect("a list");
    containers.extend(others);
    manifest
}
