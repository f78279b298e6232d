//! The breaker of a queue: it stops all when a dependency fails, and tries at no one's cost whether it works again.

use std::sync::{Arc, Mutex};

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    api::ListParams,
    runtime::watcher::{self, Event, watcher},
};
use longtask::api::{
    queue::{
        BreakerState::{self, Closed, HalfOpen, Open},
        BreakerStatus, TaskQueue, TaskQueueStatus,
    },
    task::Phase,
};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::{
    queues::{change_queue, is_queued, make_queue, queued, until},
    support::{Change, Lab, Task, story},
};

/// A queue whose breaker opens when two tasks have failed with 69, and tries after ten minutes.
fn guarded() -> Value {
    json!({ "maxActive": 20, "breaker": {
        "counts": [{ "onExitCodes": { "operator": "In", "values": [69] } }], "failures": 2, "openFor": "10m",
    } })
}

/// A task that may fail once. In its first attempts, its program fails with 69: as soon as there is the file `go`, so that
/// those of several tasks fail together, and none has tried again before the breaker is open.
fn failing(name: &str, attempts: u32) -> Value {
    let rule = format!("attempt<={attempts} start: wait /journal/go; exit 69");
    let retry = json!({ "budgets": { "failures": 1 }, "backoff": { "initial": "10s", "jitter": "None" } });
    queued(name, &["--steps=1", "--step-time=100ms", &rule]).and(json!({ "spec": { "retry": retry } }))
}

/// Two tasks that fail together, so that the breaker opens.
async fn open_with(lab: &Lab, tasks: [Value; 2]) -> ([Task<'_>; 2], TaskQueueStatus) {
    let [first, second] = tasks;
    let tasks = [lab.submit(first).await, lab.submit(second).await];
    for task in &tasks {
        task.until_phase(Phase::Running, 60).await;
    }
    lab.touch("go");
    let status = until(lab, "it is open", 60, |status| state(status) == Some(Open)).await;
    (tasks, status)
}

fn state(status: &TaskQueueStatus) -> Option<BreakerState> {
    status.breaker.as_ref().map(|breaker| breaker.state)
}

/// Follows where a breaker stands: its states, each with how many probes may be under way.
struct BreakerWatch {
    seen: Arc<Mutex<Vec<(BreakerState, i64)>>>,
    watch: JoinHandle<()>,
}

impl BreakerWatch {
    fn start(lab: &Lab) -> Self {
        let (seen, queues) = (Arc::<Mutex<Vec<_>>>::default(), lab.api::<TaskQueue>());
        let states = Arc::clone(&seen);
        let watch = tokio::spawn(async move {
            let mut events = Box::pin(watcher(queues, watcher::Config::default()));
            while let Some(event) = events.next().await {
                let Ok(Event::Apply(queue) | Event::InitApply(queue)) = event else { continue };
                let Some(BreakerStatus { state, wave, .. }) = queue.status.and_then(|status| status.breaker) else {
                    continue;
                };
                let standing = (state, wave.map_or(0, |wave| wave.allow));
                let mut states = states.lock().expect("no panic");
                if states.last() != Some(&standing) {
                    states.push(standing);
                }
            }
        });
        Self { seen, watch }
    }

    fn states(self) -> Vec<(BreakerState, i64)> {
        self.watch.abort();
        self.seen.lock().expect("no panic").clone()
    }
}

#[tokio::test]
async fn it_opens_tries_one_at_a_time_at_no_cost_and_closes_in_waves() {
    story(async |lab| {
        make_queue(lab, guarded()).await;
        let watch = BreakerWatch::start(lab);
        // It is the first to be tried, and fails once more.
        let first = failing("first", 2).and(json!({ "spec": { "priority": 1 } }));
        let ([first, second], _) = open_with(lab, [first, failing("second", 1)]).await;
        let mut others = Vec::new();
        for number in 0..15 {
            others.push(lab.submit(failing(&format!("other-{number:02}"), 0)).await);
        }
        for task in others.iter().chain([&first, &second]) {
            task.until("it waits", 60, is_queued).await;
        }
        change_queue(lab, json!({ "breaker": { "openFor": "1s", "maxOpenFor": "4s" } })).await;
        for task in others.iter().chain([&second]) {
            task.ends_as(Phase::Succeeded, 120).await;
        }
        // It has failed twice, of which once as a probe: with one retry it would have failed.
        let status = first.ends_as(Phase::Succeeded, 120).await;
        assert_eq!((status.totals.failures, status.totals.attempts), (1, 3));
        assert_eq!(status.recent_attempts.last().expect("an attempt").ticket, Some(1));
        let status = until(lab, "it is closed", 30, |status| state(status) == Some(Closed)).await;
        assert_eq!(
            status.conditions.iter().find(|one| one.type_ == "BreakerOpen").expect("the condition").status,
            "False"
        );
        let mut seen = watch.states();
        let closed = seen.iter().rposition(|(state, _)| *state == Closed).expect("it is closed");
        seen.truncate(closed + 1);
        let expected = [
            (Closed, 0),
            (Open, 0),
            (HalfOpen, 1),
            (Open, 0),
            (HalfOpen, 1),
            (HalfOpen, 2),
            (HalfOpen, 4),
            (HalfOpen, 8),
            (Closed, 0),
        ];
        assert_eq!(seen, expected);
        for reason in ["BreakerOpened", "BreakerClosed"] {
            lab.until_event_of_queue("q", reason).await;
        }
    })
    .await;
}

#[tokio::test]
async fn an_open_breaker_outlives_the_operator_and_who_waits_too_long_fails_without_a_pod() {
    story(async |lab| {
        make_queue(lab, guarded()).await;
        let (_, open) = open_with(lab, [failing("first", 1), failing("second", 1)]).await;
        let parked = failing("parked", 0).and(json!({ "spec": { "limits": { "wallTime": "15s" } } }));
        let parked = lab.submit(parked).await;
        lab.kill_operator().await;
        lab.start_operator();
        let failed = parked.ends_as(Phase::Failed, 60).await;
        assert_eq!((failed.reason.as_str(), failed.totals.attempts), ("WallTimeExceeded", 0));
        let pods = lab.api::<Pod>().list(&ListParams::default().labels("longtask.dev/task=parked")).await;
        assert_eq!(pods.expect("pods").items.len(), 0);
        let still = lab.api::<TaskQueue>().get("q").await.expect("the queue").status.expect("a status");
        assert_eq!(still.breaker, open.breaker);
    })
    .await;
}

#[tokio::test]
async fn one_task_alone_does_not_open_it() {
    story(async |lab| {
        make_queue(lab, guarded()).await;
        lab.touch("go");
        let retry = json!({ "spec": { "retry": { "budgets": { "failures": 3 }, "backoff": { "initial": "1s" } } } });
        let alone = lab.submit(failing("alone", 3).and(retry)).await;
        alone.ends_as(Phase::Succeeded, 90).await;
        let status = until(lab, "its turns are over", 30, |status| status.active == 0).await;
        let breaker = status.breaker.expect("a breaker");
        let failed: i64 = breaker.window.iter().map(|bucket| bucket.failed).sum();
        assert_eq!((breaker.state, failed), (Closed, 3));
    })
    .await;
}
