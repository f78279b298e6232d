//! What happens next to a task, or what the user can do.

use jiff::Timestamp;
use kube::ResourceExt;

use super::time::{ago, span};
use crate::{
    api::task::{AttemptState, LongTask, LongTaskStatus, MANAGED_BY_US, Phase, PhaseReason},
    types::time::seconds_between,
};

/// What happens next, or what the user can do, in a line.
pub(super) fn next(task: &LongTask, status: &LongTaskStatus, now: Timestamp) -> String {
    let name = task.name_any();
    if task.spec.managed_by != MANAGED_BY_US {
        return format!("another operator runs it: spec.managedBy is {}", task.spec.managed_by);
    }
    let Some(phase) = status.phase else {
        return "the operator has not taken it up yet; does one run? kubectl get pods -A -l app.kubernetes.io/name=longtask"
            .to_owned();
    };
    match phase {
        Phase::Pending if task.spec.is_thin() => {
            let template = task.spec.template_ref.as_ref().map_or("", |reference| reference.name.as_str());
            format!("it gets its definition from LongTaskTemplate {template}")
        }
        Phase::Pending if status.reason == <&str>::from(PhaseReason::Queued) => queued(task, status, now),
        Phase::Pending => pending(status, now),
        Phase::Running => running(task, status, now),
        Phase::Stopping => stopping(task, status, now),
        Phase::Waiting => waiting(status, now),
        Phase::Suspended if status.is_held() => {
            format!("`kubectl longtask restart {name}` lets it go on from {}, when the cause is removed", start(status))
        }
        Phase::Suspended => format!("`kubectl longtask resume {name}` lets it go on from {}", start(status)),
        Phase::Succeeded => format!("nothing: it is done{}", removal(task, status, now)),
        Phase::Failed | Phase::Cancelled => {
            let removal = removal(task, status, now);
            format!(
                "nothing by itself{removal}; `kubectl longtask restart {name}` runs it again from {}",
                start(status)
            )
        }
    }
}

fn queued(task: &LongTask, status: &LongTaskStatus, now: Timestamp) -> String {
    let queue = task.spec.queue_name.as_deref().unwrap_or_default();
    let ticket = status.queue.as_ref();
    let waited =
        ticket.map(|ticket| format!(", for which it has waited {}", span(seconds_between(ticket.queue_time, now))));
    format!(
        "it starts when TaskQueue {queue} calls it{}; `kubectl get taskqueues` shows how that goes",
        waited.unwrap_or_default()
    )
}

fn pending(status: &LongTaskStatus, now: Timestamp) -> String {
    let Some(attempt) = status.live_attempt() else { return "its first pod".to_owned() };
    let pod = &attempt.pod_name;
    let again = status.next_attempt_time.map(|time| match seconds_between(now, time) {
        ..=0 => ", which is tried again now".to_owned(),
        seconds => format!(", which is tried again in {}", span(seconds)),
    });
    let step = match attempt.state {
        AttemptState::Creating => format!("pod {pod} is created"),
        _ => format!("pod {pod} is scheduled and started"),
    };
    format!("attempt {} of segment {} runs once {step}{}", attempt.number, attempt.segment, again.unwrap_or_default())
}

fn running(task: &LongTask, status: &LongTaskStatus, now: Timestamp) -> String {
    let Some(attempt) = status.live_attempt() else { return String::new() };
    if let Some(limit) = attempt.cut_by {
        return format!("it has time until the limit {limit} is reached, which fails the task");
    }
    let started = attempt.started_at.unwrap_or(now);
    let left = task.spec.segment.duration.as_secs().saturating_sub(seconds_between(started, now));
    let when = if left > 0 { format!("in {}", span(left)) } else { "now".to_owned() };
    format!(
        "the time of segment {} is up {when}; segment {} goes on from its checkpoint",
        attempt.segment,
        attempt.segment + 1
    )
}

fn stopping(task: &LongTask, status: &LongTaskStatus, now: Timestamp) -> String {
    let Some(attempt) = status.live_attempt() else { return String::new() };
    let asked = attempt.stop.as_ref().map(|stop| format!(" {} ({})", ago(stop.request_time, now), stop.reason));
    let grace = task.spec.segment.grace_period;
    let number = attempt.number;
    format!("attempt {number} was asked to stop{}, and has {grace} for its last checkpoint", asked.unwrap_or_default())
}

fn waiting(status: &LongTaskStatus, now: Timestamp) -> String {
    let number = status.current_attempt.as_ref().map_or(1, |attempt| attempt.number.saturating_add(1));
    let when = status.next_attempt_time.map_or_else(String::new, |time| match seconds_between(now, time) {
        ..=0 => " now".to_owned(),
        seconds => format!(" in {} ({time})", span(seconds)),
    });
    format!("attempt {number} of segment {} starts{when}, from {}", status.segment, start(status))
}

/// Where the next attempt starts.
fn start(status: &LongTaskStatus) -> String {
    let checkpoint = status.checkpoint.as_ref();
    checkpoint.map_or_else(|| "the beginning".to_owned(), |checkpoint| format!("checkpoint {}", checkpoint.sequence))
}

fn removal(task: &LongTask, status: &LongTaskStatus, now: Timestamp) -> String {
    let Some(phase) = status.phase else { return String::new() };
    let field = if phase == Phase::Failed { "ttlAfterFailed" } else { "ttlAfterFinished" };
    task.spec.ttl_after(phase).zip(status.completion_time).map_or_else(String::new, |(ttl, end)| {
        let left = ttl.as_secs().saturating_sub(seconds_between(end, now));
        format!("; it is deleted in {} ({field})", span(left))
    })
}
