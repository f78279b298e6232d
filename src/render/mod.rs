//! The pod of an attempt, from the template and the status.

mod env;
mod pod;

pub use env::trace_id;
pub use pod::{memory_limit, pod, pod_name};
