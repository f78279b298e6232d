//! The specification of a queue: what a user declares.
#![allow(clippy::duplicated_attributes, reason = "it takes the columns' keys for attributes")]

use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    breaker::Breaker,
    status::{Holder, TaskQueueStatus},
};
use crate::types::{GoDuration, cel::rule, duration::duration_between};

/// The word in `allowedNamespaces` for all of them.
const ALL: &str = "*";

/// How many attempts run at a time, how fast they start, and in what order.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "longtask.dev",
    version = "v1alpha1",
    kind = "TaskQueue",
    plural = "taskqueues",
    shortname = "tq",
    namespaced,
    status = "TaskQueueStatus",
    derive = "PartialEq",
    doc = "A TaskQueue says how many attempts of LongTasks run at a time, how fast they start and in what order. A task that \
           names it in `spec.queueName` waits in it before each attempt, and has no pod meanwhile.",
    printcolumn(
        name = "Active",
        type_ = "string",
        json_path = ".status.summary",
        description = "How many tasks have a place, of how many places."
    ),
    printcolumn(
        name = "Waiting",
        type_ = "integer",
        json_path = ".status.waiting",
        description = "How many tasks wait for a place."
    ),
    printcolumn(
        name = "Wait",
        type_ = "string",
        json_path = ".status.lastWait",
        description = "How long the task that was called last had waited."
    ),
    printcolumn(
        name = "Breaker",
        type_ = "string",
        json_path = ".status.breaker.state",
        description = "Whether the breaker lets tasks be called."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Age of the queue."
    ),
    printcolumn(
        name = "Suspended",
        type_ = "boolean",
        priority = 1,
        json_path = ".spec.suspend",
        description = "Whether nobody is called."
    )
)]
#[serde(rename_all = "camelCase")]
pub struct TaskQueueSpec {
    /// How many attempts may run at a time, 1 to 1000. A task has a place from the moment that it is called until its attempt
    /// has ended. Takes effect at once; a lower number stops nobody.
    #[schemars(range(min = 1, max = 1000))]
    pub max_active: i32,

    /// How fast attempts may start. Default: as fast as places become free. Takes effect at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,

    /// Shares the places among tasks by a label of theirs, such as a tenant or a repository. Takes effect with the next calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_key: Option<PerKey>,

    /// So much waiting counts as one step of `priority`, up to ten steps, so that urgent tasks cannot keep the others waiting for
    /// ever. At least 1s. Default: waiting counts for nothing. Takes effect at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub aging: Option<GoDuration>,

    /// Set to true to let a task keep its place while it waits for its next attempt: for the delay of a retry, or since its
    /// program asked for it with `resumeAfter`. Its next attempt needs no call then. Default false: it gives its place back and
    /// waits in the queue again when its time has come. Takes effect at once.
    #[serde(default)]
    pub hold_while_waiting: bool,

    /// While so many tasks wait, 1 to 100000, sets whose LongTaskTemplate names this queue make no further members. Tasks that
    /// exist wait, however many they are. Default: no limit. Takes effect within ten seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_waiting: Option<i32>,

    /// Calls nobody while what the tasks depend on fails, and tries now and then, at the cost of no budget, whether it works
    /// again. Default: tasks are called whatever becomes of them. Takes effect at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub breaker: Option<Breaker>,

    /// Set to true to call nobody: who runs, runs on. Default false. Takes effect at once.
    #[serde(default)]
    pub suspend: bool,

    /// The namespaces whose tasks may use this queue, up to 100 by name, or `["*"]` for all. Default: its own only. A list is
    /// the whole of it: the queue's own namespace has to be in it as well. Takes effect at once; who runs, runs on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 100), inner(length(min = 1, max = 63)), extend(
        "x-kubernetes-list-type" = "atomic",
        "x-kubernetes-validations" = [rule(
            "self.all(n, n == '*' || n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
            "must be names of namespaces, or \"*\" for all",
        )],
    ))]
    pub allowed_namespaces: Vec<String>,
}

/// How fast attempts may start.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rate {
    /// So many attempts may start in each `per`, 1 to 10000, evenly spread.
    #[schemars(range(min = 1, max = 10_000))]
    pub starts: i32,

    /// The time in which `starts` attempts may start, 1s to 24h.
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", Some("24h"))]))]
    pub per: GoDuration,

    /// How many of them may start at once after a time in which fewer did, 1 to 1000. Default 1. In any `per` at most
    /// `starts` + `burst` - 1 attempts start; of more than ten a second, those of 100 ms start together.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub burst: i32,
}

/// Shares of the places by a label.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PerKey {
    /// The label. Tasks of a namespace that have it with the same value are a key; a task without it is a key of its own. Of
    /// two tasks of the same priority and namespace, the one is called first whose key has fewer places.
    #[schemars(length(min = 1, max = 317), extend("x-kubernetes-validations" = [rule(
        "self.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$')",
        "must be the name of a label, such as tenant or example.com/tenant",
    )]))]
    pub label: String,

    /// How many places a key may have at a time, 1 to 1000. Default: as many as there are. A lower number stops nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_active: Option<i32>,
}

impl TaskQueueSpec {
    /// How many tasks may have a place, at least 1.
    pub fn places(&self) -> usize {
        usize::try_from(self.max_active).unwrap_or(1).max(1)
    }
}

impl PerKey {
    /// How many places a key may have; none for as many as there are.
    pub fn places(&self) -> Option<usize> {
        self.max_active.map(|most| usize::try_from(most).unwrap_or(1).max(1))
    }
}

impl TaskQueue {
    /// Whether tasks of this namespace may use the queue.
    pub fn allows(&self, namespace: &str) -> bool {
        let allowed = &self.spec.allowed_namespaces;
        if allowed.is_empty() {
            return self.metadata.namespace.as_deref() == Some(namespace);
        }
        allowed.iter().any(|name| name == ALL || name == namespace)
    }

    /// Who has a place, as recorded; nobody where nothing is recorded yet.
    pub fn holders(&self) -> &[Holder] {
        self.status.as_ref().map_or(&[], |status| &status.holders)
    }

    /// The namespaces whose tasks may use the queue; none for all of them.
    pub fn namespaces(&self) -> Option<Vec<String>> {
        let allowed = &self.spec.allowed_namespaces;
        if allowed.iter().any(|name| name == ALL) {
            return None;
        }
        Some(if allowed.is_empty() { self.namespace().into_iter().collect() } else { allowed.clone() })
    }

    /// Whether so many tasks wait that no further ones should be made for it. As old as the status: ten seconds at most.
    pub fn is_full(&self) -> bool {
        let waiting = self.status.as_ref().map_or(0, |status| status.waiting);
        self.spec.max_waiting.is_some_and(|most| waiting >= i64::from(most))
    }
}

fn one() -> i32 {
    1
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_queue_is_full_when_as_many_wait_as_may() {
        let is_full = |spec: Value, status: Value| {
            serde_json::from_value::<TaskQueue>(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": "q" },
                "spec": spec, "status": status,
            }))
            .expect("a queue")
            .is_full()
        };
        assert!(!is_full(json!({ "maxActive": 1 }), json!({ "waiting": 100_000 })), "without a limit");
        let limited = json!({ "maxActive": 1, "maxWaiting": 10 });
        assert!(!is_full(limited.clone(), Value::Null));
        assert!(!is_full(limited.clone(), json!({ "waiting": 9 })));
        assert!(is_full(limited, json!({ "waiting": 10 })));
    }
}
