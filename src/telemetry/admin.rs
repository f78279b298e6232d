//! The HTTP server for whoever runs the operator: what may be changed while it works.
//!
//! It asks nobody who they are, so it listens on the loopback address only: in a cluster, those who may forward a port
//! of the operator's pod reach it.

use std::{io, net::SocketAddr};

use axum::{Router, extract::State, http::StatusCode, response::IntoResponse, routing::get};
use tokio::net::TcpListener;
use tracing::info;

use super::{logs::LogFilter, server::ListenError};

/// Listens on `address`, and serves `/log-filter` for as long as the returned future is polled.
///
/// # Errors
/// When the address is taken or not allowed; known before anything is served.
pub async fn serve(
    address: SocketAddr,
    filter: LogFilter,
) -> Result<impl Future<Output = io::Result<()>>, ListenError> {
    let listener = TcpListener::bind(address).await.map_err(|source| ListenError::new(address, source))?;
    info!(%address, "serving the log filter");
    Ok(axum::serve(listener, routes(filter)).into_future())
}

fn routes(filter: LogFilter) -> Router {
    Router::new().route("/log-filter", get(current).put(change)).with_state(filter)
}

async fn current(State(filter): State<LogFilter>) -> String {
    filter.current() + "\n"
}

async fn change(State(filter): State<LogFilter>, wanted: String) -> impl IntoResponse {
    match filter.change(wanted.trim()) {
        Ok(()) => (StatusCode::OK, filter.current() + "\n"),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

#[cfg(test)]
mod tests {
    use axum::{
        body::{Body, to_bytes},
        http::{Method, Request},
    };
    use tower::ServiceExt;

    use super::*;

    async fn answer(filter: &LogFilter, method: Method, body: &'static str) -> (u16, String) {
        let request = Request::builder().method(method).uri("/log-filter").body(Body::from(body)).expect("a request");
        let response = routes(filter.clone()).oneshot(request).await.expect("an answer");
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), usize::MAX).await.expect("a body");
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn the_log_filter_is_told_and_changed() {
        let (filter, _layer) = LogFilter::new("info");
        assert_eq!(answer(&filter, Method::GET, "").await, (200, "info\n".to_owned()));
        assert_eq!(answer(&filter, Method::PUT, "info,longtask=debug\n").await.0, 200);
        assert_eq!(answer(&filter, Method::GET, "").await.1, "info,longtask=debug\n");
    }

    #[tokio::test]
    async fn a_filter_that_cannot_be_read_is_refused_and_the_old_one_stands() {
        let (filter, _layer) = LogFilter::new("info");
        let (status, text) = answer(&filter, Method::PUT, "info,=x=").await;
        assert_eq!(status, 400);
        assert!(text.contains("such as info,longtask=debug"), "{text}");
        assert_eq!(answer(&filter, Method::GET, "").await.1, "info\n");
    }
}
