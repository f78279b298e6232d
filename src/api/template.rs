//! The `LongTaskTemplate` resource: a task's definition under a name.
#![allow(clippy::duplicated_attributes, reason = "it takes the columns' keys for attributes")]

use kube::CustomResource;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What tasks are made from: the definition of a LongTask, and what its inputs look like.
///
/// The definition is kept as JSON: it is copied into tasks, with whatever fields it has. The schema of the resource is made
/// from that of LongTask, see [`crd`](super::crd).
#[derive(CustomResource, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "longtask.dev",
    version = "v1alpha1",
    kind = "LongTaskTemplate",
    plural = "longtasktemplates",
    shortname = "ltt",
    namespaced,
    schema = "disabled",
    derive = "PartialEq",
    doc = "A LongTaskTemplate is the definition of LongTasks under a name: a task that names it in `spec.templateRef` gets a \
           copy of it. Nothing runs because of it, and a change of it changes no task that has its copy.",
    printcolumn(
        name = "Image",
        type_ = "string",
        json_path = ".spec.template.spec.containers[0].image",
        description = "The image of the first container."
    ),
    printcolumn(
        name = "Queue",
        type_ = "string",
        json_path = ".spec.queueName",
        description = "The TaskQueue in which its tasks wait."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Age of the template."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct LongTaskTemplateSpec {
    /// The JSON Schema that an input must fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_schema: Option<Value>,

    /// The fields of `LongTask.spec` that are not the task's own.
    #[serde(flatten)]
    pub definition: Map<String, Value>,
}
