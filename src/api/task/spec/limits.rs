//! Bounds of a run.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{GoDuration, duration::duration_between};

/// Bounds of a run. Each is optional; absent means unlimited.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Limits {
    /// The longest running time of all attempts together. Waiting and suspension do not count. A segment that would
    /// exceed it is cut short. When it is reached, the task fails with reason ActiveTimeExceeded. At least 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub active_time: Option<GoDuration>,

    /// The longest time since the run's start. Waiting counts; time for which the user suspended the task does not. A
    /// segment that would exceed it is cut short. When it is reached, the task fails with reason WallTimeExceeded. At
    /// least 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub wall_time: Option<GoDuration>,

    /// The moment after which nothing of this task runs. Suspension does not move it. RFC 3339, such as
    /// 2026-11-25T06:00:00Z. When it is reached, the task fails with reason DeadlinePassed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::types::cel::point_in_time")]
    pub deadline: Option<Timestamp>,

    /// The largest number of segments. When one more is needed, the task fails with reason SegmentLimitReached. A
    /// segment that is tried again after a failure or an interruption counts once. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub segments: Option<i32>,

    /// The largest number of attempts, compared with `status.totals.attempts`. An attempt that was stopped before its
    /// program ran, by an edit or a pause, does not count. When one more is needed, the task fails with reason
    /// AttemptLimitReached. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub attempts: Option<i32>,
}
