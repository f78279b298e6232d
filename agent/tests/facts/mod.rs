//! What holds for every store, and what the tests of stores share.

pub(crate) mod shared;
pub(crate) mod suite;
