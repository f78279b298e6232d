//! Stories that disturb or measure the whole cluster, and so have it for themselves. They are told after all the others: one
//! among those would have to wait until the longest of them is over, and they for it.

mod outages;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::{Api, Client, ResourceExt, api::ListParams};
use longtask::api::task::Phase;
use serde_json::json;
use tokio::time::{Instant, sleep};

use crate::{
    blocked::resource,
    disruptions::{node_of, until_interrupted},
    interruptions::{assert_only_interrupted, two_steps_into},
    support::{Change, RUN_LABEL, Sightings, Undo, manifest, story_alone, this_run},
};

#[tokio::test]
async fn exit_0_on_a_node_drain_does_not_complete_the_task() {
    story_alone(async |lab| {
        let task = two_steps_into(lab, "drained").await;
        let node = task.pods()[0].latest().spec.clone().and_then(|spec| spec.node_name).expect("it runs on a node");
        let selector = format!("--pod-selector=longtask.dev/task-uid={}", task.uid);
        let drain = ["drain", &node, &selector, "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=30s"];
        let drained = lab.kubectl(&drain).await;
        lab.kubectl_output(&["uncordon", &node]).await;
        let said = String::from_utf8_lossy(&drained.stderr);
        // It waits until the pod has gone, and ours is kept for its logs; it has evicted it all the same.
        println!("kubectl drain: {} {said}", drained.status);
        assert_only_interrupted(&task, "Evicted").await;
        let nodes: Api<Node> = Api::all(lab.client.clone());
        let unschedulable = nodes.get(&node).await.expect("read the node").spec.and_then(|spec| spec.unschedulable);
        assert_ne!(unschedulable, Some(true), "the node is back");
    })
    .await;
}

#[tokio::test]
async fn a_taint_that_a_pod_does_not_tolerate_evicts_it() {
    story_alone(async |lab| {
        let task = two_steps_into(lab, "intolerant").await;
        let (node, taint) = (node_of(&task), resource(lab));
        lab.kubectl_output(&["taint", "node", &node, &format!("{taint}=:NoExecute")]).await;
        let undo = Undo::by(&["kubectl", "taint", "node", &node, &format!("{taint}-")]);
        let tainted = Instant::now();
        let status = until_interrupted(&task).await;
        println!("the interruption was recorded {:?} after the taint", tainted.elapsed());
        let words = status.last_failure.map(|failure| failure.message).unwrap_or_default();
        assert!(words.contains("Taint"), "the cluster's own words: {words}");
        undo.now().await;
        assert_only_interrupted(&task, "Evicted").await;
    })
    .await;
}

/// Status 2, create 1, deadline 1, finalizer 1, delete 1.
const WRITES_PER_SEGMENT: u64 = 6;

#[tokio::test]
async fn a_segment_costs_at_most_six_writes() {
    story_alone(async |lab| {
        lab.operator_is_ready().await;
        earlier_stories_are_cleared_away(&lab.client).await;
        let before = written(&lab.client).await;
        let change = json!({ "spec": { "segment": { "duration": "5s" }, "podHistoryLimit": 1 } });
        let task = lab.submit(manifest("counted", &["--steps=20", "--step-time=1s"]).and(change)).await;
        let status = task.ends_as(Phase::Succeeded, 55).await;
        let tidied = |seen: &Sightings| {
            let left: Vec<_> = seen.pods_of(&task.uid).filter(|pod| !pod.is_gone).collect();
            (left.len() == 1 && seen.held_pods().is_empty()).then_some(())
        };
        lab.until("one pod is left, and free", Duration::from_secs(10), tidied).await;
        let segments = u64::try_from(status.segment).expect("positive");
        let by_server = difference(&before, &written(&lab.client).await);
        let by_operator: BTreeMap<_, _> = lab.operators_writes().await.into_iter().collect();
        println!("{segments} segments; the API server counted {by_server:?}; the operator {by_operator:?}");
        assert!(segments >= 4, "{segments}");
        for writes in [&by_server, &by_operator] {
            let total: u64 = writes.values().sum();
            assert!(total <= WRITES_PER_SEGMENT * segments, "{total} writes in {segments} segments: {writes:?}");
            assert!(total >= 3 * segments, "the count is not believable: {writes:?}");
        }
        assert_eq!(by_operator.get("create pods"), Some(&segments));
    })
    .await;
}

/// Namespaces of stories that are over go in their own time, and their pods' deletions would be counted.
async fn earlier_stories_are_cleared_away(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    let of_stories = ListParams::default().labels(&format!("{RUN_LABEL}={}", this_run()));
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let all = namespaces.list(&of_stories).await.expect("list namespaces");
        let going: Vec<_> =
            all.iter().filter(|one| one.metadata.deletion_timestamp.is_some()).map(ResourceExt::name_any).collect();
        if going.is_empty() {
            return;
        }
        assert!(Instant::now() < deadline, "namespaces that do not go away: {going:?}");
        sleep(Duration::from_millis(500)).await;
    }
}

/// Writes to tasks' status and to pods that an operator sends: the kubelet and the scheduler write subresources.
async fn written(client: &Client) -> BTreeMap<String, u64> {
    let request = http::Request::get("/metrics").body(Vec::new()).expect("a request");
    let metrics = client.request_text(request).await.expect("the API server tells its metrics");
    let mut written = BTreeMap::new();
    for line in metrics.lines().filter(|line| line.starts_with("apiserver_request_total{")) {
        let label = |name: &str| {
            let (_, after) = line.split_once(&format!("{name}=\"")).expect(name);
            after.split('"').next().unwrap_or_default().to_owned()
        };
        let (verb, resource) = (label("verb"), label("resource"));
        if verb == "DELETE" && label("scope") == "namespace" {
            // Of a whole collection: so a namespace is emptied that somebody has deleted.
            continue;
        }
        let target = match (resource.as_str(), label(",subresource").as_str()) {
            ("longtasks", "status") => "longtasks/status",
            ("pods", "") => "pods",
            _ => continue,
        };
        if matches!(verb.as_str(), "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE") {
            let count = line.rsplit_once(' ').and_then(|(_, count)| count.parse::<f64>().ok()).expect("a number");
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
            let count = count as u64;
            *written.entry(format!("{verb} {target}")).or_default() += count;
        }
    }
    written
}

fn difference(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    let grown = after.iter().map(|(what, count)| (what.clone(), count - before.get(what).unwrap_or(&0)));
    grown.filter(|(_, count)| *count > 0).collect()
}
