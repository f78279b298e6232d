//! The object store, and the agent's way to it.
//!
//! What saves, restores and removes is the agent's own. In the place of files, of requests over a network and of the library
//! that makes them stands what is in memory here.

pub(crate) mod bucket;
#[path = "../../../agent/src/store/digest.rs"]
#[expect(unreachable_pub, reason = "it is the agent's")]
pub(crate) mod digest;
pub(crate) mod directory;
#[path = "../../../agent/src/store/failure.rs"]
pub(crate) mod failure;
pub(crate) mod flow;
#[path = "../../../agent/src/store/manifest.rs"]
#[expect(unreachable_pub, reason = "it is the agent's")]
pub(crate) mod manifest;
pub(crate) mod open;
pub(crate) mod restore;
#[path = "../../../agent/src/store/retention.rs"]
#[expect(unreachable_pub, reason = "it is the agent's")]
pub(crate) mod retention;
pub(crate) mod room;
pub(crate) mod save;
pub(crate) mod saver;
pub(crate) mod troubles;
pub(crate) mod way;
