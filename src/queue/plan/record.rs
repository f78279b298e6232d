//! Whether a status is worth a write: at once when somebody is called or drops out, now and then when only figures have moved.

use jiff::Timestamp;

use super::observed::ObservedQueue;
use crate::{api::queue::TaskQueueStatus, types::time::after};

/// How often figures are written that are the only news, in seconds.
const FIGURES: i64 = 10;

/// What a status has that the recorded one has not.
pub(super) struct Record {
    has_news: bool,
    has_figures: bool,
    /// Until when figures have to wait.
    due: Option<Timestamp>,
}

impl Record {
    pub(super) fn of(seen: &ObservedQueue<'_>, status: &TaskQueueStatus, now: Timestamp) -> Self {
        let recorded = seen.queue.status.as_ref();
        let has_news = recorded.is_none_or(|recorded| {
            let same_figures = TaskQueueStatus { waiting: recorded.waiting, ..status.clone() };
            *recorded != same_figures
        });
        let has_figures = recorded.is_some_and(|recorded| recorded.waiting != status.waiting);
        let due = seen.last_write.map(|written| after(written, FIGURES)).filter(|due| *due > now);
        Self { has_news, has_figures, due }
    }

    /// Whether it is written now.
    pub(super) fn is_due(&self) -> bool {
        self.has_news || (self.has_figures && self.due.is_none())
    }

    /// When it is written that has to wait.
    pub(super) fn put_off_to(&self) -> Option<Timestamp> {
        self.due.filter(|_| self.has_figures && !self.has_news)
    }
}
