//! What a task sees of the object that it is a part of.

use strum::{EnumIter, IntoStaticStr};

use super::{set::set_of, task::LongTask};

/// What a task sees of the object that it is a part of, such as a LongTaskSet. It obeys by looking: nobody writes its spec.
///
/// A kind whose objects have tasks as parts makes it with a `parent_of` of its own.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parent {
    /// The round that the parent is in, from 1. A task that has taken part in a later one sees an old reading of its parent,
    /// which starts and stops nothing.
    pub round: i64,
    /// Whether it is this task's turn. Before that, and once it is over, the task starts nothing.
    pub active: bool,
    /// Whether the task is to pause.
    pub suspend: bool,
    /// Whether the task is to end.
    pub stop: bool,
    /// Whether a run that begins in this round takes the template as it is now.
    pub renew: bool,
}

impl Parent {
    /// What is seen of a parent that is not there: the garbage collector is on its way to the task, or the parent is not known
    /// yet. It starts and stops nothing.
    pub const GONE: Self = Self { round: 0, active: false, suspend: false, stop: false, renew: false };
}

/// Of what kind the object is that a task is a part of, in the words of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum ParentKind {
    /// The task is a part of nothing.
    None,
    /// It is a member of a LongTaskSet.
    Set,
}

impl ParentKind {
    /// Of what kind the object is that controls a task. One that its set has left behind is a task like any other.
    pub fn of(task: &LongTask) -> Self {
        if set_of(task).is_some() { Self::Set } else { Self::None }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_member_is_known_by_the_set_that_controls_it() {
        let of = |owner: Value| -> &'static str {
            let task: LongTask = serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask",
                "metadata": { "name": "s-0", "ownerReferences": owner }, "spec": { "templateRef": { "name": "t" } },
            }))
            .expect("a task");
            ParentKind::of(&task).into()
        };
        let owner = |kind: &str, controller: bool| json!([{ "apiVersion": "longtask.dev/v1alpha1", "kind": kind, "name": "s", "uid": "u", "controller": controller }]);
        assert_eq!(of(owner("LongTaskSet", true)), "set");
        assert_eq!([owner("LongTaskSet", false), owner("CronJob", true), json!([])].map(of), ["none"; 3]);
    }
}
