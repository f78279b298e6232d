//! A kubelet, a node or the whole machine fails. These stories stop components of the local cluster: see
//! `support/outage.rs`.

use std::time::{Duration, Instant};

use k8s_openapi::{api::core::v1::Node, jiff::SignedDuration};
use kube::{Api, api::DeleteParams, runtime::wait::await_condition};
use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{
    disruptions::node_of,
    live::{length_of_a_cut, until_completed, watched},
    support::{Change, Lab, PodExt, Task, Undo, kill_all_of_pod, manifest, message_of, stop, story_of_an_outage},
};

fn ends(status: &LongTaskStatus) -> Vec<(Outcome, &str)> {
    status.recent_attempts.iter().rev().map(|attempt| (attempt.outcome, attempt.reason.as_str())).collect()
}

/// The program and its agent run on without it, and the status with them.
#[tokio::test]
async fn a_kubelet_that_is_away_for_longer_than_a_program_may_be_silent_costs_nothing() {
    story_of_an_outage(async |lab| {
        let missed = 2 + i64::try_from(length_of_a_cut().as_secs()).expect("not so long");
        let steps = format!("--steps={}", missed + 4);
        let task = lab.submit(manifest("unaware", &[&steps, "--step-time=1s"]).and(watched())).await;
        task.journal().until_step(2, Duration::from_secs(20)).await;
        let kubelet = stop("kubelet");
        task.journal().until_step(missed, length_of_a_cut()).await;
        assert_undisturbed(&task);
        kubelet.now().await;
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(ends(&status), [(Outcome::Completed, "")]);
        assert_eq!(task.journal().steps(), (1..=missed + 4).collect::<Vec<_>>());
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

/// Nothing was ended, and nothing was told to end.
fn assert_undisturbed(task: &Task<'_>) {
    let is_disturbed = |status: &LongTaskStatus| {
        status.totals.attempts > 0 || status.current_attempt.as_ref().is_some_and(|attempt| attempt.stop.is_some())
    };
    assert!(!task.statuses().iter().any(is_disturbed), "{:#?}", task.statuses());
    assert!(task.journal().all("term").is_empty());
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
        let forced = lab.submit(short_slices("forced", LOST).and(tolerates.clone())).await;
        let heard = manifest("heard", &["--steps=1000", "--step-time=1s"]).and(watched());
        let heard = lab.submit(heard.and(tolerates)).await;
        for task in [&patient, &lost, &forced, &heard] {
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
        // Its agent does not need the kubelet.
        let done = heard.journal().steps().last().copied().expect("it works");
        until_completed(&heard, done, 20).await;
        println!("{done} steps of a program that reports were done and known while the node was silent");
        assert_undisturbed(&heard);

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

/// The most work that is lost of a program that reports every five seconds and whose status is written as often: what it did
/// since its agent posted, and what has not been written since.
const LOST_WORK: SignedDuration = SignedDuration::from_secs(5 + 5);

#[tokio::test]
async fn an_attempt_whose_node_object_was_deleted_is_interrupted_and_resumes_where_it_was_heard_of_last() {
    story_of_an_outage(async |lab| {
        let task = lab.submit(manifest("orphaned", &["--steps=4", "--step-time=100ms", LOST])).await;
        let live = lab.submit(manifest("live", &["--steps=1000", "--step-time=100ms"]).and(watched())).await;
        task.journal().until_step(1, Duration::from_secs(20)).await;
        task.until_phase(Phase::Running, 20).await;
        // Two reports in, and in the middle between two of them.
        until_completed(&live, 60, 30).await;
        let done = live.journal().steps().len();
        live.journal().until_step(i64::try_from(done).expect("some") + 25, Duration::from_secs(10)).await;
        let node = node_of(&task);
        // With its node, kube-proxy ends as well.
        let all = Undo::by(&["cluster", "up"]);
        let kubelet = stop("kubelet");
        lab.touch("lost");
        kill_all_of_pod(live.pods()[0].latest().metadata.uid.as_deref().expect("stored objects have one"));
        let nodes: Api<Node> = Api::all(lab.client.clone());
        nodes.delete(&node, &DeleteParams::default()).await.expect("delete the node");
        let deleted = Instant::now();
        let (status, status_of_live) = tokio::join!(given_up(&task, deleted), given_up(&live, deleted));
        assert_eq!(ends(&status), [(Outcome::Interrupted, "NodeLost")]);
        assert_eq!(ends(&status_of_live), [(Outcome::Interrupted, "NodeLost")], "silent for a minute, and not hung");
        kubelet.now().await;
        let resumed = live.journal().until("it resumes", Duration::from_secs(40), |entry| entry.attempt == 2).await;
        let steps: Vec<_> = live.journal().all("step").into_iter().filter(|step| step.attempt == 1).collect();
        let end = steps.last().expect("it did some");
        let known = steps.iter().find(|step| step.step == resumed.step).expect("it did what it resumes from");
        let lost = end.time.duration_since(known.time);
        println!("it had done {} steps and resumes at {}: {lost:#} of work are lost", end.step, known.step);
        assert!(lost <= LOST_WORK, "{lost:#}");
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

/// The kubelet keeps the pod, the operator believes what the API server said of the agent's token, and its writes fail.
#[tokio::test]
async fn an_api_server_that_is_away_for_longer_than_a_program_may_be_silent_ends_nothing() {
    story_of_an_outage(async |lab| {
        let task = lab.submit(manifest("unwritten", &["--steps=1000", "--step-time=1s"]).and(watched())).await;
        until_completed(&task, 1, 40).await;
        let all = Undo::by(&["cluster", "up"]);
        let server = stop("kube-apiserver");
        let stopped = Instant::now();
        let done = task.journal().steps().last().copied().expect("it works");
        let missed = done + i64::try_from(length_of_a_cut().as_secs()).expect("not so long");
        task.journal().until_step(missed, length_of_a_cut()).await;
        println!("it was away for {:?}", stopped.elapsed());
        let started = Instant::now();
        server.now().await;
        until_completed(&task, missed, 60).await;
        println!("the status knew of what had been done {:?} after its start", started.elapsed());
        assert_undisturbed(&task);
        // Whoever has asked in vain for long asks again late, as client-go doubles its pauses. Who starts anew asks at once.
        for component in ["kube-scheduler", "kube-controller-manager", "kubelet"] {
            stop(component).now().await;
        }
        lab.kill_operator().await;
        lab.start_operator();
        all.now().await;
    })
    .await;
}
