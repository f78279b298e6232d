//! What the planner of queues does: stories, the bound of the rate, and a model with two operators whose readings are old and
//! whose requests come late.

mod breaker;
#[path = "../shared/dice.rs"]
mod dice;
mod model;
mod order;
mod pace;
mod places;
mod size;
mod support;
