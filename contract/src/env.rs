//! The names of the environment variables that a program gets told.

/// The task's name.
pub const NAME: &str = "LONGTASK_NAME";
/// The task's namespace.
pub const NAMESPACE: &str = "LONGTASK_NAMESPACE";
/// The task's UID.
pub const UID: &str = "LONGTASK_UID";
/// The number of the run.
pub const RUN: &str = "LONGTASK_RUN";
/// The number of the segment within the run.
pub const SEGMENT: &str = "LONGTASK_SEGMENT";
/// The number of the attempt over the task's whole life: the fencing epoch.
pub const ATTEMPT: &str = "LONGTASK_ATTEMPT";
/// How long a segment may last, in seconds.
pub const SEGMENT_SECONDS: &str = "LONGTASK_SEGMENT_SECONDS";
/// The time between SIGTERM and SIGKILL, in seconds.
pub const GRACE_SECONDS: &str = "LONGTASK_GRACE_SECONDS";
/// The prefix of idempotency keys: the same for all attempts that go on with one another's work.
pub const IDEMPOTENCY_PREFIX: &str = "LONGTASK_IDEMPOTENCY_PREFIX";
/// The checkpoint to resume from, as the program reported it: JSON. Absent when there is none.
pub const CHECKPOINT: &str = "LONGTASK_CHECKPOINT";
/// The number of that checkpoint over the task's whole life.
pub const CHECKPOINT_SEQUENCE: &str = "LONGTASK_CHECKPOINT_SEQUENCE";
/// The directory where the program writes checkpoints and finds what is restored. Only with a store, and only the main container
/// gets it.
pub const CHECKPOINT_DIR: &str = "LONGTASK_CHECKPOINT_DIR";
/// The file that names the newest checkpoint that is safe. Likewise.
pub const SAVED: &str = "LONGTASK_SAVED";
/// The task's input: a JSON object, compact, with its keys sorted. Absent when there is none.
pub const INPUT: &str = "LONGTASK_INPUT";
/// What stands before a key of the input in the name of the variable with its value, as in `LONGTASK_INPUT_file`. See
/// [`input::variables`](crate::input::variables) for the keys that have one.
pub const INPUT_PREFIX: &str = "LONGTASK_INPUT_";
/// The name of the set that the task is a member of. Only members of a set get it, and the three below.
pub const SET: &str = "LONGTASK_SET";
/// The member's index, from 0.
pub const INDEX: &str = "LONGTASK_INDEX";
/// How many members there are.
pub const COUNT: &str = "LONGTASK_COUNT";
/// The member's index once more, under the name that it has in an Indexed Job.
pub const JOB_COMPLETION_INDEX: &str = "JOB_COMPLETION_INDEX";
/// The file to report to. Only the main container gets it.
pub const REPORT: &str = "LONGTASK_REPORT";
/// The W3C trace context of the attempt.
pub const TRACEPARENT: &str = "TRACEPARENT";
