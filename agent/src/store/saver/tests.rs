//! What the saver does over time.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use longtask_contract::{
    agent::{SaveName, SaveTrouble, StoreSettings},
    report::ReportedCheckpoint,
};
use object_store::{ObjectStoreExt, memory::InMemory};
use tempfile::TempDir;
use tokio::{
    select,
    sync::watch,
    time::{Instant, sleep},
};

use super::{Demand, Saver, Standing, Wanted, trouble::LAST_PAUSE};
use crate::{
    clock::Clock,
    office::Known,
    store::{
        failure::{Cause, Failure},
        open::Opened,
        room::{
            Room, Task,
            tests::{in_store, name, task},
        },
    },
};

/// A pod of the third attempt, with a store in memory that can be away.
struct Pod {
    folder: TempDir,
    opened: Opened,
    away: Arc<Mutex<Option<Cause>>>,
    demand: watch::Sender<Demand>,
    keep: Vec<SaveName>,
}

impl Pod {
    fn new() -> Self {
        let opened = Opened { store: Arc::new(InMemory::new()), prefix: object_store::path::Path::from("runs") };
        let folder = tempfile::tempdir().expect("a folder");
        let (away, demand) = (Arc::default(), watch::Sender::default());
        Self { folder, opened, away, demand, keep: Vec::new() }
    }

    fn room(&self) -> Room {
        in_store(Arc::clone(&self.opened.store))
    }

    fn saver(&self) -> Saver {
        let Task { namespace, name, uid } = task();
        let settings = StoreSettings {
            url: "s3://bucket/runs".into(),
            directory: self.folder.path().to_str().expect("UTF-8").into(),
            namespace,
            name,
            uid,
            attempt: 3,
            segment: 2,
            keep: self.keep.clone(),
            ..StoreSettings::default()
        };
        let clock = Clock::from_fn(|| Timestamp::UNIX_EPOCH);
        let (away, opened) = (Arc::clone(&self.away), self.opened.clone());
        Saver::with(&settings, "1a2b3c4d-0000", &clock, move || match *away.lock().expect("nobody panics") {
            Some(cause) => Err(Failure::new(cause, "away")),
            None => Ok(opened.clone()),
        })
    }

    fn set_away(&self, away: Option<Cause>) {
        *self.away.lock().expect("nobody panics") = away;
    }

    fn write(&self, path: &str) {
        write(self.folder.path(), path);
    }

    fn want(&self, path: &str, order: u64) {
        let time = Timestamp::UNIX_EPOCH;
        self.demand.send_modify(|demand| demand.wanted = Some(Wanted { path: path.into(), order, time }));
    }

    /// Runs a saver for as long as the story goes on.
    async fn run<T>(
        &self,
        known: Option<watch::Receiver<Known>>,
        story: impl AsyncFnOnce(watch::Receiver<Standing>) -> T,
    ) -> T {
        let (standing, seen) = watch::channel(Standing::default());
        select! {
            biased;
            () = self.saver().run(self.demand.subscribe(), standing, known) => unreachable!("it saves for ever"),
            told = story(seen) => told,
        }
    }

    /// Those that are complete.
    async fn complete(&self) -> Vec<String> {
        let (room, saves) = (self.room(), self.room().saves().await.expect("listed"));
        let complete = stream::iter(saves).filter(|save| {
            let (room, save) = (room.clone(), save.clone());
            async move { room.store().head(&room.manifest(&save)).await.is_ok() }
        });
        complete.map(|save| save.to_string()).collect().await
    }

    async fn put(&self, saves: &[&str]) {
        for save in saves {
            self.room().store().put(&self.room().manifest(&name(save)), "{}".into()).await.expect("written");
        }
    }
}

fn write(folder: &Path, path: &str) {
    fs::create_dir_all(folder.join(path)).expect("made");
    fs::write(folder.join(path).join("x"), path).expect("written");
}

async fn saved(seen: &mut watch::Receiver<Standing>, path: &str) -> ReportedCheckpoint {
    let is_saved = |standing: &Standing| standing.saved.as_ref().is_some_and(|(wanted, _)| wanted.path == path);
    let standing = seen.wait_for(is_saved).await.expect("it works").clone();
    assert_eq!(
        (standing.report.map(|report| (report.path, report.error)), standing.failing),
        (Some((path.into(), None)), None)
    );
    standing.saved.expect("saved").1
}

async fn seconds(seconds: u64) {
    sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wanted_is_saved_and_each_save_has_a_number_of_its_own() {
    let pod = Pod::new();
    for path in ["one", "two", "three"] {
        pod.write(path);
    }
    pod.run(None, async |mut seen| {
        pod.want("one", 1);
        let ReportedCheckpoint::Reference { uri, path, size_bytes, .. } = saved(&mut seen, "one").await else {
            panic!("it is no reference")
        };
        assert_eq!((path.as_deref(), size_bytes), (Some("one"), Some(3)));
        assert_eq!(SaveName::in_uri(&uri, "uid-1"), Some(name("3-1a2b3c4d/1")));
        pod.want("two", 2);
        saved(&mut seen, "two").await;
    })
    .await;
    // Each agent counts by itself what is reported.
    pod.demand.send_replace(Demand::default());
    pod.run(None, async |mut seen| {
        pod.want("three", 1);
        saved(&mut seen, "three").await;
    })
    .await;
    assert_eq!(pod.complete().await, ["3-1a2b3c4d/1", "3-1a2b3c4d/2", "3-1a2b3c4d/3"], "the next agent goes on");
}

#[tokio::test(start_paused = true)]
async fn of_several_that_are_wanted_only_the_newest_is_saved() {
    let pod = Pod::new();
    pod.write("two");
    pod.want("one", 1);
    pod.want("two", 2);
    pod.run(None, async |mut seen| saved(&mut seen, "two").await).await;
    assert_eq!(pod.complete().await, ["3-1a2b3c4d/1"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_away_is_told_after_a_minute_and_tried_until_it_is_back() {
    let pod = Pod::new();
    pod.write("one");
    pod.set_away(Some(Cause::Unreachable));
    pod.want("one", 1);
    pod.run(None, async |mut seen| {
        seconds(59).await;
        assert_eq!(seen.borrow().report, None);
        assert!(seen.borrow().failing.is_some());
        seconds(5).await;
        let report = seen.borrow().report.clone().expect("it is told");
        assert_eq!(report.error.map(|error| error.reason), Some(SaveTrouble::Unreachable));
        assert!((60..65).contains(&report.seconds), "{}", report.seconds);
        seconds(3600).await;
        pod.set_away(None);
        let back = Instant::now();
        saved(&mut seen, "one").await;
        assert!(back.elapsed() <= LAST_PAUSE, "{:?}", back.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_store_that_refuses_is_told_at_once() {
    for (cause, reason) in [(Cause::Refused, SaveTrouble::AccessDenied), (Cause::NoBucket, SaveTrouble::NoSuchBucket)] {
        let pod = Pod::new();
        pod.set_away(Some(cause));
        pod.want("one", 1);
        let report = pod
            .run(None, async |seen| {
                seconds(1).await;
                seen.borrow().report.clone()
            })
            .await;
        assert_eq!(report.and_then(|report| report.error).map(|error| error.reason), Some(reason));
    }
}

#[tokio::test(start_paused = true)]
async fn another_path_does_not_wait_for_one_that_is_at_fault() {
    let pod = Pod::new();
    pod.want("not there", 1);
    pod.run(None, async |mut seen| {
        seconds(100).await;
        let error = seen.borrow().report.clone().and_then(|report| report.error).expect("it is told");
        assert_eq!(error.reason, SaveTrouble::NoSuchPath);
        pod.write("one");
        pod.want("one", 2);
        let wanted = Instant::now();
        saved(&mut seen, "one").await;
        assert!(wanted.elapsed() <= Duration::from_secs(1), "{:?}", wanted.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn what_the_program_goes_on_without_is_tried_no_more() {
    let pod = Pod::new();
    pod.want("not there", 1);
    pod.run(None, async |mut seen| {
        seconds(100).await;
        assert!(seen.borrow().report.is_some());
        pod.demand.send_modify(|demand| demand.wanted = None);
        seen.wait_for(|standing| *standing == Standing::default()).await.expect("it is not told any more");
        pod.write("not there");
        seconds(1000).await;
        assert_eq!(pod.complete().await, [""; 0]);
        pod.write("two");
        pod.want("two", 2);
        saved(&mut seen, "two").await;
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn at_the_end_a_save_is_tried_every_second() {
    let pod = Pod::new();
    pod.write("one");
    pod.set_away(Some(Cause::Unreachable));
    pod.want("one", 1);
    pod.run(None, async |mut seen| {
        seconds(1000).await;
        pod.demand.send_modify(|demand| demand.is_last = true);
        seconds(3).await;
        pod.set_away(None);
        let back = Instant::now();
        saved(&mut seen, "one").await;
        assert!(back.elapsed() <= Duration::from_secs(1), "{:?}", back.elapsed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn once_another_attempt_is_under_way_nothing_is_saved_or_removed() {
    let mut pod = Pod::new();
    pod.keep = vec![name("2-b/2")];
    pod.put(&["2-b/1", "2-b/2"]).await;
    pod.write("one");
    pod.want("one", 1);
    let known = watch::Sender::new(Known { is_superseded: true, ..Known::default() });
    pod.run(Some(known.subscribe()), async |_| seconds(3600).await).await;
    assert_eq!(pod.complete().await, ["2-b/1", "2-b/2"]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_needs_of_earlier_attempts_is_removed_at_the_start() {
    let mut pod = Pod::new();
    pod.keep = vec![name("2-b/2"), name("1-a/1")];
    pod.put(&["1-a/1", "1-a/2", "2-b/1", "2-b/2", "2-b/3", "4-d/1"]).await;
    pod.run(None, async |_| seconds(1).await).await;
    assert_eq!(pod.complete().await, ["1-a/1", "2-b/2", "2-b/3", "4-d/1"]);
}

#[tokio::test(start_paused = true)]
async fn of_its_own_saves_those_stay_that_the_status_names_and_newer_ones() {
    let pod = Pod::new();
    pod.put(&["3-1a2b3c4d/1", "3-1a2b3c4d/2", "3-1a2b3c4d/3", "3-other/1"]).await;
    let known = watch::Sender::<Known>::default();
    pod.run(Some(known.subscribe()), async |_| {
        seconds(1).await;
        assert_eq!(pod.complete().await.len(), 4, "nobody has said anything yet");
        known.send_modify(|known| known.keep = Some(vec![name("3-1a2b3c4d/2")]));
        seconds(1).await;
    })
    .await;
    assert_eq!(pod.complete().await, ["3-other/1", "3-1a2b3c4d/2", "3-1a2b3c4d/3"]);
}

#[tokio::test(start_paused = true)]
async fn without_live_reports_the_newest_two_saves_stay() {
    let pod = Pod::new();
    pod.run(None, async |mut seen| {
        for number in 1..=10 {
            let path = format!("step-{number}");
            pod.write(&path);
            pod.want(&path, number);
            saved(&mut seen, &path).await;
            seconds(1).await;
        }
    })
    .await;
    assert_eq!(pod.complete().await, ["3-1a2b3c4d/9", "3-1a2b3c4d/10"]);
    let objects: Vec<_> = pod.opened.store.list(None).try_collect().await.expect("listed");
    assert_eq!(objects.len(), 4, "{objects:?}");
}

#[tokio::test(start_paused = true)]
async fn without_live_reports_nothing_is_removed_once_the_next_attempt_has_begun() {
    let pod = Pod::new();
    pod.run(None, async |mut seen| {
        for number in 1..=6 {
            if number == 4 {
                pod.room().begin(4).await.expect("noted");
            }
            let path = format!("step-{number}");
            pod.write(&path);
            pod.want(&path, number);
            saved(&mut seen, &path).await;
            seconds(1).await;
        }
    })
    .await;
    assert_eq!(pod.complete().await, ["3-1a2b3c4d/2", "3-1a2b3c4d/3", "3-1a2b3c4d/4", "3-1a2b3c4d/5", "3-1a2b3c4d/6"]);
}
