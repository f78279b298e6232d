//! The invariants of sets, S1 to S3 of docs/architecture.md, checked at every write.

use longtask::{
    api::set::{LongTaskSetStatus, SetPhase},
    types::Ranges,
};
use serde_json::Value;

use super::world::{SET, World};
use crate::objects::Kind;

impl World {
    /// The status of the set, as it is stored.
    pub(super) fn status(&self) -> Option<LongTaskSetStatus> {
        let status = &self.store.get(Kind::Set, SET)?["status"];
        serde_json::from_value(status.clone()).ok()
    }

    /// S1, S2: a status of the set is being written.
    pub(super) fn judge_set(&mut self, before: &Value, after: &Value) {
        let Ok(status) = serde_json::from_value::<LongTaskSetStatus>(after["status"].clone()) else {
            return self.accuse(format!("S1: the status cannot be read: {}", after["status"]));
        };
        let lists = [&status.succeeded, &status.failed, &status.waiting];
        let listed: i64 = lists.iter().map(|list| list.count).sum();
        let union = lists.iter().fold(Ranges::default(), |all, list| all.union(&list.indexes));
        let is_whole = i64::from(union.len()) == listed
            && lists.iter().all(|list| list.count == i64::from(list.indexes.len()))
            && union.last().is_none_or(|last| i64::from(last) < status.next)
            && status.next - listed == status.active;
        if !is_whole {
            self.accuse(format!("S1: an index is in no list, or in two: {}", after["status"]));
        }
        if u64::try_from(status.active).unwrap_or(u64::MAX) > self.weather.parallel {
            self.accuse(format!("S2: {} are active", status.active));
        }
        if let Ok(before) = serde_json::from_value::<LongTaskSetStatus>(before["status"].clone())
            && !before.succeeded.indexes.without(&status.succeeded.indexes).is_empty()
        {
            self.accuse("S3: a recorded success is forgotten".to_owned());
        }
        self.called.extend(status.active_indexes().iter().map(u64::from));
    }

    /// S2, S3: a pod of a member is being created.
    pub(super) fn judge_pod(&mut self, pod: &Value) {
        let owner = pod["metadata"]["ownerReferences"][0].clone();
        let (member, uid) = (owner["name"].as_str().unwrap_or_default(), owner["uid"].as_str().unwrap_or_default());
        if self.by_hand.contains(uid) {
            return;
        }
        let index: u64 = member.rsplit_once('-').expect("an index").1.parse().expect("a number");
        if !self.called.contains(&index) {
            self.accuse(format!("S2: {member} starts, and no status called it active"));
        }
        let is_recorded =
            |status: LongTaskSetStatus| status.succeeded.indexes.contains(u32::try_from(index).expect("small"));
        if self.status().is_some_and(is_recorded) {
            self.accuse(format!("S3: {member} is a recorded success, and starts again"));
        }
        let is_of_member = |pod: &&Value| {
            let owner = &pod["metadata"]["ownerReferences"][0];
            let (name, owner) = (owner["name"].as_str().unwrap_or_default(), owner["uid"].as_str().unwrap_or_default());
            let is_there = self.store.all(Kind::Task).any(|task| task["metadata"]["uid"] == owner);
            let runs_for_nobody = self.outlived.contains(name) && self.is_counted(name);
            is_there && !self.by_hand.contains(owner) && owner != uid && !runs_for_nobody
        };
        let others = self.store.all(Kind::Pod).filter(is_of_member).filter(|pod| is_alive(pod)).count();
        // A create that lands late, of a member that its user has deleted: the garbage collector takes the pod.
        let is_orphan = !self.store.all(Kind::Task).any(|task| task["metadata"]["uid"] == uid);
        if others as u64 >= self.weather.parallel && !is_orphan {
            self.accuse(format!("S2: {member} starts beside {others} that run"));
        }
    }

    /// A member is being deleted by an operator.
    pub(super) fn judge_deletion(&mut self, task: &Value) {
        let uid = task["metadata"]["uid"].as_str().unwrap_or_default();
        let name = task["metadata"]["name"].clone();
        let has_pod =
            self.store.all(Kind::Pod).any(|pod| pod["metadata"]["ownerReferences"][0]["uid"] == uid && is_alive(pod));
        let has_ended = matches!(task["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Cancelled"));
        if has_pod || (!has_ended && task["status"]["currentAttempt"].is_object()) {
            self.accuse(format!("an operator deletes {name} while it runs"));
        }
        let is_to_run = has_ended && {
            let (wanted, known) = (&task["spec"]["restart"]["token"], &task["status"]["run"]["restartToken"]);
            wanted != known
        };
        if is_to_run {
            self.accuse(format!("an operator deletes {name}, which its user has just restarted"));
        }
    }

    /// What must be so when all has come to rest.
    pub(super) fn judge_rest(&mut self) {
        let Some(status) = self.status() else { return self.accuse("the set has no status".to_owned()) };
        if status.phase != Some(SetPhase::Succeeded) || status.succeeded.count != status.total {
            self.accuse(format!("the set has ended as {:?}: {:?} {:?}", status.phase, status.succeeded, status.failed));
        }
        let kept = self.store.all(Kind::Task).filter(|task| task["status"]["phase"] == "Succeeded").count() as u64;
        if kept > self.weather.history.max(self.by_hand.len() as u64 + self.weather.history) {
            self.accuse(format!("{kept} members are kept"));
        }
    }
}

/// Whether the pod's program runs, or may yet. A pod that is being deleted gets no node any more: the API server refuses the
/// binding.
pub(super) fn is_alive(pod: &Value) -> bool {
    let gets_no_node = pod["metadata"]["deletionTimestamp"].is_string() && pod["spec"]["nodeName"].is_null();
    matches!(pod["status"]["phase"].as_str(), Some("Pending" | "Running")) && !gets_no_node
}
