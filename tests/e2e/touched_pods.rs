//! What people do to the labels and annotations of a pod that runs changes nothing about its attempt.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use longtask::api::task::{LongTaskStatus, Outcome, Phase};
use serde_json::json;

use super::support::{Lab, PodExt, Sightings, Task, container, manifest, story};

fn ends(status: &LongTaskStatus) -> Vec<(i64, Outcome)> {
    status.recent_attempts.iter().rev().map(|attempt| (attempt.segment, attempt.outcome)).collect()
}

async fn nothing_is_held(lab: &Lab) {
    lab.until("no pod is held", Duration::from_secs(20), |seen: &Sightings| seen.held_pods().is_empty().then_some(()))
        .await;
}

/// Works until it is told to go on, then yields from a checkpoint; the second attempt is done at once.
const YIELDS_WHEN_TOLD: [&str; 3] = ["--steps=2", "--step-time=0", "attempt=1 before=2: wait /journal/yield; exit 75"];

async fn until_first_step(task: &Task<'_>) {
    task.journal().until_step(1, Duration::from_secs(20)).await;
    task.until_phase(Phase::Running, 20).await;
}

#[tokio::test]
async fn the_container_that_was_the_main_one_when_the_pod_was_made_decides() {
    story(async |lab| {
        let mut two = manifest("pointed", &YIELDS_WHEN_TOLD);
        let proxy = ["attempt=1: sleep 3s; exit 0", "attempt=2: exit 0"];
        two["spec"]["template"]["spec"]["containers"].as_array_mut().expect("a list").push(container("proxy", &proxy));
        let task = lab.submit(two).await;
        until_first_step(&task).await;
        let mark = "kubectl.kubernetes.io/default-container=proxy";
        lab.kubectl_output(&["annotate", "pod", "pointed-1", "--overwrite", mark]).await;
        task.until_pod(1, "has lost its proxy", 20, |pod| pod.end_of("proxy").is_some()).await;
        lab.touch("yield");
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!(ends(&status), [(1, Outcome::Yielded), (2, Outcome::Completed)]);
        assert_eq!(task.journal().start_of(2).step, 1, "its checkpoint was taken");
    })
    .await;
}

#[tokio::test]
async fn an_attempt_whose_labels_are_changed_goes_on_and_is_counted_as_what_it_is() {
    story(async |lab| {
        let task = lab.submit(manifest("relabelled", &YIELDS_WHEN_TOLD)).await;
        until_first_step(&task).await;
        for label in ["longtask.dev/segment=9", "longtask.dev/attempt=7", "longtask.dev/run=3"] {
            lab.kubectl_output(&["label", "pod", "relabelled-1", "--overwrite", label]).await;
        }
        lab.touch("yield");
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!(ends(&status), [(1, Outcome::Yielded), (2, Outcome::Completed)]);
        assert_eq!((status.totals.attempts, status.run.number, task.pods().len()), (2, 1, 2));
        nothing_is_held(lab).await;
    })
    .await;
}

#[tokio::test]
async fn an_attempt_whose_pod_lost_its_label_goes_on_alone_and_is_counted_once() {
    story(async |lab| {
        let task = lab.submit(manifest("unlabelled", &YIELDS_WHEN_TOLD)).await;
        until_first_step(&task).await;
        lab.kubectl_output(&["label", "pod", "unlabelled-1", "longtask.dev/task-"]).await;
        let has_none = |pod: &Pod| pod.metadata.labels.iter().flatten().all(|(name, _)| name != "longtask.dev/task");
        task.until_pod(1, "has no label", 10, has_none).await;
        // What is edited now is planned with the pod out of sight.
        task.change(json!({ "podHistoryLimit": 5 })).await;
        let status = task.until("it knows of the edit", 20, |status| status.observed_generation == 2).await;
        assert_eq!((status.phase, status.totals.attempts, task.pods().len()), (Some(Phase::Running), 0, 1));
        lab.touch("yield");
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!(ends(&status), [(1, Outcome::Yielded), (2, Outcome::Completed)]);
        assert_eq!((status.totals.attempts, task.pods().len()), (2, 2));
        let (_, first_end) = task.pods()[0].times_of("main");
        assert!(first_end <= task.pods()[1].creation_time(), "one after the other");
        nothing_is_held(lab).await;
    })
    .await;
}
