//! The controllers that run, and the kinds that they need.

use kube::core::ApiResource;

use crate::{
    api::task::LongTask,
    cli::Settings,
    runtime::{self, Error, OperatorContext, Shutdown},
    task::controller,
};

/// Runs all controllers until SIGTERM or SIGINT.
///
/// # Errors
/// When something cannot be set up, and when leadership is lost.
pub async fn run(settings: Settings) -> Result<(), Error> {
    runtime::operator::run(settings, resources(), controllers).await
}

/// The kinds that must be served before the controllers can work.
pub fn resources() -> Vec<ApiResource> {
    vec![ApiResource::erase::<LongTask>(&())]
}

/// All controllers, until `shutdown`; then they finish what they are at.
pub async fn controllers(context: OperatorContext, shutdown: Shutdown) {
    controller::run(context, shutdown).await;
}
