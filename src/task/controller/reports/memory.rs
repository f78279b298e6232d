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
        agent::{Post, SaveReport},
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
    turns: Turns,
    /// How many pods can report, as far as that is known.
    agents: usize,
}

#[derive(Debug)]
struct Entry {
    report: Arc<LiveReport>,
    /// The number of its post.
    number: i64,
    bytes: usize,
    /// When this revision came first: the same again is a sign of life.
    news: Instant,
    /// The second from which on the status may be written for it.
    turn: Timestamp,
}

/// Gives each report a second of its own in which the status may be written for it: as many as are wanted have the same one.
#[derive(Debug, Default)]
struct Turns {
    second: Timestamp,
    given: u32,
}

impl Turns {
    fn next(&mut self, now: Timestamp, most: u32) -> Timestamp {
        if self.second < now {
            (self.second, self.given) = (now, 0);
        }
        if self.given >= most {
            (self.second, self.given) = (after(self.second, 1), 0);
        }
        self.given += 1;
        self.second
    }
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
        let entry = match current {
            CurrentPod::Found(pod) => kept.reports.get(&pod.uid),
            CurrentPod::None | CurrentPod::Gone => None,
        };
        Live {
            agent: self.agent.clone(),
            listening_since: kept.listening_since,
            report: entry.map(|entry| Arc::clone(&entry.report)),
            turn: entry.map(|entry| entry.turn),
        }
    }

    /// Reports are taken from now on.
    pub(super) fn listen(&self, now: Timestamp) {
        self.kept().listening_since = Some(now);
    }

    /// Keeps a pod's report, if it is the newest.
    pub(crate) fn take(&self, pod_uid: &str, post: &Post, now: Timestamp) -> Taken {
        let bytes = FIXED_BYTES + post.lines.len();
        let report = Arc::new(LiveReport {
            revision: post.revision,
            receipt_time: now,
            silent_seconds: post.silent_seconds.max(0),
            quiet_seconds: post.quiet_seconds,
            checkpoint_time: post.checkpoint_age_seconds.map(|age| after(now, age.max(0).saturating_neg())),
            report: Report::read(&post.lines, Via::Agent),
            save: post.save.clone(),
        });
        let kept = &mut *self.kept();
        let known = kept.reports.get(pod_uid);
        if known.is_some_and(|known| (known.report.revision, known.number) > (post.revision, post.number)) {
            return Taken::Stale;
        }
        let before = known.map_or(0, |known| known.bytes);
        let same = known.filter(|known| known.report.revision == post.revision);
        let news = same.map_or_else(Instant::now, |known| known.news);
        if kept.bytes - before + bytes > MOST_BYTES {
            return Taken::NoRoom;
        }
        // What says nothing is never written, and what waits for its turn keeps it, however often it is replaced.
        let turn = match known {
            _ if post.lines.is_empty() => now,
            Some(known) if known.turn > now || same.is_some() => known.turn,
            Some(_) | None => kept.turns.next(now, self.writes_per_second),
        };
        kept.bytes = kept.bytes - before + bytes;
        kept.reports.insert(pod_uid.to_owned(), Entry { report, number: post.number, bytes, news, turn });
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

    /// How it went with the newest save of a pod, as its agent posted it.
    pub(crate) fn save_of(&self, pod_uid: &str) -> Option<SaveReport> {
        self.kept().reports.get(pod_uid)?.report.save.clone()
    }

    /// These pods have agents: forgets the reports of all others.
    pub(crate) fn retain(&self, pod_uids: &HashSet<String>) {
        let mut kept = self.kept();
        kept.reports.retain(|uid, _| pod_uids.contains(uid));
        kept.bytes = kept.reports.values().map(|entry| entry.bytes).sum();
        kept.agents = pod_uids.len();
    }

    /// How many pods have reported.
    pub(crate) fn pods(&self) -> usize {
        self.kept().reports.len()
    }

    /// The seconds between two status writes of one task for its reports, if all pods report: also those that a new leader
    /// has not heard yet.
    pub(crate) fn pace(&self) -> i64 {
        let kept = self.kept();
        let pods = u32::try_from(kept.reports.len().max(kept.agents)).unwrap_or(u32::MAX);
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
    fn of_posts_that_say_the_same_the_later_one_counts_in_whatever_order_they_come() {
        let reports = reports(50);
        let silent = |number: i64, silent_seconds: i64| Post { number, silent_seconds, ..post(7) };
        let posts = [silent(1, 28), silent(3, 0), silent(2, 31), silent(3, 0)];
        let taken = posts.map(|post| reports.take("a", &post, at(0)));
        assert_eq!(taken, [Taken::New, Taken::New, Taken::Stale, Taken::New]);
        assert_eq!(reports.kept().reports["a"].report.silent_seconds, 0, "the program has spoken since");
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
        reports.retain(&(0..10_000).map(|pod| format!("pod-{pod}")).collect());
        assert_eq!(reports.pace(), 200, "most have not reported yet");
    }

    fn turn(reports: &LiveReports, uid: &str) -> Timestamp {
        reports.kept().reports[uid].turn
    }

    #[test]
    fn no_more_statuses_are_written_in_a_second_than_is_wanted() {
        let reports = reports(2);
        let pods = ["a", "b", "c", "d", "e"];
        for pod in pods {
            reports.take(pod, &post(1), at(10));
        }
        assert_eq!(pods.map(|pod| turn(&reports, pod)), [10, 10, 11, 11, 12].map(at));
        reports.take("f", &post(1), at(20));
        assert_eq!(turn(&reports, "f"), at(20), "what was not used is not saved up");
    }

    #[test]
    fn a_report_keeps_its_turn_and_one_that_says_nothing_needs_none() {
        let reports = reports(1);
        reports.take("a", &post(1), at(10));
        reports.take("silent", &Post::default(), at(10));
        reports.take("b", &post(1), at(10));
        assert_eq!(["silent", "b"].map(|pod| turn(&reports, pod)), [at(10), at(11)]);
        reports.take("b", &post(2), at(10));
        reports.take("a", &post(1), at(11));
        assert_eq!(["a", "b"].map(|pod| turn(&reports, pod)), [at(10), at(11)], "it waits; it is the same again");
        reports.take("a", &post(2), at(11));
        assert_eq!(turn(&reports, "a"), at(12), "it is news");
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
