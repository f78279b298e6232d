//! What the agent is told.

use serde::{Deserialize, Serialize};

use super::saves::SaveName;

/// What the operator tells the agent, as JSON in one variable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// The version of these settings.
    pub version: u32,
    /// The most bytes that the last word may have: the kubelet divides the room for messages among a pod's containers.
    pub word_bytes: usize,
    /// Where reports are posted; absent: nowhere, the last word has to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posts: Option<PostSettings>,
    /// Where checkpoints are stored; absent: the agent stores none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<StoreSettings>,
}

/// Where and when the agent posts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PostSettings {
    /// The addresses of the server, such as `10.0.0.7:8443`, each tried in turn until one answers.
    pub addresses: Vec<String>,
    /// The certificate authority of the server, as PEM.
    pub certificate_authority: String,
    /// Seconds between posts with news, until an answer says otherwise.
    pub next_seconds: u32,
    /// Seconds until a post without news, until an answer says otherwise.
    pub keep_alive_seconds: u32,
    /// The pod's grace period in seconds: the longest that a last post may take.
    pub grace_seconds: u32,
}

/// Where and for whom checkpoints are stored. Credentials are variables beside these settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreSettings {
    /// Such as `s3://bucket/prefix`.
    pub url: String,
    /// Another address than the provider's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The provider's region.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Where the program writes checkpoints, and finds what is restored.
    pub directory: String,
    /// The task's namespace.
    pub namespace: String,
    /// The task's name.
    pub name: String,
    /// The task's UID.
    pub uid: String,
    /// The number of the attempt.
    pub attempt: i64,
    /// The number of the segment.
    pub segment: i64,
    /// What to restore before the program starts; absent: nothing, since the named checkpoint is none of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restore: Option<RestoreSettings>,
    /// The saves that the task's status names when the pod is made: they stay.
    #[serde(default)]
    pub keep: Vec<SaveName>,
    /// The pod's grace period in seconds: the longest that the last save may take.
    pub grace_seconds: u32,
    /// For how many seconds a store that does not answer is waited for by a restore: less than a start may take.
    pub patience_seconds: u32,
}

/// What is restored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreSettings {
    /// The save that the task's status names, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named: Option<NamedSave>,
    /// Saves of attempts below it are never adopted.
    #[serde(default)]
    pub epoch: i64,
}

/// A save that the task's status names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NamedSave {
    /// Its manifest.
    pub uri: String,
    /// The digest of the manifest.
    pub digest: String,
}

/// Settings of a version that this agent does not know.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("the settings have version {0}; this agent knows {known}: install the operator's and the agent's image of the same release", known = Settings::VERSION)]
pub struct UnknownVersion(u32);

impl Settings {
    /// The version that this release writes.
    pub const VERSION: u32 = 1;

    /// The most bytes that the last word may have in a pod of so many containers, those of all sorts together. One share
    /// is left free, for a container that somebody adds to the running pod.
    pub fn word_bytes_beside(containers: usize) -> usize {
        const LONGEST_MESSAGE: usize = 4096;
        const LONGEST_TOGETHER: usize = 12 * 1024;
        LONGEST_MESSAGE.min(LONGEST_TOGETHER / (containers + 1))
    }

    /// Fails for settings that a later release wrote in another way.
    ///
    /// # Errors
    /// If the version is more than one step away.
    pub fn check_version(&self) -> Result<(), UnknownVersion> {
        if self.version.abs_diff(Self::VERSION) <= 1 { Ok(()) } else { Err(UnknownVersion(self.version)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_last_word_fits_beside_those_of_the_other_containers_and_one_more() {
        let shares = [1, 2, 3, 5, 11].map(Settings::word_bytes_beside);
        assert_eq!(shares, [4096, 4096, 3072, 2048, 1024]);
    }

    #[test]
    fn settings_of_the_next_release_are_understood_and_later_ones_are_not() {
        let of = |version: u32| {
            let json = format!("{{\"version\":{version},\"wordBytes\":4096,\"unheardOf\":1}}");
            serde_json::from_str::<Settings>(&json).expect("settings").check_version()
        };
        assert_eq!((of(Settings::VERSION), of(Settings::VERSION + 1)), (Ok(()), Ok(())));
        assert_eq!(of(Settings::VERSION + 2), Err(UnknownVersion(Settings::VERSION + 2)));
    }
}
