//! What the operator and a program agree on: what the program is told in its environment, and what it reports.
//!
//! docs/task-contract.md is the same for people.

pub mod env;
pub mod report;
