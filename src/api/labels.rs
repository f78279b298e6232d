//! The names that the operator writes onto objects: labels, annotations, the finalizer.

/// Label of a pod, and of a claim of the task's own: the name of its task.
pub const TASK: &str = "longtask.dev/task";
/// Likewise: the UID of its task, which tells two tasks of the same name apart.
pub const TASK_UID: &str = "longtask.dev/task-uid";
/// Label of a pod: the number of the run.
pub const RUN: &str = "longtask.dev/run";
/// Label of a pod: the number of the segment.
pub const SEGMENT: &str = "longtask.dev/segment";
/// Label of a pod: the number of the attempt.
pub const ATTEMPT: &str = "longtask.dev/attempt";

/// Prefix of every label and annotation of ours; a template may not use it.
pub const PREFIX: &str = "longtask.dev/";

/// Annotation of a pod: the `metadata.generation` of the task from which it was made.
pub const GENERATION: &str = "longtask.dev/generation";
/// Annotation of a pod: the duration of its segment in seconds, as the task had it when the pod was made.
pub const SEGMENT_SECONDS: &str = "longtask.dev/segment-seconds";
/// Annotation of a pod: its main container, whose exit code and report count.
pub const MAIN_CONTAINER: &str = "longtask.dev/main-container";
/// Annotation of a pod: a digest of what of the task's specification it was made from.
pub const TEMPLATE_HASH: &str = "longtask.dev/template-hash";
/// Annotation of a pod: the memory that a rule of the failure policy had raised for it.
pub const RAISED_MEMORY: &str = "longtask.dev/raised-memory";
/// Annotation of a pod: its main container once more. The well-known one, so that `kubectl logs` and `exec` pick it as well.
pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";

/// Annotation of a pod: the group in which it takes the place of the pod before, where Kueue gives quota to attempts that follow
/// each other.
pub const POD_GROUP: &str = "longtask.dev/pod-group";

/// Label of a pod: the LocalQueue of Kueue that gives it quota. These four are Kueue's own
/// (`pkg/controller/jobs/pod/constants`, v0.17).
pub const KUEUE_QUEUE: &str = "kueue.x-k8s.io/queue-name";
/// Label of a pod: the group of pods that is one Workload.
pub const KUEUE_GROUP: &str = "kueue.x-k8s.io/pod-group-name";
/// Annotation of a pod: how many pods its group has at a time.
pub const KUEUE_GROUP_SIZE: &str = "kueue.x-k8s.io/pod-group-total-count";
/// Annotation of a pod: `false` when no pod will take its place.
pub const KUEUE_RETRIABLE: &str = "kueue.x-k8s.io/retriable-in-group";

/// Annotation of a task: the `metadata.generation` of the LongTaskTemplate that its definition was copied from.
pub const TEMPLATE_GENERATION: &str = "longtask.dev/template-generation";
/// Annotation of a task: the restart token for which it took the definition of its LongTaskTemplate anew.
pub const RENEWED_FOR: &str = "longtask.dev/renewed-for";
/// Label of a task that was started from a LongTaskTemplate: through which entry, such as `kubectl`.
pub const STARTED_BY: &str = "longtask.dev/started-by";
/// Annotation of such a task: the digest of the template's name and the input, by which a repeat of the request is known.
pub const INPUT_DIGEST: &str = "longtask.dev/input-digest";
/// Label of a member of a set: the name of its LongTaskSet.
pub const SET: &str = "longtask.dev/set";
/// Label of a member of a set: its index.
pub const INDEX: &str = "longtask.dev/index";
/// Annotation of a member of a set: the UID of its LongTaskSet, which stays when the set goes and leaves it behind.
pub const SET_UID: &str = "longtask.dev/set-uid";
/// Annotation of a member of a set: how many members there are.
pub const SET_COUNT: &str = "longtask.dev/set-count";

/// Annotation of a task: its place in a sequence, by which its TaskQueue calls those that have waited equally long.
pub const SEQUENCE: &str = "longtask.dev/sequence";

/// Finalizer of a pod: held until the attempt's outcome is recorded in the task's status.
pub const OUTCOME_FINALIZER: &str = "longtask.dev/outcome";

/// Who wrote a field, in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "longtask-operator";
