//! A layer of the client that counts and times every request to the API server.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response};
use tokio::time::Instant;
use tower::{Layer, Service};

use super::metrics::{ApiEndpoint, Code, Metrics};

/// Wraps a client's service so that its calls show up in [`Metrics`].
#[derive(Clone, Debug)]
pub struct CountApiCalls(Metrics);

impl CountApiCalls {
    /// A layer that counts into `metrics`.
    pub fn new(metrics: Metrics) -> Self {
        Self(metrics)
    }
}

impl<S> Layer<S> for CountApiCalls {
    type Service = Counted<S>;

    fn layer(&self, service: S) -> Counted<S> {
        Counted { service, metrics: self.0.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Clone, Debug)]
pub struct Counted<S> {
    service: S,
    metrics: Metrics,
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
        let endpoint = endpoint(request.method(), request.uri().path(), request.uri().query().unwrap_or_default());
        let tally = Tally { metrics: self.metrics.clone(), endpoint, sent: Instant::now(), code: Code::Abandoned };
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
    metrics: Metrics,
    endpoint: ApiEndpoint,
    sent: Instant,
    code: Code,
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.metrics.api_called(self.endpoint, self.code, self.sent.elapsed());
    }
}

/// The resources that the operator calls, with their subresources.
const RESOURCES: [&str; 7] =
    ["longtasks", "longtasks/status", "pods", "pods/status", "events", "leases", "customresourcedefinitions"];

fn endpoint(method: &Method, path: &str, query: &str) -> ApiEndpoint {
    let Some(ResourcePath { plural, name, subresource }) = resource_path(path) else {
        return ApiEndpoint { verb: verb(method, false, false), resource: "other" };
    };
    let is_watch = query.split('&').any(|parameter| matches!(parameter, "watch=true" | "watch=1"));
    let resource = RESOURCES
        .into_iter()
        .find(|known| match known.split_once('/') {
            Some((parent, child)) => plural == parent && subresource == Some(child),
            None => plural == *known && subresource.is_none(),
        })
        .unwrap_or("other");
    ApiEndpoint { verb: verb(method, name.is_some(), is_watch), resource }
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
    use std::{convert::Infallible, future, time::Duration};

    use tower::service_fn;

    use super::*;

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
            assert_eq!(endpoint(&method, &path, query), ApiEndpoint { verb, resource }, "{method} {path}?{query}");
        }
    }

    fn get_pod() -> Request<()> {
        Request::get("/api/v1/namespaces/a/pods/import-3").body(()).expect("a request")
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_is_counted_with_its_status_and_time() {
        let metrics = Metrics::new();
        let slow = service_fn(async |_: Request<()>| {
            tokio::time::sleep(Duration::from_millis(200)).await;
            Ok::<_, Infallible>(Response::builder().status(404).body(()).expect("a response"))
        });
        CountApiCalls::new(metrics.clone()).layer(slow).call(get_pod()).await.expect("an answer");
        let text = metrics.encode().expect("text");
        assert!(text.contains(r#"api_requests_total{verb="get",resource="pods",code="404"} 1"#), "{text}");
        assert!(text.contains(r#"api_request_duration_seconds_sum{verb="get",resource="pods"} 0.2"#), "{text}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_its_caller_gave_up_is_counted_too() {
        let metrics = Metrics::new();
        let silent = service_fn(|_: Request<()>| future::pending::<Result<Response<()>, Infallible>>());
        let call = CountApiCalls::new(metrics.clone()).layer(silent).call(get_pod());
        tokio::time::timeout(Duration::from_secs(5), call).await.expect_err("no answer");
        let text = metrics.encode().expect("text");
        assert!(text.contains(r#"api_requests_total{verb="get",resource="pods",code="abandoned"} 1"#), "{text}");
    }
}
