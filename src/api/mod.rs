//! What users write and read: the `LongTask` resource, version `v1alpha1`.
//!
//! Data only, no I/O. The doc comments of the fields are the text of `kubectl explain longtask.spec`, and the rules
//! beside them are what `kubectl apply` checks.

mod conditions;
pub mod crd;
mod decimal;
mod duration;
pub mod labels;
mod memory;
mod policy;
mod reasons;
mod rules;
mod spec;
mod status;

pub(crate) use conditions::cut;
pub use conditions::{ConditionType, find_condition, is_condition_true, set_condition};
pub use decimal::Decimal;
pub use duration::GoDuration;
pub use memory::{MemorySize, NotAMemorySize};
pub use policy::{
    Action, ConditionStatus, ExitCodes, FailurePolicy, MemoryGrowth, OnExhausted, Operator, PodConditionPattern, Rule,
};
pub use reasons::{AttemptReason, FailureReason, Limit, Outcome, StopReason};
pub use spec::{
    Backoff, Budgets, CheckpointPolicy, CheckpointSource, Jitter, Limits, LongTask, LongTaskSpec, MANAGED_BY_US,
    Restart, RestartFrom, Retry, Segment,
};
pub use status::{
    AttemptState, Checkpoint, Consecutive, CurrentAttempt, EndedAttempt, LastFailure, LongTaskStatus, Phase, Progress,
    RequestedStop, RuleCounter, Run, Totals,
};

/// The API group of the resource.
pub const GROUP: &str = "longtask.dev";
/// The version of the resource that this program reads and writes.
pub const VERSION: &str = "v1alpha1";
