//! Whether the reports of a program arrive that is to report while it runs.

use jiff::Timestamp;

use super::{
    draft::Draft,
    observed::{CurrentPod, MainContainer, PodFacts},
    steps::{EventReason, PodRef},
};
use crate::{
    api::task::{ConditionReason, ConditionType},
    types::{find_condition, is_condition_true, time::after},
};

/// How long a program runs before its agent must have been heard of, in seconds.
const FIRST_REPORT: i64 = 180;
/// How many signs that it is there an agent may miss.
const MISSED: i64 = 3;
/// What a late one may be late, and for how long what was taken back is not said again, in seconds.
const LATE: i64 = 60;

/// Keeps the condition `ReportsMissing` true to what is heard of the agent.
pub(super) fn watch_reports(draft: &mut Draft<'_>) {
    match missing(draft) {
        Some(reason) => show(draft, reason),
        None => draft.mark_false(ConditionType::ReportsMissing, ConditionReason::Heard, ""),
    }
}

/// When the reports count as missing unless one comes.
pub(super) fn due(draft: &Draft<'_>) -> Option<Timestamp> {
    missing_from(draft).map(|(from, _)| from)
}

fn missing(draft: &Draft<'_>) -> Option<ConditionReason> {
    missing_from(draft).filter(|(from, _)| *from <= draft.now).map(|(_, reason)| reason)
}

/// From when on the reports count as missing unless one comes, and why.
fn missing_from(draft: &Draft<'_>) -> Option<(Timestamp, ConditionReason)> {
    let (pod, since) = running(draft)?;
    let live = &draft.seen.live;
    let (from, reason) = match (live.listening_since.filter(|_| pod.agent.is_some()), &live.report) {
        (None, _) if draft.spec.is_live() && !can_be_taken(draft) => (since, ConditionReason::NotConfigured),
        (None, _) => return None,
        (Some(listening), Some(report)) => {
            (after(report.receipt_time.max(listening), longest_silence(draft)), ConditionReason::Silent)
        }
        (Some(listening), None) if has_been_heard(draft) => {
            (after(listening, longest_silence(draft)), ConditionReason::Silent)
        }
        (Some(listening), None) => (after(since.max(listening), FIRST_REPORT), ConditionReason::NeverHeard),
    };
    Some((taken_back_since(draft, since).map_or(from, |at| from.max(after(at, LATE))), reason))
}

/// Whether the operator was installed with what live reports need.
fn can_be_taken(draft: &Draft<'_>) -> bool {
    draft.seen.live.agent.as_ref().is_some_and(|agent| agent.reports.is_some())
}

/// When it was taken back that reports are missing of this program. Another operator may work beside this one, and hear its
/// agent: the two must not write in turns.
fn taken_back_since(draft: &Draft<'_>, since: Timestamp) -> Option<Timestamp> {
    let known = find_condition(&draft.status.conditions, ConditionType::ReportsMissing)?;
    Some(known.last_transition_time.0).filter(|at| known.status != "True" && *at >= since)
}

/// The pod whose program runs, and since when it does.
fn running<'a>(draft: &Draft<'a>) -> Option<(&'a PodFacts, Timestamp)> {
    match &draft.seen.current {
        CurrentPod::Found(pod) => match pod.main {
            MainContainer::Running { since } if pod.deletion.is_none() => Some((pod.as_ref(), since)),
            MainContainer::Running { .. } | MainContainer::Waiting | MainContainer::Ended(_) => None,
        },
        CurrentPod::None | CurrentPod::Gone => None,
    }
}

/// Whether a report of this attempt was recorded, by whichever operator.
fn has_been_heard(draft: &Draft<'_>) -> bool {
    draft.status.live_attempt().is_some_and(|attempt| attempt.report.is_some())
}

fn longest_silence(draft: &Draft<'_>) -> i64 {
    MISSED.saturating_mul(draft.spec.segment.keep_alive_seconds()).saturating_add(LATE)
}

fn show(draft: &mut Draft<'_>, reason: ConditionReason) {
    if is_condition_true(&draft.status.conditions, ConditionType::ReportsMissing) {
        return;
    }
    let pod = running(draft).map(|(pod, _)| PodRef::to(pod));
    let name = pod.as_ref().map_or("", |pod| pod.name.as_str());
    let message = match reason {
        ConditionReason::NotConfigured => {
            "the operator was installed without --agent-image or --reports-address: reports are read when the attempt \
             ends, as with reporting.mode AtExit"
                .to_owned()
        }
        _ => format!(
            "no report of pod {name} arrives; the program runs on, and what it reports is read when its attempt ends. \
             `kubectl logs {name} -c longtask-agent` says why: look for a NetworkPolicy, a service mesh or DNS in the way"
        ),
    };
    draft.mark_true(ConditionType::ReportsMissing, reason, &message);
    draft.pod_warning(pod, EventReason::ReportsMissing, &format!("Reports are missing: {message}."));
}
