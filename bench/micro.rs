//! What one look at a task, a set or a queue costs, without the API server: plan, outcome, rendering, status merge.
//!
//! `cargo bench --bench micro`. The last group is a yardstick: a task read from JSON, as every watch event is.

use std::{hint::black_box, sync::Arc};

use criterion::{Criterion, criterion_group, criterion_main};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use longtask::{
    api::{
        parent::Parent,
        queue::{Admission, OpenQueue, QueueKey, TaskQueue},
        set::LongTaskSet,
        task::{LongTask, LongTaskStatus, TicketState},
    },
    queue::plan::{ObservedQueue, QueuedTask, SeenTicket, plan as plan_queue},
    set::plan::{Member, MemberPhase, ObservedSet, plan as plan_set},
    task::{
        plan::{Observed, Plan, PodFacts, Step, plan},
        render,
    },
    types::Ranges,
};
use serde_json::{Value, json};

fn at(time: &str) -> Timestamp {
    format!("2026-11-24T{time}Z").parse().expect("a time of day")
}

/// A task with a policy of five rules and some environment, as a user would have it.
fn task() -> LongTask {
    let rule = |number: i64| {
        json!({ "name": format!("rule-{number}"), "onExitCodes": { "operator": "In", "values": [number] },
                                     "action": "Retry", "delay": "5s", "limit": 3 })
    };
    let env: Vec<_> =
        (0..20).map(|number| json!({ "name": format!("SETTING_{number}"), "value": "some value" })).collect();
    let task = json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
        "metadata": { "name": "t", "namespace": "n", "uid": "task-uid", "generation": 1, "resourceVersion": "1" },
        "spec": {
            "segment": { "duration": "10m" },
            "failurePolicy": { "rules": (2..=6).map(rule).collect::<Vec<_>>() },
            "template": { "spec": { "containers": [{ "name": "main", "image": "registry.example/worker:1", "env": env }] } },
        },
    });
    serde_json::from_value(task).expect("a task")
}

/// What is observed at a time.
struct Scene {
    task: LongTask,
    pods: Vec<Arc<PodFacts>>,
    parent: Option<Parent>,
    admission: Admission,
    now: Timestamp,
}

impl Scene {
    fn observed(&self) -> Observed<'_> {
        let seen = Observed::of(&self.task, "task-uid", self.pods.clone());
        Observed { parent: self.parent, admission: self.admission, ..seen }
    }

    fn plan(&self) -> Plan {
        plan(&self.observed(), self.now)
    }
}

fn new_task() -> Scene {
    Scene { task: task(), pods: Vec::new(), parent: None, admission: Admission::NotAsked, now: at("10:00:00") }
}

/// A member of a set that has waited in a queue and is called.
fn called_member() -> Scene {
    let mut waits = new_task();
    waits.task.spec.queue_name = Some("q".into());
    waits.parent = Some(Parent { round: 1, active: true, ..Parent::default() });
    waits.admission = Admission::Open(OpenQueue::default());
    let ticket = waits.plan().status.expect("it has a ticket");
    let called = Admission::Open(OpenQueue { called: Some(1), ..OpenQueue::default() });
    let called = Scene { task: LongTask { status: Some(ticket), ..waits.task }, admission: called, ..waits };
    assert!(called.plan().steps.iter().any(|step| matches!(step, Step::CreatePod(_))), "it starts");
    called
}

/// The pod that a plan creates, as a kubelet then shows it.
fn pod_of(plan: &Plan, state: &Value, phase: &str) -> Pod {
    let created = plan.steps.iter().find_map(|step| if let Step::CreatePod(pod) = step { Some(pod) } else { None });
    let mut pod = serde_json::to_value(created.expect("the plan creates a pod")).expect("a pod is JSON");
    pod["metadata"]["uid"] = json!("pod-uid");
    pod["metadata"]["creationTimestamp"] = json!("2026-11-24T10:00:00Z");
    pod["spec"]["nodeName"] = json!("node-1");
    pod["status"] = json!({
        "phase": phase, "startTime": "2026-11-24T10:00:01Z",
        "conditions": [{ "type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-24T10:00:01Z" }],
        "containerStatuses": [{ "name": "main", "image": "i", "imageID": "i", "ready": false, "restartCount": 0, "state": state }],
    });
    serde_json::from_value(pod).expect("a pod")
}

fn with_pod(before: &Scene, status: Option<LongTaskStatus>, pod: &Pod, time: &str) -> Scene {
    let mut task = before.task.clone();
    task.status = status.or_else(|| task.status.clone());
    let facts = PodFacts::of(pod).expect("a pod of a task");
    Scene { task, pods: vec![Arc::new(facts)], now: at(time), ..new_task() }
}

/// A task through its life: new, its container started, quiet, ended in one of two ways.
struct Life {
    new: Scene,
    started: Scene,
    quiet: Scene,
    yielded: Scene,
    failed: Scene,
    ended_pod: Pod,
}

fn life() -> Life {
    let new = new_task();
    let first = new.plan();
    let running = json!({ "running": { "startedAt": "2026-11-24T10:00:02Z" } });
    let started = with_pod(&new, first.status.clone(), &pod_of(&first, &running, "Running"), "10:00:03");
    let recorded = started.plan().status.expect("the start is recorded");
    let mut lowered = pod_of(&first, &running, "Running");
    lowered.spec.as_mut().expect("a spec").active_deadline_seconds = Some(601);
    let quiet = with_pod(&new, Some(recorded.clone()), &lowered, "10:05:00");
    assert_eq!(quiet.plan().status, None, "nothing has happened");
    let end = |code: i64, message: &str| {
        let state = json!({ "terminated": { "exitCode": code, "reason": "Error", "message": message,
                            "startedAt": "2026-11-24T10:00:02Z", "finishedAt": "2026-11-24T10:05:00Z" } });
        pod_of(&first, &state, "Failed")
    };
    let step = r#"{"checkpoint": {"offset": 1048576, "rows": 40123}, "progress": {"completed": 40123, "total": 90000, "unit": "rows"}}"#;
    let ended_pod = end(75, step);
    let yielded = with_pod(&new, Some(recorded.clone()), &ended_pod, "10:05:01");
    let failed = with_pod(&new, Some(recorded), &end(4, step), "10:05:01");
    Life { new, started, quiet, yielded, failed, ended_pod }
}

fn plans(criterion: &mut Criterion) {
    let (life, called_member) = (life(), called_member());
    let mut group = criterion.benchmark_group("plan");
    for (name, scene) in [
        ("a new task: its first attempt", &life.new),
        ("a member of a set that its queue calls: its first attempt", &called_member),
        ("its container has started", &life.started),
        ("nothing has happened", &life.quiet),
        ("outcome of a yield, and the next attempt", &life.yielded),
        ("outcome of a failure by five rules, and its delay", &life.failed),
    ] {
        let observed = scene.observed();
        group.bench_function(name, |bencher| bencher.iter(|| plan(black_box(&observed), scene.now)));
    }
    group.finish();
}

fn pods(criterion: &mut Criterion) {
    let life = life();
    let status = life.started.task.status.clone().expect("a status");
    let attempt = status.current_attempt.clone().expect("an attempt");
    criterion.bench_function("render the pod of an attempt", |bencher| {
        bencher.iter(|| render::pod(black_box(&life.new.task), "task-uid", &status, &attempt, 600, None));
    });
    criterion.bench_function("the facts of a pod", |bencher| bencher.iter(|| PodFacts::of(black_box(&life.ended_pod))));
}

fn statuses(criterion: &mut Criterion) {
    let life = life();
    let status = life.yielded.plan().status.expect("the end is recorded");
    let mut written = life.yielded.task.clone();
    written.status = Some(status.clone());
    let text = serde_json::to_vec(&written).expect("a task is JSON");
    criterion.bench_function("merge the status and write it as JSON", |bencher| {
        bencher.iter(|| {
            let mut task = black_box(&life.yielded.task).clone();
            task.status = Some(status.clone());
            serde_json::to_vec(&task)
        });
    });
    criterion.bench_function("yardstick: read the task from JSON", |bencher| {
        bencher.iter(|| serde_json::from_slice::<LongTask>(black_box(&text)));
    });
}

/// A set of 10,000 of which every other of the first 9000 has failed and is kept, and a thousand run; a hundred of those have
/// just ended.
fn sets(criterion: &mut Criterion) {
    let failed: Ranges = (0..9000).filter(|index| index % 2 == 1).collect();
    let succeeded = Ranges::below(9000).without(&failed);
    let set: LongTaskSet = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet",
        "metadata": { "name": "s", "namespace": "n", "uid": "set-uid", "generation": 1, "resourceVersion": "1" },
        "spec": { "templateRef": { "name": "x" }, "count": 10_000, "maxParallel": 1000, "maxFailed": 10_000 },
        "status": {
            "observedGeneration": 1, "phase": "Running", "round": { "number": 1, "startTime": "2026-11-24T09:00:00Z" },
            "total": 10_000, "next": 10_000, "active": 1000,
            "succeeded": { "count": succeeded.len(), "indexes": succeeded }, "failed": { "count": failed.len(), "indexes": failed },
        },
    }))
    .expect("a set");
    let member = |index: u32, phase: MemberPhase| {
        let member = Member {
            index,
            name: format!("s-{index}"),
            uid: format!("u{index}"),
            resource_version: "7".into(),
            last_create_time: at("09:00:00"),
            is_being_deleted: false,
            round: 1,
            phase,
            completion_time: Some(at("09:30:00")),
            result: None,
            failure: None,
        };
        Arc::new(member)
    };
    let kept = failed.iter().map(|index| member(index, MemberPhase::Failed));
    let ended = (9000..9100).map(|index| member(index, MemberPhase::Succeeded));
    let running = (9100..10_000).map(|index| member(index, MemberPhase::UnderWay));
    let seen = ObservedSet::of(&set, kept.chain(ended).chain(running));
    let mut group = criterion.benchmark_group("set::plan");
    group.bench_function("10,000 members, a hundred have ended", |bencher| {
        bencher.iter(|| plan_set(black_box(&seen), at("10:00:00")));
    });
    group.finish();
}

/// A queue of 1000 places with a breaker, aging and keys, all of which are taken, but for fifty that have just become free; 10,000
/// tasks of a hundred keys wait.
fn queues(criterion: &mut Criterion) {
    let queue_key = Arc::new(QueueKey { namespace: "n".into(), name: "q".into() });
    let task = |number: u32, ticket: i64, state: TicketState| {
        let since = at("09:00:00");
        let ticket = SeenTicket { queue: queue_key.clone(), number: ticket, state, since, is_probe: false };
        Arc::new(QueuedTask {
            namespace: "n".into(),
            name: format!("t-{number:05}"),
            uid: format!("{number:08}-uid"),
            asks: Some(queue_key.clone()),
            ticket: Some(ticket),
            turn: None,
            runs_since: (state == TicketState::Admitted).then(|| at("09:50:00")),
            priority: i64::from(number % 5),
            has_begun: number.is_multiple_of(3),
            is_being_deleted: false,
            sequence: i64::MAX,
            labels: [("tenant".to_owned(), format!("tenant-{}", number % 100))].into(),
        })
    };
    let holders: Vec<_> = (0..1000)
        .map(|number| {
            json!({ "task": format!("n/t-{number:05}"), "uid": format!("{number:08}"), "ticket": 1,
                              "key": format!("tenant-{}", number % 100) })
        })
        .collect();
    let queue: TaskQueue = serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue",
        "metadata": { "name": "q", "namespace": "n", "uid": "queue-uid", "generation": 1, "resourceVersion": "1" },
        "spec": {
            "maxActive": 1000, "aging": "10m", "perKey": { "label": "tenant" },
            "breaker": { "counts": [{ "onErrorCodes": ["PartnerDown"] }] },
        },
        "status": {
            "observedGeneration": 1, "active": 1000, "summary": "1000/1000", "waiting": 10_000, "holders": holders,
            "breaker": { "state": "Closed", "transitionTime": at("09:00:00") },
        },
    }))
    .expect("a queue");
    let over = (0..50).map(|number| task(number, 2, TicketState::Waiting));
    let running = (50..1000).map(|number| task(number, 1, TicketState::Admitted));
    let waiting = (1000..11_000).map(|number| task(number, 1, TicketState::Waiting));
    let seen = ObservedQueue::of(&queue, over.chain(running).chain(waiting).collect());
    assert_eq!(plan_queue(&seen, at("10:00:00")).waits.len(), 50, "fifty are called");
    let mut group = criterion.benchmark_group("queue::plan");
    group.bench_function("10,000 wait, 1000 places, fifty are free", |bencher| {
        bencher.iter(|| plan_queue(black_box(&seen), at("10:00:00")));
    });
    group.finish();
}

criterion_group!(benches, plans, pods, statuses, sets, queues);
criterion_main!(benches);
