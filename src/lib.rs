//! LongTask runs one program for as long as it takes, as a chain of time-limited pods.
//!
//! This is the library behind the `longtask` program; it is one crate for the sake of its tests, not an API for others.
//!
//! # How data flows
//!
//! ```text
//! watches -> caches -> observe -> Observed -- plan(now) --> Plan -> execute -> API server -> watches
//! ```
//!
//! - [`task::controller`] is the hands: it watches, reads and writes, and decides nothing. `observe` turns cached objects
//!   into the few facts that decide, and asks the API server wherever a cache would have to prove that something is *not*
//!   there. `execute` writes the status, takes the steps, publishes the events, and stops at the first error.
//! - [`task::plan`](mod@task::plan) is the mind: a pure function of what was observed and the time. All rules about
//!   attempts, outcomes, retries and limits live there.
//! - [`task::render`] makes the pod of an attempt.
//! - [`task::simulate`](mod@task::simulate) shows the plan a model cluster in place of a real one, and a script for what
//!   happens there: how a user tries a failure policy.
//! - [`start`] is how a task comes to be from a template and an input: checks, names, the create.
//! - [`api`] has the resources that users write and read, [`contract`] what a program is told and reports, [`types`] the
//!   values that they are made of.
//! - [`runtime`] is what any controller needs, [`operator`] the list of the controllers that run.
//! - [`kubectl`] is the plugin `kubectl longtask`: how a user sees and steers tasks.
//!
//! # Why a crash at any moment does no harm
//!
//! The status is a write-ahead log. An attempt is recorded there, by a write that carries the resourceVersion of the
//! reading it was planned from, before its pod is created under a name that contains its number. A plan from a stale
//! reading is refused before it can do anything; one that was cut off is made again and finds what is there. A pod is
//! held by a finalizer until its outcome is recorded.
//!
//! # Who may use whom
//!
//! `types`, `contract` and `api` are below all; a kind's rooms are `render`, `plan`, `simulate` and `controller`, and a kind
//! never uses another kind: kinds meet in objects, not in calls. `start` is pure but for its one call, and knows no kind's rooms. `runtime` and `telemetry` know no kind. `clock` has the
//! only wall clock, `cli` reads the only environment. `types`, `contract`, `api` and each `render`, `plan` and `simulate` do
//! no I/O and never ask for the time. `tests/repository/architecture.rs` has the list, and holds it.
//!
//! # Words
//!
//! `docs/glossary.md` has the terms: task, run, segment, attempt, checkpoint, outcome, budget and the rest. One word has
//! one meaning in the API, in messages, in the code and in the docs.

pub mod api;
pub mod cli;
pub mod clock;
pub mod kubectl;
pub mod operator;
pub mod queue;
pub mod runtime;
pub mod set;
pub mod start;
pub mod task;
pub mod telemetry;
pub mod types;

pub use longtask_contract as contract;
