//! What the agent is told.

use serde::{Deserialize, Serialize};

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
