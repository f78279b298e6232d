//! Attempts that follow each other and are one Workload for Kueue: each pod takes the place of the one before, in a pod group of
//! one. Kueue keeps the quota while it waits for the next pod, until a pod ends well or one says that none will follow it.
//! Seen with the real one: `tests/e2e/kueue.rs`.

use super::{
    draft::Draft,
    edits,
    next::Next,
    observed::{PodFacts, PodPhase},
    steps::Step,
};
use crate::{
    api::task::{AttemptState, Outcome},
    types::truncate,
};

/// The longest value of a label, in bytes.
const LONGEST_LABEL: usize = 63;
/// How much of a task's UID tells its groups from those of an earlier task of its name, in bytes.
const OF_UID: usize = 8;

/// The group of the attempt with this number, which starts now: that of the attempt before, if that goes on, or one of its own.
pub(super) fn to_start(draft: &Draft<'_>, number: i64) -> Option<String> {
    going_on(draft).cloned().or_else(|| of_its_own(draft, number))
}

/// The group that an attempt with this number begins.
pub(super) fn of_its_own(draft: &Draft<'_>, number: i64) -> Option<String> {
    let task = draft.seen.task.metadata.name.as_deref().unwrap_or_default();
    draft.spec.keeps_quota().then(|| name(task, draft.seen.uid, number))
}

/// A group's name, which is also that of its Workload.
fn name(task: &str, uid: &str, number: i64) -> String {
    let behind = format!("-{number}-{}", truncate(uid, OF_UID));
    let task = truncate(task, LONGEST_LABEL.saturating_sub(behind.len()));
    format!("{}{behind}", task.trim_end_matches(['-', '.']))
}

/// The group of the attempt that has ended, if the next pod may take the place of its pod.
fn going_on<'a>(draft: &'a Draft<'_>) -> Option<&'a String> {
    let before = draft.status.current_attempt.as_ref().filter(|attempt| attempt.state == AttemptState::Ended)?;
    let group = before.pod_group.as_ref().filter(|_| draft.spec.keeps_quota() && !has_changed(draft))?;
    let is_of_group = |pod: &&PodFacts| pod.pod_group.as_ref() == Some(group);
    let mut pods = draft.seen.known_pods().map(AsRef::as_ref).filter(is_of_group);
    let is_same = before.template_hash.as_ref() == Some(&edits::hash_of_next(draft));
    (is_same && !pods.any(|pod| pod.returns_quota || pod.phase == PodPhase::Succeeded)).then_some(group)
}

/// Whether a rule has just changed what the next pod asks for: Kueue takes no other pod into a group.
fn has_changed(draft: &Draft<'_>) -> bool {
    let recorded = draft.seen.task.status.as_ref();
    recorded.is_some_and(|recorded| {
        (recorded.memory, &recorded.avoid_nodes) != (draft.status.memory, &draft.status.avoid_nodes)
    })
}

/// Gives back the quota of groups that do not go on: that of an attempt which nothing follows now, and any other that is left. The
/// last pod of a group says so.
pub(super) fn give_back(draft: &mut Draft<'_>, next: &Next) {
    if draft.status.live_attempt().is_none() && !is_kept(draft, next) {
        draft.update_attempt(|attempt| attempt.pod_group = None);
    }
    for pod in last_pods(draft) {
        draft.step_on_served(pod, Step::ReturnQuota);
    }
}

/// Whether the quota is kept without a pod: the pause after an interruption is short.
fn is_kept(draft: &Draft<'_>, next: &Next) -> bool {
    let was_interrupted =
        draft.status.recent_attempts.first().is_some_and(|ended| ended.outcome == Outcome::Interrupted);
    matches!(next, Next::WaitUntil(_)) && was_interrupted && !has_changed(draft)
}

/// The last pods of the groups that are over without Kueue's knowing.
fn last_pods<'a>(draft: &Draft<'a>) -> Vec<&'a PodFacts> {
    let seen = draft.seen;
    let going_on = draft.status.current_attempt.as_ref().and_then(|attempt| attempt.pod_group.as_ref());
    let of_groups = |pod: &&PodFacts| pod.pod_group.is_some() && pod.pod_group.as_ref() != going_on;
    let pods: Vec<_> = seen.known_pods().map(AsRef::as_ref).filter(of_groups).collect();
    let is_last = |pod: &&&PodFacts| {
        let mut of_group = pods.iter().filter(|other| other.pod_group == pod.pod_group);
        of_group.all(|other| other.attempt <= pod.attempt && !other.returns_quota)
    };
    pods.iter().filter(is_last).filter(|pod| pod.phase != PodPhase::Succeeded).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_has_a_name_that_a_label_takes_and_no_other_task_has() {
        assert_eq!(name("import", "0b6f2c1e-9d1a", 12), "import-12-0b6f2c1e");
        let long = name(&"x".repeat(52), "0b6f2c1e-9d1a", 1_234_567);
        assert_eq!((long.len(), long.ends_with("-1234567-0b6f2c1e")), (63, true), "{long}");
        assert_eq!(name("a.b", "short", 1), "a.b-1-short");
        assert_eq!(name(&format!("{}-b", "x".repeat(49)), "0b6f2c1e", 100), format!("{}-100-0b6f2c1e", "x".repeat(49)));
    }
}
