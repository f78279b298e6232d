//! What is known of the inputs of a set, so that they are checked once.

use crate::set::plan::Inputs;

/// What was found of a set's inputs, for this reading of the set and its template.
#[derive(Clone, Debug)]
pub(super) struct Checked {
    pub(super) generation: i64,
    pub(super) template: Option<(String, i64)>,
    pub(super) inputs: Inputs,
}
