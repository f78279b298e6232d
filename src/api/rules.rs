//! Validation rules in CEL, which the API server enforces.

use serde_json::{Value, json};

/// A rule for `x-kubernetes-validations`; the message says what to write instead.
pub(super) fn rule(condition: &str, message: &str) -> Value {
    json!({ "rule": condition, "message": message })
}
