//! What GitOps tools read of a status, by the conventions of kstatus. docs/compatibility.md promises them.

use longtask::{
    api::task::{ConditionType, LongTaskStatus, Phase},
    types::is_condition_true,
};

/// Says how a status that is written for this generation of the task breaks the conventions, if it does.
pub(crate) fn breach(status: &LongTaskStatus, generation: Option<i64>) -> Option<String> {
    let phase = status.phase;
    let goes_on = phase.is_some_and(|phase| !phase.is_terminal() && phase != Phase::Suspended);
    let of_phase = [(ConditionType::Reconciling, goes_on), (ConditionType::Stalled, phase == Some(Phase::Failed))];
    let is_wrong = |(type_, holds): &(ConditionType, bool)| is_condition_true(&status.conditions, *type_) != *holds;
    if let Some((type_, holds)) = of_phase.into_iter().find(is_wrong) {
        return Some(format!("{type_} should be {holds} in phase {phase:?}"));
    }
    if Some(status.observed_generation) != generation {
        return Some(format!("observedGeneration is {} for {generation:?}", status.observed_generation));
    }
    // Without Ready, a task that neither goes on nor has failed is current.
    let is_wrong = |type_: &str, observed| type_ == "Ready" || observed != generation;
    let wrong = status.conditions.iter().find(|one| is_wrong(&one.type_, one.observed_generation))?;
    Some(format!("condition {} is of generation {:?}, not {generation:?}", wrong.type_, wrong.observed_generation))
}
