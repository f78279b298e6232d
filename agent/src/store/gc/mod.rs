//! `longtask-agent gc`: removes what is stored of tasks that are gone. It lists only, unless it is told to delete.

mod cluster;

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use clap::Args;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use longtask_contract::{
    agent::MANIFEST,
    types::{GoDuration, time::after},
};
use object_store::{ObjectStore, path::Path};

use self::cluster::Cluster;
pub use self::cluster::Known;
use super::{
    failure::Failure,
    open::{Address, Opened},
    room::{delete, directories},
};

/// For how long one request is tried.
const PATIENCE: Duration = Duration::from_mins(1);
/// How many directories are looked into at the same time.
const LOOKS: usize = 8;
/// What to remove, and where.
#[derive(Args, Clone, Debug)]
pub struct Errand {
    /// The store, as in the tasks' spec.checkpoint.store.url. Credentials are variables, as in the Secret of the tasks.
    #[arg(long)]
    pub url: String,
    /// The store's address, if it is not the provider's own.
    #[arg(long)]
    pub endpoint: Option<String>,
    /// The provider's region.
    #[arg(long)]
    pub region: Option<String>,
    /// Also remove what is stored of tasks that succeeded that long ago.
    #[arg(long, value_name = "DURATION")]
    pub succeeded_after: Option<GoDuration>,
    /// Spare what was written within that time, although its task is gone.
    #[arg(long, value_name = "DURATION", default_value = "168h")]
    pub spare: GoDuration,
    /// Delete. Without it, what would be deleted is listed.
    #[arg(long)]
    pub yes: bool,
}

/// Why there was no clean-up, or only a part of one.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    /// The store.
    #[error("the store: {0}")]
    Store(#[from] Failure),
    /// Without the tasks that are there, none is known to be gone.
    #[error("the tasks cannot be listed: {0}")]
    Tasks(String),
}

/// What is stored of one task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its directory.
    pub directory: Path,
    /// The task's UID.
    pub uid: String,
    /// How many objects it has.
    pub objects: usize,
    /// How many bytes they have.
    pub bytes: u64,
    /// When the newest was written.
    pub written: Timestamp,
}

/// Why it is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// The API server knows no such task.
    Gone,
    /// It succeeded long enough ago.
    Succeeded,
}

impl Errand {
    /// The store's address.
    pub fn address(&self) -> Address {
        Address { url: self.url.clone(), endpoint: self.endpoint.clone(), region: self.region.clone() }
    }

    /// Removes what is stored of tasks of the pod's own namespace that are gone; tells of each.
    ///
    /// # Errors
    /// If the store or the API server does not answer. Nothing is deleted before both have said all.
    pub async fn run(&self, now: Timestamp, tell: impl FnMut(String)) -> Result<(), GcError> {
        let opened = self.address().open(PATIENCE)?;
        let cluster = Cluster::of_pod().map_err(GcError::Tasks)?;
        let namespace = cluster.namespace.clone();
        self.run_with(&opened, &namespace, cluster.tasks(), now, tell).await
    }

    /// Likewise with a store that is open, and tasks that somebody else lists.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_with(
        &self,
        opened: &Opened,
        namespace: &str,
        tasks: impl Future<Output = Result<HashMap<String, Known>, String>>,
        now: Timestamp,
        mut tell: impl FnMut(String),
    ) -> Result<(), GcError> {
        // The tasks are listed later: one that is made meanwhile is known.
        let stored = stored_in(&opened.store, &opened.prefix.clone().join(namespace)).await?;
        let tasks = tasks.await.map_err(GcError::Tasks)?;
        for stored in stored {
            let Some(why) = self.why(&stored, tasks.get(&stored.uid), now) else { continue };
            if self.yes {
                remove(&opened.store, &stored.directory).await?;
            }
            let verb = if self.yes { "deleted" } else { "would delete" };
            tell(format!("{verb} {stored}: {why}"));
        }
        Ok(())
    }

    /// Why what is stored is to be removed, if it is.
    fn why(&self, stored: &Stored, task: Option<&Known>, now: Timestamp) -> Option<Why> {
        let is_over = |since: Timestamp, time: GoDuration| after(since, time.as_secs()) <= now;
        match task {
            None => is_over(stored.written, self.spare).then_some(Why::Gone),
            Some(Known { succeeded }) => {
                let (succeeded, time) = (*succeeded).zip(self.succeeded_after)?;
                is_over(succeeded, time).then_some(Why::Succeeded)
            }
        }
    }
}

/// What is stored of the tasks of a namespace: `<name>/<uid>/` each.
async fn stored_in(store: &Arc<dyn ObjectStore>, namespace: &Path) -> Result<Vec<Stored>, Failure> {
    let mut of_tasks = Vec::new();
    for of_name in directories(store, namespace).await? {
        of_tasks.extend(directories(store, &of_name).await?);
    }
    let looked = stream::iter(of_tasks).map(|directory| look(store, directory)).buffered(LOOKS);
    let found: Vec<_> = looked.try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

async fn look(store: &Arc<dyn ObjectStore>, directory: Path) -> Result<Option<Stored>, Failure> {
    let Some(uid) = directory.filename().map(ToOwned::to_owned) else { return Ok(None) };
    let mut stored = Stored { directory: directory.clone(), uid, objects: 0, bytes: 0, written: Timestamp::MIN };
    let mut objects = store.list(Some(&directory));
    while let Some(object) = objects.try_next().await? {
        // Of a time that cannot be told, nothing is old enough.
        let written = Timestamp::from_second(object.last_modified.timestamp()).unwrap_or(Timestamp::MAX);
        stored.objects += 1;
        stored.bytes = stored.bytes.saturating_add(object.size);
        stored.written = stored.written.max(written);
    }
    Ok((stored.objects > 0).then_some(stored))
}

/// Removes a task's directory. Manifests go first, so that what is left counts no more.
async fn remove(store: &Arc<dyn ObjectStore>, directory: &Path) -> Result<(), Failure> {
    let objects: Vec<_> = store.list(Some(directory)).map_ok(|object| object.location).try_collect().await?;
    let (manifests, files): (Vec<_>, Vec<_>) =
        objects.into_iter().partition(|object| object.filename() == Some(MANIFEST));
    for objects in [manifests, files] {
        delete(store, stream::iter(objects).map(Ok).boxed()).await?;
    }
    Ok(())
}

impl fmt::Display for Stored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { directory, objects, bytes, written, .. } = self;
        write!(f, "{directory} ({objects} objects, {bytes} bytes, the newest of {written})")
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Gone => "there is no such task",
            Self::Succeeded => "the task has succeeded",
        })
    }
}

#[cfg(test)]
mod tests {
    use object_store::{ObjectStoreExt, memory::InMemory};

    use super::*;

    const NOW: i64 = 2_000_000_000;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn errand(yes: bool) -> Errand {
        let (spare, succeeded_after) = (GoDuration::from_hours(168), Some(GoDuration::from_hours(24)));
        Errand { url: "s3://bucket".into(), endpoint: None, region: None, succeeded_after, spare, yes }
    }

    async fn store_with(keys: &[&str]) -> Opened {
        let store = InMemory::new();
        for key in keys {
            store.put(&Path::from(*key), "x".into()).await.expect("written");
        }
        Opened { store: Arc::new(store), prefix: Path::from("runs") }
    }

    async fn left(opened: &Opened) -> Vec<String> {
        let keys = opened.store.list(None).map_ok(|object| object.location.to_string());
        let mut keys: Vec<_> = keys.try_collect().await.expect("listed");
        keys.sort();
        keys
    }

    const KEYS: [&str; 6] = [
        "other/ml/train/gone/1-a/1/manifest.json",
        "runs/ml/train/gone/1-a/1/files/x",
        "runs/ml/train/gone/1-a/1/manifest.json",
        "runs/ml/train/there/1-a/1/manifest.json",
        "runs/ml/done/succeeded/1-a/1/manifest.json",
        "runs/web/train/gone/1-a/1/manifest.json",
    ];

    fn known() -> HashMap<String, Known> {
        let succeeded = |succeeded| Known { succeeded };
        let tasks = [("there", succeeded(None)), ("succeeded", succeeded(Some(at(NOW - 24 * 3600))))];
        tasks.into_iter().map(|(uid, known)| (uid.to_owned(), known)).collect()
    }

    async fn run(errand: &Errand, opened: &Opened, now: Timestamp) -> Vec<String> {
        let mut told = Vec::new();
        errand.run_with(opened, "ml", async { Ok(known()) }, now, |line| told.push(line)).await.expect("both answer");
        told
    }

    /// Long after everything was written.
    fn later() -> Timestamp {
        at(i64::from(u32::MAX))
    }

    #[tokio::test]
    async fn what_would_be_deleted_is_listed_and_stays() {
        let opened = store_with(&KEYS).await;
        let told = run(&errand(false), &opened, later()).await;
        assert_eq!(told.len(), 2, "{told:?}");
        assert!(told[0].starts_with("would delete runs/ml/done/succeeded (1 objects, 1 bytes"), "{told:?}");
        assert!(told[1].ends_with("there is no such task"), "{told:?}");
        assert_eq!(left(&opened).await.len(), KEYS.len());
    }

    #[tokio::test]
    async fn only_what_is_gone_in_this_namespace_is_deleted() {
        let opened = store_with(&KEYS).await;
        run(&errand(true), &opened, later()).await;
        let mut expected = [KEYS[0], KEYS[3], KEYS[5]];
        expected.sort_unstable();
        assert_eq!(left(&opened).await, expected);
    }

    #[tokio::test]
    async fn what_was_written_lately_is_spared_and_so_is_a_success_until_its_time() {
        let opened = store_with(&KEYS).await;
        let written = opened.store.head(&Path::from(KEYS[1])).await.expect("there").last_modified.timestamp();
        let mut errand = errand(true);
        assert_eq!(run(&errand, &opened, at(written + 168 * 3600 - 5)).await, [""; 0]);
        errand.succeeded_after = None;
        assert_eq!(run(&errand, &opened, later()).await.len(), 1, "only what is gone");
    }

    #[tokio::test]
    async fn nothing_is_deleted_unless_all_tasks_are_known() {
        let opened = store_with(&KEYS).await;
        let failed = errand(true).run_with(&opened, "ml", async { Err("403".into()) }, later(), |_| {}).await;
        assert!(matches!(failed, Err(GcError::Tasks(_))));
        assert_eq!(left(&opened).await.len(), KEYS.len());
    }
}
