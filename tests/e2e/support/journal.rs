//! What a program wrote down about itself, on a volume that outlives its pods.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use tokio::time::{Instant, sleep};

use super::lab::PATIENCE;

/// The journal of one task's program.
pub(crate) struct Journal(PathBuf);

/// One line of it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Entry {
    pub(crate) time: Timestamp,
    pub(crate) event: String,
    pub(crate) segment: i64,
    pub(crate) attempt: i64,
    pub(crate) step: i64,
    pub(crate) code: Option<i32>,
    #[serde(default)]
    pub(crate) env: BTreeMap<String, String>,
}

impl Journal {
    pub(super) fn at(path: PathBuf) -> Self {
        Self(path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// All lines; none while the program has not begun.
    pub(crate) fn entries(&self) -> Vec<Entry> {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let complete = text.rsplit_once('\n').map_or("", |(complete, _)| complete);
        complete.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
    }

    /// The entries of one kind.
    pub(crate) fn all(&self, event: &str) -> Vec<Entry> {
        self.entries().into_iter().filter(|entry| entry.event == event).collect()
    }

    /// Every step that was done, in the order in which it was.
    pub(crate) fn steps(&self) -> Vec<i64> {
        self.all("step").iter().map(|entry| entry.step).collect()
    }

    /// What an attempt was told at its start.
    pub(crate) fn start_of(&self, attempt: i64) -> Entry {
        let found = self.all("start").into_iter().find(|entry| entry.attempt == attempt);
        found.unwrap_or_else(|| panic!("attempt {attempt} is not in the journal"))
    }

    /// The time from one event of an attempt to another.
    pub(crate) fn time_between(&self, attempt: i64, from: &str, to: &str) -> SignedDuration {
        let entries = self.entries();
        let time_of = |event: &str| {
            let found = entries.iter().find(|entry| entry.attempt == attempt && entry.event == event);
            found.unwrap_or_else(|| panic!("attempt {attempt} has no {event}: {entries:?}")).time
        };
        time_of(to).duration_since(time_of(from))
    }

    /// Waits until the program has written something. A file has no watch, so this looks often.
    pub(crate) async fn until(&self, what: &str, limit: Duration, is_there: impl Fn(&Entry) -> bool) -> Entry {
        let limit = limit * PATIENCE;
        let deadline = Instant::now() + limit;
        loop {
            if let Some(entry) = self.entries().into_iter().find(&is_there) {
                return entry;
            }
            assert!(Instant::now() < deadline, "waited {limit:?} in vain until {what}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until a step is done.
    pub(crate) async fn until_step(&self, step: i64, limit: Duration) {
        let is_done = |entry: &Entry| entry.event == "step" && entry.step >= step;
        self.until(&format!("step {step} is done"), limit, is_done).await;
    }

    /// The moments at which a program found another one at work.
    pub(super) fn overlaps(&self) -> Vec<String> {
        let found = self.all("overlap");
        found.iter().map(|entry| format!("{}: attempts overlap: {entry:?}", self.0.display())).collect()
    }

    pub(super) fn summary(&self) -> String {
        let line = |entry: &Entry| {
            let Entry { time, event, segment, attempt, step, code, env } = entry;
            let code = code.map(|code| format!(" code {code}")).unwrap_or_default();
            let checkpoint = env.get("LONGTASK_CHECKPOINT").map(|c| format!(" from {c}")).unwrap_or_default();
            format!("{time} {event} segment {segment} attempt {attempt} step {step}{code}{checkpoint}\n")
        };
        self.entries().iter().map(line).collect()
    }
}
