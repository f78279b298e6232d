//! Which rule of the failure policy decides about an attempt's end, and which rules never will.

use super::{
    draft::Draft,
    modifiers,
    observed::{ConditionFacts, PodFacts},
    outcome::Ending,
    steps::EventReason,
};
use crate::api::task::{EndFacts, LongTaskSpec, Outcome, PodConditionPattern, Rule};

/// The first rule that matches; none for an attempt that did not end in trouble. `pod` is what it ended with.
pub(super) fn matching_rule<'a>(ending: &Ending, pod: Option<&PodFacts>, spec: &'a LongTaskSpec) -> Option<&'a Rule> {
    match ending.outcome {
        Outcome::Failed | Outcome::StartFailed | Outcome::Interrupted => {
            spec.failure_policy.rules.iter().find(|rule| matches(rule, ending, pod))
        }
        Outcome::Completed | Outcome::TimeLimit | Outcome::Yielded | Outcome::Stopped => None,
    }
}

fn matches(rule: &Rule, ending: &Ending, pod: Option<&PodFacts>) -> bool {
    let Rule { on_exit_codes, on_reasons, on_error_codes, on_pod_conditions, memory, .. } = rule;
    let code = ending.report.error.as_ref().and_then(|error| error.code.as_deref());
    let end = EndFacts { exit_code: ending.exit_code, reason: ending.reason, code };
    let by_end = end.fit(on_exit_codes.as_ref(), on_reasons.as_deref(), on_error_codes.as_deref());
    let conditions = pod.map(|pod| pod.conditions.as_slice()).unwrap_or_default();
    let by_condition = on_pod_conditions.as_ref().is_none_or(|patterns| is_any_among(patterns, conditions));
    let can_grow = memory.as_ref().is_none_or(|growth| modifiers::grown(pod, growth).is_some());
    by_end && by_condition && can_grow
}

fn is_any_among(patterns: &[PodConditionPattern], conditions: &[ConditionFacts]) -> bool {
    patterns.iter().any(|pattern| {
        conditions.iter().any(|condition| {
            condition.type_ == pattern.type_
                && condition.status == pattern.status().to_string()
                && pattern.reason.as_ref().is_none_or(|reason| *reason == condition.reason)
        })
    })
}

/// Warns, once for each edit, of rules that can never match, since an earlier one takes all that they would.
pub(super) fn warn_of_rules_that_never_match(draft: &mut Draft<'_>) {
    if draft.status.observed_generation == draft.seen.generation() {
        return;
    }
    let shadowed: Vec<_> = shadowed(&draft.spec.failure_policy.rules)
        .map(|(rule, earlier)| format!("{} (everything that it matches goes to {})", rule.name, earlier.name))
        .collect();
    if !shadowed.is_empty() {
        let rules = if shadowed.len() == 1 { "A rule" } else { "Rules" };
        let note = format!(
            "{rules} of spec.failurePolicy can never match: {}. The first rule that matches decides: put the narrower \
             one first, or remove it.",
            shadowed.join(", ")
        );
        draft.warning(EventReason::RuleNeverMatches, &note);
    }
}

/// Each rule that never decides, with an earlier one that does in its place.
fn shadowed(rules: &[Rule]) -> impl Iterator<Item = (&Rule, &Rule)> {
    rules.iter().enumerate().filter_map(|(place, rule)| {
        let earlier = rules.iter().take(place).find(|earlier| takes_all_of(earlier, rule))?;
        Some((rule, earlier))
    })
}

/// Whether `wide` matches whatever `narrow` does. A rule that raises memory stops matching some day.
fn takes_all_of(wide: &Rule, narrow: &Rule) -> bool {
    wide.memory.is_none()
        && covers(wide.on_exit_codes.as_ref(), narrow.on_exit_codes.as_ref(), |wide, narrow| {
            (1..=255).all(|code| !narrow.hold_for(code) || wide.hold_for(code))
        })
        && covers(wide.on_reasons.as_ref(), narrow.on_reasons.as_ref(), |wide, narrow| {
            narrow.iter().all(|narrow| wide.iter().any(|wide| wide.matches(*narrow)))
        })
        && covers(wide.on_error_codes.as_ref(), narrow.on_error_codes.as_ref(), |wide, narrow| {
            contains_all(wide, narrow)
        })
        && covers(wide.on_pod_conditions.as_ref(), narrow.on_pod_conditions.as_ref(), |wide, narrow| {
            narrow.iter().all(|narrow| wide.iter().any(|wide| is_wider(wide, narrow)))
        })
}

/// A matcher that is absent covers every other one, and is covered by none.
fn covers<T>(wide: Option<T>, narrow: Option<T>, when_both: impl FnOnce(T, T) -> bool) -> bool {
    match (wide, narrow) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => when_both(wide, narrow),
    }
}

fn contains_all<T: PartialEq>(wide: &[T], narrow: &[T]) -> bool {
    narrow.iter().all(|one| wide.contains(one))
}

fn is_wider(wide: &PodConditionPattern, narrow: &PodConditionPattern) -> bool {
    wide.type_ == narrow.type_
        && wide.status() == narrow.status()
        && (wide.reason.is_none() || wide.reason == narrow.reason)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rule(matchers: &Value) -> Rule {
        let mut rule = json!({ "name": "r", "action": "Retry" });
        rule.as_object_mut().expect("a rule").extend(matchers.as_object().expect("matchers").clone());
        serde_json::from_value(rule).expect("a rule")
    }

    fn takes_all(wide: &Value, narrow: &Value) -> bool {
        takes_all_of(&rule(wide), &rule(narrow))
    }

    fn codes(operator: &str, values: &[i32]) -> Value {
        json!({ "onExitCodes": { "operator": operator, "values": values } })
    }

    #[test]
    fn a_rule_by_exit_codes_takes_all_of_one_with_fewer() {
        for (wide, narrow, expected) in [
            (codes("In", &[1, 2]), codes("In", &[2]), true),
            (codes("In", &[2]), codes("In", &[1, 2]), false),
            (codes("NotIn", &[1]), codes("In", &[2, 3]), true),
            (codes("NotIn", &[1]), codes("In", &[1, 3]), false),
            (codes("NotIn", &[1]), codes("NotIn", &[1, 3]), true),
            (codes("NotIn", &[1, 3]), codes("NotIn", &[1]), false),
            (codes("In", &(1..=255).collect::<Vec<_>>()), codes("NotIn", &[9]), true),
            (codes("In", &(1..=254).collect::<Vec<_>>()), codes("NotIn", &[9]), false),
        ] {
            assert_eq!(takes_all(&wide, &narrow), expected, "{wide} {narrow}");
        }
    }

    #[test]
    fn a_rule_with_fewer_matchers_is_the_wider_one() {
        let both = json!({ "onReasons": ["Error"], "onErrorCodes": ["A"] });
        for one in [json!({ "onReasons": ["OOMKilled", "Error"] }), json!({ "onErrorCodes": ["A", "B"] })] {
            assert!(takes_all(&one, &both) && !takes_all(&both, &one));
        }
        assert!(!takes_all(&json!({ "onReasons": ["Error"] }), &json!({ "onErrorCodes": ["A"] })));
        assert!(!takes_all(&json!({ "onErrorCodes": ["B"] }), &both));
    }

    #[test]
    fn a_condition_of_any_reason_takes_all_of_one_with_a_reason() {
        let on = |patterns: &Value| json!({ "onPodConditions": patterns });
        let any = on(&json!([{ "type": "A" }]));
        let one = on(&json!([{ "type": "A", "reason": "x" }]));
        assert!(takes_all(&any, &one) && !takes_all(&one, &any));
        assert!(takes_all(&one, &one));
        let is_true = on(&json!([{ "type": "A", "status": "True" }]));
        assert!(takes_all(&any, &is_true) && takes_all(&is_true, &any), "True is what counts without a status");
        assert!(!takes_all(&any, &on(&json!([{ "type": "B" }]))));
        assert!(!takes_all(&any, &on(&json!([{ "type": "A", "status": "False" }]))));
        assert!(!takes_all(&any, &on(&json!([{ "type": "A" }, { "type": "B" }]))));
    }

    #[test]
    fn a_rule_that_raises_memory_leaves_the_rest_to_the_next() {
        let mut grows = json!({ "onReasons": ["OOMKilled"] });
        assert!(takes_all(&grows, &grows));
        grows["memory"] = json!({ "max": "1Gi" });
        assert!(!takes_all(&grows, &json!({ "onReasons": ["OOMKilled"] })));
    }
}
