//! Calls of the API server, for a limited time.

use std::time::Duration;

use tokio::time;

use super::error::Error;

/// How long one call may take.
pub(crate) const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Awaits a call; `what` names it in the error.
///
/// # Errors
/// When the API server refuses, cannot be reached, or does not answer within [`CALL_LIMIT`].
pub(crate) async fn call<T>(what: &str, request: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    within(CALL_LIMIT, what, request).await
}

/// Awaits a call for as long as `limit`.
///
/// # Errors
/// As [`call`].
pub(crate) async fn within<T>(
    limit: Duration,
    what: &str,
    request: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    match time::timeout(limit, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(source)) => Err(Error::Call { what: what.to_owned(), source: Box::new(source) }),
        Err(_) => Err(Error::Timeout { what: what.to_owned(), within: limit }),
    }
}
