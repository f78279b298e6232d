//! What users write and read: the resources of the group `longtask.dev`, a room for each kind.
//!
//! Data only, no I/O. The doc comments of the fields are the text of `kubectl explain`, and the rules beside them are
//! what `kubectl apply` checks.

pub mod crd;
pub mod labels;
pub mod parent;
pub mod queue;
pub mod set;
pub mod task;
pub mod template;

/// The API group of the resources.
pub const GROUP: &str = "longtask.dev";
/// The version of the resources that this program reads and writes.
pub const VERSION: &str = "v1alpha1";
