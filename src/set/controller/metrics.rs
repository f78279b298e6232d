//! The metrics of sets.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
};
use strum::IntoEnumIterator;

use crate::{
    api::set::{LongTaskSetStatus, SetFailureReason, SetPhase},
    telemetry::metrics::{Page, Registry},
};

/// What is counted of sets. Clones count into the same.
#[derive(Clone, Debug)]
pub(super) struct SetMetrics {
    pub(super) sets: Family<SetPhaseLabels, Gauge>,
    ended: Family<EndLabels, Counter>,
    members: Family<MemberLabels, Counter>,
    /// Figures of single sets, by name.
    pub(super) figures: Page,
}

impl SetMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            sets: registry.register("sets", "Sets by phase; only the leader reports them", Family::default()),
            ended: registry.register(
                "sets_ended",
                "Rounds of sets that ended, by terminal phase and reason of failure",
                Family::default(),
            ),
            members: registry.register(
                "set_members",
                "Members of sets that were counted, by how they ended",
                Family::default(),
            ),
            figures: registry.page("/metrics/tasks"),
        }
    }

    /// Gives a series of 0 to every end that can be foreseen, so that the first one is seen as a rise from 0.
    pub(super) fn init_series(&self) {
        for phase in [SetPhase::Succeeded, SetPhase::Failed] {
            self.count_members(phase, 0);
        }
        for phase in [SetPhase::Succeeded, SetPhase::Cancelled] {
            self.count_ends(phase, "", 0);
        }
        for reason in SetFailureReason::iter() {
            self.count_ends(SetPhase::Failed, reason.into(), 0);
        }
    }

    /// Counts what a write of a status has brought about. Once for each write that the API server took.
    pub(super) fn record(&self, before: Option<&LongTaskSetStatus>, after: &LongTaskSetStatus) {
        let rise = |of: fn(&LongTaskSetStatus) -> i64| {
            u64::try_from(of(after).saturating_sub(before.map_or(0, of))).unwrap_or(0)
        };
        self.count_members(SetPhase::Succeeded, rise(|status| status.succeeded.count));
        self.count_members(SetPhase::Failed, rise(|status| status.failed.count));
        let end = |status: &LongTaskSetStatus| status.phase.filter(|phase| phase.is_terminal());
        let same_round = before.filter(|before| before.round.number == after.round.number);
        if let Some(phase) = end(after)
            && same_round.and_then(end).is_none()
        {
            self.count_ends(phase, after.reason.parse::<SetFailureReason>().map_or("", Into::into), 1);
        }
    }

    fn count_members(&self, result: SetPhase, number: u64) {
        self.members.get_or_create(&MemberLabels { result: result.into() }).inc_by(number);
    }

    fn count_ends(&self, phase: SetPhase, reason: &'static str, number: u64) {
        self.ended.get_or_create(&EndLabels { phase: phase.into(), reason }).inc_by(number);
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.sets.get_or_create(&SetPhaseLabels { phase: "Running" }).set(1);
        self.count_members(SetPhase::Succeeded, 1);
        self.count_ends(SetPhase::Failed, "TooManyFailed", 1);
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct SetPhaseLabels {
    pub(super) phase: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct EndLabels {
    phase: &'static str,
    reason: &'static str,
}

/// Members are counted as Succeeded or Failed.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct MemberLabels {
    result: &'static str,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(round: i64, phase: &str, reason: &str, lists: &Value) -> LongTaskSetStatus {
        let mut status = json!({ "round": { "number": round }, "phase": phase, "reason": reason });
        status.as_object_mut().expect("a status").extend(lists.as_object().expect("fields").clone());
        serde_json::from_value(status).expect("a status")
    }

    /// The series of sets that are not 0 after these statuses were written one after the other.
    fn counted(written: &[LongTaskSetStatus]) -> Vec<String> {
        let mut registry = Registry::new();
        let metrics = SetMetrics::register(&mut registry);
        metrics.init_series();
        let before = [None].into_iter().chain(written.iter().map(Some));
        for (before, after) in before.zip(written) {
            metrics.record(before, after);
        }
        let text = registry.encode().expect("text");
        let mut lines: Vec<_> = text.lines().filter(|line| line.starts_with("longtask_set")).collect();
        lines.retain(|line| !line.ends_with(" 0"));
        lines.sort_unstable();
        lines.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn each_end_of_a_round_is_counted_once_with_its_reason() {
        let failed = json!({ "failed": { "count": 2, "indexes": "1-2" } });
        let done = json!({ "succeeded": { "count": 9, "indexes": "0-8" } });
        let written = [
            status(1, "Running", "", &json!({})),
            status(1, "Failed", "TooManyFailed", &failed),
            status(1, "Failed", "TooManyFailed", &failed),
            status(2, "Running", "QuotaExceeded", &json!({})),
            status(2, "Succeeded", "", &done),
        ];
        let expected = [
            r#"longtask_set_members_total{result="Failed"} 2"#,
            r#"longtask_set_members_total{result="Succeeded"} 9"#,
            r#"longtask_sets_ended_total{phase="Failed",reason="TooManyFailed"} 1"#,
            r#"longtask_sets_ended_total{phase="Succeeded",reason=""} 1"#,
        ];
        assert_eq!(counted(&written), expected);
    }

    #[test]
    fn each_end_has_its_series_from_the_start() {
        let mut registry = Registry::new();
        SetMetrics::register(&mut registry).init_series();
        let text = registry.encode().expect("text");
        for reason in SetFailureReason::iter() {
            assert!(text.contains(&format!(r#"{{phase="Failed",reason="{reason}"}} 0"#)), "{reason}");
        }
    }
}
