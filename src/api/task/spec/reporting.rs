//! How what the program reports reaches the status.

use k8s_openapi::api::core::v1::ResourceRequirements;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{GoDuration, duration::duration_between};

/// How what the program reports reaches the status.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Reporting {
    /// AtExit: what the program reports is read when its attempt ends. Live: also while it runs, by a container
    /// `longtask-agent` that the operator adds to the pod. The program is the same in both modes. Default AtExit. Changes
    /// take effect at the next attempt.
    pub mode: ReportingMode,

    /// With mode Live, the shortest time between two writes of the status for reports. Default 30s, 5s to 1h. Takes effect
    /// at once.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("5s", Some("1h"))]))]
    pub interval: GoDuration,
}

impl Default for Reporting {
    fn default() -> Self {
        Self { mode: ReportingMode::AtExit, interval: GoDuration::from_secs(30) }
    }
}

/// When reports are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ReportingMode {
    /// When an attempt ends.
    AtExit,
    /// Also while it runs.
    Live,
}

/// The containers `longtask-agent` and `longtask-restore`.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AgentSpec {
    /// Its resources, as of any container, and those of `longtask-restore`. Default: requests of 10m CPU and 32Mi of memory and
    /// a limit of 64Mi of memory, with a `checkpoint.store` requests of 100m and 256Mi and a limit of 256Mi; where the template's
    /// pod is Guaranteed, limits of 50m, with a store 900m, and of that memory, which are its requests as well, so that the pod
    /// stays so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::resources_schema")]
    pub resources: Option<ResourceRequirements>,
}

impl AgentSpec {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
