//! The HTTP server for probes and metrics.

use std::{io, net::SocketAddr};

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
    metrics::{self, Metrics},
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

/// Listens on `address`, and serves `/livez`, `/readyz`, `/metrics` and `/metrics/tasks` for as long as the returned future is polled.
///
/// # Errors
/// When the address is taken or not allowed; known before anything is served.
pub async fn serve(
    address: SocketAddr,
    health: Health,
    metrics: Metrics,
) -> Result<impl Future<Output = io::Result<()>>, ListenError> {
    let not_listening = |source| ListenError::new(address, source);
    let listener = TcpListener::bind(address).await.map_err(not_listening)?;
    // The port is news when `address` leaves it to the system.
    info!(address = %listener.local_addr().map_err(not_listening)?, "serving health and metrics");
    Ok(axum::serve(listener, routes(health, metrics)).into_future())
}

fn routes(health: Health, metrics: Metrics) -> Router {
    Router::new().route("/livez", get(livez)).route("/readyz", get(readyz)).with_state(health).merge(
        Router::new()
            .route("/metrics", get(all_metrics))
            .route("/metrics/tasks", get(task_figures))
            .with_state(metrics),
    )
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

async fn all_metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    metrics
        .encode()
        .map(|text| ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], text))
        .map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

async fn task_figures(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, metrics::CONTENT_TYPE)], metrics.shown_tasks())
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
        let request = Request::get(path).body(Body::empty()).expect("a request");
        let response = routes(health.clone(), Metrics::new()).oneshot(request).await.expect("an answer");
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
        assert!(text.starts_with("waiting for the LongTask CRD"), "{text}");
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
        assert!(text.contains("# TYPE longtask_leader gauge\nlongtask_leader 0\n"), "{text}");
    }

    #[tokio::test]
    async fn an_address_in_use_is_reported_before_serving() {
        let taken = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = taken.local_addr().expect("its address");
        let error = serve(address, Health::new(), Metrics::new()).await.err().expect("the port is taken");
        assert_eq!(error.to_string(), format!("listen on {address}"));
    }
}
