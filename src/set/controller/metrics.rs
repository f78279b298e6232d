//! The metrics of sets.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};

use crate::telemetry::metrics::Registry;

/// What is counted of sets. Clones count into the same.
#[derive(Clone, Debug)]
pub(super) struct SetMetrics {
    pub(super) sets: Family<SetPhaseLabels, Gauge>,
    pub(super) members: Family<MemberLabels, Counter>,
}

impl SetMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            sets: registry.register("sets", "Sets by phase; only the leader reports them", Family::default()),
            members: registry.register(
                "set_members",
                "Members of sets that were counted, by how they ended",
                Family::default(),
            ),
        }
    }

    /// Counts members that ended so.
    pub(super) fn count(&self, result: &'static str, number: u64) {
        self.members.get_or_create(&MemberLabels { result }).inc_by(number);
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.sets.get_or_create(&SetPhaseLabels { phase: "Running" }).set(1);
        self.count("Succeeded", 1);
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct SetPhaseLabels {
    pub(super) phase: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct MemberLabels {
    pub(super) result: &'static str,
}
