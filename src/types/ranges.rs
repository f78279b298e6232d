//! Sets of indexes, written as an Indexed Job writes them: `0-700,702-3127`.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// A set of indexes. As a text, and so in JSON, its ranges in order: `0-700,702-3127`; empty when there is none.
///
/// It takes as much room as it has ranges, and time in the logarithm of them to ask, whatever the number of indexes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ranges(
    /// First and last of each, in order. Between two there is at least one index that is in neither.
    Vec<(u32, u32)>,
);

impl Ranges {
    /// The indexes from 0 to before `end`.
    pub fn below(end: u32) -> Self {
        Self(end.checked_sub(1).map(|last| (0, last)).into_iter().collect())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> u32 {
        self.0.iter().fold(0, |sum: u32, (first, last)| sum.saturating_add(last - first).saturating_add(1))
    }

    /// The lowest.
    pub fn first(&self) -> Option<u32> {
        self.0.first().map(|(first, _)| *first)
    }

    /// The highest.
    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|(_, last)| *last)
    }

    /// Whether this index is one of them.
    pub fn contains(&self, index: u32) -> bool {
        self.0[..self.position(index)].last().is_some_and(|(_, last)| index <= *last)
    }

    /// Adds an index.
    pub fn insert(&mut self, index: u32) {
        if self.contains(index) {
            return;
        }
        let at = self.position(index);
        let joins_before = at > 0 && self.0[at - 1].1.checked_add(1) == Some(index);
        let joins_behind = self.0.get(at).is_some_and(|(first, _)| index.checked_add(1) == Some(*first));
        match (joins_before, joins_behind) {
            (true, true) => self.0[at - 1].1 = self.0.remove(at).1,
            (true, false) => self.0[at - 1].1 = index,
            (false, true) => self.0[at].0 = index,
            (false, false) => self.0.insert(at, (index, index)),
        }
    }

    /// Takes an index out.
    pub fn remove(&mut self, index: u32) {
        if !self.contains(index) {
            return;
        }
        let at = self.position(index) - 1;
        let (first, last) = self.0[at];
        match (first == index, last == index) {
            (true, true) => {
                self.0.remove(at);
            }
            (true, false) => self.0[at].0 = index + 1,
            (false, true) => self.0[at].1 = index - 1,
            (false, false) => {
                self.0[at].1 = index - 1;
                self.0.insert(at + 1, (index + 1, last));
            }
        }
    }

    /// Takes the lowest out.
    pub fn pop_first(&mut self) -> Option<u32> {
        let first = self.first()?;
        self.remove(first);
        Some(first)
    }

    /// All of them, the lowest first.
    pub fn iter(&self) -> impl Iterator<Item = u32> {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Those that are in this one or the other.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).copied().collect();
        all.sort_unstable();
        let mut joined: Vec<(u32, u32)> = Vec::with_capacity(all.len());
        for (first, last) in all {
            match joined.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => joined.push((first, last)),
            }
        }
        Self(joined)
    }

    /// Those of this one that are not in the other.
    #[must_use]
    pub fn without(&self, other: &Self) -> Self {
        let (mut left, mut taken) = (Vec::with_capacity(self.0.len()), other.0.iter().peekable());
        for &(first, last) in &self.0 {
            let mut next = Some(first);
            while let (Some(from), Some(&&(start, end))) = (next, taken.peek()) {
                if start > last {
                    break;
                }
                if end >= from {
                    if start > from {
                        left.push((from, start - 1));
                    }
                    next = end.checked_add(1).filter(|after| *after <= last);
                }
                if end > last {
                    break;
                }
                taken.next();
            }
            left.extend(next.map(|from| (from, last)));
        }
        Self(left)
    }

    /// How many ranges begin at the index or before it.
    fn position(&self, index: u32) -> usize {
        self.0.partition_point(|(first, _)| *first <= index)
    }
}

impl FromIterator<u32> for Ranges {
    fn from_iter<I: IntoIterator<Item = u32>>(indexes: I) -> Self {
        let mut ranges = Self::default();
        for index in indexes {
            ranges.insert(index);
        }
        ranges
    }
}

/// A text that is not a set of indexes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} are not indexes: write numbers and ranges in order, such as 0-700,702,704-3127")]
pub struct NotRanges(String);

impl FromStr for Ranges {
    type Err = NotRanges;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let not_ranges = || NotRanges(text.chars().take(64).collect());
        let mut ranges: Vec<(u32, u32)> = Vec::new();
        for part in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = number(first).zip(number(last)).ok_or_else(not_ranges)?;
            if first > last {
                return Err(not_ranges());
            }
            match ranges.last_mut() {
                Some((_, end)) if first <= *end => return Err(not_ranges()),
                // Two that touch are one, whoever has written them.
                Some((_, end)) if first == *end + 1 => *end = last,
                _ => ranges.push((first, last)),
            }
        }
        Ok(Self(ranges))
    }
}

fn number(text: &str) -> Option<u32> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

impl TryFrom<String> for Ranges {
    type Error = NotRanges;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Ranges> for String {
    fn from(ranges: Ranges) -> Self {
        ranges.to_string()
    }
}

impl fmt::Display for Ranges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (first, last)) in self.0.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}-{last}")? }
        }
        Ok(())
    }
}

impl JsonSchema for Ranges {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Ranges".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string" })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn ranges(text: &str) -> Ranges {
        text.parse().expect(text)
    }

    #[test]
    fn a_set_is_written_as_an_indexed_job_writes_it() {
        for text in ["", "0", "0-700,702-3127", "1,3,5-6", "0-9999"] {
            assert_eq!(ranges(text).to_string(), text);
            assert_eq!(serde_json::to_value(ranges(text)).expect("JSON"), serde_json::json!(text));
        }
        assert_eq!(ranges("0-1,2,3-4").to_string(), "0-4", "what touches is one");
    }

    #[test]
    fn what_is_not_in_order_or_no_number_is_refused() {
        for text in [",", "1,", "a", "3-1", "5,4", "1-5,5", "-1", "1--2", "+1", " 1", "4294967296"] {
            assert!(text.parse::<Ranges>().is_err(), "{text:?}");
            assert!(serde_json::from_value::<Ranges>(serde_json::json!(text)).is_err(), "{text:?}");
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_no_trouble() {
        let mut all = ranges("0-4294967295");
        assert_eq!((all.len(), all.first(), all.last()), (u32::MAX, Some(0), Some(u32::MAX)));
        all.insert(u32::MAX);
        all.remove(0);
        all.remove(u32::MAX);
        assert_eq!(all.to_string(), "1-4294967294");
        assert_eq!(all.without(&ranges("5-4294967295")).to_string(), "1-4");
        assert_eq!(Ranges::below(0), Ranges::default());
        assert_eq!(Ranges::below(3).to_string(), "0-2");
    }

    /// Numbers close to each other, so that ranges meet.
    fn indexes() -> impl Strategy<Value = Vec<u32>> {
        proptest::collection::vec(0_u32..40, 0..30)
    }

    fn set(indexes: &[u32]) -> BTreeSet<u32> {
        indexes.iter().copied().collect()
    }

    proptest! {
        #[test]
        fn a_set_of_ranges_is_a_set(inserted in indexes(), removed in indexes(), asked in 0_u32..50) {
            let (mut ranges, mut model) = (Ranges::default(), BTreeSet::new());
            for (index, gone) in inserted.iter().zip(removed.iter().chain(std::iter::repeat(&99))) {
                ranges.insert(*index);
                model.insert(*index);
                ranges.remove(*gone);
                model.remove(gone);
            }
            prop_assert_eq!(ranges.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ranges.len() as usize, model.len());
            prop_assert_eq!((ranges.first(), ranges.last()), (model.first().copied(), model.last().copied()));
            prop_assert_eq!(ranges.contains(asked), model.contains(&asked));
            prop_assert_eq!(ranges.to_string().parse::<Ranges>(), Ok(ranges.clone()));
            prop_assert_eq!(model.iter().copied().collect::<Ranges>(), ranges.clone());
            prop_assert_eq!(ranges.pop_first(), model.pop_first());
            prop_assert!(ranges.iter().eq(model.iter().copied()));
        }

        #[test]
        fn sums_and_differences_are_those_of_sets(one in indexes(), other in indexes()) {
            let of = |indexes: &[u32]| indexes.iter().copied().collect::<Ranges>();
            let (one_set, other_set) = (set(&one), set(&other));
            prop_assert!(of(&one).union(&of(&other)) == one_set.union(&other_set).copied().collect::<Ranges>());
            prop_assert!(of(&one).without(&of(&other)) == one_set.difference(&other_set).copied().collect::<Ranges>());
        }
    }
}
