//! The words by which the cluster says why a pod does not run, and what each of them means: one table, read from the
//! sources of Kubernetes 1.37.2 and containerd 2. Words that are not in it do occur: a runtime class that does not exist
//! makes a reason of a whole sentence, and clusters have other kubelets.

use k8s_openapi::api::core::v1::PodStatus;

use super::observed::Cause;
use crate::api::task::{AttemptReason, Outcome};

/// The kubelet's own word for a container of which it lost track: it says nothing about how that ended.
pub(super) const STATUS_UNKNOWN: &str = "ContainerStatusUnknown";

/// Where a word is seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// The reason of a pod that the kubelet turned away: there are no containers.
    Admission,
    /// The reason of a pod that was let in.
    Pod,
    /// The reason of a container that waits.
    Waiting,
    /// The reason of a container that ended without having started.
    Terminated,
    /// The reason of the condition `PodScheduled`.
    Scheduling,
}

/// What a word means for an attempt whose main container never ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// Nothing is wrong so far.
    InProgress,
    /// Not now, or not on this node: what the scheduler looks at too, or what passes.
    Place,
    /// Somebody took the pod away.
    Interruption(AttemptReason),
    /// A failed start, recorded by this very word. What the kubelet does not admit and the scheduler does not look at is
    /// one: the next pod would come to the same node, without end.
    Start,
    /// The pod has used up its time: it was not started within the time to start.
    OutOfTime,
}

struct Row(&'static str, Seen, Meaning);

use Meaning::{InProgress, Interruption, OutOfTime, Place, Start};
use Seen::{Admission, Pod, Scheduling, Terminated, Waiting};

/// Above each group where it is written: below `pkg/` of Kubernetes, unless it says otherwise.
const TABLE: [Row; 55] = [
    // scheduler/eventhandlers.go:874-886, kubelet/lifecycle/predicate.go:455: the names of the plugins
    Row("NodeAffinity", Admission, Place),
    Row("NodeName", Admission, Place),
    Row("NodePorts", Admission, Place),
    Row("TaintToleration", Admission, Place),
    // kubelet/lifecycle/predicate.go:44-88
    Row("OutOfcpu", Admission, Place),
    Row("OutOfmemory", Admission, Place),
    Row("OutOfephemeral-storage", Admission, Place),
    Row("OutOfpods", Admission, Place),
    Row("InvalidNodeInfo", Admission, Place),
    Row("UnexpectedAdmissionError", Admission, Place),
    Row("UnknownReason", Admission, Place),
    Row("UnexpectedPredicateFailureType", Admission, Place),
    Row("PodOSNotSupported", Admission, Start),
    Row("PodOSSelectorNodeLabelDoesNotMatch", Admission, Start),
    Row("InitContainerRestartPolicyForbidden", Admission, Start),
    Row("SupplementalGroupsPolicyNotSupported", Admission, Start),
    // kubelet/lifecycle/handlers.go:46-50
    Row("PodFeatureUnsupported", Admission, Place),
    Row("AppArmor", Admission, Start),
    Row("PodLevelResourcesNotSupported", Admission, Start),
    // kubelet/sysctl/allowlist.go:31
    Row("SysctlForbidden", Admission, Start),
    // kubelet/cm: admission/errors.go:28, cpumanager/policy_static.go:49, topologymanager/topology_manager.go:43
    Row("EmptyPodSharedPoolError", Admission, Start),
    Row("SMTAlignmentError", Admission, Place),
    Row("TopologyAffinityError", Admission, Place),
    // kubelet/volumemanager/volume_manager.go:94, kubelet/nodeshutdown/nodeshutdown_manager.go:84
    Row("VolumeAttachmentLimitExceeded", Admission, Place),
    Row("NodeShutdown", Admission, Place),
    // kubelet/eviction/helpers.go:44: at the door the node is short of something; later, and without a disruption, the pod is
    // over its own limit of local storage, here in an init container
    Row("Evicted", Admission, Place),
    Row("Evicted", Pod, Start),
    // kubelet/active_deadline.go:31
    Row("DeadlineExceeded", Pod, OutOfTime),
    // kubelet/events/event.go:26, kubelet/nodeshutdown/nodeshutdown_manager.go:88 and up to Kubernetes 1.21,
    // util/node/node.go:30: today with the condition of a disruption, which comes first
    Row("Preempting", Pod, Interruption(AttemptReason::Evicted)),
    Row("Terminated", Pod, Interruption(AttemptReason::Evicted)),
    Row("Shutdown", Pod, Interruption(AttemptReason::Evicted)),
    Row("NodeLost", Pod, Interruption(AttemptReason::NodeLost)),
    // kubelet/kubelet_pods.go:88-90
    Row("ContainerCreating", Waiting, InProgress),
    Row("PodInitializing", Waiting, InProgress),
    Row("RestartingAllContainers", Waiting, InProgress),
    // kubelet/images/types.go:29-41, cri-api/pkg/errors/errors.go:28-31
    Row("ErrImagePull", Waiting, Start),
    Row("ImagePullBackOff", Waiting, Start),
    Row("InvalidImageName", Waiting, Start),
    Row("ErrImageNeverPull", Waiting, Start),
    Row("ImageInspectError", Waiting, Start),
    Row("RegistryUnavailable", Waiting, Start),
    Row("SignatureValidationFailed", Waiting, Start),
    // kubelet/kuberuntime/kuberuntime_container.go:69-77, kubelet/container/sync_result.go:77-87; the errors of the sandbox, of
    // a kill and of a resize beside them reach no status: kubelet/reason_cache.go:69
    Row("CreateContainerConfigError", Waiting, Start),
    Row("PreCreateHookError", Waiting, Start),
    Row("CreateContainerError", Waiting, Start),
    Row("PreStartHookError", Waiting, Start),
    Row("PostStartHookError", Waiting, Start),
    Row("RunContainerError", Waiting, Start),
    Row("CrashLoopBackOff", Waiting, Start),
    // kubelet/container/runtime.go:308; containerd: internal/cri/server, container_start.go and helpers.go
    Row("StartError", Terminated, Start),
    Row("ContainerStatusUnknown", Terminated, Interruption(AttemptReason::Unknown)),
    Row("Unknown", Terminated, Interruption(AttemptReason::Unknown)),
    // api/core/v1/types.go:3776-3784
    Row("Unschedulable", Scheduling, Start),
    Row("SchedulingGated", Scheduling, Start),
    Row("SchedulerError", Scheduling, Start),
];

/// How the kubelet's words on a pod that it turns away begin: kubelet/kubelet.go:2647.
const TURNED_AWAY: &str = "Pod was rejected: ";
/// How its reason begins when a resource is short, extended ones too: kubelet/lifecycle/predicate.go:81.
const SHORT_OF: &str = "OutOf";

/// Whether the kubelet turned the pod away at its door. It then writes a status of its own, in which no container is.
/// A kubelet that starts again asks anew whether the pods that run there may stay.
pub(super) fn has_turned_away(status: &PodStatus) -> bool {
    let mut lists = [&status.init_container_statuses, &status.container_statuses].into_iter().flatten();
    let has_containers = lists.any(|containers| !containers.is_empty());
    let says_so = status.message.as_ref().is_some_and(|message| message.starts_with(TURNED_AWAY));
    status.phase.as_deref() == Some("Failed") && (says_so || !has_containers)
}

/// How an attempt ended whose main container never ran, where the pod's own reason decides that; `words` are the pod's.
///
/// A reason that nobody knows, of a pod that was turned away, is a question of place: it costs no start.
pub(super) fn refused(words: &Cause, is_turned_away: bool) -> Option<(Outcome, AttemptReason)> {
    let at = if is_turned_away { [Admission, Pod] } else { [Pod, Admission] };
    match at.into_iter().find_map(|seen| meaning(&words.reason, seen)) {
        Some(Place) => Some((Outcome::Interrupted, AttemptReason::Rejected)),
        Some(Interruption(reason)) => Some((Outcome::Interrupted, reason)),
        Some(Start) => start_reason(&words.reason).map(|reason| (Outcome::StartFailed, reason)),
        Some(OutOfTime | InProgress) => None,
        None => is_turned_away.then_some((Outcome::Interrupted, AttemptReason::Rejected)),
    }
}

/// The reason that a failed start is recorded with when the cluster said this word of it; none for a word that is
/// unknown, or that only says that the start goes on: then the general reason is the right one.
pub(super) fn start_reason(word: &str) -> Option<AttemptReason> {
    if meanings(word).any(|meaning| meaning == OutOfTime) {
        return Some(AttemptReason::StartTimeout);
    }
    word.parse().ok().filter(|reason: &AttemptReason| reason.outcomes().contains(&Outcome::StartFailed))
}

/// Whether the word of a container that waits only says that its start goes on.
pub(super) fn is_in_progress(word: &str) -> bool {
    meaning(word, Waiting) == Some(InProgress)
}

/// Whether the word is the kubelet's refusal of a pod that does not fit, wherever it goes.
pub fn is_refusal(word: &str) -> bool {
    meaning(word, Admission) == Some(Start)
}

/// The cluster's message; with its own reason before it where that is not one that the status can show.
pub(super) fn told(reason: &str, message: &str) -> String {
    let is_known = meanings(reason).next().is_some() || start_reason(reason).is_some();
    match (is_known || reason.is_empty(), message.is_empty()) {
        (true, _) => message.to_owned(),
        (false, true) => format!("the cluster's reason: {reason}"),
        (false, false) => format!("the cluster's reason: {reason}: {message}"),
    }
}

fn meaning(word: &str, seen: Seen) -> Option<Meaning> {
    let listed = TABLE.iter().find(|Row(known, at, _)| *known == word && *at == seen);
    let short = (seen == Admission && word.starts_with(SHORT_OF)).then_some(Place);
    listed.map(|Row(_, _, meaning)| *meaning).or(short)
}

fn meanings(word: &str) -> impl Iterator<Item = Meaning> {
    [Admission, Pod, Waiting, Terminated, Scheduling].into_iter().filter_map(|seen| meaning(word, seen))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn words(reason: &str) -> Cause {
        Cause { reason: reason.into(), message: String::new() }
    }

    #[test]
    fn each_word_of_a_failed_start_is_a_reason_that_a_rule_can_name() {
        for Row(word, ..) in TABLE.iter().filter(|Row(_, _, meaning)| *meaning == Start) {
            let recorded = start_reason(word).unwrap_or_else(|| panic!("no rule can name {word}"));
            assert_eq!(recorded.to_string(), *word);
        }
    }

    #[test]
    fn each_word_stands_once_where_it_is_seen() {
        for (at, Row(word, seen, _)) in TABLE.iter().enumerate() {
            let is_same = |Row(other, there, _): &&Row| other == word && there == seen;
            assert_eq!(TABLE.iter().skip(at).filter(is_same).count(), 1, "{word}");
        }
    }

    #[test]
    fn a_word_means_something_only_where_it_is_seen() {
        assert_eq!(meaning("OutOfcpu", Admission), Some(Place));
        for elsewhere in [Pod, Waiting, Terminated, Scheduling] {
            assert_eq!(meaning("OutOfcpu", elsewhere), None);
        }
        assert!(is_refusal("AppArmor") && !is_refusal("OutOfcpu") && !is_refusal("ErrImagePull"));
    }

    #[test]
    fn what_is_short_or_taken_or_unknown_at_the_door_is_a_question_of_place() {
        let rejected = Some((Outcome::Interrupted, AttemptReason::Rejected));
        for reason in ["NodePorts", "TaintToleration", "OutOfcpu", "OutOfexample.com/gpu", "Evicted", "NotYetInvented"]
        {
            assert_eq!(refused(&words(reason), true), rejected, "{reason}");
        }
        assert_eq!(refused(&words("NodeAffinity"), false), rejected, "by its name alone");
        assert_eq!(refused(&words("NotYetInvented"), false), None, "its containers tell");
    }

    #[test]
    fn what_never_fits_is_a_failed_start_of_that_reason() {
        for (reason, recorded) in
            [("PodOSNotSupported", AttemptReason::PodOSNotSupported), ("AppArmor", AttemptReason::AppArmor)]
        {
            assert_eq!(refused(&words(reason), true), Some((Outcome::StartFailed, recorded)));
        }
    }

    #[test]
    fn a_pod_that_was_let_in_is_not_rejected() {
        let interrupted = |reason| Some((Outcome::Interrupted, reason));
        assert_eq!(refused(&words("Evicted"), false), Some((Outcome::StartFailed, AttemptReason::Evicted)));
        for is_turned_away in [false, true] {
            assert_eq!(refused(&words("DeadlineExceeded"), is_turned_away), None);
            assert_eq!(refused(&words("Terminated"), is_turned_away), interrupted(AttemptReason::Evicted));
            assert_eq!(refused(&words("Shutdown"), is_turned_away), interrupted(AttemptReason::Evicted));
            assert_eq!(refused(&words("NodeLost"), is_turned_away), interrupted(AttemptReason::NodeLost));
        }
    }

    #[test]
    fn a_start_that_goes_on_or_an_unknown_word_has_no_reason_of_its_own() {
        for word in
            ["ContainerCreating", "PodInitializing", "NotScheduled", "ContainerCannotRun", "Error", "Unknown", ""]
        {
            assert_eq!(start_reason(word), None, "{word}");
        }
        assert_eq!(start_reason("DeadlineExceeded"), Some(AttemptReason::StartTimeout));
        assert_eq!(start_reason("InitContainerFailed"), Some(AttemptReason::InitContainerFailed));
        assert!(is_in_progress("PodInitializing") && !is_in_progress("CrashLoopBackOff"));
    }

    #[test]
    fn a_word_that_the_status_cannot_show_is_kept_in_the_message() {
        assert_eq!(told("ErrImagePull", "not found"), "not found");
        assert_eq!(told("OutOfexample.com/gpu", "none left"), "none left");
        assert_eq!(told("", "not found"), "not found");
        assert_eq!(told("Bored", "no wish"), "the cluster's reason: Bored: no wish");
        assert_eq!(told("Bored", ""), "the cluster's reason: Bored");
    }

    #[test]
    fn a_pod_is_turned_away_when_the_kubelet_says_so_or_names_no_container() {
        let is_turned_away =
            |status: Value| has_turned_away(&serde_json::from_value::<PodStatus>(status).expect("a status"));
        let container = json!([{ "name": "c", "image": "", "imageID": "", "ready": false, "restartCount": 0 }]);
        assert!(is_turned_away(json!({ "phase": "Failed" })));
        assert!(is_turned_away(json!({ "phase": "Failed", "containerStatuses": [] })));
        assert!(!is_turned_away(json!({ "phase": "Failed", "containerStatuses": container })));
        assert!(!is_turned_away(json!({ "phase": "Failed", "initContainerStatuses": container })));
        assert!(!is_turned_away(json!({ "phase": "Pending" })));
        let said = json!({ "phase": "Failed", "message": "Pod was rejected: no", "containerStatuses": container });
        assert!(is_turned_away(said));
    }
}
