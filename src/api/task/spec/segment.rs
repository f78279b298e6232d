//! How long one pod may run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{GoDuration, duration::duration_between};

/// The longest that an agent waits with a sign that it is there, in seconds.
const LONGEST_KEEP_ALIVE: i64 = 300;

/// One planned leg of the work: how long a pod may run.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Segment {
    /// How long the main container may run before it is asked to write a checkpoint and stop. The next segment follows
    /// at once.
    ///
    /// Counted from the moment the main container runs: image pulls and init containers do not count. The kubelet
    /// enforces it to about a second. Default 1h, at least 5s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("5s", None)]))]
    pub duration: GoDuration,

    /// The time from SIGTERM to SIGKILL: how long the program has for its last checkpoint. Becomes the pod's
    /// `terminationGracePeriodSeconds`. Default 30s, at least 1s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", Some("24h"))]))]
    pub grace_period: GoDuration,

    /// How long a scheduled pod may take until its main container runs: volumes, image pulls, init containers, and a
    /// `postStart` hook of the main container. If it takes longer, the start has failed; if the program ran already
    /// beside its hook, the attempt ends as at its time limit. Default 10m, at least 1s.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub start_timeout: GoDuration,

    /// How long a pod may wait for the scheduler, or behind a scheduling gate, before that counts as a failed start.
    /// Default: no limit. Waiting then counts in no budget, and the status shows it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub scheduling_timeout: Option<GoDuration>,

    /// How long the program may be silent while it runs: then it counts as hung, and is stopped. The attempt has failed with
    /// reason Hung, and the next one resumes from the last checkpoint. Any line in the report file is a sign of life, and so
    /// is a touch of it; `{"quiet": "2h"}` announces a longer silence. Needs `reporting.mode` Live. A program is never
    /// stopped because reports do not arrive. Default: no limit. At least 30s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("30s", None)]))]
    pub heartbeat_timeout: Option<GoDuration>,

    /// Exit codes of the main container that mean "checkpointed, run me again": a new segment follows, and no failure
    /// is counted. The default is 75 (EX_TEMPFAIL of sysexits.h). Up to 20 codes from 1 to 255. Changes take effect when
    /// the running attempt ends.
    #[schemars(length(max = 20), inner(range(min = 1, max = 255)))]
    #[schemars(extend("x-kubernetes-list-type" = "set"))]
    pub continue_exit_codes: Vec<i32>,

    /// The main container: the one whose exit code and report count. Default: the one that the template's annotation
    /// `kubectl.kubernetes.io/default-container` names, else the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub container: Option<String>,
}

impl Segment {
    /// How many seconds an agent waits at most with a sign that it is there: a quarter of what the program may be silent
    /// for, so that a hang is seen soon, from 5 to 300.
    pub fn keep_alive_seconds(&self) -> i64 {
        self.heartbeat_timeout
            .map_or(LONGEST_KEEP_ALIVE, |timeout| (timeout.as_secs() / 4).clamp(5, LONGEST_KEEP_ALIVE))
    }
}

impl Default for Segment {
    fn default() -> Self {
        Self {
            duration: GoDuration::from_hours(1),
            grace_period: GoDuration::from_secs(30),
            start_timeout: GoDuration::from_mins(10),
            scheduling_timeout: None,
            heartbeat_timeout: None,
            continue_exit_codes: vec![75],
            container: None,
        }
    }
}
