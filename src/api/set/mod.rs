//! The `LongTaskSet` resource.

mod limit;
mod parent;
mod reasons;
mod spec;
mod status;

pub use limit::{MemberLimit, NotAMemberLimit};
pub use parent::{parent_of, set_of};
pub use reasons::{SetConditionReason, SetConditionType, SetFailureReason, SetPhaseReason, SetStopReason};
pub use spec::{LongTaskSet, LongTaskSetSpec, SetLimits, SetRestart};
pub use status::{
    LongTaskSetStatus, MemberFailure, MemberResult, Members, RequestedSetStop, Round, SetPhase, SetProgress,
};
