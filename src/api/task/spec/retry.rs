//! What follows an attempt that did not succeed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{
    Decimal, GoDuration,
    decimal::factor_from_1_to_10,
    duration::{duration_between, longest_not_below_shortest},
};

/// What follows an attempt that did not succeed.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retry {
    /// How many retries in a row each kind of trouble may have. n retries allow n + 1 tries; -1 means no limit.
    pub budgets: Budgets,

    /// How long to wait before a retry. Interruptions do not use it: the wait after one is 1s, doubling up to 30s.
    pub backoff: Backoff,

    /// Whether progress sets all counters back to 0. Then troubles that lie days apart do not fail a long task. Default
    /// true.
    pub reset_on_progress: bool,

    /// The longest delay that the program may ask for with `retryAfter` or `resumeAfter`. A longer one is shortened to
    /// it. Default 1h, at most 168h.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", Some("168h"))]))]
    pub max_retry_after: GoDuration,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            budgets: Budgets::default(),
            backoff: Backoff::default(),
            reset_on_progress: true,
            max_retry_after: GoDuration::from_hours(1),
        }
    }
}

/// Retries allowed in a row. A counter falls only by progress, never through another class of trouble.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Budgets {
    /// Retries after failures: a non-zero exit, out of memory. Default 6. -1 means no limit.
    #[schemars(range(min = -1))]
    pub failures: i32,

    /// Further segments after one that ended without progress. Default 3. -1 means no limit.
    #[schemars(range(min = -1))]
    pub stalls: i32,

    /// Retries after failed starts: image, configuration, init containers, startTimeout. Default 5. -1 means no limit.
    #[schemars(range(min = -1))]
    pub start_failures: i32,

    /// Retries after interruptions: eviction, preemption, lost nodes. Default -1: no limit.
    #[schemars(range(min = -1))]
    pub interruptions: i32,
}

impl Default for Budgets {
    fn default() -> Self {
        Self { failures: 6, stalls: 3, start_failures: 5, interruptions: -1 }
    }
}

/// The delay before retry n: `min(max, initial * multiplier^(n-1))`, then jitter; in whole seconds.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[schemars(extend("x-kubernetes-validations" = [longest_not_below_shortest("max", "initial")]))]
#[serde(rename_all = "camelCase", default)]
pub struct Backoff {
    /// The delay before the first retry. Default 10s, at least 1s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub initial: GoDuration,

    /// Each further delay is the one before times this: 1 to 10, an integer or a string such as "1.5". Default 2.
    #[schemars(extend("x-kubernetes-validations" = [factor_from_1_to_10()]))]
    pub multiplier: Decimal,

    /// The longest delay before jitter. Default 5m.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub max: GoDuration,

    /// How a delay d is varied, so that tasks that failed together do not retry together. None: exactly d. Equal:
    /// between d/2 and d. Full: anything up to d. Additive: between d and d + initial. Default Full.
    pub jitter: Jitter,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: GoDuration::from_secs(10),
            multiplier: Decimal::whole(2),
            max: GoDuration::from_mins(5),
            jitter: Jitter::Full,
        }
    }
}

/// How a delay is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Jitter {
    /// Not at all.
    None,
    /// Half of it fixed, half drawn.
    Equal,
    /// All of it drawn.
    Full,
    /// All of it fixed, and up to `initial` drawn on top.
    Additive,
}
