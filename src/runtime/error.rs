//! What can go wrong between a plan and the API server, and how soon to try again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use super::key::ObjectKey;

/// A call failed, or was not made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The API server answered with an error, or not at all.
    #[error("{what}: {source}")]
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
    #[error("{what}: refused: {source}")]
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

impl Error {
    /// Whether the plan was made from an old reading; nothing was done.
    pub(crate) fn is_conflict(&self) -> bool {
        matches!(self, Self::Call { source, .. } if matches!(&**source, kube::Error::Api(status) if status.code == 409))
    }

    /// Whether it says nothing against the call itself, and may be over with the next try.
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::Call { source, .. } => match &**source {
                kube::Error::Api(status) => status.code == 429 || status.code >= 500,
                _ => true,
            },
            Self::Refused { .. } | Self::Timeout { .. } => false,
            Self::NotLeading { .. } => true,
        }
    }

    /// Whether nobody knows if the call has had its effect, or will.
    pub(crate) fn is_uncertain(&self) -> bool {
        match self {
            Self::Call { source, .. } => !matches!(&**source, kube::Error::Api(status) if status.code < 500),
            Self::Timeout { .. } => true,
            Self::Refused { .. } | Self::NotLeading { .. } => false,
        }
    }

    /// What kind of error it is, in one word, for a metric.
    pub(crate) fn category(&self) -> &'static str {
        match self {
            Self::Call { .. } if self.is_conflict() => "conflict",
            Self::Call { source, .. } => match &**source {
                kube::Error::Api(status) => match status.code {
                    429 => "throttled",
                    400..=499 => "refused",
                    _ => "server",
                },
                _ => "connection",
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

/// Errors in a row, by task: one that fails again and again is tried less and less often.
#[derive(Debug, Default)]
pub(crate) struct Backoffs(Mutex<HashMap<ObjectKey, u32>>);

impl Backoffs {
    /// Counts an error; returns how long to wait. A conflict is no error: the news is on its way.
    pub(crate) fn after(&self, task: &ObjectKey, error: &Error) -> Duration {
        if error.is_conflict() {
            return FIRST;
        }
        let mut in_a_row = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let n = in_a_row.entry(task.clone()).or_default();
        *n = n.saturating_add(1);
        FIRST.saturating_mul(1 << (*n - 1).min(6)).min(LONGEST)
    }

    /// Whether the last try of the task failed as well.
    pub(crate) fn is_repeated(&self, task: &ObjectKey) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(task)
    }

    /// Forgets the errors of a task: it went well, or is gone.
    pub(crate) fn forget(&self, task: &ObjectKey) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(task);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute_and_start_anew_after_success() {
        let (backoffs, task) = (Backoffs::default(), ObjectKey { namespace: "a".into(), name: "b".into() });
        let error = Error::NotLeading { what: "create pod".into() };
        let delays: Vec<_> = (0..9).map(|_| backoffs.after(&task, &error).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        backoffs.forget(&task);
        assert_eq!(backoffs.after(&task, &error), FIRST);
    }
}
