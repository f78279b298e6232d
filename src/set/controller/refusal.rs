//! What it means that a member could not be created, and what is remembered of it until it is tried again.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{
    set::plan::{Cause, Refused},
    types::time::{after, seconds_between},
};

/// The shortest and longest wait before what was refused is tried again, in seconds; in between, as long as it has been refused
/// already.
const WAIT: std::ops::RangeInclusive<i64> = 5..=60;

/// What was refused, by the UID of the set.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<String, OfSet>>);

#[derive(Clone, Debug, Default)]
struct OfSet {
    create: Option<Refusal<Cause>>,
    taken: BTreeMap<u32, Refusal<String>>,
}

#[derive(Clone, Debug)]
struct Refusal<W> {
    words: W,
    since: Timestamp,
    again: Timestamp,
    /// The generation of the set that was refused: another one is tried at once.
    generation: i64,
}

impl<W> Refusal<W> {
    fn next(before: Option<&Self>, words: W, now: Timestamp, generation: i64) -> Self {
        let since = before.filter(|before| before.generation == generation).map_or(now, |before| before.since);
        let waited = seconds_between(since, now).clamp(*WAIT.start(), *WAIT.end());
        Self { words, since, again: after(now, waited), generation }
    }
}

impl Refusals {
    /// What is refused of a set of this generation.
    pub(super) fn of(&self, uid: &str, generation: i64) -> Refused {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(known) = known.get(uid) else { return Refused::default() };
        let create = known.create.as_ref().filter(|refusal| refusal.generation == generation);
        let taken = known.taken.iter().filter(|(_, refusal)| refusal.generation == generation);
        Refused {
            create: create.map(|refusal| (refusal.words.clone(), refusal.again)),
            taken: taken.map(|(index, refusal)| (*index, (refusal.words.clone(), refusal.again))).collect(),
        }
    }

    /// The API server refuses members, in these words.
    pub(super) fn create(&self, uid: &str, words: Cause, now: Timestamp, generation: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_set = known.entry(uid.to_owned()).or_default();
        of_set.create = Some(Refusal::next(of_set.create.as_ref(), words, now, generation));
    }

    /// Something else has the name of a member.
    pub(super) fn taken(&self, uid: &str, index: u32, whose: String, now: Timestamp, generation: i64) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_set = known.entry(uid.to_owned()).or_default();
        let refusal = Refusal::next(of_set.taken.get(&index), whose, now, generation);
        of_set.taken.insert(index, refusal);
    }

    /// A member was created.
    pub(super) fn created(&self, uid: &str, index: u32) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_set) = known.get_mut(uid) {
            of_set.create = None;
            of_set.taken.remove(&index);
        }
    }

    /// Forgets a set that is gone.
    pub(super) fn forget(&self, uid: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(uid);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    #[test]
    fn what_is_refused_is_tried_less_and_less_often_and_at_once_after_an_edit() {
        let refusals = Refusals::default();
        let words = || Cause::new("QuotaExceeded", "full");
        let waits: Vec<_> = [0, 5, 10, 20, 40, 80, 140]
            .map(|second| {
                refusals.create("u", words(), at(second), 1);
                let (_, again) = refusals.of("u", 1).create.expect("it is refused");
                seconds_between(at(second), again)
            })
            .into();
        assert_eq!(waits, [5, 5, 10, 20, 40, 60, 60]);
        assert_eq!(refusals.of("u", 2), Refused::default(), "another generation");
        refusals.taken("u", 7, "of another".into(), at(200), 1);
        assert_eq!(refusals.of("u", 1).taken[&7], ("of another".to_owned(), at(205)));
        refusals.created("u", 7);
        assert_eq!(refusals.of("u", 1), Refused::default());
    }
}
