//! Stories of real pods, run by a real kubelet: `make e2e`, or
//! `KUBECONFIG=... cargo test --test e2e`.
//!
//! Each story has a namespace and an operator of its own, so that all run side by side. A recorder follows all tasks
//! and pods of the namespace, and fails the story when an invariant did not hold: see `support/record.rs`.

mod alone;
mod backoff;
mod blocked;
mod breaker;
mod chain;
mod claims;
mod dashboards;
mod deletion;
mod disruptions;
mod edits;
mod egress;
mod examples;
mod failure_examples;
mod finished;
mod fuzzed;
mod interruptions;
mod kueue;
mod leader;
mod live;
mod operator_killed;
mod plugin;
mod policy;
mod printing;
mod queues;
mod quiet;
mod raises;
mod refused;
mod reports;
mod restart;
mod sets;
mod sidecars;
mod slice;
mod stored;
mod strays;
mod support;
mod suspend_cancel;
mod templates;
mod touched_pods;
mod traces;
mod waits;
mod webhooks;
mod yielding;
