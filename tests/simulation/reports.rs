//! What is asked of an operator that takes reports: it takes each from the pod that is at work, once, and for no more than it
//! says; nobody is stopped for want of one; and no result gets lost on its way.

use std::collections::{BTreeMap, BTreeSet};

use longtask::{
    api::task::{AttemptState, ConditionType, CurrentAttempt, LongTaskStatus, Phase, StopReason},
    contract::agent::Post,
    task::controller::{PodIdentity, Verdict},
    types::{GoDuration, find_condition, time::seconds_between},
};
use serde_json::Value;

use crate::{
    judge::number,
    kubelet::{Main, PodLife},
    mail::Word,
    objects::Kind,
    saves::place_of,
    troubles::TASK,
    world::World,
};

/// How much of a second the times of a status can be off, in milliseconds.
const ROUNDING: u64 = 1100;
/// How old the agent's word can be by which a program is stopped, beside the time until the next one, in milliseconds.
const OLDEST_WORD: u64 = 30_000 + ROUNDING;

/// The shortest time after which reports can be said to be missing again, in seconds.
const SAID_AGAIN_AFTER: i64 = 59;

/// What has been seen of reports.
#[derive(Default)]
pub(crate) struct Reports {
    /// The newest word of each pod that each process has, by slot, process and UID.
    heard: BTreeMap<(usize, u32, String), Heard>,
    /// The checkpoints that were recorded, by the task's UID, the attempt and what is in them.
    recorded: BTreeSet<(String, i64, u64)>,
}

/// A word as it came.
struct Heard {
    post: Post,
    at: u64,
}

/// Who writes a status: slot and process.
pub(crate) type Writer = (usize, u32);

impl World {
    /// An agent has looked at what its program says.
    pub(crate) fn judge_look(&mut self, uid: &str, silent: i64) {
        let now = self.now();
        let Some(life) = self.lives.get(uid) else { return };
        let since = life.agent.as_ref().and_then(|agent| agent.file.last_sign).unwrap_or(0);
        let is_silent_for = (now - since) / 1000;
        if silent > i64::try_from(is_silent_for).expect("not that long") + 1 {
            let name = life.name.clone();
            self.accuse(format!("I12: {name} is called silent for {silent}s, and is for {is_silent_for}s"));
        }
    }

    /// An operator has answered a post.
    pub(crate) fn hear(&mut self, slot: usize, pod: &PodIdentity, post: &Post, verdict: &Verdict) {
        let (at, process) = (self.now(), self.slots[slot].process);
        match verdict {
            Verdict::Accepted(_) | Verdict::Stale(_) => {
                let place = (slot, process, pod.uid.clone());
                let is_newest = self.judge.reports.heard.get(&place).is_none_or(|known| is_as_new(post, &known.post));
                if is_newest {
                    self.judge.reports.heard.insert(place, Heard { post: post.clone(), at });
                }
            }
            Verdict::Superseded => {
                if let Some(agent) = self.lives.get_mut(&pod.uid).and_then(|life| life.agent.as_mut()) {
                    agent.is_told_off = true;
                }
            }
            Verdict::UnknownPod | Verdict::Refused | Verdict::Malformed | Verdict::Busy => {}
        }
    }

    /// What the process in a slot has heard of a pod last, and how many seconds ago.
    pub(crate) fn last_heard(&self, slot: usize, uid: &str) -> Option<(Post, i64)> {
        let heard = self.judge.reports.heard.get(&(slot, self.slots[slot].process, uid.to_owned()))?;
        Some((heard.post.clone(), i64::try_from((self.now() - heard.at) / 1000).expect("not that long")))
    }

    /// Somebody writes an older status over this one: what was written after it was not.
    pub(crate) fn forget_reports(&mut self, task_uid: &str) {
        self.judge.reports.recorded.retain(|(uid, ..)| uid != task_uid);
    }

    /// A status is being written, in the same run as before.
    pub(crate) fn judge_reports(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus, by: Writer) {
        self.judge_reporter(uid, before, after);
        self.judge_gain(uid, before, after);
        self.judge_costs(before, after);
        self.judge_hang(before, after, by);
        self.judge_result(uid, before, after);
        let is_told_off = |life: &&PodLife| life.agent.as_ref().is_some_and(|agent| agent.is_told_off);
        if let Some(attempt) = live(after)
            && let Some(told_off) = attempt.pod_uid.as_ref().and_then(|uid| self.lives.get(uid)).filter(is_told_off)
            && matches!(told_off.main, Main::Running { .. })
        {
            self.accuse(format!("I10: {} is told to post no more, and its attempt is under way", told_off.name));
        }
    }

    /// What changes by a report changes by one of the attempt that was under way.
    fn judge_reporter(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        let reporter = |status: &LongTaskStatus| status.progress.as_ref().and_then(|progress| progress.message.clone());
        let finder = |status: &LongTaskStatus| {
            status.result.as_ref().and_then(|result| result["by"].as_str().map(str::to_owned))
        };
        for (what, old, new) in
            [("progress", reporter(before), reporter(after)), ("result", finder(before), finder(after))]
        {
            let Some(new) = new.filter(|new| old.as_ref() != Some(new)) else { continue };
            let is_current = self.lives.get(&new).is_some_and(|life| {
                life.task_uid == uid
                    && life.attempt == number(before)
                    && live(before).is_some_and(|attempt| attempt.pod_uid.as_ref().is_none_or(|known| *known == new))
            });
            if !is_current {
                self.accuse(format!("I10: {what} is that of {new}, and attempt {} is under way", number(before)));
            }
        }
    }

    /// What is new is new once.
    fn judge_gain(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        let of_checkpoint = |status: &LongTaskStatus| status.checkpoint.as_ref().map_or(0, |one| one.sequence);
        let sequence = |status: &LongTaskStatus| status.checkpoint_sequence.max(of_checkpoint(status));
        let (old, new) = (sequence(before), sequence(after));
        // What an attempt has adopted is recorded when it is seen to run, and that may be with what it has saved itself.
        let may_adopt = self.mail.has_store && live(before).is_some_and(|attempt| attempt.started_at.is_none());
        if new > old + 1 + i64::from(may_adopt) {
            self.accuse(format!("I11: one write counts the checkpoints from {old} to {new}"));
        }
        let recorded = after.checkpoint.as_ref().filter(|_| new > old);
        let place = recorded.and_then(|checkpoint| Some((checkpoint.attempt, place_of(checkpoint)?)));
        if let Some((attempt, place)) = place
            && !self.judge.reports.recorded.insert((uid.to_owned(), attempt, place))
        {
            self.accuse(format!("I11: checkpoint {place} of attempt {attempt} is recorded twice"));
        }
        let mark = |status: &LongTaskStatus| status.run.high_water;
        let progress_time =
            |status: &LongTaskStatus| live(status).and_then(|attempt| attempt.report.clone()?.progress_time);
        let is_same_attempt = number(before) == number(after);
        let has_progressed = progress_time(after).is_some() && progress_time(before) != progress_time(after);
        if is_same_attempt && has_progressed && mark(after) <= mark(before) {
            self.accuse(format!("I11: progress is counted at {:?}, as before", mark(after)));
        }
        let revision =
            |status: &LongTaskStatus| live(status).and_then(|attempt| Some(attempt.report.as_ref()?.revision));
        if is_same_attempt && live(after).is_some() && revision(after) < revision(before) {
            self.accuse(format!("I11: report {:?} follows {:?}", revision(after), revision(before)));
        }
        let moved_on = mark(after) > mark(before) || progress_time(before).is_some() || has_progressed;
        if !moved_on && sets_back(before, after) {
            self.accuse(format!(
                "I11: counters are set back without progress: {:?} {:?}",
                before.consecutive, after.consecutive
            ));
        }
    }

    /// Reports cost a write when they say something new, and not more often than the user wants.
    fn judge_costs(&mut self, before: &LongTaskStatus, after: &LongTaskStatus) {
        let (Some(was), Some(is)) = (live(before), live(after)) else { return };
        if was.number != is.number {
            return;
        }
        if let Some(seconds) = said_again_after(before, after, is).filter(|seconds| *seconds < SAID_AGAIN_AFTER)
            && !self.weather.has_wrong_clocks
        {
            self.accuse(format!("I8: reports are said to be missing {seconds}s after they were said not to be"));
        }
        if was.report == is.report {
            return;
        }
        let news =
            |status: &LongTaskStatus| (status.progress.clone(), status.checkpoint.clone(), status.result.clone());
        if news(before) == news(after) {
            self.accuse("I8: a status is written for a report that says nothing new".to_owned());
        }
        let interval = self.of_spec("reporting", "interval").and_then(|interval| interval.try_into().ok()).unwrap_or(0);
        let since_last = was.report.as_ref().zip(is.report.as_ref());
        let since_last = since_last.map(|(last, this)| seconds_between(last.record_time, this.record_time));
        if let Some(seconds) = since_last.filter(|seconds| *seconds < interval)
            && !self.weather.has_wrong_clocks
        {
            self.accuse(format!("two writes for reports within {seconds}s, the interval is {interval}s"));
        }
    }

    /// Only an agent that speaks, and says that its program is silent, is evidence of a hang.
    fn judge_hang(&mut self, before: &LongTaskStatus, after: &LongTaskStatus, (slot, process): Writer) {
        let is_hung =
            |attempt: &&CurrentAttempt| attempt.stop.as_ref().is_some_and(|stop| stop.reason == StopReason::Hung);
        if live(before).is_some_and(|attempt| is_hung(&attempt)) {
            return;
        }
        let Some(pod) = live(after).filter(is_hung).and_then(|attempt| attempt.pod_uid.clone()) else { return };
        let Some(timeout) = self.of_spec("segment", "heartbeatTimeout") else {
            return self.accuse("I12: a program is stopped for a silence that it may keep".to_owned());
        };
        let keep_alive = (timeout / 4).clamp(5, 300) * 1000;
        let now = self.now();
        let Some(Heard { post, at }) = self.judge.reports.heard.get(&(slot, process, pod.clone())) else {
            return self.accuse("I12: a program is stopped of whose agent nobody has heard".to_owned());
        };
        let allowed = i64::try_from(timeout).expect("short").max(post.quiet_seconds.unwrap_or(0));
        let (silent, age) = (post.silent_seconds, now - at);
        if silent < allowed {
            return self.accuse(format!(
                "I12: a program is stopped that was silent for {silent}s, {age} ms ago, and may be for {allowed}s"
            ));
        }
        if self.weather.has_wrong_clocks {
            return;
        }
        if age > keep_alive + OLDEST_WORD {
            self.accuse(format!("I12: a program is stopped for what its agent said {age} ms ago"));
        }
        let ran = match self.lives.get(&pod).map(|life| &life.main) {
            Some(Main::Running { since }) => now - since,
            _ => return,
        };
        if ran + ROUNDING < timeout * 1000 {
            self.accuse(format!("I12: a program is stopped as silent that has run for {ran} ms"));
        }
    }

    /// A task succeeds with the result that its agent knew, if that has told of it.
    fn judge_result(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        if after.phase != Some(Phase::Succeeded) || before.phase == after.phase {
            return;
        }
        let lives = self.lives.values().filter(|life| life.task_uid == uid && life.attempt == number(before));
        let Some(agent) = lives.max_by_key(|life| life.serial).and_then(|life| life.agent.as_ref()) else { return };
        let is_told = agent.is_word_told && agent.luck.word != Word::Absent;
        let (known, recorded) = (agent.knows.result.clone(), after.result.clone());
        if is_told && known.is_some() && recorded != known {
            let size = |result: Option<Value>| result.map(|result| result.to_string().len());
            let (known, recorded) = (size(known), size(recorded));
            self.accuse(format!(
                "I14: the task succeeds with a result of {recorded:?} bytes, its agent knew {known:?}"
            ));
        }
    }

    /// A number of seconds of the task's specification.
    fn of_spec(&self, part: &str, field: &str) -> Option<u64> {
        let value = &self.store.get(Kind::Task, TASK)?["spec"][part][field];
        let duration: GoDuration = value.as_str()?.parse().ok()?;
        u64::try_from(duration.as_secs()).ok()
    }
}

/// The attempt under way.
fn live(status: &LongTaskStatus) -> Option<&CurrentAttempt> {
    let is_live = |attempt: &&CurrentAttempt| !matches!(attempt.state, AttemptState::Ended | AttemptState::Withdrawn);
    status.current_attempt.as_ref().filter(is_live)
}

/// After how many seconds the status says again of an attempt that its reports are missing, if that is what it says now.
fn said_again_after(before: &LongTaskStatus, after: &LongTaskStatus, attempt: &CurrentAttempt) -> Option<i64> {
    let of = |status: &LongTaskStatus, holds: &str| {
        let missing = find_condition(&status.conditions, ConditionType::ReportsMissing)?;
        Some(missing.last_transition_time.0).filter(|_| missing.status == holds)
    };
    let taken_back = of(before, "False").filter(|at| attempt.started_at.is_some_and(|started_at| *at > started_at))?;
    Some(seconds_between(taken_back, of(after, "True")?))
}

/// Whether counters go back.
fn sets_back(before: &LongTaskStatus, after: &LongTaskStatus) -> bool {
    let (old, new) = (&before.consecutive, &after.consecutive);
    [
        (old.failures, new.failures),
        (old.stalls, new.stalls),
        (old.start_failures, new.start_failures),
        (old.interruptions, new.interruptions),
    ]
    .into_iter()
    .any(|(old, new)| new < old)
}

/// Whether progress while an attempt runs has set the counters back, and changed nothing else of what is counted.
pub(crate) fn are_set_back_by_progress(before: &LongTaskStatus, after: &LongTaskStatus) -> bool {
    let progress_time =
        |status: &LongTaskStatus| live(status).and_then(|attempt| attempt.report.clone()?.progress_time);
    let others = |status: &LongTaskStatus| (status.totals.clone(), status.retries, status.active_seconds);
    progress_time(after).is_some() && progress_time(after) != progress_time(before) && others(before) == others(after)
}

/// Whether a post is at least as new as another one of the same pod.
fn is_as_new(post: &Post, than: &Post) -> bool {
    (post.revision, post.number) >= (than.revision, than.number)
}
