//! A task's place in a store.

use std::{collections::BTreeSet, sync::Arc};

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use longtask_contract::agent::{MANIFEST, SaveName, StoreSettings};
use object_store::{
    ObjectStore, ObjectStoreExt, PutPayload,
    path::{Path, PathPart},
};
use serde::{Deserialize, Serialize};

use super::{failure::Failure, open::Opened};

/// The directory of a save's files in it.
const FILES: &str = "files";
/// The directory that tells which attempts have begun.
const BEGUN: &str = "begun";
/// How many directories are listed at the same time.
const LISTINGS: usize = 8;

/// Whose saves they are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The task's namespace.
    pub namespace: String,
    /// The task's name.
    pub name: String,
    /// The task's UID.
    pub uid: String,
}

/// A task's place in a store: all of its saves are below it, and nothing else.
#[derive(Clone, Debug)]
pub struct Room {
    store: Arc<dyn ObjectStore>,
    /// The place as users write it.
    url: String,
    /// The same in the store.
    root: Path,
    task: Task,
}

impl Task {
    /// The task of these settings.
    pub fn of(settings: &StoreSettings) -> Self {
        let StoreSettings { namespace, name, uid, .. } = settings.clone();
        Self { namespace, name, uid }
    }
}

impl Room {
    /// The room of a task in the store with that address.
    pub fn new(opened: &Opened, url: &str, task: &Task) -> Self {
        let Task { namespace, name, uid } = task;
        let root =
            [namespace, name, uid].into_iter().fold(opened.prefix.clone(), |path, part| path.join(part.as_str()));
        let url = format!("{}/{namespace}/{name}/{uid}", url.trim_end_matches('/'));
        Self { store: Arc::clone(&opened.store), url, root, task: task.clone() }
    }

    /// The address of the store in which a task's save is, if that is a save of the task.
    pub fn url_of_store<'a>(uri: &'a str, task: &Task) -> Option<&'a str> {
        let name = SaveName::in_uri(uri, &task.uid)?;
        uri.strip_suffix(&format!("/{}/{}/{}/{name}/{MANIFEST}", task.namespace, task.name, task.uid))
    }

    /// Where requests go.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Whose room it is.
    pub fn task(&self) -> &Task {
        &self.task
    }

    /// The address of a save's manifest.
    pub fn uri(&self, save: &SaveName) -> String {
        format!("{}/{save}/{MANIFEST}", self.url)
    }

    /// The directory of a save.
    pub fn directory(&self, save: &SaveName) -> Path {
        self.root.clone().join(save.directory()).join(save.number.to_string())
    }

    /// A save's manifest.
    pub fn manifest(&self, save: &SaveName) -> Path {
        self.directory(save).join(MANIFEST)
    }

    /// The directory of a save's files.
    pub fn files(&self, save: &SaveName) -> Path {
        self.directory(save).join(FILES)
    }

    /// A file of a save. What a store may not like in a name is written with `%`.
    pub fn file(&self, save: &SaveName, path: &str) -> Path {
        path.split('/').fold(self.files(save), |path, part| path.join(PathPart::from(part)))
    }

    /// Notes that the pod of an attempt begins to look for what it resumes from. From then on, no earlier attempt removes
    /// anything that nobody told it to remove: see [`Self::has_begun_after`].
    ///
    /// # Errors
    /// If the store does not take it.
    pub async fn begin(&self, attempt: i64) -> Result<(), Failure> {
        self.store.put(&self.beginning(attempt), PutPayload::default()).await?;
        Ok(())
    }

    /// Whether a later attempt has begun. Whoever then looks for saves finds all that were complete when this was asked.
    ///
    /// # Errors
    /// If the store does not list it.
    pub async fn has_begun_after(&self, attempt: i64) -> Result<bool, Failure> {
        Ok(self.begun().await?.iter().any(|begun| *begun > attempt))
    }

    /// Removes the notes of attempts before this one.
    ///
    /// # Errors
    /// If the store does not list or delete them.
    pub async fn forget_beginnings_before(&self, attempt: i64) -> Result<(), Failure> {
        let earlier: Vec<_> = self.begun().await?.into_iter().filter(|begun| *begun < attempt).collect();
        let notes: Vec<_> = earlier.into_iter().map(|begun| Ok(self.beginning(begun))).collect();
        delete(&self.store, stream::iter(notes).boxed()).await
    }

    fn beginning(&self, attempt: i64) -> Path {
        self.root.clone().join(BEGUN).join(attempt.to_string())
    }

    async fn begun(&self) -> Result<Vec<i64>, Failure> {
        let notes = self.store.list(Some(&self.root.clone().join(BEGUN)));
        let listed = notes.try_collect::<Vec<_>>().await.map_err(|error| Failure::from(error).of_listing())?;
        Ok(listed.iter().filter_map(|note| note.location.filename()?.parse().ok()).collect())
    }

    /// All saves that have been begun, complete or not, in their order.
    ///
    /// # Errors
    /// If the store does not list them.
    pub async fn saves(&self) -> Result<BTreeSet<SaveName>, Failure> {
        let of_pods = directories(&self.store, &self.root).await?;
        let of_saves: Vec<_> = stream::iter(of_pods)
            .map(|of_pod| async move { directories(&self.store, &of_pod).await })
            .buffer_unordered(LISTINGS)
            .try_collect()
            .await?;
        Ok(of_saves.iter().flatten().filter_map(|directory| self.name(directory)).collect())
    }

    /// Removes a save. Its manifest goes first, so that what is left of it counts no more.
    ///
    /// # Errors
    /// If the store does not list or delete it.
    pub async fn remove(&self, save: &SaveName) -> Result<(), Failure> {
        if_there(self.store.delete(&self.manifest(save)).await)?;
        let files = self.store.list(Some(&self.directory(save))).map_ok(|file| file.location);
        delete(&self.store, files.boxed()).await
    }

    fn name(&self, directory: &Path) -> Option<SaveName> {
        let parts: Vec<_> = directory.prefix_match(&self.root)?.collect();
        let [of_pod, number] = parts.as_slice() else { return None };
        format!("{}/{}", of_pod.as_ref(), number.as_ref()).parse().ok()
    }
}

/// The directories in a directory.
pub(super) async fn directories(store: &Arc<dyn ObjectStore>, directory: &Path) -> Result<Vec<Path>, Failure> {
    let listed = store.list_with_delimiter(Some(directory)).await;
    listed.map(|listed| listed.common_prefixes).map_err(|error| Failure::from(error).of_listing())
}

/// Deletes objects.
pub(super) async fn delete(
    store: &Arc<dyn ObjectStore>,
    objects: BoxStream<'static, object_store::Result<Path>>,
) -> Result<(), Failure> {
    let mut deleted = store.delete_stream(objects);
    while let Some(deleted) = deleted.next().await {
        if_there(deleted)?;
    }
    Ok(())
}

/// What is not there need not be deleted.
fn if_there<T>(deleted: object_store::Result<T>) -> Result<(), Failure> {
    match deleted {
        Err(object_store::Error::NotFound { .. }) | Ok(_) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use object_store::memory::InMemory;

    use super::*;

    pub(crate) fn task() -> Task {
        Task { namespace: "ml".into(), name: "train".into(), uid: "uid-1".into() }
    }

    pub(crate) fn name(text: &str) -> SaveName {
        text.parse().expect(text)
    }

    /// A room in memory.
    pub(crate) fn room() -> Room {
        in_store(Arc::new(InMemory::new()))
    }

    pub(crate) fn in_store(store: Arc<dyn ObjectStore>) -> Room {
        Room::new(&Opened { store, prefix: Path::from("runs") }, "s3://bucket/runs/", &task())
    }

    #[test]
    fn a_save_is_where_its_uri_says() {
        let (room, save) = (room(), name("3-1a2b3c4d/7"));
        let uri = room.uri(&save);
        assert_eq!(uri, "s3://bucket/runs/ml/train/uid-1/3-1a2b3c4d/7/manifest.json");
        assert_eq!(room.manifest(&save).as_ref(), "runs/ml/train/uid-1/3-1a2b3c4d/7/manifest.json");
        assert_eq!(SaveName::in_uri(&uri, "uid-1"), Some(save));
        assert_eq!(Room::url_of_store(&uri, &task()), Some("s3://bucket/runs"));
        assert_eq!(Room::url_of_store("s3://bucket/runs/ml/other/uid-1/3-1a2b3c4d/7/manifest.json", &task()), None);
    }

    #[test]
    fn a_file_keeps_its_name_unless_a_store_may_not_like_it() {
        let (room, save) = (room(), name("1-a/1"));
        let key = |path: &str| {
            let key = room.file(&save, path).to_string();
            key.strip_prefix("runs/ml/train/uid-1/1-a/1/files/").expect("below it").to_owned()
        };
        assert_eq!(key("model/rank 0.pt"), "model/rank 0.pt");
        assert_eq!(key("a#1/b%20c"), "a%231/b%2520c");
        assert_eq!(key("ä"), "%C3%A4");
    }

    #[tokio::test]
    async fn saves_are_listed_in_their_order_whether_complete_or_not() {
        let room = room();
        for save in ["10-b/1", "2-a/10", "2-a/9"] {
            room.store().put(&room.file(&name(save), "x"), "x".into()).await.expect("written");
        }
        room.store().put(&room.root.clone().join("notes").join("1").join("x"), "x".into()).await.expect("written");
        let listed: Vec<_> = room.saves().await.expect("listed").iter().map(ToString::to_string).collect();
        assert_eq!(listed, ["2-a/9", "2-a/10", "10-b/1"]);
    }

    #[tokio::test]
    async fn later_attempts_that_have_begun_are_known_until_they_are_forgotten() {
        let room = room();
        assert!(!room.has_begun_after(0).await.expect("listed"));
        for attempt in [2, 10] {
            room.begin(attempt).await.expect("noted");
        }
        assert!(room.has_begun_after(9).await.expect("listed") && !room.has_begun_after(10).await.expect("listed"));
        assert_eq!(room.saves().await.expect("listed"), [].into(), "that is no save");
        room.forget_beginnings_before(10).await.expect("removed");
        let left = room.store().list(None).try_collect::<Vec<_>>().await.expect("listed");
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(room.has_begun_after(9).await.expect("listed"));
    }

    #[tokio::test]
    async fn what_is_removed_is_gone_and_nothing_beside_it() {
        let room = room();
        for save in ["1-a/1", "1-a/10", "1-a/2"] {
            room.store().put(&room.file(&name(save), "x"), "x".into()).await.expect("written");
            room.store().put(&room.manifest(&name(save)), "{}".into()).await.expect("written");
        }
        room.remove(&name("1-a/1")).await.expect("removed");
        room.remove(&name("1-a/1")).await.expect("there is nothing to remove");
        let left = room.store().list(None).try_collect::<Vec<_>>().await.expect("listed");
        assert_eq!(left.len(), 4, "{left:?}");
        assert_eq!(room.saves().await.expect("listed"), [name("1-a/2"), name("1-a/10")].into());
    }
}
