//! What is done every half minute, whatever happens: gauges are set.

use std::{collections::HashMap, sync::Arc, time::Duration};

use strum::IntoEnumIterator;
use tokio::time;

use super::{
    links::{Sets, WatchedSet},
    metrics::{SetMetrics, SetPhaseLabels},
};
use crate::{api::set::SetPhase, runtime::OperatorContext};

const EVERY: Duration = Duration::from_secs(30);
/// After this long without a sweep the operator hangs, and a restart is worth trying.
const MAX_SILENCE: Duration = Duration::from_mins(5);

/// Sweeps every half minute, once the sets are known.
pub(super) async fn sweep(sets: Sets, operator: &OperatorContext, metrics: &SetMetrics) {
    sets.filled.wait().await;
    for result in ["Succeeded", "Failed"] {
        metrics.count(result, 0);
    }
    let heartbeat = operator.health.observe("sweep of sets", Some(MAX_SILENCE));
    let mut next = time::interval(EVERY);
    loop {
        next.tick().await;
        for (phase, number) in by_phase(&sets.store.state()) {
            metrics.sets.get_or_create(&SetPhaseLabels { phase }).set(number);
        }
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
