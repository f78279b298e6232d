//! The `LongTask` resource.

mod conditions;
mod failure_policy;
mod reasons;
mod spec;
mod status;
mod transition;

pub use conditions::{ConditionReason, ConditionType};
pub use failure_policy::{
    Action, ConditionStatus, EndFacts, ExitCodes, FailurePolicy, MemoryGrowth, OnExhausted, Operator,
    PodConditionPattern, Rule,
};
pub use reasons::{AttemptReason, FailureReason, Limit, Outcome, PhaseReason, Reason, StopReason};
pub use spec::{
    AgentSpec, Backoff, Budgets, CheckpointPolicy, CheckpointSource, CheckpointStore, ClaimRetention,
    ClaimRetentionPolicy, Jitter, Kueue, KueueQuota, Limits, LongTask, LongTaskSpec, MANAGED_BY_US, Reporting,
    ReportingMode, Restart, RestartFrom, Retry, SecretRef, Segment, TemplateRef,
};
pub(super) use spec::{INPUT_STAYS, NEW_TOKEN};
pub use status::{
    AttemptState, Checkpoint, Consecutive, CurrentAttempt, EndedAttempt, LastFailure, LongTaskStatus, Phase, Progress,
    RecordedReport, RequestedStop, RuleCounter, Run, Ticket, TicketState, Totals,
};
pub use transition::{AttemptEnd, Transition};
