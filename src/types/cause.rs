//! Why something is as it is.

/// A reason in one word and a message: the cluster's, or ours where it has none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    /// One word, such as `Unschedulable`.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Cause {
    /// A cause of that reason.
    #[expect(clippy::needless_pass_by_value, reason = "a word, whoever has it")]
    pub fn new(reason: impl ToString, message: impl Into<String>) -> Self {
        Self { reason: reason.to_string(), message: message.into() }
    }
}
