//! What can go wrong between a plan and the API server, and how soon to try again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kube::core::Status;

use super::key::ObjectKey;

/// A call failed, or was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server answered with an error, or not at all.
    #[error("{what}: {}", in_short(.source))]
    Call {
        /// Which call.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// No answer in time. The call may have had its effect all the same.
    #[error("{what}: no answer within {within:?}")]
    Timeout {
        /// Which call.
        what: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The API server refuses to have the status written, and the task is as it was read.
    #[error("{what}: refused: {}", in_short(.source))]
    Refused {
        /// Which call.
        what: String,
        /// The answer.
        source: Box<kube::Error>,
    },
    /// The lease is about to end: a create that arrives late could bring back an old attempt.
    #[error("{what}: not sent, since leadership is about to end")]
    NotLeading {
        /// Which call.
        what: String,
    },
}

/// The API server's own words; the client's rendering of them adds a dump of the whole answer.
fn in_short(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("{} {}: {}", status.code, status.reason, status.message),
        other => other.to_string(),
    }
}

impl Error {
    /// What the API server answered; none when it gave no answer.
    pub(crate) fn answer(&self) -> Option<&Status> {
        match self {
            Self::Call { source, .. } | Self::Refused { source, .. } => match &**source {
                kube::Error::Api(status) => Some(status),
                _ => None,
            },
            Self::Timeout { .. } | Self::NotLeading { .. } => None,
        }
    }

    /// The HTTP status of the answer, if there was one.
    pub(crate) fn code(&self) -> Option<u16> {
        self.answer().map(|status| status.code)
    }

    /// The same answer as a refusal.
    pub(crate) fn into_refused(self) -> Self {
        match self {
            Self::Call { what, source } => Self::Refused { what, source },
            Self::Refused { .. } | Self::Timeout { .. } | Self::NotLeading { .. } => self,
        }
    }

    /// Whether another's write came first, and this one has done nothing. AlreadyExists has the same code.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Call { .. }) && self.code() == Some(409)
    }

    /// Whether it says nothing against the call itself, and may be over with the next try.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Call { .. } => self.code().is_none_or(|code| code == 429 || code >= 500),
            Self::Refused { .. } | Self::Timeout { .. } => false,
            Self::NotLeading { .. } => true,
        }
    }

    /// Whether nobody knows if the call has had its effect, or will.
    pub(crate) fn is_uncertain(&self) -> bool {
        match self {
            Self::Call { .. } => self.code().is_none_or(|code| code >= 500),
            Self::Timeout { .. } => true,
            Self::Refused { .. } | Self::NotLeading { .. } => false,
        }
    }

    /// Whether no answer was waited for any longer, or at all.
    pub(crate) fn is_late(&self) -> bool {
        match self {
            Self::Call { .. } | Self::Refused { .. } => false,
            Self::Timeout { .. } | Self::NotLeading { .. } => true,
        }
    }

    /// What kind of error it is, in one word, for a metric.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Call { .. } => match self.code() {
                Some(409) => "conflict",
                Some(429) => "throttled",
                Some(400..=499) => "refused",
                Some(_) => "server",
                None => "connection",
            },
            Self::Refused { .. } => "refused",
            Self::Timeout { .. } => "timeout",
            Self::NotLeading { .. } => "not_leading",
        }
    }
}

/// The first and the longest delay after an error.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_mins(1);

/// Errors in a row, by object: one that fails again and again is tried less and less often.
#[derive(Debug, Default)]
pub(crate) struct Backoffs(Mutex<HashMap<ObjectKey, u32>>);

impl Backoffs {
    /// Counts an error; returns how long to wait. A conflict is no error: the news is on its way.
    pub(crate) fn after(&self, object: &ObjectKey, error: &Error) -> Duration {
        if error.is_conflict() {
            return FIRST;
        }
        let mut in_a_row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = in_a_row.entry(object.clone()).or_default();
        *n = n.saturating_add(1);
        FIRST.saturating_mul(1 << (*n - 1).min(6)).min(LONGEST)
    }

    /// Whether the last try of the object failed as well.
    pub(crate) fn is_repeated(&self, object: &ObjectKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(object)
    }

    /// Forgets the errors of an object: it went well, or is gone.
    pub(crate) fn forget(&self, object: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(object);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(code: u16) -> Error {
        let status = Status::failure("quota exceeded", "Forbidden").with_code(code);
        Error::Call { what: "create pod".into(), source: Box::new(kube::Error::Api(Box::new(status))) }
    }

    #[test]
    fn an_answer_is_told_in_the_servers_own_words() {
        assert_eq!(answered(403).to_string(), "create pod: 403 Forbidden: quota exceeded");
    }

    #[test]
    fn what_an_answer_means_follows_from_its_code() {
        for (code, category, may_pass, is_uncertain) in [
            (403, "refused", false, false),
            (409, "conflict", false, false),
            (429, "throttled", true, false),
            (500, "server", true, true),
            (504, "server", true, true),
        ] {
            let error = answered(code);
            assert_eq!((error.category(), error.may_pass(), error.is_uncertain()), (category, may_pass, is_uncertain));
        }
    }

    #[test]
    fn delays_double_up_to_a_minute_and_start_anew_after_success() {
        let (backoffs, object) = (Backoffs::default(), ObjectKey { namespace: "a".into(), name: "b".into() });
        let error = Error::NotLeading { what: "create pod".into() };
        let delays: Vec<_> = (0..9).map(|_| backoffs.after(&object, &error).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoffs.forget(&object);
        assert_eq!(backoffs.after(&object, &error), FIRST);
    }
}
