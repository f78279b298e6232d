//! Which saves are not needed any more. What the task's status names stays, and so does all that is newer: it may not be
//! told yet.

use std::collections::BTreeSet;

use longtask_contract::agent::SaveName;

/// How many of its own saves an agent leaves when nobody tells it which are named.
const LEFT: usize = 2;

/// The saves of earlier attempts that nobody needs. Of an attempt that goes on although it is not the current one any more,
/// new ones come after this; the next attempt finds them.
pub fn of_earlier_attempts(saves: &BTreeSet<SaveName>, named: &[SaveName], attempt: i64) -> Vec<SaveName> {
    let earlier = saves.iter().filter(|save| save.attempt < attempt);
    earlier.filter(|save| is_passed(save, named)).cloned().collect()
}

/// The pod's own saves that nobody needs, now that the status names these.
pub fn of_this_pod(saves: &BTreeSet<SaveName>, named: &[SaveName], own: &SaveName) -> Vec<SaveName> {
    of_pod(saves, own).filter(|save| is_passed(save, named)).cloned().collect()
}

/// The pod's own saves that nobody needs, when nobody tells which are named before the attempt ends. `complete` are those
/// that are known to be.
pub fn without_word(saves: &BTreeSet<SaveName>, complete: &BTreeSet<SaveName>, own: &SaveName) -> Vec<SaveName> {
    let Some(oldest_left) = complete.iter().rev().nth(LEFT - 1) else { return Vec::new() };
    of_pod(saves, own).filter(|save| *save < oldest_left).cloned().collect()
}

/// Whether a save is older than the newest one that is named, and not named itself.
fn is_passed(save: &SaveName, named: &[SaveName]) -> bool {
    named.iter().max().is_some_and(|newest| save < newest) && !named.contains(save)
}

fn of_pod<'a>(saves: &'a BTreeSet<SaveName>, own: &'a SaveName) -> impl Iterator<Item = &'a SaveName> {
    saves.iter().filter(|save| (save.attempt, &save.pod) == (own.attempt, &own.pod))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> SaveName {
        text.parse().expect(text)
    }

    fn names(texts: &[&str]) -> BTreeSet<SaveName> {
        texts.iter().map(|text| name(text)).collect()
    }

    fn told(saves: &[SaveName]) -> Vec<String> {
        saves.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_named_and_what_is_newer_stays() {
        let saves = names(&["1-a/1", "1-a/2", "2-b/1", "2-b/2", "2-b/3", "3-c/1"]);
        let named = [name("2-b/2"), name("1-a/1")];
        assert_eq!(told(&of_earlier_attempts(&saves, &named, 3)), ["1-a/2", "2-b/1"]);
        assert_eq!(told(&of_earlier_attempts(&saves, &named, 2)), ["1-a/2"], "not what this attempt saves");
        assert_eq!(told(&of_earlier_attempts(&saves, &[], 3)), [""; 0], "nothing is named yet");
    }

    #[test]
    fn a_pod_removes_only_its_own_while_it_runs() {
        let saves = names(&["1-a/1", "2-b/1", "2-b/2", "2-b/3", "2-b/4", "2-x/1", "3-c/1"]);
        let own = name("2-b/1");
        assert_eq!(told(&of_this_pod(&saves, &[name("2-b/3"), name("2-b/2")], &own)), ["2-b/1"]);
        assert_eq!(told(&of_this_pod(&saves, &[name("1-a/1")], &own)), [""; 0]);
        assert_eq!(told(&of_this_pod(&saves, &[name("3-c/1")], &own)), ["2-b/1", "2-b/2", "2-b/3", "2-b/4"]);
    }

    #[test]
    fn without_word_two_complete_saves_are_left() {
        let saves = names(&["1-a/9", "2-b/1", "2-b/2", "2-b/3", "2-b/4", "2-b/5"]);
        let own = name("2-b/1");
        let left = |complete: &[&str]| told(&without_word(&saves, &names(complete), &own));
        assert_eq!(left(&["2-b/2", "2-b/3", "2-b/4"]), ["2-b/1", "2-b/2"]);
        assert_eq!(left(&["2-b/2", "2-b/4"]), ["2-b/1"]);
        assert_eq!(left(&["2-b/2"]), [""; 0]);
        assert_eq!(left(&[]), [""; 0]);
    }

    fn any_name() -> impl Strategy<Value = SaveName> {
        (1..4_i64, 1..5_u64, prop::sample::select(vec!["a", "b"])).prop_map(|(attempt, number, pod)| SaveName {
            attempt,
            number,
            pod: pod.into(),
        })
    }

    proptest! {
        #[test]
        fn nothing_named_and_nothing_newer_is_ever_removed(
            saves in prop::collection::btree_set(any_name(), 0..20),
            named in prop::collection::vec(any_name(), 0..4),
            own in any_name(),
        ) {
            let mut removed = of_earlier_attempts(&saves, &named, own.attempt);
            removed.extend(of_this_pod(&saves, &named, &own));
            for save in removed {
                prop_assert!(!named.contains(&save));
                prop_assert!(named.iter().any(|named| *named > save));
                prop_assert!(save.attempt < own.attempt || (save.attempt, &save.pod) == (own.attempt, &own.pod));
            }
        }
    }
}
