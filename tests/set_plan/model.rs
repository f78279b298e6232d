//! A model of a set's world: one set, a few members, two operators with readings of any age, writes by compare-and-swap, requests
//! that land late in any order, users who delete members, restart them by hand and give new tokens at any time. The plans are
//! the real ones, of the set and of its members.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use jiff::Timestamp;
use longtask::{
    api::{
        set::{LongTaskSet, parent_of},
        task::{AttemptState, LongTask, LongTaskStatus, Phase},
    },
    set::plan::{Facts, MemberPhase, ObservedSet, SetPlan, SetStep, plan as plan_set},
    task::plan::{Observed, Step, plan as plan_task},
};
use proptest::prelude::*;
use serde_json::json;

use crate::{dice::Dice, support::whole};

const COUNT: u32 = 6;
const PARALLEL: u32 = 2;
/// How many steps there is trouble, and how many more it may take to end.
const TROUBLE: usize = 700;
const PEACE: usize = 6000;

/// What is wrong with an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defect {
    /// It deletes members whatever has become of them since.
    DeletesWithoutVersion,
    /// It counts the active ones as its cache shows them.
    CountsFromTheCache,
    /// A member believes a set of a lower round.
    BelievesALowerRound,
}

/// A request that has no answer yet.
#[derive(Clone, Debug)]
enum Request {
    WriteSet { at: usize, set: Box<LongTaskSet> },
    Create { index: u32 },
    Delete { index: u32, uid: String, version: String },
    WriteTask { index: u32, at: usize, task: Box<LongTask>, by_hand: bool },
}

/// What an operator knows: how far it has read.
#[derive(Clone, Default)]
struct Reader {
    set: usize,
    members: BTreeMap<u32, usize>,
}

struct World {
    dice: Dice,
    defect: Option<Defect>,
    now: i64,
    /// Every version of the set, and of each member; none where it is not there.
    sets: Vec<LongTaskSet>,
    members: BTreeMap<u32, Vec<Option<LongTask>>>,
    /// Those that run by their user's hand are outside of the limits.
    by_hand: BTreeMap<u32, bool>,
    /// Those that succeeded and were deleted by their user before any operator had counted them. An operator with an old cache
    /// may count them later, while the member that was made in their place runs.
    outlived: BTreeSet<u32>,
    readers: [Reader; 2],
    late: Vec<(i64, Request)>,
    uids: u64,
    versions: u64,
    tokens: u64,
    is_calm: bool,
    violation: Option<String>,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("in range")
}

impl World {
    fn new(seed: u64, defect: Option<Defect>) -> Self {
        let mut dice = Dice(seed);
        let history = dice.below(3);
        let set: LongTaskSet = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet",
            "metadata": { "name": "s", "namespace": "n", "uid": "set-uid", "generation": 1, "resourceVersion": "1" },
            "spec": {
                "templateRef": { "name": "x" }, "count": COUNT, "maxParallel": PARALLEL, "taskHistoryLimit": history,
                "restart": { "token": "0" },
            },
        }))
        .expect("a set");
        Self {
            dice,
            defect,
            now: 1_795_000_000,
            sets: vec![set],
            members: (0..COUNT).map(|index| (index, vec![None])).collect(),
            by_hand: BTreeMap::new(),
            outlived: BTreeSet::new(),
            readers: Default::default(),
            late: Vec::new(),
            uids: 0,
            versions: 1,
            tokens: 0,
            is_calm: false,
            violation: None,
        }
    }

    fn set(&self) -> &LongTaskSet {
        self.sets.last().expect("a set")
    }

    fn member(&self, index: u32) -> Option<&LongTask> {
        self.members[&index].last().expect("a version").as_ref()
    }

    fn accuse(&mut self, what: impl Into<String>) {
        self.violation.get_or_insert(what.into());
    }

    fn version(&mut self) -> String {
        self.versions += 1;
        self.versions.to_string()
    }

    /// Sends a request: it may be lost for who has sent it, and land within half a minute all the same.
    fn send(&mut self, request: Request) -> bool {
        if !self.is_calm && self.dice.happens(200) {
            let lands = self.now + i64::try_from(self.dice.below(30)).unwrap_or(0);
            self.late.push((lands, request));
            return false;
        }
        self.arrive(request)
    }

    fn arrive(&mut self, request: Request) -> bool {
        match request {
            Request::WriteSet { at, set } => {
                if at + 1 != self.sets.len() {
                    return false;
                }
                let version = self.version();
                let status = set.status.clone();
                let mut next = LongTaskSet { status, ..self.set().clone() };
                next.metadata.resource_version = Some(version);
                self.judge_set(&next);
                self.sets.push(next);
                true
            }
            Request::Create { index } => {
                if self.member(index).is_none() {
                    self.uids += 1;
                    let (uid, version) = (format!("u{}", self.uids), self.version());
                    let task = self.made(index, &uid, &version);
                    self.by_hand.remove(&index);
                    self.members.get_mut(&index).expect("an index").push(Some(task));
                }
                true
            }
            Request::Delete { index, uid, version } => {
                let Some(task) = self.member(index) else { return false };
                let is_other = task.metadata.uid.as_ref() != Some(&uid);
                let is_changed = task.metadata.resource_version.as_ref() != Some(&version)
                    && self.defect != Some(Defect::DeletesWithoutVersion);
                if is_other || is_changed {
                    return false;
                }
                if is_running(task) {
                    self.accuse(format!("an operator deletes member {index} while it runs"));
                }
                self.members.get_mut(&index).expect("an index").push(None);
                true
            }
            Request::WriteTask { index, at, mut task, by_hand } => {
                if at + 1 != self.members[&index].len() || self.member(index).is_none() {
                    return false;
                }
                task.metadata.resource_version = Some(self.version());
                if by_hand {
                    self.by_hand.insert(index, true);
                }
                self.judge_task(index, &task);
                self.members.get_mut(&index).expect("an index").push(Some(*task));
                true
            }
        }
    }

    fn made(&self, index: u32, uid: &str, version: &str) -> LongTask {
        serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
            "metadata": {
                "name": format!("s-{index}"), "namespace": "n", "uid": uid, "generation": 1, "resourceVersion": version,
                "creationTimestamp": at(self.now),
                "ownerReferences": [{
                    "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "name": "s", "uid": "set-uid", "controller": true,
                }],
            },
            "spec": { "template": { "spec": { "containers": [{ "name": "main" }] } } },
        }))
        .expect("a task")
    }

    /// S1 and S2.
    fn judge_set(&mut self, next: &LongTaskSet) {
        let status = next.status.as_ref().expect("a status");
        whole(status, COUNT);
        if status.active > i64::from(PARALLEL) {
            self.accuse(format!("S2: {} are active", status.active));
        }
        let lost = self
            .set()
            .status
            .as_ref()
            .is_some_and(|before| !before.succeeded.indexes.without(&status.succeeded.indexes).is_empty());
        if lost {
            self.accuse("S3: a recorded success is forgotten");
        }
    }

    /// S2 and S3: who begins to run.
    fn judge_task(&mut self, index: u32, next: &LongTask) {
        let begins = is_running(next) && !self.member(index).is_some_and(is_running);
        if !begins || self.by_hand.get(&index).copied().unwrap_or(false) {
            return;
        }
        let status = self.set().status.clone().unwrap_or_default();
        if status.succeeded.indexes.contains(index) {
            self.accuse(format!("S3: the recorded success {index} runs again"));
        }
        let runs_for_nobody = |other| self.outlived.contains(other) && status.succeeded.indexes.contains(*other);
        let others = self.members.keys().filter(|other| {
            **other != index
                && !runs_for_nobody(other)
                && !self.by_hand.get(other).copied().unwrap_or(false)
                && self.member(**other).is_some_and(is_running)
        });
        if others.count() >= usize::try_from(PARALLEL).unwrap_or(0) {
            self.accuse("S2: more than maxParallel run");
        }
        if !self.sets.iter().any(|set| set.status.as_ref().is_some_and(|status| status.is_active(index))) {
            self.accuse(format!("S2: member {index} runs, and no status called it active"));
        }
    }

    /// One plan of the set, by the operator with this reading.
    fn operate_set(&mut self, reader: usize) {
        let known = self.readers[reader].clone();
        let set = self.sets[known.set].clone();
        let members: Vec<_> = (0..COUNT)
            .filter_map(|index| {
                let version = known.members.get(&index).copied().unwrap_or(0);
                Facts::of(self.members[&index][version].as_ref()?).map(|facts| Arc::new(facts.member))
            })
            .collect();
        let mut seen = ObservedSet::of(&set, members);
        let status = set.status.clone().unwrap_or_default();
        let is_late = |index: &u32| {
            self.late.iter().any(|(_, request)| matches!(request, Request::Create { index: of } if of == index))
        };
        // A live read.
        seen.absent =
            status.active_indexes().iter().filter(|index| self.member(*index).is_none() && !is_late(index)).collect();
        let SetPlan { status, steps, .. } = plan_set(&seen, at(self.now));
        let (status, steps) = self.miscounted(&seen, status, steps);
        let Some(status) = status else { return };
        let next = LongTaskSet { status: Some(status), ..set };
        if !self.send(Request::WriteSet { at: known.set, set: Box::new(next) }) {
            return;
        }
        self.readers[reader].set = self.sets.len() - 1;
        for step in steps {
            match step {
                SetStep::Create(index) => {
                    self.send(Request::Create { index });
                }
                SetStep::Delete { name, uid, resource_version } => {
                    let index = name.rsplit_once('-').expect("an index").1.parse().expect("a number");
                    self.send(Request::Delete { index, uid, version: resource_version });
                }
                SetStep::DeleteSet => {}
            }
        }
    }

    /// What an operator does that takes the members that it sees for those that are active.
    fn miscounted(
        &self,
        seen: &ObservedSet<'_>,
        status: Option<longtask::api::set::LongTaskSetStatus>,
        mut steps: Vec<SetStep>,
    ) -> (Option<longtask::api::set::LongTaskSetStatus>, Vec<SetStep>) {
        if self.defect != Some(Defect::CountsFromTheCache) {
            return (status, steps);
        }
        let Some(mut status) = status else { return (None, steps) };
        let shown = seen
            .members
            .values()
            .filter(|member| matches!(member.phase, MemberPhase::New | MemberPhase::UnderWay))
            .count();
        let is_idle = shown < usize::try_from(PARALLEL).unwrap_or(0) && status.stop.is_none();
        if is_idle && status.next < i64::from(COUNT) && status.phase.is_none_or(|phase| !phase.is_terminal()) {
            let index = status.next_index();
            status.next += 1;
            status.active += 1;
            steps.push(SetStep::Create(index));
        }
        (Some(status), steps)
    }

    /// One plan of a member, by the operator with this reading.
    fn operate_member(&mut self, reader: usize, index: u32) {
        let known = self.readers[reader].clone();
        let version = known.members.get(&index).copied().unwrap_or(0);
        let Some(task) = self.members[&index][version].clone() else { return };
        let mut parent = parent_of(&self.sets[known.set], index);
        if self.defect == Some(Defect::BelievesALowerRound) {
            let round = task.status.as_ref().map_or(0, |status| status.run.round);
            parent.round = parent.round.max(round);
        }
        let mut seen = Observed::of(&task, task.metadata.uid.as_deref().unwrap_or_default(), Vec::new());
        seen.parent = Some(parent);
        if task
            .status
            .as_ref()
            .and_then(LongTaskStatus::live_attempt)
            .is_some_and(|one| one.state == AttemptState::Running)
        {
            // Its pod is as it was: told to stop, it does.
            if parent.round >= task.status.as_ref().map_or(0, |status| status.run.round) && parent.stop {
                let mut stopped = task.clone();
                end(&mut stopped, Phase::Cancelled, "StoppedBySet", parent.round, self.now);
                self.send(Request::WriteTask { index, at: version, task: Box::new(stopped), by_hand: false });
            }
            return;
        }
        let planned = plan_task(&seen, at(self.now));
        let Some(mut status) = planned.status else { return };
        if planned.steps.iter().any(|step| matches!(step, Step::CreatePod(_)))
            && let Some(attempt) = &mut status.current_attempt
        {
            // Its pod is there at once, and runs.
            (attempt.state, attempt.started_at) = (AttemptState::Running, Some(at(self.now)));
            status.phase = Some(Phase::Running);
        }
        let next = LongTask { status: Some(status), ..task };
        self.send(Request::WriteTask { index, at: version, task: Box::new(next), by_hand: false });
    }

    /// The program of a member ends.
    fn program_ends(&mut self, index: u32, reader: usize) {
        let version = self.members[&index].len() - 1;
        let Some(mut task) = self.member(index).filter(|task| is_running(task)).cloned() else { return };
        let is_well = self.is_calm || self.dice.happens(600);
        let seen = parent_of(&self.sets[self.readers[reader].set], index);
        let before = task.status.as_ref().map_or(0, |status| status.run.round);
        // It takes the round over with its write.
        let round = if seen.active { before.max(seen.round) } else { before };
        let (phase, reason) = if is_well { (Phase::Succeeded, "") } else { (Phase::Failed, "FailureBudgetExhausted") };
        end(&mut task, phase, reason, round, self.now);
        self.send(Request::WriteTask { index, at: version, task: Box::new(task), by_hand: false });
    }

    /// A user does something.
    fn trouble(&mut self) {
        let index = u32::try_from(self.dice.below(COUNT as usize)).unwrap_or(0);
        match self.dice.below(4) {
            0 => self.token(),
            1 if self
                .set()
                .status
                .as_ref()
                .is_some_and(|status| status.phase.is_none_or(|phase| !phase.is_terminal())) =>
            {
                self.edit(|set| set.spec.cancel = true);
            }
            2 => {
                let is_counted =
                    self.set().status.as_ref().is_some_and(|status| status.succeeded.indexes.contains(index));
                if let Some(member) = self.member(index)
                    && !is_counted
                {
                    if member.status.as_ref().and_then(|status| status.phase) == Some(Phase::Succeeded) {
                        self.outlived.insert(index);
                    }
                    self.members.get_mut(&index).expect("an index").push(None);
                }
            }
            _ => {
                let version = self.members[&index].len() - 1;
                let is_done =
                    |task: &&LongTask| task.status.as_ref().and_then(|status| status.phase) == Some(Phase::Succeeded);
                if let Some(mut task) = self.member(index).filter(is_done).cloned() {
                    let status = task.status.as_mut().expect("a status");
                    status.run.number += 1;
                    run(status, self.now);
                    self.send(Request::WriteTask { index, at: version, task: Box::new(task), by_hand: true });
                }
            }
        }
    }

    fn token(&mut self) {
        self.tokens += 1;
        let token = self.tokens.to_string();
        self.edit(|set| {
            set.spec.cancel = false;
            set.spec.restart.as_mut().expect("a restart").token = token;
        });
    }

    fn edit(&mut self, change: impl FnOnce(&mut LongTaskSet)) {
        let mut set = self.set().clone();
        change(&mut set);
        set.metadata.generation = set.metadata.generation.map(|generation| generation + 1);
        set.metadata.resource_version = Some(self.version());
        self.sets.push(set);
    }

    fn step(&mut self) {
        self.now += i64::try_from(self.dice.below(3)).unwrap_or(0);
        let due: Vec<_> = {
            let now = self.now;
            let (due, rest) = std::mem::take(&mut self.late).into_iter().partition(|(lands, _)| *lands <= now);
            self.late = rest;
            due
        };
        for (_, request) in due {
            self.arrive(request);
        }
        let (reader, index) = (self.dice.below(2), u32::try_from(self.dice.below(COUNT as usize)).unwrap_or(0));
        match self.dice.below(100) {
            0..12 => {
                let newest = self.sets.len() - 1;
                let known = &mut self.readers[reader].set;
                *known += self.dice.below(newest - *known + 1);
            }
            12..32 => {
                let newest = self.members[&index].len() - 1;
                let known = self.readers[reader].members.entry(index).or_default();
                *known += self.dice.below(newest - *known + 1);
            }
            32..36 => {
                self.readers[reader].set = self.sets.len() - 1;
                self.readers[reader].members =
                    self.members.iter().map(|(index, all)| (*index, all.len() - 1)).collect();
            }
            36..39 if !self.is_calm => self.trouble(),
            36..52 => self.program_ends(index, reader),
            52..76 => self.operate_set(reader),
            _ => self.operate_member(reader, index),
        }
    }

    fn is_over(&self) -> bool {
        let status = self.set().status.clone().unwrap_or_default();
        let is_of_token = status.round.restart_token.as_deref() == Some(&*self.tokens.to_string());
        is_of_token
            && status.phase.is_some_and(longtask::api::set::SetPhase::is_terminal)
            && status.succeeded.count == i64::from(COUNT)
    }
}

fn is_running(task: &LongTask) -> bool {
    task.status.as_ref().and_then(LongTaskStatus::live_attempt).is_some()
}

fn run(status: &mut LongTaskStatus, now: i64) {
    status.phase = Some(Phase::Running);
    status.completion_time = None;
    if let Some(attempt) = &mut status.current_attempt {
        (attempt.state, attempt.started_at) = (AttemptState::Running, Some(at(now)));
        attempt.number += 1;
    }
}

fn end(task: &mut LongTask, phase: Phase, reason: &str, round: i64, now: i64) {
    let status = task.status.as_mut().expect("a status");
    status.phase = Some(phase);
    reason.clone_into(&mut status.reason);
    status.completion_time = Some(at(now));
    status.run.round = round;
    if let Some(attempt) = &mut status.current_attempt {
        attempt.state = AttemptState::Ended;
    }
}

/// What goes wrong in the life of a seed, if something does.
fn live(seed: u64, defect: Option<Defect>) -> Option<String> {
    let mut world = World::new(seed, defect);
    for _ in 0..TROUBLE {
        world.step();
        if world.violation.is_some() {
            return world.violation;
        }
    }
    world.is_calm = true;
    world.token();
    for _ in 0..PEACE {
        world.step();
        if world.violation.is_some() {
            return world.violation;
        }
        if world.is_over() {
            return None;
        }
    }
    Some(format!("it does not end: {:#?}", world.set().status))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_each_success_counts_once_and_no_more_run_than_may(seed in any::<u64>()) {
        prop_assert_eq!(live(seed, None), None);
    }
}

/// A success that its user deleted before it was counted was counted by the other operator.
#[test]
fn what_once_looked_like_a_violation_holds() {
    assert_eq!(live(6_567_245_355_124_543_541, None), None);
}

#[test]
fn every_defect_of_an_operator_is_found() {
    for defect in [Defect::DeletesWithoutVersion, Defect::CountsFromTheCache, Defect::BelievesALowerRound] {
        let found = (0..400).find_map(|seed| live(seed, Some(defect)));
        assert!(found.is_some(), "{defect:?} is not found");
        println!("{defect:?}: {}", found.unwrap_or_default());
    }
}
