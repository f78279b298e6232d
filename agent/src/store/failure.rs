//! What the failure of a request to a store means.

use longtask_contract::agent::{RestoreTrouble, SaveTrouble};

/// Why a store did not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct Failure {
    /// What that means.
    pub cause: Cause,
    /// In words for the user, those of the store among them.
    pub words: String,
}

/// What a failure means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The store refuses: another credential or address is needed.
    Refused,
    /// The bucket, the container or the directory does not exist.
    NoBucket,
    /// The store is there, and this object is not.
    Missing,
    /// No answer, or one that another time may be better.
    Unreachable,
}

impl Failure {
    /// A failure that is found here, and not told by a store.
    pub fn new(cause: Cause, words: impl Into<String>) -> Self {
        Self { cause, words: words.into() }
    }

    /// Of a listing: what does not list anything is no place at all.
    #[must_use]
    pub fn of_listing(self) -> Self {
        let cause = if self.cause == Cause::Missing { Cause::NoBucket } else { self.cause };
        Self { cause, ..self }
    }

    /// What it is called when a save fails for it.
    pub fn save_trouble(&self) -> SaveTrouble {
        match self.cause {
            Cause::Refused => SaveTrouble::AccessDenied,
            Cause::NoBucket => SaveTrouble::NoSuchBucket,
            Cause::Missing | Cause::Unreachable => SaveTrouble::Unreachable,
        }
    }

    /// What it is called when a restore fails for it.
    pub fn restore_trouble(&self) -> RestoreTrouble {
        match self.cause {
            Cause::Refused | Cause::NoBucket => RestoreTrouble::Unusable,
            Cause::Missing => RestoreTrouble::Unreadable,
            Cause::Unreachable => RestoreTrouble::Unreachable,
        }
    }
}
