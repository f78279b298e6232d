//! The failure policy: what an attempt's end is charged with, and what follows when that was too much.

use super::{
    budgets::{self, Class},
    decision::EventReason,
    draft::Draft,
    onward,
};
use crate::api::{
    Action, ConditionType, Consecutive, FailureReason, LongTaskStatus, OnExhausted, Phase, Rule, RuleCounter,
    find_condition,
};

/// How often a rule that drops checkpoints may act without a limit of its own.
const DROPS_ALLOWED: i32 = 3;
/// The reason of the condition `Suspended` and of the phase when the policy holds a task.
const HELD: &str = "Held";

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
        OnExhausted::Fail => onward::fail(draft, reason, message),
        OnExhausted::Hold => hold(draft, &format!("{reason}: {message}")),
    }
}

/// Holds the task for a human.
pub(super) fn hold(draft: &mut Draft<'_>, why: &str) {
    draft.status.next_attempt_time = None;
    let message = format!("{why}; everything is kept; set a new spec.restart.token to let it go on");
    draft.set_condition(ConditionType::Suspended, true, HELD, &message);
    draft.set_condition(ConditionType::Reconciling, false, HELD, "held by the failure policy");
    draft.warn(EventReason::Held, &format!("Held: {message}."));
}

/// Whether the policy holds the task.
pub(super) fn is_held(status: &LongTaskStatus) -> bool {
    find_condition(&status.conditions, ConditionType::Suspended)
        .is_some_and(|suspended| suspended.status == "True" && suspended.reason == HELD)
}

/// Shows that the task is held, if it is.
pub(super) fn stays_held(draft: &mut Draft<'_>) -> bool {
    let is_held = is_held(&draft.status);
    if is_held {
        draft.stands(Phase::Suspended, HELD);
        onward::wake_at_next_limit(draft);
    }
    is_held
}

/// Lets a held task go on, with all counters at 0.
pub(super) fn release(draft: &mut Draft<'_>, from: &str) {
    draft.status.consecutive = Consecutive::default();
    draft.status.rule_counters.clear();
    onward::count_pause(draft);
    draft.set_condition(ConditionType::Suspended, false, "Released", "released by a new restart token");
    draft.set_condition(ConditionType::Reconciling, true, "Released", "the run goes on");
    let note = format!("Released by a new restart token; the run goes on from {from} with all counters at 0.");
    draft.say(EventReason::Restarted, &note);
}
