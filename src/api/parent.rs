//! What a task sees of the object that it is a part of.

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
