//! Checkpoints in a store: `<url>/<namespace>/<name>/<task's uid>/<attempt>-<pod>/<number>/` holds the files of one save and,
//! written last, its manifest.
//!
//! - [`open`](mod@open): a store by its address. [`room`]: a task's place in it, and what is saved there.
//! - [`walk`](mod@walk): what there is to save. [`save`](mod@save): one save. `saver`: all of them, while the program runs.
//! - [`manifest`]: the list of what a save has, and of what it may have.
//! - [`restore`](mod@restore): what the program resumes from, laid out before it starts.
//! - [`retention`]: which saves are not needed any more. [`gc`]: which tasks are gone.
//!
//! Three rules: a save counts when its manifest is stored, and that is when all the rest can be read; objects are written
//! once, below a directory that no other pod uses; and no link is followed, neither out of the program's directory nor in it.

mod answers;
mod buffer;
pub mod digest;
pub mod directory;
pub mod failure;
pub mod flow;
pub mod gc;
pub mod manifest;
pub mod open;
pub mod restore;
pub mod retention;
pub mod room;
pub mod save;
pub(crate) mod saver;
pub mod walk;
