//! Values that more than one kind of object needs: durations, numbers, sizes of memory, sets of indexes, moments, conditions,
//! causes, types of events.
//!
//! They know no kind, and of this crate nothing but the contract, whose values are among them.

mod cause;
pub(crate) mod cel;
mod conditions;
pub(crate) mod decimal;
pub(crate) mod duration;
mod event_type;
mod memory;
mod ranges;

pub use cause::Cause;
pub use conditions::{find_condition, is_condition_true, mark_false, mark_true};
pub use decimal::Decimal;
pub use event_type::EventType;
pub use memory::{MemorySize, NotAMemorySize};
pub use ranges::{NotRanges, Ranges};

pub use crate::contract::types::{GoDuration, time};
pub(crate) use crate::contract::types::{counted, truncate};
