//! Where agents post reports.

use std::{cmp::Ordering, io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{
        HeaderMap, StatusCode,
        header::{AUTHORIZATION, RETRY_AFTER},
    },
    response::{IntoResponse, Response},
    routing::post,
};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use jiff::Timestamp;
use kube::runtime::reflector::{ObjectRef, Store};
use tokio::{
    net::{TcpListener, TcpStream},
    select,
    sync::{Semaphore, mpsc::UnboundedSender, watch},
    task::JoinSet,
    time::{interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tracing::{debug, info, warn};

use super::{
    certificates::{CannotCertify, Certificates},
    identity::{Identities, PodIdentity, Unknown},
    memory::{LiveReports, Taken},
};
use crate::{
    api::task::{AttemptState, LongTask},
    clock::Clock,
    contract::agent::{Answer, LONGEST_POST, Post, REPORTS_PATH, SaveName},
    task::{
        controller::{
            metrics::{ReportLabels, TaskMetrics},
            pod_index::PodIndex,
            watches::Guarded,
        },
        plan::{PodFacts, reports_due},
        render::saves_named,
    },
    types::time::seconds_between,
};

/// The most connections at a time.
const MOST_CONNECTIONS: usize = 256;
/// The longest that a connection lasts: each is for one post.
const CONNECTION_LIMIT: Duration = Duration::from_secs(10);
/// How often the leaf is renewed.
const RENEWAL: Duration = Duration::from_hours(24);
/// How soon an agent comes again that was not taken, in seconds.
const AGAIN: &str = "5";

/// Takes reports.
pub(crate) struct ReportServer {
    pub(crate) certificates: Certificates,
    pub(crate) takes: Takes,
}

/// What a report is taken with.
pub(crate) struct Takes {
    pub(crate) identities: Identities,
    pub(crate) pods: PodIndex,
    pub(crate) tasks: Store<Guarded>,
    pub(crate) live: LiveReports,
    pub(crate) clock: Clock,
    pub(crate) metrics: TaskMetrics,
    /// The tasks that have reported.
    pub(crate) touched: UnboundedSender<ObjectRef<Guarded>>,
}

impl ReportServer {
    /// Takes reports for as long as it is polled.
    pub(crate) async fn serve(self, address: SocketAddr) -> Result<(), CannotCertify> {
        let Self { certificates, takes } = self;
        let (renewed, tls) = watch::channel(certificates.server_config(takes.clock.now())?);
        let clock = takes.clock.clone();
        let listener = listen(address).await;
        info!(address = %address, "taking reports");
        takes.begin();
        let renewing = async {
            let mut renewals = interval(RENEWAL);
            loop {
                renewals.tick().await;
                match certificates.server_config(clock.now()) {
                    Ok(config) => renewed.send_replace(config),
                    Err(error) => return error,
                };
            }
        };
        let app = Router::new()
            .route(REPORTS_PATH, post(take))
            .layer(DefaultBodyLimit::max(LONGEST_POST))
            .with_state(Arc::new(takes));
        select! {
            error = renewing => Err(error),
            () = accept(listener, tls, app) => Ok(()),
        }
    }
}

/// Listens, however long that takes: the port may be that of an operator that is about to end.
async fn listen(address: SocketAddr) -> TcpListener {
    let mut tries = interval(Duration::from_secs(5));
    loop {
        tries.tick().await;
        match TcpListener::bind(address).await {
            Ok(listener) => return listener,
            Err(error) => warn!(%error, %address, "reports cannot be taken yet"),
        }
    }
}

async fn accept(listener: TcpListener, tls: watch::Receiver<Arc<rustls::ServerConfig>>, app: Router) {
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    // They end with this.
    let mut connections = JoinSet::new();
    loop {
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        while connections.try_join_next().is_some() {}
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                debug!(%error, "a connection was not made");
                continue;
            }
        };
        let (tls, app) = (TlsAcceptor::from(Arc::clone(&tls.borrow())), app.clone());
        connections.spawn(async move {
            let _place = place;
            match timeout(CONNECTION_LIMIT, converse(stream, tls, app)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => debug!(error, "a connection broke"),
                Err(_) => debug!("a connection took too long"),
            }
        });
    }
}

/// One post on one connection.
async fn converse(stream: TcpStream, tls: TlsAcceptor, app: Router) -> Result<(), String> {
    let stream = tls.accept(stream).await.map_err(|error: io::Error| error.to_string())?;
    let serving = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    serving.await.map_err(|error| error.to_string())
}

async fn take(State(takes): State<Arc<Takes>>, headers: HeaderMap, body: Bytes) -> Response {
    let verdict = takes.take(&headers, &body).await;
    debug!(result = verdict.result(), bytes = body.len(), "a report was posted");
    takes.metrics.reports.get_or_create(&ReportLabels { result: verdict.result() }).inc();
    verdict.into_response()
}

/// What is answered to a post.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the newest.
    Accepted(Answer),
    /// A newer one came before.
    Stale(Answer),
    /// Another attempt is under way.
    Superseded,
    /// Nobody knows its pod yet.
    UnknownPod,
    /// Nobody vouches for its sender.
    Refused,
    /// It cannot be read.
    Malformed,
    /// There is no room for it, or nobody has time to ask whose it is.
    Busy,
}

impl Verdict {
    fn result(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Stale(_) => "stale",
            Self::Superseded => "superseded",
            Self::UnknownPod => "unknown_pod",
            Self::Refused | Self::Malformed => "refused",
            Self::Busy => "busy",
        }
    }
}

impl IntoResponse for Verdict {
    fn into_response(self) -> Response {
        match self {
            Self::Accepted(answer) | Self::Stale(answer) => Json(answer).into_response(),
            Self::Superseded => StatusCode::GONE.into_response(),
            Self::UnknownPod | Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, [(RETRY_AFTER, AGAIN)]).into_response(),
            Self::Refused => StatusCode::UNAUTHORIZED.into_response(),
            Self::Malformed => StatusCode::BAD_REQUEST.into_response(),
        }
    }
}

impl Takes {
    /// Reports are taken from now on.
    pub(super) fn begin(&self) {
        self.live.listen(self.clock.now());
    }

    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Verdict {
        let Some(token) = bearer(headers) else { return Verdict::Refused };
        let identity = match self.identities.of(token).await {
            Ok(identity) => identity,
            Err(Unknown::Refused) => return Verdict::Refused,
            Err(Unknown::Busy) => return Verdict::Busy,
            Err(Unknown::NoAnswer(error)) => {
                debug!(%error, "the API server does not say whose report it is");
                return Verdict::Busy;
            }
        };
        let Ok(post) = serde_json::from_slice::<Post>(body) else { return Verdict::Malformed };
        self.take_of(&identity, &post)
    }

    /// Takes the report of this pod: whether anybody waits for it, and whether it is the newest.
    pub(super) fn take_of(&self, identity: &PodIdentity, post: &Post) -> Verdict {
        let Some((key, pod)) = self.pods.find(&identity.namespace, &identity.name, &identity.uid) else {
            return Verdict::UnknownPod;
        };
        let reference = key.to_ref();
        let Some(task) = self.tasks.get(&reference) else { return Verdict::UnknownPod };
        let Ok(task) = &task.0 else { return Verdict::UnknownPod };
        match standing(task, &pod) {
            Standing::Current => {}
            Standing::Over => return Verdict::Superseded,
            Standing::Unknown => return Verdict::UnknownPod,
        }
        let now = self.clock.now();
        let answer = self.answer(task, now);
        match self.live.take(&identity.uid, post, now) {
            Taken::New => {
                // The receiver ends only with us.
                let _ = self.touched.send(reference);
                Verdict::Accepted(answer)
            }
            Taken::Stale => Verdict::Stale(answer),
            Taken::NoRoom => Verdict::Busy,
        }
    }

    fn answer(&self, task: &LongTask, now: Timestamp) -> Answer {
        let seconds = |seconds: i64| u32::try_from(seconds).unwrap_or(u32::MAX);
        Answer {
            next: seconds(next(task, self.live.pace(), now)),
            keep_alive: seconds(task.spec.segment.keep_alive_seconds()),
            keep: task.spec.checkpoint.store.is_some().then(|| saves_named_by(task)),
        }
    }
}

/// How long news can wait, in seconds: for the interval, or longer when there are many, since a status is not written more
/// often. What came before the status may be written is old by then: the next post comes when it may.
fn next(task: &LongTask, pace: i64, now: Timestamp) -> i64 {
    let interval = task.spec.reporting.interval.as_secs();
    let attempt = task.status.as_ref().and_then(|status| status.current_attempt.as_ref());
    let due = attempt.and_then(|attempt| reports_due(attempt, &task.spec.reporting));
    let wait = due.map_or(0, |due| seconds_between(now, due));
    if (1..interval).contains(&wait) && pace <= interval { wait } else { interval.max(pace) }
}

/// What a pod is to its task.
#[derive(Debug, PartialEq, Eq)]
enum Standing {
    /// The one of the attempt under way.
    Current,
    /// Its attempt is over.
    Over,
    /// The cache does not know yet: it may be behind the operator's own writes.
    Unknown,
}

fn standing(task: &LongTask, pod: &PodFacts) -> Standing {
    if pod.owner_uid != task.metadata.uid {
        // Of an earlier task of that name; or of a later one, which the cache does not know.
        let created = task.metadata.creation_timestamp.as_ref();
        let is_earlier = created.is_some_and(|created| pod.creation_time < created.0);
        return if is_earlier { Standing::Over } else { Standing::Unknown };
    }
    let Some(latest) = task.status.as_ref().and_then(|status| status.current_attempt.as_ref()) else {
        return Standing::Unknown;
    };
    match (pod.attempt.cmp(&latest.number), latest.state) {
        // The next attempt takes the number of one that was withdrawn.
        (Ordering::Greater, _) | (Ordering::Equal, AttemptState::Withdrawn) => Standing::Unknown,
        (Ordering::Less, _) | (Ordering::Equal, AttemptState::Ended) => Standing::Over,
        (Ordering::Equal, _) if pod.is_of(latest) => Standing::Current,
        (Ordering::Equal, _) => Standing::Over,
    }
}

/// The saves that must stay: the agent deletes others of its own.
fn saves_named_by(task: &LongTask) -> Vec<SaveName> {
    let uid = task.metadata.uid.as_deref().unwrap_or_default();
    task.status.as_ref().map(|status| saves_named(status, uid)).unwrap_or_default()
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use k8s_openapi::api::core::v1::Pod;
    use kube::{
        core::DeserializeGuard,
        runtime::{reflector, watcher::Event},
    };
    use serde_json::{Value, json};
    use tokio::sync::mpsc;

    use super::{
        super::{
            identity::tests::{Server, answer, not_authenticated, reviewed},
            memory::ReportsFrom,
        },
        *,
    };
    use crate::{
        task::{controller::pod_index::Indexer, plan::CurrentPod},
        telemetry::metrics::Registry,
    };

    #[expect(clippy::needless_pass_by_value, reason = "literals read better without borrows")]
    fn task(attempt: Value) -> LongTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": {
                "name": "t", "namespace": "team-a", "uid": "task-uid", "creationTimestamp": "2026-11-24T09:00:00Z",
            },
            "spec": { "template": { "spec": { "containers": [] } } },
            "status": { "currentAttempt": attempt },
        }))
        .expect("a task")
    }

    fn attempt(number: i64, state: &str, pod_uid: &str) -> Value {
        json!({
            "number": number, "segment": 1, "state": state, "podName": format!("t-{number}"), "podUID": pod_uid,
            "generation": 1, "creationTime": "2026-11-24T10:00:00Z",
        })
    }

    fn pod_object(number: i64, owner: &str) -> Pod {
        let owner = json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "name": "t", "uid": owner, "controller": true,
        });
        let pod = json!({
            "metadata": {
                "name": format!("t-{number}"), "namespace": "team-a", "uid": format!("pod-{number}"),
                "labels": { "longtask.dev/task": "t", "longtask.dev/task-uid": "task-uid" },
                "ownerReferences": [owner],
            },
            "spec": { "containers": [] },
        });
        serde_json::from_value(pod).expect("a pod")
    }

    fn pod(number: i64) -> PodFacts {
        PodFacts::of(&pod_object(number, "task-uid")).expect("one of ours")
    }

    #[test]
    fn only_an_attempt_that_is_known_to_be_over_is_told_to_post_no_more() {
        let of = |attempt: Value, number: i64| standing(&task(attempt), &pod(number));
        assert_eq!(of(attempt(2, "Running", "pod-2"), 2), Standing::Current);
        assert_eq!(of(attempt(2, "Creating", "pod-2"), 2), Standing::Current);
        assert_eq!(of(attempt(2, "Running", "pod-2"), 1), Standing::Over);
        assert_eq!(of(attempt(2, "Ended", "pod-2"), 2), Standing::Over);
        assert_eq!(of(attempt(2, "Running", "another-pod"), 2), Standing::Over);
        assert_eq!(of(attempt(2, "Ended", "pod-2"), 3), Standing::Unknown, "the cache is behind");
        assert_eq!(of(Value::Null, 1), Standing::Unknown, "likewise");
        assert_eq!(of(attempt(2, "Withdrawn", "pod-2"), 2), Standing::Unknown, "the next one may take its number");
    }

    #[test]
    fn a_pod_of_a_later_task_of_that_name_is_told_to_come_again() {
        let of_task = |created: &str| {
            let mut pod = pod_object(1, "another-task");
            pod.metadata.creation_timestamp = Some(serde_json::from_value(json!(created)).expect("a time"));
            standing(&task(attempt(2, "Running", "pod-2")), &PodFacts::of(&pod).expect("one of ours"))
        };
        assert_eq!(of_task("2026-11-24T08:59:59Z"), Standing::Over, "its task is gone");
        assert_eq!(of_task("2026-11-24T09:00:00Z"), Standing::Unknown, "the cache is behind");
    }

    #[test]
    fn the_next_post_comes_when_the_status_may_be_written_again() {
        let at = |second: i64| Timestamp::from_second(1_764_000_000 + second).expect("in range");
        let of = |attempt: &Value, pace, second| {
            let mut task = task(attempt.clone());
            task.spec.reporting.interval = crate::types::GoDuration::from_secs(30);
            next(&task, pace, at(second))
        };
        let mut running = attempt(2, "Running", "pod-2");
        assert_eq!(of(&running, 1, 0), 30, "nobody knows when its program began");
        running["startedAt"] = json!(at(0).to_string());
        assert_eq!([1, 29, 30, 31].map(|second| of(&running, 1, second)), [29, 1, 30, 30]);
        running["report"] = json!({ "revision": 5, "recordTime": at(60).to_string() });
        assert_eq!([60, 70, 95].map(|second| of(&running, 1, second)), [30, 20, 30]);
        assert_eq!(of(&running, 200, 70), 200, "there are many");
    }

    /// What takes the reports of a task whose attempt 2 runs, in pod 2; pod 1 is that of an earlier attempt, and pod 3 of an
    /// earlier task. The API server gives this answer to a review.
    fn takes(review: (u16, Value)) -> Takes {
        let pods = PodIndex::new();
        let mut indexer = Indexer::new(pods.clone());
        for pod in [pod_object(1, "task-uid"), pod_object(2, "task-uid"), pod_object(3, "earlier-task")] {
            indexer.take(Event::Apply(pod));
        }
        let (tasks, mut writer) = reflector::store();
        writer.apply_watcher_event(&Event::Apply(DeserializeGuard(Ok(task(attempt(2, "Running", "pod-2"))))));
        Takes {
            identities: Server::answering([review]).identities(None),
            pods,
            tasks,
            live: LiveReports::new(ReportsFrom::default()),
            clock: Clock::wall(),
            metrics: TaskMetrics::register(&mut Registry::new()),
            touched: mpsc::unbounded_channel().0,
        }
    }

    /// The API server's answer for the token of that pod.
    fn review_of(name: &str, uid: &str) -> (u16, Value) {
        let mut status = answer();
        let extra = |name: &str| format!("authentication.kubernetes.io/{name}");
        status["user"]["extra"] = json!({ extra("pod-name"): [name], extra("pod-uid"): [uid] });
        reviewed(&status)
    }

    fn with_token() -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static("Bearer token"))])
    }

    const POST: &[u8] = br#"{"revision": 7, "silentSeconds": 0, "lines": ""}"#;

    #[tokio::test]
    async fn a_report_counts_for_the_pod_whose_token_comes_with_it_and_for_no_other() {
        for (name, uid, expected) in [
            ("t-2", "pod-2", "accepted"),
            ("t-1", "pod-1", "superseded"),
            ("t-3", "pod-3", "superseded"),
            ("t-2", "of-a-pod-that-is-gone", "unknown_pod"),
            ("t-4", "pod-4", "unknown_pod"),
        ] {
            let takes = takes(review_of(name, uid));
            assert_eq!(takes.take(&with_token(), POST).await.result(), expected, "{name} {uid}");
            let of_current = takes.live.of(&CurrentPod::Found(Arc::new(pod(2)))).report;
            assert_eq!((of_current.is_some(), takes.live.pods()), (uid == "pod-2", usize::from(uid == "pod-2")));
        }
    }

    #[tokio::test]
    async fn nothing_is_taken_from_whom_the_api_server_does_not_vouch_for() {
        let mut for_others = answer();
        for_others["audiences"] = json!(["https://kubernetes.default.svc"]);
        let busy = kube::core::Status::failure("not now", "ServiceUnavailable").with_code(503);
        let busy = (503, serde_json::to_value(busy).expect("a status"));
        let refused = not_authenticated("pod not found");
        for (review, headers, body, expected) in [
            (refused.clone(), with_token(), POST, Verdict::Refused),
            (reviewed(&for_others), with_token(), POST, Verdict::Refused),
            (refused, HeaderMap::new(), POST, Verdict::Refused),
            (busy, with_token(), POST, Verdict::Busy),
            (review_of("t-2", "pod-2"), with_token(), b"no JSON".as_slice(), Verdict::Malformed),
        ] {
            let takes = takes(review);
            assert_eq!(takes.take(&headers, body).await, expected);
            assert_eq!(takes.live.pods(), 0);
        }
        let codes = [Verdict::Refused, Verdict::Superseded, Verdict::UnknownPod, Verdict::Busy, Verdict::Malformed];
        assert_eq!(codes.map(|verdict| verdict.into_response().status().as_u16()), [401, 410, 503, 503, 400]);
    }
}
