//! Quota of [Kueue](https://kueue.sigs.k8s.io), with the real one: `make kueue` builds and installs it for these stories.
//! The template has the labels of Kueue's integration of pods. Each attempt is a Workload of its own, or with `quota: PerRun`
//! attempts that follow each other are one.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use k8s_openapi::jiff::Timestamp;
use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};

use super::support::{Change, Lab, Task, Undo, manifest, message_of, pod, story};

/// What each pod asks for, and all that there is.
const QUOTA: &str = "10m";

/// Objects of Kueue that belong to a story.
fn object(kind: &str, name: &str, spec: Value) -> Value {
    let metadata = json!({ "name": name });
    json!({ "apiVersion": "kueue.x-k8s.io/v1beta2", "kind": kind, "metadata": metadata }).and(spec)
}

/// Makes the queue `quota`, which has quota for one pod at a time, and a class `urgent-<namespace>` for work that goes first.
#[must_use = "they are deleted when this is dropped"]
async fn quota_for_one(lab: &Lab) -> [Undo; 3] {
    let all = &lab.namespace;
    let resources = json!([{ "name": "cpu", "nominalQuota": QUOTA }]);
    let cluster_queue = json!({ "spec": {
        // Who has waited longest is next. Kueue's default, BestEffortFIFO, puts aside who does not fit, and looks at them again a
        // second after quota is given back: by then, the next segment of the same task has it.
        "queueingStrategy": "StrictFIFO",
        "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": all } },
        "preemption": { "withinClusterQueue": "LowerPriority" },
        "resourceGroups": [{ "coveredResources": ["cpu"], "flavors": [{ "name": all, "resources": resources }] }],
    } });
    let objects = json!({ "apiVersion": "v1", "kind": "List", "items": [
        object("ResourceFlavor", all, json!({})),
        object("WorkloadPriorityClass", &urgent(lab), json!({ "value": 1000 })),
        object("ClusterQueue", all, cluster_queue),
        object("LocalQueue", "quota", json!({ "spec": { "clusterQueue": all } })),
    ] });
    let delete = |kind, name: &str| Undo::by(&["kubectl", "delete", kind, name, "--ignore-not-found", "--wait=false"]);
    let undo =
        [delete("clusterqueue", all), delete("resourceflavor", all), delete("workloadpriorityclass", &urgent(lab))];
    lab.kubectl_output(&["apply", "--filename", &lab.file("kueue.json", &objects)]).await;
    lab.kubectl_output(&["wait", "localqueue/quota", "--for=condition=Active", "--timeout=60s"]).await;
    undo
}

fn urgent(lab: &Lab) -> String {
    format!("urgent-{}", lab.namespace)
}

/// Puts a pod into the queue.
fn of_quota(mut pod: Value) -> Value {
    pod["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": QUOTA } });
    pod.and(json!({ "metadata": { "labels": { "kueue.x-k8s.io/queue-name": "quota" } } }))
}

/// A task each of whose pods is in the queue.
fn task_of_quota(mut manifest: Value) -> Value {
    manifest["spec"]["template"] = of_quota(manifest["spec"]["template"].take());
    manifest
}

/// The Workloads of the story, as they are now.
async fn listed(lab: &Lab) -> Vec<Value> {
    let listed = lab.kubectl_output(&["get", "workloads.kueue.x-k8s.io", "--output=json"]).await;
    let mut listed: Value = serde_json::from_str(&listed).expect("kubectl prints JSON");
    serde_json::from_value(listed["items"].take()).expect("a list")
}

/// The names of the pods that own a Workload.
fn owners(workload: &Value) -> Vec<String> {
    let owners = workload["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
    owners.iter().map(|owner| owner["name"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The conditions that hold of a Workload.
fn holding(workload: &Value) -> BTreeSet<String> {
    let conditions = workload["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let holding = conditions.iter().filter(|condition| condition["status"] == "True");
    holding.map(|condition| condition["type"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The Workloads of the story: the pod that owns each, and what is true of it.
async fn workloads(lab: &Lab) -> Vec<(String, BTreeSet<String>)> {
    let all = listed(lab).await;
    let mut workloads: Vec<_> = all.iter().map(|workload| (owners(workload).concat(), holding(workload))).collect();
    workloads.sort();
    workloads
}

/// Likewise, one whose attempts keep their quota.
fn task_that_keeps_quota(manifest: Value) -> Value {
    task_of_quota(manifest).and(json!({ "spec": { "kueue": { "quota": "PerRun" }, "podHistoryLimit": 10 } }))
}

/// The names of the Workloads that belong to pods of this task, and whether they are finished.
async fn workloads_of(lab: &Lab, task: &str) -> BTreeMap<String, bool> {
    let all = listed(lab).await;
    let is_of_task = |workload: &&Value| owners(workload).iter().any(|pod| pod.starts_with(&format!("{task}-")));
    let name = |workload: &Value| workload["metadata"]["name"].as_str().expect("a name").to_owned();
    let of_task = all.iter().filter(is_of_task);
    of_task.map(|workload| (name(workload), holding(workload).contains("Finished"))).collect()
}

fn runs_attempt(status: &LongTaskStatus, number: i64) -> bool {
    status.phase == Some(Phase::Running)
        && status.current_attempt.as_ref().is_some_and(|attempt| attempt.number == number)
}

/// The Workload of the attempt under way.
fn group(status: &LongTaskStatus) -> String {
    status.current_attempt.as_ref().and_then(|attempt| attempt.pod_group.clone()).expect("it keeps its quota")
}

/// How much of the quota is in use, in Kueue's own words.
async fn in_use(lab: &Lab) -> String {
    let used = "--output=jsonpath={.status.flavorsReservation[0].resources[0].total}";
    lab.kubectl_output(&["get", "clusterqueue", &lab.namespace, used]).await
}

async fn until_nothing_is_in_use(lab: &Lab) {
    lab.kubectl_output(&[
        "wait",
        &format!("clusterqueue/{}", lab.namespace),
        "--for=jsonpath={.status.reservingWorkloads}=0",
        "--timeout=60s",
    ])
    .await;
    assert_eq!(in_use(lab).await, "0");
}

/// From the first to the last thing that an attempt's program did.
fn work_of(task: &Task<'_>, attempt: i64) -> (Timestamp, Timestamp) {
    let entries = task.journal().entries();
    let mut times = entries.iter().filter(|entry| entry.attempt == attempt).map(|entry| entry.time);
    let first = times.next().expect("it has run");
    (first, times.next_back().unwrap_or(first))
}

fn ends(status: &LongTaskStatus) -> Vec<(Outcome, &str)> {
    status.recent_attempts.iter().rev().map(|attempt| (attempt.outcome, attempt.reason.as_str())).collect()
}

#[tokio::test]
async fn each_segment_asks_for_quota_anew_and_another_task_gets_it_in_between() {
    story(async |lab| {
        let _undo = quota_for_one(lab).await;
        let slices = json!({ "spec": { "segment": { "duration": "5s" }, "podHistoryLimit": 10 } });
        let chain = task_of_quota(manifest("chain", &["--steps=12", "--step-time=1s"])).and(slices.clone());
        let chain = lab.submit(chain).await;
        chain.journal().until_step(1, Duration::from_secs(30)).await;
        let other = lab.submit(task_of_quota(manifest("other", &["--steps=1", "--step-time=1s"])).and(slices)).await;
        // A task behind the gate has a pod that waits, and says so.
        let gated = other.until("it is said to be gated", 90, |status| status.reason == "SchedulingGated").await;
        println!("behind the gate: {:?}", message_of(&gated, ConditionType::Blocked));
        let status = chain.ends_as(Phase::Succeeded, 120).await;
        other.ends_as(Phase::Succeeded, 30).await;

        assert_eq!(
            ends(&status),
            [(Outcome::TimeLimit, ""), (Outcome::TimeLimit, ""), (Outcome::Completed, "")],
            "three segments, and nothing else"
        );
        assert_eq!(chain.journal().steps(), (1..=12).collect::<Vec<_>>());
        let pods = ["chain-1", "chain-2", "chain-3", "other-1"].map(str::to_owned);
        let finished = workloads(lab).await;
        assert_eq!(finished.iter().map(|(pod, _)| pod.clone()).collect::<Vec<_>>(), pods, "one Workload for each");
        for (pod, holding) in &finished {
            assert!(holding.contains("Finished"), "{pod}: {holding:?}");
        }
        let [first, second] = [work_of(&chain, 1), work_of(&chain, 2)];
        let between = work_of(&other, 1);
        assert!(first.1 <= between.0 && between.1 <= second.0, "{first:?}, {between:?}, {second:?}");
        until_nothing_is_in_use(lab).await;
    })
    .await;
}

#[tokio::test]
async fn work_that_kueue_preempts_is_interrupted_and_goes_on_from_its_checkpoint() {
    story(async |lab| {
        let _undo = quota_for_one(lab).await;
        let task = lab.submit(task_of_quota(manifest("humble", &["--steps=8", "--step-time=1s"]))).await;
        task.journal().until_step(3, Duration::from_secs(30)).await;
        let class = json!({ "metadata": { "labels": { "kueue.x-k8s.io/priority-class": urgent(lab) } } });
        lab.create_pod(of_quota(pod("urgent", &["--steps=1", "--step-time=3s"])).and(class)).await;
        let interrupted = task.until("it is interrupted", 60, |status| status.totals.interruptions == 1).await;
        let failure = interrupted.last_failure.expect("it is told");
        assert_eq!((failure.outcome, failure.reason.as_str()), (Outcome::Interrupted, "Preempted"));
        assert!(failure.message.contains("accommodate"), "Kueue's own words: {}", failure.message);
        let status = task.ends_as(Phase::Succeeded, 90).await;
        assert_eq!(ends(&status), [(Outcome::Interrupted, "Preempted"), (Outcome::Completed, "")]);
        assert_eq!((status.totals.failures, status.retries), (0, 0));
        let resumed = task.journal().start_of(2);
        assert!(resumed.step >= 3, "it resumes from its checkpoint: {resumed:?}");
        until_nothing_is_in_use(lab).await;
    })
    .await;
}

#[tokio::test]
async fn segments_that_keep_their_quota_are_one_workload_also_over_an_eviction() {
    story(async |lab| {
        let _undo = quota_for_one(lab).await;
        let slices = json!({ "spec": { "segment": { "duration": "5s" } } });
        let chain = task_that_keeps_quota(manifest("chain", &["--steps=12", "--step-time=1s"])).and(slices);
        let chain = lab.submit(chain).await;
        chain.journal().until_step(1, Duration::from_secs(30)).await;
        let row = group(&chain.until_phase(Phase::Running, 10).await);
        let other = lab.submit(task_of_quota(manifest("other", &["--steps=1", "--step-time=1s"]))).await;
        chain.until("its second segment runs", 30, |status| runs_attempt(status, 2)).await;
        lab.kubectl_output(&["delete", "pod", "chain-2", "--wait=false"]).await;
        let status = chain.ends_as(Phase::Succeeded, 120).await;
        other.ends_as(Phase::Succeeded, 60).await;

        assert_eq!(
            ends(&status).iter().map(|(outcome, _)| *outcome).collect::<Vec<_>>(),
            [Outcome::TimeLimit, Outcome::Interrupted, Outcome::TimeLimit, Outcome::Completed],
            "three segments, and an eviction in the second"
        );
        assert_eq!(workloads_of(lab, "chain").await, BTreeMap::from([(row, true)]), "one Workload for all of them");
        let (last, between) = (work_of(&chain, 4), work_of(&other, 1));
        assert!(last.1 <= between.0, "nobody gets the quota in between: {last:?}, {between:?}");
        until_nothing_is_in_use(lab).await;
    })
    .await;
}

#[tokio::test]
async fn a_pause_gives_back_the_quota_that_segments_keep() {
    story(async |lab| {
        let _undo = quota_for_one(lab).await;
        let slices = json!({ "spec": { "segment": { "duration": "5s" } } });
        let task = task_that_keeps_quota(manifest("paused", &["--steps=14", "--step-time=1s"])).and(slices);
        let task = lab.submit(task).await;
        let row = group(&task.until("its second segment runs", 60, |status| runs_attempt(status, 2)).await);
        task.change(json!({ "suspend": true })).await;
        task.until_phase(Phase::Suspended, 30).await;
        until_nothing_is_in_use(lab).await;
        assert_eq!(workloads_of(lab, "paused").await, BTreeMap::from([(row.clone(), true)]));
        task.change(json!({ "suspend": false })).await;
        let resumed = task.until_phase(Phase::Running, 60).await;
        assert_ne!(group(&resumed), row, "it asks anew");
        task.ends_as(Phase::Succeeded, 90).await;
        assert!(workloads_of(lab, "paused").await.values().all(|is_finished| *is_finished));
        until_nothing_is_in_use(lab).await;
    })
    .await;
}

#[tokio::test]
async fn work_that_keeps_its_quota_and_is_preempted_gets_it_again_in_the_same_workload() {
    story(async |lab| {
        let _undo = quota_for_one(lab).await;
        let task = lab.submit(task_that_keeps_quota(manifest("humble", &["--steps=8", "--step-time=1s"]))).await;
        task.journal().until_step(3, Duration::from_secs(30)).await;
        let row = group(&task.until_phase(Phase::Running, 10).await);
        let class = json!({ "metadata": { "labels": { "kueue.x-k8s.io/priority-class": urgent(lab) } } });
        lab.create_pod(of_quota(pod("urgent", &["--steps=1", "--step-time=3s"])).and(class)).await;
        let status = task.ends_as(Phase::Succeeded, 120).await;
        assert_eq!(ends(&status), [(Outcome::Interrupted, "Preempted"), (Outcome::Completed, "")]);
        assert_eq!(workloads_of(lab, "humble").await, BTreeMap::from([(row, true)]));
        until_nothing_is_in_use(lab).await;
    })
    .await;
}
