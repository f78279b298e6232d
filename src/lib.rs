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
//! - [`controller`] is the hands: it watches, reads and writes, and decides nothing. `observe` turns cached objects into
//!   the few facts that decide, and asks the API server wherever a cache would have to prove that something is *not*
//!   there. `execute` writes the status, takes the steps, publishes the events, and stops at the first error.
//! - [`plan`](mod@plan) is the mind: a pure function of what was observed and the time. All rules about attempts,
//!   outcomes, retries and limits live there.
//! - [`render`] makes the pod of an attempt; [`api`] is the resource that users write and read.
//! - [`simulate`](mod@simulate) shows the plan a model cluster in place of a real one, and a script for what happens there:
//!   how a user tries a failure policy.
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
//! `api <- render <- plan <- controller <- operator <- main`: each uses only what is to its left. `clock` has the only
//! wall clock, `cli` reads the only environment, `telemetry` knows nothing of tasks. `simulate` and `kubectl` stand beside `controller`.
//! `api`, `render`, `plan` and `simulate` do no I/O and never ask for the time. A test holds that
//! (`tests/architecture.rs`).
//!
//! # Words
//!
//! | word | meaning |
//! |---|---|
//! | task | one `LongTask` object |
//! | run | the work from its start to a terminal phase |
//! | attempt | one pod of a task, numbered over the task's whole life; the number is the fencing epoch |
//! | segment | one planned leg of a run: the next one follows a time limit or a yield, another attempt of the same one follows a failure or an interruption |
//! | checkpoint | what the program reported so that a later attempt can resume |
//! | progress | reported `completed` above the run's high-water mark; else a checkpoint not seen before |
//! | outcome | how an attempt ended |
//! | budget | how many retries in a row one class of outcome may have without progress |

pub mod api;
pub mod cli;
pub mod clock;
pub mod controller;
pub mod kubectl;
pub mod operator;
pub mod plan;
pub mod render;
pub mod simulate;
pub mod telemetry;
