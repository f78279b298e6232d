//! The specification of a set: what a user declares.
#![allow(clippy::duplicated_attributes, reason = "it takes the columns' keys for attributes")]

use jiff::Timestamp;
use kube::CustomResource;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{
    limit::MemberLimit,
    status::{LongTaskSetStatus, SetPhase},
};
use crate::{
    api::task::{MANAGED_BY_US, NEW_TOKEN, TemplateRef},
    types::{
        GoDuration,
        cel::{rule, rule_at},
        duration::duration_between,
    },
};

/// The most members that are allowed to fail before the rest is stopped, where the user says nothing.
const MAX_FAILED: u32 = 100;

/// Which template to run how often, and how many at a time.
#[derive(CustomResource, JsonSchema, Clone, Debug, PartialEq, Serialize, Deserialize)]
#[kube(
    group = "longtask.dev",
    version = "v1alpha1",
    kind = "LongTaskSet",
    plural = "longtasksets",
    shortname = "lts",
    category = "all",
    namespaced,
    status = "LongTaskSetStatus",
    derive = "PartialEq",
    doc = "A LongTaskSet runs a LongTaskTemplate many times: once for each index, or for each item of a list. It makes one \
           LongTask for each when its turn comes, and deletes it when its success is recorded. `status` always says which \
           have ended how.",
    selectable = ".status.phase",
    selectable = ".status.reason",
    selectable = ".spec.templateRef.name",
    printcolumn(
        name = "Phase",
        type_ = "string",
        json_path = ".status.phase",
        description = "Where the set stands, in one word."
    ),
    printcolumn(
        name = "Progress",
        type_ = "string",
        json_path = ".status.progress.summary",
        description = "How many members have succeeded, of how many."
    ),
    printcolumn(
        name = "Active",
        type_ = "integer",
        json_path = ".status.active",
        description = "How many members have their turn."
    ),
    printcolumn(
        name = "Failed",
        type_ = "integer",
        json_path = ".status.failed.count",
        description = "How many members have failed in this round."
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp",
        description = "Age of the set."
    ),
    printcolumn(
        name = "Template",
        type_ = "string",
        priority = 1,
        json_path = ".spec.templateRef.name",
        description = "The LongTaskTemplate that members are made from."
    ),
    printcolumn(
        name = "Parallel",
        type_ = "integer",
        priority = 1,
        json_path = ".spec.maxParallel",
        description = "How many members may have their turn at a time."
    ),
    printcolumn(
        name = "ETA",
        type_ = "string",
        priority = 1,
        json_path = ".status.progress.estimatedCompletionTime",
        description = "When the last member will have ended at this pace."
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        priority = 1,
        json_path = ".status.reason",
        description = "Why the set is in that phase, in one word."
    )
)]
#[schemars(extend("x-kubernetes-validations" = [
    rule(
        "has(self.count) != has(self.items)",
        "write either count, for members that are told their index, or items, for members with an input each",
    ),
    fixed(".templateRef", "self.templateRef == oldSelf.templateRef"),
    fixed_if_any("count"),
    fixed_if_any("items"),
    fixed_if_any("input"),
    fixed(".batch", "self.batch == oldSelf.batch"),
    rule_at(".batch", "self.batch == 1 || has(self.items)", "goes only with items"),
    rule_at(
        ".cancel",
        &format!("!oldSelf.cancel || self.cancel || {NEW_TOKEN}"),
        "is for good and can be taken back only together with a new spec.restart.token, which starts another round",
    ),
    rule_at(
        ".restart.token",
        &format!("!self.cancel || !({NEW_TOKEN})"),
        "a new token starts another round: set spec.cancel to false with it",
    ),
    rule_at(
        ".managedBy",
        "self.managedBy == oldSelf.managedBy",
        "is immutable: delete the set and create it anew",
    ),
]))]
#[serde(rename_all = "camelCase")]
pub struct LongTaskSetSpec {
    /// The LongTaskTemplate of the set's namespace that members are made from. A member holds a copy of it from its first
    /// moment: a later change of the LongTaskTemplate is for the members made after it, and for those that `restart.renew`
    /// says. Fixed.
    pub template_ref: TemplateRef,

    /// How many members there are, 1 to 10000. Each is told its index, from 0, as LONGTASK_INDEX and JOB_COMPLETION_INDEX, and
    /// the number of all as LONGTASK_COUNT. Exactly one of `count` and `items` is needed. Fixed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub count: Option<i32>,

    /// A member for each of these objects, 1 to 10000, which is its input over that of `input`. All together up to 128 KiB as
    /// compact JSON; for more, write `count`, and have the program read a list. Fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "items_schema")]
    pub items: Option<Vec<Map<String, Value>>>,

    /// How many of the `items` a member works on, 1 to 1000. Default 1. With more than one, its input has them as a list under
    /// the key `items`, and a member that fails resumes within its list. Fixed.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 1000))]
    pub batch: i32,

    /// What every member is to work on: a JSON object. The keys of its item win. Each member's input, with its item, has at
    /// most 16 KiB. No place for secrets: refer to them. Fixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::api::crd::any_object_schema")]
    pub input: Option<Map<String, Value>>,

    /// How many members may have their turn at a time, 1 to 1000: those that have not ended, in the order of their indexes.
    /// Default 10. Takes effect at once; a lower number stops nobody.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000))]
    pub max_parallel: i32,

    /// How urgent the members are in the TaskQueue that the LongTaskTemplate names, -10 to 10. Default 0. For members made from now
    /// on; those that are there have their own.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schemars(range(min = -10, max = 10))]
    pub priority: i32,

    /// So many failed members still make a success: a number, or a share of all such as "5%", rounded down. Default 0. Takes
    /// effect at once.
    #[serde(default)]
    pub tolerate_failed: MemberLimit,

    /// With more failed members than that, all others are stopped, and the set fails with reason TooManyFailed: a number, or a
    /// share of all such as "5%", rounded down. Default 100, or `tolerateFailed` if that is more. Takes effect at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_failed: Option<MemberLimit>,

    /// How many of the members that have succeeded are kept, for their logs and results: the last ones, 0 to 10000. Default 10.
    /// The others are deleted once their success is recorded. Members that failed are kept. Takes effect at once.
    #[serde(default = "ten")]
    #[schemars(range(min = 0, max = 10_000))]
    pub task_history_limit: i32,

    /// Bounds of a round as a whole. Each is optional. When one is reached, all members are stopped and the set fails, and the
    /// reason names it. Takes effect at once.
    #[serde(default)]
    pub limits: SetLimits,

    /// Set to true to pause: every member writes a checkpoint and stops, everything is kept, and no pod runs. Set to false to go
    /// on from there. Default false. Takes effect at once.
    #[serde(default)]
    pub suspend: bool,

    /// Set to true to stop for good: every member writes a checkpoint and stops, and the set ends in phase Cancelled. Can be
    /// taken back only together with a new `restart.token`, which starts another round. Default false. Takes effect at once.
    #[serde(default)]
    pub cancel: bool,

    /// Runs the members again that have failed or were stopped, when `token` changes. Takes effect at once, and while members
    /// stop, when they have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<SetRestart>,

    /// How long a set is kept after it ended in phase Succeeded or Cancelled. Then it is deleted, and its members with it; their
    /// own times to live are not asked. Default: for ever. Takes effect at once. For a set that failed, see `ttlAfterFailed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", None)]))]
    pub ttl_after_finished: Option<GoDuration>,

    /// How long a set is kept after it ended in phase Failed. Then it is deleted, and its members with it. Default: for ever, so
    /// that no failure goes unseen. Takes effect at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("0s", None)]))]
    pub ttl_after_failed: Option<GoDuration>,

    /// The controller that runs this set. This operator runs it if the value is the default, `longtask.dev/operator`, and
    /// otherwise leaves it alone. Immutable.
    #[serde(default = "managed_by_us")]
    #[schemars(length(min = 1, max = 63))]
    pub managed_by: String,
}

/// Bounds of a round of a set. Each is optional; absent means unlimited.
#[derive(JsonSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SetLimits {
    /// The longest time since the round's start. Waiting counts; time for which the user suspended the set does not. When it is
    /// reached, all members are stopped, and the set fails with reason WallTimeExceeded. At least 1s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("x-kubernetes-validations" = [duration_between("1s", None)]))]
    pub wall_time: Option<GoDuration>,

    /// The moment after which no member runs. Suspension does not move it. RFC 3339, such as 2026-11-25T06:00:00Z. When it is
    /// reached, all members are stopped, and the set fails with reason DeadlinePassed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "crate::types::cel::point_in_time")]
    pub deadline: Option<Timestamp>,
}

/// Another round of a set.
#[derive(JsonSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SetRestart {
    /// Any text. A value other than `status.round.restartToken` starts another round: the members that have failed or were
    /// stopped go on from their checkpoints, each in another run, and those that are held in the same. Members that run are
    /// not disturbed, and those that succeeded stay so. The token that a set is created with is only recorded.
    #[schemars(length(min = 1, max = 63))]
    pub token: String,

    /// Have the runs that begin in this round take the LongTaskTemplate as it is now. Default false: they go on with the copies
    /// that their members have. The checkpoints stay.
    #[serde(default)]
    pub renew: bool,
}

impl LongTaskSetSpec {
    /// Whether this operator is the one to run the set.
    pub fn is_managed_by_us(&self) -> bool {
        self.managed_by == MANAGED_BY_US
    }

    /// How many members there are.
    pub fn total(&self) -> u32 {
        let of_items = |items: &Vec<_>| u32::try_from(items.len().div_ceil(self.batch_size())).unwrap_or(u32::MAX);
        let of_count = || self.count.and_then(|count| u32::try_from(count).ok()).unwrap_or(0);
        self.items.as_ref().map_or_else(of_count, of_items)
    }

    /// How many items a member works on, at least 1.
    pub fn batch_size(&self) -> usize {
        usize::try_from(self.batch).unwrap_or(1).max(1)
    }

    /// How many members may have their turn at a time, at least 1.
    pub fn parallel(&self) -> u32 {
        u32::try_from(self.max_parallel).unwrap_or(1).max(1)
    }

    /// How many failed members still make a success.
    pub fn tolerated(&self) -> u32 {
        self.tolerate_failed.of(self.total())
    }

    /// With more failed members than that, the rest is stopped.
    pub fn most_failed(&self) -> u32 {
        self.max_failed.map_or_else(|| self.tolerated().max(MAX_FAILED), |limit| limit.of(self.total()))
    }

    /// How many members are kept that have succeeded.
    pub fn history_limit(&self) -> usize {
        usize::try_from(self.task_history_limit).unwrap_or(0)
    }

    /// How long a set that ended in this phase is kept; none if it is kept until somebody deletes it.
    pub fn ttl_after(&self, phase: SetPhase) -> Option<GoDuration> {
        match phase {
            SetPhase::Succeeded | SetPhase::Cancelled => self.ttl_after_finished,
            SetPhase::Failed => self.ttl_after_failed,
            SetPhase::Running | SetPhase::Stopping | SetPhase::Suspended => None,
        }
    }
}

/// What a set multiplies: programs split their work by its size, so one that grows under them would skip and double.
const IS_FIXED: &str = "is fixed: make another set";

fn fixed(path: &str, condition: &str) -> Value {
    rule_at(path, condition, IS_FIXED)
}

fn fixed_if_any(field: &str) -> Value {
    let condition =
        format!("has(self.{field}) == has(oldSelf.{field}) && (!has(self.{field}) || self.{field} == oldSelf.{field})");
    fixed(&format!(".{field}"), &condition)
}

fn items_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "minItems": 1,
        "maxItems": 10_000,
        "x-kubernetes-list-type": "atomic",
        "items": { "type": "object", "x-kubernetes-preserve-unknown-fields": true },
    })
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &i32) -> bool {
    *number == 0
}

fn one() -> i32 {
    1
}

fn ten() -> i32 {
    10
}

fn managed_by_us() -> String {
    MANAGED_BY_US.to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(fields: &Value) -> LongTaskSetSpec {
        let mut whole = json!({ "templateRef": { "name": "t" } });
        whole.as_object_mut().expect("a spec").extend(fields.as_object().expect("fields").clone());
        serde_json::from_value(whole).expect("a spec")
    }

    #[test]
    fn there_are_as_many_members_as_counted_or_as_the_items_fill() {
        let items = |number: usize| json!(vec![json!({ "a": 1 }); number]);
        assert_eq!(spec(&json!({ "count": 8000 })).total(), 8000);
        assert_eq!(spec(&json!({ "items": items(7) })).total(), 7);
        assert_eq!(spec(&json!({ "items": items(7), "batch": 3 })).total(), 3);
        assert_eq!(spec(&json!({ "items": items(6), "batch": 3 })).total(), 2);
    }

    #[test]
    fn by_default_no_failure_is_tolerated_and_a_hundred_stop_the_rest() {
        let limits = |fields: Value| {
            let spec = spec(&fields);
            (spec.tolerated(), spec.most_failed())
        };
        assert_eq!(limits(json!({ "count": 10_000 })), (0, 100));
        assert_eq!(limits(json!({ "count": 10_000, "tolerateFailed": "5%" })), (500, 500));
        assert_eq!(limits(json!({ "count": 10_000, "tolerateFailed": 20, "maxFailed": "1%" })), (20, 100));
        assert_eq!(limits(json!({ "count": 10, "maxFailed": 0 })), (0, 0));
    }
}
