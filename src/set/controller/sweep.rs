//! What is done every half minute, whatever happens: gauges are set.

use std::{collections::HashMap, sync::Arc, time::Duration};

use kube::ResourceExt;
use strum::IntoEnumIterator;
use tokio::time;
use tracing::warn;

use super::{
    links::{Sets, WatchedSet},
    metrics::{SetMetrics, SetPhaseLabels},
    set_figures::{self, SetFigures},
};
use crate::{
    api::set::{LongTaskSet, SetPhase},
    runtime::OperatorContext,
};

const EVERY: Duration = Duration::from_secs(30);
/// After this long without a sweep the operator hangs, and a restart is worth trying.
const MAX_SILENCE: Duration = Duration::from_mins(5);

/// Sweeps every half minute, once the sets are known.
pub(super) async fn sweep(sets: Sets, operator: &OperatorContext, metrics: &SetMetrics) {
    sets.filled.wait().await;
    metrics.init_series();
    let heartbeat = operator.health.observe("sweep of sets", Some(MAX_SILENCE));
    let mut next = time::interval(EVERY);
    loop {
        next.tick().await;
        let all = sets.store.state();
        for (phase, number) in by_phase(&all) {
            metrics.sets.get_or_create(&SetPhaseLabels { phase }).set(number);
        }
        show_sets(&all, usize::from(operator.settings.task_metrics), metrics);
        heartbeat.beat();
    }
}

/// The number of sets in each phase, those without any included.
fn by_phase(sets: &[Arc<WatchedSet>]) -> HashMap<&'static str, i64> {
    let mut numbers: HashMap<_, _> = SetPhase::iter().map(|phase| (<&str>::from(phase), 0)).collect();
    for set in sets {
        let status = set.0.as_ref().ok().and_then(|set| set.status.as_ref());
        let phase = status.and_then(|status| status.phase).unwrap_or(SetPhase::Running);
        *numbers.entry(phase.into()).or_default() += 1;
    }
    numbers
}

/// Shows the figures of as many sets as are wanted.
fn show_sets(sets: &[Arc<WatchedSet>], most: usize, metrics: &SetMetrics) {
    if most == 0 {
        return;
    }
    let readable = sets.iter().filter_map(|set| set.0.as_ref().ok());
    match set_figures::encode(&figures(readable, most)) {
        Ok(text) => metrics.figures.write(text),
        Err(error) => warn!(%error, "could not write the figures of sets"),
    }
}

/// The figures of as many sets as are wanted, those that have not ended first.
fn figures<'a>(sets: impl Iterator<Item = &'a LongTaskSet>, most: usize) -> Vec<SetFigures> {
    let mut figures: Vec<_> = sets.filter_map(figures_of).collect();
    figures.sort_by_cached_key(|(has_ended, set)| (*has_ended, set.namespace.clone(), set.name.clone()));
    figures.into_iter().take(most).map(|(_, set)| set).collect()
}

/// Where a set stands, and whether it has ended.
fn figures_of(set: &LongTaskSet) -> Option<(bool, SetFigures)> {
    let status = set.status.as_ref()?;
    let figures = SetFigures {
        namespace: set.namespace().unwrap_or_default(),
        name: set.name_any(),
        size: status.total,
        succeeded: status.succeeded.count,
        failed: status.failed.count,
        active: status.active,
    };
    Some((status.phase.is_some_and(SetPhase::is_terminal), figures))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn sets_at_work_have_their_figures_first() {
        let set = |name: &str, phase: &str| -> LongTaskSet {
            serde_json::from_value(json!({
                "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet",
                "metadata": { "name": name, "namespace": "team-a" },
                "spec": { "templateRef": { "name": "t" }, "count": 8000 },
                "status": { "phase": phase, "total": 8000, "active": 20, "succeeded": { "count": 3127 } },
            }))
            .expect("a set")
        };
        let sets = [set("a", "Failed"), set("c", "Running"), set("b", "Suspended")];
        let shown = figures(sets.iter(), 2);
        assert_eq!(shown.iter().map(|set| set.name.as_str()).collect::<Vec<_>>(), ["b", "c"]);
        let text = set_figures::encode(&shown).expect("text");
        for line in [
            r#"longtask_set_size{set_namespace="team-a",set="c"} 8000"#,
            r#"longtask_set_succeeded{set_namespace="team-a",set="c"} 3127"#,
            r#"longtask_set_failed{set_namespace="team-a",set="c"} 0"#,
            r#"longtask_set_active{set_namespace="team-a",set="c"} 20"#,
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
