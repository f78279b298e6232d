//! The list of what a save has: written last, and read first.

use std::collections::HashMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{digest::Digest, room::Task};

/// What a save has, and where it is from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// The version of this form.
    pub version: u32,
    /// Whose save it is.
    pub task: Task,
    /// The attempt that saved it.
    pub attempt: i64,
    /// The segment in which it was saved.
    pub segment: i64,
    /// The path by which the program reported it.
    pub path: String,
    /// When it was saved, by the clock of the pod's node.
    pub creation_time: Timestamp,
    /// How many bytes its files have.
    pub total_bytes: u64,
    /// All that is in it, by path.
    pub files: Vec<Entry>,
}

/// Something in a save. Paths are below the one that the program reported; one that is a file is there by its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Entry {
    /// A file.
    File {
        /// Its path.
        path: String,
        /// How many bytes it has.
        size: u64,
        /// Their digest.
        sha256: Digest,
        /// Who may read, write and execute it.
        mode: Mode,
    },
    /// A symbolic link.
    Link {
        /// Its path.
        path: String,
        /// What it leads to.
        link: String,
    },
    /// A directory.
    Directory {
        /// Its path.
        path: String,
        /// Always true.
        dir: bool,
    },
}

/// The permissions of a file, written as in `chmod 0644`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mode(u32);

/// Why a manifest cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It is not what a manifest looks like.
    #[error("the manifest cannot be read: {0}")]
    Unreadable(String),
    /// A later release wrote it in another way.
    #[error("the manifest has version {0}; this agent knows {known}", known = Manifest::VERSION)]
    Version(u32),
    /// It is another task's.
    #[error("the manifest is of the task with UID {0}")]
    OtherTask(String),
    /// A path or link in it leads elsewhere.
    #[error("the manifest has {0:?}, which leads out of its directory")]
    Leaves(String),
    /// It has something twice, or below something that is no directory.
    #[error("the manifest has {0:?} in a place where it cannot be")]
    Misplaced(String),
}

impl Manifest {
    /// The version that this release writes.
    pub const VERSION: u32 = 1;

    /// Reads a manifest of that task's. What it has can be laid out in a directory without leaving it.
    ///
    /// # Errors
    /// If it is another task's, or cannot be laid out.
    pub fn read(bytes: &[u8], task: &Task) -> Result<Self, Unusable> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let unreadable = |error: serde_json::Error| Unusable::Unreadable(error.to_string());
        let Version { version } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if version != Self::VERSION {
            return Err(Unusable::Version(version));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if manifest.task.uid != task.uid {
            return Err(Unusable::OtherTask(manifest.task.uid));
        }
        manifest.check_paths()?;
        Ok(manifest)
    }

    /// As it is stored.
    ///
    /// # Errors
    /// None that is known.
    pub fn written(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    fn check_paths(&self) -> Result<(), Unusable> {
        let mut places = HashMap::new();
        for entry in &self.files {
            let path = entry.path();
            if !stays(path) || entry.link().is_some_and(|link| !link_stays(path, link)) {
                return Err(Unusable::Leaves(path.to_owned()));
            }
            if places.insert(path, entry.is_directory()).is_some() {
                return Err(Unusable::Misplaced(path.to_owned()));
            }
        }
        let is_below_a_directory = |path: &str| parents(path).all(|parent| places.get(parent) != Some(&false));
        match self.files.iter().find(|entry| !is_below_a_directory(entry.path())) {
            Some(entry) => Err(Unusable::Misplaced(entry.path().to_owned())),
            None => Ok(()),
        }
    }
}

impl Entry {
    /// Its path.
    pub fn path(&self) -> &str {
        match self {
            Self::File { path, .. } | Self::Link { path, .. } | Self::Directory { path, .. } => path,
        }
    }

    /// What it leads to, if it is a link.
    pub fn link(&self) -> Option<&str> {
        match self {
            Self::Link { link, .. } => Some(link),
            Self::File { .. } | Self::Directory { .. } => None,
        }
    }

    /// Whether it is a directory.
    pub fn is_directory(&self) -> bool {
        matches!(self, Self::Directory { .. })
    }
}

impl Mode {
    /// The permissions in a mode. That a file runs as its owner is none of them: the owner may be another one later.
    pub fn of(mode: u32) -> Self {
        Self(mode & 0o777)
    }

    /// As a number.
    pub fn bits(self) -> u32 {
        self.0
    }
}

impl TryFrom<String> for Mode {
    type Error = String;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        u32::from_str_radix(&text, 8).map(Self::of).map_err(|_| format!("{text:?} is no mode"))
    }
}

impl From<Mode> for String {
    fn from(mode: Mode) -> Self {
        format!("{:04o}", mode.0)
    }
}

/// Whether a path leads to something below where it begins, and says so plainly.
pub fn stays(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | "..")) && !path.contains('\0')
}

/// Whether a link leads to something in the tree that it is in. It may go up first and then down, but not up again: what
/// it goes through may be a link itself.
pub fn link_stays(path: &str, target: &str) -> bool {
    if target.starts_with('/') || target.contains('\0') {
        return false;
    }
    let depth = parents(path).count();
    let parts: Vec<_> = target.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    let up = parts.iter().take_while(|part| **part == "..").count();
    up <= depth && parts[up..].iter().all(|part| *part != "..")
}

/// The directories that a path is in, from the outermost one on.
pub fn parents(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(slash, _)| &path[..slash])
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn task() -> Task {
        Task { namespace: "ml".into(), name: "train".into(), uid: "uid-1".into() }
    }

    fn manifest(files: &Value) -> Value {
        json!({
            "version": 1,
            "task": { "namespace": "ml", "name": "train", "uid": "uid-1" },
            "attempt": 3,
            "segment": 2,
            "path": "step-900",
            "creationTime": "2026-11-24T10:20:00Z",
            "totalBytes": 3,
            "files": files,
        })
    }

    fn read(value: &Value) -> Result<Manifest, Unusable> {
        Manifest::read(value.to_string().as_bytes(), &task())
    }

    fn file(path: &str) -> Value {
        json!({ "path": path, "size": 3, "sha256": Digest::of(b"abc"), "mode": "0644" })
    }

    #[test]
    fn a_manifest_is_written_as_it_is_read() {
        let files = json!([
            { "path": "model", "dir": true },
            file("model/rank-0.pt"),
            { "path": "latest", "link": "model/rank-0.pt" },
        ]);
        let value = manifest(&files);
        let read = read(&value).expect("a manifest");
        assert_eq!(serde_json::to_value(&read).expect("JSON"), value);
        assert!(matches!(&read.files[1], Entry::File { mode, .. } if mode.bits() == 0o644));
    }

    #[test]
    fn what_leads_out_of_the_directory_is_refused() {
        for path in ["../x", "a/../../x", "/etc/passwd", "a//b", "", "a/.", "./a", "a\0b"] {
            assert_eq!(read(&manifest(&json!([file(path)]))), Err(Unusable::Leaves(path.into())), "{path}");
        }
        for (path, link) in [
            ("a", "../x"),
            ("a", "/etc/passwd"),
            ("a/b", "../../x"),
            ("a", "b/../../x"),
            ("a", "b/.."),
            ("a/b", "../c/../../x"),
        ] {
            let files = json!([{ "path": path, "link": link }]);
            assert_eq!(read(&manifest(&files)), Err(Unusable::Leaves(path.into())), "{path} -> {link}");
        }
        for (path, link) in
            [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/e"), ("a", "./b"), ("a", "."), ("a/b", "..")]
        {
            assert!(read(&manifest(&json!([{ "path": path, "link": link }]))).is_ok(), "{path} -> {link}");
        }
    }

    #[test]
    fn nothing_is_there_twice_or_below_a_link_or_a_file() {
        for (first, second) in [
            (json!({ "path": "a", "link": "b" }), file("a/x")),
            (file("a"), file("a/x")),
            (file("a"), json!({ "path": "a", "dir": true })),
            (json!({ "path": "a", "link": "b" }), json!({ "path": "a/b/c", "dir": true })),
        ] {
            for files in [json!([first, second]), json!([second, first])] {
                assert!(matches!(read(&manifest(&files)), Err(Unusable::Misplaced(_))), "{files}");
            }
        }
    }

    #[test]
    fn a_manifest_of_a_later_release_or_of_another_task_is_refused() {
        let with = |key: &str, of: Value| {
            let mut value = manifest(&json!([]));
            value[key] = of;
            read(&value)
        };
        assert_eq!(with("version", json!(2)), Err(Unusable::Version(2)));
        let other = json!({ "namespace": "ml", "name": "train", "uid": "uid-2" });
        assert_eq!(with("task", other), Err(Unusable::OtherTask("uid-2".into())));
        assert!(matches!(with("files", json!([{ "path": "a" }])), Err(Unusable::Unreadable(_))));
        assert!(with("unheardOf", json!(1)).is_ok(), "a field more is no other form");
        assert!(matches!(Manifest::read(b"{\"version\":1,\"ta", &task()), Err(Unusable::Unreadable(_))), "torn");
    }
}
