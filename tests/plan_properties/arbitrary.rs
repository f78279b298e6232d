//! Arbitrary specifications, statuses and pods: of the right types, otherwise as wild as can be.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use longtask::{
    api::{
        queue::{Admission, OpenQueue},
        task::{
            AttemptState, Checkpoint, ClaimRetention, ClaimRetentionPolicy, CurrentAttempt, FailurePolicy, Limit,
            Limits, LongTask, LongTaskSpec, LongTaskStatus, OnExhausted, Phase, Progress, RecordedReport,
            ReportingMode, RequestedStop, Rule, StopReason, Ticket, TicketState,
        },
    },
    contract::{
        agent::{Header, HeldBack, LastWord, RestoreWord, Restored, SaveError, SaveReport, SaveTrouble},
        report::{Report, Via},
    },
    task::{
        plan::{
            AgentFacts, Cause, ClaimFacts, ContainerEnd, Deletion, Disruption, FailedInit, Live, LiveReport,
            MainContainer, Observed, PodFacts, PodPhase, Refusal, Start, StartStage,
        },
        render::AgentConfig,
    },
    types::GoDuration,
};
use proptest::{collection::vec, option, prelude::*, sample::select};
use serde_json::json;

/// Everything that a plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) task: LongTask,
    pub(crate) pods: Vec<Arc<PodFacts>>,
    pub(crate) foreign: Vec<Arc<PodFacts>>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) live: Live,
    pub(crate) claims: Vec<ClaimFacts>,
    pub(crate) admission: Admission,
    pub(crate) now: Timestamp,
}

impl World {
    /// As the operator sees it: the attempt under way is looked up by name and UID.
    pub(crate) fn observed(&self) -> Observed<'_> {
        let mut seen = Observed::of(&self.task, "task-uid", self.pods.clone());
        seen.foreign.clone_from(&self.foreign);
        seen.refusal.clone_from(&self.refusal);
        // Only a report of the attempt under way is shown to the plan.
        seen.live = self.live.clone();
        seen.claims.clone_from(&self.claims);
        seen.admission = self.admission;
        seen
    }
}

pub(crate) fn worlds() -> impl Strategy<Value = World> {
    let task = (specs(), option::weighted(0.9, statuses()), 1..4_i64, option::weighted(0.05, times()));
    let refusals = option::weighted(
        0.2,
        prop_oneof![
            Just(Refusal::NameOfTerminatingPod),
            Just(Refusal::NameTaken(None)),
            words().prop_map(Refusal::Rejected),
            words().prop_map(|words| Refusal::ClaimRejected("data-t".into(), words)),
        ],
    );
    let others = (vec(pods(), 0..2), vec(claims(), 0..2), option::weighted(0.4, queues()));
    (task, vec(pods(), 0..4), others, refusals, lives(), moments()).prop_map(
        |((spec, status, generation, deleted), mut pods, (foreign, mut claims, queue), refusal, live, now)| {
            let mut task = LongTask::new("t", spec);
            task.metadata.uid = Some("task-uid".into());
            task.metadata.generation = Some(generation);
            task.metadata.deletion_timestamp = deleted.map(Time);
            task.status = status;
            pods.sort_by_key(|pod| pod.attempt);
            pods.dedup_by_key(|pod| pod.attempt);
            let pods = pods.into_iter().map(Arc::new).collect();
            claims.dedup_by(|one, other| one.name == other.name);
            let foreign = foreign.into_iter().map(Arc::new).collect();
            let admission = queue.map_or(Admission::NotAsked, |queue| put_into(queue, &mut task));
            World { task, pods, foreign, refusal, live, claims, admission, now }
        },
    )
}

/// A queue that a task names or not, the task's latest ticket, and what it sees of the queue.
#[derive(Clone, Debug)]
struct Queue {
    is_named: bool,
    ticket: Option<Ticket>,
    admission: Admission,
}

fn queues() -> BoxedStrategy<Queue> {
    let state = select(vec![TicketState::Waiting, TicketState::Admitted, TicketState::Returned]);
    let ticket = (1..4_i64, state, times(), (select(vec!["q", "other"]), any::<bool>())).prop_map(
        |(ticket, state, queue_time, (name, probe))| Ticket { name: name.into(), ticket, state, queue_time, probe },
    );
    let open = (option::of(1..4_i64), any::<bool>(), any::<bool>())
        .prop_map(|(called, is_probe, keeps_place)| Admission::Open(OpenQueue { called, is_probe, keeps_place }));
    let admission = prop_oneof![
        6 => open,
        1 => Just(Admission::Missing),
        1 => Just(Admission::NotAllowed),
        1 => Just(Admission::NotWatched),
    ];
    (any::<bool>(), option::of(ticket), admission)
        .prop_map(|(is_named, ticket, admission)| Queue { is_named, ticket, admission })
        .boxed()
}

/// Has a task name the queue and hold the ticket, as its attempt does that has a place.
fn put_into(queue: Queue, task: &mut LongTask) -> Admission {
    task.spec.queue_name = queue.is_named.then(|| "q".to_owned());
    if let Some(status) = &mut task.status {
        if let (Some(attempt), Some(ticket)) = (&mut status.current_attempt, &queue.ticket) {
            attempt.ticket = (ticket.state == TicketState::Admitted).then_some(ticket.ticket);
        }
        status.queue = queue.ticket;
    }
    if queue.is_named { queue.admission } else { Admission::NotAsked }
}

/// Claims of the names that tasks here have, their own and others'.
fn claims() -> impl Strategy<Value = ClaimFacts> {
    (
        select(vec!["data-t", "cache-t"]),
        select(vec![Some("task-uid"), Some("other-uid"), None]),
        prop::bool::weighted(0.2),
    )
        .prop_map(|(name, task_uid, is_being_deleted)| ClaimFacts {
            name: name.into(),
            uid: format!("{name}-uid"),
            task_uid: task_uid.map(str::to_owned),
            is_being_deleted,
        })
}

/// Mostly moments that can be near each other; the ends of time as well. Whole seconds, as the clock tells them.
fn moments() -> impl Strategy<Value = Timestamp> {
    let second =
        |range: std::ops::Range<i64>| range.prop_map(|second| Timestamp::from_second(second).expect("in range"));
    prop_oneof![
        20 => second(1_795_000_000..1_795_010_000),
        1 => second(0..Timestamp::MAX.as_second()),
        1 => Just(Timestamp::from_second(Timestamp::MAX.as_second()).expect("in range")),
        1 => Just(Timestamp::UNIX_EPOCH),
    ]
}

/// Moments as others write them: with fractions.
fn times() -> impl Strategy<Value = Timestamp> {
    prop_oneof![9 => moments(), 1 => Just(Timestamp::MAX), 1 => Just("2026-11-18T10:00:00.7Z".parse().expect("a time"))]
}

fn numbers() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 0..6_i64, 5 => 0..4000_i64, 1 => any::<i64>(), 1 => Just(i64::MAX), 1 => Just(i64::MIN)]
}

/// Numbers of attempts; one more of them must still be a number.
fn attempts() -> impl Strategy<Value = i64> {
    prop_oneof![20 => 1..4_i64, 1 => Just(i64::MAX - 1)]
}

fn durations() -> impl Strategy<Value = GoDuration> {
    let longest: GoDuration = "99999h99999h99999h".parse().expect("a duration");
    prop_oneof![10 => (0..4000_i64).prop_map(GoDuration::from_secs), 1 => Just(longest)]
}

fn policies() -> impl Strategy<Value = FailurePolicy> {
    let rules = (
        select(vec!["Retry", "Ignore", "Fail", "Hold", "Rollback", "StartOver"]),
        select(vec!["Error", "OOMKilled", "Evicted", "StartError"]),
        option::of(-1..4_i32),
        option::of(durations()),
        select(vec![json!({}), json!({ "memory": { "max": "1Gi" } }), json!({ "avoidNode": true })]),
    )
        .prop_map(|(action, reason, limit, delay, modifier)| {
            let mut rule = json!({ "name": reason.to_lowercase(), "onReasons": [reason], "action": action });
            rule.as_object_mut().expect("a rule").extend(modifier.as_object().expect("fields").clone());
            let mut rule: Rule = serde_json::from_value(rule).expect("a rule");
            (rule.limit, rule.delay) = (limit, delay);
            rule
        });
    (vec(rules, 0..3), select(vec![OnExhausted::Fail, OnExhausted::Hold]))
        .prop_map(|(rules, on_exhausted)| FailurePolicy { rules, on_exhausted })
}

fn specs() -> BoxedStrategy<LongTaskSpec> {
    let limits = (
        option::weighted(0.2, durations()),
        option::weighted(0.2, durations()),
        option::weighted(0.2, times()),
        option::weighted(0.2, 1..5_i32),
        option::weighted(0.2, 1..5_i32),
    )
        .prop_map(|(active_time, wall_time, deadline, segments, attempts)| Limits {
            active_time,
            wall_time,
            deadline,
            segments,
            attempts,
        });
    let budget = || prop_oneof![4 => -1..4_i32, 1 => any::<i32>()];
    let budgets = (budget(), budget(), budget(), budget());
    let flags = (prop::bool::weighted(0.2), prop::bool::weighted(0.1), any::<bool>(), any::<bool>());
    let sizes = (-1..6_i32, -1..5_i32);
    let spans = (durations(), durations(), durations(), option::of(durations()), option::of(durations()));
    let live = (any::<bool>(), durations(), option::of(durations()), prop::bool::weighted(0.3));
    let claims = (prop::bool::weighted(0.6), retentions(), retentions());
    let delays = (durations(), durations(), select(vec!["None", "Equal", "Full", "Additive"]), durations());
    (limits, budgets, flags, sizes, (spans, live, claims), delays, policies())
        .prop_map(|(limits, budgets, flags, (pods, history), (spans, live, claims), delays, policy)| {
            let (suspend, cancel, reset, external) = flags;
            let mut spec: LongTaskSpec = serde_json::from_value(json!({
                "template": { "spec": { "containers": [{ "name": "main" }] } },
                "suspend": suspend, "cancel": cancel, "podHistoryLimit": pods,
                "checkpoint": { "historyLimit": history, "source": if external { "External" } else { "Report" } },
                "retry": { "resetOnProgress": reset, "backoff": { "jitter": delays.2 } },
            }))
            .expect("a specification");
            if live.3 {
                spec.checkpoint.store = serde_json::from_value(json!({ "url": "s3://bucket" })).expect("a store");
            }
            if claims.0 {
                let template = |name: &str| json!({ "metadata": { "name": name }, "spec": {} });
                spec.volume_claim_templates =
                    serde_json::from_value(json!([template("data"), template("cache")])).expect("templates");
            }
            spec.persistent_volume_claim_retention_policy =
                ClaimRetentionPolicy { when_deleted: claims.1, when_succeeded: claims.2 };
            spec.failure_policy = policy;
            spec.limits = limits;
            let allowed = &mut spec.retry.budgets;
            (allowed.failures, allowed.stalls, allowed.start_failures, allowed.interruptions) = budgets;
            (spec.retry.backoff.initial, spec.retry.backoff.max) = (delays.0, delays.1);
            spec.retry.max_retry_after = delays.3;
            let segment = &mut spec.segment;
            (segment.duration, segment.grace_period, segment.start_timeout, segment.scheduling_timeout) =
                (spans.0, spans.1, spans.2, spans.3);
            spec.segment.heartbeat_timeout = live.2;
            spec.reporting.interval = live.1;
            spec.reporting.mode = if live.0 { ReportingMode::Live } else { ReportingMode::AtExit };
            (spec.ttl_after_finished, spec.ttl_after_failed) = (spans.4, spans.4);
            spec
        })
        .boxed()
}

fn retentions() -> impl Strategy<Value = ClaimRetention> {
    select(vec![ClaimRetention::Retain, ClaimRetention::Delete])
}

fn statuses() -> BoxedStrategy<LongTaskStatus> {
    let run = (prop_oneof![9 => Just(1_i64), 1 => Just(0)], option::of(times()), numbers(), option::of(numbers()));
    let counts = (numbers(), numbers(), numbers(), numbers(), numbers(), numbers());
    let conditions =
        vec((select(vec!["Suspended", "Blocked", "AttemptOverdue", "Reconciling"]), any::<bool>(), moments()), 0..4);
    (
        select(vec![
            Phase::Pending,
            Phase::Running,
            Phase::Stopping,
            Phase::Waiting,
            Phase::Suspended,
            Phase::Succeeded,
            Phase::Failed,
            Phase::Cancelled,
        ]),
        run,
        counts,
        option::weighted(0.9, current_attempts()),
        option::of(checkpoints()),
        vec(checkpoints(), 0..6),
        option::of(times()),
        conditions,
        0..3_i64,
        option::of((option::of(numbers()), option::of(numbers()))),
    )
        .prop_map(|(phase, run, counts, attempt, checkpoint, history, next, conditions, generation, progress)| {
            let mut status = LongTaskStatus::default();
            (status.run.number, status.run.start_time) = (run.0, run.1);
            (status.run.suspended_seconds, status.run.high_water) = (run.2, run.3);
            (status.active_seconds, status.segment, status.retries) = (counts.0, counts.1, counts.2);
            (status.consecutive.failures, status.totals.failures, status.totals.attempts) =
                (counts.3, counts.4, counts.5);
            (status.consecutive.stalls, status.consecutive.interruptions) = (counts.4, counts.5);
            (status.totals.work_lost_seconds, status.totals.stalls) = (counts.1, counts.2);
            status.phase = Some(phase);
            status.completion_time = next.filter(|_| phase.is_terminal());
            if phase.is_terminal()
                && let Some(attempt) = attempt
            {
                // A task does not end while an attempt is under way.
                status.current_attempt = Some(CurrentAttempt { state: AttemptState::Ended, ..attempt });
            } else {
                status.current_attempt = attempt;
            }
            (status.checkpoint, status.checkpoint_history, status.next_attempt_time) = (checkpoint, history, next);
            status.observed_generation = generation;
            status.progress = progress.map(|(completed, total)| Progress { completed, total, ..Progress::default() });
            for (type_, holds, at) in conditions {
                if status.conditions.iter().all(|condition| condition.type_ != type_) {
                    status.conditions.push(Condition {
                        type_: type_.into(),
                        status: if holds { "True" } else { "False" }.into(),
                        reason: "Because".into(),
                        message: String::new(),
                        last_transition_time: Time(at),
                        observed_generation: None,
                    });
                }
            }
            status
        })
        .boxed()
}

fn current_attempts() -> BoxedStrategy<CurrentAttempt> {
    let states = select(vec![
        AttemptState::Creating,
        AttemptState::Starting,
        AttemptState::Running,
        AttemptState::Stopping,
        AttemptState::Ended,
        AttemptState::Withdrawn,
    ]);
    let reasons = select(vec![
        StopReason::Suspend,
        StopReason::Cancel,
        StopReason::MainEnded,
        StopReason::StartTimeout,
        StopReason::SchedulingTimeout,
        StopReason::Limit,
        StopReason::Hung,
    ]);
    let stops = option::weighted(0.3, (reasons, times()));
    let limits = option::weighted(0.2, select(vec![Limit::ActiveTime, Limit::WallTime, Limit::Deadline]));
    let recorded = (0..6_i64, times(), option::of(times()));
    let recorded = recorded.prop_map(|(revision, record_time, progress_time)| RecordedReport {
        revision,
        record_time,
        progress_time,
    });
    let times_of = (option::of(times()), times());
    (attempts(), numbers(), states, times_of, limits, stops, 0..4_i64, option::weighted(0.3, recorded))
        .prop_map(|(number, segment, state, (started_at, creation_time), cut_by, stop, generation, report)| {
            CurrentAttempt {
                number,
                segment,
                state,
                pod_name: format!("t-{number}"),
                pod_uid: (state != AttemptState::Creating).then(|| format!("pod-{number}")),
                node_name: None,
                generation,
                template_hash: (generation > 1).then(|| "a-digest".into()),
                creation_time,
                started_at,
                cut_by,
                stop: stop.map(|(reason, request_time)| RequestedStop { reason, request_time }),
                report,
                ticket: None,
                pod_group: (number % 3 == 0).then(|| "t-1-task-uid".into()),
            }
        })
        .boxed()
}

/// What is known of agents, and the newest report.
fn lives() -> BoxedStrategy<Live> {
    let silence = (numbers(), option::of(numbers()));
    let report = (0..6_i64, times(), silence, option::of(times()), reports(), option::weighted(0.3, saves()));
    let report = report.prop_map(|(revision, receipt_time, silence, checkpoint_time, lines, save)| {
        let (silent_seconds, quiet_seconds) = silence;
        let report = Report::read(&lines, Via::Agent);
        Arc::new(LiveReport { revision, receipt_time, silent_seconds, quiet_seconds, checkpoint_time, report, save })
    });
    (any::<bool>(), option::of(times()), option::of(report), option::of(times()))
        .prop_map(|(has_agent, listening_since, report, turn)| {
            let agent = has_agent.then(|| Arc::new(AgentConfig { image: "longtask:1".into(), reports: None }));
            Live { agent, listening_since, report, turn }
        })
        .boxed()
}

/// The agent beside a program, and what it left behind.
fn agents() -> BoxedStrategy<AgentFacts> {
    let held_back = option::weighted(0.3, 0..6_i64);
    let words = (0..6_i64, option::of(times()), held_back, reports(), option::weighted(0.3, saves()));
    let words = words.prop_map(|(revision, time, held_back, lines, save)| {
        let result = held_back.map(|revision| HeldBack { bytes: 9000, revision });
        let header = Header { revision, checkpoint_time: time, result, save, ..Header::default() };
        Arc::new(LastWord { header, lines })
    });
    let facts = (any::<[bool; 3]>(), option::of(words), option::weighted(0.3, restores()));
    let facts = facts.prop_map(|([has_store, has_ended, has_run_since], last_word, restore)| AgentFacts {
        has_store,
        has_ended,
        last_word,
        has_run_since,
        restore,
    });
    facts.boxed()
}

/// How it goes with a save.
fn saves() -> impl Strategy<Value = SaveReport> {
    let troubles = select(vec![SaveTrouble::AccessDenied, SaveTrouble::Unreachable, SaveTrouble::Unknown]);
    (0..100_u64, option::of((troubles, ".{0,40}"))).prop_map(|(seconds, error)| SaveReport {
        path: "step-1".into(),
        seconds,
        error: error.map(|(reason, message)| SaveError { reason, message }),
    })
}

/// What a restore has said: sometimes of a checkpoint that is adopted.
fn restores() -> impl Strategy<Value = Arc<RestoreWord>> {
    (0..4_i64, 1..4_u32, times(), any::<bool>()).prop_map(|(attempt, number, creation_time, is_adopted)| {
        let restored = Restored {
            path: format!("step-{number}"),
            uri: saved_at(attempt, number),
            digest: "sha256:1".into(),
            size_bytes: 7,
            attempt,
            segment: 1,
            creation_time,
            is_adopted,
        };
        Arc::new(RestoreWord { seconds: 1, restored: Some(restored), error: None })
    })
}

fn saved_at(attempt: i64, number: u32) -> String {
    format!("s3://bucket/n/t/task-uid/{attempt}-1a2b3c4d/{number}/manifest.json")
}

fn checkpoints() -> impl Strategy<Value = Checkpoint> {
    let sequences = prop_oneof![9 => 1..50_i64, 1 => Just(i64::MAX)];
    let saves = option::weighted(0.3, (0..4_i64, 1..4_u32));
    (sequences, 0..4_i64, times(), saves).prop_map(|(sequence, n, record_time, save)| Checkpoint {
        sequence,
        attempt: 1,
        segment: 1,
        record_time,
        path: save.map(|(_, number)| format!("step-{number}")),
        data: save.is_none().then(|| json!({ "n": n })),
        uri: save.map(|(attempt, number)| saved_at(attempt, number)),
        digest: save.map(|_| "sha256:1".into()),
        size_bytes: save.map(|_| 7),
    })
}

fn words() -> impl Strategy<Value = Cause> {
    let reasons = select(vec![
        "DeadlineExceeded",
        "Evicted",
        "OutOfcpu",
        "ErrImagePull",
        "ImagePullBackOff",
        "Unschedulable",
        "QuotaExceeded",
        "",
    ]);
    (reasons, ".{0,40}").prop_map(|(reason, message)| Cause { reason: reason.into(), message })
}

fn reports() -> BoxedStrategy<String> {
    let lines = prop_oneof![
        (0..5_i64).prop_map(|n| json!({ "checkpoint": { "n": n } }).to_string()),
        numbers().prop_map(|n| json!({ "progress": { "completed": n, "total": n } }).to_string()),
        any::<bool>().prop_map(|done| json!({ "done": done }).to_string()),
        any::<bool>()
            .prop_map(|permanent| json!({ "error": { "permanent": permanent, "retryAfter": "5s" } }).to_string()),
        numbers().prop_map(|n| json!({ "error": { "code": n, "retryAfter": n }, "resume_after": n }).to_string()),
        "[0-9.eE-]{1,24}".prop_map(|n| format!("{{\"checkpoint\":{{\"n\":{n}}},\"progress\":{{\"total\":{n}}}}}")),
        select(vec!["0s", "10m", "99999h", "9999-12-30T00:00:00Z", "-9999-01-02T00:00:00Z", "soon"])
            .prop_map(|after| json!({ "resumeAfter": after }).to_string()),
        ".{0,60}".prop_map(|text| text),
        "[{}\":,a-z0-9\\[\\]]{0,60}".prop_map(|text| text),
    ];
    vec(lines, 0..5).prop_map(|lines| lines.join("\n")).boxed()
}

fn main_containers() -> BoxedStrategy<MainContainer> {
    let reasons = select(vec!["Completed", "Error", "OOMKilled", "ContainerStatusUnknown", "Unknown", "StartError"]);
    let messages = (reports(), any::<bool>(), 0..6_usize);
    let ends = (select(vec![0, 1, 75, 137, -1]), reasons, messages, option::of(times()), option::of(times())).prop_map(
        |(exit_code, reason, (message, may_be_log, containers), started_at, finished_at)| {
            let reason = reason.into();
            MainContainer::Ended(ContainerEnd {
                exit_code,
                reason,
                message,
                may_be_log,
                containers,
                started_at,
                finished_at,
            })
        },
    );
    prop_oneof![Just(MainContainer::Waiting), times().prop_map(|since| MainContainer::Running { since }), ends].boxed()
}

/// How far a start is, and which other container runs.
fn starts() -> BoxedStrategy<(Option<Start>, Option<String>)> {
    let stages = select(vec![
        StartStage::Scheduler("default-scheduler".into()),
        StartStage::Kubelet,
        StartStage::Preparation,
        StartStage::InitContainer("fetch".into()),
        StartStage::Sidecar("proxy".into()),
        StartStage::Containers,
    ]);
    let start = option::of((stages, times()).prop_map(|(stage, since)| Start { stage, since }));
    (start, option::weighted(0.2, Just("proxy".to_owned()))).boxed()
}

fn pods() -> BoxedStrategy<PodFacts> {
    let disruptions = (
        select(vec!["EvictionByEvictionAPI", "TerminationByKubelet", "PreemptionByScheduler", "DeletionByPodGC"]),
        times(),
    )
        .prop_map(|(reason, at)| Disruption { reason: reason.into(), message: String::new(), at });
    let deletions =
        (times(), prop_oneof![Just(0_i64), Just(30), numbers()]).prop_map(|(at, grace)| Deletion { at, grace });
    let phases = select(vec![PodPhase::Pending, PodPhase::Running, PodPhase::Succeeded, PodPhase::Failed]);
    let bounds = (option::of(times()), option::of(numbers()), numbers(), option::of(numbers()), option::of(1..4_i64));
    let maybe = || option::weighted(0.2, words());
    let trouble = (maybe(), maybe(), maybe(), maybe());
    let ends = (option::weighted(0.2, deletions), option::weighted(0.2, disruptions));
    (
        attempts(),
        any::<bool>(),
        any::<bool>(),
        phases,
        bounds,
        trouble,
        ends,
        (times(), option::of(times())),
        (
            main_containers(),
            select(vec![None, Some("100Mi"), Some("1Gi")]),
            starts(),
            option::of(any::<bool>()),
            (option::weighted(0.4, agents()), prop::bool::weighted(0.1)),
        ),
    )
        .prop_map(|(attempt, has_finalizer, has_node, phase, bounds, trouble, ends, times, rest)| {
            let (main, memory, (start, other_unended), ended_before_deletion, (agent, is_main_lost)) = rest;
            PodFacts {
                name: format!("t-{attempt}"),
                uid: format!("pod-{attempt}"),
                task_uid: "task-uid".into(),
                owner_uid: Some("task-uid".into()),
                attempt,
                has_finalizer,
                has_task_label: has_finalizer || has_node,
                node: has_node.then(|| "node-1".into()),
                phase,
                is_turned_away: phase == PodPhase::Failed && trouble.0.is_some() && has_node,
                words: trouble.0,
                start_time: bounds.0,
                active_deadline: bounds.1,
                grace: bounds.2,
                segment_seconds: bounds.3,
                generation: bounds.4,
                deletion: ends.0,
                disruption: ends.1,
                conditions: Vec::new(),
                memory: memory.map(|memory| memory.parse().expect("an amount")),
                creation_time: times.0,
                scheduled_at: times.1,
                unscheduled: trouble.1,
                trouble: trouble.2,
                failed_init: trouble.3.map(|words| FailedInit {
                    words,
                    container: "fetch".into(),
                    finished_at: times.1,
                }),
                template_hash: has_node.then(|| "another-digest".into()),
                raised_memory: None,
                pod_group: (bounds.2 % 2 == 0).then(|| format!("t-{}-task-uid", bounds.2 % 4)),
                returns_quota: bounds.2 % 8 == 6,
                ended_before_deletion,
                other_unended,
                is_node_silent: ended_before_deletion == Some(true),
                start,
                main,
                is_main_lost,
                agent,
            }
        })
        .boxed()
}
