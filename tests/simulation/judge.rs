//! The invariants, asked at every step.

use std::collections::{BTreeMap, BTreeSet};

use longtask::{
    api::task::{AttemptReason, AttemptState, ConditionType, CurrentAttempt, LongTaskStatus, Outcome, Phase},
    types::find_condition,
};
use serde_json::Value;

use crate::{
    kstatus::breach,
    kubelet::{Main, Node, PodLife, StopCause},
    mail::Word,
    objects::{Kind, has_finalizers, is_going, is_terminal},
    program::End,
    refusals::Refusals,
    reports::{Reports, Writer, are_set_back_by_progress},
    saves::{Saves, falls_back, place_of},
    world::{World, second_of},
};

/// The most bytes of a status beside its result, I9.
const LARGEST_STATUS: usize = 10_000;
/// So many writes of one object in a row that change nothing are too many, I8. Some are right: a plan that creates a pod writes
/// the status even when it has not changed, and a step whose answer got lost is taken again.
const TOO_MANY_IDLE_WRITES: u32 = 15;

/// What has been seen, by the UID of the task.
#[derive(Default)]
pub(crate) struct Judge {
    records: BTreeMap<String, Record>,
    /// Pods that somebody vouched for when their attempt was counted: their node may come back afterwards.
    vouched_for: BTreeSet<String>,
    /// By object.
    idle_writes: BTreeMap<String, u32>,
    news: u64,
    pub(crate) refusals: Refusals,
    pub(crate) reports: Reports,
    pub(crate) saves: Saves,
    /// How many writes the operators have sent, leases aside.
    pub(crate) writes: u64,
}

#[derive(Default)]
struct Record {
    created: BTreeSet<i64>,
    counted: BTreeSet<i64>,
    withdrawn: BTreeSet<i64>,
    /// The latest attempt that the status knew before somebody wrote an older one over it.
    forgotten: i64,
    /// How many pods there had been by then: what those report may be older than what was written.
    pods_before: u64,
}

impl World {
    /// A write of an operator on this object was answered.
    pub(crate) fn judge_write(&mut self, object: String, code: u16) {
        self.judge.writes += 1;
        let is_idle = code < 300 && self.judge.news == self.store.news;
        self.judge.news = self.store.news;
        if !is_idle {
            return self.judge.idle_writes.clear();
        }
        let idle_writes = self.judge.idle_writes.entry(object).or_default();
        *idle_writes += 1;
        if *idle_writes > TOO_MANY_IDLE_WRITES {
            self.accuse(format!("I8: {TOO_MANY_IDLE_WRITES} writes in a row changed nothing"));
        }
    }

    /// A pod is being created.
    pub(crate) fn judge_create(&mut self, life: &PodLife) {
        let attempt = life.attempt;
        let task = self.store.all(Kind::Task).find(|task| task["metadata"]["uid"] == life.task_uid.as_str());
        let recorded = task.map(|task| status_of(task).current_attempt.map_or(0, |current| current.number));
        let forgotten = self.judge.records.get(&life.task_uid).map_or(0, |record| record.forgotten);
        if recorded.is_some_and(|recorded| recorded.max(forgotten) < attempt) {
            self.accuse(format!("I2: attempt {attempt} is created before it is recorded"));
        }
        let record = self.judge.records.entry(life.task_uid.clone()).or_default();
        let is_new = record.created.insert(attempt);
        if attempt <= record.forgotten {
            record.withdrawn.insert(attempt);
        } else if !is_new {
            self.accuse(format!("I2: attempt {attempt} is created twice"));
        }
    }

    /// A main container starts.
    pub(crate) fn judge_start(&mut self, uid: &str, life: &PodLife) {
        let others = self.lives.iter().filter(|(other, one)| {
            *other != uid && one.task_uid == life.task_uid && one.is_running() && one.node != Node::Lost
        });
        let is_dead =
            |uid: &str, one: &PodLife| self.is_presumed_dead(uid, one) || self.judge.vouched_for.contains(uid);
        let others: Vec<_> = others.filter(|(uid, one)| !is_dead(uid, one)).map(|(_, one)| &one.name).collect();
        if life.is_running()
            && let Some(other) = others.first()
        {
            self.accuse(format!("I1: {} runs while {other} does", life.name));
        }
    }

    /// Deleted by force while nobody could tell what it does: whoever does that vouches for its end.
    fn is_presumed_dead(&self, uid: &str, life: &PodLife) -> bool {
        let is_forced = self
            .store
            .pod_by_uid(uid)
            .is_none_or(|pod| is_going(pod) && pod["metadata"]["deletionGracePeriodSeconds"] == 0 || is_terminal(pod));
        life.node != Node::Works && is_forced
    }

    /// A status is being written by an operator whose clock is ahead by that many milliseconds.
    pub(crate) fn judge_status(&mut self, before: &Value, after: &Value, ahead: i64, by: Writer) {
        let size = after["status"].to_string().len() - after["status"]["result"].to_string().len();
        if size > LARGEST_STATUS {
            self.accuse(format!("I9: the status has {size} bytes"));
        }
        let uid = before["metadata"]["uid"].as_str().expect("a UID").to_owned();
        let generation = before["metadata"]["generation"].as_i64();
        let (before, after) = (status_of(before), status_of(after));
        if let Some(breach) = breach(&after, generation) {
            self.accuse(format!("I16: GitOps tools misread the status: {breach}"));
        }
        let is_same_run = before.run.number == after.run.number && before.run.restart_token == after.run.restart_token;
        self.judge_numbers(&uid, &before, &after);
        self.judge_counts(&uid, &before, &after, is_same_run);
        self.judge_blame(&uid, &after);
        self.note_who_is_vouched_for(&uid, &after);
        self.judge_named(&uid, &before, &after);
        if is_same_run {
            self.judge_checkpoint(&uid, &before, &after);
            self.judge_reports(&uid, &before, &after, by);
            self.judge_wait(&before, &after, ahead);
        }
        if before.phase.is_some_and(Phase::is_terminal)
            && before.run.number == after.run.number
            && (before.phase != after.phase || number(&before) != number(&after))
        {
            self.accuse(format!("I6: a task that had ended goes on, from {:?} to {:?}", before.phase, after.phase));
        }
        let is_done = || {
            let mut lives = self.lives.values().filter(|life| life.task_uid == uid);
            lives.any(|life| matches!(&life.main, Main::Ended(end) if end.is_done))
        };
        let is_certain = self.life_of(&uid, number(&after)).is_none_or(|life| self.is_certain(life));
        if is_certain && after.phase == Some(Phase::Succeeded) && before.phase != after.phase && !is_done() {
            self.accuse("the task succeeds although its program has not reached its end".to_owned());
        }
    }

    /// The pod of an attempt; the latest, where an older status was written back.
    fn life_of(&self, task_uid: &str, attempt: i64) -> Option<&PodLife> {
        let lives = self.lives.values().filter(|life| life.task_uid == task_uid && life.attempt == attempt);
        lives.max_by_key(|life| life.serial)
    }

    /// Somebody writes an older status over this one: what was counted counts no more, and the pods that it does not know
    /// of need not be counted.
    pub(crate) fn judge_write_back(&mut self, task: &Value) {
        let uid = task["metadata"]["uid"].as_str().expect("a UID").to_owned();
        self.forget_reports(&uid);
        let known = number(&status_of(task));
        let is_there = |life: &&PodLife| life.task_uid == uid && self.store.get(Kind::Pod, &life.name).is_some();
        let there: BTreeSet<_> = self.lives.values().filter(is_there).map(|life| life.attempt).collect();
        let pods_before = self.lives.len() as u64;
        let record = self.judge.records.entry(uid).or_default();
        record.pods_before = pods_before;
        record.forgotten = record.forgotten.max(known);
        record.counted.clear();
        record.withdrawn.extend(&there);
        record.created = there;
    }

    fn note_who_is_vouched_for(&mut self, task_uid: &str, status: &LongTaskStatus) {
        let counted = status.recent_attempts.first().map(|ended| ended.number);
        let counted = self.lives.iter().filter(|(_, one)| one.task_uid == task_uid && Some(one.attempt) == counted);
        let dead = counted.filter(|(uid, one)| one.is_running() && self.is_presumed_dead(uid, one));
        let dead: Vec<_> = dead.map(|(uid, _)| uid.clone()).collect();
        self.judge.vouched_for.extend(dead);
    }

    fn judge_numbers(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        let (old, new) = (number(before), number(after));
        if new < old {
            self.accuse(format!("I2: attempt {new} follows attempt {old}"));
        }
        let record = self.judge.records.entry(uid.to_owned()).or_default();
        if let Some(attempt) = after.current_attempt.as_ref().filter(|one| one.state == AttemptState::Withdrawn) {
            record.withdrawn.insert(attempt.number);
        }
        // Withdrawn and followed by another one in the same write.
        let is_unborn = |attempt: &&CurrentAttempt| matches!(attempt.state, AttemptState::Creating);
        if let Some(attempt) = before.current_attempt.as_ref().filter(is_unborn)
            && new > attempt.number
            && after.recent_attempts.first().is_none_or(|ended| ended.number != attempt.number)
        {
            record.withdrawn.insert(attempt.number);
        }
    }

    fn judge_counts(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus, is_same_run: bool) {
        let last = |status: &LongTaskStatus| status.recent_attempts.first().map(|ended| ended.number);
        if last(before) == last(after) {
            let counters = |status: &LongTaskStatus| {
                (
                    status.consecutive.clone(),
                    status.rule_counters.clone(),
                    status.totals.clone(),
                    status.retries,
                    status.active_seconds,
                )
            };
            let is_progress = are_set_back_by_progress(before, after);
            if is_same_run && counters(before) != counters(after) && !is_progress {
                self.accuse(format!(
                    "I5: counters change although nothing ended: {:?} {:?}",
                    counters(before),
                    counters(after)
                ));
            }
            return;
        }
        let Some(ended) = after.recent_attempts.first().cloned() else {
            return self.accuse("I4: the history of attempts is lost".to_owned());
        };
        // What never ran because of an edit or a pause is nobody's try.
        let is_a_try = ended.outcome != Outcome::Stopped || ended.started_at.is_some();
        if is_same_run && after.totals.attempts != before.totals.attempts + i64::from(is_a_try) {
            self.accuse(format!("I4: totals go from {} to {}", before.totals.attempts, after.totals.attempts));
        }
        let grows_by_more = after.consecutive.failures > before.consecutive.failures + 1
            || after.consecutive.stalls > before.consecutive.stalls + 1
            || after.consecutive.start_failures > before.consecutive.start_failures + 1
            || after.consecutive.interruptions > before.consecutive.interruptions + 1;
        if is_same_run && grows_by_more {
            self.accuse(format!(
                "I5: a budget shrinks by more than one: {:?} {:?}",
                before.consecutive, after.consecutive
            ));
        }
        let record = self.judge.records.entry(uid.to_owned()).or_default();
        if !record.counted.insert(ended.number) {
            self.accuse(format!("I4: attempt {} is counted twice", ended.number));
        }
        // What somebody has written an older status over may be counted once more, when its pod is gone.
        let is_known = self.judge.records.get(uid).is_none_or(|record| record.forgotten < ended.number);
        if let Some(life) = self.life_of(uid, ended.number).filter(|_| is_known).cloned() {
            self.judge_outcome(&life, ended.outcome, after);
        }
    }

    /// Whether an operator can know what came first, the program's exit or the request to stop. Two clocks do not tell
    /// when they differ; and the last delete of a pod overwrites the time of the request, so that a kubelet which has
    /// been away leaves no trace of it, nor of an eviction of its own that it had no time to publish. Of a deadline the
    /// kubelet tells, unless its node is lost before; but beside an agent it may have passed when the program had ended.
    fn is_certain(&self, life: &PodLife) -> bool {
        match life.stop.map(|stop| stop.by) {
            None => true,
            Some(StopCause::Deadline) => self.weather.nodes_ahead == 0 || (life.is_over() && life.agent.is_none()),
            Some(StopCause::Deletion | StopCause::Eviction) => self.weather.nodes_ahead == 0 && !life.was_away,
        }
    }

    /// Whether an attempt is counted as what it was, with what it left.
    fn judge_outcome(&mut self, life: &PodLife, outcome: Outcome, after: &LongTaskStatus) {
        let Main::Ended(end) = &life.main else { return };
        let is_certain = self.is_certain(life);
        let name = &life.name;
        match outcome {
            Outcome::Completed if !end.is_done && is_certain => {
                self.accuse(format!("{name} is counted as completed although it was only stopped"));
            }
            Outcome::Failed | Outcome::Yielded if !end.is_own && is_certain && !is_failed_by_us(after) => {
                self.accuse(format!("{name} is counted as {outcome} although it was told to stop"));
            }
            Outcome::Interrupted if end.since.is_some() && is_told_first(life) => {
                self.accuse(format!(
                    "{name} is counted as Interrupted although it had ended before anybody took it away"
                ));
            }
            _ => {}
        }
        let was_left_alone = life.stop.is_none_or(|stop| stop.by == StopCause::Deadline);
        let recorded = after.checkpoint.as_ref().and_then(place_of).unwrap_or(0);
        let left = checkpoint_left(life, end);
        if life.is_end_told && !life.was_told_late && was_left_alone && end.since.is_some() && recorded < left {
            self.accuse(format!("I4: {name} is counted without its checkpoint {left}"));
        }
    }

    /// A node that was well all the time is not blamed: to give it up would let two attempts run at once.
    fn judge_blame(&mut self, uid: &str, after: &LongTaskStatus) {
        let overdue = find_condition(&after.conditions, ConditionType::AttemptOverdue);
        let blames_node = overdue.is_some_and(|one| one.status == "True" && one.reason == "NodeNotResponding");
        let is_well = self.life_of(uid, number(after)).is_some_and(|life| !life.was_away);
        if blames_node && is_well {
            self.accuse("I15: a node is said to be silent that is well".to_owned());
        }
    }

    fn judge_checkpoint(&mut self, uid: &str, before: &LongTaskStatus, after: &LongTaskStatus) {
        let pods_before = self.judge.records.get(uid).map_or(0, |record| record.pods_before);
        if self.life_of(uid, number(before)).is_some_and(|life| life.serial < pods_before) {
            return;
        }
        let place = |status: &LongTaskStatus| {
            let checkpoint = status.checkpoint.as_ref();
            let position = checkpoint.and_then(place_of);
            (checkpoint.map_or(0, |checkpoint| checkpoint.sequence), position.unwrap_or(0))
        };
        let (old, new) = (place(before), place(after));
        let is_excused = falls_back(before, after) || (new.0 > old.0 && self.are_saves_mixed_up());
        if (new.0 < old.0 || new.1 < old.1) && !is_excused {
            self.accuse(format!("I3: the checkpoint goes back from {old:?} to {new:?}"));
        }
    }

    /// A delay that was drawn and recorded is kept, whoever works.
    fn judge_wait(&mut self, before: &LongTaskStatus, after: &LongTaskStatus, ahead: i64) {
        let has_ended = before.current_attempt.as_ref().is_some_and(|attempt| attempt.state == AttemptState::Ended);
        let now = second_of(self.now(), ahead);
        if let Some(next) = before.next_attempt_time
            && has_ended
            && number(after) > number(before)
            && next > now
            && !self.weather.has_wrong_clocks
        {
            self.accuse(format!("I5: attempt {} starts before {next}", number(after)));
        }
    }

    /// What must be so when all has come to rest.
    pub(crate) fn judge_rest(&mut self) {
        let task = self.store.all(Kind::Task).next().cloned().expect("the task");
        let uid = task["metadata"]["uid"].as_str().expect("a UID").to_owned();
        let record = self.judge.records.entry(uid).or_default();
        let uncounted: Vec<_> =
            record.created.difference(&record.counted).filter(|one| !record.withdrawn.contains(one)).copied().collect();
        if !uncounted.is_empty() {
            self.accuse(format!("I4: attempts {uncounted:?} were never counted"));
        }
        let held = self.store.all(Kind::Pod).find(|pod| has_finalizers(pod) || !is_terminal(pod));
        if let Some(name) = held.map(|pod| pod["metadata"]["name"].to_string()) {
            self.accuse(format!("I7: pod {name} is held or alive although nobody needs it"));
        }
        if find_condition(&status_of(&task).conditions, ConditionType::ReportsMissing)
            .is_some_and(|missing| missing.status == "True")
        {
            self.accuse("reports are said to be missing of a task that has ended".to_owned());
        }
        if let Some(message) = self.shown_refusal() {
            self.accuse(format!("I15: at rest the status tells of a refused write: {message}"));
        }
    }
}

/// The checkpoint that a program has left: in its termination message, or with its agent, if that has told of it.
fn checkpoint_left(life: &PodLife, end: &End) -> u64 {
    match &life.agent {
        None => end.checkpoint,
        Some(agent) if agent.is_word_told && agent.luck.word == Word::Whole => agent.checkpoint().unwrap_or(0),
        Some(_) => 0,
    }
}

/// Whether the attempt that ended last has failed although it was told to stop: it hung, or its result was lost.
fn is_failed_by_us(status: &LongTaskStatus) -> bool {
    let reasons = [AttemptReason::Hung, AttemptReason::ResultLost].map(|reason| reason.to_string());
    status.recent_attempts.first().is_some_and(|ended| reasons.contains(&ended.reason))
}

/// Whether the pod itself tells that its program had ended before its kubelet knew of any deletion.
fn is_told_first(life: &PodLife) -> bool {
    life.is_end_told_first && !life.was_told_late && life.has_generations() && !life.was_away && !life.is_evicted
}

pub(crate) fn status_of(task: &Value) -> LongTaskStatus {
    let status = &task["status"];
    if status.is_null() { LongTaskStatus::default() } else { serde_json::from_value(status.clone()).expect("a status") }
}

pub(crate) fn number(status: &LongTaskStatus) -> i64 {
    status.current_attempt.as_ref().map_or(0, |attempt| attempt.number)
}
