//! A kubelet, a node or the whole machine fails. These stories stop components of the local cluster: see
//! `support/outage.rs`.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Node;
use kube::{Api, api::DeleteParams, runtime::wait::await_condition};
use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::support::{
    Change, Lab, PodExt, Task, Undo, kill_all_of_pod, manifest, message_of, stop, story_of_an_outage,
};

fn ends(status: &LongTaskStatus) -> Vec<(Outcome, &str)> {
    status.recent_attempts.iter().rev().map(|attempt| (attempt.outcome, attempt.reason.as_str())).collect()
}

fn node_of(task: &Task<'_>) -> String {
    task.pods()[0].latest().spec.clone().and_then(|spec| spec.node_name).expect("it runs on a node")
}

#[tokio::test]
async fn a_kubelet_that_starts_again_costs_nothing() {
    story_of_an_outage(async |lab| {
        let task = lab.submit(manifest("unaware", &["--steps=8", "--step-time=1s"])).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        let kubelet = stop("kubelet");
        task.journal().until_step(4, Duration::from_secs(10)).await;
        kubelet.now().await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(ends(&status), [(Outcome::Completed, "")]);
        assert_eq!(task.journal().steps(), (1..=8).collect::<Vec<_>>());
    })
    .await;
}

/// Slice, grace, and the time for a kubelet to say what it must: from then on a running pod is overdue, in seconds.
const OVERDUE: u64 = 8 + 1 + 60;

/// A task whose first attempt does one step and then waits for the end of its slice.
fn short_slices(name: &str, then: &str) -> Value {
    manifest(name, &["--steps=2", "--step-time=0", then])
        .and(json!({ "spec": { "segment": { "duration": "8s", "gracePeriod": "1s" } } }))
}

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Waits until the cluster has missed the kubelet.
async fn until_silent(lab: &Lab, node: &str) {
    let stopped = Instant::now();
    let is_silent = |node: Option<&Node>| {
        let conditions = node.and_then(|node| node.status.as_ref()?.conditions.as_ref());
        conditions.is_some_and(|all| all.iter().any(|one| one.type_ == "Ready" && one.status == "Unknown"))
    };
    let silent = await_condition(Api::all(lab.client.clone()), node, is_silent);
    timeout(Duration::from_mins(2), silent).await.expect("in time").expect("the node is missed");
    println!("the node was missed {:?} after its kubelet stopped", stopped.elapsed());
}

fn is_overdue(status: &LongTaskStatus) -> bool {
    message_of(status, ConditionType::AttemptOverdue).is_some()
}

/// The program of a lost machine has ended as well: here it does when it is told, and nobody sees it.
const LOST: &str = "attempt=1 before=2: wait /journal/lost; exit 1";

async fn given_up(task: &Task<'_>, since: Instant) -> LongTaskStatus {
    let status = task.until("its attempt is given up", 90, |status| status.totals.attempts == 1).await;
    println!("{}: given up {:?} after the remedy", task.name, since.elapsed());
    status
}

#[tokio::test]
async fn an_attempt_on_a_silent_node_is_overdue_and_given_up_only_by_somebodys_word() {
    story_of_an_outage(async |lab| {
        let tolerates = json!([{ "key": OUT_OF_SERVICE, "operator": "Exists" }]);
        let tolerates = json!({ "spec": { "template": { "spec": { "tolerations": tolerates } } } });
        let patient = short_slices("patient", "attempt=1 before=2: sleep forever").and(tolerates.clone());
        let patient = lab.submit(patient).await;
        let lost = lab.submit(short_slices("lost", LOST)).await;
        let forced = lab.submit(short_slices("forced", LOST).and(tolerates)).await;
        for task in [&patient, &lost, &forced] {
            task.until_phase(Phase::Running, 20).await;
            task.journal().until_step(1, Duration::from_secs(20)).await;
        }
        let node = node_of(&lost);
        let kubelet = stop("kubelet");
        lab.touch("lost");
        let delete = ["delete", "pod", "forced-1", "--force", "--grace-period=0", "--wait=false"];
        lab.kubectl_output(&delete).await;
        let deleted = Instant::now();
        until_silent(lab, &node).await;
        let untaint = Undo::by(&["kubectl", "taint", "node", &node, &format!("{OUT_OF_SERVICE}-")]);
        lab.kubectl_output(&["taint", "node", &node, &format!("{OUT_OF_SERVICE}=nodeshutdown:NoExecute")]).await;
        let tainted = Instant::now();
        let (overdue, lost_status, forced_status) = tokio::join!(
            patient.until("it is overdue", OVERDUE, is_overdue),
            given_up(&lost, tainted),
            given_up(&forced, deleted),
        );
        assert_eq!(ends(&lost_status), [(Outcome::Interrupted, "Evicted")]);
        assert_eq!(ends(&forced_status), [(Outcome::Interrupted, "Deleted")]);
        let (_, words) = message_of(&overdue, ConditionType::AttemptOverdue).expect("just seen");
        for remedy in [&node, "delete the Node object", OUT_OF_SERVICE, "force-delete"] {
            assert!(words.contains(remedy), "{words}");
        }
        assert_eq!((overdue.totals.attempts, patient.pods().len()), (0, 1), "nothing is given up");
        untaint.now().await;

        kubelet.now().await;
        let status = patient.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(ends(&status), [(Outcome::TimeLimit, ""), (Outcome::Completed, "")]);
        assert!(!is_overdue(&status));
        assert_eq!(patient.journal().start_of(2).step, 1, "what the program reported was not lost");
        for task in [&lost, &forced] {
            let status = task.ends_as(Phase::Succeeded, 40).await;
            assert_eq!((status.totals.interruptions, status.totals.failures, status.retries), (1, 0, 0));
        }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_whose_node_object_was_deleted_is_interrupted_by_the_loss_of_its_node() {
    story_of_an_outage(async |lab| {
        let task = lab.submit(manifest("orphaned", &["--steps=4", "--step-time=100ms", LOST])).await;
        task.journal().until_step(1, Duration::from_secs(20)).await;
        task.until_phase(Phase::Running, 20).await;
        let node = node_of(&task);
        // With its node, kube-proxy ends as well.
        let all = Undo::by(&["cluster", "up"]);
        let kubelet = stop("kubelet");
        lab.touch("lost");
        let nodes: Api<Node> = Api::all(lab.client.clone());
        nodes.delete(&node, &DeleteParams::default()).await.expect("delete the node");
        let deleted = Instant::now();
        let status = given_up(&task, deleted).await;
        assert_eq!(ends(&status), [(Outcome::Interrupted, "NodeLost")]);
        kubelet.now().await;
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!((status.totals.interruptions, status.totals.failures, status.retries), (1, 0, 0));
        assert_eq!(task.journal().all("start").len(), 2);
        nodes.get(&node).await.expect("the kubelet has registered its node again");
        all.now().await;
    })
    .await;
}

/// The machine is back before anybody has missed it, and its container runtime does not know how its containers ended.
#[tokio::test]
async fn a_machine_that_boots_again_interrupts_its_attempts() {
    story_of_an_outage(async |lab| {
        let task = lab.submit(manifest("rebooted", &["--steps=4", "--step-time=1s"])).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        let uid = task.pods()[0].latest().metadata.uid.clone().expect("stored objects have one");
        let kubelet = stop("kubelet");
        let containerd = stop("containerd");
        kill_all_of_pod(&uid);
        containerd.now().await;
        kubelet.now().await;
        let pod = task.until_pod(1, "has ended", 60, |pod| pod.end_of("main").is_some()).await;
        let end = pod.end_of("main").expect("just seen");
        println!("the container runtime says: exit code {}, reason {:?}", end.exit_code, end.reason);
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!(ends(&status), [(Outcome::Interrupted, "Unknown"), (Outcome::Completed, "")]);
        assert_eq!((status.totals.failures, status.retries), (0, 0));
        assert_eq!(task.journal().start_of(2).step, 2, "the report was not lost");
    })
    .await;
}
