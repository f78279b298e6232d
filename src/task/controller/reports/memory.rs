//! The newest report of each pod.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

use crate::{
    contract::{
        agent::Post,
        report::{Report, Via},
    },
    task::{
        plan::{CurrentPod, Live, LiveReport},
        render::AgentConfig,
    },
    types::time::after,
};

/// The most that is kept of all reports together, in bytes.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// What a report takes beside its text, in bytes.
const FIXED_BYTES: usize = 512;

/// The newest report of each pod; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LiveReports {
    agent: Option<Arc<AgentConfig>>,
    writes_per_second: u32,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    listening_since: Option<Timestamp>,
    /// By the pod's UID.
    reports: HashMap<String, Entry>,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    report: Arc<LiveReport>,
    bytes: usize,
    /// When this revision came first: the same again is a sign of life.
    news: Instant,
}

/// How the operator takes reports.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReportsFrom {
    /// What agents are told.
    pub(crate) agent: Option<Arc<AgentConfig>>,
    /// The most status writes for reports in a second, of all tasks together.
    pub(crate) writes_per_second: u32,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is newer than the one before.
    New,
    /// It is not.
    Stale,
    /// There is no room for it.
    NoRoom,
}

impl LiveReports {
    pub(crate) fn new(from: ReportsFrom) -> Self {
        let ReportsFrom { agent, writes_per_second } = from;
        Self { agent, writes_per_second: writes_per_second.max(1), kept: Arc::default() }
    }

    /// What a plan is made from: the report of the pod under way and of no other.
    pub(crate) fn of(&self, current: &CurrentPod) -> Live {
        let kept = self.kept();
        let report = match current {
            CurrentPod::Found(pod) => kept.reports.get(&pod.uid).map(|entry| Arc::clone(&entry.report)),
            CurrentPod::None | CurrentPod::Gone => None,
        };
        Live {
            agent: self.agent.clone(),
            listening_since: kept.listening_since,
            pace_seconds: self.pace_seconds(&kept),
            report,
        }
    }

    /// Reports are taken from now on.
    pub(super) fn listen(&self, now: Timestamp) {
        self.kept().listening_since = Some(now);
    }

    /// Keeps a pod's report, if it is the newest.
    pub(crate) fn take(&self, pod_uid: &str, post: &Post, now: Timestamp) -> Taken {
        let bytes = FIXED_BYTES + post.lines.len();
        let mut kept = self.kept();
        let known = kept.reports.get(pod_uid);
        if known.is_some_and(|known| known.report.revision > post.revision) {
            return Taken::Stale;
        }
        let before = known.map_or(0, |known| known.bytes);
        let same = known.filter(|known| known.report.revision == post.revision);
        let news = same.map_or_else(Instant::now, |known| known.news);
        if kept.bytes - before + bytes > MOST_BYTES {
            return Taken::NoRoom;
        }
        let report = Arc::new(LiveReport {
            revision: post.revision,
            receipt_time: now,
            silent_seconds: post.silent_seconds.max(0),
            quiet_seconds: post.quiet_seconds,
            checkpoint_time: post.checkpoint_age_seconds.map(|age| after(now, age.max(0).saturating_neg())),
            report: Report::read(&post.lines, Via::Agent),
        });
        kept.bytes = kept.bytes - before + bytes;
        kept.reports.insert(pod_uid.to_owned(), Entry { report, bytes, news });
        Taken::New
    }

    /// How long ago the report of a pod came that has this revision; none if it is not the newest any more.
    pub(crate) fn age_of(&self, pod_uid: &str, revision: i64) -> Option<Duration> {
        let kept = self.kept();
        kept.reports.get(pod_uid).filter(|entry| entry.report.revision == revision).map(|entry| entry.news.elapsed())
    }

    /// When the agent of a pod was heard of last.
    pub(crate) fn last_heard(&self, pod_uid: &str) -> Option<Timestamp> {
        self.kept().reports.get(pod_uid).map(|entry| entry.report.receipt_time)
    }

    /// Forgets the reports of all other pods than these.
    pub(crate) fn retain(&self, pod_uids: &HashSet<String>) {
        let mut kept = self.kept();
        kept.reports.retain(|uid, _| pod_uids.contains(uid));
        kept.bytes = kept.reports.values().map(|entry| entry.bytes).sum();
    }

    /// How many pods have reported.
    pub(crate) fn pods(&self) -> usize {
        self.kept().reports.len()
    }

    /// The seconds between two status writes of one task for its reports.
    pub(crate) fn pace(&self) -> i64 {
        self.pace_seconds(&self.kept())
    }

    fn pace_seconds(&self, kept: &Kept) -> i64 {
        let pods = u32::try_from(kept.reports.len()).unwrap_or(u32::MAX);
        i64::from(pods.div_ceil(self.writes_per_second))
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn post(revision: i64) -> Post {
        Post { revision, lines: format!("{{\"progress\":{{\"completed\":{revision}}}}}\n"), ..Post::default() }
    }

    fn reports(writes_per_second: u32) -> LiveReports {
        LiveReports::new(ReportsFrom { agent: None, writes_per_second })
    }

    fn completed(reports: &LiveReports, uid: &str) -> Option<i64> {
        let kept = reports.kept();
        kept.reports.get(uid)?.report.report.progress.as_ref()?.completed
    }

    #[test]
    fn the_newest_report_of_a_pod_is_kept_in_whatever_order_they_come() {
        let reports = reports(50);
        let taken = [2, 1, 3, 3].map(|revision| reports.take("a", &post(revision), at(revision)));
        assert_eq!(taken, [Taken::New, Taken::Stale, Taken::New, Taken::New], "the same again is a sign of life");
        assert_eq!(completed(&reports, "a"), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_is_as_old_as_its_news_and_its_agent_was_heard_of_last_at_any_post() {
        let reports = reports(50);
        reports.take("a", &post(1), at(100));
        tokio::time::advance(Duration::from_secs(7)).await;
        reports.take("a", &post(1), at(107));
        assert_eq!(reports.age_of("a", 1), Some(Duration::from_secs(7)), "the same again is no news");
        reports.take("a", &post(2), at(107));
        assert_eq!((reports.age_of("a", 2), reports.age_of("a", 1)), (Some(Duration::ZERO), None));
        assert_eq!((reports.last_heard("a"), reports.last_heard("b")), (Some(at(107)), None));
    }

    #[test]
    fn the_pace_slows_down_with_the_number_of_pods() {
        let reports = reports(50);
        for (pods, pace) in [(0, 0), (1, 1), (50, 1), (51, 2), (1500, 30)] {
            for pod in 0..pods {
                reports.take(&format!("pod-{pod}"), &post(1), at(0));
            }
            assert_eq!(reports.pace(), pace, "{pods} pods");
        }
    }

    #[test]
    fn what_is_gone_is_forgotten_and_its_room_is_free() {
        let reports = reports(50);
        let large = Post { lines: "x".repeat(20 * 1024), ..post(1) };
        let mut pods = 0;
        while reports.take(&format!("pod-{pods}"), &large, at(0)) == Taken::New {
            pods += 1;
        }
        assert!((3000..3300).contains(&pods), "{pods}");
        assert_eq!(reports.take("pod-0", &Post { revision: 2, ..large.clone() }, at(0)), Taken::New, "it has its room");
        reports.retain(&HashSet::from(["pod-0".to_owned()]));
        assert_eq!((reports.pods(), reports.take("another", &large, at(0))), (1, Taken::New));
    }
}
