//! The metrics that `/metrics` serves.
//!
//! Labels are enums and static words, never names of objects: the number of series does not grow with the cluster.

use std::{
    fmt::{self, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder, prometheus_text},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::{Registry, Unit},
};

/// The `Content-Type` of [`Metrics::encode`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// From 5 ms, a cached reconcile, to 10 s, a call that timed out.
const SECONDS: [f64; 11] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a second, a hand-over, to a week.
const LONG: [f64; 13] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0, 14_400.0, 43_200.0, 86_400.0, 604_800.0];

/// All metrics of one operator; clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Arc<Registry>,
    task_figures: Arc<Mutex<String>>,
    reconciles: Family<ReconcileLabels, Counter>,
    reconcile_duration: Histogram,
    attempts_ended: Family<AttemptLabels, Counter>,
    segments_ended: Counter,
    runs_ended: Family<RunLabels, Counter>,
    checkpoints_recorded: Counter,
    active: Counter,
    work_lost: Counter,
    retry_wait: Histogram,
    phase_duration: Family<PhaseLabels, Histogram, fn() -> Histogram>,
    hand_over: Histogram,
    tasks: Family<PhaseLabels, Gauge>,
    tasks_with_condition: Family<ConditionLabels, Gauge>,
    oldest_checkpoint_age: Gauge,
    queue_depth: Gauge,
    api_requests: Family<ApiCallLabels, Counter>,
    api_request_duration: Family<ApiEndpoint, Histogram, fn() -> Histogram>,
    events: Family<FateLabels, Counter>,
    trace_spans: Family<FateLabels, Counter>,
    leader: Gauge,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct FateLabels {
    result: &'static str,
}

/// What became of something that is sent behind the work.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fate {
    /// It has arrived.
    Sent,
    /// It was not taken.
    Failed,
    /// Too many were waiting.
    Dropped,
}

impl Fate {
    fn word(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Failed => "failed",
            Self::Dropped => "dropped",
        }
    }
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ReconcileLabels {
    result: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct PhaseLabels {
    phase: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct RunLabels {
    phase: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ConditionLabels {
    condition: &'static str,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct ApiCallLabels {
    verb: &'static str,
    resource: &'static str,
    code: Code,
}

/// What a request to the API server was about, in the words of RBAC.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
pub struct ApiEndpoint {
    /// `get`, `list`, `watch`, `create`, `update`, `patch` or `delete`.
    pub verb: &'static str,
    /// The plural, with the subresource after a slash; `other` for what the operator has no business with.
    pub resource: &'static str,
}

/// How a request to the API server ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Code {
    /// It was answered with this HTTP status.
    Status(u16),
    /// No answer: the connection or TLS failed.
    Failed,
    /// The caller gave up, mostly since its timeout was over.
    Abandoned,
}

impl EncodeLabelValue for Code {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        match self {
            Self::Status(status) => write!(encoder, "{status}"),
            Self::Failed => encoder.write_str("failed"),
            Self::Abandoned => encoder.write_str("abandoned"),
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Metrics that stand at zero.
    pub fn new() -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            task_figures: Arc::default(),
            reconciles: Family::default(),
            reconcile_duration: in_seconds(),
            attempts_ended: Family::default(),
            segments_ended: Counter::default(),
            runs_ended: Family::default(),
            checkpoints_recorded: Counter::default(),
            active: Counter::default(),
            work_lost: Counter::default(),
            retry_wait: long(),
            phase_duration: Family::new_with_constructor(long),
            hand_over: in_seconds(),
            tasks: Family::default(),
            tasks_with_condition: Family::default(),
            oldest_checkpoint_age: Gauge::default(),
            queue_depth: Gauge::default(),
            api_requests: Family::default(),
            api_request_duration: Family::new_with_constructor(in_seconds),
            events: Family::default(),
            trace_spans: Family::default(),
            leader: Gauge::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }

    /// A registry of every metric. Counters get their `_total`, and units their suffix, when they are encoded.
    fn registered(&self) -> Registry {
        let Self {
            registry: _,
            task_figures: _,
            reconciles,
            reconcile_duration,
            attempts_ended,
            segments_ended,
            runs_ended,
            checkpoints_recorded,
            active,
            work_lost,
            retry_wait,
            phase_duration,
            hand_over,
            tasks,
            tasks_with_condition,
            oldest_checkpoint_age,
            queue_depth,
            api_requests,
            api_request_duration,
            events,
            trace_spans,
            leader,
        } = self.clone();
        let mut all = Registry::with_prefix("longtask");
        all.register("reconciles", "Reconciles of a task, by result", reconciles);
        all.register_with_unit(
            "reconcile_duration",
            "Time from the start of a reconcile to its end",
            Unit::Seconds,
            reconcile_duration,
        );
        all.register("attempts_ended", "Attempts that ended, by outcome and reason", attempts_ended);
        all.register(
            "segments_ended",
            "Segments that ended as planned: by time limit, a yield or completion",
            segments_ended,
        );
        all.register("runs_ended", "Runs that ended, by terminal phase and reason of failure", runs_ended);
        all.register("checkpoints_recorded", "Checkpoints recorded in a status", checkpoints_recorded);
        all.register_with_unit("active", "Running time of ended attempts", Unit::Seconds, active);
        all.register_with_unit(
            "work_lost",
            "Running time of failed and interrupted attempts that left no new checkpoint",
            Unit::Seconds,
            work_lost,
        );
        all.register_with_unit(
            "retry_wait",
            "Planned wait between an attempt that went wrong and the next one",
            Unit::Seconds,
            retry_wait,
        );
        all.register_with_unit(
            "phase_duration",
            "Time that a task was in a phase it left",
            Unit::Seconds,
            phase_duration,
        );
        all.register_with_unit(
            "hand_over",
            "Time from seeing that an attempt's pod has ended to the creation of the next pod",
            Unit::Seconds,
            hand_over,
        );
        all.register("tasks", "Tasks by phase; only the leader reports them", tasks);
        all.register(
            "tasks_with_condition",
            "Tasks on which a condition holds that may need somebody; only the leader reports them",
            tasks_with_condition,
        );
        all.register_with_unit(
            "oldest_checkpoint_age",
            "Time since the last checkpoint of the unfinished task that has waited longest for one",
            Unit::Seconds,
            oldest_checkpoint_age,
        );
        all.register("reconcile_queue_depth", "Tasks that changed and wait for a reconcile", queue_depth);
        all.register("api_requests", "Requests to the API server, by verb, resource and status code", api_requests);
        all.register_with_unit(
            "api_request_duration",
            "Time from sending a request to the API server to the head of its answer",
            Unit::Seconds,
            api_request_duration,
        );
        all.register("events", "Events on tasks, by what became of them", events);
        all.register("trace_spans", "Spans of traces, by what became of them", trace_spans);
        all.register("leader", "1 while this replica is the one that works", leader);
        all.register("build", "The version that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        all
    }

    /// Counts one reconcile of a task.
    ///
    /// `result` is `ok` or the category of the error.
    pub fn reconciled(&self, result: &'static str, took: Duration) {
        self.reconciles.get_or_create(&ReconcileLabels { result }).inc();
        self.reconcile_duration.observe(took.as_secs_f64());
    }

    /// Counts attempts that ended; 0 makes their series exist.
    ///
    /// `reason` is one of a closed list: a kubelet's or a program's own words stay in the status.
    pub fn attempts_ended(&self, outcome: &'static str, reason: &'static str, number: u64) {
        self.attempts_ended.get_or_create(&AttemptLabels { outcome, reason }).inc_by(number);
    }

    /// Counts one segment that ended as planned.
    pub fn segment_ended(&self) {
        self.segments_ended.inc();
    }

    /// Counts runs that ended; 0 makes their series exist.
    pub fn runs_ended(&self, phase: &'static str, reason: &'static str, number: u64) {
        self.runs_ended.get_or_create(&RunLabels { phase, reason }).inc_by(number);
    }

    /// Counts checkpoints that were recorded.
    pub fn checkpoints_recorded(&self, number: u64) {
        self.checkpoints_recorded.inc_by(number);
    }

    /// Counts running time of an attempt that ended.
    pub fn worked(&self, seconds: u64) {
        self.active.inc_by(seconds);
    }

    /// Counts running time that has to be done again.
    pub fn work_lost(&self, seconds: u64) {
        self.work_lost.inc_by(seconds);
    }

    /// Records how long a task will wait before it tries again.
    pub fn waits_to_retry(&self, wait: Duration) {
        self.retry_wait.observe(wait.as_secs_f64());
    }

    /// Records how long a task was in a phase.
    pub fn phase_left(&self, phase: &'static str, after: Duration) {
        self.phase_duration.get_or_create(&PhaseLabels { phase }).observe(after.as_secs_f64());
    }

    /// Records how long a task had no pod between two attempts that follow each other at once.
    pub fn handed_over(&self, took: Duration) {
        self.hand_over.observe(took.as_secs_f64());
    }

    /// Replaces the number of tasks in each phase.
    ///
    /// Name every phase, also those without a task: one that is left out keeps its last number.
    pub fn tasks(&self, by_phase: impl IntoIterator<Item = (&'static str, usize)>) {
        for (phase, count) in by_phase {
            self.tasks.get_or_create(&PhaseLabels { phase }).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Replaces the number of tasks on which each condition holds. Name every condition.
    pub fn tasks_with_conditions(&self, by_condition: impl IntoIterator<Item = (&'static str, usize)>) {
        for (condition, count) in by_condition {
            let gauge = self.tasks_with_condition.get_or_create(&ConditionLabels { condition });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Replaces the age of the oldest checkpoint.
    pub fn oldest_checkpoint(&self, age: Duration) {
        self.oldest_checkpoint_age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    /// Replaces the number of tasks that wait for a reconcile.
    pub fn queue_depth(&self, tasks: usize) {
        self.queue_depth.set(i64::try_from(tasks).unwrap_or(i64::MAX));
    }

    /// Counts one request to the API server.
    pub fn api_called(&self, endpoint: ApiEndpoint, code: Code, took: Duration) {
        let ApiEndpoint { verb, resource } = endpoint;
        self.api_requests.get_or_create(&ApiCallLabels { verb, resource, code }).inc();
        self.api_request_duration.get_or_create(&endpoint).observe(took.as_secs_f64());
    }

    /// Counts spans by what became of them.
    pub fn spans(&self, fate: Fate, count: usize) {
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.trace_spans.get_or_create(&FateLabels { result: fate.word() }).inc_by(count);
    }

    /// Counts an event on a task by what became of it.
    pub fn events(&self, fate: Fate) {
        self.events.get_or_create(&FateLabels { result: fate.word() }).inc();
    }

    /// Tells whether this replica is the one that works.
    pub fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Replaces the figures of single tasks by this text.
    pub fn show_tasks(&self, figures: String) {
        *self.task_figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
    }

    /// The figures of single tasks as text of [`CONTENT_TYPE`]; empty when none were asked for.
    pub fn shown_tasks(&self) -> String {
        self.task_figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All metrics as text of [`CONTENT_TYPE`].
    ///
    /// # Errors
    /// When a metric cannot be written, which none of ours can fail to.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

fn in_seconds() -> Histogram {
    Histogram::new(SECONDS)
}

fn long() -> Histogram {
    Histogram::new(LONG)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_its_prefix_unit_and_labels() {
        let metrics = Metrics::new();
        metrics.reconciled("ok", Duration::from_millis(20));
        metrics.attempts_ended("Failed", "OOMKilled", 1);
        metrics.segment_ended();
        metrics.runs_ended("Failed", "NoProgress", 1);
        metrics.checkpoints_recorded(2);
        metrics.worked(90);
        metrics.work_lost(30);
        metrics.waits_to_retry(Duration::from_secs(10));
        metrics.phase_left("Running", Duration::from_secs(40));
        metrics.tasks_with_conditions([("Blocked", 2)]);
        metrics.oldest_checkpoint(Duration::from_secs(77));
        metrics.queue_depth(5);
        metrics.handed_over(Duration::from_millis(30));
        metrics.tasks([("Running", 3), ("Failed", 0)]);
        let create_pod = ApiEndpoint { verb: "create", resource: "pods" };
        metrics.api_called(create_pod, Code::Status(201), Duration::from_millis(4));
        metrics.api_called(create_pod, Code::Abandoned, Duration::from_secs(5));
        metrics.leads(true);

        let text = metrics.encode().expect("text");
        for line in [
            r#"longtask_reconciles_total{result="ok"} 1"#,
            r#"longtask_reconcile_duration_seconds_bucket{le="0.025"} 1"#,
            r#"longtask_attempts_ended_total{outcome="Failed",reason="OOMKilled"} 1"#,
            r"longtask_segments_ended_total 1",
            r#"longtask_runs_ended_total{phase="Failed",reason="NoProgress"} 1"#,
            r"longtask_checkpoints_recorded_total 2",
            r"longtask_active_seconds_total 90",
            r"longtask_work_lost_seconds_total 30",
            r#"longtask_retry_wait_seconds_bucket{le="15"} 1"#,
            r#"longtask_phase_duration_seconds_sum{phase="Running"} 40.0"#,
            r#"longtask_tasks_with_condition{condition="Blocked"} 2"#,
            r"longtask_oldest_checkpoint_age_seconds 77",
            r"longtask_reconcile_queue_depth 5",
            r"longtask_hand_over_seconds_count 1",
            r#"longtask_tasks{phase="Running"} 3"#,
            r#"longtask_tasks{phase="Failed"} 0"#,
            r#"longtask_api_requests_total{verb="create",resource="pods",code="201"} 1"#,
            r#"longtask_api_requests_total{verb="create",resource="pods",code="abandoned"} 1"#,
            r#"longtask_api_request_duration_seconds_count{verb="create",resource="pods"} 2"#,
            r"longtask_leader 1",
            concat!(r#"longtask_build_info{version=""#, env!("CARGO_PKG_VERSION"), r#""} 1"#),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
