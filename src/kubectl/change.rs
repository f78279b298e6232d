//! A change that a verb makes of an object's spec.

use serde_json::Value;

/// Who changed a field, in `metadata.managedFields`.
pub(super) const FIELD_MANAGER: &str = "kubectl-longtask";

/// What is to become of a task or a set.
pub(super) enum Change {
    /// A change of its spec, and what that is called when it is done.
    Spec(Value, String),
    /// It is so already.
    Nothing(&'static str),
}
