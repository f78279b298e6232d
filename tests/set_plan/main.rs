//! What the planner of sets does: stories, and a model with two operators whose readings are old and whose requests come late.

#![expect(clippy::needless_pass_by_value, reason = "a story reads better without borrows")]

#[path = "../shared/dice.rs"]
mod dice;
mod model;
mod size;
mod stories;
mod support;
