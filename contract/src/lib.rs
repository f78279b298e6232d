//! What the operator, the agent in a task's pod and the program there agree on.
//!
//! - [`env`](mod@env): the names of the variables that a program is told things by.
//! - [`input`]: what a task is given to work on, and how a program gets it.
//! - [`report`]: what a program reports, and how that is read. docs/task-contract.md is the same for people.
//! - [`agent`]: what the operator tells the agent, and what the agent tells the operator.
//! - [`written`]: a report as lines again.
//! - [`types`]: the values that these are made of.
//!
//! Pure: it does no I/O and never asks for the time. It knows nothing of Kubernetes, so that the agent is small.

pub mod agent;
pub mod env;
pub mod input;
pub mod report;
pub mod types;
pub mod written;
