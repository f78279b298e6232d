//! The agent's own restore, with this store. Nothing is laid out: the program learns which save it resumes from.

mod layout;
mod parcel;
#[path = "../../../../agent/src/store/restore/patience.rs"]
mod patience;
#[path = "../../../../agent/src/store/restore/run.rs"]
#[expect(dead_code, unreachable_pub, reason = "no store has an address here")]
mod run;

pub(crate) use self::run::Restore;
