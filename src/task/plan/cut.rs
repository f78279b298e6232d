//! The *cut*: the moment at which stopping began, and what a pod says about it.

use jiff::Timestamp;

use super::observed::{ContainerEnd, PodFacts};
use crate::{api::task::CurrentAttempt, types::time::after};

/// The kubelet's own word for a pod that used up its time.
const DEADLINE_EXCEEDED: &str = "DeadlineExceeded";
/// How long the kubelet may take from the end of the containers to its delete of the pod: a second, mostly.
const LAST_DELETE_SECONDS: i64 = 5;

/// What tells when the stopping of an attempt began.
pub(super) struct Cut<'a> {
    pub(super) attempt: &'a CurrentAttempt,
    pub(super) pod: &'a PodFacts,
    /// How the main container ended, if that is known.
    pub(super) end: Option<&'a ContainerEnd>,
}

impl Cut<'_> {
    /// The moment at which stopping began, as well as it can be known. The first cause counts: a pod that ended at its
    /// deadline may have been deleted since.
    pub(super) fn moment(&self) -> Option<Timestamp> {
        [self.taken_away_at(), self.told_to_stop_at()].into_iter().flatten().min()
    }

    /// By whoever came first: a pod that is on its way out can still be evicted, or lose its node.
    fn taken_away_at(&self) -> Option<Timestamp> {
        [self.disrupted_at(), self.deleted_at()].into_iter().flatten().min()
    }

    /// When somebody asked for the pod's deletion. The last delete, of the kubelet or of the garbage collector, sets the
    /// grace to 0 and the time to now, so that the time of the request is lost. What came first is told by the pod then;
    /// where it does not tell, the request came a full grace earlier at the most, and what the kubelet takes to tell of the
    /// end.
    fn deleted_at(&self) -> Option<Timestamp> {
        let pod = self.pod;
        let deletion = pod.deletion.filter(|_| !has_ended_untouched(pod))?;
        if deletion.grace > 0 {
            return Some(after(deletion.at, deletion.grace.saturating_neg()));
        }
        let earliest = after(deletion.at, pod.grace.saturating_add(LAST_DELETE_SECONDS).saturating_neg());
        match pod.ended_before_deletion {
            Some(false) => Some(self.end.and_then(|end| end.finished_at).map_or(earliest, |end| end.min(earliest))),
            Some(true) | None => Some(earliest),
        }
    }

    fn disrupted_at(&self) -> Option<Timestamp> {
        let pod = self.pod;
        let disruption = pod.disruption.as_ref().filter(|_| !has_ended_untouched(pod))?;
        // The kubelet publishes its own evictions only with the terminal phase: always before the container's end. By
        // then, somebody else may have claimed the condition.
        let is_late = disruption.reason == "TerminationByKubelet" || is_evicted_by_kubelet(pod);
        let finished_at = self.end.and_then(|end| end.finished_at).filter(|_| is_late);
        Some(finished_at.map_or(disruption.at, |finished_at| finished_at.min(disruption.at)))
    }

    /// By the operator, or by the deadline that it set. A requested stop rewrites the deadline: one that had passed
    /// before, on a node that nobody heard of, is told by the kubelet's own word only. Beside an agent that word says nothing
    /// of the main container: it may have ended before, and the agent been at work.
    fn told_to_stop_at(&self) -> Option<Timestamp> {
        let pod = self.pod;
        let Some(stop) = &self.attempt.stop else { return pod.deadline() };
        let says_of_main = is_out_of_time(pod) && pod.agent.is_none();
        let finished_at = self.end.and_then(|end| end.finished_at).filter(|_| says_of_main);
        Some(finished_at.map_or(stop.request_time, |finished_at| finished_at.min(stop.request_time)))
    }
}

/// When the pod stopped being ready. That is all that tells when an eviction for the pod's own storage limit began: it
/// comes without the condition of a disruption.
pub(super) fn unready_since(pod: &PodFacts) -> Option<Timestamp> {
    let ready = pod.conditions.iter().find(|condition| condition.type_ == "Ready" && condition.status == "False");
    ready.and_then(|condition| condition.changed_at)
}

/// The kubelet says that it took the pod away itself.
pub(super) fn is_evicted_by_kubelet(pod: &PodFacts) -> bool {
    pod.words.as_ref().is_some_and(|words| words.reason == "Evicted")
}

/// The kubelet says that the pod has used up its time.
pub(super) fn is_out_of_time(pod: &PodFacts) -> bool {
    pod.words.as_ref().is_some_and(|words| words.reason == DEADLINE_EXCEEDED)
}

/// Whether the pod tells that it had ended before its kubelet knew of any deletion: the deletion began nothing then, nor did
/// an eviction that works by one. The kubelet's own eviction needs none; and where the garbage collector wrote the end, the
/// kubelet has told of none.
pub(super) fn has_ended_untouched(pod: &PodFacts) -> bool {
    let disruption = pod.disruption.as_ref().map(|disruption| disruption.reason.as_str());
    // Somebody else may have claimed the condition while the kubelet evicted the pod.
    let is_by_kubelet = disruption.is_some() && is_evicted_by_kubelet(pod);
    let needs_no_deletion = is_by_kubelet || matches!(disruption, Some("TerminationByKubelet" | "DeletionByPodGC"));
    pod.ended_before_deletion == Some(true) && !needs_no_deletion
}
