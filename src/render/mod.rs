//! The pod of an attempt, from the template and the status.

mod env;
mod hash;
mod pod;

pub use env::{attempt_span_id, run_span_id, span_id, trace_id, traceparent};
pub use hash::template_hash;
pub use pod::{memory_limit, pod, pod_name};
