//! Laying out what the program resumes from, before it starts.

mod layout;
mod parcel;
mod patience;
mod run;

pub use self::run::Restore;
