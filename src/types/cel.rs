//! Validation rules in CEL, which the API server enforces.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

/// A rule for `x-kubernetes-validations`; the message says what to write instead.
pub(crate) fn rule(condition: &str, message: &str) -> Value {
    json!({ "rule": condition, "message": message })
}

/// A rule about a field further down, which the server then names in front of the message.
pub(crate) fn rule_at(path: &str, condition: &str, message: &str) -> Value {
    json!({ "rule": condition, "message": message, "fieldPath": path })
}

/// A rule that a field further down is absent.
pub(crate) fn forbidden(path: &str, condition: &str, message: &str) -> Value {
    json!({ "rule": condition, "message": message, "fieldPath": path, "reason": "FieldValueForbidden" })
}

/// The schema of a point in time. It has a rule in place of `format: date-time`, whose message does not say what to
/// write. The rule takes only years that a timestamp can have here: 9999-12-31 would be stored and could not be read.
pub(crate) fn point_in_time(_: &mut SchemaGenerator) -> Schema {
    let form = "^[1-8][0-9]{3}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(Z|[+-][0-9]{2}:[0-9]{2})$";
    json_schema!({
        "type": "string",
        "maxLength": 25,
        "x-kubernetes-validations": [rule(
            &format!("self.matches('{form}') && !format.datetime().validate(self).hasValue()"),
            "must be a point in time with its zone, before the year 9000: write 2026-11-25T06:00:00Z or 2026-11-25T07:00:00+01:00",
        )],
    })
}
