//! The pod of an attempt, from the template and the status.

mod agent;
mod claims;
mod env;
mod hash;
mod made;
mod owner;
mod pod;
mod stored;
mod trace;

pub use self::{
    agent::{AgentConfig, ReportServer, is_for_windows},
    claims::{claim_names, claims},
    hash::template_hash,
    pod::{memory_limit, pod, pod_name},
    stored::{is_save, save_of, saves_named},
    trace::{attempt_span_id, run_span_id, span_id, trace_id, traceparent},
};
