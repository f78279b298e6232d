//! The metrics of tasks.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
};

use crate::telemetry::metrics::{Page, Registry, short_times};

/// What is counted of tasks. Clones count into the same.
#[derive(Clone, Debug)]
pub(super) struct TaskMetrics {
    pub(super) reconciles: Family<ResultLabels, Counter>,
    pub(super) reconcile_duration: Histogram,
    pub(super) attempts_ended: Family<AttemptLabels, Counter>,
    pub(super) segments_ended: Counter,
    pub(super) runs_ended: Family<RunLabels, Counter>,
    pub(super) checkpoints_recorded: Counter,
    pub(super) checkpoint_save: Histogram,
    pub(super) checkpoint_saved_bytes: Counter,
    pub(super) checkpoint_restore: Histogram,
    pub(super) active: Counter,
    pub(super) work_lost: Counter,
    pub(super) retry_wait: Histogram,
    pub(super) phase_duration: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    pub(super) hand_over: Histogram,
    pub(super) tasks: Family<PhaseLabels, Gauge>,
    pub(super) tasks_with_condition: Family<ConditionLabels, Gauge>,
    pub(super) oldest_checkpoint_age: Gauge,
    pub(super) live_pods: Gauge,
    pub(super) live_pace: Gauge,
    pub(super) reports: Family<ReportLabels, Counter>,
    pub(super) report_lag: Histogram,
    /// Figures of single tasks, by name.
    pub(super) figures: Page,
}

impl TaskMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        Self {
            reconciles: registry.register("reconciles", "Reconciles of a task, by result", Family::default()),
            reconcile_duration: registry.register_seconds(
                "reconcile_duration",
                "Time from the start of a reconcile to its end",
                short_times(),
            ),
            attempts_ended: registry.register(
                "attempts_ended",
                "Attempts that ended, by outcome and reason",
                Family::default(),
            ),
            segments_ended: registry.register(
                "segments_ended",
                "Segments that ended as planned: by time limit, a yield or completion",
                Counter::default(),
            ),
            runs_ended: registry.register(
                "runs_ended",
                "Runs that ended, by terminal phase, reason of failure, and what the task is a part of",
                Family::default(),
            ),
            checkpoints_recorded: registry.register(
                "checkpoints_recorded",
                "Checkpoints recorded in a status",
                Counter::default(),
            ),
            checkpoint_save: registry.register_seconds(
                "checkpoint_save",
                "Time that an agent took to save a checkpoint in its store, of those recorded in a status",
                transfers(),
            ),
            checkpoint_saved_bytes: registry.register(
                "checkpoint_saved_bytes",
                "Size of the files of saved checkpoints recorded in a status",
                Counter::default(),
            ),
            checkpoint_restore: registry.register_seconds(
                "checkpoint_restore",
                "Time that an agent took to restore a checkpoint from its store before the program started",
                transfers(),
            ),
            active: registry.register_seconds("active", "Running time of ended attempts", Counter::default()),
            work_lost: registry.register_seconds(
                "work_lost",
                "Running time of failed and interrupted attempts that left no new checkpoint",
                Counter::default(),
            ),
            retry_wait: registry.register_seconds(
                "retry_wait",
                "Planned wait between an attempt that went wrong and the next one",
                long_times(),
            ),
            phase_duration: registry.register_seconds(
                "phase_duration",
                "Time that a task was in a phase it left",
                Family::new_with_constructor(long_times),
            ),
            hand_over: registry.register_seconds(
                "hand_over",
                "Time from seeing that an attempt's pod has ended to the creation of the next pod",
                short_times(),
            ),
            tasks: registry.register("tasks", "Tasks by phase; only the leader reports them", Family::default()),
            tasks_with_condition: registry.register(
                "tasks_with_condition",
                "Tasks on which a condition holds that may need somebody; only the leader reports them",
                Family::default(),
            ),
            oldest_checkpoint_age: registry.register_seconds(
                "oldest_checkpoint_age",
                "Time since the last checkpoint of the unfinished task that has waited longest for one",
                Gauge::default(),
            ),
            live_pods: registry.register(
                "live_pods",
                "Pods whose agents have posted reports to this operator",
                Gauge::default(),
            ),
            live_pace: registry.register_seconds(
                "live_pace",
                "Shortest time between two status writes of one task for its reports, so that all together are not too many",
                Gauge::default(),
            ),
            reports: registry.register("reports", "Reports that agents posted, by what became of them", Family::default()),
            report_lag: registry.register_seconds(
                "report_lag",
                "Time from the receipt of a report to the status write that has it, while its program runs",
                lags(),
            ),
            figures: registry.page("/metrics/tasks"),
        }
    }

    /// Gives each metric a value.
    #[cfg(test)]
    pub(super) fn fill(&self) {
        self.reconciles.get_or_create(&ResultLabels { result: "ok" }).inc();
        self.reconcile_duration.observe(1.0);
        self.attempts_ended.get_or_create(&AttemptLabels { outcome: "Failed", reason: "Error" }).inc();
        self.runs_ended.get_or_create(&RunLabels { phase: "Failed", reason: "NoProgress", parent: "none" }).inc();
        self.phase_duration.get_or_create(&PhaseLabels { phase: "Running" }).observe(1.0);
        self.tasks.get_or_create(&PhaseLabels { phase: "Running" }).set(1);
        self.tasks_with_condition.get_or_create(&ConditionLabels { condition: "Blocked" }).set(1);
        self.reports.get_or_create(&ReportLabels { result: "accepted" }).inc();
    }
}

/// From a write that is due at once to the longest `reporting.interval`.
fn lags() -> Histogram {
    Histogram::new([0.05, 0.25, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0])
}

/// Agents tell whole seconds, from less than one to the hours that a terabyte takes.
fn transfers() -> Histogram {
    Histogram::new([0.0, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0])
}

/// From a second, a hand-over, to a week.
fn long_times() -> Histogram {
    Histogram::new([1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0])
}

/// `ok`, or the category of the error.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct ResultLabels {
    pub(super) result: &'static str,
}

/// The reason is one of a closed list: a kubelet's or a program's own words stay in the status.
#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct AttemptLabels {
    pub(super) outcome: &'static str,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct RunLabels {
    pub(super) phase: &'static str,
    pub(super) reason: &'static str,
    /// What the task is a part of: a failed member is its set's to answer for.
    pub(super) parent: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct PhaseLabels {
    pub(super) phase: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct ConditionLabels {
    pub(super) condition: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub(super) struct ReportLabels {
    pub(super) result: &'static str,
}
