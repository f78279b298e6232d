//! What a member sees of its set.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::{Resource, ResourceExt};

use super::LongTaskSet;
use crate::api::{parent::Parent, task::LongTask};

/// The reference of a task to the set that it is a member of, if it is one.
pub fn set_of(task: &LongTask) -> Option<&OwnerReference> {
    let (kind, group) = (LongTaskSet::kind(&()), LongTaskSet::group(&()));
    let is_set = |owner: &&OwnerReference| {
        owner.controller == Some(true) && owner.kind == kind && owner.api_version.starts_with(&*group)
    };
    task.owner_references().iter().find(is_set)
}

/// What the member of this index sees of its set, as this reading of the set has it.
///
/// A set stops only those whose turn it is: a member that its user has restarted by hand runs on.
pub fn parent_of(set: &LongTaskSet, index: u32) -> Parent {
    let Some(status) = &set.status else { return Parent { suspend: set.spec.suspend, ..Parent::GONE } };
    let active = status.is_active(index);
    let restart = set.spec.restart.as_ref();
    let is_of_this_round = restart.is_some_and(|restart| status.round.restart_token.as_ref() == Some(&restart.token));
    Parent {
        round: status.round.number,
        active,
        suspend: set.spec.suspend,
        stop: active && status.stop.is_some(),
        renew: is_of_this_round && restart.is_some_and(|restart| restart.renew),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn parent(spec: &Value, status: &Value, index: u32) -> Parent {
        let mut whole = json!({ "templateRef": { "name": "t" }, "count": 100 });
        whole.as_object_mut().expect("a spec").extend(spec.as_object().expect("fields").clone());
        let set: LongTaskSet = serde_json::from_value(json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": "s" },
            "spec": whole, "status": status,
        }))
        .expect("a set");
        parent_of(&set, index)
    }

    #[test]
    fn those_are_active_that_were_started_and_are_in_no_list() {
        let status = json!({
            "round": { "number": 2 }, "next": 6, "succeeded": { "count": 2, "indexes": "0-1" },
            "failed": { "count": 1, "indexes": "2" }, "waiting": { "count": 1, "indexes": "4" },
        });
        let active: Vec<_> = (0..8).filter(|index| parent(&json!({}), &status, *index).active).collect();
        assert_eq!(active, [3, 5]);
        assert_eq!(parent(&json!({}), &status, 3).round, 2);
    }

    #[test]
    fn a_set_stops_those_whose_turn_it_is() {
        let status = json!({
            "round": { "number": 1 }, "next": 2, "failed": { "count": 1, "indexes": "0" },
            "stop": { "reason": "Cancelled", "requestTime": "2026-11-24T10:00:00Z" },
        });
        let stops = [0, 1, 2].map(|index| parent(&json!({}), &status, index).stop);
        assert_eq!(stops, [false, true, false]);
    }

    #[test]
    fn the_template_is_taken_anew_in_the_round_of_the_token_that_says_so() {
        let renew = json!({ "restart": { "token": "v2", "renew": true } });
        let of = |token: &str| json!({ "round": { "number": 2, "restartToken": token }, "next": 1 });
        assert!(parent(&renew, &of("v2"), 0).renew);
        assert!(!parent(&renew, &of("v1"), 0).renew, "the token is not acted on yet");
        assert!(!parent(&json!({ "restart": { "token": "v2" } }), &of("v2"), 0).renew);
    }

    #[test]
    fn a_set_without_a_status_starts_nothing_and_may_be_suspended() {
        let parent = parent(&json!({ "suspend": true }), &Value::Null, 0);
        assert_eq!(parent, Parent { suspend: true, ..Parent::GONE });
    }
}
