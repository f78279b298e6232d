//! The rules of a podFailurePolicy as those of a failurePolicy.

use k8s_openapi::api::batch::v1::{
    PodFailurePolicy, PodFailurePolicyOnExitCodesRequirement, PodFailurePolicyOnPodConditionsPattern,
    PodFailurePolicyRule,
};
use serde_json::{Value, json};

use super::template::Main;

/// The exit code that means "run me again" where nothing else is said: no rule is asked about it.
const CONTINUE: i32 = 75;

/// The rules of the task.
pub(super) fn of_task(policy: PodFailurePolicy, main: &Main, notes: &mut Vec<String>) -> Vec<Value> {
    // A Job has as many rules, codes and conditions as a task may have, so that there is nothing to cut.
    let rules = policy.rules.into_iter().enumerate();
    rules.filter_map(|(at, rule)| rule_of(rule, at, main, notes)).collect()
}

/// The rule of a task that does what the rule of a Job does.
fn rule_of(rule: PodFailurePolicyRule, at: usize, main: &Main, notes: &mut Vec<String>) -> Option<Value> {
    let field = format!("spec.podFailurePolicy.rules[{at}]");
    let PodFailurePolicyRule { action, on_exit_codes, on_pod_conditions } = rule;
    let action = match action.as_str() {
        "FailJob" => "Fail",
        "Ignore" => "Ignore",
        "Count" => "Retry",
        other => {
            notes.push(format!("{field}: dropped; action {other} has no counterpart"));
            return None;
        }
    };
    let mut written = json!({ "name": format!("rule-{}", at + 1), "action": action });
    if let Some(codes) = on_exit_codes {
        written["onExitCodes"] = exit_codes_of(codes, &field, main, notes)?;
    }
    let conditions: Vec<_> = on_pod_conditions.into_iter().flatten().map(condition_of).collect();
    if !conditions.is_empty() {
        written["onPodConditions"] = json!(conditions);
    }
    Some(written)
}

fn exit_codes_of(
    codes: PodFailurePolicyOnExitCodesRequirement,
    field: &str,
    main: &Main,
    notes: &mut Vec<String>,
) -> Option<Value> {
    let PodFailurePolicyOnExitCodesRequirement { container_name, operator, mut values } = codes;
    if container_name.as_ref().is_some_and(|name| *name != main.name) {
        notes
            .push(format!("{field}: dropped; only the exit code of the main container counts, which is {}", main.name));
        return None;
    }
    // A rule is asked only about failures: 0 is none, and no process exits with more than 255.
    values.retain(|code| (1..=255).contains(code));
    if values.is_empty() && operator == "In" {
        notes.push(format!("{field}: dropped; it has no exit code from 1 to 255"));
        return None;
    }
    if values.contains(&CONTINUE) {
        notes.push(format!(
            "{field}: no rule is asked about exit code {CONTINUE}, which means that the program goes on, unless \
             spec.segment.continueExitCodes is another list"
        ));
    }
    if values.is_empty() {
        // Whatever is not 0. A rule needs a code that it leaves out, and about this one it is not asked.
        values.push(CONTINUE);
    }
    if container_name.is_none() && main.has_neighbours {
        notes.push(format!("{field}: only the exit code of the main container counts now, which is {}", main.name));
    }
    Some(json!({ "operator": operator, "values": values }))
}

fn condition_of(pattern: PodFailurePolicyOnPodConditionsPattern) -> Value {
    let PodFailurePolicyOnPodConditionsPattern { status, type_ } = pattern;
    json!({ "type": type_, "status": status.unwrap_or_else(|| "True".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn converted(rules: &Value) -> (Vec<Value>, Vec<String>) {
        let main = Main { name: "main".to_owned(), has_neighbours: false };
        let mut notes = Vec::new();
        let policy = serde_json::from_value(json!({ "rules": rules })).expect("a policy");
        (of_task(policy, &main, &mut notes), notes)
    }

    fn on_codes(operator: &str, values: &[i32]) -> (Vec<Value>, Vec<String>) {
        converted(&json!([{ "action": "FailJob", "onExitCodes": { "operator": operator, "values": values } }]))
    }

    #[test]
    fn codes_that_no_failed_process_has_are_left_out() {
        let (rules, notes) = on_codes("NotIn", &[-1, 0, 4, 256]);
        assert_eq!(rules[0]["onExitCodes"], json!({ "operator": "NotIn", "values": [4] }));
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn a_rule_about_every_failure_stays_one() {
        let (rules, notes) = on_codes("NotIn", &[0]);
        assert_eq!(rules[0]["onExitCodes"], json!({ "operator": "NotIn", "values": [75] }));
        assert_eq!(notes, [""; 0]);
    }

    #[test]
    fn a_rule_that_never_matches_is_dropped() {
        let (rules, notes) = on_codes("In", &[-1, 256]);
        assert!(rules.is_empty(), "{rules:?}");
        assert_eq!(notes, ["spec.podFailurePolicy.rules[0]: dropped; it has no exit code from 1 to 255"]);
    }

    #[test]
    fn a_rule_about_the_code_that_means_go_on_is_told() {
        let (rules, notes) = on_codes("In", &[2, 75]);
        assert_eq!(rules[0]["onExitCodes"]["values"], json!([2, 75]));
        assert!(
            notes[0].starts_with("spec.podFailurePolicy.rules[0]: no rule is asked about exit code 75"),
            "{notes:?}"
        );
    }

    #[test]
    fn a_condition_without_a_status_is_true() {
        let conditions = json!([{ "type": "DisruptionTarget" }, { "type": "a/b", "status": "Unknown" }]);
        let (rules, _) = converted(&json!([{ "action": "Ignore", "onPodConditions": conditions }]));
        assert_eq!(
            rules[0]["onPodConditions"],
            json!([{ "type": "DisruptionTarget", "status": "True" }, { "type": "a/b", "status": "Unknown" }])
        );
    }
}
