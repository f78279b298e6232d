//! What a cluster does to pods on purpose: priorities, taints, full nodes, limits of storage.

use std::time::{Duration, Instant};

use k8s_openapi::api::{
    core::v1::{Node, Pod},
    scheduling::v1::PriorityClass,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, PostParams},
    runtime::{conditions::is_pod_running, wait::await_condition},
};
use longtask::api::task::{LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    blocked::{nodes_offer, resource},
    interruptions::{EXITS_0_WHEN_STOPPED, assert_only_interrupted},
    support::{Lab, PodExt, Task, Undo, container, manifest, pod, story},
};

const HOLDS_ITS_PLACE: [&str; 2] = ["start: sleep forever", "term: exit 0"];

/// Requests and limits of one resource.
fn claim(resource: &str, quantity: &str) -> Value {
    json!({ "requests": { resource: quantity }, "limits": { resource: quantity } })
}

fn task_that_claims(mut manifest: Value, claim: Value) -> Value {
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = claim;
    manifest
}

fn pod_that_claims(mut pod: Value, claim: Value) -> Value {
    pod["spec"]["containers"][0]["resources"] = claim;
    pod
}

/// A node, and a quantity of a resource of which it can give one pod so much, but not two.
async fn more_than_half(lab: &Lab, resource: &str) -> (String, String) {
    let nodes = Api::<Node>::all(lab.client.clone()).list(&ListParams::default()).await.expect("list nodes");
    let node = nodes.items.first().expect("a cluster has a node");
    let all =
        &node.status.as_ref().and_then(|status| status.allocatable.as_ref()).expect("it says what it has")[resource].0;
    let (number, unit) = all.split_at(all.find(|c: char| !c.is_ascii_digit()).unwrap_or(all.len()));
    let number: u64 = number.parse().expect("a number");
    let quantity = if unit.is_empty() { format!("{}m", number * 600) } else { format!("{}{unit}", number * 3 / 5) };
    (node.name_any(), quantity)
}

pub(crate) fn node_of(task: &Task<'_>) -> String {
    task.pods()[0].latest().spec.clone().and_then(|spec| spec.node_name).expect("it runs on a node")
}

pub(crate) async fn until_interrupted(task: &Task<'_>) -> LongTaskStatus {
    task.until("it is interrupted", 30, |status| status.totals.interruptions > 0).await
}

#[tokio::test]
async fn a_pod_of_higher_priority_takes_the_place_of_an_attempt_and_gives_it_back() {
    story(async |lab| {
        let scarce = resource(lab);
        nodes_offer(lab, &scarce, Some("1")).await;
        let class = lab.namespace.clone();
        let undo = Undo::by(&["kubectl", "delete", "priorityclass", &class, "--ignore-not-found"]);
        let urgent: PriorityClass =
            serde_json::from_value(json!({ "metadata": { "name": class }, "value": 1000 })).expect("a class");
        Api::all(lab.client.clone()).create(&PostParams::default(), &urgent).await.expect("create the class");
        let mut rival = pod_that_claims(pod("rival", &["--steps=1", "--step-time=0"]), claim(&scarce, "1"));
        rival["spec"]["priorityClassName"] = json!(class);
        lab.until_pods_are_admitted(&rival).await;

        let task = lab.submit(task_that_claims(manifest("humble", &EXITS_0_WHEN_STOPPED), claim(&scarce, "1"))).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        rival["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node_of(&task) });
        let came = Instant::now();
        lab.create_pod(rival).await;
        until_interrupted(&task).await;
        println!("the interruption was recorded {:?} after the rival's creation", came.elapsed());
        assert_only_interrupted(&task, "Preempted").await;
        undo.now().await;
        nodes_offer(lab, &scarce, None).await;
    })
    .await;
}

/// The kubelet itself makes room for a critical pod, and tells of it only when the pod has ended.
#[tokio::test]
async fn a_critical_pod_takes_the_place_of_an_attempt_on_its_node() {
    story(async |lab| {
        let (node, most) = more_than_half(lab, "memory").await;
        let mut humble = task_that_claims(manifest("humble", &EXITS_0_WHEN_STOPPED), claim("memory", &most));
        humble["spec"]["template"]["spec"]["nodeSelector"] = json!({ "kubernetes.io/hostname": node });
        let task = lab.submit(humble).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        let mut critical = pod_that_claims(pod("critical", &["--steps=1"]), claim("memory", &most));
        critical["spec"]["priorityClassName"] = json!("system-node-critical");
        critical["spec"]["nodeName"] = json!(node);
        lab.create_pod(critical).await;
        assert_only_interrupted(&task, "Evicted").await;
        let disruption = task.pods()[0].latest().status.clone().and_then(|status| status.conditions);
        let disruption = disruption.into_iter().flatten().find(|condition| condition.type_ == "DisruptionTarget");
        assert_eq!(disruption.and_then(|found| found.reason).as_deref(), Some("TerminationByKubelet"));
    })
    .await;
}

/// A template that names its node passes by the scheduler.
#[tokio::test]
async fn a_pod_that_the_kubelet_rejects_is_made_again_until_there_is_room() {
    story(async |lab| {
        let (node, most) = more_than_half(lab, "cpu").await;
        let mut holder = pod_that_claims(pod("holder", &HOLDS_ITS_PLACE), claim("cpu", &most));
        holder["spec"]["nodeName"] = json!(node);
        lab.create_pod(holder).await;
        let runs = await_condition(lab.api::<Pod>(), "holder", is_pod_running());
        timeout(Duration::from_secs(30), runs).await.expect("in time").expect("the holder runs");

        let mut pinned = task_that_claims(manifest("pinned", &["--steps=1", "--step-time=0"]), claim("cpu", &most));
        pinned["spec"]["template"]["spec"]["nodeName"] = json!(node);
        let task = lab.submit(pinned).await;
        let status = until_interrupted(&task).await;
        let refused = status.last_failure.expect("it is told");
        assert_eq!((refused.outcome, refused.reason.as_str()), (Outcome::Interrupted, "Rejected"));
        assert!(refused.message.contains("cpu"), "the kubelet's own words: {}", refused.message);
        lab.api::<Pod>().delete("holder", &DeleteParams::default()).await.expect("delete the holder");
        let status = task.ends_as(Phase::Succeeded, 30).await;
        println!("{} attempts were rejected before there was room", status.totals.interruptions);
        assert_eq!((status.totals.failures, status.totals.start_failures, status.retries), (0, 0, 0));
        assert_eq!((status.totals.attempts, status.segment), (status.totals.interruptions + 1, 1));
    })
    .await;
}

/// A port of the node that no other test asks for.
const PORT: i32 = 38017;

#[tokio::test]
async fn a_pod_whose_host_port_is_taken_there_is_rejected_and_costs_no_start() {
    story(async |lab| {
        let ports = json!([{ "containerPort": PORT, "hostPort": PORT }]);
        let node = Api::<Node>::all(lab.client.clone()).list(&ListParams::default()).await.expect("list nodes").items
            [0]
        .name_any();
        let mut holder = pod("holder", &HOLDS_ITS_PLACE);
        holder["spec"]["nodeName"] = json!(node);
        holder["spec"]["containers"][0]["ports"] = ports.clone();
        lab.create_pod(holder).await;
        let runs = await_condition(lab.api::<Pod>(), "holder", is_pod_running());
        timeout(Duration::from_secs(30), runs).await.expect("in time").expect("the holder runs");
        let mut pinned = manifest("pinned", &["--steps=1", "--step-time=0"]);
        pinned["spec"]["template"]["spec"]["nodeName"] = json!(node);
        pinned["spec"]["template"]["spec"]["containers"][0]["ports"] = ports;
        let task = lab.submit(pinned).await;
        let status = until_interrupted(&task).await;
        let refused = status.last_failure.expect("it is told");
        assert_eq!((refused.outcome, refused.reason.as_str()), (Outcome::Interrupted, "Rejected"), "{refused:?}");
        lab.api::<Pod>().delete("holder", &DeleteParams::default()).await.expect("delete the holder");
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!((status.totals.failures, status.totals.start_failures, status.retries), (0, 0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_exceeds_its_own_limit_of_storage_has_failed() {
    story(async |lab| {
        let fills = ["--steps=3", "--step-time=0", "attempt=1 before=3: store 32Mi; sleep forever"];
        let greedy = task_that_claims(manifest("greedy", &fills), claim("ephemeral-storage", "8Mi"));
        let task = lab.submit(greedy).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        let began = Instant::now();
        let status = task.ends_as(Phase::Succeeded, 60).await;
        println!("it took {:?} until it was evicted and had run again", began.elapsed());
        let failure = status.last_failure.expect("it is told");
        assert_eq!((failure.outcome, failure.reason.as_str()), (Outcome::Failed, "Evicted"), "{}", failure.message);
        assert!(failure.message.contains("ephemeral"), "the kubelet's own words: {}", failure.message);
        assert_eq!((status.totals.failures, status.totals.interruptions, status.retries), (1, 0, 1));
        // A busy kubelet removes the container of a pod that it evicts before it has read how it ended.
        let pods = task.pods();
        let end = pods[0].latest().end_of("main");
        let is_report_lost = end.is_none_or(|end| end.reason.as_deref() == Some("ContainerStatusUnknown"));
        println!("the kubelet has lost the report: {is_report_lost}");
        assert_eq!(task.journal().start_of(2).step, if is_report_lost { 0 } else { 2 });
    })
    .await;
}

#[tokio::test]
async fn a_program_that_failed_before_its_pod_was_deleted_has_failed() {
    story(async |lab| {
        let mut fails = manifest("too-late", &["--steps=1", "--step-time=0", "attempt=1 before=1: exit 3"]);
        fails["spec"]["template"]["spec"]["containers"]
            .as_array_mut()
            .expect("a list")
            .push(container("proxy", &HOLDS_ITS_PLACE));
        let task = lab.submit(fails).await;
        task.until_pod(1, "has lost its main container", 20, |pod| pod.end_of("main").is_some()).await;
        // The cluster's times are whole seconds: an end within the second of the delete counts as its consequence.
        tokio::time::sleep(Duration::from_millis(1100)).await;
        lab.kubectl_output(&["delete", "pod", "too-late-1", "--wait=false"]).await;
        let status = task.ends_as(Phase::Succeeded, 40).await;
        let failure = status.last_failure.expect("it is told");
        assert_eq!((failure.outcome, failure.exit_code), (Outcome::Failed, Some(3)));
        assert_eq!((status.totals.failures, status.totals.interruptions), (1, 0));
    })
    .await;
}
