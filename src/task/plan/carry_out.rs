//! What comes next is done: the only place where a decision becomes a phase, conditions, events and steps.

use super::{
    attempt_active::sync_active,
    attempt_create::{self, create, old_pods_have_ended, show_refusal, start, wait, wait_for_pod},
    draft::Draft,
    finish,
    next::Next,
    queued, suspension,
};

/// Does what comes next.
pub(super) fn carry_out(draft: &mut Draft<'_>, next: &Next) {
    match next {
        Next::KeepUp(pod) => sync_active(draft, pod),
        Next::Rest => finish::rest(draft),
        Next::Succeed => finish::succeed(draft),
        Next::Cancel => finish::cancel(draft),
        Next::Fail(reason, message) => finish::fail(draft, *reason, message),
        Next::Block(cause) => attempt_create::cannot_start(draft, cause),
        Next::StayHeld => suspension::stay_held(draft),
        Next::Suspend => suspension::suspend(draft),
        Next::AwaitTurn => suspension::await_turn(draft),
        Next::WaitForPod(pod, reason) => wait_for_pod(draft, pod, *reason),
        Next::WaitUntil(_) => {
            old_pods_have_ended(draft);
            wait(draft);
        }
        Next::Queued => {
            old_pods_have_ended(draft);
            queued::wait(draft);
        }
        Next::CreateAt(_) => old_pods_have_ended(draft),
        Next::ShowRefusal(refusal) => show_refusal(draft, refusal),
        Next::Create => {
            old_pods_have_ended(draft);
            create(draft);
        }
        Next::Start => {
            old_pods_have_ended(draft);
            start(draft);
        }
    }
    finish::delete_when_expired(draft);
}
