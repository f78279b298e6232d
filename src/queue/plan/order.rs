//! Who is called before whom.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
};

use foldhash::{HashMap, HashMapExt};
use jiff::Timestamp;

use super::observed::QueuedTask;
use crate::{
    api::queue::{Holder, PerKey, TaskQueueSpec},
    types::time::seconds_between,
};

/// How many steps of priority waiting can count for.
const MOST_STEPS: i64 = 10;

/// What orders two tasks of the same namespace and key, the first being the smallest: effective priority, whether it has begun,
/// how long it has waited, its sequence, its name.
type Rank<'a> = (i64, bool, Timestamp, i64, &'a str);

/// A group: tasks of one namespace and key, by where they are in the line, the next one first. Few of many are called, so they are
/// never all put in order.
struct Group<'a> {
    held: usize,
    tasks: BinaryHeap<Reverse<(Rank<'a>, usize)>>,
}

/// The groups of one namespace, the next one first.
struct Share<'a> {
    held: usize,
    next: BinaryHeap<Reverse<(HeadRank<'a>, usize)>>,
}

/// What orders the first tasks of two groups of a namespace: effective priority, holders of the key, and the rest.
type HeadRank<'a> = (i64, usize, bool, Timestamp, i64, &'a str);

/// By what those who wait are ordered.
#[derive(Clone, Copy)]
pub(super) struct Order<'a> {
    pub(super) spec: &'a TaskQueueSpec,
    /// Who has begun comes before who has not: not while a breaker tries tasks, lest it is always the same one.
    pub(super) begun_first: bool,
    pub(super) now: Timestamp,
}

/// The first `most` of those who wait, in the order in which they are called: the highest priority; then namespaces and keys with
/// few places; then who has begun; then who has waited longest.
pub(super) fn first_in_line<'a>(
    line: &[&'a QueuedTask],
    holders: &[Holder],
    order: Order<'_>,
    most: usize,
) -> Vec<&'a QueuedTask> {
    let spec = order.spec;
    let mut groups = groups(line, holders, order);
    let most_of_key = spec.per_key.as_ref().and_then(PerKey::places);
    let is_open = |group: &Group<'_>| most_of_key.is_none_or(|most| group.held < most);
    let mut shares: BTreeMap<&str, Share<'a>> = BTreeMap::new();
    let mut held: HashMap<&str, usize> = HashMap::new();
    for holder in holders {
        *held.entry(holder.namespace()).or_default() += 1;
    }
    for (index, group) in groups.iter().enumerate().filter(|(_, group)| is_open(group)) {
        let Some((rank, task)) = group.first() else { continue };
        let namespace = line[task].namespace.as_str();
        let share = shares
            .entry(namespace)
            .or_insert_with(|| Share { held: held.get(namespace).copied().unwrap_or(0), next: BinaryHeap::new() });
        share.next.push(Reverse((head(rank, group.held), index)));
    }
    let mut shares: Vec<_> = shares.into_values().collect();
    let mut next: BinaryHeap<_> =
        shares.iter().enumerate().filter_map(|(index, share)| Some(Reverse((share.rank()?, index)))).collect();
    let mut called = Vec::new();
    while called.len() < most
        && let Some(Reverse((_, of))) = next.pop()
    {
        // Only what has just been called changes the rank of a namespace or a key: all others stand where they stood.
        let share = &mut shares[of];
        let Some(Reverse((_, index))) = share.next.pop() else { continue };
        let group = &mut groups[index];
        let Some(Reverse((_, task))) = group.tasks.pop() else { continue };
        called.push(line[task]);
        share.held += 1;
        group.held += 1;
        if let Some((rank, _)) = group.first().filter(|_| most_of_key.is_none_or(|most| group.held < most)) {
            share.next.push(Reverse((head(rank, group.held), index)));
        }
        if let Some(rank) = share.rank() {
            next.push(Reverse((rank, of)));
        }
    }
    called
}

impl<'a> Group<'a> {
    fn first(&self) -> Option<(Rank<'a>, usize)> {
        self.tasks.peek().map(|Reverse(first)| *first)
    }
}

impl<'a> Share<'a> {
    /// What orders namespaces: the effective priority of the first task, then holders, then the rest of its rank.
    fn rank(&self) -> Option<(i64, usize, HeadRank<'a>)> {
        let Reverse((head, _)) = self.next.peek()?;
        Some((head.0, self.held, *head))
    }
}

fn head(rank: Rank<'_>, held: usize) -> HeadRank<'_> {
    let (priority, begun, since, sequence, name) = rank;
    (priority, held, begun, since, sequence, name)
}

fn groups<'a>(line: &[&'a QueuedTask], holders: &[Holder], order: Order<'_>) -> Vec<Group<'a>> {
    let label = order.spec.per_key.as_ref().map(|per_key| per_key.label.as_str());
    let mut held: HashMap<(&str, &str), usize> = HashMap::new();
    for (holder, key) in holders.iter().filter_map(|holder| Some((holder, holder.key.as_deref()?))) {
        *held.entry((holder.namespace(), key)).or_default() += 1;
    }
    let mut groups: Vec<(usize, Vec<_>)> = Vec::new();
    let mut places: HashMap<(&str, Option<&str>), usize> = HashMap::new();
    for (index, task) in line.iter().copied().enumerate() {
        let ranked = Reverse((rank(task, order), index));
        let key = label.map(|label| task.labels.get(label).map(String::as_str));
        // Without the label it is a key of its own.
        let place = match key {
            Some(None) => groups.len(),
            Some(Some(key)) => *places.entry((task.namespace.as_str(), Some(key))).or_insert(groups.len()),
            None => *places.entry((task.namespace.as_str(), None)).or_insert(groups.len()),
        };
        if place == groups.len() {
            let of_key = key.flatten().and_then(|key| held.get(&(task.namespace.as_str(), key)));
            groups.push((of_key.copied().unwrap_or(0), Vec::new()));
        }
        groups[place].1.push(ranked);
    }
    groups.into_iter().map(|(held, tasks)| Group { held, tasks: BinaryHeap::from(tasks) }).collect()
}

fn rank<'a>(task: &'a QueuedTask, order: Order<'_>) -> Rank<'a> {
    let since = task.ticket.as_ref().map_or(order.now, |ticket| ticket.since);
    let waited = seconds_between(since, order.now).max(0);
    let steps = order.spec.aging.map_or(0, |aging| (waited / aging.as_secs().max(1)).min(MOST_STEPS));
    let priority = task.priority.saturating_add(steps);
    (-priority, order.begun_first && !task.has_begun, since, task.sequence, &task.name)
}
