//! An attempt that runs past every moment that should have ended it: the condition `AttemptOverdue`.

use jiff::Timestamp;

use super::{
    draft::Draft,
    limits,
    observed::PodFacts,
    outcome::HELD_SECONDS,
    refused,
    steps::{EventReason, PodRef},
};
use crate::{
    api::task::{ConditionReason, ConditionType},
    types::{find_condition, time::after},
};

/// How long past slice and grace a pod may still run before that is reported, in seconds.
const OVERDUE_AFTER: i64 = 60;

/// Why a pod does not end.
enum Cause {
    /// The API server refuses to have it stopped.
    WriteRefused,
    /// Nobody hears of its node.
    NodeSilent,
    /// Its node is heard of, and has not ended it.
    NotEnded,
}

/// Nothing rings when a kubelet dies: a pod that should have ended by now is reported, with what is the matter as far as
/// that can be told. To give up a node that works would let two attempts run at once.
pub(super) fn watch(draft: &mut Draft<'_>, pod: &PodFacts) {
    let Some(due) = should_have_ended_at(draft, pod) else { return };
    if after(due, OVERDUE_AFTER) <= draft.now {
        report(draft, pod, due);
    }
}

/// When a pod is overdue, and when one counts as ended that was deleted by force and is held by our finalizer alone.
pub(super) fn moments(draft: &Draft<'_>, pod: &PodFacts) -> [Option<Timestamp>; 2] {
    let overdue_from = should_have_ended_at(draft, pod).map(|due| after(due, OVERDUE_AFTER));
    let removed = pod.deletion.filter(|deletion| deletion.grace == 0);
    [overdue_from, removed.map(|deletion| after(deletion.at, HELD_SECONDS))]
}

fn should_have_ended_at(draft: &Draft<'_>, pod: &PodFacts) -> Option<Timestamp> {
    let attempt = draft.status.current_attempt.as_ref()?;
    let stop = attempt.stop.as_ref().map(|stop| after(stop.request_time, pod.grace));
    let slice_end = |started_at| limits::slice_of(pod, started_at, draft.spec, &draft.status).end;
    let slice = attempt.started_at.map(|started_at| after(slice_end(started_at), pod.grace));
    let deletion = pod.deletion.map(|deletion| deletion.at);
    [stop, slice, deletion].into_iter().flatten().min()
}

fn report(draft: &mut Draft<'_>, pod: &PodFacts, due: Timestamp) {
    let cause = cause(draft, pod);
    let reason = reason(&cause);
    let known = find_condition(&draft.status.conditions, ConditionType::AttemptOverdue);
    if known.is_some_and(|known| known.status == "True" && known.reason == reason) {
        return;
    }
    let message = message(&cause, pod, due);
    draft.mark_true(ConditionType::AttemptOverdue, reason, &message);
    draft.pod_warning(Some(PodRef::to(pod)), EventReason::AttemptOverdue, &format!("Overdue: {message}."));
}

fn cause(draft: &Draft<'_>, pod: &PodFacts) -> Cause {
    if pod.deletion.is_none() && refused::keeps_from_stopping(draft) {
        Cause::WriteRefused
    } else if pod.is_node_silent {
        Cause::NodeSilent
    } else {
        Cause::NotEnded
    }
}

fn reason(cause: &Cause) -> ConditionReason {
    match cause {
        Cause::WriteRefused => ConditionReason::WriteRefused,
        Cause::NodeSilent => ConditionReason::NodeNotResponding,
        Cause::NotEnded => ConditionReason::PodDoesNotEnd,
    }
}

fn message(cause: &Cause, pod: &PodFacts, due: Timestamp) -> String {
    let name = &pod.name;
    let node = pod.node.as_deref().unwrap_or("unknown");
    match cause {
        Cause::WriteRefused => format!(
            "pod {name} should have ended at {due}; the API server does not let the operator stop it: see the condition \
             WriteRefused. It ends when that is mended, or with its own deadline"
        ),
        Cause::NodeSilent => format!(
            "pod {name} should have ended at {due}, and nobody hears of node {node}. If that is gone for good, delete the \
             Node object, or taint it node.kubernetes.io/out-of-service, or force-delete the pod. If it may come back, \
             wait: the program may still run there"
        ),
        Cause::NotEnded => format!(
            "pod {name} should have ended at {due}, and the program may still run. See `kubectl describe pod {name}`, and \
             `kubectl get node {node}`: while that is Ready, its kubelet ends the pod as soon as it can, and giving up the \
             pod would let two attempts run at once"
        ),
    }
}
