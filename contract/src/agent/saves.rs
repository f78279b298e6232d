//! What the agent keeps in a store: the names of saves, and how it goes with them.

use std::{fmt, str::FromStr};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The last part of a save's `uri`: it is written when all the rest is there.
pub const MANIFEST: &str = "manifest.json";
/// The most bytes of the path that a program may report a checkpoint by.
pub const LONGEST_PATH: usize = 128;
/// How many characters of a pod's UID are in the name of a save.
const POD_CHARS: usize = 8;

/// Which save of a task it is, written `3-1a2b3c4d/7`. Saves are ordered by attempt, and within one by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SaveName {
    /// The attempt that saved it.
    pub attempt: i64,
    /// Its number in that attempt, from 1 on.
    pub number: u64,
    /// The first characters of the UID of the pod that saved it: no other pod writes there.
    pub pod: String,
}

/// A text that names no save.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} names no save: one is named such as 3-1a2b3c4d/7")]
pub struct NoSaveName(String);

impl SaveName {
    /// The name of a save of this pod.
    pub fn of_pod(attempt: i64, pod_uid: &str, number: u64) -> Self {
        Self { attempt, number, pod: pod_uid.chars().take(POD_CHARS).collect() }
    }

    /// The save that a `uri` leads to, if it is one of the task with that UID.
    pub fn in_uri(uri: &str, task_uid: &str) -> Option<Self> {
        let (task, name) = Self::split(uri)?;
        (task == task_uid).then_some(name)
    }

    /// Whether a `uri` has the form of a save's, of whatever task.
    pub fn is_in(uri: &str) -> bool {
        Self::split(uri).is_some()
    }

    /// The save's directory below that of its task.
    pub fn directory(&self) -> String {
        format!("{}-{}", self.attempt, self.pod)
    }

    /// The UID of the task, and the name.
    fn split(uri: &str) -> Option<(&str, Self)> {
        let place = uri.strip_suffix(MANIFEST)?.strip_suffix('/')?;
        let (rest, number) = place.rsplit_once('/')?;
        let (rest, directory) = rest.rsplit_once('/')?;
        let (_, task) = rest.rsplit_once('/')?;
        Some((task, format!("{directory}/{number}").parse().ok()?))
    }
}

impl FromStr for SaveName {
    type Err = NoSaveName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let no_name = || NoSaveName(text.chars().take(64).collect());
        let (directory, number) = text.split_once('/').ok_or_else(no_name)?;
        let (attempt, pod) = directory.split_once('-').ok_or_else(no_name)?;
        let is_number = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        let is_of_uid =
            |pod: &str| (1..=POD_CHARS).contains(&pod.len()) && pod.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_number(attempt) || !is_number(number) || !is_of_uid(pod) {
            return Err(no_name());
        }
        let (attempt, number) = (attempt.parse().map_err(|_| no_name())?, number.parse().map_err(|_| no_name())?);
        Ok(Self { attempt, number, pod: pod.to_owned() })
    }
}

impl fmt::Display for SaveName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.directory(), self.number)
    }
}

impl TryFrom<String> for SaveName {
    type Error = NoSaveName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<SaveName> for String {
    fn from(name: SaveName) -> Self {
        name.to_string()
    }
}

/// How it goes with the newest save.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SaveReport {
    /// The path that the program reported.
    pub path: String,
    /// How many seconds the save took; of one that fails, for how long it has been tried.
    pub seconds: u64,
    /// Why it fails; absent when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<SaveError>,
}

/// Why a save fails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SaveError {
    /// In a word.
    pub reason: SaveTrouble,
    /// In words for the user, those of the store among them.
    pub message: String,
}

/// What can keep a save from being made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SaveTrouble {
    /// The store refuses the credentials, or what is asked with them.
    AccessDenied,
    /// The bucket, the container or the directory of the store does not exist.
    NoSuchBucket,
    /// The store does not answer, or answers with a failure of its own.
    Unreachable,
    /// The program wrote to what it said was complete.
    ChangedWhileSaving,
    /// What the program named is not there.
    NoSuchPath,
    /// The path, or a link below it, leads out of the directory.
    LeavesDirectory,
    /// There are more files than a save may have.
    TooManyFiles,
    /// Something there cannot be read, or is nothing that can be saved.
    NotReadable,
    /// A word of a later release.
    #[serde(other)]
    Unknown,
}

impl SaveTrouble {
    /// Whether it is told at once: waiting mends none of these.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::AccessDenied | Self::NoSuchBucket)
    }
}

/// The termination message of the container that restores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreWord {
    /// How many seconds it took.
    pub seconds: u64,
    /// What is restored; absent if there was nothing to restore, or if it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored: Option<Restored>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<RestoreError>,
}

/// The save that the program finds restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Restored {
    /// The path that the program reported it by.
    pub path: String,
    /// Its manifest.
    pub uri: String,
    /// The manifest's digest.
    pub digest: String,
    /// How many bytes its files have.
    pub size_bytes: u64,
    /// The attempt that saved it.
    pub attempt: i64,
    /// The segment in which it was saved.
    pub segment: i64,
    /// When it was saved, by the clock of that pod's node.
    pub creation_time: Timestamp,
    /// Whether it is not the named one, but a newer one that nobody was told of.
    pub is_adopted: bool,
}

/// Why nothing could be restored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RestoreError {
    /// In a word.
    pub reason: RestoreTrouble,
    /// In words for the user, those of the store among them.
    pub message: String,
}

/// What can keep a checkpoint from being restored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RestoreTrouble {
    /// Something of the named save is not there, or is not what was saved.
    Unreadable,
    /// The store refuses, or is not the one in which the task's saves are.
    Unusable,
    /// The store does not answer, or answers with a failure of its own.
    Unreachable,
    /// It is not for the store: the directory has no room, or cannot be written.
    Failed,
    /// A word of a later release.
    #[serde(other)]
    Unknown,
}

impl RestoreTrouble {
    /// The exit code of the container, after sysexits.h.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Unreadable => 65,
            Self::Unreachable => 69,
            Self::Failed => 74,
            Self::Unusable => 77,
            Self::Unknown => 70,
        }
    }
}

/// The message as JSON.
#[derive(Serialize, Deserialize)]
struct Line {
    restore: RestoreWord,
}

impl RestoreWord {
    /// The most bytes of an error's words: the kubelet keeps few of a pod with many containers.
    const LONGEST_WORDS: usize = 512;

    /// Reads a termination message; none if the agent did not write it.
    pub fn read(message: &str) -> Option<Self> {
        serde_json::from_str(message.trim_end()).ok().map(|Line { restore }| restore)
    }

    /// As a message, of one line.
    pub fn written(mut self) -> String {
        if let Some(error) = &mut self.error {
            error.message = crate::types::truncate(&error.message, Self::LONGEST_WORDS).to_owned();
        }
        let mut line = serde_json::json!({ "restore": self }).to_string();
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> SaveName {
        text.parse().expect(text)
    }

    #[test]
    fn a_name_is_written_as_it_is_read_and_nothing_else_is_one() {
        for text in ["1-1a2b3c4d/1", "12-0a/345"] {
            assert_eq!(name(text).to_string(), text);
        }
        for text in
            ["", "1/1", "1-a", "0-a/1", "1-a/0", "1-/1", "-1-a/1", "1-a/01", "1-a/1/2", "1-123456789/1", "1-../1"]
        {
            assert!(text.parse::<SaveName>().is_err(), "{text}");
        }
        assert_eq!(SaveName::of_pod(3, "1a2b3c4d-0000-4000-8000-000000000000", 7), name("3-1a2b3c4d/7"));
    }

    #[test]
    fn saves_are_ordered_by_attempt_and_then_by_number() {
        let mut names = ["2-aa/1", "1-zz/10", "1-zz/9", "10-aa/1", "2-zz/1"].map(name);
        names.sort();
        assert_eq!(names.map(|name| name.to_string()), ["1-zz/9", "1-zz/10", "2-aa/1", "2-zz/1", "10-aa/1"]);
    }

    #[test]
    fn only_a_uri_of_the_task_leads_to_its_save() {
        let uri = "s3://bucket/runs/ml/train/uid-1/3-1a2b3c4d/7/manifest.json";
        assert_eq!(SaveName::in_uri(uri, "uid-1"), Some(name("3-1a2b3c4d/7")));
        assert_eq!(SaveName::in_uri(uri, "uid-2"), None);
        for other in
            ["s3://bucket/model.pt", "manifest.json", "uid-1/3-a/7/manifest.json", "s3://b/uid-1/3-a/7/files/x"]
        {
            assert!(!SaveName::is_in(other), "{other}");
        }
    }

    #[test]
    fn a_reason_of_a_later_release_is_unknown_and_loses_nothing_else() {
        let report: SaveReport = serde_json::from_str(
            "{\"path\":\"a\",\"seconds\":1,\"error\":{\"reason\":\"OutOfLuck\",\"message\":\"m\"},\"more\":1}",
        )
        .expect("a report");
        assert_eq!(report.error.map(|error| error.reason), Some(SaveTrouble::Unknown));
    }

    #[test]
    fn what_the_restore_says_is_read_and_a_message_of_somebody_else_is_not() {
        let words = "x".repeat(5000);
        let error = RestoreError { reason: RestoreTrouble::Unreachable, message: words };
        let word = RestoreWord { seconds: 3, error: Some(error), ..RestoreWord::default() };
        let message = word.written();
        assert!(message.len() < 700, "{}", message.len());
        let read = RestoreWord::read(&message).expect("read");
        assert_eq!(
            read.error.map(|error| (error.reason, error.message.len())),
            Some((RestoreTrouble::Unreachable, 512))
        );
        assert_eq!(RestoreWord::read("panic\n"), None);
    }

    #[test]
    fn each_trouble_of_a_restore_has_an_exit_code_of_its_own() {
        let troubles = [
            RestoreTrouble::Unreadable,
            RestoreTrouble::Unreachable,
            RestoreTrouble::Unknown,
            RestoreTrouble::Failed,
            RestoreTrouble::Unusable,
        ];
        assert_eq!(troubles.map(RestoreTrouble::exit_code), [65, 69, 70, 74, 77]);
    }
}
