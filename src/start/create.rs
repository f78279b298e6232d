//! The one call that starts a task.

use kube::{
    Api, Client, ResourceExt,
    api::PostParams,
    core::{ApiResource, DynamicObject},
};

use super::answer::{Answer, judge};
use crate::api::{labels, task::LongTask};

/// Creates a task in the namespace that it names, and tells what that means: see [`Answer`]. Once, without a limit of time.
///
/// `manager` is who writes it, in `metadata.managedFields`.
pub async fn create(client: &Client, task: &DynamicObject, manager: &str) -> Answer {
    create_as(client, &ApiResource::erase::<LongTask>(&()), task, manager).await
}

/// Likewise, an object of another kind that starts tasks, such as a set.
pub async fn create_as(client: &Client, kind: &ApiResource, task: &DynamicObject, manager: &str) -> Answer {
    let namespace = task.namespace().unwrap_or_default();
    let tasks: Api<DynamicObject> = Api::namespaced_with(client.clone(), &namespace, kind);
    let params = PostParams { field_manager: Some(manager.to_owned()), ..PostParams::default() };
    let Err(error) = tasks.create(&params, task).await else { return Answer::Started };
    let status = match &error {
        kube::Error::Api(status) => Some(&**status),
        _ => None,
    };
    // Not by the code alone: the answer to an earlier try of this very request may have got lost.
    let found = if status.is_some_and(|status| status.code == 409) {
        match tasks.get_metadata_opt(&task.name_any()).await {
            Ok(found) => found.map(|found| found.metadata),
            Err(error) => return Answer::Unknown(error.to_string()),
        }
    } else {
        None
    };
    let words = status.map_or_else(|| error.to_string(), |status| status.message.clone());
    let digest = task.annotations().get(labels::INPUT_DIGEST).map_or("", String::as_str);
    judge(status, words, found.as_ref(), digest)
}
