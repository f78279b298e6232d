//! What the end of a turn says about the dependency.

use super::observed::Turn;
use crate::api::{
    queue::{Breaker, BreakerFailure, Holder},
    task::{EndFacts, Outcome},
};

/// What the end of a turn says about the dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It failed.
    Failed,
    /// It worked, or was not what failed.
    Healthy,
    /// Nothing.
    Neither,
}

pub(super) fn verdict_on(turn: &Turn, spec: &Breaker) -> Verdict {
    match turn.outcome {
        Outcome::Completed | Outcome::TimeLimit | Outcome::Yielded => Verdict::Healthy,
        Outcome::Stopped | Outcome::Interrupted | Outcome::StartFailed => Verdict::Neither,
        Outcome::Failed => {
            let end = EndFacts { exit_code: turn.exit_code, reason: turn.reason, code: turn.code.as_deref() };
            if spec.counts.iter().any(|entry| entry.fits(end)) { Verdict::Failed } else { Verdict::Healthy }
        }
    }
}

/// A counted failure, as the status shows it.
pub(super) fn failure_of(holder: &Holder, turn: &Turn) -> BreakerFailure {
    let code = turn.code.clone().or_else(|| turn.reason.map(|reason| reason.to_string())).unwrap_or_default();
    BreakerFailure { task: holder.task.clone(), code, message: turn.message.clone() }
}
