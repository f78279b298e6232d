//! The write of a status: the guard of all that follows it.

use std::fmt::Debug;

use kube::{Api, Resource, ResourceExt, api::PostParams};
use serde::{Serialize, de::DeserializeOwned};

use super::{call::call, error::Error};
use crate::api::labels;

/// Writes the status of an object, with the resourceVersion of the reading that it was planned from. Returns the object as it is
/// stored then; none when it is gone, or another one has its name. `kind` names it in errors, such as `set`.
///
/// # Errors
/// When the API server refuses or cannot be reached; a conflict when the object has changed since it was read.
pub(crate) async fn write_status<K>(api: &Api<K>, kind: &str, next: &K) -> Result<Option<K>, Error>
where
    K: Resource + Clone + Debug + DeserializeOwned + Serialize,
{
    let name = next.name_any();
    let params = PostParams { field_manager: Some(labels::FIELD_MANAGER.into()), ..PostParams::default() };
    match call(&format!("write status of {kind}"), api.replace_status(&name, &params, next)).await {
        Ok(stored) => Ok(Some(stored)),
        Err(error) if matches!(error.code(), Some(404 | 409)) => {
            let live = call(&format!("read {kind}"), api.get_metadata_opt(&name)).await?;
            let is_there = live.is_some_and(|live| live.metadata.uid == next.meta().uid);
            if is_there { Err(error) } else { Ok(None) }
        }
        Err(error) => Err(error),
    }
}
