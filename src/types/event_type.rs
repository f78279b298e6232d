//! Whether an event needs somebody's eyes.

use strum::Display;

/// Whether an event needs somebody's eyes, in the words of the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display)]
pub enum EventType {
    /// All goes as it should.
    Normal,
    /// Something does not.
    Warning,
}
