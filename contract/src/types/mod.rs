//! The values that reports are made of, and the operator's API as well: durations, moments, texts of limited length.

mod duration;
mod text;
pub mod time;

pub use self::{
    duration::{GoDuration, NotADuration},
    text::{counted, keep_the_end, truncate},
};
