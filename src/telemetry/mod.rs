//! What the operator tells about itself: logs, metrics, traces and health. It knows no kind.

pub mod admin;
pub mod api_calls;
pub mod health;
pub mod logs;
pub mod metrics;
pub mod server;
pub mod traces;
