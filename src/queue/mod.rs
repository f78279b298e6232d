//! Queues of tasks: the rules, and the controller that follows them.

pub mod controller;
pub mod plan;
