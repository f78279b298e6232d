//! What a rule changes for the attempts that follow: what they resume from, their memory, the nodes that they avoid.

use super::{draft::Draft, edits, observed::PodFacts};
use crate::{
    api::task::{Action, LongTaskStatus, MemoryGrowth, Rule},
    task::render,
    types::MemorySize,
};

/// How many nodes are avoided at most: with more, a small cluster would have none left to prefer.
const AVOIDED_NODES: usize = 3;

/// Makes the rule's changes, and says which, for people. `pod` is what the attempt ended with, `node` where it was.
pub(super) fn adjust(rule: &Rule, pod: Option<&PodFacts>, node: Option<&str>, status: &mut LongTaskStatus) -> String {
    let mut said = vec![format!("rule {}", rule.name)];
    if drops_checkpoints(rule, status) {
        said.push(match &status.checkpoint {
            Some(checkpoint) => format!("back to checkpoint {}", checkpoint.sequence),
            None => "back to the beginning".to_owned(),
        });
    }
    if let Some(memory) = rule.memory.as_ref().and_then(|growth| grown(pod, growth)) {
        (status.memory, status.memory_rule) = (Some(memory), Some(rule.name.clone()));
        said.push(format!("memory raised to {memory}"));
    }
    if let Some(node) = node.filter(|_| rule.avoid_node == Some(true)) {
        avoid(node, &rule.name, status);
        said.push(format!("away from node {node} if possible"));
    }
    said.join(", ")
}

/// Drops the checkpoints that the rule says are bad, if it says so.
fn drops_checkpoints(rule: &Rule, status: &mut LongTaskStatus) -> bool {
    match rule.action {
        Action::Retry | Action::Ignore | Action::Fail | Action::Hold => return false,
        Action::Rollback if !status.checkpoint_history.is_empty() => {
            status.checkpoint = Some(status.checkpoint_history.remove(0));
        }
        Action::Rollback | Action::StartOver => {
            status.checkpoint = None;
            status.checkpoint_history.clear();
        }
    }
    // The work behind the dropped checkpoints is done again: that it was done once must not make it a stall.
    status.run.high_water = None;
    true
}

fn avoid(node: &str, rule: &str, status: &mut LongTaskStatus) {
    let before = avoided(status).into_iter().filter(|(known, _)| known != node);
    let now = [(node.to_owned(), rule.to_owned())].into_iter().chain(before).take(AVOIDED_NODES);
    (status.avoid_nodes, status.avoid_node_rules) = now.unzip();
}

/// The avoided nodes, each with the rule that asked for it.
fn avoided(status: &LongTaskStatus) -> Vec<(String, String)> {
    let rule = |at| status.avoid_node_rules.get(at).cloned().unwrap_or_default();
    status.avoid_nodes.iter().enumerate().map(|(at, node)| (node.clone(), rule(at))).collect()
}

/// Takes back what rules did that have been edited or removed since: a raise goes down to what its rule allows, and goes
/// with it; a node is avoided only while its rule says so; a rule of the same name that comes later counts from 0.
pub(super) fn take_back(draft: &mut Draft<'_>) {
    if draft.status.observed_generation == draft.seen.generation() {
        return;
    }
    let rules = &draft.spec.failure_policy.rules;
    let named = |name: &str| rules.iter().find(|rule| rule.name == name);
    let status = &mut draft.status;
    let growth = status.memory_rule.as_deref().and_then(named).and_then(|rule| rule.memory.as_ref());
    status.memory = status.memory.zip(growth).map(|(raised, growth)| raised.min(growth.max));
    status.memory_rule = status.memory_rule.take().filter(|_| status.memory.is_some());
    let stands = |(_, rule): &(String, String)| named(rule).is_some_and(|rule| rule.avoid_node == Some(true));
    (status.avoid_nodes, status.avoid_node_rules) = avoided(status).into_iter().filter(stands).unzip();
    status.rule_counters.retain(|counter| named(&counter.name).is_some());
}

/// The memory after the pod's own; none when there is no limit to raise, or it is as high as it may get.
pub(super) fn grown(pod: Option<&PodFacts>, growth: &MemoryGrowth) -> Option<MemorySize> {
    let had = pod?.memory?;
    Some(had.times(growth.factor()).min(growth.max)).filter(|grown| *grown > had)
}

/// Forgets a raise that the template has outdone, so that status tells what the next pod gets.
///
/// A template without a limit leaves it to a LimitRange, above which the raise stands; but one that has just been edited
/// may have had its limit taken away on purpose.
pub(super) fn forget_outdone_memory(draft: &mut Draft<'_>) {
    let made_from = draft.status.current_attempt.as_ref();
    let is_edited = made_from.is_some_and(|attempt| edits::makes_another_pod(draft, attempt));
    let stands = |raised: &MemorySize| match render::memory_limit(draft.seen.task) {
        Some(given) => *raised > given,
        None => !is_edited,
    };
    draft.status.memory = draft.status.memory.filter(stands);
    if draft.status.memory.is_none() {
        draft.status.memory_rule = None;
    }
}
