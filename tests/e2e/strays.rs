//! Pods that a task has no use for: copies of its pods, and those that are not wanted any more.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::{Api, api::DeleteParams, runtime::wait::await_condition};
use longtask::api::task::Phase;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    blocked::{asks_for, resource},
    support::{COPY_LABEL, Change, Lab, Sightings, Task, manifest, pod, story},
};

/// From then on nothing can be on its way that an operator before had sent.
const GROWN_UP: Duration = Duration::from_secs(31);

async fn done<'a>(lab: &'a Lab, name: &str) -> Task<'a> {
    let task = lab.submit(manifest(name, &["--steps=1", "--step-time=0"])).await;
    task.ends_as(Phase::Succeeded, 30).await;
    task
}

/// A pod with all that a pod of the task has, under a number that the task has not come to, as of somebody who copied it.
async fn copy_of(lab: &Lab, task: &Task<'_>) -> String {
    let name = format!("{}-9", task.name);
    let original = lab.api::<Pod>().get(&format!("{}-1", task.name)).await.expect("the task's pod").metadata;
    let like_it: Value = json!({ "metadata": {
        "labels": original.labels, "annotations": original.annotations, "ownerReferences": original.owner_references,
        "finalizers": ["longtask.dev/outcome"],
    } });
    let mark = json!({ "metadata": { "labels": { COPY_LABEL: "true" } } });
    lab.create_pod(pod(&name, &["start: sleep forever", "term: exit 0"]).and(like_it).and(mark)).await;
    name
}

/// The namespace's controller deletes pods first, and the task when they are gone.
#[tokio::test]
async fn a_pod_beyond_the_last_attempt_of_a_finished_task_is_let_go_and_holds_no_namespace() {
    story(async |lab| {
        let task = done(lab, "done").await;
        let copy = copy_of(lab, &task).await;
        // Its name is held while a create may be on its way that an operator before had sent.
        let gone = await_condition(lab.api::<Pod>(), &copy, |pod: Option<&Pod>| pod.is_none());
        timeout(Duration::from_mins(1), gone).await.expect("in time").expect("the copy goes");
        let status = task.statuses().last().cloned().expect("it has one");
        assert_eq!((status.phase, status.totals.attempts), (Some(Phase::Succeeded), 1));
        lab.api::<Pod>().get("done-1").await.expect("its own pod is kept");

        copy_of(lab, &task).await;
        let namespaces: Api<Namespace> = Api::all(lab.client.clone());
        namespaces.delete(&lab.namespace, &DeleteParams::default()).await.expect("delete the namespace");
        let asked = Instant::now();
        let gone = await_condition(namespaces, &lab.namespace, |namespace: Option<&Namespace>| namespace.is_none());
        timeout(Duration::from_mins(1), gone).await.expect("in time").expect("the namespace goes");
        println!("the namespace went after {:?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_waits_for_room_is_gone_at_once_when_its_task_is_paused() {
    story(async |lab| {
        lab.operator_is_ready().await;
        let grown_up = Instant::now() + GROWN_UP;
        let task = lab.submit(asks_for("queued", &resource(lab), "1")).await;
        task.until("it waits for room", 20, |status| status.reason == "Unschedulable").await;
        // Age is no event.
        sleep_until(grown_up).await;
        task.change(json!({ "suspend": true })).await;
        let asked = Instant::now();
        lab.until("the pod is gone", Duration::from_secs(5), |seen: &Sightings| {
            seen.pods_of(&task.uid).all(|pod| pod.is_gone).then_some(())
        })
        .await;
        println!("the pod went after {:?}", asked.elapsed());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
        let status = task.until_phase(Phase::Suspended, 10).await;
        assert_eq!(status.totals.attempts, 0, "it never ran");
    })
    .await;
}
