//! What is known when a plan is made: the set, and the few facts about its members that decide.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use kube::ResourceExt;
use serde_json::Value;

pub use crate::types::Cause;
use crate::{
    api::{
        set::{LongTaskSet, set_of},
        task::{LongTask, Phase},
    },
    types::Ranges,
};

/// Everything that a plan is made from, beside the time.
#[derive(Clone, Debug)]
pub struct ObservedSet<'a> {
    /// The set as last read. It may be stale: every plan that creates or deletes a member writes the status first, with the
    /// resourceVersion of this reading.
    pub set: &'a LongTaskSet,
    /// The LongTasks that the set owns, by index, as a cache shows them.
    pub members: BTreeMap<u32, Arc<Member>>,
    /// The template, as the cache shows it.
    pub template: TemplateSeen,
    /// What the set's inputs are worth.
    pub inputs: Inputs,
    /// Active indexes of which a live read says that their member does not exist: asked once a stop is old enough.
    pub absent: Ranges,
    /// What the API server has refused, and when it is tried again.
    pub refused: Refused,
    /// Whether so many tasks wait in the queue that the template names that no further ones should be made for it.
    pub is_queue_full: bool,
}

/// The set's template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateSeen {
    /// There is none of that name.
    Missing,
    /// There is one, of this generation.
    Found(i64),
}

/// What the set's inputs are worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// The digest of all of them.
    pub digest: String,
    /// What is wrong with the first of them that does not fit the template as it is now; none where all fit, or there is no
    /// template.
    pub bad: Option<BadInput>,
}

/// Why members cannot be made with these inputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadInput {
    /// The template's schema is none.
    Schema(String),
    /// The input of this member does not fit, or all together are too large.
    Input(Option<u32>, String),
}

/// What the API server has refused, and when it is tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refused {
    /// The last create that was refused: none is tried before this moment.
    pub create: Option<(Cause, Timestamp)>,
    /// Members whose name something else has: what that is, and when it is tried again.
    pub taken: BTreeMap<u32, (String, Timestamp)>,
}

/// A member, reduced to what decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// Its index.
    pub index: u32,
    /// The name of its LongTask.
    pub name: String,
    /// The UID of its LongTask.
    pub uid: String,
    /// The version of the reading: what is deleted is what was read.
    pub resource_version: String,
    /// When it was created, or when its last pod was decided on: the later one. A create of either may still be on its way.
    pub last_create_time: Timestamp,
    /// Whether somebody deleted it.
    pub is_being_deleted: bool,
    /// The last round that it took part in; 0 for one that has not begun.
    pub round: i64,
    /// Where it stands.
    pub phase: MemberPhase,
    /// When it ended.
    pub completion_time: Option<Timestamp>,
    /// What it reported.
    pub result: Option<Arc<Value>>,
    /// Why it failed.
    pub failure: Option<Arc<Cause>>,
}

/// Where a member stands, as far as it matters to its set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberPhase {
    /// It has not begun: no attempt was ever decided.
    New,
    /// It is under way.
    UnderWay,
    /// It is held by its failure policy, or suspended by its user.
    Held,
    /// It is done.
    Succeeded,
    /// It failed.
    Failed,
    /// It was cancelled, by its set or by its user.
    Cancelled,
}

/// The facts of a member, and the UID of its set.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// The UID of the set that owns it.
    pub set_uid: String,
    /// The member.
    pub member: Member,
}

/// How much of a failure's message is kept of each member, in bytes.
const LONGEST_MESSAGE: usize = 256;

impl Facts {
    /// The facts of a task that is a member of a set; none of any other.
    pub fn of(task: &LongTask) -> Option<Self> {
        let owner = set_of(task)?;
        let index = super::member::index_of(task)?;
        let status = task.status.as_ref();
        let phase = phase_of(task);
        let failure =
            status.filter(|_| phase == MemberPhase::Failed || phase == MemberPhase::Cancelled).map(|status| {
                let said = status.last_failure.as_ref().map_or("", |failure| failure.message.as_str());
                let message = crate::types::truncate(said, LONGEST_MESSAGE).to_owned();
                let reason =
                    if status.reason.is_empty() { status.phase.map_or("", Into::into) } else { &status.reason };
                Arc::new(Cause { reason: reason.to_owned(), message })
            });
        let member = Member {
            index,
            name: task.name_any(),
            uid: task.uid().unwrap_or_default(),
            resource_version: task.resource_version().unwrap_or_default(),
            last_create_time: last_create_time(task),
            is_being_deleted: task.metadata.deletion_timestamp.is_some(),
            round: status.map_or(0, |status| status.run.round),
            phase,
            completion_time: status.and_then(|status| status.completion_time),
            result: status
                .filter(|_| phase == MemberPhase::Succeeded)
                .and_then(|status| status.result.clone().map(Arc::new)),
            failure,
        };
        Some(Self { set_uid: owner.uid.clone(), member })
    }
}

fn last_create_time(task: &LongTask) -> Timestamp {
    let of_task = task.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let attempt = task.status.as_ref().and_then(|status| status.current_attempt.as_ref());
    of_task.max(attempt.map(|attempt| attempt.creation_time)).unwrap_or_default()
}

fn phase_of(task: &LongTask) -> MemberPhase {
    let Some(status) = &task.status else { return MemberPhase::New };
    let asked = task.spec.restart.as_ref().map(|restart| &restart.token);
    match status.phase {
        // Its user has just restarted it: it is about to go on, and must not be deleted for what it had done.
        Some(Phase::Succeeded) if asked.is_some() && asked != status.run.restart_token.as_ref() => {
            MemberPhase::UnderWay
        }
        Some(Phase::Succeeded) => MemberPhase::Succeeded,
        Some(Phase::Failed) => MemberPhase::Failed,
        Some(Phase::Cancelled) => MemberPhase::Cancelled,
        Some(Phase::Suspended) if status.is_held() || task.spec.suspend => MemberPhase::Held,
        _ if status.run.number <= 1 && status.current_attempt.is_none() => MemberPhase::New,
        Some(Phase::Pending | Phase::Running | Phase::Stopping | Phase::Waiting | Phase::Suspended) | None => {
            MemberPhase::UnderWay
        }
    }
}

impl<'a> ObservedSet<'a> {
    /// A set with these members, whose inputs all fit a template of generation 1. Nothing was refused.
    pub fn of(set: &'a LongTaskSet, members: impl IntoIterator<Item = Arc<Member>>) -> Self {
        let members = members.into_iter().map(|member| (member.index, member)).collect();
        let inputs = Inputs { digest: super::digest::digest(&set.spec), bad: None };
        let (template, absent, refused) = (TemplateSeen::Found(1), Ranges::default(), Refused::default());
        Self { set, members, template, inputs, absent, refused, is_queue_full: false }
    }

    /// Whether somebody deleted the set.
    pub fn is_being_deleted(&self) -> bool {
        self.set.metadata.deletion_timestamp.is_some()
    }

    /// The generation of the set's specification.
    pub fn generation(&self) -> i64 {
        self.set.metadata.generation.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_member_that_its_user_has_restarted_is_under_way_before_the_operator_has_looked() {
        let phase = |asked: &str| {
            let task: LongTask = serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": "s-0" },
                "spec": { "templateRef": { "name": "t" }, "restart": { "token": asked } },
                "status": { "phase": "Succeeded", "run": { "number": 2, "restartToken": "known" } },
            }))
            .expect("a task");
            phase_of(&task)
        };
        assert_eq!((phase("known"), phase("new")), (MemberPhase::Succeeded, MemberPhase::UnderWay));
    }
}
