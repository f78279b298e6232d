//! What the containers of ours have in common.

use k8s_openapi::api::core::v1::VolumeMount;

/// The agent's program in the operator's image.
pub(super) const PROGRAM: &str = "/bin/longtask-agent";

pub(super) fn mount(name: &str, path: &str, read_only: Option<bool>) -> VolumeMount {
    VolumeMount { name: name.to_owned(), mount_path: path.to_owned(), read_only, ..VolumeMount::default() }
}

pub(super) fn seconds(seconds: i64) -> u32 {
    u32::try_from(seconds).unwrap_or(u32::MAX)
}
