//! One look at one task: observe, plan, execute.

use std::{sync::Arc, time::Duration};

use kube::{
    ResourceExt,
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::controller::Action,
};
use tokio::time::Instant;
use tracing::{Instrument, Span, debug, warn};

use super::{
    context::Context,
    execute::{Executed, Refusals, execute},
    observe::observe,
    publish::publish,
    status_metrics::ended_now,
};
use crate::{
    api::task::LongTask,
    runtime::{error::Error, key::ObjectKey},
    task::{
        plan::{EventReason, Plan, Step, TaskEvent, Wake, plan},
        render,
    },
    telemetry::logs::{TaskFields, task_span},
};

/// A task that nothing happened to is looked at this often, in case an event got lost.
const RESYNC: Duration = Duration::from_mins(10);
/// The soonest that a task is looked at again by itself.
const SOONEST: Duration = Duration::from_millis(10);

/// How many plans one look may take: a plan of which something is refused is followed by one that knows.
const MOST_PLANS: usize = 4;

/// Brings one task as far as it goes now.
pub(super) async fn reconcile(task: Arc<DeserializeGuard<LongTask>>, context: Arc<Context>) -> Result<Action, Error> {
    let began = Instant::now();
    context.queue_depth.remove(&ObjectKey::of(&*task));
    let result = match &task.0 {
        Ok(watched) => {
            let newest = context.written.newest(&ObjectKey::of(watched), watched);
            let task = newest.as_deref().unwrap_or(watched);
            sync(task, &context).instrument(span(task)).await
        }
        Err(invalid) => {
            publish_unreadable(&task, invalid, &context);
            Ok(Action::await_change())
        }
    };
    let outcome = result.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconciled(outcome, began.elapsed());
    if let Ok(task) = &task.0 {
        context.sampler.emit(&context.traces, task, outcome, context.clock.now().into(), began.elapsed());
    }
    if result.is_ok() {
        context.backoffs.forget(&ObjectKey::of(&*task));
    }
    result
}

/// The API server admits what the definition allows, which may be more than we can read: a port beyond 32 bits, or
/// what another version of the definition has.
fn publish_unreadable(task: &DeserializeGuard<LongTask>, invalid: &InvalidObject, context: &Context) {
    let (name, namespace) = (&invalid.metadata.name, &invalid.metadata.namespace);
    warn!(task = name, namespace, error = invalid.error, "cannot read this task");
    let note = format!("Cannot run this task, since it cannot be read: {}. Correct that field.", invalid.error);
    publish(context, task, TaskEvent::warning(EventReason::Unreadable, "Read", &note));
}

/// How soon to try again after an error.
pub(super) fn error_policy(task: &DeserializeGuard<LongTask>, error: &Error, context: &Context) -> Action {
    let key = ObjectKey::of(task);
    let delay = context.backoffs.after(&key, error);
    if error.is_conflict() {
        debug!(task = key.name, namespace = key.namespace, %error, "planned from an old reading");
    } else {
        warn!(task = key.name, namespace = key.namespace, %error, retry_in = ?delay, "could not bring the task on");
    }
    Action::requeue(delay)
}

/// Observes, plans and executes. What the API server refuses is an observation: the plan is made again with it.
async fn sync(task: &LongTask, context: &Context) -> Result<Action, Error> {
    let began = Instant::now();
    let (mut newest, mut refused) = (None::<Arc<LongTask>>, Refusals::default());
    for _ in 0..MOST_PLANS {
        let task = newest.as_deref().unwrap_or(task);
        let mut seen = observe(context, task).await?;
        (seen.refusal, seen.refused_steps) = (refused.create.clone(), refused.steps.clone());
        let planned = plan(&seen, context.clock.now());
        record_span(&planned);
        let hands_over = hands_over(task, &planned);
        match execute(context, task, planned).await? {
            Executed::Done { wake, created } => {
                if let Some(created) = created.filter(|_| hands_over) {
                    context.metrics.handed_over(created.duration_since(began));
                }
                return Ok(action(context, wake));
            }
            Executed::Refused(written, refusals) => {
                newest = written.or(newest);
                refused.create = refusals.create.or(refused.create);
                refused.steps.extend(refusals.steps);
            }
            Executed::TaskGone => return Ok(Action::await_change()),
        }
    }
    Ok(Action::requeue(Duration::from_secs(1)))
}

/// What is logged from here on is about the attempt that the plan makes or ends.
fn record_span(plan: &Plan) {
    if let Some(status) = &plan.status {
        Span::current().record("segment", status.segment);
        Span::current().record("attempt", status.current_attempt.as_ref().map_or(0, |attempt| attempt.number));
    }
}

fn action(context: &Context, wake: Wake) -> Action {
    Action::requeue(match wake {
        Wake::OnChange => RESYNC,
        Wake::At(time) => context.clock.until(time).clamp(SOONEST, RESYNC),
    })
}

fn span(task: &LongTask) -> Span {
    let status = task.status.as_ref();
    let attempt = status.and_then(|status| status.current_attempt.as_ref());
    let uid = task.uid().unwrap_or_default();
    task_span(&TaskFields {
        task: &task.name_any(),
        namespace: &task.namespace().unwrap_or_default(),
        uid: &uid,
        segment: status.map_or(0, |status| status.segment),
        attempt: attempt.map_or(0, |attempt| attempt.number),
        trace_id: &render::trace_id(&uid, status.map_or(1, |status| status.run.number.max(1))),
    })
}

/// Whether a plan puts the next attempt in the place of one that it records as ended.
fn hands_over(task: &LongTask, plan: &Plan) -> bool {
    let ends = task.status.as_ref().zip(plan.status.as_ref()).and_then(|(before, after)| ended_now(before, after));
    ends.is_some() && plan.steps.iter().any(|step| matches!(step, Step::CreatePod(_)))
}
