//! The `TaskQueue` resource.

mod admission;
mod breaker;
mod key;
mod reasons;
mod spec;
mod status;

pub use admission::{Admission, OpenQueue, admission_of};
pub use breaker::{Breaker, BreakerFailure, BreakerState, BreakerStatus, Bucket, CountedFailure, Wave};
pub use key::{QueueKey, short_uid, task_name};
pub use reasons::{QueueConditionReason, QueueConditionType};
pub use spec::{PerKey, Rate, TaskQueue, TaskQueueSpec};
pub use status::{Holder, TaskQueueStatus};
