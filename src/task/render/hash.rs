//! What a pod is made from, in a few letters.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::claims::claim_names;
use crate::api::task::{LongTask, Segment};

/// A digest of what of a task's specification its pods are made from: the template, and those fields of the segment that
/// stand in a pod. Two specifications with the same digest make the same pod, whatever else was edited.
///
/// Not part of it: what rules of the failure policy change, and what belongs to one attempt.
pub fn template_hash(task: &LongTask) -> String {
    let Segment {
        duration,
        grace_period,
        start_timeout,
        container,
        scheduling_timeout: _,
        heartbeat_timeout: _,
        continue_exit_codes: _,
    } = &task.spec.segment;
    let made_from = (&task.spec.template, duration, grace_period, start_timeout, container);
    // Such a value cannot fail to be written; if it did, every edit would count, as without a digest.
    let mut written = serde_json::to_vec(&made_from).unwrap_or_default();
    if task.spec.wants_agent() {
        // Behind the rest: a task without an agent has the digest that it had before there were agents.
        let with_agent = (&task.spec.reporting.mode, &task.spec.agent, &task.spec.checkpoint.store);
        written.extend(serde_json::to_vec(&with_agent).unwrap_or_default());
    }
    if task.spec.keeps_quota() {
        // Likewise: its pods have the name of a group.
        written.extend(b"PerRun");
    }
    if !task.spec.volume_claim_templates.is_empty() {
        // Likewise. Of a claim, its name stands in the pod.
        written.extend(claim_names(task).flat_map(String::into_bytes));
    }
    let digest = Sha256::digest(&written);
    digest.iter().take(8).fold(String::with_capacity(16), |mut text, byte| {
        // Writing into a text cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn hash(changes: &Value) -> String {
        let mut spec = json!({
            "template": { "metadata": { "labels": { "a": "1" } }, "spec": { "containers": [{ "name": "main", "image": "i:1" }] } },
            "segment": { "duration": "1h", "container": "main" },
        });
        for (field, value) in changes.as_object().expect("fields") {
            *spec.pointer_mut(field).unwrap_or_else(|| panic!("{field}")) = value.clone();
        }
        template_hash(&LongTask::new("t", serde_json::from_value(spec).expect("a spec")))
    }

    #[test]
    fn what_stands_in_a_pod_changes_the_digest() {
        let before = hash(&json!({}));
        for change in [
            json!({ "/template/spec/containers/0/image": "i:2" }),
            json!({ "/template/metadata/labels/a": "2" }),
            json!({ "/segment/duration": "2h" }),
            json!({ "/segment": { "duration": "1h", "container": "main", "gracePeriod": "5s" } }),
            json!({ "/segment": { "duration": "1h", "container": "main", "startTimeout": "5s" } }),
            json!({ "/segment": { "duration": "1h" } }),
        ] {
            assert_ne!(hash(&change), before, "{change}");
        }
    }

    #[test]
    fn an_agent_and_its_resources_change_the_digest() {
        let of = |spec: Value| {
            let mut all = json!({ "template": { "spec": { "containers": [{ "name": "main", "image": "i:1" }] } } });
            all.as_object_mut().expect("fields").extend(spec.as_object().expect("fields").clone());
            template_hash(&LongTask::new("t", serde_json::from_value(all).expect("a spec")))
        };
        let at_exit = of(json!({}));
        let live = of(json!({ "reporting": { "mode": "Live" } }));
        let resources = json!({ "resources": { "limits": { "memory": "1Gi" } } });
        assert_ne!(live, at_exit);
        assert_ne!(of(json!({ "reporting": { "mode": "Live" }, "agent": resources })), live);
        assert_eq!(of(json!({ "reporting": { "mode": "Live", "interval": "10s" } })), live, "it is told at each post");
        assert_eq!(of(json!({ "reporting": { "mode": "AtExit", "interval": "10s" }, "agent": resources })), at_exit);
    }

    #[test]
    fn who_keeps_quota_has_another_digest() {
        let of = |kueue: Value| {
            let template = json!({ "spec": { "containers": [{ "name": "main" }] } });
            let spec = json!({ "template": template, "kueue": kueue });
            template_hash(&LongTask::new("t", serde_json::from_value(spec).expect("a spec")))
        };
        let none = of(Value::Null);
        assert_eq!(of(json!({ "quota": "PerSegment" })), none);
        assert_ne!(of(json!({ "quota": "PerRun" })), none);
    }

    #[test]
    fn the_names_of_claims_change_the_digest_and_nothing_else_of_them_does() {
        let of = |claims: Value| {
            let template = json!({ "spec": { "containers": [{ "name": "main" }] } });
            let spec = json!({ "template": template, "volumeClaimTemplates": claims });
            template_hash(&LongTask::new("t", serde_json::from_value(spec).expect("a spec")))
        };
        let claim = |name: &str, storage: &str| json!({ "metadata": { "name": name }, "spec": { "resources": { "requests": { "storage": storage } } } });
        let one = of(json!([claim("data", "1Gi")]));
        assert_ne!(one, of(json!([])));
        assert_ne!(one, of(json!([claim("cache", "1Gi")])));
        assert_ne!(one, of(json!([claim("data", "1Gi"), claim("cache", "1Gi")])));
        assert_eq!(one, of(json!([claim("data", "2Gi")])));
    }

    #[test]
    fn what_does_not_stand_in_a_pod_leaves_the_digest() {
        let segment =
            json!({ "duration": "1h", "container": "main", "schedulingTimeout": "5s", "continueExitCodes": [3] });
        assert_eq!(hash(&json!({ "/segment": segment })), hash(&json!({})));
    }
}
