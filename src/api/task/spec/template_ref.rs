//! Where a task's definition comes from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The LongTaskTemplate that a task's definition comes from.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TemplateRef {
    /// The name of the LongTaskTemplate, in the task's namespace.
    #[schemars(length(min = 1, max = 63))]
    pub name: String,
}
