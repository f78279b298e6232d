//! The failure policy: what an attempt's end is charged with, and what follows when that was too much.

use super::{
    actions::{Bound, Meaning},
    budgets::{self, Class},
    draft::Draft,
};
use crate::api::task::{FailureReason, LongTaskStatus, Rule, RuleCounter};

/// What an attempt's end is charged with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Charge<'a> {
    /// The class of trouble.
    pub(super) class: Class,
    /// The rule that matched, if one did.
    pub(super) rule: Option<&'a Rule>,
    /// How many in a row, with this one, by whatever counts them: the delay grows with it.
    pub(super) in_a_row: i64,
    /// Set when that is more than is allowed.
    pub(super) exhausted: Option<FailureReason>,
    /// Set when nothing is counted: a probe of a queue's breaker has failed.
    pub(super) is_free: bool,
}

impl<'a> Charge<'a> {
    /// What one more of the class is charged with: by the rule, where that has a limit of its own or charges no budget; else
    /// by its class.
    pub(super) fn of(class: Class, rule: Option<&'a Rule>, draft: &Draft<'_>) -> Self {
        let Some((own, Bound::Rule(limit))) = rule.map(|rule| (rule, Meaning::of(rule).bound())) else {
            let in_a_row = budgets::in_a_row(class, &draft.status).saturating_add(1);
            let exhausted = budgets::exhausted(class, in_a_row, &draft.spec.retry.budgets);
            return Self { class, rule, in_a_row, exhausted, is_free: false };
        };
        let counter = draft.status.rule_counters.iter().find(|counter| counter.name == own.name);
        let in_a_row = counter.map_or(0, |counter| counter.count).saturating_add(1);
        let is_exhausted = limit.is_some_and(|limit| in_a_row > i64::from(limit));
        let exhausted = is_exhausted.then_some(FailureReason::RuleLimitExceeded);
        Self { class, rule, in_a_row, exhausted, is_free: false }
    }

    /// The same at no cost.
    pub(super) fn free(self) -> Self {
        Self { exhausted: None, is_free: true, ..self }
    }

    /// Counts it.
    pub(super) fn count(&self, status: &mut LongTaskStatus) {
        if self.is_free {
            return;
        }
        match self.rule.filter(|rule| Meaning::of(rule).bound() != Bound::Budget) {
            Some(rule) => {
                budgets::count_total(self.class, status);
                count(rule, status);
            }
            None => budgets::count(self.class, status),
        }
    }
}

fn count(rule: &Rule, status: &mut LongTaskStatus) {
    match status.rule_counters.iter_mut().find(|counter| counter.name == rule.name) {
        Some(counter) => counter.count = counter.count.saturating_add(1),
        None => status.rule_counters.push(RuleCounter { name: rule.name.clone(), count: 1 }),
    }
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
    rule.reset_on_progress.unwrap_or(by_default && Meaning::of(rule).drops().is_none())
}
