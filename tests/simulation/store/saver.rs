//! The agent's own saver, with this store.

#[path = "../../../agent/src/store/saver/demand.rs"]
mod demand;
#[path = "../../../agent/src/store/saver/tidy.rs"]
mod tidy;
#[path = "../../../agent/src/store/saver/trouble.rs"]
mod trouble;
#[path = "../../../agent/src/store/saver/work.rs"]
#[expect(dead_code, reason = "no store has an address here")]
mod work;

pub(crate) use self::{
    demand::{Demand, Standing, Wanted},
    work::Saver,
};
