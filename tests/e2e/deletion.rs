//! Tasks, and namespaces of tasks, go when they are deleted, and take their pods with them.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, PropagationPolicy},
};
use longtask::api::task::Phase;
use serde_json::json;

use super::support::{Change, Lab, PodExt, Task, is_not_found, manifest, story};

/// A task whose second attempt runs, so that a finished pod and a running one are there.
async fn running<'a>(lab: &'a Lab, name: &str) -> Task<'a> {
    let arguments = ["--steps=99", "--step-time=1s", "segment=1 before=2: exit 75"];
    let task = lab.submit(manifest(name, &arguments)).await;
    task.journal().until_step(2, Duration::from_secs(25)).await;
    task
}

async fn all_gone(lab: &Lab, task: &Task<'_>, seconds: u64) {
    lab.until("the task and its pods are gone", Duration::from_secs(seconds), |seen| {
        (seen.is_task_gone(&task.uid) && seen.pods_of(&task.uid).all(|pod| pod.is_gone)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_deleted_task_takes_its_pods_with_it() {
    story(async |lab| {
        for (name, params) in [("background", DeleteParams::background()), ("foreground", DeleteParams::foreground())] {
            let task = running(lab, name).await;
            task.delete(params).await;
            all_gone(lab, &task, 20).await;
            assert_eq!(task.journal().all("term").len(), 1, "{name}: the program was asked to stop");
            assert_eq!(task.pods().len(), 2, "{name}: nothing was started any more");
        }
    })
    .await;
}

#[tokio::test]
async fn orphaned_pods_stay_and_are_free_of_the_operator() {
    story(async |lab| {
        let task = running(lab, "orphan").await;
        task.delete(DeleteParams { propagation_policy: Some(PropagationPolicy::Orphan), ..DeleteParams::default() })
            .await;
        let is_free = |seen: &super::support::Sightings| {
            let free = |pod: &super::support::PodHistory| {
                !pod.latest().has_our_finalizer() && pod.latest().owner_references().is_empty()
            };
            (seen.is_task_gone(&task.uid) && seen.pods_of(&task.uid).all(free)).then_some(())
        };
        lab.until("the task is gone and its pods are free", Duration::from_secs(20), is_free).await;
        let pods = task.pods();
        assert!(pods.len() == 2 && pods.iter().all(|pod| !pod.is_gone));
        task.until_pod(2, "runs", 10, |pod| pod.phase() == "Running").await;
        task.journal().until_step(4, Duration::from_secs(15)).await;
        lab.api::<Pod>().delete("orphan-2", &DeleteParams::default()).await.expect("delete the orphan");
    })
    .await;
}

#[tokio::test]
async fn pods_of_a_task_deleted_while_the_operator_was_down_are_let_go() {
    story(async |lab| {
        let task = running(lab, "unseen").await;
        lab.kill_operator().await;
        task.delete(DeleteParams::background()).await;
        let is_held = |pod: &Pod| pod.phase() != "Running" && pod.metadata.deletion_timestamp.is_some();
        task.until_pod(2, "has ended and is held", 20, is_held).await;
        lab.start_operator();
        all_gone(lab, &task, 20).await;
    })
    .await;
}

#[tokio::test]
async fn deleting_the_namespace_of_a_running_task_does_not_hang() {
    story(async |lab| {
        let task = running(lab, "homeless").await;
        let retried = lab
            .submit(manifest("waiting", &["start: exit 1"]).and(json!({
                "spec": { "retry": { "backoff": { "initial": "2s" } } }
            })))
            .await;
        retried.until_phase(Phase::Waiting, 20).await;
        let namespaces: Api<Namespace> = Api::all(lab.client.clone());
        namespaces.delete(&lab.namespace, &DeleteParams::default()).await.expect("delete the namespace");
        all_gone(lab, &task, 30).await;
        all_gone(lab, &retried, 30).await;
        let gone = kube::runtime::wait::await_condition(
            namespaces.clone(),
            &lab.namespace,
            |namespace: Option<&Namespace>| namespace.is_none(),
        );
        let waited = tokio::time::timeout(Duration::from_secs(40), gone).await;
        let left = namespaces.get(&lab.namespace).await;
        assert!(waited.is_ok() && is_not_found(left.as_ref().err()), "it still is there: {left:?}");
    })
    .await;
}

#[tokio::test]
async fn a_task_recreated_under_the_same_name_waits_for_the_old_pods() {
    story(async |lab| {
        // In its third attempt, with the pod of the first one gone: that name is free for the new task.
        let deaf = [
            "--steps=99",
            "--step-time=1s",
            "before=2 segment=1: exit 75",
            "before=3 segment=2: exit 75",
            "term: ignore",
        ];
        let one_kept = json!({ "spec": { "podHistoryLimit": 1 } });
        let old = lab.submit(manifest("phoenix", &deaf).and(one_kept)).await;
        old.journal()
            .until("attempt 3 works", Duration::from_secs(30), |entry| entry.attempt == 3 && entry.event == "step")
            .await;
        let is_first_gone = |seen: &super::support::Sightings| seen.pods_of(&old.uid).next()?.is_gone.then_some(());
        lab.until("the first pod is gone", Duration::from_secs(10), is_first_gone).await;
        old.delete(DeleteParams::background()).await;
        let new = lab.submit(manifest("phoenix", &["--steps=1", "--step-time=0", "--resume=none"])).await;
        assert_ne!(old.uid, new.uid);
        let waiting = new.until("it waits", 10, |status| !status.reason.is_empty()).await;
        assert_eq!(waiting.reason, "WaitingForOldTask", "{waiting:#?}");
        new.ends_as(Phase::Succeeded, 30).await;
        let old_pods = old.pods();
        let (_, old_end) = old_pods.last().expect("it had some").times_of("main");
        let new_start = new.pods()[0].creation_time();
        assert!(old_end <= new_start, "the old program ended at {old_end}, the new pod is of {new_start}");
    })
    .await;
}
