//! The calls that a plan becomes, in their order, and what each answer of the API server does.

#![expect(clippy::large_futures, reason = "each is awaited once, on the stack of a test")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use jiff::Timestamp;
use kube::{Client, client::Body, core::Status};
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::{
    contract::agent::{CONTAINER, Post, RESTORE_CONTAINER, RestoreWord, Restored, SaveReport},
    runtime::{OperatorContext, events, leader::Leadership},
    task::{
        controller::{
            metrics::TaskMetrics,
            parents::Parents,
            pod_index::PodIndex,
            queues::Queues,
            reports::{LiveReports, ReportsFrom},
        },
        plan::Wake,
    },
    telemetry::metrics::Registry,
};

const TASK: &str = "/apis/longtask.dev/v1alpha1/namespaces/default/longtasks/import/status";
const PODS: &str = "/api/v1/namespaces/default/pods";
const POD: &str = "/api/v1/namespaces/default/pods/import-1";

/// An API server that gives the scripted answers in order and notes what it was asked.
#[derive(Clone, Default)]
struct Server {
    answers: Arc<Mutex<VecDeque<(u16, Value)>>>,
    asked: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Server {
    fn answering(answers: impl IntoIterator<Item = (u16, Value)>) -> Self {
        Self { answers: Arc::new(Mutex::new(answers.into_iter().collect())), ..Self::default() }
    }

    fn context(&self, leadership: Leadership) -> Context {
        let server = self.clone();
        let service = service_fn(move |request: Request<Body>| {
            let server = server.clone();
            async move { Ok::<_, Infallible>(server.answer(request).await) }
        });
        let operator = OperatorContext { client: Client::new(service, "default"), ..OperatorContext::for_tests() };
        let (events, _publisher) = events::queue(&operator);
        let live = LiveReports::new(ReportsFrom::default());
        let metrics = TaskMetrics::register(&mut Registry::new());
        Context::new(
            &operator,
            leadership,
            metrics,
            PodIndex::new(),
            live,
            (Parents::default(), Queues::default()),
            events,
        )
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body in memory");
        let line = format!("{} {}", parts.method, parts.uri.path());
        self.asked.lock().expect("no panic").push((line, serde_json::from_slice(&body).unwrap_or_default()));
        let (code, body) = self.answers.lock().expect("no panic").pop_front().expect("one more call than scripted");
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).expect("a response")
    }

    fn answers_also(&self, answers: impl IntoIterator<Item = (u16, Value)>) {
        self.answers.lock().expect("no panic").extend(answers);
    }

    fn calls(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").iter().map(|(line, _)| line.clone()).collect()
    }

    fn body(&self, n: usize) -> Value {
        self.asked.lock().expect("no panic")[n].1.clone()
    }
}

fn task() -> LongTask {
    serde_json::from_value(json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
        "metadata": { "name": "import", "namespace": "default", "uid": "task-uid", "resourceVersion": "7" },
        "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
    }))
    .expect("a task")
}

fn stored() -> (u16, Value) {
    (200, serde_json::to_value(task()).expect("a task"))
}

fn pod(owner: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": {
        "name": "import-1", "namespace": "default", "uid": "pod-uid",
        "ownerReferences": [{ "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "name": "import", "uid": owner }],
    } })
}

fn error(code: u16, reason: &str, message: &str) -> (u16, Value) {
    let status = Status::failure(message, reason).with_code(code);
    (code, serde_json::to_value(status).expect("a status"))
}

fn creating() -> Plan {
    let pod: Pod = serde_json::from_value(pod("task-uid")).expect("a pod");
    Plan { status: Some(LongTaskStatus::default()), steps: vec![Step::CreatePod(Box::new(pod))], ..Plan::default() }
}

fn doing(step: Step) -> Plan {
    Plan { steps: vec![step], ..Plan::default() }
}

fn not_found() -> (u16, Value) {
    error(404, "NotFound", "not found")
}

#[track_caller]
fn refusals(result: Result<Executed, Error>) -> Refusals {
    match result {
        Ok(Executed::Refused(_, refusals)) => refusals,
        other => panic!("{other:?}"),
    }
}

fn pod_ref() -> PodRef {
    PodRef { name: "import-1".into(), uid: "pod-uid".into() }
}

fn executed(server: &Server, plan: Plan) -> impl Future<Output = Result<Executed, Error>> {
    let context = server.context(Leadership::sole());
    async move { execute(&context, &task(), plan).await }
}

#[tokio::test]
async fn the_status_is_written_before_the_pod_is_created() {
    let server = Server::answering([stored(), (201, pod("task-uid"))]);
    assert!(matches!(
        executed(&server, creating()).await,
        Ok(Executed::Done { wake: Wake::OnChange, created: Some(_) })
    ));
    assert_eq!(server.calls(), [format!("PUT {TASK}"), format!("POST {PODS}")]);
    assert_eq!(server.body(0)["metadata"]["resourceVersion"], "7", "the reading that the plan was made from");
}

#[tokio::test]
async fn a_plan_from_a_stale_reading_creates_nothing() {
    let (_, mut newer) = stored();
    newer["metadata"]["resourceVersion"] = json!("8");
    let server = Server::answering([error(409, "Conflict", "the object has been modified"), (200, newer)]);
    let result = executed(&server, creating()).await;
    assert!(result.as_ref().is_err_and(Error::is_conflict), "{result:?}");
    assert_eq!(server.calls(), [format!("PUT {TASK}"), format!("GET {}", TASK.trim_end_matches("/status"))]);
}

#[tokio::test(start_paused = true)]
async fn a_write_that_has_a_report_counts_how_long_that_has_waited() {
    let recorded: LongTaskStatus = serde_json::from_value(json!({ "currentAttempt": {
        "number": 1, "segment": 1, "state": "Running", "podName": "import-1", "podUID": "pod-uid", "generation": 1,
        "creationTime": "2026-11-24T10:00:00Z", "report": { "revision": 5, "recordTime": "2026-11-24T10:00:30Z" },
    } }))
    .expect("a status");
    let written = LongTask { status: Some(recorded.clone()), ..task() };
    let answer = (200, serde_json::to_value(&written).expect("a task"));
    let server = Server::answering([answer.clone(), answer]);
    let (mut registry, mut context) = (Registry::new(), server.context(Leadership::sole()));
    context.metrics = TaskMetrics::register(&mut registry);
    context.live.take("pod-uid", &Post { revision: 5, ..Post::default() }, Timestamp::UNIX_EPOCH);
    tokio::time::advance(Duration::from_secs(4)).await;
    for read in [task(), written] {
        let plan = Plan { status: Some(recorded.clone()), ..Plan::default() };
        let _ = execute(&context, &read, plan).await.expect("it is written");
    }
    let text = registry.encode().expect("text");
    for line in ["longtask_report_lag_seconds_count 1", "longtask_report_lag_seconds_sum 4.0"] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn a_recorded_save_and_the_restore_before_it_are_measured_once() {
    let uri = "s3://runs/default/import/task-uid/1-1a2b3c4d/3/manifest.json";
    let status = |fields: Value| -> LongTaskStatus {
        let mut status = json!({ "currentAttempt": {
            "number": 1, "segment": 1, "state": "Running", "podName": "import-1", "podUID": "pod-uid", "generation": 1,
            "creationTime": "2026-11-24T10:00:00Z", "startedAt": "2026-11-24T10:00:20Z",
        } });
        for (name, value) in fields.as_object().expect("fields") {
            status[name] = value.clone();
        }
        serde_json::from_value(status).expect("a status")
    };
    let checkpoint = |uri: &str| {
        json!({
            "checkpointSequence": 1,
            "checkpoint": {
                "sequence": 1, "attempt": 1, "segment": 1, "recordTime": "2026-11-24T10:00:30Z",
                "path": "step-9", "uri": uri, "sizeBytes": 5000,
            },
        })
    };
    let started = status(json!({}));
    let saved = status(checkpoint(uri));
    let with = |status: &LongTaskStatus| LongTask { status: Some(status.clone()), ..task() };
    let answer = |status: &LongTaskStatus| (200, serde_json::to_value(with(status)).expect("a task"));
    let server = Server::answering([answer(&started), answer(&saved), answer(&saved)]);
    let (mut registry, mut context) = (Registry::new(), server.context(Leadership::sole()));
    context.metrics = TaskMetrics::register(&mut registry);
    context.pods.learn_created(&restored_pod(), context.pods.lists());
    let save = SaveReport { path: "step-9".into(), seconds: 7, error: None };
    context.live.take("pod-uid", &Post { revision: 5, save: Some(save), ..Post::default() }, Timestamp::UNIX_EPOCH);
    for (read, written) in [(task(), &started), (with(&started), &saved), (with(&saved), &saved)] {
        let plan = Plan { status: Some(written.clone()), ..Plan::default() };
        let _ = execute(&context, &read, plan).await.expect("it is written");
    }
    let text = registry.encode().expect("text");
    for line in [
        "longtask_checkpoint_restore_seconds_count 1",
        "longtask_checkpoint_restore_seconds_sum 4.0",
        "longtask_checkpoint_save_seconds_count 1",
        "longtask_checkpoint_save_seconds_sum 7.0",
        "longtask_checkpoint_saved_bytes_total 5000",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }

    let elsewhere = status(checkpoint("s3://models/step-9.pt"));
    server.answers_also([answer(&elsewhere)]);
    let plan = Plan { status: Some(elsewhere), ..Plan::default() };
    let _ = execute(&context, &with(&started), plan).await.expect("it is written");
    let text = registry.encode().expect("text");
    assert!(text.contains("longtask_checkpoint_saved_bytes_total 5000\n"), "the program's own affair:\n{text}");
}

/// The pod of attempt 1, whose agent has restored a checkpoint before the program started.
fn restored_pod() -> Pod {
    let restored = Restored {
        path: "step-4".into(),
        uri: "s3://runs/default/import/task-uid/1-1a2b3c4d/1/manifest.json".into(),
        digest: "sha256:00".into(),
        size_bytes: 5000,
        attempt: 1,
        segment: 1,
        creation_time: Timestamp::UNIX_EPOCH,
        is_adopted: false,
    };
    let word = RestoreWord { seconds: 4, restored: Some(restored), error: None }.written();
    let mut found = pod("task-uid");
    found["metadata"]["resourceVersion"] = json!("9");
    found["metadata"]["finalizers"] = json!([labels::OUTCOME_FINALIZER]);
    found["metadata"]["labels"] = json!({ labels::TASK: "import", labels::TASK_UID: "task-uid", labels::ATTEMPT: "1" });
    found["spec"] = json!({
        "initContainers": [{ "name": RESTORE_CONTAINER }, { "name": CONTAINER }], "containers": [{ "name": "main" }],
    });
    found["status"] = json!({ "phase": "Running", "initContainerStatuses": [{
        "name": RESTORE_CONTAINER, "ready": true, "restartCount": 0, "image": "agent", "imageID": "",
        "state": { "terminated": { "exitCode": 0, "message": word } },
    }] });
    serde_json::from_value(found).expect("a pod")
}

#[tokio::test]
async fn a_task_that_is_gone_ends_its_plan() {
    let server = Server::answering([not_found(), not_found()]);
    assert!(matches!(executed(&server, creating()).await, Ok(Executed::TaskGone)));
    assert_eq!(server.calls().len(), 2);
}

#[tokio::test]
async fn a_create_whose_answer_got_lost_is_a_success() {
    let server = Server::answering([stored(), error(409, "AlreadyExists", "exists"), (200, pod("task-uid"))]);
    assert!(matches!(executed(&server, creating()).await, Ok(Executed::Done { .. })));
    assert_eq!(server.calls()[2], format!("GET {POD}"));
}

#[tokio::test]
async fn a_name_that_another_pod_has_is_an_observation() {
    let mut going = pod("earlier-task");
    going["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
    let taken = Refusal::NameTaken(Some("LongTask import".into()));
    for (holder, refusal) in [(pod("earlier-task"), taken), (going, Refusal::NameOfTerminatingPod)] {
        let server = Server::answering([stored(), error(409, "AlreadyExists", "exists"), (200, holder)]);
        assert_eq!(refusals(executed(&server, creating()).await).create, Some(refusal));
    }
}

#[tokio::test]
async fn a_refused_create_is_an_observation_in_the_servers_words() {
    for (code, reason, message, word) in [
        (403, "Forbidden", "pods \"import-1\" is forbidden: exceeded quota: q, requested: pods=1", "QuotaExceeded"),
        (403, "Forbidden", "pods \"x\" is forbidden: violates PodSecurity \"restricted\"", "PodSecurityViolation"),
        (403, "Forbidden", "denied by a policy", "Forbidden"),
        (422, "Invalid", "Pod is invalid", "Invalid"),
        (400, "BadRequest", "admission webhook denied the request", "BadRequest"),
    ] {
        let server = Server::answering([stored(), error(code, reason, message), not_found()]);
        match refusals(executed(&server, creating()).await).create {
            Some(Refusal::Rejected(words)) => {
                assert_eq!((words.reason.as_str(), words.message.as_str()), (word, message));
            }
            other => panic!("{message}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_an_error_at_first_and_an_observation_when_it_goes_on() {
    for (code, reason) in [(429, "TooManyRequests"), (500, "InternalError"), (503, "Unavailable"), (504, "Timeout")] {
        let server = Server::answering([stored(), error(code, reason, "not now"), not_found()]);
        let context = server.context(Leadership::sole());
        let first = execute(&context, &task(), creating()).await;
        assert!(first.is_err(), "{code}");
        assert_eq!(server.calls().len(), 3, "the create is sent once: {code}");
        context.backoffs.after(&ObjectKey::of(&task()), &first.expect_err("an error"));
        server.answers_also([stored(), error(code, reason, "not now"), not_found()]);
        match refusals(execute(&context, &task(), creating()).await).create {
            Some(Refusal::Rejected(words)) => {
                assert_eq!((words.reason.as_str(), words.message.as_str()), (reason, "not now"));
            }
            other => panic!("{code}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_failed_webhook_has_a_word_of_its_own() {
    let message = "Internal error occurred: failed calling webhook \"check.example.com\": connection refused";
    let server = Server::answering([stored(), error(500, "InternalError", message), not_found()]);
    let context = server.context(Leadership::sole());
    context.backoffs.after(&ObjectKey::of(&task()), &Error::NotLeading { what: "create pod".into() });
    match refusals(execute(&context, &task(), creating()).await).create {
        Some(Refusal::Rejected(words)) => {
            assert_eq!((words.reason.as_str(), words.message.as_str()), ("WebhookFailed", message));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_create_is_not_sent_when_leadership_is_about_to_end() {
    let server = Server::answering([stored()]);
    let context = server.context(Leadership::ended());
    let result = execute(&context, &task(), creating()).await;
    assert!(matches!(result, Err(Error::NotLeading { .. })), "{result:?}");
    assert_eq!(server.calls(), [format!("PUT {TASK}")]);
}

#[tokio::test]
async fn every_step_names_the_uid_of_its_pod() {
    let steps = [
        (Step::ReleasePod(pod_ref()), "PATCH", "/metadata/uid"),
        (Step::LowerDeadline { pod: pod_ref(), seconds: 1 }, "PATCH", "/0/value"),
        (Step::RestoreLabel(pod_ref()), "PATCH", "/metadata/uid"),
        (Step::ReturnQuota(pod_ref()), "PATCH", "/metadata/uid"),
        (Step::DeletePod(pod_ref()), "DELETE", "/preconditions/uid"),
    ];
    for (step, method, place) in steps {
        let server = Server::answering([(200, pod("task-uid"))]);
        let _ = executed(&server, doing(step.clone())).await.expect("an answer");
        assert_eq!(server.calls(), [format!("{method} {POD}")], "{step}");
        assert_eq!(server.body(0).pointer(place), Some(&json!("pod-uid")), "{step}");
    }
}

#[tokio::test]
async fn a_label_that_somebody_took_off_is_put_back() {
    let server = Server::answering([(200, pod("task-uid"))]);
    let refused = refusals(executed(&server, doing(Step::RestoreLabel(pod_ref()))).await);
    assert_eq!(refused.steps[0].words.reason, "TakenBack", "the answer is without it");
    assert_eq!(server.body(0)["metadata"]["labels"]["longtask.dev/task"], "import");
}

#[tokio::test]
async fn the_deadline_of_a_pod_is_lowered_only_while_nobody_has_deleted_it() {
    let server = Server::answering([(200, pod("task-uid"))]);
    let _ = executed(&server, doing(Step::LowerDeadline { pod: pod_ref(), seconds: 7 })).await.expect("an answer");
    let expected = json!([
        { "op": "test", "path": "/metadata/uid", "value": "pod-uid" },
        { "op": "test", "path": "/metadata/deletionTimestamp", "value": null },
        { "op": "add", "path": "/spec/activeDeadlineSeconds", "value": 7 },
    ]);
    assert_eq!(server.body(0), expected);
}

#[tokio::test]
async fn only_our_finalizer_is_dropped() {
    let server = Server::answering([(200, pod("task-uid"))]);
    executed(&server, doing(Step::ReleasePod(pod_ref()))).await.expect("it is done");
    let dropped = json!(["longtask.dev/outcome"]);
    assert_eq!(server.body(0)["metadata"]["$deleteFromPrimitiveList/finalizers"], dropped);
}

/// Steps, and the pod as it is when each is done.
fn steps_and_effects() -> [(Step, Value); 3] {
    let mut lowered = pod("task-uid");
    lowered["spec"] = json!({ "containers": [], "activeDeadlineSeconds": 1 });
    lowered["metadata"]["finalizers"] = json!(["longtask.dev/outcome"]);
    let mut going = pod("task-uid");
    going["metadata"]["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
    going["metadata"]["finalizers"] = json!(["longtask.dev/outcome"]);
    [
        (Step::LowerDeadline { pod: pod_ref(), seconds: 1 }, lowered),
        (Step::DeletePod(pod_ref()), going),
        (Step::ReleasePod(pod_ref()), pod("task-uid")),
    ]
}

/// The pod before anything was done to it.
fn untouched() -> Value {
    let mut pod = pod("task-uid");
    pod["spec"] = json!({ "containers": [], "activeDeadlineSeconds": 600 });
    pod["metadata"]["finalizers"] = json!(["longtask.dev/outcome"]);
    pod
}

#[tokio::test]
async fn a_refused_step_is_done_only_if_the_pod_says_so_whatever_the_code() {
    for code in [400, 401, 403, 404, 409, 410, 413, 415, 422] {
        for (step, effect) in steps_and_effects() {
            let refusal = error(code, "Whatever", "not here");
            let server = Server::answering([refusal.clone(), (200, untouched())]);
            let refused = refusals(executed(&server, doing(step.clone())).await).steps;
            assert_eq!(refused.len(), 1, "{code} {step}");
            assert_eq!((&refused[0].step, refused[0].words.message.as_str()), (&step, "not here"), "{code} {step}");
            let mut another = untouched();
            another["metadata"]["uid"] = json!("another");
            for seen in [(200, effect), not_found(), (200, another)] {
                let server = Server::answering([refusal.clone(), seen.clone()]);
                let result = executed(&server, doing(step.clone())).await;
                assert!(matches!(result, Ok(Executed::Done { .. })), "{code} {step} {seen:?}: {result:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_change_that_the_answer_does_not_show_is_refused() {
    for (step, _) in steps_and_effects() {
        let server = Server::answering([(200, untouched())]);
        let result = executed(&server, doing(step.clone())).await;
        match step {
            Step::DeletePod(_) => assert!(matches!(result, Ok(Executed::Done { .. })), "it was removed at once"),
            _ => assert_eq!(refusals(result).steps[0].words.reason, "TakenBack", "{step}"),
        }
    }
}

#[tokio::test]
async fn steps_behind_a_refused_one_are_taken_all_the_same() {
    let [(lower, _), (delete, going), (release, released)] = steps_and_effects();
    let plan = Plan { steps: vec![lower, delete, release], ..Plan::default() };
    let server = Server::answering([error(403, "Forbidden", "no"), (200, untouched()), (200, going), (200, released)]);
    assert_eq!(refusals(executed(&server, plan).await).steps.len(), 1);
    assert_eq!(server.calls().len(), 4);
}

#[tokio::test]
async fn an_error_behind_a_refusal_does_not_hide_it() {
    let [(lower, _), (delete, _), _] = steps_and_effects();
    let plan = Plan { steps: vec![lower.clone(), delete], ..Plan::default() };
    let answers =
        [error(403, "Forbidden", "no"), (200, untouched()), error(500, "InternalError", "down"), (200, untouched())];
    let refused = refusals(executed(&Server::answering(answers), plan).await).steps;
    assert_eq!(refused.iter().map(|refused| &refused.step).collect::<Vec<_>>(), [&lower]);
}

#[tokio::test]
async fn a_refused_deletion_of_the_task_is_an_observation_and_a_changed_task_a_conflict() {
    let (_, mut read) = stored();
    for code in [403, 404, 409, 422] {
        let server = Server::answering([error(code, "Whatever", "keep it"), (200, read.clone())]);
        assert_eq!(
            refusals(executed(&server, doing(Step::DeleteTask)).await).steps[0].words.message,
            "keep it",
            "{code}"
        );
    }
    read["metadata"]["resourceVersion"] = json!("8");
    let server = Server::answering([error(409, "Conflict", "changed"), (200, read)]);
    let result = executed(&server, doing(Step::DeleteTask)).await;
    assert!(result.as_ref().is_err_and(Error::is_conflict), "{result:?}");
    let server = Server::answering([error(404, "NotFound", ""), not_found()]);
    assert!(matches!(executed(&server, doing(Step::DeleteTask)).await, Ok(Executed::Done { .. })));
}

#[tokio::test]
async fn a_refused_status_is_no_conflict_and_no_missing_task() {
    let plan = || Plan { status: Some(LongTaskStatus::default()), ..Plan::default() };
    for code in [403, 404, 409, 422] {
        let answers = [error(code, "Whatever", "no status"), stored()];
        let server = Server::answering(answers);
        let result = executed(&server, plan()).await;
        assert!(matches!(result, Err(Error::Refused { .. })), "{code}: {result:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_of_which_nobody_knows_the_fate_may_arrive_late() {
    let server =
        Server::answering([stored(), (504, json!({ "metadata": {}, "status": "Failure", "code": 504 })), not_found()]);
    let context = server.context(Leadership::sole());
    tokio::time::advance(std::time::Duration::from_mins(1)).await;
    let result = execute(&context, &task(), creating()).await;
    assert!(matches!(result, Err(Error::Call { .. })), "{result:?}");
    let late = context.late_creates.of(&ObjectKey::of(&task()));
    assert_eq!(late, crate::task::plan::LateCreates::Of(vec!["import-1".into()]));
}

/// A plan that fills the task in with fields of which this program knows only some.
fn filling_in() -> Plan {
    let (_, mut filled) = stored();
    filled["spec"]["templateRef"] = json!({ "name": "x" });
    filled["spec"]["ofANewerRelease"] = json!(1);
    doing(Step::FillIn(Box::new(serde_json::from_value(filled).expect("a task"))))
}

#[tokio::test]
async fn a_task_is_filled_in_by_one_write_of_all_its_fields_over_the_reading() {
    let (_, mut answer) = stored();
    answer["metadata"]["resourceVersion"] = json!("8");
    let server = Server::answering([(200, answer)]);
    let filled = match executed(&server, filling_in()).await {
        Ok(Executed::FilledIn(filled)) => filled,
        other => panic!("{other:?}"),
    };
    assert_eq!(filled.metadata.resource_version.as_deref(), Some("8"), "the next plan is made from it");
    assert_eq!(server.calls(), [format!("PUT {}", TASK.trim_end_matches("/status"))]);
    let written = server.body(0);
    assert_eq!(written["spec"]["ofANewerRelease"], 1);
    assert_eq!(written["metadata"]["resourceVersion"], "7");
}

#[tokio::test]
async fn a_refused_fill_in_is_an_observation_and_a_changed_task_a_conflict() {
    let (_, mut read) = stored();
    for code in [403, 404, 409, 422] {
        let server = Server::answering([error(code, "Whatever", "keep it"), (200, read.clone())]);
        let refused = refusals(executed(&server, filling_in()).await).steps;
        assert_eq!((refused.len(), refused[0].words.message.as_str()), (1, "keep it"), "{code}");
    }
    read["metadata"]["resourceVersion"] = json!("8");
    let server = Server::answering([error(409, "Conflict", "changed"), (200, read)]);
    let result = executed(&server, filling_in()).await;
    assert!(result.as_ref().is_err_and(Error::is_conflict), "{result:?}");
    let server = Server::answering([error(404, "NotFound", ""), not_found()]);
    assert!(matches!(executed(&server, filling_in()).await, Ok(Executed::TaskGone)));
}

#[tokio::test]
async fn a_task_that_needs_no_template_is_not_read_again() {
    let server = Server::default();
    let context = server.context(Leadership::sole());
    let fresh = super::super::observe::refresh(&context, &task()).await.expect("nothing to fail");
    assert!(matches!(fresh, super::super::observe::Fresh::AsRead(crate::task::plan::Template::NotAsked)));
    assert_eq!(server.calls(), [""; 0]);
}

#[tokio::test]
async fn a_thin_task_is_read_with_its_template_from_the_api_server() {
    use super::super::observe::{Fresh, refresh};
    let (_, mut live) = stored();
    live["spec"] = json!({ "templateRef": { "name": "x" } });
    let thin: LongTask = serde_json::from_value(live.clone()).expect("a task");
    live["metadata"]["resourceVersion"] = json!("9");
    live["metadata"]["annotations"] = json!({ "kubectl.kubernetes.io/last-applied-configuration": "{}" });
    let template = json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": "x" }, "spec": { "a": 1 },
    });
    let server = Server::answering([(200, live.clone()), (200, template), (200, live.clone()), not_found()]);
    let context = server.context(Leadership::sole());
    let Ok(Fresh::Read(read, crate::task::plan::Template::Found(reading))) = refresh(&context, &thin).await else {
        panic!("not read")
    };
    assert_eq!(read.metadata.resource_version.as_deref(), Some("9"));
    assert!(reading.task.metadata.annotations.is_some(), "what kubectl apply leaves behind is kept");
    assert_eq!(reading.template.spec.definition["a"], 1);
    let missing = refresh(&context, &thin).await;
    assert!(matches!(missing, Ok(Fresh::Read(_, crate::task::plan::Template::Missing))));
    let mut other = live;
    other["metadata"]["uid"] = json!("another");
    server.answers_also([(200, other)]);
    assert!(matches!(refresh(&context, &thin).await, Ok(Fresh::Gone)));
}
