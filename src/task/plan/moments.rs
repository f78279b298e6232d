//! When to look again: every moment at which the answer to a question can change by time alone.

use jiff::Timestamp;

use super::{
    attempt_active, checkpoint_stale, draft::Draft, fill_in, finish, limits, next::Next, observed::Refusal,
    pod_cleanup, queued, refused, reports_missing, steps::Wake,
};
use crate::types::time::after;

/// How soon to look again for a pod that is on its way out, in seconds.
const SOON: i64 = 1;
/// How soon to look again for a pod that is being created, in seconds. Its own watch brings the news; this is for the day
/// that it does not.
const CREATED: i64 = 30;

/// When to plan again: at the first of the moments to come.
pub(super) fn wake(draft: &Draft<'_>, next: &Next) -> Wake {
    let always = [
        finish::expires_at(draft),
        checkpoint_stale::due(draft),
        reports_missing::due(draft),
        refused::tried_again_at(draft),
        fill_in::tried_again_at(draft),
        queued::place_free_at(draft),
    ];
    let moments = of_next(draft, next).into_iter().chain(always).flatten().chain(pod_cleanup::names_free_at(draft));
    moments.filter(|moment| *moment > draft.now).min().into()
}

/// The moments that come with what is next.
fn of_next(draft: &Draft<'_>, next: &Next) -> Vec<Option<Timestamp>> {
    let limit = || limits::next_limit(&draft.spec.limits, &draft.status);
    match next {
        Next::KeepUp(pod) => attempt_active::moments(draft, pod),
        Next::Rest | Next::Succeed | Next::Cancel | Next::Fail(..) => Vec::new(),
        Next::Block(_) | Next::StayHeld | Next::Suspend | Next::AwaitTurn | Next::Queued => vec![limit()],
        Next::WaitForPod(..) | Next::ShowRefusal(Refusal::NameOfTerminatingPod) => vec![Some(after(draft.now, SOON))],
        Next::WaitUntil(time) | Next::CreateAt(time) => vec![Some(*time), limit()],
        Next::ShowRefusal(_) => vec![draft.status.next_attempt_time, limit()],
        // One of the task's claims may keep it from being created for now.
        Next::Create | Next::Start => vec![Some(after(draft.now, CREATED)), draft.status.next_attempt_time],
    }
}
