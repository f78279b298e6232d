//! What the actions of the failure policy mean: the one place where they differ.

use crate::api::task::{Action, Rule};

/// How often a rule that drops checkpoints may act without a limit of its own.
const DROPS_ALLOWED: i32 = 3;

/// What follows the end of an attempt that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// The task fails.
    Fail,
    /// The task is held for a human.
    Hold,
    /// Another attempt, unless tries are used up.
    TryAgain { drops: Option<Drops>, bound: Bound },
}

/// Which checkpoints are bad.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drops {
    /// The latest.
    Latest,
    /// All.
    All,
}

/// What bounds the tries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// The budget of the class of trouble.
    Budget,
    /// The rule's own limit; with none, nothing does.
    Rule(Option<i32>),
}

impl Meaning {
    /// What the rule's action means.
    pub(super) fn of(rule: &Rule) -> Self {
        let again = |drops, bound| Self::TryAgain { drops, bound };
        let dropping = |drops| again(Some(drops), Bound::Rule(Some(rule.limit.unwrap_or(DROPS_ALLOWED))));
        match rule.action {
            Action::Retry => again(None, rule.limit.map_or(Bound::Budget, |limit| Bound::Rule(Some(limit)))),
            Action::Ignore => again(None, Bound::Rule(rule.limit)),
            Action::Fail => Self::Fail,
            Action::Hold => Self::Hold,
            Action::Rollback => dropping(Drops::Latest),
            Action::StartOver => dropping(Drops::All),
        }
    }

    /// The checkpoints that are bad, if any are.
    pub(super) fn drops(self) -> Option<Drops> {
        match self {
            Self::TryAgain { drops, .. } => drops,
            Self::Fail | Self::Hold => None,
        }
    }

    /// What bounds the tries. An end that is not followed by another attempt is charged to the budget.
    pub(super) fn bound(self) -> Bound {
        match self {
            Self::TryAgain { bound, .. } => bound,
            Self::Fail | Self::Hold => Bound::Budget,
        }
    }
}
