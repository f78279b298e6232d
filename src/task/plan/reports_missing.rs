//! Whether the reports of a program arrive that is to report while it runs.

use jiff::Timestamp;

use super::{
    draft::Draft,
    observed::{CurrentPod, MainContainer, PodFacts},
    steps::{EventReason, PodRef},
};
use crate::{
    api::task::{ConditionReason, ConditionType},
    types::{find_condition, time::after},
};

/// How long a program runs before its agent must have been heard of, in seconds.
const FIRST_REPORT: i64 = 180;
/// How many signs that it is there an agent may miss.
const MISSED: i64 = 3;
/// What a late one may be late, in seconds.
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
    let (pod, since) = running(draft)?;
    pod.agent.as_ref()?;
    let live = &draft.seen.live;
    let listening = live.listening_since?;
    Some(match &live.report {
        Some(report) => after(report.receipt_time.max(listening), longest_silence(draft)),
        None if has_been_heard(draft) => after(listening, longest_silence(draft)),
        None => after(since.max(listening), FIRST_REPORT),
    })
}

fn missing(draft: &Draft<'_>) -> Option<ConditionReason> {
    let (pod, _) = running(draft)?;
    if draft.spec.is_live() && (pod.agent.is_none() || draft.seen.live.listening_since.is_none()) {
        let is_possible = draft.seen.live.agent.as_ref().is_some_and(|agent| agent.reports.is_some());
        return (!is_possible).then_some(ConditionReason::NotConfigured);
    }
    due(draft).filter(|due| *due <= draft.now)?;
    let has_been_heard = draft.seen.live.report.is_some() || has_been_heard(draft);
    Some(if has_been_heard { ConditionReason::Silent } else { ConditionReason::NeverHeard })
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
    let known = find_condition(&draft.status.conditions, ConditionType::ReportsMissing);
    if known.is_some_and(|known| known.status == "True" && known.reason == reason) {
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
