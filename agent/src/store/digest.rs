//! Digests of what is stored.

use std::{fmt, fmt::Write, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// What stands before a digest where its sort is told.
const SORT: &str = "sha256:";

/// A sha256, written in hexadecimal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest([u8; 32]);

/// A text that is no digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no sha256 in hexadecimal")]
pub struct NoDigest;

/// Takes the digest of bytes as they come.
#[derive(Clone, Debug, Default)]
pub struct Hasher(Sha256);

impl Digest {
    /// The digest of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// With its sort, as a status has it.
    pub fn with_sort(self) -> String {
        format!("{SORT}{self}")
    }

    /// Reads what [`with_sort`](Self::with_sort) has written.
    ///
    /// # Errors
    /// For a digest of another sort.
    pub fn from_sorted(text: &str) -> Result<Self, NoDigest> {
        text.strip_prefix(SORT).ok_or(NoDigest)?.parse()
    }
}

impl Hasher {
    /// Takes more bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of all that was taken.
    pub fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut bytes = [0; 32];
        let is_written = text.len() == 64 && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'));
        if !is_written {
            return Err(NoDigest);
        }
        for (byte, at) in bytes.iter_mut().zip((0..).step_by(2)) {
            *byte = u8::from_str_radix(&text[at..at + 2], 16).map_err(|_| NoDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for Digest {
    type Error = NoDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        let mut text = Self::with_capacity(64);
        // A string takes everything.
        let _ = write!(text, "{digest}");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_digest_is_written_as_it_is_read() {
        assert_eq!(Digest::of(b"").to_string(), OF_NOTHING);
        assert_eq!(OF_NOTHING.parse(), Ok(Digest::of(b"")));
        assert_eq!(Digest::from_sorted(&Digest::of(b"").with_sort()), Ok(Digest::of(b"")));
        for other in ["", OF_NOTHING, "md5:00", &OF_NOTHING.to_uppercase(), "sha256:00"] {
            assert_eq!(Digest::from_sorted(other), Err(NoDigest), "{other}");
        }
    }

    #[test]
    fn bytes_that_come_in_pieces_have_the_same_digest() {
        let mut hasher = Hasher::default();
        hasher.take(b"a");
        hasher.take(b"bc");
        assert_eq!(hasher.digest(), Digest::of(b"abc"));
    }
}
