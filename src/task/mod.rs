//! The kind `LongTask`: what to do about a task, the pods of its attempts, the controller, and a try-out without cluster.

pub mod controller;
pub mod plan;
pub mod render;
pub mod simulate;
