//! The calls that a plan becomes, in their order, and what each answer of the API server does.

#![expect(clippy::large_futures, reason = "each is awaited once, on the stack of a test")]

use std::{
    collections::VecDeque,
    convert::Infallible,
    sync::{Arc, Mutex},
};

use http::{Request, Response};
use kube::{Client, client::Body, core::Status};
use serde_json::{Value, json};
use tower::service_fn;

use super::*;
use crate::{
    controller::{events, leader::Leadership, pods::PodIndex},
    plan::Wake,
    telemetry::metrics::Metrics,
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
        let client = Client::new(service, "default");
        let metrics = Metrics::new();
        let (events, _publisher) = events::queue_of(client.clone(), labels::FIELD_MANAGER.into(), metrics.clone());
        Context::of(client, leadership, PodIndex::new(), metrics, events)
    }

    async fn answer(&self, request: Request<Body>) -> Response<Body> {
        let (parts, body) = request.into_parts();
        let body = body.collect_bytes().await.expect("a body in memory");
        let line = format!("{} {}", parts.method, parts.uri.path());
        self.asked.lock().expect("no panic").push((line, serde_json::from_slice(&body).unwrap_or_default()));
        let (code, body) = self.answers.lock().expect("no panic").pop_front().expect("one more call than scripted");
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).expect("a response")
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
    let server = Server::answering([error(409, "Conflict", "the object has been modified")]);
    let result = executed(&server, creating()).await;
    assert!(result.as_ref().is_err_and(Error::is_conflict), "{result:?}");
    assert_eq!(server.calls(), [format!("PUT {TASK}")]);
}

#[tokio::test]
async fn a_task_that_is_gone_ends_its_plan() {
    let server = Server::answering([error(404, "NotFound", "not found")]);
    assert!(matches!(executed(&server, creating()).await, Ok(Executed::TaskGone)));
    assert_eq!(server.calls().len(), 1);
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
    for (holder, refusal) in [(pod("earlier-task"), Refusal::NameTaken), (going, Refusal::NameOfGoingPod)] {
        let server = Server::answering([stored(), error(409, "AlreadyExists", "exists"), (200, holder)]);
        match executed(&server, creating()).await {
            Ok(Executed::Refused(_, seen)) => assert_eq!(seen, refusal),
            other => panic!("{other:?}"),
        }
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
        let server = Server::answering([stored(), error(code, reason, message)]);
        match executed(&server, creating()).await {
            Ok(Executed::Refused(_, Refusal::Rejected(words))) => {
                assert_eq!((words.reason.as_str(), words.message.as_str()), (word, message));
            }
            other => panic!("{message}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_an_error_and_the_create_is_not_sent_twice() {
    for (code, reason) in [(409, "Conflict"), (429, "TooManyRequests"), (500, "InternalError"), (503, "Unavailable")] {
        let server = Server::answering([stored(), error(code, reason, "not now")]);
        assert!(executed(&server, creating()).await.is_err(), "{code}");
        assert_eq!(server.calls().len(), 2, "{code}");
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
        (Step::LowerDeadline { pod: pod_ref(), seconds: 1 }, "PATCH", "/metadata/uid"),
        (Step::DeletePod(pod_ref()), "DELETE", "/preconditions/uid"),
    ];
    for (step, method, place) in steps {
        let server = Server::answering([(200, pod("task-uid"))]);
        executed(&server, doing(step.clone())).await.expect("it is done");
        assert_eq!(server.calls(), [format!("{method} {POD}")], "{step}");
        assert_eq!(server.body(0).pointer(place), Some(&json!("pod-uid")), "{step}");
    }
}

#[tokio::test]
async fn only_our_finalizer_is_dropped() {
    let server = Server::answering([(200, pod("task-uid"))]);
    executed(&server, doing(Step::ReleasePod(pod_ref()))).await.expect("it is done");
    let dropped = json!(["longtask.dev/outcome"]);
    assert_eq!(server.body(0)["metadata"]["$deleteFromPrimitiveList/finalizers"], dropped);
}

#[tokio::test]
async fn a_pod_that_is_gone_or_another_by_now_needs_nothing() {
    for (code, reason) in [(404, "NotFound"), (409, "Conflict"), (422, "Invalid")] {
        let server = Server::answering([error(code, reason, "")]);
        assert!(executed(&server, doing(Step::DeletePod(pod_ref()))).await.is_ok(), "{code}");
    }
    let server = Server::answering([error(500, "InternalError", "")]);
    assert!(executed(&server, doing(Step::DeletePod(pod_ref()))).await.is_err());
}
