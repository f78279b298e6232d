//! How a task comes to be from a LongTaskTemplate and an input: the one way that every entry takes.
//!
//! - [`input`] reads an input and checks it, [`definition`] is what a template gives a task.
//! - [`name`] makes the task's name from a key, and the digests that tell inputs apart.
//! - [`task`](mod@task) is the task to create, [`create`](mod@create) the call, and [`answer`] what the API server says to it.
//!
//! All of it is pure but `create`.

pub mod answer;
pub mod create;
pub mod definition;
pub mod input;
pub mod name;
pub mod task;
