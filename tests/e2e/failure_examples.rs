//! The worked examples of docs/failure-handling.md do what that page says.

use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::EvictParams};
use longtask::api::task::{ConditionType, EndedAttempt, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};

use super::{
    backoff::{assert_delays, assert_starts_follow_the_delays},
    support::{PodExt, PodHistory, Task, message_of, story, story_of_reports},
};

fn example(yaml: &str) -> Value {
    serde_saphyr::from_str(yaml).expect("an example is YAML")
}

fn count(status: &LongTaskStatus, rule: &str) -> Option<i64> {
    status.rule_counters.iter().find(|counter| counter.name == rule).map(|counter| counter.count)
}

#[tokio::test]
async fn the_payment_goes_through_at_its_third_try_five_seconds_apart() {
    story(async |lab| {
        let task = lab.submit(example(include_str!("../../examples/failures/payment.yaml"))).await;
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!((status.totals.attempts, count(&status, "declined")), (3, Some(2)));
        assert_delays(&task, &[5, 5]);
        assert_starts_follow_the_delays(&task);
    })
    .await;
}

/// The memory limits that the task's pods had, one after the other.
fn memory_limits(task: &Task<'_>) -> Vec<String> {
    let limit = |pod: &PodHistory| {
        let spec = pod.latest().spec.clone().expect("a spec");
        spec.containers[0].resources.clone().expect("resources").limits.expect("limits")["memory"].0.clone()
    };
    let mut limits: Vec<_> = task.pods().iter().map(limit).collect();
    limits.dedup();
    limits
}

/// On a busy node, containerd now and then learns of a kill for memory only after the end that it brought, and tells of
/// a plain SIGKILL. The rule does not match then, and the segment is tried again with the memory that it had.
pub(crate) fn is_untold_kill_for_memory(end: &EndedAttempt) -> bool {
    (end.outcome, end.reason.as_str(), end.exit_code) == (Outcome::Failed, "Error", Some(137))
}

#[tokio::test]
async fn a_worker_of_300_mib_ends_after_two_raises_from_its_checkpoint() {
    story(async |lab| {
        let task = lab.submit(example(include_str!("../../examples/failures/memory.yaml"))).await;
        let status = task.ends_as(Phase::Succeeded, 60).await;
        println!("limits {:?}, ends {:?}", memory_limits(&task), status.recent_attempts);
        assert_eq!(memory_limits(&task), ["100Mi", "200Mi", "400Mi"]);
        assert_eq!(status.memory.map(|memory| memory.to_string()).as_deref(), Some("400Mi"));
        let told = status.recent_attempts.iter().rev().filter(|end| !is_untold_kill_for_memory(end));
        let ends: Vec<_> = told.map(|end| (end.outcome, end.reason.as_str())).collect();
        let killed = (Outcome::Failed, "OOMKilled");
        assert_eq!(ends, [killed, killed, (Outcome::Completed, "")]);
        assert_eq!(
            status.checkpoint.map(|checkpoint| (checkpoint.attempt, checkpoint.data)),
            Some((1, Some(json!({ "step": 1 }))))
        );
        let events = lab.kubectl_output(&["describe", "longtask", "memory"]).await;
        assert!(events.contains("memory raised to 200Mi") && events.contains("memory raised to 400Mi"), "{events}");
    })
    .await;
}

#[tokio::test]
async fn the_poison_record_is_held_for_a_human_who_has_it_skipped() {
    story(async |lab| {
        let task = lab.submit(example(include_str!("../../examples/failures/poison.yaml"))).await;
        let status = task.until_phase(Phase::Suspended, 40).await;
        assert_eq!((status.reason.as_str(), status.totals.attempts), ("Held", 3));
        let (_, words) = message_of(&status, ConditionType::Suspended).expect("it says why");
        assert!(words.contains("RuleLimitExceeded") && words.contains("spec.restart.token"), "{words}");
        let patch = r#"[{"op": "add", "path": "/spec/template/spec/containers/0/env/0/value", "value": "3"},
                        {"op": "add", "path": "/spec/restart", "value": {"token": "skip-record-3"}}]"#;
        lab.kubectl_output(&["patch", "lt", "poison", "--type=json", "--patch", patch]).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.run.number, status.progress.and_then(|progress| progress.completed)), (1, Some(6)));
    })
    .await;
}

#[tokio::test]
async fn work_on_a_spot_node_goes_on_from_its_last_step_whenever_it_is_taken_away() {
    story_of_reports(async |lab| {
        let task = lab.submit(example(include_str!("../../examples/failures/spot.yaml"))).await;
        let pods: Api<Pod> = lab.api();
        for attempt in 1..=2 {
            let runs = |pod: &Pod| pod.containers().any(|container| container.started == Some(true));
            task.until_pod(attempt, "runs", 30, runs).await;
            // Some steps; of the last ones it tells when it ends.
            tokio::time::sleep(std::time::Duration::from_secs(2)).await;
            pods.evict(&format!("spot-{attempt}"), &EvictParams::default()).await.expect("evict the pod");
        }
        let status = task.ends_as(Phase::Succeeded, 60).await;
        let ends: Vec<_> = status.recent_attempts.iter().rev().map(|end| end.outcome).collect();
        assert_eq!(ends, [Outcome::Interrupted, Outcome::Interrupted, Outcome::Completed]);
        assert_eq!((status.totals.interruptions, status.consecutive.interruptions, status.retries), (2, 0, 0));
        assert_eq!(status.checkpoint.and_then(|checkpoint| checkpoint.data), Some(json!({ "step": 20 })));
        assert!(status.totals.work_lost_seconds <= 2, "at most a step is done again: {:?}", status.totals);
    })
    .await;
}
