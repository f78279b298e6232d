//! What the operator tells about itself: logs, metrics and health.

pub mod admin;
pub mod api_calls;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod server;
pub mod traces;
