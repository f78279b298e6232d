//! What the plugin prints: facts in, text out. No I/O and no clock, so that a test needs neither.
//!
//! Texts carry the codes of colours; whoever prints takes them out where no person reads.

mod next;
mod style;
mod table;
mod time;

pub(super) mod dead_letters;
pub(super) mod drill;
pub(super) mod events;
pub(super) mod log;
pub(super) mod queue;
pub(super) mod sets;
pub(super) mod status;
pub(super) mod top;
pub(super) mod top_sets;
