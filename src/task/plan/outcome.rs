//! How an attempt ended: the table of outcomes.
//!
//! Judged by container states, report and the *cut*, the moment at which stopping began; the pod's phase alone says
//! little: a program that traps SIGTERM and exits 0 on eviction ends in phase Succeeded, one that exits 0 just before
//! its deadline may end in Failed with reason DeadlineExceeded (kubernetes/kubernetes#115688).

use jiff::Timestamp;

use super::{
    cut::{Cut, has_ended_untouched, is_evicted_by_kubelet, is_out_of_time, unready_since},
    kubelet,
    last_words::LastWords,
    observed::{Cause, ContainerEnd, FailedInit, LiveReport, MainContainer, PodFacts},
    waits,
};
use crate::{
    api::task::{AttemptReason, CurrentAttempt, Outcome, Segment, StopReason},
    contract::{agent::SaveReport, report::Report},
    types::time::{after, seconds_between},
};

/// The container runtime's own word for a container that was gone when it came back: the machine has booted again. The
/// exit code, 255, is made up; the times and the report are not.
const LOST_BY_RUNTIME: &str = "Unknown";
/// How long a pod that should be gone may be held by our finalizer before it counts as gone.
pub(super) const HELD_SECONDS: i64 = 60;
/// How long the kubelet may take, once everything has stopped, to publish how the main container ended.
const LAST_WORD_SECONDS: i64 = 20;

/// How an attempt ended, with everything that is to be recorded of it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ending {
    pub(super) outcome: Outcome,
    pub(super) reason: Option<AttemptReason>,
    pub(super) exit_code: Option<i32>,
    pub(super) started_at: Option<Timestamp>,
    pub(super) finished_at: Timestamp,
    /// The program's or the cluster's own words.
    pub(super) words: String,
    pub(super) report: Report,
    /// When the newest checkpoint was reported, as far as an agent tells.
    pub(super) checkpoint_time: Option<Timestamp>,
    /// How it went with the newest save, as far as an agent tells.
    pub(super) save: Option<SaveReport>,
}

impl Ending {
    /// Running time to charge, in seconds: at least 1 for an attempt that ran.
    pub(super) fn active_seconds(&self) -> i64 {
        self.started_at.map_or(0, |started_at| seconds_between(started_at, self.finished_at).max(1))
    }

    /// The reason in one word; empty when the outcome says it all.
    pub(super) fn reason_word(&self) -> String {
        self.reason.as_ref().map(ToString::to_string).unwrap_or_default()
    }
}

/// Whether the pod's attempt has ended. Container states choose the outcome, never this moment: the phase turns
/// terminal a second after the last container, and a create in between can still meet the old pod's quota.
pub(super) fn has_ended(pod: &PodFacts, now: Timestamp) -> bool {
    let Some(deletion) = pod.deletion.filter(|deletion| deletion.grace == 0) else { return pod.is_terminal() };
    pod.is_terminal() || pod.node.is_none() || seconds_between(deletion.at, now) >= HELD_SECONDS
}

/// Until when the kubelet's last word on a terminal pod is worth waiting for; `None` when it has said it, or will not.
///
/// A busy kubelet publishes the phase with the container states of a moment before, and the end of the main container,
/// with its exit code and report, in an update of its own right after.
pub(super) fn last_word_due(attempt: &CurrentAttempt, pod: &PodFacts, now: Timestamp) -> Option<Timestamp> {
    let is_lost = pod.disruption.as_ref().is_some_and(|disruption| disruption.reason == "DeletionByPodGC");
    // The end of an agent beside it has never been seen to come later; of a pod that the kubelet evicted, nothing more comes.
    let is_agent_due = pod.agent.as_ref().is_some_and(|agent| !agent.has_ended) && !is_evicted_by_kubelet(pod);
    if !pod.is_terminal() || (running_since(pod).is_none() && !is_agent_due) || is_lost {
        return None;
    }
    let stopping_began = [
        attempt.stop.as_ref().map(|stop| stop.request_time),
        pod.disruption.as_ref().map(|disruption| disruption.at),
        pod.deletion.map(|deletion| deletion.at),
        pod.deadline(),
        unready_since(pod).filter(|_| is_evicted_by_kubelet(pod)),
    ];
    let stopping_began = stopping_began.into_iter().flatten().filter(|began| *began <= now).max()?;
    Some(after(stopping_began, pod.grace.saturating_add(LAST_WORD_SECONDS))).filter(|due| *due > now)
}

/// How an attempt ended; `pod` is none when it is gone, `live` is what its agent has posted last. `shown` is the last reason
/// of `Blocked`: a deleted pod no longer has it.
pub(super) fn ending(
    attempt: &CurrentAttempt,
    pod: Option<&PodFacts>,
    live: Option<&LiveReport>,
    segment: &Segment,
    shown: Option<&Cause>,
    now: Timestamp,
) -> Ending {
    let left = pod.and_then(recorded_end);
    let end = left.filter(|end| end.reason != LOST_BY_RUNTIME);
    let words = LastWords::of(attempt, pod, live);
    let report = words.report(left);
    let is_result_lost = words.is_result_lost();
    let facts = Facts { attempt, pod, end, report: &report, is_result_lost, segment, shown };
    let Classified { outcome, reason } = facts.classify();
    let started_at = left.and_then(|end| end.started_at).or(attempt.started_at).or_else(|| pod.and_then(running_since));
    Ending {
        outcome,
        reason,
        exit_code: end.map(|end| end.exit_code),
        started_at,
        finished_at: left.and_then(|end| end.finished_at).unwrap_or_else(|| facts.presumed_end(started_at, now)),
        words: facts.words(outcome),
        checkpoint_time: words.checkpoint_time(),
        save: words.save().cloned(),
        report,
    }
}

/// What the main container left behind, unless the kubelet made it up.
fn recorded_end(pod: &PodFacts) -> Option<&ContainerEnd> {
    match &pod.main {
        MainContainer::Ended(end) if end.reason != kubelet::STATUS_UNKNOWN => Some(end),
        MainContainer::Ended(_) | MainContainer::Waiting | MainContainer::Running { .. } => None,
    }
}

fn running_since(pod: &PodFacts) -> Option<Timestamp> {
    match pod.main {
        MainContainer::Running { since } => Some(since),
        MainContainer::Waiting | MainContainer::Ended(_) => None,
    }
}

/// A row of the table: how an attempt ended, with the reason where the outcome alone does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Classified {
    outcome: Outcome,
    reason: Option<AttemptReason>,
}

impl Classified {
    fn of(outcome: Outcome, reason: AttemptReason) -> Self {
        Self { outcome, reason: Some(reason) }
    }

    fn plain(outcome: Outcome) -> Self {
        Self { outcome, reason: None }
    }
}

struct Facts<'a> {
    attempt: &'a CurrentAttempt,
    pod: Option<&'a PodFacts>,
    /// How the main container ended, if that is known.
    end: Option<&'a ContainerEnd>,
    report: &'a Report,
    /// The program has reported a result that did not reach the operator.
    is_result_lost: bool,
    segment: &'a Segment,
    shown: Option<&'a Cause>,
}

impl Facts<'_> {
    /// How it ended. What was done in vain is not done: the next attempt reports its result again.
    fn classify(&self) -> Classified {
        let classified = self.by_table();
        let is_in_vain = classified.outcome == Outcome::Completed && self.is_result_lost;
        if is_in_vain { Classified::of(Outcome::Failed, AttemptReason::ResultLost) } else { classified }
    }

    /// The table: the first row that fits.
    fn by_table(&self) -> Classified {
        self.done()
            .or_else(|| self.permanent_error())
            .or_else(|| self.over_its_storage_limit())
            .or_else(|| self.ended_before_the_cut())
            .or_else(|| self.stopped_by_us())
            .or_else(|| self.never_ran())
            .or_else(|| self.interrupted())
            .or_else(|| self.out_of_time())
            .or_else(|| self.by_exit_code())
            .unwrap_or(Classified::of(Outcome::Interrupted, AttemptReason::Unknown))
    }

    /// The program said so, and its exit code agrees.
    fn done(&self) -> Option<Classified> {
        (self.report.done && self.end?.exit_code == 0).then_some(Classified::plain(Outcome::Completed))
    }

    fn permanent_error(&self) -> Option<Classified> {
        let permanent = self.report.error.as_ref().is_some_and(|error| error.permanent);
        (permanent && self.end?.exit_code != 0).then_some(Classified::of(Outcome::Failed, AttemptReason::Permanent))
    }

    /// An eviction without a disruption is the kubelet enforcing the pod's own limit of local storage.
    fn over_its_storage_limit(&self) -> Option<Classified> {
        let pod = self.pod?;
        let is_deleted = pod.deletion.is_some() && !has_ended_untouched(pod);
        let is_own_doing = pod.disruption.is_none() && !is_deleted && !pod.is_turned_away;
        (is_evicted_by_kubelet(pod) && self.has_run() && is_own_doing)
            .then_some(Classified::of(Outcome::Failed, AttemptReason::Evicted))
    }

    fn ended_before_the_cut(&self) -> Option<Classified> {
        let finished_at = self.end?.finished_at?;
        if self.has_run() && finished_at < self.cut()? { self.by_exit_code() } else { None }
    }

    fn stopped_by_us(&self) -> Option<Classified> {
        let reason = self.attempt.stop.as_ref()?.reason;
        match reason {
            StopReason::StartTimeout => Some(self.not_started(AttemptReason::StartTimeout)),
            StopReason::SchedulingTimeout => Some(self.not_started(AttemptReason::SchedulingTimeout)),
            // Asked for only when nothing else was stopping the pod, except that the kubelet tells of its own evictions
            // at the very end.
            StopReason::MainEnded if self.pod.is_some_and(|pod| pod.disruption.is_some()) => None,
            StopReason::MainEnded => self.by_exit_code(),
            StopReason::TimeLimit => Some(self.cut_by_time()),
            StopReason::Suspend | StopReason::Cancel | StopReason::Limit | StopReason::Outdated => {
                Some(Classified::of(Outcome::Stopped, AttemptReason::Stop(reason)))
            }
            StopReason::Hung => Some(Classified::of(Outcome::Failed, AttemptReason::Hung)),
        }
    }

    /// By what was shown to keep it from starting, or else by the time that it took. One that ran after all has used up its
    /// time: while a postStart hook lasts, the kubelet does not say that the container runs.
    fn not_started(&self, otherwise: AttemptReason) -> Classified {
        if self.has_run() {
            return Classified::of(Outcome::TimeLimit, otherwise);
        }
        let shown = self.shown.and_then(|shown| kubelet::start_reason(&shown.reason));
        Classified::of(Outcome::StartFailed, shown.unwrap_or(otherwise))
    }

    fn has_not_started_in_time(&self) -> bool {
        let stop = self.attempt.stop.as_ref().map(|stop| stop.reason);
        matches!(stop, Some(StopReason::StartTimeout | StopReason::SchedulingTimeout))
    }

    fn never_ran(&self) -> Option<Classified> {
        if self.has_run() {
            return None;
        }
        let Some(pod) = self.pod else { return Some(Classified::of(Outcome::Interrupted, AttemptReason::Deleted)) };
        if let Some(interruption) = interruption(pod) {
            return Some(Classified::of(Outcome::Interrupted, interruption));
        }
        let refused = pod.words.as_ref().and_then(|words| kubelet::refused(words, pod.is_turned_away));
        let (outcome, reason) = refused
            .or_else(|| self.store_did_not_answer())
            .unwrap_or_else(|| (Outcome::StartFailed, self.start_failure(pod)));
        Some(Classified::of(outcome, reason))
    }

    /// What was stored there is there still: it is waited for, as for a node.
    fn store_did_not_answer(&self) -> Option<(Outcome, AttemptReason)> {
        let reason = self.failed_init()?.words.reason.parse().ok();
        (reason == Some(AttemptReason::StoreUnreachable))
            .then_some((Outcome::Interrupted, AttemptReason::StoreUnreachable))
    }

    fn interrupted(&self) -> Option<Classified> {
        let Some(pod) = self.pod else { return Some(Classified::of(Outcome::Interrupted, AttemptReason::Deleted)) };
        let lost = || turned_away_again(pod).unwrap_or(AttemptReason::Unknown);
        let reason = interruption(pod).or_else(|| self.end.is_none().then(lost))?;
        Some(Classified::of(Outcome::Interrupted, reason))
    }

    fn out_of_time(&self) -> Option<Classified> {
        is_out_of_time(self.pod?).then(|| self.cut_by_time())
    }

    fn cut_by_time(&self) -> Classified {
        Classified { outcome: Outcome::TimeLimit, reason: self.attempt.cut_by.map(AttemptReason::Limit) }
    }

    fn by_exit_code(&self) -> Option<Classified> {
        let end = self.end?;
        Some(match end.exit_code {
            // Before the reason: the out-of-memory kill of a child process can leave exit code 0.
            0 => Classified::plain(Outcome::Completed),
            code if self.segment.continue_exit_codes.contains(&code) => Classified::plain(Outcome::Yielded),
            _ if end.reason == "OOMKilled" => Classified::of(Outcome::Failed, AttemptReason::OOMKilled),
            _ => Classified::of(Outcome::Failed, AttemptReason::Error),
        })
    }

    fn cut(&self) -> Option<Timestamp> {
        Cut { attempt: self.attempt, pod: self.pod?, end: self.end }.moment()
    }

    fn has_run(&self) -> bool {
        self.attempt.started_at.is_some() || self.pod.is_some_and(PodFacts::has_main_run)
    }

    /// The init container that failed by itself, and was not ended with the pod.
    fn failed_init(&self) -> Option<&FailedInit> {
        let failed = self.pod?.failed_init.as_ref()?;
        let is_first = failed.finished_at.zip(self.cut()).is_none_or(|(finished, cut)| finished < cut);
        is_first.then_some(failed)
    }

    /// When an attempt whose end nobody saw is taken to have ended: at the cut, after its slice and grace at the most.
    fn presumed_end(&self, started_at: Option<Timestamp>, now: Timestamp) -> Timestamp {
        let end = self.cut().unwrap_or(now).min(now);
        let Some(started_at) = started_at else { return end };
        let slice = self.pod.and_then(|pod| pod.segment_seconds).unwrap_or(self.segment.duration.as_secs());
        let latest = after(started_at, slice.saturating_add(self.segment.grace_period.as_secs()));
        end.min(latest).max(started_at)
    }

    fn words(&self, outcome: Outcome) -> String {
        let program = || {
            let said = self.report.error.as_ref().and_then(|error| error.message.clone());
            said.unwrap_or_else(|| self.report.text.clone())
        };
        let shown = self.shown.filter(|_| self.has_not_started_in_time()).map(told);
        let cluster = || shown.or_else(|| self.pod.map(|pod| self.cluster_words(pod))).unwrap_or_default();
        if self.is_result_lost && self.by_table().outcome == Outcome::Completed {
            return "the program ended well, and its result did not reach the operator: the next attempt has to report it again"
                .into();
        }
        match outcome {
            Outcome::Completed | Outcome::TimeLimit | Outcome::Yielded | Outcome::Stopped => String::new(),
            Outcome::StartFailed | Outcome::Interrupted => {
                Some(cluster()).filter(|w| !w.is_empty()).unwrap_or_else(program)
            }
            Outcome::Failed => Some(program()).filter(|words| !words.is_empty()).unwrap_or_else(cluster),
        }
    }

    /// The reason of a start that failed, from the container that decided.
    fn start_failure(&self, pod: &PodFacts) -> AttemptReason {
        let container = match &pod.main {
            MainContainer::Ended(end) if end.reason != kubelet::STATUS_UNKNOWN => Some(&end.reason),
            MainContainer::Ended(_) | MainContainer::Waiting | MainContainer::Running { .. } => None,
        };
        let init = self.failed_init().map(|failed| &failed.words);
        let words = init.or(pod.trouble.as_ref()).or(pod.words.as_ref()).map(|words| &words.reason);
        container.or(words).and_then(|reason| kubelet::start_reason(reason)).unwrap_or(AttemptReason::StartError)
    }

    /// The cluster's own words on the end: of the container that decided, never of one that was stopped with the pod.
    fn cluster_words(&self, pod: &PodFacts) -> String {
        let lost = "the container runtime lost track of it: its node has probably booted again".to_owned();
        let container = match &pod.main {
            MainContainer::Ended(end) if end.reason == LOST_BY_RUNTIME => Some(lost),
            MainContainer::Ended(end) if end.started_at.is_none() && end.reason != kubelet::STATUS_UNKNOWN => {
                Some(kubelet::told(&end.reason, &end.message))
            }
            MainContainer::Ended(_) | MainContainer::Waiting | MainContainer::Running { .. } => None,
        };
        // What kept it from starting says nothing about the end of a program that ran.
        let before = |words: Option<&Cause>| words.filter(|_| !self.has_run()).map(told);
        let sources = [
            pod.disruption.as_ref().map(|disruption| disruption.message.clone()),
            container,
            before(self.failed_init().map(|failed| &failed.words)),
            before(pod.trouble.as_ref()),
            before(self.shown.filter(|_| is_out_of_time(pod))),
            before(pod.unscheduled.as_ref()),
            pod.words.as_ref().map(told),
        ];
        sources.into_iter().flatten().find(|words| !words.is_empty()).unwrap_or_default()
    }
}

/// The cluster's words, with its reason where that has no name of ours.
fn told(words: &Cause) -> String {
    if waits::is_stage(&words.reason) { words.message.clone() } else { kubelet::told(&words.reason, &words.message) }
}

/// Who took the pod away, if somebody did.
fn interruption(pod: &PodFacts) -> Option<AttemptReason> {
    if has_ended_untouched(pod) {
        return None;
    }
    match &pod.disruption {
        Some(disruption) => Some(match disruption.reason.as_str() {
            "PreemptionByScheduler" | "WorkloadEvictedDueToPreempted" => AttemptReason::Preempted,
            "DeletionByPodGC" => AttemptReason::NodeLost,
            _ => AttemptReason::Evicted,
        }),
        None => pod.deletion.map(|_| AttemptReason::Deleted),
    }
}

/// What it means that a kubelet which has started again refuses a pod that ran there: whatever it says, the pod fitted.
fn turned_away_again(pod: &PodFacts) -> Option<AttemptReason> {
    let words = pod.words.as_ref().filter(|_| pod.is_turned_away)?;
    let (outcome, reason) = kubelet::refused(words, true)?;
    Some(if outcome == Outcome::Interrupted { reason } else { AttemptReason::Rejected })
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;
    use serde_json::{Value, json};

    use super::*;

    fn at(time: &str) -> Timestamp {
        format!("2026-11-24T{time}Z").parse().expect("a time")
    }

    /// Stopped at its deadline, 10:00:10, with a grace of 5 seconds.
    fn terminal_pod(main: &Value, conditions: &Value) -> PodFacts {
        let pod = json!({
            "metadata": {
                "name": "t-1", "uid": "p", "labels": { "longtask.dev/task-uid": "t", "longtask.dev/attempt": "1" },
            },
            "spec": { "containers": [], "activeDeadlineSeconds": 10, "terminationGracePeriodSeconds": 5 },
            "status": {
                "phase": "Failed", "reason": "DeadlineExceeded", "startTime": "2026-11-24T10:00:00Z",
                "conditions": conditions,
                "containerStatuses": [{
                    "name": "main", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": main,
                }],
            },
        });
        PodFacts::of(&serde_json::from_value::<Pod>(pod).expect("a pod")).expect("one of ours")
    }

    fn attempt() -> CurrentAttempt {
        let attempt = json!({
            "number": 1, "segment": 1, "state": "Running", "podName": "t-1", "generation": 1,
            "creationTime": "2026-11-24T10:00:00Z",
        });
        serde_json::from_value(attempt).expect("an attempt")
    }

    #[test]
    fn the_kubelets_last_word_is_waited_for_but_not_for_ever() {
        let running = json!({ "running": { "startedAt": "2026-11-24T10:00:01Z" } });
        let pod = terminal_pod(&running, &json!([]));
        assert_eq!(last_word_due(&attempt(), &pod, at("10:00:12")), Some(at("10:00:35")));
        assert_eq!(last_word_due(&attempt(), &pod, at("10:00:35")), None, "the kubelet may be gone");
        assert!(pod.lacks_last_word());
        let ended = json!({ "terminated": { "exitCode": 75, "finishedAt": "2026-11-24T10:00:11Z" } });
        assert!(!terminal_pod(&ended, &json!([])).lacks_last_word());
        assert_eq!(last_word_due(&attempt(), &terminal_pod(&ended, &json!([])), at("10:00:12")), None, "said");
        let lost = json!([{
            "type": "DisruptionTarget", "status": "True", "reason": "DeletionByPodGC",
            "lastTransitionTime": "2026-11-24T10:00:12Z",
        }]);
        assert_eq!(last_word_due(&attempt(), &terminal_pod(&running, &lost), at("10:00:12")), None, "no node, no word");
    }

    #[test]
    fn a_requested_stop_gives_the_kubelet_time_from_the_request() {
        let stop = crate::api::task::RequestedStop { reason: StopReason::Suspend, request_time: at("10:20:00") };
        let stopped = CurrentAttempt { stop: Some(stop), ..attempt() };
        let pod = terminal_pod(&json!({ "running": { "startedAt": "2026-11-24T10:00:01Z" } }), &json!([]));
        assert_eq!(last_word_due(&stopped, &pod, at("10:20:02")), Some(at("10:20:25")));
    }
}
