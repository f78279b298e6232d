//! The circuit breaker of a queue: what a user declares, and where it stands.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use strum::{Display, EnumIter, EnumMessage, IntoStaticStr};

use crate::{
    api::task::{AttemptReason, EndFacts, ExitCodes},
    types::{
        GoDuration,
        cel::rule,
        duration::{duration_between, longest_not_below_shortest},
        time::after,
    },
};

/// When a queue calls nobody, since what its tasks depend on fails, and how it finds out that this works again.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [longest_not_below_shortest("maxOpenFor", "openFor")]))]
#[serde(rename_all = "camelCase")]
pub struct Breaker {
    /// Which failures are those of the dependency, 1 to 10 entries of which any may fit. All others are the tasks' own.
    #[schemars(length(min = 1, max = 10), extend("x-kubernetes-list-type" = "atomic"))]
    pub counts: Vec<CountedFailure>,

    /// The breaker opens when so many counted failures, of two tasks at least, ended within `window`, 2 to 100. Default 5.
    #[serde(default = "failures")]
    #[schemars(range(min = 2, max = 100))]
    pub failures: i32,

    /// It opens only if counted failures are at least this share of what tells of the dependency, 1 to 100: of them, of the turns
    /// that ended well within `window` or with a failure that is not counted, and of the attempts that have run for `probeFor`.
    /// Default 50.
    #[serde(default = "percent")]
    #[schemars(range(min = 1, max = 100))]
    pub percent: i32,

    /// The time that counts, 10s to 1h. Default 1m.
    #[serde(default = "window")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("10s", Some("1h"))]))]
    pub window: GoDuration,

    /// For so long an open breaker has nobody called; then one task is, as a probe. Doubles with each probe that fails, up to
    /// `maxOpenFor`. At least 1s. Default 30s.
    #[serde(default = "open_for")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub open_for: GoDuration,

    /// The longest time between two probes. Default 10m.
    #[serde(default = "max_open_for")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub max_open_for: GoDuration,

    /// An attempt that has run for so long counts as healthy. At least 1s. Default 30s.
    #[serde(default = "probe_for")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub probe_for: GoDuration,
}

/// A failure that tells of the dependency. All matchers that are given must hold, as in a rule of a failure policy.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [rule(
    "has(self.onExitCodes) || has(self.onReasons) || has(self.onErrorCodes)",
    "must have at least one of onExitCodes, onReasons and onErrorCodes",
)]))]
#[serde(rename_all = "camelCase")]
pub struct CountedFailure {
    /// Matches the main container's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_exit_codes: Option<ExitCodes>,

    /// Matches the reason of the attempt's end, as `status.lastFailure.reason` of the task shows it. The list is closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50), extend("x-kubernetes-list-type" = "set"))]
    pub on_reasons: Option<Vec<AttemptReason>>,

    /// Matches the `error.code` that the program reported.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 50), inner(length(min = 1, max = 64)), extend("x-kubernetes-list-type" = "set"))]
    pub on_error_codes: Option<Vec<String>>,
}

/// Where a breaker stands.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerStatus {
    /// Whether tasks are called. Closed: as usual. Open: nobody is. HalfOpen: a few are, as probes.
    pub state: BreakerState,

    /// Since when it is so.
    pub transition_time: Timestamp,

    /// How often it has opened since it was closed last.
    #[serde(default)]
    pub openings: i64,

    /// While it is half open: how many probes may be under way, and how many of them were healthy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wave: Option<Wave>,

    /// While it is closed: how the turns of the last time ended, in steps of a sixth of `spec.breaker.window`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic"))]
    pub window: Vec<Bucket>,

    /// The counted failure that was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_failure: Option<BreakerFailure>,
}

/// Whether a breaker lets tasks be called.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    JsonSchema,
    Display,
    EnumIter,
    EnumMessage,
    IntoStaticStr,
)]
pub enum BreakerState {
    /// Tasks are called as there is room for them.
    Closed,
    /// Nobody is called: the dependency fails.
    Open,
    /// A few are called, to see whether the dependency works again.
    HalfOpen,
}

/// The probes of a breaker that is half open. Each wave that is healthy is followed by one of twice as many.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wave {
    /// How many probes may be under way: 1, 2, 4, 8.
    pub allow: i64,
    /// How many probes of this wave have ended healthy.
    pub healthy: i64,
}

/// How turns ended in a part of a breaker's window.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bucket {
    /// When the part begins.
    pub time: Timestamp,
    /// How many counted failures there were.
    #[serde(default)]
    pub failed: i64,
    /// How many turns ended well, or with a failure that is not counted.
    #[serde(default)]
    pub healthy: i64,
    /// The task whose failures they were; `*` for those of several.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub task: String,
}

/// A counted failure.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BreakerFailure {
    /// The task, as `namespace/name`.
    pub task: String,
    /// The `error.code` that the program reported, else the reason of the attempt's end.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub code: String,
    /// What it said, up to 128 bytes.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
}

impl Breaker {
    /// Until when it has nobody called, when it is open: for `openFor`, twice as long after each probe that failed.
    pub fn open_until(&self, status: &BreakerStatus) -> Timestamp {
        let doublings = u32::try_from(status.openings.saturating_sub(1)).unwrap_or(0).min(62);
        let seconds = self.open_for.as_secs().saturating_mul(1_i64.checked_shl(doublings).unwrap_or(i64::MAX));
        after(status.transition_time, seconds.min(self.max_open_for.as_secs()))
    }
}

impl CountedFailure {
    /// Whether a failure that ended so is meant.
    pub fn fits(&self, end: EndFacts<'_>) -> bool {
        end.fit(self.on_exit_codes.as_ref(), self.on_reasons.as_deref(), self.on_error_codes.as_deref())
    }
}

fn failures() -> i32 {
    5
}

fn percent() -> i32 {
    50
}

fn window() -> GoDuration {
    GoDuration::from_mins(1)
}

fn open_for() -> GoDuration {
    GoDuration::from_secs(30)
}

fn max_open_for() -> GoDuration {
    GoDuration::from_mins(10)
}

fn probe_for() -> GoDuration {
    GoDuration::from_secs(30)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn all_matchers_of_an_entry_must_fit() {
        let entry = |matchers: Value| serde_json::from_value::<CountedFailure>(matchers).expect("an entry");
        let ended = |exit_code, reason, code| EndFacts { exit_code, reason, code };
        let down = entry(json!({ "onErrorCodes": ["PartnerDown"] }));
        assert!(down.fits(ended(Some(1), None, Some("PartnerDown"))));
        assert!(!down.fits(ended(Some(1), None, Some("Other"))));
        assert!(!down.fits(ended(Some(1), None, None)));
        let both = entry(json!({ "onExitCodes": { "operator": "In", "values": [69] }, "onReasons": ["Error"] }));
        assert!(both.fits(ended(Some(69), Some(AttemptReason::Error), None)));
        assert!(!both.fits(ended(Some(69), Some(AttemptReason::OOMKilled), None)));
        assert!(!both.fits(ended(Some(1), Some(AttemptReason::Error), None)));
        assert!(!both.fits(ended(None, None, None)), "what is not known fits nothing");
    }

    #[test]
    fn what_is_not_said_has_its_default() {
        let breaker: Breaker = serde_json::from_value(json!({ "counts": [] })).expect("a breaker");
        let seconds =
            [breaker.window, breaker.open_for, breaker.max_open_for, breaker.probe_for].map(GoDuration::as_secs);
        assert_eq!((breaker.failures, breaker.percent, seconds), (5, 50, [60, 30, 600, 30]));
    }
}
