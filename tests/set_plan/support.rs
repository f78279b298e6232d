//! Words for stories of sets: `given(20).status(...).member(0, Phase).at("10:00:00")`. Times of day are all on one day.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use longtask::{
    api::set::{LongTaskSet, LongTaskSetStatus, Members, SetConditionType},
    set::plan::{
        BadInput, Cause, Member, MemberPhase, ObservedSet, SetEventReason, SetPlan, SetStep, SetWake, TemplateSeen,
        plan,
    },
    types::{Ranges, is_condition_true},
};
use serde_json::{Value, json};

/// A moment of the day of all stories.
pub(crate) fn t(time: &str) -> Timestamp {
    format!("2026-11-24T{time}Z").parse().expect("a time of day")
}

pub(crate) fn ranges(text: &str) -> Ranges {
    text.parse().expect("indexes")
}

/// A set of so many members that has done nothing yet.
pub(crate) fn given(count: u32) -> Given {
    Given {
        spec: json!({ "templateRef": { "name": "x" }, "count": count }),
        generation: 1,
        status: None,
        members: BTreeMap::new(),
        template: TemplateSeen::Found(1),
        bad: None,
        digest: None,
        absent: Ranges::default(),
        refused: longtask::set::plan::Refused::default(),
        is_being_deleted: false,
        is_queue_full: false,
    }
}

/// What is so before the plan is made.
#[derive(Clone)]
pub(crate) struct Given {
    spec: Value,
    generation: i64,
    status: Option<LongTaskSetStatus>,
    members: BTreeMap<u32, Arc<Member>>,
    pub(crate) template: TemplateSeen,
    pub(crate) bad: Option<BadInput>,
    pub(crate) digest: Option<String>,
    pub(crate) absent: Ranges,
    pub(crate) refused: longtask::set::plan::Refused,
    pub(crate) is_being_deleted: bool,
    pub(crate) is_queue_full: bool,
}

/// A plan, and the world in which it was carried out.
pub(crate) struct Planned {
    pub(crate) plan: SetPlan,
    pub(crate) given: Given,
}

impl Given {
    /// Changes the specification, field by field.
    pub(crate) fn spec(mut self, changes: Value) -> Self {
        self.spec.as_object_mut().expect("fields").extend(changes.as_object().expect("fields").clone());
        self.spec.as_object_mut().expect("fields").retain(|_, value| !value.is_null());
        self
    }

    /// Likewise, after the status was written.
    pub(crate) fn edited(mut self, changes: Value) -> Self {
        self.generation += 1;
        self.spec(changes)
    }

    /// Changes anything.
    pub(crate) fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// A member in this phase, which has taken part in the first round; created at 09:00:00.
    pub(crate) fn member(self, index: u32, phase: MemberPhase) -> Self {
        self.member_of(index, phase, 1)
    }

    /// Likewise, which took part in that round last.
    pub(crate) fn member_of(self, index: u32, phase: MemberPhase, round: i64) -> Self {
        let round = if phase == MemberPhase::New { 0 } else { round };
        let completion_time = matches!(phase, MemberPhase::Succeeded | MemberPhase::Failed | MemberPhase::Cancelled)
            .then(|| t("09:30:00"));
        let failure = Arc::new(Cause { reason: "FailureBudgetExhausted".into(), message: "exit 1".into() });
        self.exactly(Member {
            index,
            name: format!("s-{index}"),
            uid: format!("u{index}"),
            resource_version: "7".into(),
            last_create_time: t("09:00:00"),
            is_being_deleted: false,
            round,
            phase,
            completion_time,
            result: None,
            failure: (phase == MemberPhase::Failed).then_some(failure),
        })
    }

    pub(crate) fn exactly(mut self, member: Member) -> Self {
        self.members.insert(member.index, Arc::new(member));
        self
    }

    /// All active members that are there come into this phase.
    pub(crate) fn all(mut self, phase: MemberPhase, round: i64) -> Self {
        let indexes: Vec<_> = self.status.as_ref().expect("begun").active_indexes().iter().collect();
        for index in indexes {
            self = self.member_of(index, phase, round);
        }
        self
    }

    pub(crate) fn gone(mut self, index: u32) -> Self {
        self.members.remove(&index);
        self
    }

    /// Changes the status; a set that has begun at 09:00:00.
    pub(crate) fn status(mut self, change: impl FnOnce(&mut LongTaskSetStatus)) -> Self {
        if self.status.is_none() {
            self.status = self.plan_at(t("09:00:00")).status;
            let status = self.status.as_mut().expect("the first status");
            (status.next, status.active) = (0, 0);
        }
        change(self.status.as_mut().expect("begun"));
        self
    }

    /// So many were started; these succeeded, failed and wait.
    pub(crate) fn lists(self, next: i64, succeeded: &str, failed: &str, waiting: &str) -> Self {
        let total = i64::from(self.set().spec.total());
        self.status(|status| {
            let done = i64::from(ranges(succeeded).len());
            let progress = &mut status.progress;
            (progress.completed, progress.percent) = (done, i32::try_from(done * 100 / total).expect("a percentage"));
            progress.summary = format!("{done}/{total}");
            status.next = next;
            status.succeeded = Members::from(ranges(succeeded));
            status.failed = Members::from(ranges(failed));
            status.waiting = Members::from(ranges(waiting));
            status.active = i64::from(status.active_indexes().len());
        })
    }

    pub(crate) fn set(&self) -> LongTaskSet {
        let deleted = self.is_being_deleted.then(|| t("09:59:00"));
        let mut set: LongTaskSet = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "spec": self.spec,
            "metadata": {
                "name": "s", "namespace": "n", "uid": "set-uid", "generation": self.generation, "resourceVersion": "5",
                "deletionTimestamp": deleted,
            },
        }))
        .expect("a set");
        set.status.clone_from(&self.status);
        set
    }

    fn plan_at(&self, now: Timestamp) -> SetPlan {
        let set = self.set();
        let mut seen = ObservedSet::of(&set, self.members.values().cloned());
        seen.template = self.template;
        seen.inputs.bad.clone_from(&self.bad);
        if let Some(digest) = &self.digest {
            seen.inputs.digest.clone_from(digest);
        }
        seen.absent.clone_from(&self.absent);
        seen.refused.clone_from(&self.refused);
        seen.is_queue_full = self.is_queue_full;
        plan(&seen, now)
    }

    /// The plan at that time. Whatever a story expects of it, its status is whole.
    #[track_caller]
    pub(crate) fn at(self, time: &str) -> Planned {
        let plan = self.plan_at(t(time));
        if let Some(status) = &plan.status {
            whole(status, self.set().spec.total());
        }
        let mut after = self;
        if let Some(status) = &plan.status {
            let written = serde_json::to_value(status).expect("a status");
            after.status = Some(serde_json::from_value(written).expect("the status again"));
        }
        for step in &plan.steps {
            match step {
                SetStep::Create(index) => {
                    after = after.member(*index, MemberPhase::New);
                    let created = Member { last_create_time: t(time), ..Member::clone(&after.members[index]) };
                    after = after.exactly(created);
                }
                SetStep::Delete { name, .. } => {
                    let index = name.rsplit_once('-').expect("an index").1.parse().expect("a number");
                    after.members.remove(&index);
                }
                SetStep::DeleteSet => {}
            }
        }
        Planned { plan, given: after }
    }
}

/// S1: each index below `next` is active or in one list, and no other is in any.
#[track_caller]
pub(crate) fn whole(status: &LongTaskSetStatus, total: u32) {
    let lists = [&status.succeeded, &status.failed, &status.waiting];
    for list in lists {
        assert_eq!(list.count, i64::from(list.indexes.len()), "{status:#?}");
        assert!(list.indexes.last().is_none_or(|last| i64::from(last) < status.next), "{status:#?}");
    }
    let listed: i64 = lists.iter().map(|list| list.count).sum();
    let union = lists.iter().fold(Ranges::default(), |all, list| all.union(&list.indexes));
    assert_eq!(i64::from(union.len()), listed, "an index is in two lists: {status:#?}");
    assert_eq!(status.next - listed, status.active, "{status:#?}");
    assert!(status.next <= i64::from(total) && status.total == i64::from(total), "{status:#?}");
}

impl Planned {
    pub(crate) fn then(self) -> Given {
        self.given
    }

    pub(crate) fn status(&self) -> LongTaskSetStatus {
        self.given.status.clone().expect("a status")
    }

    /// The phase with its reason.
    pub(crate) fn phase(&self) -> String {
        let status = self.status();
        format!("{} {}", status.phase.map(|phase| phase.to_string()).unwrap_or_default(), status.reason)
            .trim_end()
            .to_owned()
    }

    /// The lists, as `next succeeded/failed/waiting`.
    pub(crate) fn lists(&self) -> String {
        let status = self.status();
        format!("{} {}/{}/{}", status.next, status.succeeded.indexes, status.failed.indexes, status.waiting.indexes)
    }

    pub(crate) fn creates(&self) -> Vec<u32> {
        let creates = self.plan.steps.iter().filter_map(|step| match step {
            SetStep::Create(index) => Some(*index),
            SetStep::Delete { .. } | SetStep::DeleteSet => None,
        });
        creates.collect()
    }

    pub(crate) fn deletes(&self) -> Vec<&str> {
        let deletes = self.plan.steps.iter().filter_map(|step| match step {
            SetStep::Delete { name, .. } => Some(name.as_str()),
            SetStep::Create(_) | SetStep::DeleteSet => None,
        });
        deletes.collect()
    }

    pub(crate) fn events(&self) -> Vec<SetEventReason> {
        self.plan.events.iter().map(|event| event.reason).collect()
    }

    pub(crate) fn note(&self) -> &str {
        &self.plan.events.first().expect("an event").note
    }

    pub(crate) fn is(&self, condition: SetConditionType) -> bool {
        is_condition_true(&self.status().conditions, condition)
    }

    /// Nothing is written, done or said.
    #[track_caller]
    pub(crate) fn is_quiet(&self) {
        let SetPlan { status, steps, events, wake: _ } = &self.plan;
        assert_eq!((status, steps.len(), events.len()), (&None, 0, 0), "{:?}", self.plan);
    }

    pub(crate) fn wakes_at(&self) -> Option<Timestamp> {
        match self.plan.wake {
            SetWake::At(time) => Some(time),
            SetWake::OnChange | SetWake::Now => None,
        }
    }
}
