//! Where checkpoints come from.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{GoDuration, cel::rule_at, duration::duration_between};

/// Where checkpoints come from.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CheckpointPolicy {
    /// Report: the program reports its checkpoints, and a segment without progress is a stall. External: the program
    /// keeps its own, for example on a volume, and a segment that ran to its end counts as progress. Default Report.
    pub source: CheckpointSource,

    /// How many earlier checkpoints are kept in status beside the current one, 0 to 5. Default 3.
    #[schemars(range(min = 0, max = 5))]
    pub history_limit: i32,

    /// Sets the condition CheckpointStale, with an event, when no checkpoint has been recorded for that long. Time for
    /// which the user suspended the task does not count. Must exceed `segment.duration` and `segment.gracePeriod`
    /// together, since checkpoints are recorded when an attempt ends; with `reporting.mode` Live it must exceed
    /// `reporting.interval`. Default: never. Takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub stale_after: Option<GoDuration>,

    /// Where checkpoints of any size are kept for the program. It writes files below `$LONGTASK_CHECKPOINT_DIR` and reports
    /// their path; the container `longtask-agent` saves them, and before the next attempt begins `longtask-restore` brings them
    /// back, into `$LONGTASK_CHECKPOINT_DIR/restored`. Needs source Report. Changes take effect at the next attempt; what was
    /// stored under another `url` is read where it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<CheckpointStore>,
}

impl Default for CheckpointPolicy {
    fn default() -> Self {
        Self { source: CheckpointSource::Report, history_limit: 3, stale_after: None, store: None }
    }
}

/// Who keeps the checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum CheckpointSource {
    /// The program reports them to the operator, which hands the last one to the next attempt.
    Report,
    /// The program keeps them itself.
    External,
}

/// A place for checkpoints of any size.
#[derive(JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[schemars(extend("x-kubernetes-validations" = [
    rule_at(
        ".url",
        "self.url.matches('^((s3|gs|az|abfss)://[^/]|file:///).*$')",
        "must be such as s3://bucket/prefix: the schemes are s3, gs, az, abfss and file, the last one with three slashes",
    ),
    rule_at(
        ".directory",
        "self.directory.startsWith('/') && self.directory != '/'",
        "must be an absolute path, and not / itself",
    ),
    rule_at(
        ".endpoint",
        "!has(self.endpoint) || self.endpoint.matches('^https?://[^/].*$')",
        "must begin with https://, or with http:// where nothing is to be encrypted",
    ),
]))]
pub struct CheckpointStore {
    /// The store and a place in it, such as `s3://bucket/prefix`: s3, gs (Google), az or abfss (Azure), or file, a directory on
    /// a volume that the main container mounts. The bucket must exist. Checkpoints are kept below
    /// `<namespace>/<name>/<UID of the task>/` there, and nothing is deleted when the task ends.
    #[schemars(length(min = 1, max = 256))]
    pub url: String,

    /// Another address than the provider's, such as `https://minio.storage:9000`. Default: the provider's.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 256))]
    pub endpoint: Option<String>,

    /// The provider's region, where it has regions. Default: the provider's own default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63))]
    pub region: Option<String>,

    /// A Secret of the task's namespace with the store's credentials, by their usual names, such as `AWS_ACCESS_KEY_ID` and
    /// `AWS_SECRET_ACCESS_KEY`, `GOOGLE_SERVICE_ACCOUNT_KEY` or `AZURE_STORAGE_ACCOUNT_KEY`. The agent and the restore get them,
    /// the program does not. Default: none; the identity of the template's service account serves.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,

    /// Where the program writes checkpoints and finds them again. The pod gets a volume there, unless the main container mounts
    /// one that covers it. Default /checkpoints.
    #[serde(default = "checkpoints_directory")]
    #[schemars(length(min = 1, max = 256))]
    pub directory: String,
}

/// A Secret of the same namespace.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// The name of the Secret.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

fn checkpoints_directory() -> String {
    "/checkpoints".to_owned()
}
