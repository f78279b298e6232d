//! What a rule changes for the attempts that follow: what they resume from, their memory, the nodes that they avoid.

use std::fmt;

use super::{
    actions::{Drops, Meaning},
    draft::Draft,
    edits,
    observed::PodFacts,
    stored_checkpoint,
};
use crate::{
    api::task::{LongTaskStatus, MemoryGrowth, Rule},
    task::render,
    types::MemorySize,
};

/// How many nodes are avoided at most: with more, a small cluster would have none left to prefer.
const AVOIDED_NODES: usize = 3;

/// What a rule changes for the attempts that follow.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Changes<'a> {
    /// The rule; none where the checkpoint cannot be read, and no rule says what follows.
    rule: Option<&'a str>,
    dropped: Option<Dropped>,
    memory: Option<MemorySize>,
    avoided: Option<String>,
}

/// Which checkpoints a rule says are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dropped {
    /// The latest: back to the one of this sequence.
    Latest(i64),
    /// All.
    All,
}

impl<'a> Changes<'a> {
    /// What the rule changes. `pod` is what the attempt ended with, `node` where it was.
    pub(super) fn by(rule: &'a Rule, pod: Option<&PodFacts>, node: Option<&str>, status: &LongTaskStatus) -> Self {
        let earlier = status.checkpoint_history.first();
        let dropped = Meaning::of(rule).drops().map(|drops| match drops {
            Drops::Latest => earlier.map_or(Dropped::All, |earlier| Dropped::Latest(earlier.sequence)),
            Drops::All => Dropped::All,
        });
        let memory = rule.memory.as_ref().and_then(|growth| grown(pod, growth));
        let avoided = node.filter(|_| rule.avoid_node == Some(true)).map(str::to_owned);
        Self { rule: Some(&rule.name), dropped, memory, avoided }
    }

    /// What it changes that the latest checkpoint cannot be read.
    pub(super) fn by_unreadable_checkpoint(status: &LongTaskStatus) -> Self {
        let dropped = status.checkpoint_history.first().map(|earlier| Dropped::Latest(earlier.sequence));
        Self { rule: None, dropped, memory: None, avoided: None }
    }

    /// Makes the changes.
    pub(super) fn apply(&self, status: &mut LongTaskStatus) {
        match self.dropped {
            None => {}
            Some(Dropped::Latest(_)) => status.checkpoint = Some(status.checkpoint_history.remove(0)),
            Some(Dropped::All) => {
                status.checkpoint = None;
                status.checkpoint_history.clear();
            }
        }
        if self.dropped.is_some() {
            // The work behind the dropped checkpoints is done again: that it was done once must not make it a stall.
            status.run.high_water = None;
            stored_checkpoint::begin_epoch(status);
        }
        if let Some((memory, rule)) = self.memory.zip(self.rule) {
            (status.memory, status.memory_rule) = (Some(memory), Some(rule.to_owned()));
        }
        if let Some((node, rule)) = self.avoided.as_ref().zip(self.rule) {
            avoid(node, rule, status);
        }
    }
}

/// For people, such as `rule oom, memory raised to 2Gi`.
impl fmt::Display for Changes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(rule) => write!(f, "rule {rule}")?,
            None => f.write_str("its checkpoint cannot be read")?,
        }
        match self.dropped {
            None => {}
            Some(Dropped::Latest(sequence)) => write!(f, ", back to checkpoint {sequence}")?,
            Some(Dropped::All) => f.write_str(", back to the beginning")?,
        }
        if let Some(memory) = self.memory {
            write!(f, ", memory raised to {memory}")?;
        }
        if let Some(node) = &self.avoided {
            write!(f, ", away from node {node} if possible")?;
        }
        Ok(())
    }
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
