//! The pod of an attempt, from the template and the status.

mod agent;
#[cfg(test)]
mod agent_tests;
mod claims;
mod env;
mod hash;
mod owner;
mod pod;
mod trace;

pub use self::{
    agent::{AgentConfig, ReportServer},
    claims::{claim_names, claims},
    hash::template_hash,
    pod::{memory_limit, pod, pod_name},
    trace::{attempt_span_id, run_span_id, span_id, trace_id, traceparent},
};
