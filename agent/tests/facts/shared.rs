//! Trees of files, and a task whose saves they are.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
    sync::Arc,
};

use cap_std::{ambient_authority, fs::Dir};
use jiff::Timestamp;
use longtask_agent::store::{
    failure::Failure,
    flow::Flow,
    open::Opened,
    restore::Restore,
    room::{Room, Task},
    save::{Checkpoint, save},
};
use longtask_contract::{
    agent::{NamedSave, RestoreSettings, RestoreTrouble, RestoreWord, Restored, SaveError, SaveName, StoreSettings},
    report::ReportedCheckpoint,
};
use tempfile::TempDir;

/// What a path is, as far as it is kept by a save.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Directory,
}

/// A tree of files, by their paths.
pub(crate) type Tree = BTreeMap<String, Node>;

pub(crate) fn tree<'a>(nodes: impl IntoIterator<Item = (&'a str, Node)>) -> Tree {
    nodes.into_iter().map(|(path, node)| (path.to_owned(), node)).collect()
}

pub(crate) fn file(content: impl Into<Vec<u8>>) -> Node {
    Node::File(content.into(), 0o644)
}

/// Bytes that are not the same anywhere.
pub(crate) fn bytes(size: usize, seed: u8) -> Vec<u8> {
    let mut state = u32::from(seed) + 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(size).collect()
}

pub(crate) fn write(place: &Path, tree: &Tree) {
    fs::create_dir_all(place).expect("made");
    for (path, node) in tree {
        let path = place.join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        match node {
            Node::File(content, mode) => {
                fs::write(&path, content).expect("written");
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode)).expect("changed");
            }
            Node::Link(target) => symlink(target, &path).expect("linked"),
            Node::Directory => fs::create_dir_all(&path).expect("made"),
        }
    }
}

pub(crate) fn read(place: &Path) -> Tree {
    let (mut tree, mut unread) = (Tree::new(), vec![String::new()]);
    while let Some(parent) = unread.pop() {
        for entry in fs::read_dir(place.join(&parent)).expect("a directory") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().into_string().expect("UTF-8");
            let path = if parent.is_empty() { name } else { format!("{parent}/{name}") };
            let metadata = entry.metadata().expect("it is there");
            let node = if metadata.is_dir() {
                unread.push(path.clone());
                Node::Directory
            } else if metadata.is_symlink() {
                Node::Link(fs::read_link(entry.path()).expect("a link").to_str().expect("UTF-8").to_owned())
            } else {
                Node::File(fs::read(entry.path()).expect("readable"), metadata.permissions().mode() & 0o7777)
            };
            tree.insert(path, node);
        }
    }
    tree
}

/// A tree as it is read again: with every directory that something is in.
pub(crate) fn whole(tree: &Tree) -> Tree {
    let mut whole = tree.clone();
    for path in tree.keys() {
        for (slash, _) in path.match_indices('/') {
            whole.entry(path[..slash].to_owned()).or_insert(Node::Directory);
        }
    }
    whole
}

/// A task with a store, and a program's directory.
pub(crate) struct World {
    pub(crate) opened: Opened,
    pub(crate) url: String,
    pub(crate) task: Task,
    pub(crate) folder: TempDir,
    pub(crate) flow: Flow,
}

pub(crate) fn name(text: &str) -> SaveName {
    text.parse().expect(text)
}

impl World {
    /// A task that no other test has.
    pub(crate) fn new(opened: &Opened, url: &str, uid: &str) -> Self {
        let task = Task { namespace: "ml".into(), name: "train".into(), uid: uid.into() };
        let folder = tempfile::tempdir().expect("a folder");
        Self { opened: opened.clone(), url: url.into(), task, folder, flow: Flow::default() }
    }

    pub(crate) fn room(&self) -> Room {
        self.room_in(&self.opened)
    }

    /// The same room, reached in another way.
    pub(crate) fn room_in(&self, opened: &Opened) -> Room {
        Room::new(opened, &self.url, &self.task)
    }

    pub(crate) fn directory(&self) -> Arc<Dir> {
        Arc::new(Dir::open_ambient_dir(self.folder.path(), ambient_authority()).expect("a directory"))
    }

    pub(crate) fn write(&self, path: &str, tree: &Tree) {
        write(&self.folder.path().join(path), tree);
    }

    pub(crate) async fn try_save(&self, room: &Room, save_name: &str, path: &str) -> Result<NamedSave, SaveError> {
        let checkpoint = Checkpoint { path: path.into(), segment: 1, time: Timestamp::UNIX_EPOCH };
        let saved = save(room, &name(save_name), &self.directory(), &checkpoint, &self.flow).await?;
        match saved {
            ReportedCheckpoint::Reference { uri, digest: Some(digest), .. } => Ok(NamedSave { uri, digest }),
            other => panic!("{other:?} is no save"),
        }
    }

    /// Writes a tree and saves it.
    pub(crate) async fn save(&self, save_name: &str, path: &str, tree: &Tree) -> NamedSave {
        self.write(path, tree);
        self.try_save(&self.room(), save_name, path).await.expect("saved")
    }

    /// What a pod of that attempt is told.
    pub(crate) fn settings(&self, attempt: i64, named: Option<&NamedSave>, epoch: i64) -> StoreSettings {
        StoreSettings {
            url: self.url.clone(),
            directory: self.folder.path().to_str().expect("UTF-8").to_owned(),
            namespace: self.task.namespace.clone(),
            name: self.task.name.clone(),
            uid: self.task.uid.clone(),
            attempt,
            segment: 1,
            restore: Some(RestoreSettings { named: named.cloned(), epoch }),
            grace_seconds: 30,
            patience_seconds: 480,
            ..StoreSettings::default()
        }
    }

    pub(crate) async fn restore_through(&self, opened: &Opened, settings: &StoreSettings) -> RestoreWord {
        let open = |_: &str| -> Result<Opened, Failure> { Ok(opened.clone()) };
        Restore::begin(settings).with_flow(self.flow.clone()).run_with(open).await
    }

    pub(crate) async fn restore(&self, settings: &StoreSettings) -> RestoreWord {
        self.restore_through(&self.opened, settings).await
    }

    /// Restores the named save, or a newer one.
    pub(crate) async fn restored(&self, attempt: i64, named: Option<&NamedSave>, epoch: i64) -> Option<Restored> {
        let word = self.restore(&self.settings(attempt, named, epoch)).await;
        assert_eq!(word.error, None);
        word.restored
    }

    /// Why the named save cannot be restored.
    pub(crate) async fn trouble(&self, attempt: i64, named: &NamedSave) -> Option<RestoreTrouble> {
        let word = self.restore(&self.settings(attempt, Some(named), 0)).await;
        word.error.map(|error| error.reason)
    }

    /// What the program finds.
    pub(crate) fn found(&self) -> Option<Tree> {
        let restored = self.folder.path().join("restored");
        restored.exists().then(|| read(&restored))
    }
}
