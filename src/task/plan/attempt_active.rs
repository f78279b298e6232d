//! An attempt whose pod exists: record what it does, keep it to its time, ask it to stop when it must.

use jiff::Timestamp;

use super::{
    blocked::{self, block, is_same_trouble, show_progress, unblock},
    draft::Draft,
    edits, heartbeat, limits, live_report,
    observed::{Cause, MainContainer, PodFacts},
    outcome::last_word_due,
    overdue, parent,
    steps::{EventReason, PodRef, Step},
    stored_checkpoint, waits,
};
use crate::{
    api::task::{
        AttemptState, ConditionReason, ConditionType, CurrentAttempt, Phase, Reason, RequestedStop, StopReason,
    },
    types::{
        is_condition_true,
        time::{after, seconds_between},
    },
};

/// How long other containers may go on after the main one has ended, in seconds.
const AFTER_MAIN_ENDED: i64 = 5;
/// How soon to look again at a pod of which no watch tells, in seconds.
const LOOK_AGAIN: i64 = 15;

/// Records what an attempt does whose pod exists, and keeps it within its bounds.
pub(super) fn sync_active(draft: &mut Draft<'_>, pod: &PodFacts) {
    edits::know_what_it_was_made_from(draft, pod);
    let Some(attempt) = draft.status.current_attempt.clone() else { return };
    match main_started_at(pod) {
        Some(started_at) => {
            main_runs(draft, &attempt, pod, started_at);
            live_report::record(draft, pod);
        }
        None => main_waits(draft, &attempt, pod),
    }
    if last_word_due(&attempt, pod, draft.now).is_some() {
        return;
    }
    if let Some(reason) = reason_to_stop(draft, &attempt, pod) {
        request_stop(draft, pod, reason);
    }
    enforce(draft, pod);
    overdue::watch(draft, pod);
    edits::show_waiting(draft, &attempt);
    if !pod.has_task_label {
        draft.step(Step::RestoreLabel(PodRef::to(pod)));
    }
}

/// When to look at the pod again.
pub(super) fn moments(draft: &Draft<'_>, pod: &PodFacts) -> Vec<Option<Timestamp>> {
    let Some(attempt) = &draft.status.current_attempt else { return Vec::new() };
    if let Some(due) = last_word_due(attempt, pod, draft.now) {
        return vec![Some(due)];
    }
    let started_at = started_at(attempt, pod);
    let is_asked = attempt.stop.is_some();
    let [overdue, removed] = overdue::moments(draft, pod);
    vec![
        shown_from(pod),
        others_asked_at(draft, pod).filter(|_| !is_asked),
        start_bound(draft, pod).map(|(bound, _)| bound).filter(|_| !is_asked && started_at.is_none()),
        limits::next_limit(&draft.spec.limits, &draft.status).filter(|_| !is_asked && started_at.is_none()),
        started_at.filter(|_| !is_asked && is_lowering_refused(draft)).map(|start| slice_end(draft, pod, start)),
        overdue,
        removed,
        live_report::moment(draft),
        draft.seen.is_out_of_sight(pod).then(|| after(draft.now, LOOK_AGAIN)),
    ]
}

/// When the main container started. What is recorded counts for more than a pod as a late watch shows it.
fn started_at(attempt: &CurrentAttempt, pod: &PodFacts) -> Option<Timestamp> {
    attempt.started_at.or_else(|| main_started_at(pod))
}

fn main_started_at(pod: &PodFacts) -> Option<Timestamp> {
    match &pod.main {
        MainContainer::Waiting => None,
        MainContainer::Running { since } => Some(*since),
        MainContainer::Ended(end) => end.started_at,
    }
}

/// The main container runs, or has: record it once, with the slice that it gets.
fn main_runs(draft: &mut Draft<'_>, attempt: &CurrentAttempt, pod: &PodFacts, started_at: Timestamp) {
    if attempt.started_at.is_none() {
        record_pod(draft, pod);
        draft.update_attempt(|attempt| {
            attempt.started_at = Some(started_at);
            attempt.state = if attempt.stop.is_some() { AttemptState::Stopping } else { AttemptState::Running };
        });
        draft.status.next_attempt_time = None;
        unblock(draft, ConditionReason::Started);
        stored_checkpoint::adopt(draft, pod);
        let node = pod.node.as_deref().unwrap_or("an unknown node");
        let message = format!("Attempt {} of segment {} runs on {node}.", attempt.number, attempt.segment);
        draft.pod_event(Some(PodRef::to(pod)), EventReason::AttemptStarted, &message);
    }
    if attempt.stop.is_none() {
        draft.set_phase(Phase::Running);
    }
}

/// The main container does not run yet: show what it waits for, when that is worth showing.
fn main_waits(draft: &mut Draft<'_>, attempt: &CurrentAttempt, pod: &PodFacts) {
    if let Some(wait) = waits::wait(pod).filter(|_| shown_from(pod).is_some_and(|from| from <= draft.now)) {
        let cause = wait.cause(pod);
        record_pod(draft, pod);
        if wait.is_progress() {
            show_progress(draft, &cause);
        } else {
            block(draft, &cause);
        }
        let is_same = is_same_trouble(&draft.status.reason, &cause.reason);
        let shown = if is_same { draft.status.reason.clone() } else { cause.reason };
        if attempt.stop.is_none() {
            draft.set_phase_because(Phase::Pending, Reason::of_cluster(shown));
        }
    } else if !lasts(draft, pod) && is_over(draft, attempt) {
        record_pod(draft, pod);
        draft.status.next_attempt_time = None;
        unblock(draft, ConditionReason::Created);
        if attempt.stop.is_none() {
            draft.set_phase(Phase::Pending);
        }
    }
}

/// From when what the pod waits for is shown: once that has lasted longer than is usual, and nobody has deleted the pod.
fn shown_from(pod: &PodFacts) -> Option<Timestamp> {
    waits::shown_from(pod).filter(|_| pod.deletion.is_none() && main_started_at(pod).is_none())
}

/// Whether what is shown is what the pod still waits for. By the clock of another operator that may have lasted too short a
/// time to be shown; taken back, it would be shown again and again.
fn lasts(draft: &Draft<'_>, pod: &PodFacts) -> bool {
    let Some(shown) = blocked::shown(draft) else { return false };
    waits::wait(pod).is_some_and(|wait| is_same_trouble(&shown.reason, wait.reason()))
}

/// Whether what kept this attempt itself from starting is over: its refusal, or what its pod was waiting for. Why an
/// earlier one did not start is shown until one does.
fn is_over(draft: &Draft<'_>, attempt: &CurrentAttempt) -> bool {
    let is_blocked = is_condition_true(&draft.status.conditions, ConditionType::Blocked);
    is_blocked && (draft.status.next_attempt_time.is_some() || attempt.state == AttemptState::Starting)
}

/// Which pod it is and where it runs. Recorded together with something worth a write, not by itself: a segment costs
/// two writes of status, whatever its pod goes through.
fn record_pod(draft: &mut Draft<'_>, pod: &PodFacts) {
    let state = if main_started_at(pod).is_some() { AttemptState::Running } else { AttemptState::Starting };
    draft.update_attempt(|attempt| {
        attempt.pod_uid = Some(pod.uid.clone());
        attempt.node_name.clone_from(&pod.node);
        if attempt.state == AttemptState::Creating {
            attempt.state = state;
        }
    });
}

fn reason_to_stop(draft: &Draft<'_>, attempt: &CurrentAttempt, pod: &PodFacts) -> Option<StopReason> {
    if attempt.stop.is_some() {
        return None;
    }
    if let MainContainer::Ended(end) = &pod.main
        && end.started_at.is_some()
    {
        let ended = end.finished_at.unwrap_or(draft.now);
        let others_asked = others_asked_at(draft, pod).is_some_and(|moment| moment <= draft.now);
        let must_stop = has_ended_before_deletion(pod, ended) || others_asked;
        return must_stop.then_some(StopReason::MainEnded);
    }
    if parent::cancels(draft) {
        return Some(StopReason::Cancel);
    }
    if parent::suspends(draft) {
        return Some(StopReason::Suspend);
    }
    if let Some(started_at) = started_at(attempt, pod) {
        return heartbeat::has_hung(draft, started_at).then_some(StopReason::Hung);
    }
    if does_not_get_on(draft, pod) && edits::outdates(draft, attempt, pod) {
        // The edit may be the cure: waiting for its timeout would help nobody.
        return Some(StopReason::Outdated);
    }
    not_started_in_time(draft, pod)
}

/// When the other containers are asked to stop, now that the main one has ended. Where none runs, the kubelet is only slow
/// to say that the pod has ended; nor are those asked that are being stopped.
fn others_asked_at(draft: &Draft<'_>, pod: &PodFacts) -> Option<Timestamp> {
    let MainContainer::Ended(end) = &pod.main else { return None };
    end.started_at?;
    let ended = end.finished_at.unwrap_or(draft.now);
    let goes_on = pod.other_unended.is_some() && !is_being_stopped(pod, draft.now.max(ended));
    goes_on.then(|| after(ended, AFTER_MAIN_ENDED))
}

/// Whether the pod waits for something that need not come, and has waited longer than is usual.
fn does_not_get_on(draft: &Draft<'_>, pod: &PodFacts) -> bool {
    let is_waiting = pod.unscheduled.is_some() || pod.trouble.is_some();
    let is_shown = waits::shown_from(pod).is_some_and(|from| from <= draft.now);
    is_waiting || (is_shown && waits::wait(pod).is_some_and(|wait| !wait.is_progress()))
}

/// Whether its other containers are being stopped as well. A second stop request would overwrite the first cause: the
/// program's answer to a SIGTERM would look like its own decision.
fn is_being_stopped(pod: &PodFacts, now: Timestamp) -> bool {
    pod.deletion.is_some() || is_past_deadline(pod, now)
}

fn is_past_deadline(pod: &PodFacts, now: Timestamp) -> bool {
    pod.deadline().is_some_and(|deadline| deadline <= now)
}

/// Whether the main container had ended by itself when somebody deleted the pod. It can be told only while the other
/// containers use their grace: the kubelet's last delete overwrites when the first one came. Whether it had come to its
/// deadline is told by the kubelet's clock alone, which may be ahead of ours.
fn has_ended_before_deletion(pod: &PodFacts, ended: Timestamp) -> bool {
    let asked = pod.deletion.filter(|deletion| deletion.grace > 0);
    let was_first = asked.is_some_and(|deletion| ended < after(deletion.at, deletion.grace.saturating_neg()));
    was_first && pod.disruption.is_none() && !is_past_deadline(pod, ended)
}

/// The main container does not run, and something has run out: a limit, or the time to start.
fn not_started_in_time(draft: &Draft<'_>, pod: &PodFacts) -> Option<StopReason> {
    if limits::time_limit_reached(&draft.spec.limits, &draft.status, draft.now).is_some() {
        return Some(StopReason::Limit);
    }
    let (bound, reason) = start_bound(draft, pod)?;
    (bound <= draft.now).then_some(reason)
}

/// Until when the main container must run, and what it is stopped for if it does not.
fn start_bound(draft: &Draft<'_>, pod: &PodFacts) -> Option<(Timestamp, StopReason)> {
    let segment = &draft.spec.segment;
    Some(match pod.scheduled_at {
        Some(scheduled_at) => (after(scheduled_at, segment.start_timeout.as_secs()), StopReason::StartTimeout),
        None => (after(pod.creation_time, segment.scheduling_timeout?.as_secs()), StopReason::SchedulingTimeout),
    })
}

fn request_stop(draft: &mut Draft<'_>, pod: &PodFacts, reason: StopReason) {
    // If the deadline has passed, that is when stopping began. The request lowers the deadline, and would erase the only
    // evidence of it on a node that is silent.
    let request_time = pod.deadline().map_or(draft.now, |deadline| deadline.min(draft.now));
    record_pod(draft, pod);
    draft.update_attempt(|attempt| {
        attempt.stop = Some(RequestedStop { reason, request_time });
        attempt.state = AttemptState::Stopping;
    });
    draft.set_phase_because(Phase::Stopping, reason);
    let waited_for = match reason {
        StopReason::StartTimeout | StopReason::SchedulingTimeout => waits::wait(pod).map(|wait| wait.cause(pod)),
        StopReason::Suspend
        | StopReason::Cancel
        | StopReason::MainEnded
        | StopReason::TimeLimit
        | StopReason::Limit
        | StopReason::Outdated
        | StopReason::Hung => None,
    };
    if let Some(cause) = &waited_for {
        show_what_took_too_long(draft, cause);
    }
    if pod.deletion.is_some() {
        // Somebody else has asked.
        return;
    }
    let why = match reason {
        StopReason::Suspend => "the task is suspended",
        StopReason::Cancel => "the task is cancelled",
        StopReason::MainEnded => match &pod.other_unended {
            Some(other) => &format!("its main container has ended, and container {other} has not"),
            None => "its main container has ended",
        },
        StopReason::StartTimeout => "its main container did not run within segment.startTimeout",
        StopReason::SchedulingTimeout => "it was not scheduled within segment.schedulingTimeout",
        StopReason::TimeLimit => "its segment's time is used up, and its deadline cannot be lowered",
        StopReason::Limit => "a limit of the task is reached",
        StopReason::Outdated => "it does not start, and the task has been edited since",
        StopReason::Hung => {
            let silent = main_started_at(pod).and_then(|started_at| heartbeat::hung_for(draft, started_at));
            &heartbeat::words(silent, draft.spec.segment.heartbeat_timeout, &draft.status)
        }
    };
    let number = draft.status.current_attempt.as_ref().map_or(0, |attempt| attempt.number);
    draft.pod_event(
        Some(PodRef::to(pod)),
        EventReason::StopRequested,
        &format!("Asked attempt {number} to stop: {why}{}.", said(waited_for.as_ref())),
    );
}

/// Shows what the attempt waited for until its time was up, however short that was, in place of whatever kept an earlier
/// one: the pod forgets it when it is deleted.
fn show_what_took_too_long(draft: &mut Draft<'_>, cause: &Cause) {
    if !blocked::shown(draft).is_some_and(|shown| is_same_trouble(&shown.reason, &cause.reason)) {
        blocked::show(draft, cause);
    }
}

/// The words of a cause, behind a colon.
fn said(cause: Option<&Cause>) -> String {
    cause.map(|cause| format!(": {}", cause.message)).unwrap_or_default()
}

/// Keeps the pod to its slice, or to a requested stop, by lowering its deadline: the kubelet then stops it gracefully
/// and *keeps* it with its exit codes and messages. A pod that never ran has nothing to keep and is deleted. So is one
/// whose deadline the API server refuses to lower: our finalizer keeps it until its end is recorded.
///
/// Asked anew each time: a step that got lost is taken again.
fn enforce(draft: &mut Draft<'_>, pod: &PodFacts) {
    let Some(attempt) = draft.status.current_attempt.clone() else { return };
    match (&attempt.stop, started_at(&attempt, pod)) {
        (Some(_), Some(_)) => {
            lower_deadline(draft, pod, 1);
            if is_lowering_refused(draft) {
                draft.step(Step::DeletePod(PodRef::to(pod)));
            }
        }
        (Some(_), None) if pod.deletion.is_none() => draft.step(Step::DeletePod(PodRef::to(pod))),
        (None, Some(started_at)) => keep_to_slice(draft, pod, started_at),
        (Some(_) | None, None) => {}
    }
}

/// The deadline was set for the longest start-up; now that the main container runs, its slice counts.
fn keep_to_slice(draft: &mut Draft<'_>, pod: &PodFacts, started_at: Timestamp) {
    let slice = limits::slice_of(pod, started_at, draft.spec, &draft.status);
    draft.update_attempt(|attempt| attempt.cut_by = slice.cut_by);
    if let Some(start_time) = pod.start_time {
        lower_deadline(draft, pod, seconds_between(start_time, slice.end));
    }
    if is_lowering_refused(draft) && slice.end <= draft.now {
        request_stop(draft, pod, StopReason::TimeLimit);
        draft.step(Step::DeletePod(PodRef::to(pod)));
    }
}

fn slice_end(draft: &Draft<'_>, pod: &PodFacts, started_at: Timestamp) -> Timestamp {
    limits::slice_of(pod, started_at, draft.spec, &draft.status).end
}

/// Whether the API server has just refused to lower the pod's deadline.
fn is_lowering_refused(draft: &Draft<'_>) -> bool {
    draft.refused_steps().any(|refused| matches!(refused.step, Step::LowerDeadline { .. }))
}

/// Raising is refused by the API server, so a slice never gets longer.
fn lower_deadline(draft: &mut Draft<'_>, pod: &PodFacts, seconds: i64) {
    let seconds = seconds.clamp(1, i64::from(i32::MAX));
    if pod.deletion.is_none() && pod.active_deadline.is_none_or(|current| seconds < current) {
        draft.step(Step::LowerDeadline { pod: PodRef::to(pod), seconds });
    }
}
