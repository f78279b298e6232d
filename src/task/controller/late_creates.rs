//! Creates that may still arrive at the API server although nobody waits for their answer.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{runtime::key::ObjectKey, task::plan};

/// How long a create may be on its way: three calls of 10 s from the look that it was planned from.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// The pods whose create had no certain answer, by task; and whether an operator that led before may have sent others.
#[derive(Debug)]
pub(super) struct LateCreates {
    leading_since: Instant,
    uncertain: Mutex<HashMap<ObjectKey, Vec<(String, Instant)>>>,
}

impl LateCreates {
    /// Of an operator that begins to lead now.
    pub(super) fn of_new_leader() -> Self {
        Self { leading_since: Instant::now(), uncertain: Mutex::default() }
    }

    /// Remembers that nobody knows whether this create has happened, or will.
    pub(super) fn add(&self, task: &ObjectKey, pod: &str) {
        let mut uncertain = self.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
        uncertain.retain(|_, creates| {
            creates.retain(is_under_way);
            !creates.is_empty()
        });
        uncertain.entry(task.clone()).or_default().push((pod.to_owned(), Instant::now()));
    }

    /// What may still arrive for a task.
    pub(super) fn of(&self, task: &ObjectKey) -> plan::LateCreates {
        if self.leading_since.elapsed() < UNDER_WAY {
            return plan::LateCreates::Any;
        }
        let uncertain = self.uncertain.lock().unwrap_or_else(PoisonError::into_inner);
        let names = uncertain.get(task).into_iter().flatten().filter(|create| is_under_way(create));
        let names: Vec<_> = names.map(|(name, _)| name.clone()).collect();
        if names.is_empty() { plan::LateCreates::None } else { plan::LateCreates::Of(names) }
    }
}

fn is_under_way((_, since): &(String, Instant)) -> bool {
    since.elapsed() < UNDER_WAY
}

#[cfg(test)]
mod tests {
    use tokio::time;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn anything_may_arrive_from_the_leader_before_and_later_only_what_had_no_answer() {
        let task = ObjectKey { namespace: "n".into(), name: "t".into() };
        let late = LateCreates::of_new_leader();
        assert_eq!(late.of(&task), plan::LateCreates::Any);
        time::advance(UNDER_WAY).await;
        assert_eq!(late.of(&task), plan::LateCreates::None);
        late.add(&task, "t-1");
        time::advance(UNDER_WAY / 2).await;
        late.add(&task, "t-2");
        assert_eq!(late.of(&task), plan::LateCreates::Of(vec!["t-1".into(), "t-2".into()]));
        assert_eq!(late.of(&ObjectKey { namespace: "n".into(), name: "u".into() }), plan::LateCreates::None);
        time::advance(UNDER_WAY / 2).await;
        assert_eq!(late.of(&task), plan::LateCreates::Of(vec!["t-2".into()]));
    }
}
