//! Saves and restores: the facts of every store in memory and in a directory, a store that fails, lies or truncates at any
//! request, programs that write while they are saved, and processes that are killed.

#[path = "../facts/mod.rs"]
mod facts;
mod faults;
mod faulty;
mod killed;
mod local;
mod property;
mod races;
