//! What makes an object go with its task.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::Resource;

use crate::api::task::LongTask;

/// The reference by which an object goes with its task.
pub(super) fn reference(task: &LongTask, uid: &str) -> OwnerReference {
    OwnerReference {
        api_version: LongTask::api_version(&()).into_owned(),
        kind: LongTask::kind(&()).into_owned(),
        name: task.metadata.name.clone().unwrap_or_default(),
        uid: uid.to_owned(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}
