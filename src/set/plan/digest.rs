//! What a set's inputs were, in a few letters.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::{api::set::LongTaskSetSpec, contract::input};

/// The digest of `spec.input`, `spec.items` and how they are dealt out.
pub fn digest(spec: &LongTaskSetSpec) -> String {
    let mut hasher = Sha256::new();
    let mut add = |text: &str| {
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text);
    };
    add("longtask/set/1");
    add(&spec.batch_size().to_string());
    add(&spec.input.as_ref().map(input::compact).unwrap_or_default());
    for item in spec.items.iter().flatten() {
        add(&input::compact(item));
    }
    let digest = hasher.finalize();
    digest.iter().fold("sha256:".to_owned(), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
