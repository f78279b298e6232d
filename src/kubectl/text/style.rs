//! Colours.

use anstyle::{AnsiColor, Style};

use crate::api::task::{Outcome, Phase};

pub(super) const BOLD: Style = Style::new().bold();
pub(super) const DIM: Style = Style::new().dimmed();
pub(super) const PLAIN: Style = Style::new();
pub(super) const GOOD: Style = AnsiColor::Green.on_default();
pub(super) const BUSY: Style = AnsiColor::Cyan.on_default();
pub(super) const WARNING: Style = AnsiColor::Yellow.on_default();
pub(super) const BAD: Style = AnsiColor::Red.on_default();

/// The text in that style.
pub(super) fn paint(style: Style, text: &str) -> String {
    // Plain text stays free of codes that change nothing.
    if style == PLAIN || text.is_empty() { text.to_owned() } else { format!("{style}{text}{style:#}") }
}

/// How a phase looks.
pub(super) fn of_phase(phase: Option<Phase>) -> Style {
    match phase {
        Some(Phase::Running) => BUSY,
        Some(Phase::Pending | Phase::Stopping | Phase::Waiting | Phase::Suspended) => WARNING,
        Some(Phase::Succeeded) => GOOD,
        Some(Phase::Failed) => BAD,
        None | Some(Phase::Cancelled) => DIM,
    }
}

/// How an outcome looks.
pub(super) fn of_outcome(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Completed => GOOD,
        Outcome::TimeLimit | Outcome::Yielded => PLAIN,
        Outcome::Stopped | Outcome::Interrupted => WARNING,
        Outcome::StartFailed | Outcome::Failed => BAD,
    }
}
