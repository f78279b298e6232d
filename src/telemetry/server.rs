//! The HTTP server for probes and metrics.

use std::{io, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use tokio::net::TcpListener;
use tracing::info;

use super::{
    health::Health,
    metrics::{self, Page, Registry},
};

/// The address could not be listened on.
#[derive(Debug, thiserror::Error)]
#[error("listen on {address}")]
pub struct ListenError {
    address: SocketAddr,
    #[source]
    source: io::Error,
}

impl ListenError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        Self { address, source }
    }
}

/// Listens on `address`, and serves `/livez`, `/readyz`, `/metrics` and the pages of the registry for as long as the
/// returned future is polled.
///
/// # Errors
/// When the address is taken or not allowed; known before anything is served.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    registry: Arc<Registry>,
) -> Result<impl Future<Output = io::Result<()>>, ListenError> {
    let not_listening = |source| ListenError::new(address, source);
    let listener = TcpListener::bind(address).await.map_err(not_listening)?;
    // The port is news when `address` leaves it to the system.
    info!(address = %listener.local_addr().map_err(not_listening)?, "serving health and metrics");
    Ok(axum::serve(listener, routes(health, registry)).into_future())
}

fn routes(health: Health, registry: Arc<Registry>) -> Router {
    let mut router = Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health);
    for (path, parts) in registry.pages() {
        router = router.route(path, get(text_of).with_state(parts.clone()));
    }
    router.route("/metrics", get(all_metrics).with_state(registry))
}

async fn livez(State(health): State<Health>) -> impl IntoResponse {
    match health.complaints() {
        complaints if complaints.is_empty() => (StatusCode::OK, "ok\n".to_owned()),
        complaints => (StatusCode::SERVICE_UNAVAILABLE, complaints.join("\n") + "\n"),
    }
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let stage = health.stage();
    let status = if stage.is_ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, format!("{stage}\n"))
}

async fn all_metrics(State(registry): State<Arc<Registry>>) -> impl IntoResponse {
    registry
        .encode()
        .map(|text| ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn text_of(State(parts): State<Vec<Page>>) -> impl IntoResponse {
    let text: String = parts.iter().map(Page::read).collect();
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::{
        body::{Body, to_bytes},
        http::Request,
    };
    use tower::ServiceExt;

    use super::{super::health::Stage, *};

    async fn answer(health: &Health, path: &str) -> (u16, String) {
        let mut registry = Registry::new();
        registry.page("/metrics/tasks").write("longtask_task_segment 3\n".to_owned());
        registry.page("/metrics/tasks").write("longtask_set_active 5\n".to_owned());
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = routes(health.clone(), Arc::new(registry)).oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn readyz_names_what_is_pending() {
        let health = Health::new();
        health.reached(Stage::WaitingForCrd);
        let (status, text) = answer(&health, "/readyz").await;
        assert_eq!(status, 503);
        assert!(text.starts_with("waiting for a CRD of longtask.dev"), "{text}");
        health.reached(Stage::Standby);
        assert_eq!(answer(&health, "/readyz").await, (200, "standby: waiting for the lease\n".to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn livez_says_which_watch_is_silent() {
        let health = Health::new();
        let _sweep = health.observe("sweep", Some(Duration::from_mins(1)));
        assert_eq!(answer(&health, "/livez").await, (200, "ok\n".to_owned()));
        tokio::time::advance(Duration::from_mins(1)).await;
        assert_eq!(answer(&health, "/livez").await, (503, "sweep: silent for 60s\n".to_owned()));
    }

    #[tokio::test]
    async fn metrics_are_served_as_prometheus_text() {
        let (status, text) = answer(&Health::new(), "/metrics").await;
        assert_eq!(status, 200);
        assert!(text.contains("# TYPE longtask_build_info gauge\nlongtask_build_info{"), "{text}");
    }

    #[tokio::test]
    async fn a_page_is_served_with_its_parts_as_they_were_written() {
        let text = "longtask_task_segment 3\nlongtask_set_active 5\n".to_owned();
        assert_eq!(answer(&Health::new(), "/metrics/tasks").await, (200, text));
        assert_eq!(answer(&Health::new(), "/metrics/queues").await.0, 404);
    }

    #[tokio::test]
    async fn an_address_in_use_is_reported_before_serving() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("its address");
        let error = serve(address, Health::new(), Arc::default()).await.err().expect("the port is taken");
        assert_eq!(error.to_string(), format!("listen on {address}"));
    }
}
