//! Values that more than one kind of object needs: durations, numbers, sizes of memory, moments, conditions.
//!
//! They know no kind, and nothing else of this crate.

pub(crate) mod cel;
mod conditions;
pub(crate) mod decimal;
pub(crate) mod duration;
mod memory;
mod text;
pub mod time;

pub use conditions::{find_condition, is_condition_true, mark_false, mark_true};
pub use decimal::Decimal;
pub use duration::GoDuration;
pub use memory::{MemorySize, NotAMemorySize};
pub(crate) use text::{counted, truncate};
