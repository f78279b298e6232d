//! The failure policy: rules for attempts that did not end well.
//!
//! Nothing in a list has a default in the schema, here as elsewhere: tools that compare a manifest with what is stored
//! compare lists whole, and would see for ever what the server has filled in.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::Display;

use super::reasons::AttemptReason;
use crate::types::{
    Decimal, GoDuration, MemorySize,
    cel::{rule, rule_at},
    decimal::factor_from_1_to_10,
    duration::duration_between,
};

/// What follows particular failures. Changes take effect when the running attempt ends.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct FailurePolicy {
    /// The rules are tried in order when an attempt failed, did not start or was interrupted, and the first that
    /// matches decides. If none matches, the budgets of `retry` decide. Up to 20.
    #[schemars(length(max = 20), extend(
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" = [
            rule("self.all(r, self.exists_one(other, other.name == r.name))", "each rule needs a name of its own"),
        ],
    ))]
    pub rules: Vec<Rule>,

    /// What happens when a budget or a rule's limit is used up. Fail: the task fails. Hold: it is held with everything
    /// kept, phase Suspended and reason Held, until a new `restart.token` lets it go on. Default Fail.
    pub on_exhausted: OnExhausted,
}

/// What happens when tries are used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum OnExhausted {
    /// The task fails.
    #[default]
    Fail,
    /// The task is held for a human.
    Hold,
}

/// What follows one kind of failure. All matchers that are given must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.onExitCodes) || has(self.onReasons) || has(self.onErrorCodes) || has(self.onPodConditions)",
        "must have at least one of onExitCodes, onReasons, onErrorCodes and onPodConditions",
    ),
    only_before_another_attempt("delay"),
    only_before_another_attempt("limit"),
    only_before_another_attempt("memory"),
    only_before_another_attempt("avoidNode"),
]))]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The rule's name, for events and `status.ruleCounters`. Up to 32 characters.
    #[schemars(length(min = 1, max = 32))]
    pub name: String,

    /// Matches the main container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_codes: Option<ExitCodes>,

    /// Matches the reason of the attempt's end, as `status.lastFailure.reason` shows it. The list is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50), extend("x-kubernetes-list-type" = "set"))]
    pub on_reasons: Option<Vec<AttemptReason>>,

    /// Matches the `error.code` that the program reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub on_error_codes: Option<Vec<String>>,

    /// Matches the conditions that the pod ended with: one of these must be among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 20), extend("x-kubernetes-list-type" = "atomic"))]
    pub on_pod_conditions: Option<Vec<PodConditionPattern>>,

    /// What to do. Retry: try again, and count it. Ignore: try again, and charge no budget. Fail: fail the task now.
    /// Hold: wait for a human, in phase Suspended with reason Held, until a new `restart.token`. Rollback: drop the
    /// newest checkpoint and try again from the one before. StartOver: drop all checkpoints and try again from the
    /// beginning.
    pub action: Action,

    /// A fixed delay in place of the backoff. The program's own `retryAfter` overrides it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", Some("168h"))]))]
    pub delay: Option<GoDuration>,

    /// Retries by this rule in a row: n retries allow n + 1 tries. For them it replaces the budget. When it is used up,
    /// `onExhausted` decides, with reason RuleLimitExceeded. Default: the budget with Retry, none with Ignore, 3 with
    /// Rollback and StartOver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub limit: Option<i32>,

    /// Whether progress sets this rule's counter back. Default: as `retry.resetOnProgress`; false with Rollback and
    /// StartOver, so that a poison record does not loop for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_on_progress: Option<bool>,

    /// Gives the main container more memory in the attempts that follow, up to the end of the run. The rule matches
    /// only while memory can be raised: the container has a memory limit, and that is below `max`. A lower `max` lowers
    /// what was raised. Without the rule, the raise is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MemoryGrowth>,

    /// Asks the scheduler to keep the attempts that follow off the node of this one, up to the end of the run or until
    /// the rule no longer says so. It is a preference: where there is no other node, the scheduler uses such a one. Up
    /// to three nodes are avoided. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub avoid_node: Option<bool>,
}

/// A modifier that says something about the attempt that follows.
fn only_before_another_attempt(field: &str) -> Value {
    rule_at(
        &format!(".{field}"),
        &format!("!has(self.{field}) || !(self.action in ['Fail', 'Hold'])"),
        "goes only with an action that is followed by another attempt: Retry, Ignore, Rollback or StartOver",
    )
}

/// How memory grows. Both the limit and the request of the main container are raised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemoryGrowth {
    /// The factor by which the memory limit of the attempt that failed grows, more than 1 and up to 10: `2` or `"1.5"`.
    /// Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [
        factor_from_1_to_10(),
        rule("type(self) == int ? self != 1 : !self.matches('^1([.]0*)?$')", "must be more than 1, or nothing grows"),
    ]))]
    pub factor: Option<Decimal>,

    /// The largest amount that the limit grows to, such as 16Gi.
    pub max: MemorySize,
}

impl MemoryGrowth {
    /// The factor that counts.
    pub fn factor(&self) -> Decimal {
        self.factor.unwrap_or(Decimal::whole(2))
    }
}

/// A condition of a pod to match.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PodConditionPattern {
    /// The condition's type, such as DisruptionTarget.
    #[serde(rename = "type")]
    #[schemars(length(min = 1, max = 316))]
    pub type_: String,

    /// The condition's status. Default True.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "ConditionStatus")] // of an optional enum, the type's own description would be taken
    pub status: Option<ConditionStatus>,

    /// The condition's reason, such as TerminationByKubelet. Default: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 1024))]
    pub reason: Option<String>,
}

impl PodConditionPattern {
    /// The status that counts.
    pub fn status(&self) -> ConditionStatus {
        self.status.unwrap_or_default()
    }
}

/// The status of a condition.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, Display)]
pub enum ConditionStatus {
    /// It holds.
    #[default]
    True,
    /// It does not.
    False,
    /// Nobody knows.
    Unknown,
}

/// Exit codes to match.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExitCodes {
    /// In: the exit code is one of the values. NotIn: it is none of them.
    pub operator: Operator,
    /// The exit codes, 1 to 255.
    #[schemars(
        length(min = 1, max = 255),
        inner(range(min = 1, max = 255)),
        extend("x-kubernetes-list-type" = "set")
    )]
    pub values: Vec<i32>,
}

/// What the matchers that rules and breakers share look at in the end of an attempt.
#[derive(Clone, Copy, Debug)]
pub struct EndFacts<'a> {
    /// The main container's exit code.
    pub exit_code: Option<i32>,
    /// The reason of the end.
    pub reason: Option<AttemptReason>,
    /// The `error.code` that the program reported.
    pub code: Option<&'a str>,
}

impl EndFacts<'_> {
    /// Whether all of these matchers hold that are given.
    pub fn fit(
        self,
        on_exit_codes: Option<&ExitCodes>,
        on_reasons: Option<&[AttemptReason]>,
        on_error_codes: Option<&[String]>,
    ) -> bool {
        let by_exit_code = on_exit_codes.is_none_or(|codes| self.exit_code.is_some_and(|code| codes.hold_for(code)));
        let is_recorded = |named: &AttemptReason| self.reason.is_some_and(|recorded| named.matches(recorded));
        let by_reason = on_reasons.is_none_or(|reasons| reasons.iter().any(is_recorded));
        let is_reported = |named: &String| self.code == Some(named.as_str());
        let by_error_code = on_error_codes.is_none_or(|codes| codes.iter().any(is_reported));
        by_exit_code && by_reason && by_error_code
    }
}

impl ExitCodes {
    /// Whether an exit code is meant. 0, which is no failure, never is.
    pub fn hold_for(&self, code: i32) -> bool {
        match self.operator {
            Operator::In => self.values.contains(&code),
            Operator::NotIn => code != 0 && !self.values.contains(&code),
        }
    }
}

/// How exit codes are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// One of the values.
    In,
    /// None of the values.
    NotIn,
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Action {
    /// Try again, and count it.
    Retry,
    /// Try again, and charge no budget; the delay grows by the rule's own count.
    Ignore,
    /// Fail the task now.
    Fail,
    /// Hold the task for a human: phase Suspended, reason Held, until a new `restart.token`.
    Hold,
    /// Drop the newest checkpoint and try again from the one before; with none, from the beginning.
    Rollback,
    /// Drop all checkpoints and try again from the beginning.
    StartOver,
}
