//! A layer of the client that counts and times every request to the API server.

use std::{
    fmt::{self, Write},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http::{Method, Request, Response};
use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, histogram::Histogram},
};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::metrics::{Registry, short_times};

/// Wraps a client's service so that its calls are counted and timed.
#[derive(Clone, Debug)]
pub struct CountApiCalls {
    metrics: ApiCallMetrics,
    /// The resources that have a label of their own.
    resources: Arc<[&'static str]>,
}

impl CountApiCalls {
    /// A layer that counts into metrics of this registry. The operator calls these resources, in the words of RBAC:
    /// the plural, with the subresource after a slash. Others are counted as `other`.
    pub fn register(registry: &mut Registry, resources: impl IntoIterator<Item = &'static str>) -> Self {
        Self { metrics: ApiCallMetrics::register(registry), resources: resources.into_iter().collect() }
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(crate) fn fill_metrics(&self) {
        let endpoint = Endpoint { verb: "get", resource: "pods" };
        self.metrics.count(endpoint, Code::Status(200), Duration::from_secs(1));
    }
}

#[derive(Clone, Debug)]
struct ApiCallMetrics {
    requests: Family<CallLabels, Counter>,
    duration: Family<Endpoint, Histogram, fn() -> Histogram>,
}

impl ApiCallMetrics {
    fn register(registry: &mut Registry) -> Self {
        Self {
            requests: registry.register(
                "api_requests",
                "Requests to the API server, by verb, resource and status code",
                Family::default(),
            ),
            duration: registry.register_seconds(
                "api_request_duration",
                "Time from sending a request to the API server to the head of its answer",
                Family::new_with_constructor(short_times),
            ),
        }
    }

    fn count(&self, endpoint: Endpoint, code: Code, took: Duration) {
        let Endpoint { verb, resource } = endpoint;
        self.requests.get_or_create(&CallLabels { verb, resource, code }).inc();
        self.duration.get_or_create(&endpoint).observe(took.as_secs_f64());
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct CallLabels {
    verb: &'static str,
    resource: &'static str,
    code: Code,
}

/// What a request was about, in the words of RBAC.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Endpoint {
    verb: &'static str,
    resource: &'static str,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
enum Code {
    /// It was answered with this HTTP status.
    Status(u16),
    /// No answer: the connection or TLS failed.
    Failed,
    /// The caller gave up, mostly since its timeout was over.
    Abandoned,
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Status(status) => write!(encoder, "{status}"),
            Self::Failed => encoder.write_str("failed"),
            Self::Abandoned => encoder.write_str("abandoned"),
        }
    }
}

impl<S> Layer<S> for CountApiCalls {
    type Service = Counted<S>;

    fn layer(&self, service: S) -> Counted<S> {
        Counted { service, calls: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    service: S,
    calls: CountApiCalls,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Counting<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
        let endpoint = endpoint(&self.calls.resources, request.method(), path, query);
        let metrics = self.calls.metrics.clone();
        let tally = Tally { metrics, endpoint, sent: Instant::now(), code: Code::Abandoned };
        Counting { answer: Box::pin(self.service.call(request)), tally }
    }
}

/// A call under way; dropped before its answer, it counts as abandoned.
#[derive(Debug)]
pub struct Counting<F> {
    answer: Pin<Box<F>>,
    tally: Tally,
}

impl<F, R, E> Future for Counting<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let answer = ready!(self.answer.as_mut().poll(cx));
        self.tally.code = match &answer {
            Ok(response) => Code::Status(response.status().as_u16()),
            Err(_) => Code::Failed,
        };
        Poll::Ready(answer)
    }
}

#[derive(Debug)]
struct Tally {
    metrics: ApiCallMetrics,
    endpoint: Endpoint,
    sent: Instant,
    code: Code,
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.metrics.count(self.endpoint, self.code, self.sent.elapsed());
    }
}

fn endpoint(resources: &[&'static str], method: &Method, path: &str, query: &str) -> Endpoint {
    let Some(ResourcePath { plural, name, subresource }) = resource_path(path) else {
        return Endpoint { verb: verb(method, false, false), resource: "other" };
    };
    let is_watch = query.split('&').any(|parameter| matches!(parameter, "watch=true" | "watch=1"));
    let is_called = |known: &&&str| match known.split_once('/') {
        Some((parent, child)) => plural == parent && subresource == Some(child),
        None => plural == **known && subresource.is_none(),
    };
    let resource = resources.iter().find(is_called).copied().unwrap_or("other");
    Endpoint { verb: verb(method, name.is_some(), is_watch), resource }
}

fn verb(method: &Method, has_name: bool, is_watch: bool) -> &'static str {
    match *method {
        Method::GET if is_watch => "watch",
        Method::GET if has_name => "get",
        Method::GET => "list",
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "other",
    }
}

struct ResourcePath<'a> {
    plural: &'a str,
    name: Option<&'a str>,
    subresource: Option<&'a str>,
}

/// Reads `/api/v1/…` and `/apis/GROUP/VERSION/…`, with or without `namespaces/NAMESPACE/`.
///
/// A prefix before `/api`, as some proxies have, is passed over.
fn resource_path(path: &str) -> Option<ResourcePath<'_>> {
    let mut parts = path.split('/').skip_while(|part| !matches!(*part, "api" | "apis"));
    let versions = if parts.next()? == "api" { 1 } else { 2 };
    let mut parts = parts.skip(versions).filter(|part| !part.is_empty()).peekable();
    let mut plural = parts.next()?;
    let mut name = parts.next();
    if plural == "namespaces" && parts.peek().is_some() {
        plural = parts.next()?;
        name = parts.next();
    }
    Some(ResourcePath { plural, name, subresource: parts.next() })
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, future};

    use tower::service_fn;

    use super::*;

    const RESOURCES: [&str; 4] = ["longtasks", "longtasks/status", "pods", "leases"];

    fn layer() -> (CountApiCalls, Registry) {
        let mut registry = Registry::new();
        (CountApiCalls::register(&mut registry, RESOURCES), registry)
    }

    #[test]
    fn a_request_is_named_in_the_words_of_rbac() {
        let pods = "/api/v1/namespaces/a/pods";
        let tasks = "/apis/longtask.dev/v1alpha1";
        for (method, path, query, verb, resource) in [
            (Method::POST, pods.to_owned(), "", "create", "pods"),
            (Method::DELETE, format!("{pods}/import-3"), "", "delete", "pods"),
            (Method::GET, "/api/v1/pods".to_owned(), "limit=500", "list", "pods"),
            (Method::GET, "/api/v1/pods".to_owned(), "&watch=true&resourceVersion=7", "watch", "pods"),
            (Method::GET, format!("{tasks}/longtasks"), "limit=1", "list", "longtasks"),
            (Method::PUT, format!("{tasks}/namespaces/a/longtasks/import/status"), "", "update", "longtasks/status"),
            (Method::PATCH, format!("{tasks}/namespaces/a/longtasks/import"), "", "patch", "longtasks"),
            (Method::GET, "/proxy/apis/coordination.k8s.io/v1/namespaces/a/leases/l".to_owned(), "", "get", "leases"),
            (Method::GET, "/api/v1/namespaces/a".to_owned(), "", "get", "other"),
            (Method::GET, format!("{pods}/import-3/log"), "", "get", "other"),
            (Method::GET, "/version".to_owned(), "", "list", "other"),
        ] {
            assert_eq!(
                endpoint(&RESOURCES, &method, &path, query),
                Endpoint { verb, resource },
                "{method} {path}?{query}"
            );
        }
    }

    fn get_pod() -> Request<()> {
        Request::get("/api/v1/namespaces/a/pods/import-3").body(()).expect("a request")
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_counted_with_its_status_and_time() {
        let (layer, registry) = layer();
        let slow = service_fn(async |_: Request<()>| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<_, Infallible>(Response::builder().status(404).body(()).expect("a response"))
        });
        layer.layer(slow).call(get_pod()).await.expect("an answer");
        let text = registry.encode().expect("text");
        assert!(text.contains(r#"api_requests_total{verb="get",resource="pods",code="404"} 1"#), "{text}");
        assert!(text.contains(r#"api_request_duration_seconds_sum{verb="get",resource="pods"} 0.2"#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_its_caller_gave_up_is_counted_too() {
        let (layer, registry) = layer();
        let silent = service_fn(|_: Request<()>| future::pending::<Result<Response<()>, Infallible>>());
        let call = layer.layer(silent).call(get_pod());
        tokio::time::timeout(Duration::from_secs(5), call).await.expect_err("no answer");
        let text = registry.encode().expect("text");
        assert!(text.contains(r#"api_requests_total{verb="get",resource="pods",code="abandoned"} 1"#), "{text}");
    }
}
