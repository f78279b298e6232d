//! The pod of an attempt, from the template and the status.

mod env;
mod pod;

pub use env::trace_id;
pub use pod::{pod, pod_name};
