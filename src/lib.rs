//! LongTask runs one program for as long as it takes, as a chain of time-limited pods.

pub mod api;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod operator;
pub mod plan;
pub mod render;
pub mod telemetry;
