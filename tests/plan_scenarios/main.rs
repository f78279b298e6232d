//! What the planner does, told as scenarios: given a task and its pods, at a time, expect a status, steps and events.

#![expect(clippy::needless_pass_by_value, reason = "a scenario reads better without borrows")]

mod ages;
mod blocked;
mod budgets;
mod claims;
mod cut;
mod edits;
mod fill_in;
mod inputs;
#[path = "../shared/kstatus.rs"]
mod kstatus;
mod life;
mod limits;
mod live;
mod members;
mod outcomes;
mod pauses;
mod pod_groups;
mod pods;
mod policy;
mod queued;
mod refusals;
mod refused_writes;
mod reports;
mod restart;
mod stored;
mod support;
mod waits;
