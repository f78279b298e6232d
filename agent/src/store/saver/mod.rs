//! All saves of a pod: the newest path that the program has named, one at a time; and the removal of what nobody needs.

mod demand;
#[cfg(test)]
mod tests;
mod tidy;
mod trouble;
mod work;

pub(crate) use self::{
    demand::{Demand, Standing, Wanted},
    work::Saver,
};
