//! Queues: how many attempts run at a time, how fast they start, and in what order.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    runtime::watcher::{self, Event, watcher},
};
use longtask::api::{
    queue::{TaskQueue, TaskQueueStatus},
    task::{LongTaskStatus, Phase, TicketState},
};
use serde_json::{Value, json};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};

use super::support::{Change, Lab, manifest, story};

/// A machine that also compiles is slower.
const PATIENCE: u32 = 3;

pub(crate) async fn make_queue(lab: &Lab, spec: Value) {
    let queue: TaskQueue = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "q" }, "spec": spec,
    }))
    .expect("a queue");
    lab.api::<TaskQueue>().create(&PostParams::default(), &queue).await.expect("the API server takes the queue");
}

pub(crate) async fn change_queue(lab: &Lab, spec: Value) {
    let patch = Patch::Merge(json!({ "spec": spec }));
    lab.api::<TaskQueue>().patch("q", &PatchParams::default(), &patch).await.expect("the API server takes the change");
}

/// A task that waits in the queue and runs the program with these arguments.
pub(crate) fn queued(name: &str, arguments: &[&str]) -> Value {
    manifest(name, arguments).and(json!({ "spec": { "queueName": "q" } }))
}

/// Waits until the status of the queue is as described.
pub(crate) async fn until(
    lab: &Lab,
    what: &str,
    seconds: u64,
    is_so: impl Fn(&TaskQueueStatus) -> bool,
) -> TaskQueueStatus {
    let deadline = Instant::now() + Duration::from_secs(seconds) * PATIENCE;
    loop {
        let status = lab.api::<TaskQueue>().get("q").await.expect("the queue").status.unwrap_or_default();
        if is_so(&status) {
            return status;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}: {status:#?}");
        sleep(Duration::from_millis(200)).await;
    }
}

pub(crate) fn is_queued(status: &LongTaskStatus) -> bool {
    status.phase == Some(Phase::Pending) && status.reason == "Queued"
}

/// Follows the pods of a story: how many have not ended, at the most.
struct PodWatch {
    most: Arc<Mutex<usize>>,
    watch: JoinHandle<()>,
}

impl PodWatch {
    fn start(lab: &Lab) -> Self {
        let (most, pods) = (Arc::<Mutex<usize>>::default(), lab.api::<Pod>());
        let seen = Arc::clone(&most);
        let watch = tokio::spawn(async move {
            let (mut alive, mut events) = (BTreeSet::new(), Box::pin(watcher(pods, watcher::Config::default())));
            while let Some(event) = events.next().await {
                match event {
                    Ok(Event::Apply(pod) | Event::InitApply(pod)) => {
                        let phase = pod.status.as_ref().and_then(|status| status.phase.clone()).unwrap_or_default();
                        if ["Succeeded", "Failed"].contains(&&*phase) {
                            alive.remove(&pod.name_any());
                        } else {
                            alive.insert(pod.name_any());
                        }
                    }
                    Ok(Event::Delete(pod)) => {
                        alive.remove(&pod.name_any());
                    }
                    Ok(Event::Init | Event::InitDone) | Err(_) => {}
                }
                let mut most = seen.lock().expect("no panic");
                *most = (*most).max(alive.len());
            }
        });
        Self { most, watch }
    }

    fn most(self) -> usize {
        self.watch.abort();
        *self.most.lock().expect("no panic")
    }
}

#[tokio::test]
async fn no_more_run_than_there_are_places_although_the_operator_is_killed_again_and_again() {
    story(async |lab| {
        make_queue(lab, json!({ "maxActive": 2 })).await;
        let pods = PodWatch::start(lab);
        let mut tasks = Vec::new();
        for number in 0..20 {
            tasks.push(lab.submit(queued(&format!("killed-{number}"), &["--steps=2", "--step-time=500ms"])).await);
        }
        for _ in 0..3 {
            sleep(Duration::from_secs(10)).await;
            lab.kill_operator().await;
            lab.start_operator();
        }
        for task in &tasks {
            task.ends_as(Phase::Succeeded, 240).await;
        }
        until(lab, "all places are free", 30, |status| status.active == 0 && status.waiting == 0).await;
        let most = pods.most();
        assert!((1..=2).contains(&most), "{most} pods at a time");
    })
    .await;
}

/// The order in which attempts of tasks start, as the programs' journals have it.
fn starts(lab_tasks: &[super::support::Task<'_>]) -> Vec<String> {
    let mut starts: Vec<_> = lab_tasks
        .iter()
        .flat_map(|task| {
            let all = task.journal();
            all.all("start").iter().map(|start| (start.time, task.name.clone())).collect::<Vec<_>>()
        })
        .collect();
    starts.sort();
    starts.into_iter().map(|(_, name)| name).collect()
}

/// A task of three segments of five seconds each.
fn of_three_segments(name: &str) -> Value {
    queued(name, &["--steps=12", "--step-time=1s"]).and(json!({ "spec": { "segment": { "duration": "5s" } } }))
}

#[tokio::test]
async fn what_was_started_is_finished_before_the_next_one_begins() {
    story(async |lab| {
        make_queue(lab, json!({ "maxActive": 1 })).await;
        let mut tasks = Vec::new();
        for name in ["a", "b", "c"] {
            tasks.push(lab.submit(of_three_segments(name)).await);
            // The second that a task was created in tells them apart.
            sleep(Duration::from_millis(1100)).await;
        }
        for task in &tasks {
            task.ends_as(Phase::Succeeded, 120).await;
        }
        let mut order = starts(&tasks);
        order.dedup();
        assert_eq!(order, ["a", "b", "c"]);
    })
    .await;
}

#[tokio::test]
async fn with_aging_tasks_take_turns_and_an_urgent_one_is_next_at_the_end_of_a_segment() {
    story(async |lab| {
        make_queue(lab, json!({ "maxActive": 1, "aging": "5s" })).await;
        let mut tasks = vec![lab.submit(of_three_segments("a")).await];
        tasks[0].until("the first one runs", 30, |status| status.phase == Some(Phase::Running)).await;
        for name in ["b", "c"] {
            tasks.push(lab.submit(of_three_segments(name)).await);
        }
        let urgent = of_three_segments("urgent").and(json!({ "spec": { "priority": 10 } }));
        tasks.push(lab.submit(urgent).await);
        for task in &tasks {
            task.ends_as(Phase::Succeeded, 180).await;
        }
        let order = starts(&tasks);
        assert_eq!(order[1], "urgent", "{order:?}");
        let mut turns: Vec<_> = order.iter().filter(|name| *name != "urgent").collect();
        turns.dedup();
        assert!(turns.len() > 3, "each has more than one turn: {order:?}");
    })
    .await;
}

#[tokio::test]
async fn a_watch_of_the_holders_never_sees_more_calls_than_the_rate_allows() {
    story(async |lab| {
        make_queue(lab, json!({ "maxActive": 20, "rate": { "starts": 5, "per": "10s" } })).await;
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (seen, queues) = (Arc::clone(&calls), lab.api::<TaskQueue>());
        let watch = tokio::spawn(async move {
            let (mut known, mut events) = (BTreeSet::new(), Box::pin(watcher(queues, watcher::Config::default())));
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(queue) | Event::InitApply(queue)) = event else { continue };
                for holder in queue.status.unwrap_or_default().holders {
                    if known.insert((holder.task, holder.ticket)) {
                        seen.lock().expect("no panic").push(Instant::now());
                    }
                }
            }
        });
        let mut tasks = Vec::new();
        for number in 0..15 {
            tasks.push(lab.submit(queued(&format!("paced-{number}"), &["--steps=1", "--step-time=100ms"])).await);
        }
        for task in &tasks {
            task.ends_as(Phase::Succeeded, 90).await;
        }
        watch.abort();
        let calls = calls.lock().expect("no panic").clone();
        assert_eq!(calls.len(), 15);
        // What a watch sees may be late by a moment, and so closer together than it was.
        let span = Duration::from_millis(9500);
        for (index, first) in calls.iter().enumerate() {
            let within = calls[index..].iter().take_while(|call| **call < *first + span).count();
            assert!(within <= 5, "{within} calls within {span:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn one_at_a_time_per_key_and_in_order_although_one_fails_in_between() {
    story(async |lab| {
        let spec = json!({ "maxActive": 5, "perKey": { "label": "group", "maxActive": 1 }, "holdWhileWaiting": true });
        make_queue(lab, spec).await;
        change_queue(lab, json!({ "suspend": true })).await;
        let mut tasks = Vec::new();
        for number in 0..10 {
            let arguments: &[&str] = if number == 2 {
                &["--steps=2", "--step-time=500ms", "attempt<3 step=1: exit 1"]
            } else {
                &["--steps=2", "--step-time=500ms"]
            };
            let ordered = json!({ "metadata": {
                "labels": { "group": "orders" }, "annotations": { "longtask.dev/sequence": number.to_string() },
            } });
            tasks.push(lab.submit(queued(&format!("ordered-{number}"), arguments).and(ordered)).await);
        }
        until(lab, "all wait", 30, |status| status.waiting == 10).await;
        change_queue(lab, json!({ "suspend": false })).await;
        for task in &tasks {
            task.ends_as(Phase::Succeeded, 120).await;
        }
        let mut order = starts(&tasks);
        order.dedup();
        let names: Vec<_> = (0..10).map(|number| format!("ordered-{number}")).collect();
        assert_eq!(order, names);
    })
    .await;
}

#[tokio::test]
async fn a_queue_that_is_missing_not_allowed_suspended_or_made_again_holds_tasks_and_lets_them_go_on() {
    story(async |lab| {
        let task = lab.submit(queued("waits", &["--steps=30", "--step-time=1s"])).await;
        let is_because = |reason: &'static str| move |status: &LongTaskStatus| status.reason == reason;
        task.until("there is no queue", 30, is_because("QueueNotFound")).await;
        make_queue(lab, json!({ "maxActive": 1, "allowedNamespaces": ["somewhere-else"] })).await;
        task.until("it may not use the queue", 30, is_because("QueueNotAllowed")).await;
        change_queue(lab, json!({ "allowedNamespaces": ["*"], "suspend": true })).await;
        task.until("it waits", 30, is_queued).await;
        change_queue(lab, json!({ "suspend": false })).await;
        task.until("it runs", 60, |status| status.phase == Some(Phase::Running)).await;

        lab.api::<TaskQueue>().delete("q", &DeleteParams::default()).await.expect("the queue is deleted");
        let next = lab.submit(queued("next", &["--steps=1"])).await;
        next.until("its queue is gone", 30, is_because("QueueNotFound")).await;
        make_queue(lab, json!({ "maxActive": 1 })).await;
        let adopted = until(lab, "it knows who runs", 30, |status| status.active == 1 && status.waiting == 1).await;
        assert_eq!(adopted.holders[0].name(), "waits");
        next.until("it waits for its turn", 30, is_queued).await;
        task.ends_as(Phase::Succeeded, 90).await;
        next.ends_as(Phase::Succeeded, 60).await;
    })
    .await;
}

#[tokio::test]
async fn who_is_cancelled_while_it_waits_or_runs_lets_the_next_one_pass() {
    story(async |lab| {
        make_queue(lab, json!({ "maxActive": 1 })).await;
        let mut tasks = BTreeMap::new();
        for name in ["runs", "waits", "next"] {
            let steps = if name == "next" { "--steps=1" } else { "--steps=600" };
            tasks.insert(name, lab.submit(queued(name, &[steps, "--step-time=1s"])).await);
            sleep(Duration::from_millis(1100)).await;
        }
        tasks["runs"].until("it runs", 60, |status| status.phase == Some(Phase::Running)).await;
        until(lab, "two wait", 30, |status| status.waiting == 2).await;
        tasks["waits"].change(json!({ "cancel": true })).await;
        let cancelled = tasks["waits"].ends_as(Phase::Cancelled, 30).await;
        assert_eq!(cancelled.queue.expect("a ticket").state, TicketState::Returned);
        tasks["runs"].change(json!({ "cancel": true })).await;
        tasks["next"].ends_as(Phase::Succeeded, 60).await;
    })
    .await;
}

#[tokio::test]
async fn those_who_wait_cost_no_write() {
    story(async |lab| {
        make_queue(lab, json!({ "maxActive": 1, "suspend": true })).await;
        for number in 0..40 {
            lab.submit(queued(&format!("idle-{number}"), &["--steps=1"])).await;
        }
        until(lab, "all wait", 60, |status| status.waiting == 40).await;
        sleep(Duration::from_secs(12)).await;
        let before = lab.operators_writes().await;
        sleep(Duration::from_secs(20)).await;
        assert_eq!(lab.operators_writes().await, before);
    })
    .await;
}

/// Queues are of the cluster's admins: what the API server refuses says what to write.
#[tokio::test]
async fn a_queue_that_makes_no_sense_is_refused() {
    story(async |lab| {
        let queues: Api<kube::api::DynamicObject> =
            Api::namespaced_with(lab.client.clone(), &lab.namespace, &kube::api::ApiResource::erase::<TaskQueue>(&()));
        for (spec, message) in [
            (json!({}), "maxActive"),
            (json!({ "maxActive": 0 }), "maxActive"),
            (json!({ "maxActive": 1, "rate": { "starts": 1, "per": "3d" } }), "write 72h, not 3d"),
            (json!({ "maxActive": 1, "allowedNamespaces": ["No_Name"] }), "names of namespaces"),
            (json!({ "maxActive": 1, "perKey": { "label": "no label" } }), "name of a label"),
            (json!({ "maxActive": 1, "breaker": {} }), "counts"),
            (json!({ "maxActive": 1, "breaker": { "counts": [{}] } }), "at least one of onExitCodes, onReasons"),
            (
                json!({ "maxActive": 1, "breaker": {
                    "counts": [{ "onErrorCodes": ["Down"] }], "openFor": "1m", "maxOpenFor": "30s",
                } }),
                "must not be less than openFor",
            ),
        ] {
            let queue = serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "x" }, "spec": spec,
            }));
            let refused = queues.create(&PostParams::default(), &queue.expect("an object")).await;
            let words = refused.expect_err("it is refused").to_string();
            assert!(words.contains(message), "{words}");
        }
    })
    .await;
}
