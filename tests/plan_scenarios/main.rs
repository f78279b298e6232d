//! What the planner does, told as scenarios: given a task and its pods, at a time, expect a status, steps and events.

mod budgets;
mod cut;
mod life;
mod limits;
mod outcomes;
mod pauses;
mod pods;
mod refusals;
mod support;
