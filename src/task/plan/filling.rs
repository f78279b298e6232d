//! Whether a task gets its definition from a LongTaskTemplate, and by which plan.

use jiff::Timestamp;

use super::{
    observed::{Cause, Observed, Template, TemplateReading},
    round::is_new_round,
    steps::{EventReason, EventType, Plan, Step, TaskEvent, Wake},
};
use crate::{
    api::{
        labels,
        parent::Parent,
        task::{ConditionReason, LongTask, LongTaskStatus, Phase, TemplateRef},
    },
    start::{
        definition,
        input::{self, Unfit},
        task::pod_template,
    },
};

/// How a message begins that tells of a task which the API server refuses to have filled in.
pub(super) const FILL_IN_REFUSED: &str = "the API server refuses to have this task filled in";

/// Whether a task has its definition.
#[derive(Debug)]
pub(super) enum Filling {
    /// It has, or it ends without one.
    NotNeeded,
    /// It gets it now, by this plan, in which there is nothing else.
    Now(Box<Plan>),
    /// It cannot get it for now.
    Blocked(Cause),
    /// It does not get it: its input is not valid.
    Invalid(String),
}

/// Whether a task is to be filled in, as far as the task itself tells: then it and its template are read from the API server,
/// since no cache can say what is to be copied where.
pub fn is_due(task: &LongTask, parent: Option<Parent>) -> bool {
    let spec = &task.spec;
    let is_stopped = parent.is_some_and(|parent| parent.stop);
    if !spec.is_managed_by_us() || spec.cancel || is_stopped || task.metadata.deletion_timestamp.is_some() {
        return false;
    }
    let is_over = has_ended(task) && new_token(task).is_none();
    (spec.is_thin() && !is_over) || renewal(task, parent).is_some()
}

fn has_ended(task: &LongTask) -> bool {
    task.status.as_ref().and_then(|status| status.phase).is_some_and(Phase::is_terminal)
}

/// The restart token that the task has and no run of it answers to.
fn new_token(task: &LongTask) -> Option<&str> {
    let token = task.spec.restart.as_ref()?.token.as_str();
    let recorded = task.status.as_ref().filter(|status| status.run.number > 0)?;
    (recorded.run.restart_token.as_deref() != Some(token)).then_some(token)
}

/// What the template as it is now is asked for by, if it is, and not done yet: a restart token, or a round of the task's set.
fn renewal(task: &LongTask, parent: Option<Parent>) -> Option<String> {
    token_to_renew_for(task).map(ToOwned::to_owned).or_else(|| round_to_renew_for(task, parent?))
}

/// Likewise, a round of the set that the task is a member of.
fn round_to_renew_for(task: &LongTask, parent: Parent) -> Option<String> {
    task.spec.template_ref.as_ref()?;
    let round = format!("round/{}", parent.round);
    let is_asked = parent.renew && is_new_round(task, parent);
    let done = task.metadata.annotations.as_ref().and_then(|all| all.get(labels::RENEWED_FOR));
    (is_asked && done != Some(&round)).then_some(round)
}

/// The restart token that asks for the template as it is now, if it is obeyed, and not done yet.
fn token_to_renew_for(task: &LongTask) -> Option<&str> {
    task.spec.template_ref.as_ref()?;
    let token = new_token(task).filter(|_| task.spec.restart.as_ref().is_some_and(|restart| restart.renew))?;
    let is_obeyed = has_ended(task) || task.status.as_ref().is_some_and(LongTaskStatus::is_held);
    let done = task.metadata.annotations.as_ref().and_then(|all| all.get(labels::RENEWED_FOR));
    (is_obeyed && done.is_none_or(|done| done != token)).then_some(token)
}

/// Whether the task is to be filled in now.
pub(super) fn ask(seen: &Observed<'_>, now: Timestamp) -> Filling {
    let spec = &seen.task.spec;
    // Who may not run any more needs no definition.
    let is_out_of_time = spec.limits.deadline.is_some_and(|deadline| deadline <= now);
    match &spec.template_ref {
        Some(reference) if !is_out_of_time && is_due(seen.task, seen.parent) => fill_in(seen, reference),
        _ => Filling::NotNeeded,
    }
}

fn fill_in(seen: &Observed<'_>, reference: &TemplateRef) -> Filling {
    let blocked = |reason: ConditionReason, message: String| Filling::Blocked(Cause::new(reason, message));
    let (spec, name) = (&seen.task.spec, &reference.name);
    let TemplateReading { task, template } = match &seen.template {
        Template::Found(reading) => &**reading,
        Template::Off => {
            let message = format!(
                "this task is to be filled in from LongTaskTemplate {name}, and the operator runs with --no-fill-in"
            );
            return blocked(ConditionReason::FillInOff, message);
        }
        Template::NotAsked | Template::Missing => {
            return blocked(ConditionReason::TemplateNotFound, format!("there is no LongTaskTemplate {name}"));
        }
    };
    let generation = template.metadata.generation.unwrap_or_default();
    let known = seen.task.metadata.annotations.as_ref().and_then(|all| all.get(labels::TEMPLATE_GENERATION));
    if spec.is_thin() && known.is_some_and(|known| *known == generation.to_string()) {
        // Whatever takes the change back would do so again and again.
        let message =
            format!("generation {generation} of LongTaskTemplate {name} was written here, and is not there any more");
        return blocked(ConditionReason::TakenBack, message);
    }
    if let Some(field) = definition::set_by_task(spec).filter(|_| spec.is_thin()) {
        let message = format!("spec.{field} is set here, and it comes from LongTaskTemplate {name}");
        return blocked(ConditionReason::SetByTemplate, message);
    }
    let pod = pod_template(template).and_then(|template| template.spec);
    match input::check(spec.input.as_ref(), template.spec.input_schema.as_ref(), pod.as_ref()) {
        Ok(()) => {}
        Err(Unfit::Input(invalid)) => return Filling::Invalid(invalid.to_string()),
        Err(Unfit::Schema(invalid)) => {
            let message = format!("spec.inputSchema of LongTaskTemplate {name} cannot be used: {invalid}");
            return blocked(ConditionReason::InvalidSchema, message);
        }
    }
    let filled = definition::fill_in(task, template, renewal(seen.task, seen.parent).as_deref());
    let step = Step::FillIn(Box::new(filled));
    if let Some(refused) = seen.refused_steps.iter().find(|refused| refused.step.is_same_request(&step)) {
        let message = format!("{FILL_IN_REFUSED}: {}", refused.words.message);
        return Filling::Blocked(Cause { reason: refused.words.reason.clone(), message });
    }
    let note = format!("Filled in from LongTaskTemplate {name}, generation {generation}.");
    let event = TaskEvent {
        type_: EventType::Normal,
        reason: EventReason::FilledIn,
        action: "FillIn".to_owned(),
        note,
        pod: None,
    };
    Filling::Now(Box::new(Plan { steps: vec![step], events: vec![event], wake: Wake::OnChange, ..Plan::default() }))
}
