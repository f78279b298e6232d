//! Names from keys, and digests of inputs.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::contract::input::{self, Input};

/// The longest part of a template's name in the name of a task, in bytes.
const LONGEST_PART: usize = 31;
/// Likewise of a set, whose members have an index behind it.
const LONGEST_PART_OF_SET: usize = 25;
/// How many characters stand behind it, of five bits each.
const CHARACTERS: usize = 20;
/// base32hex, in lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// What makes two requests for a task the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// Through which entry it came, such as `kubectl`.
    pub entry: &'a str,
    /// Whose key it is within that entry; empty where everybody's keys are the same.
    pub scope: &'a str,
    /// The key.
    pub key: &'a str,
}

/// The name of the task that a key makes from a template: the same key, the same name. At most 52 characters, which is what
/// a task's name may have.
pub fn task_name(namespace: &str, template: &str, key: Key<'_>) -> String {
    named(namespace, template, key, LONGEST_PART)
}

/// Likewise, the name of a set. At most 46 characters, which is what a set's name may have.
pub fn set_name(namespace: &str, template: &str, key: Key<'_>) -> String {
    named(namespace, template, key, LONGEST_PART_OF_SET)
}

fn named(namespace: &str, template: &str, key: Key<'_>, longest: usize) -> String {
    let digest = digest_of(&["longtask/start/1", namespace, template, key.entry, key.scope, key.key]);
    let part = &template[..template.floor_char_boundary(longest)];
    let part = part.trim_end_matches(|last: char| !last.is_ascii_alphanumeric());
    format!("{part}-{}", base32(&digest))
}

/// The digest by which a task that was made from a key knows whether a repeat is for the same template and input.
pub fn request_digest(template: &str, input: Option<&Input>) -> String {
    let given = input.map(input::compact).unwrap_or_default();
    format!("sha256:{}", hex(&digest_of(&["longtask/input/1", template, &given])))
}

/// The digest of the input that a run begins with; none where there is no input.
pub fn run_digest(input: Option<&Input>) -> Option<String> {
    input.map(|input| format!("sha256:{}", hex(&Sha256::digest(input::compact(input)))))
}

/// SHA-256 over some texts, each preceded by its length in bytes as a big-endian number of 64 bits.
fn digest_of(texts: &[&str]) -> Vec<u8> {
    let mut hasher = Sha256::new();
    for text in texts {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    }
    hasher.finalize().to_vec()
}

/// The first 100 bits.
fn base32(digest: &[u8]) -> String {
    let bit = |at: usize| digest.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    let character = |at: usize| (0..5).fold(0, |value, offset| value << 1 | bit(at * 5 + offset));
    (0..CHARACTERS).map(|at| char::from(ALPHABET[usize::from(character(at))])).collect()
}

fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::with_capacity(2 * digest.len()), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn name(template: &str, key: &str) -> String {
        task_name("shop", template, Key { entry: "kubectl", scope: "", key })
    }

    #[test]
    fn the_same_key_makes_the_same_name_and_any_other_another() {
        let one = name("import-orders", "orders-3");
        assert_eq!(one, name("import-orders", "orders-3"));
        let key = Key { entry: "kubectl", scope: "", key: "orders-3" };
        let others = [
            name("import-orders", "orders-4"),
            task_name("other", "import-orders", key),
            task_name("shop", "import-orders", Key { entry: "gateway", ..key }),
            task_name("shop", "import-orders", Key { scope: "s", ..key }),
            // The same letters, cut elsewhere.
            task_name("shop", "import-orders", Key { scope: "o", key: "rders-3", ..key }),
        ];
        for other in others {
            assert_ne!(one, other);
        }
    }

    /// What names are made of can never change: a repeat after an upgrade would start a second task.
    #[test]
    fn a_name_is_for_ever() {
        assert_eq!(name("import-orders", "orders-3"), "import-orders-k8bf4lcv6nl8m3k55ob7");
    }

    #[test]
    fn a_name_is_valid_whatever_the_template_is_called() {
        for template in
            ["a", "a.b", &"x".repeat(63), &format!("{}.b", "x".repeat(30)), &format!("{}-.b", "x".repeat(29))]
        {
            let name = name(template, "k");
            let (part, digest) = name.rsplit_once('-').expect("two parts");
            assert!(name.len() <= 52 && digest.len() == 20, "{name}");
            assert!(part.ends_with(|last: char| last.is_ascii_alphanumeric()), "{name}");
            assert!(digest.bytes().all(|character| ALPHABET.contains(&character)), "{name}");
            let key = Key { entry: "kubectl", scope: "", key: "k" };
            assert!(set_name("shop", template, key).len() <= 46, "{template}");
        }
    }

    #[test]
    fn digests_tell_templates_and_inputs_apart_and_not_the_order_of_keys() {
        let input = |text: &str| serde_json::from_str::<Input>(text).expect("an input");
        let one = input(r#"{"a": 1, "b": 2}"#);
        assert_eq!(request_digest("t", Some(&one)), request_digest("t", Some(&input(r#"{"b": 2, "a": 1}"#))));
        let all = [
            request_digest("t", Some(&one)),
            request_digest("u", Some(&one)),
            request_digest("t", None),
            request_digest("t", Some(&Input::new())),
            run_digest(Some(&one)).expect("a digest"),
        ];
        assert!(all.iter().enumerate().all(|(at, one)| all[..at].iter().all(|other| one != other)), "{all:?}");
        assert!(all.iter().all(|digest| digest.len() == 71 && digest.starts_with("sha256:")), "{all:?}");
        assert_eq!(run_digest(None), None);
        assert_eq!(run_digest(json!({}).as_object()), run_digest(Some(&Input::new())));
    }
}
