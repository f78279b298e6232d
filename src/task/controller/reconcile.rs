//! One look at one task: observe, plan, execute.

use std::{sync::Arc, time::Duration};

use kube::{
    core::{DeserializeGuard, error_boundary::InvalidObject},
    runtime::controller::Action,
};
use tokio::time::Instant;
use tracing::{Instrument, debug, warn};

use super::{
    context::Context,
    execute::{Executed, Refusals, execute},
    metrics::ResultLabels,
    observe::{Fresh, observe, refresh},
    publish::publish,
    spans::{log_span, update_log_span},
};
use crate::{
    api::task::{LongTask, Transition},
    runtime::{error::Error, key::ObjectKey},
    task::plan::{EventReason, Plan, Step, TaskEvent, Wake, plan},
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
            sync(task, &context).instrument(log_span(task)).await
        }
        Err(invalid) => {
            publish_unreadable(&task, invalid, &context);
            Ok(Action::await_change())
        }
    };
    let outcome = result.as_ref().map_or_else(Error::category, |_| "ok");
    context.metrics.reconciles.get_or_create(&ResultLabels { result: outcome }).inc();
    context.metrics.reconcile_duration.observe(began.elapsed().as_secs_f64());
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
        let template = match refresh(context, newest.as_deref().unwrap_or(task)).await? {
            Fresh::AsRead(template) => template,
            Fresh::Read(read, template) => {
                newest = Some(read);
                template
            }
            Fresh::Gone => return Ok(Action::await_change()),
        };
        let task = newest.as_deref().unwrap_or(task);
        let mut seen = observe(context, task).await?;
        (seen.refusal, seen.refused_steps) = (refused.create.clone(), refused.steps.clone());
        seen.template = template;
        let planned = plan(&seen, context.clock.now());
        if let Some(status) = &planned.status {
            update_log_span(status);
        }
        let hands_over = hands_over(task, &planned);
        match execute(context, task, planned).await? {
            Executed::Done { wake, created } => {
                if let Some(created) = created.filter(|_| hands_over) {
                    context.metrics.hand_over.observe(created.duration_since(began).as_secs_f64());
                }
                return Ok(action(context, wake));
            }
            Executed::Refused(written, refusals) => {
                newest = written.or(newest);
                refused.create = refusals.create.or(refused.create);
                refused.steps.extend(refusals.steps);
            }
            Executed::FilledIn(filled) => newest = Some(filled),
            Executed::TaskGone => return Ok(Action::await_change()),
        }
    }
    Ok(Action::requeue(Duration::from_secs(1)))
}

fn action(context: &Context, wake: Wake) -> Action {
    Action::requeue(match wake {
        Wake::OnChange => RESYNC,
        Wake::At(time) => context.clock.until(time).clamp(SOONEST, RESYNC),
    })
}

/// Whether a plan puts the next attempt in the place of one that it records as ended.
fn hands_over(task: &LongTask, plan: &Plan) -> bool {
    let Some(after) = &plan.status else { return false };
    let ends = Transition::between(task.status.as_ref(), after).attempt_ended.is_some();
    ends && plan.steps.iter().any(|step| matches!(step, Step::CreatePod(_)))
}
