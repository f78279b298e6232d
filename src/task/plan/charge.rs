//! The failure policy: what an attempt's end is charged with, and what follows when that was too much.

use super::{
    budgets::{self, Class},
    draft::Draft,
    finish, suspension,
};
use crate::api::task::{Action, FailureReason, LongTaskStatus, OnExhausted, Rule, RuleCounter};

/// How often a rule that drops checkpoints may act without a limit of its own.
const DROPS_ALLOWED: i32 = 3;
/// What an attempt's end is charged with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Charge {
    /// How many in a row, by whatever counts them: the delay grows with it.
    pub(super) in_a_row: i64,
    /// Set when that is more than is allowed.
    pub(super) exhausted: Option<FailureReason>,
}

/// Counts an attempt's end: by the rule, where that has a limit of its own or charges no budget; else by its class.
pub(super) fn charge(rule: Option<&Rule>, class: Class, draft: &mut Draft<'_>) -> Charge {
    let Some((rule, limit)) = rule.and_then(|rule| Some((rule, own_limit(rule)?))) else {
        let in_a_row = budgets::count(class, &mut draft.status);
        return Charge { in_a_row, exhausted: budgets::exhausted(class, in_a_row, &draft.spec.retry.budgets) };
    };
    budgets::count_total(class, &mut draft.status);
    let in_a_row = count(rule, &mut draft.status);
    let is_exhausted = limit.is_some_and(|limit| in_a_row > i64::from(limit));
    Charge { in_a_row, exhausted: is_exhausted.then_some(FailureReason::RuleLimitExceeded) }
}

/// How a rule bounds its own retries, `Some(None)` being not at all; none when the budget of the class does.
#[expect(clippy::option_option, reason = "said above")]
fn own_limit(rule: &Rule) -> Option<Option<i32>> {
    match rule.action {
        Action::Retry => rule.limit.map(Some),
        Action::Ignore => Some(rule.limit),
        Action::Rollback | Action::StartOver => Some(Some(rule.limit.unwrap_or(DROPS_ALLOWED))),
        Action::Fail | Action::Hold => None,
    }
}

fn count(rule: &Rule, status: &mut LongTaskStatus) -> i64 {
    if let Some(counter) = status.rule_counters.iter_mut().find(|counter| counter.name == rule.name) {
        counter.count = counter.count.saturating_add(1);
        return counter.count;
    }
    status.rule_counters.push(RuleCounter { name: rule.name.clone(), count: 1 });
    1
}

/// Sets back what progress sets back: the counters of the classes, and those of the rules that want it. The counters of
/// rules that are no more go with them.
pub(super) fn reset_by_progress(draft: &mut Draft<'_>) {
    let by_default = draft.spec.retry.reset_on_progress;
    if by_default {
        budgets::reset(&mut draft.status);
    }
    let rules = &draft.spec.failure_policy.rules;
    draft.status.rule_counters.retain(|counter| {
        let rule = rules.iter().find(|rule| rule.name == counter.name);
        rule.is_some_and(|rule| !is_reset_by_progress(rule, by_default))
    });
}

fn is_reset_by_progress(rule: &Rule, by_default: bool) -> bool {
    rule.reset_on_progress.unwrap_or(match rule.action {
        Action::Rollback | Action::StartOver => false,
        Action::Retry | Action::Ignore | Action::Fail | Action::Hold => by_default,
    })
}

/// Tries are used up: fails or holds the task, as the policy says.
pub(super) fn exhaust(draft: &mut Draft<'_>, reason: FailureReason, message: &str) {
    match draft.spec.failure_policy.on_exhausted {
        OnExhausted::Fail => finish::fail(draft, reason, message),
        OnExhausted::Hold => suspension::hold(draft, &format!("{reason}: {message}")),
    }
}
