//! Words for scenarios: `given().running(1, "10:00:00").pod(...).at("10:15:00").expect([...])`.
//!
//! Times of day are all on one day. A task `t` in its first run, started at 09:00:00, generation 1, with defaults.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use longtask::{
    api::{
        parent::Parent,
        queue::Admission,
        task::{
            AttemptState, ConditionType, CurrentAttempt, LongTask, LongTaskStatus, Phase, RequestedStop, StopReason,
        },
    },
    contract::report::{Report, Via},
    task::{
        plan::{
            Cause, ClaimFacts, EventReason, LateCreates, Live, LiveReport, Observed, Plan, PodFacts, Refusal,
            RefusedStep, Step, Template, TemplateReading, Wake, needs_template, plan,
        },
        render::{AgentConfig, ReportServer},
    },
    types::{GoDuration, mark_false, mark_true},
};
use serde_json::{Map, Value, json};
use strum::{IntoEnumIterator, VariantNames};

use crate::kstatus::breach;

/// A moment of the day of all scenarios.
pub(crate) fn t(time: &str) -> Timestamp {
    format!("2026-11-24T{time}Z").parse().expect("a time of day")
}

fn of_day(time: Timestamp) -> String {
    let time = time.to_string();
    time.strip_prefix("2026-11-24T").and_then(|time| time.strip_suffix('Z')).unwrap_or(&time).to_owned()
}

/// A task that has done nothing yet.
pub(crate) fn given() -> Given {
    Given {
        spec: json!({ "template": { "spec": { "containers": [{ "name": "main", "image": "i" }] } } }),
        metadata: json!({ "name": "t", "namespace": "n", "uid": "task-uid", "generation": 1 }),
        status: None,
        pods: Vec::new(),
        foreign: Vec::new(),
        refusal: None,
        refused_steps: Vec::new(),
        late_creates: LateCreates::None,
        out_of_sight: Vec::new(),
        live: Live::default(),
        claims: Vec::new(),
        template: GivenTemplate::Missing,
        parent: None,
        admission: Admission::NotAsked,
    }
}

/// A task that names the LongTaskTemplate `x`, and nothing else.
pub(crate) fn given_thin() -> Given {
    Given { spec: json!({ "templateRef": { "name": "x" } }), ..given() }
}

/// The LongTaskTemplate of a task that names one.
#[derive(Clone)]
enum GivenTemplate {
    Missing,
    Off,
    There { spec: Value, generation: i64 },
}

/// A task whose program reports while it runs, to an operator that has listened since 09:00:00.
pub(crate) fn given_live() -> Given {
    let reports = ReportServer { addresses: vec!["10.0.0.7:8443".into()], certificate_authority: "PEM".into() };
    let agent = AgentConfig { image: "longtask:1".into(), reports: Some(reports) };
    let live = Live { agent: Some(Arc::new(agent)), listening_since: Some(t("09:00:00")), ..Live::default() };
    Given { live, ..given() }.spec(json!({ "reporting": { "mode": "Live" } }))
}

/// What is so before the plan is made.
#[derive(Clone)]
pub(crate) struct Given {
    spec: Value,
    metadata: Value,
    status: Option<LongTaskStatus>,
    pods: Vec<PodBuilder>,
    foreign: Vec<PodBuilder>,
    refusal: Option<Refusal>,
    refused_steps: Vec<RefusedStep>,
    late_creates: LateCreates,
    out_of_sight: Vec<String>,
    live: Live,
    claims: Vec<ClaimFacts>,
    template: GivenTemplate,
    parent: Option<Parent>,
    admission: Admission,
}

impl Given {
    /// It is a member of a set, of which it sees this.
    pub(crate) fn in_set(self, parent: Parent) -> Self {
        Self { parent: Some(parent), ..self }
    }

    /// When the task was created.
    pub(crate) fn created(mut self, time: &str) -> Self {
        self.metadata["creationTimestamp"] = json!(t(time));
        self
    }

    /// It sees this of the queue that it names.
    pub(crate) fn in_queue(self, admission: Admission) -> Self {
        Self { admission, ..self }
    }

    /// Its template exists, in this edition.
    pub(crate) fn template(self, generation: i64, spec: Value) -> Self {
        Self { template: GivenTemplate::There { spec, generation }, ..self }
    }

    /// Its template does not exist.
    pub(crate) fn template_missing(self) -> Self {
        Self { template: GivenTemplate::Missing, ..self }
    }

    /// The operator fills nothing in.
    pub(crate) fn fill_in_off(self) -> Self {
        Self { template: GivenTemplate::Off, ..self }
    }

    /// An annotation of the task.
    pub(crate) fn annotation(mut self, name: &str, value: &str) -> Self {
        self.metadata["annotations"][name] = json!(value);
        self
    }

    /// The specification, as it is by now.
    pub(crate) fn spec_now(&self) -> &Value {
        &self.spec
    }

    /// The task's annotations by now.
    pub(crate) fn annotations_now(&self) -> &Value {
        &self.metadata["annotations"]
    }

    /// What is read of the template, and with it of the task.
    fn template_seen(&self, task: &LongTask) -> Template {
        match &self.template {
            _ if !needs_template(task, self.parent) => Template::NotAsked,
            GivenTemplate::Missing => Template::Missing,
            GivenTemplate::Off => Template::Off,
            GivenTemplate::There { spec, generation } => {
                let template = json!({
                    "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate",
                    "metadata": { "name": "x", "namespace": "n", "generation": generation }, "spec": spec,
                });
                let task = serde_json::to_value(task).and_then(serde_json::from_value).expect("a task");
                let template = serde_json::from_value(template).expect("a template");
                Template::Found(Box::new(TemplateReading { task, template }))
            }
        }
    }

    /// A claim that exists, made for the task of this UID.
    pub(crate) fn claim(mut self, name: &str, task_uid: &str) -> Self {
        self.claims.push(ClaimFacts {
            name: name.into(),
            uid: format!("{name}-uid"),
            task_uid: Some(task_uid.into()),
            is_being_deleted: false,
        });
        self
    }

    /// Somebody has deleted its claims, and something keeps them.
    pub(crate) fn claims_going(mut self) -> Self {
        self.claims.iter_mut().for_each(|claim| claim.is_being_deleted = true);
        self
    }

    /// Its claims are gone.
    pub(crate) fn claims_gone(mut self) -> Self {
        self.claims.clear();
        self
    }

    /// The agent has posted this by then; the program gave its last sign of life so many seconds before.
    pub(crate) fn posted(mut self, revision: i64, at: &str, silent_seconds: i64, lines: &[Value]) -> Self {
        let lines = text_of(lines);
        let report = Report::read(&lines, Via::Agent);
        let checkpoint_time = report.checkpoint.is_some().then(|| t(at));
        let quiet_seconds = report.quiet.map(GoDuration::as_secs);
        let receipt_time = t(at);
        self.live.report = Some(Arc::new(LiveReport {
            revision,
            receipt_time,
            silent_seconds,
            quiet_seconds,
            checkpoint_time,
            report,
            save: None,
        }));
        self
    }

    /// The agent has posted this of its newest save, beside what it had posted.
    pub(crate) fn saving(mut self, save: Value) -> Self {
        let report = self.live.report.as_mut().expect("it has posted");
        Arc::make_mut(report).save = Some(serde_json::from_value(save).expect("how a save goes"));
        self
    }

    /// What the operator knows of agents otherwise.
    pub(crate) fn live(mut self, change: impl FnOnce(&mut Live)) -> Self {
        change(&mut self.live);
        self
    }

    /// Changes the specification, field by field, within the same generation.
    pub(crate) fn spec(mut self, changes: Value) -> Self {
        merge(&mut self.spec, changes);
        self
    }

    /// Changes the specification after the status was written.
    pub(crate) fn edited(mut self, changes: Value) -> Self {
        self.metadata["generation"] = json!(self.metadata["generation"].as_i64().unwrap_or_default() + 1);
        self.spec(changes)
    }

    /// Changes the input after the status was written.
    pub(crate) fn edited_input(mut self, input: Value) -> Self {
        self.spec["input"] = input;
        self.edited(json!({}))
    }

    /// Somebody deleted the task.
    pub(crate) fn being_deleted(mut self) -> Self {
        self.metadata["deletionTimestamp"] = json!("2026-11-24T10:00:00Z");
        self
    }

    /// A status in which the run has started.
    pub(crate) fn begun(self) -> Self {
        let begun = given_status(&self);
        Self { status: Some(begun), ..self }
    }

    /// Changes the status.
    pub(crate) fn status(self, change: impl FnOnce(&mut LongTaskStatus)) -> Self {
        let mut given = if self.status.is_none() { self.begun() } else { self };
        change(given.status.as_mut().expect("begun"));
        given
    }

    /// The task is in this phase, of which GitOps tools know.
    pub(crate) fn in_phase(self, phase: Phase) -> Self {
        self.status(|status| {
            status.phase = Some(phase);
            let goes_on = !phase.is_terminal() && phase != Phase::Suspended;
            for (type_, holds) in
                [(ConditionType::Reconciling, goes_on), (ConditionType::Stalled, phase == Phase::Failed)]
            {
                if holds {
                    mark_true(&mut status.conditions, type_, "Given", "", t("09:30:00"));
                } else {
                    mark_false(&mut status.conditions, type_, "Given", "", t("09:30:00"));
                }
            }
        })
    }

    /// The attempt under way, in this state; started at that time unless that is empty.
    pub(crate) fn attempt(self, number: i64, state: AttemptState, started_at: &str) -> Self {
        self.status(|status| {
            let started_at = (!started_at.is_empty()).then(|| t(started_at));
            status.phase = Some(match state {
                AttemptState::Creating | AttemptState::Starting | AttemptState::Withdrawn => Phase::Pending,
                AttemptState::Running => Phase::Running,
                AttemptState::Stopping => Phase::Stopping,
                AttemptState::Ended => Phase::Waiting,
            });
            let is_seen = !matches!(state, AttemptState::Creating | AttemptState::Withdrawn);
            status.current_attempt = Some(CurrentAttempt {
                number,
                segment: status.segment,
                state,
                pod_name: format!("t-{number}"),
                pod_uid: is_seen.then(|| format!("pod-{number}")),
                node_name: started_at.map(|_| "node-1".into()),
                generation: 1,
                template_hash: None,
                creation_time: started_at.unwrap_or_else(|| t("10:00:00")),
                started_at,
                cut_by: None,
                stop: None,
                report: None,
                ticket: None,
                pod_group: None,
            });
        })
    }

    /// An attempt that is decided, its pod not known yet.
    pub(crate) fn creating(self, number: i64) -> Self {
        self.attempt(number, AttemptState::Creating, "")
    }

    /// An attempt whose main container runs.
    pub(crate) fn running(self, number: i64, started_at: &str) -> Self {
        self.attempt(number, AttemptState::Running, started_at)
    }

    /// An attempt that was counted.
    pub(crate) fn ended(self, number: i64) -> Self {
        self.attempt(number, AttemptState::Ended, "09:30:00").status(|status| status.totals.attempts = number)
    }

    /// The attempt under way was asked to stop.
    pub(crate) fn stopping(self, reason: StopReason, request_time: &str) -> Self {
        self.status(|status| {
            status.phase = Some(Phase::Stopping);
            status.reason = reason.to_string();
            let attempt = status.current_attempt.as_mut().expect("an attempt");
            attempt.state = AttemptState::Stopping;
            attempt.stop = Some(RequestedStop { reason, request_time: t(request_time) });
        })
    }

    /// One of its pods.
    pub(crate) fn pod(mut self, pod: PodBuilder) -> Self {
        self.pods.push(pod);
        self
    }

    /// One of its pods of which the watch does not tell, since somebody has taken its label off.
    pub(crate) fn pod_out_of_sight(mut self, pod: PodBuilder) -> Self {
        self.out_of_sight.push(pod.facts().name);
        self.pod(pod)
    }

    /// A pod of an earlier task of the same name.
    pub(crate) fn foreign(mut self, pod: PodBuilder) -> Self {
        self.foreign.push(pod.labelled("longtask.dev/task-uid", "an-earlier-uid"));
        self
    }

    /// What the API server answered to the create.
    pub(crate) fn refused(mut self, reason: &str, message: &str) -> Self {
        self.refusal = Some(Refusal::Rejected(Cause { reason: reason.into(), message: message.into() }));
        self
    }

    /// Likewise, in one word.
    pub(crate) fn refusal(mut self, refusal: Refusal) -> Self {
        self.refusal = Some(refusal);
        self
    }

    /// The API server has just refused this step.
    pub(crate) fn refused_step(self, step: Step, message: &str) -> Self {
        self.refused_step_by("Forbidden", step, message)
    }

    /// Likewise, for this reason.
    pub(crate) fn refused_step_by(mut self, reason: &str, step: Step, message: &str) -> Self {
        let words = Cause { reason: reason.into(), message: message.into() };
        self.refused_steps.push(RefusedStep { step, words });
        self
    }

    /// A create that nobody waits for may still arrive.
    pub(crate) fn late_creates(self, late_creates: LateCreates) -> Self {
        Self { late_creates, ..self }
    }

    /// The plan at that time. Whatever a scenario expects of it, GitOps tools understand its status.
    #[track_caller]
    pub(crate) fn at(self, time: &str) -> Planned {
        self.at_time(t(time))
    }

    #[track_caller]
    fn at_time(self, now: Timestamp) -> Planned {
        let plan = self.plan(now);
        let breach = plan.status.as_ref().and_then(|status| breach(status, self.metadata["generation"].as_i64()));
        assert_eq!(breach, None, "\nstatus: {:#?}", plan.status);
        let after = self.clone().after(&plan, now);
        Planned { before: self.status.clone().unwrap_or_default(), given: self, plan, after, now }
    }

    fn task(&self) -> LongTask {
        let task = json!({
            "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": self.metadata, "spec": self.spec,
        });
        let mut task: LongTask = serde_json::from_value(task).expect("a task");
        task.status.clone_from(&self.status);
        task
    }

    fn plan(&self, now: Timestamp) -> Plan {
        let task = self.task();
        let facts = |pods: &[PodBuilder]| pods.iter().map(|pod| Arc::new(pod.facts())).collect::<Vec<_>>();
        let pods = facts(&self.pods);
        let mut seen = Observed::of(&task, "task-uid", pods);
        let is_out_of_sight = |pod: &PodFacts| self.out_of_sight.contains(&pod.name);
        seen.pods.retain(|pod| !is_out_of_sight(pod));
        seen.foreign = facts(&self.foreign);
        seen.refusal.clone_from(&self.refusal);
        seen.refused_steps.clone_from(&self.refused_steps);
        seen.late_creates.clone_from(&self.late_creates);
        seen.live = self.live.clone();
        seen.claims.clone_from(&self.claims);
        seen.template = self.template_seen(&task);
        seen.parent = self.parent;
        seen.admission = self.admission;
        plan(&seen, now)
    }

    /// The world after the plan was carried out.
    fn after(mut self, plan: &Plan, now: Timestamp) -> Self {
        self.refusal = None;
        self.refused_steps.clear();
        if let Some(status) = &plan.status {
            // As the API server hands it back.
            let written = serde_json::to_value(status).expect("a status");
            self.status = Some(serde_json::from_value(written).expect("the status again"));
        }
        for step in &plan.steps {
            match step {
                Step::CreateClaim(claim) => {
                    self = self.claim(claim.metadata.name.as_deref().expect("a name"), "task-uid");
                }
                Step::DeleteClaim(claim) => self.claims.retain(|known| known.uid != claim.uid),
                Step::CreatePod(pod) => self.pods.push(PodBuilder::created(pod, now)),
                Step::LowerDeadline { pod, seconds } => {
                    self.change(&pod.name, |pod| pod.merged(json!({ "spec": { "activeDeadlineSeconds": seconds } })));
                }
                Step::DeletePod(pod) => self.change(&pod.name, |pod| pod.deletion_requested(now)),
                Step::RestoreLabel(pod) => self.change(&pod.name, |pod| pod.labelled("longtask.dev/task", "t")),
                Step::ReturnQuota(pod) => self.change(&pod.name, PodBuilder::returning_quota),
                Step::ReleasePod(pod) => self.change(&pod.name, PodBuilder::released),
                Step::FillIn(filled) => {
                    self.metadata["annotations"] = json!(filled.metadata.annotations);
                    let spec = filled.data["spec"].clone();
                    self = self.edited(json!({}));
                    self.spec = spec;
                }
                Step::DeleteTask => self.metadata["deletionTimestamp"] = json!(now),
            }
        }
        self
    }

    /// Its pods are this one.
    pub(crate) fn only(mut self, pod: PodBuilder) -> Self {
        self.pods = vec![pod];
        self
    }

    /// Its pods are gone.
    pub(crate) fn gone(mut self) -> Self {
        self.pods.clear();
        self
    }

    /// Changes every pod of the task.
    pub(crate) fn each_pod(mut self, change: impl Fn(PodBuilder) -> PodBuilder) -> Self {
        self.pods = self.pods.into_iter().map(change).collect();
        self
    }

    fn change(&mut self, name: &str, change: impl Fn(PodBuilder) -> PodBuilder) {
        for pod in self.pods.iter_mut().chain(&mut self.foreign) {
            if pod.0["metadata"]["name"] == name {
                *pod = change(pod.clone());
            }
        }
    }
}

/// Lines of a report as their text.
fn text_of(lines: &[Value]) -> String {
    lines.iter().flat_map(|line| [line.to_string(), "\n".to_owned()]).collect()
}

fn given_status(given: &Given) -> LongTaskStatus {
    let mut fresh = given.clone();
    fresh.metadata["deletionTimestamp"].take();
    fresh.spec["suspend"] = json!(false);
    fresh.spec["cancel"] = json!(false);
    fresh.spec["limits"] = json!({});
    let started = fresh.plan(t("09:00:00")).status.expect("a first status");
    LongTaskStatus { current_attempt: None, phase: None, ..started }
}

/// A plan and what it came from.
pub(crate) struct Planned {
    given: Given,
    before: LongTaskStatus,
    pub(crate) plan: Plan,
    after: Given,
    now: Timestamp,
}

impl Planned {
    /// The plan is exactly this: changed facts of the status, then steps, events and, when there is one, the wake.
    #[track_caller]
    pub(crate) fn expect<const N: usize>(self, expected: [&str; N]) -> Self {
        assert_eq!(self.lines(), expected, "\nstatus: {:#?}", self.plan.status);
        self.and_is_quiet()
    }

    /// Likewise, from a list.
    #[track_caller]
    pub(crate) fn expect_all(self, expected: &[impl AsRef<str>]) -> Self {
        let expected: Vec<_> = expected.iter().map(AsRef::as_ref).collect();
        assert_eq!(self.lines(), expected, "\nstatus: {:#?}", self.plan.status);
        self.and_is_quiet()
    }

    /// The plan begins with these lines.
    #[track_caller]
    pub(crate) fn expect_starting(self, expected: &[&str]) -> Self {
        assert!(!expected.is_empty(), "any plan would do");
        let lines = self.lines();
        assert!(
            lines.iter().zip(expected).filter(|(a, b)| a == b).count() == expected.len(),
            "{expected:?}: {lines:#?}"
        );
        self.and_is_quiet()
    }

    /// The plan has these lines among others.
    #[track_caller]
    pub(crate) fn expect_containing(self, expected: &[&str]) -> Self {
        assert!(!expected.is_empty(), "any plan would do");
        let lines = self.lines();
        assert!(expected.iter().all(|line| lines.iter().any(|other| other == line)), "{expected:?}: {lines:#?}");
        self.and_is_quiet()
    }

    /// The plan has no line that begins like one of these.
    #[track_caller]
    pub(crate) fn expect_without(self, unwanted: &[&str]) -> Self {
        let unknown = unwanted.iter().find(|unwanted| !can_begin_a_line(unwanted));
        assert!(!unwanted.is_empty() && unknown.is_none(), "any plan would do: {unknown:?}");
        let lines = self.lines();
        assert!(!lines.iter().any(|line| unwanted.iter().any(|unwanted| line.starts_with(unwanted))), "{lines:#?}");
        self.and_is_quiet()
    }

    /// Carried out, it leaves nothing to do.
    #[track_caller]
    fn and_is_quiet(self) -> Self {
        let is_blocked = facts(&self.before).iter().any(|(name, value)| name == "Blocked" && value.starts_with("True"));
        let is_removed = self.after.pods.iter().any(|pod| pod.0["metadata"]["deletionGracePeriodSeconds"] == 0);
        if is_blocked || is_removed || self.given.refusal == Some(Refusal::NameOfTerminatingPod) {
            // There is news: a pod after all, or one less.
            return self;
        }
        if self.plan.steps.iter().any(|step| matches!(step, Step::FillIn(_))) {
            // There is news: it has its definition.
            return self;
        }
        let has_no_status = self.given.metadata["deletionTimestamp"].is_string();
        let is_replaced = !self.plan.steps.is_empty();
        if (has_no_status || is_replaced) && !self.given.refused_steps.is_empty() {
            // Nothing remembers that it was told, or there is news: something else was done instead.
            return self;
        }
        let still_refused = Given { refused_steps: self.given.refused_steps.clone(), ..self.after.clone() };
        let again = still_refused.plan(self.now);
        assert_eq!((again.status, again.steps, again.events), (None, vec![], vec![]), "planned again");
        self
    }

    /// The world in which it was carried out.
    pub(crate) fn then(self) -> Given {
        self.after
    }

    /// Likewise, to go on from it in more ways than one.
    pub(crate) fn then_clone(&self) -> Given {
        self.after.clone()
    }

    /// The status after it.
    pub(crate) fn status(&self) -> LongTaskStatus {
        self.after.status.clone().unwrap_or_default()
    }

    /// The note of the event of that reason.
    #[track_caller]
    pub(crate) fn note(&self, reason: &str) -> &str {
        let event = self.plan.events.iter().find(|event| event.reason.to_string() == reason);
        &event.unwrap_or_else(|| panic!("no event {reason} in {:?}", self.plan.events)).note
    }

    fn lines(&self) -> Vec<String> {
        let before = facts(&self.before);
        let mut lines: Vec<_> = self
            .plan
            .status
            .iter()
            .flat_map(facts)
            .filter(|fact| !before.contains(fact))
            .map(|(name, value)| format!("{name} {value}"))
            .collect();
        lines.extend(self.plan.steps.iter().map(ToString::to_string));
        lines.extend(self.plan.events.iter().map(|event| format!("{} {}", event.type_, event.reason)));
        if let Wake::At(time) = self.plan.wake {
            lines.push(format!("wake {}", of_day(time)));
        }
        lines
    }
}

/// Whether a line can begin with these words: a misspelt one would be missing from every plan.
fn can_begin_a_line(words: &str) -> bool {
    let steps = [
        "create claim",
        "create pod",
        "delete claim",
        "lower deadline of",
        "delete pod",
        "delete the task",
        "fill in the task",
        "restore the label of",
        "return the quota of",
        "release pod",
    ];
    let conditions = ConditionType::iter().flat_map(|type_| [format!("{type_} True"), format!("{type_} False")]);
    let requests = StopReason::VARIANTS.iter().map(|reason| format!("stop {reason}"));
    let events = EventReason::iter().flat_map(|reason| [format!("Normal {reason}"), format!("Warning {reason}")]);
    let named = facts(&LongTaskStatus::default()).into_iter().map(|(name, _)| name);
    let values = named.filter(|name| name != "stop" && ConditionType::iter().all(|type_| type_.to_string() != *name));
    let others = steps.map(str::to_owned).into_iter().chain(["wake".to_owned()]);
    let words = format!("{words} ");
    conditions.chain(requests).chain(events).chain(values).chain(others).any(|beginning| {
        let beginning = format!("{beginning} ");
        beginning.starts_with(&words) || words.starts_with(&beginning)
    })
}

/// What a status says, by name; what is absent is `-`.
fn facts(status: &LongTaskStatus) -> Vec<(String, String)> {
    let some = |value: Option<String>| value.unwrap_or_else(|| "-".into());
    let time = |time: Option<Timestamp>| some(time.map(of_day));
    let attempt = status.current_attempt.as_ref();
    let recent = status.recent_attempts.first();
    let phase = format!("{} {}", some(status.phase.map(|phase| phase.to_string())), status.reason);
    let mut facts = vec![
        ("phase", phase.trim_end().to_owned()),
        ("segment", status.segment.to_string()),
        ("attempt", some(attempt.map(|attempt| format!("{} {}", attempt.number, attempt.state)))),
        ("started", time(attempt.and_then(|attempt| attempt.started_at))),
        ("group", some(attempt.and_then(|attempt| attempt.pod_group.clone()))),
        ("stop", some(attempt.and_then(|attempt| Some(attempt.stop.as_ref()?.reason.to_string())))),
        ("cut by", some(attempt.and_then(|attempt| Some(attempt.cut_by?.to_string())))),
        (
            "outcome",
            some(recent.map(|ended| {
                let exit = ended.exit_code.map(|code| format!(" exit {code}")).unwrap_or_default();
                let outcome = format!("{} {}", ended.outcome, ended.reason);
                format!("{}{exit}", outcome.trim_end())
            })),
        ),
        ("active", status.active_seconds.to_string()),
        ("suspended", status.run.suspended_seconds.to_string()),
        ("checkpoint", status.checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.sequence).to_string()),
        ("progress", some(status.progress.as_ref().and_then(|progress| progress.summary.clone()))),
        ("failures", status.consecutive.failures.to_string()),
        ("stalls", status.consecutive.stalls.to_string()),
        ("startFailures", status.consecutive.start_failures.to_string()),
        ("interruptions", status.consecutive.interruptions.to_string()),
        ("next", time(status.next_attempt_time)),
        ("result", some(status.result.as_ref().map(ToString::to_string))),
    ];
    let conditions = [
        "Complete",
        "Failed",
        "Finished",
        "Suspended",
        "Blocked",
        "CheckpointStale",
        "AttemptOverdue",
        "ReportsMissing",
        "SaveFailing",
        "WriteRefused",
    ];
    facts.extend(conditions.map(|name| {
        let condition = status.conditions.iter().find(|condition| condition.type_ == name);
        // That a condition does not hold, and never did, is one.
        (
            name,
            condition.map_or("False".into(), |condition| match condition.status.as_str() {
                "True" => format!("True {}", condition.reason),
                status => status.to_owned(),
            }),
        )
    }));
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// The pod of an attempt, fresh from the API server at 10:00:00.
pub(crate) fn pod(attempt: i64) -> PodBuilder {
    PodBuilder(json!({
        "metadata": {
            "name": format!("t-{attempt}"),
            "uid": format!("pod-{attempt}"),
            "creationTimestamp": "2026-11-24T10:00:00Z",
            "labels": { "longtask.dev/task": "t", "longtask.dev/task-uid": "task-uid",
                        "longtask.dev/attempt": attempt.to_string() },
            "annotations": { "longtask.dev/main-container": "main" },
            "finalizers": ["longtask.dev/outcome"],
            "ownerReferences": [{ "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "name": "t",
                                  "uid": "task-uid", "controller": true }],
        },
        "spec": {
            "containers": [],
            "activeDeadlineSeconds": 4200,
            "terminationGracePeriodSeconds": 30,
        },
        "status": { "phase": "Pending" },
    }))
}

/// A pod in the making: the object itself.
#[derive(Clone)]
pub(crate) struct PodBuilder(Value);

impl PodBuilder {
    fn created(pod: &Pod, now: Timestamp) -> Self {
        let attempt = pod.metadata.labels.as_ref().map(|labels| labels["longtask.dev/attempt"].clone());
        let server =
            json!({ "metadata": { "uid": format!("pod-{}", attempt.expect("a number")), "creationTimestamp": now } });
        Self(serde_json::to_value(pod).expect("a pod")).merged(server)
    }

    fn facts(&self) -> PodFacts {
        let pod: Pod = serde_json::from_value(self.0.clone()).expect("a pod");
        PodFacts::of(&pod).expect("a pod of ours")
    }

    /// Any other change of the object.
    pub(crate) fn merged(mut self, changes: Value) -> Self {
        merge(&mut self.0, changes);
        self
    }

    fn labelled(self, name: &str, value: &str) -> Self {
        self.merged(json!({ "metadata": { "labels": { name: value } } }))
    }

    /// Our finalizer is off.
    pub(crate) fn released(self) -> Self {
        self.merged(json!({ "metadata": { "finalizers": [] } }))
    }

    /// The scheduler found no place.
    pub(crate) fn unschedulable(self, message: &str) -> Self {
        self.condition(
            json!({ "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message }),
        )
    }

    /// Bound to a node, and seen by its kubelet.
    pub(crate) fn scheduled(self, at: &str) -> Self {
        self.merged(json!({ "spec": { "nodeName": "node-1" }, "status": { "startTime": t(at) } }))
            .condition(json!({ "type": "PodScheduled", "status": "True", "lastTransitionTime": t(at) }))
    }

    /// Any condition.
    pub(crate) fn having(self, condition: Value) -> Self {
        self.condition(condition)
    }

    /// With one more condition.
    pub(crate) fn condition(mut self, condition: Value) -> Self {
        match &mut self.0["status"]["conditions"] {
            Value::Array(conditions) => conditions.push(condition),
            none => *none = json!([condition]),
        }
        self
    }

    /// The main container waits for something.
    pub(crate) fn waiting(self, reason: &str, message: &str) -> Self {
        self.main(json!({ "waiting": { "reason": reason, "message": message } }))
    }

    /// The main container runs; the kubelet saw the pod a second earlier, unless scheduled before.
    pub(crate) fn runs(self, since: &str) -> Self {
        let is_scheduled = self.0["status"]["startTime"].is_string();
        let pod = if is_scheduled { self } else { self.scheduled(&of_day(t(since) - SignedDuration::from_secs(1))) };
        pod.merged(json!({ "status": { "phase": "Running" } })).main(json!({ "running": { "startedAt": t(since) } }))
    }

    /// The main container ran and ended; others may go on.
    pub(crate) fn main_ended(self, started: &str, ended: &str, exit_code: i32) -> Self {
        let reason = if exit_code == 0 { "Completed" } else { "Error" };
        self.runs(started).main(json!({ "terminated": {
            "startedAt": t(started), "finishedAt": t(ended), "exitCode": exit_code, "reason": reason,
        } }))
    }

    /// The main container ran and ended, and the pod with it.
    pub(crate) fn ran(self, started: &str, ended: &str, exit_code: i32) -> Self {
        self.main_ended(started, ended, exit_code).phase(if exit_code == 0 { "Succeeded" } else { "Failed" })
    }

    fn main(self, state: Value) -> Self {
        let name = "main";
        let statuses =
            json!([{ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state }]);
        self.merged(json!({ "status": { "containerStatuses": statuses } }))
    }

    /// An agent is beside the program, and runs.
    pub(crate) fn with_agent(self) -> Self {
        let agent = json!({ "name": "longtask-agent", "image": "longtask:1", "restartPolicy": "Always" });
        let pod = self.merged(json!({ "spec": { "containers": [{ "name": "main" }], "initContainers": [agent] } }));
        pod.agent(json!({ "running": { "startedAt": t("10:00:00") } }))
    }

    /// The agent has ended, and left this.
    pub(crate) fn agent_left(self, header: Value, lines: &[Value]) -> Self {
        let lines = text_of(lines);
        let mut first = json!({ "bytes": lines.len() });
        merge(&mut first, header);
        let message = format!("{}\n{lines}", json!({ "agent": first }));
        self.agent(json!({ "terminated": { "exitCode": 0, "message": message, "reason": "Completed" } }))
    }

    /// The agent is at work again, or was when the kubelet was heard of last: what it left is of an earlier run of it.
    pub(crate) fn agent_runs_again(mut self) -> Self {
        let status = &mut self.0["status"]["initContainerStatuses"][0];
        status["lastState"] = status["state"].take();
        status["state"] = json!({ "running": { "startedAt": t("10:00:00") } });
        status["restartCount"] = json!(1);
        self
    }

    fn agent(self, state: Value) -> Self {
        let status = json!([{ "name": "longtask-agent", "image": "longtask:1", "imageID": "", "ready": true,
                              "restartCount": 0, "started": true, "state": state }]);
        self.merged(json!({ "status": { "initContainerStatuses": status } }))
    }

    /// The container that restores the checkpoint is at it since then.
    pub(crate) fn restoring(self, since: &str) -> Self {
        let waiting = json!({ "waiting": { "reason": "PodInitializing" } });
        let pod = self.with_agent().scheduled("10:00:01").agent(waiting);
        pod.restore(json!({ "running": { "startedAt": t(since) } }))
    }

    /// It has ended well, and said this of what it restored.
    pub(crate) fn restored(self, restored: Value) -> Self {
        let message = json!({ "restore": { "seconds": 3, "restored": restored } }).to_string();
        self.restore(json!({ "terminated": { "exitCode": 0, "message": message, "finishedAt": t("10:00:02") } }))
    }

    /// It has failed, for this reason, and the pod with it.
    pub(crate) fn restore_failed(self, reason: &str, exit_code: i32) -> Self {
        let error = json!({ "reason": reason, "message": "the store's words" });
        let message = json!({ "restore": { "seconds": 3, "error": error } }).to_string();
        self.restore_ended(json!({
            "exitCode": exit_code, "message": message, "finishedAt": t("10:00:05"), "reason": "Error",
        }))
    }

    /// The kubelet has stopped it, before it could say anything.
    pub(crate) fn restore_stopped(self, at: &str) -> Self {
        self.restore_ended(json!({ "exitCode": 143, "finishedAt": t(at), "reason": "Error" }))
    }

    fn restore_ended(self, ended: Value) -> Self {
        let waiting = json!({ "waiting": { "reason": "PodInitializing" } });
        self.with_agent()
            .scheduled("10:00:01")
            .agent(waiting.clone())
            .restore(json!({ "terminated": ended }))
            .main(waiting)
            .phase("Failed")
    }

    fn restore(mut self, state: Value) -> Self {
        let spec = json!({ "name": "longtask-restore", "image": "longtask:1" });
        let status = json!({ "name": "longtask-restore", "image": "longtask:1", "imageID": "", "ready": false,
                             "restartCount": 0, "state": state });
        self.0["spec"]["initContainers"].as_array_mut().expect("an agent").insert(0, spec);
        self.0["status"]["initContainerStatuses"].as_array_mut().expect("an agent").insert(0, status);
        self
    }

    /// The kubelet waits to start the main container, of which it has lost track after it had run.
    pub(crate) fn main_lost(mut self) -> Self {
        self = self.waiting("PodInitializing", "");
        self.0["status"]["containerStatuses"][0]["lastState"] =
            json!({ "terminated": { "exitCode": 137, "reason": "ContainerStatusUnknown" } });
        self
    }

    /// Likewise, and the kubelet has made up an end of the main container and of the agent: it has removed both before it looked.
    pub(crate) fn all_lost(mut self) -> Self {
        let lost = json!({ "terminated": { "exitCode": 137, "reason": "ContainerStatusUnknown" } });
        self = self.agent(lost.clone()).main(lost.clone());
        for containers in ["containerStatuses", "initContainerStatuses"] {
            self.0["status"][containers][0]["lastState"] = lost.clone();
        }
        self
    }

    /// What the runtime called the main container's end.
    pub(crate) fn called(mut self, reason: &str) -> Self {
        self.0["status"]["containerStatuses"][0]["state"]["terminated"]["reason"] = json!(reason);
        self
    }

    /// The main container's termination message: lines of report.
    pub(crate) fn reporting(mut self, lines: &[Value]) -> Self {
        let lines: Vec<_> = lines.iter().map(ToString::to_string).collect();
        self.0["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json!(lines.join("\n"));
        self
    }

    /// Likewise, any text.
    pub(crate) fn saying(mut self, text: &str) -> Self {
        self.0["status"]["containerStatuses"][0]["state"]["terminated"]["message"] = json!(text);
        self
    }

    /// The main container could not be started: the runtime's record carries the epoch as its start.
    pub(crate) fn start_error(self, reason: &str) -> Self {
        self.scheduled("10:00:01").phase("Failed").main(json!({ "terminated": {
            "startedAt": "1970-01-01T00:00:00Z", "finishedAt": t("10:00:02"), "exitCode": 128, "reason": reason,
            "message": "exec: no such file",
        } }))
    }

    /// The kubelet lost track of the main container.
    pub(crate) fn lost_track(self) -> Self {
        self.phase("Failed").main(json!({ "terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
        } }))
    }

    /// It is in this group of Kueue's.
    pub(crate) fn in_group(self, group: &str) -> Self {
        self.merged(json!({ "metadata": { "annotations": { "longtask.dev/pod-group": group } } }))
    }

    /// It tells Kueue that no pod will take its place.
    pub(crate) fn returning_quota(self) -> Self {
        self.merged(json!({ "metadata": { "annotations": { "kueue.x-k8s.io/retriable-in-group": "false" } } }))
    }

    /// The pod's phase.
    pub(crate) fn phase(self, phase: &str) -> Self {
        self.merged(json!({ "status": { "phase": phase } }))
    }

    /// The pod's own reason.
    pub(crate) fn because(self, reason: &str) -> Self {
        self.merged(json!({ "status": { "phase": "Failed", "reason": reason, "message": "the kubelet's words" } }))
    }

    /// Refused by the kubelet.
    pub(crate) fn turned_away(self, reason: &str) -> Self {
        let message = "Pod was rejected: the kubelet's words";
        self.merged(json!({ "status": { "phase": "Failed", "reason": reason, "message": message } }))
    }

    /// The condition `DisruptionTarget`.
    pub(crate) fn disrupted(self, reason: &str, at: &str) -> Self {
        self.condition(json!({ "type": "DisruptionTarget", "status": "True", "reason": reason,
                               "message": "the cluster's words", "lastTransitionTime": t(at) }))
    }

    /// Another container runs beside the main one.
    pub(crate) fn beside(mut self, name: &str) -> Self {
        let status = json!({ "name": name, "image": "i", "imageID": "", "ready": true, "restartCount": 0,
                             "state": { "running": { "startedAt": t("10:00:00") } } });
        self.0["status"]["containerStatuses"].as_array_mut().expect("a main container").push(status);
        self
    }

    /// Its containers were ready, and nobody hears of the node any more.
    pub(crate) fn on_a_silent_node(mut self) -> Self {
        self.0["status"]["containerStatuses"][0]["ready"] = json!(true);
        self.unready("11:01:40")
    }

    /// No longer ready since then.
    pub(crate) fn unready(self, at: &str) -> Self {
        self.condition(json!({ "type": "Ready", "status": "False", "lastTransitionTime": t(at) }))
    }

    /// Being deleted: to be gone by that time, after that many seconds.
    pub(crate) fn deleted(self, by: &str, grace: i64) -> Self {
        self.merged(json!({ "metadata": { "deletionTimestamp": t(by), "deletionGracePeriodSeconds": grace } }))
    }

    /// As the API server answers a delete.
    fn deletion_requested(self, now: Timestamp) -> Self {
        let is_at_once = self.0["spec"]["nodeName"].is_null() || self.facts().is_terminal();
        let grace = if is_at_once { 0 } else { self.facts().grace };
        let by = now + SignedDuration::from_secs(grace);
        self.merged(json!({ "metadata": { "deletionTimestamp": by, "deletionGracePeriodSeconds": grace } }))
    }

    /// The pod's `activeDeadlineSeconds`.
    pub(crate) fn deadline(self, seconds: i64) -> Self {
        self.merged(json!({ "spec": { "activeDeadlineSeconds": seconds } }))
    }
}

/// Objects are merged field by field, everything else is replaced.
fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, change) in changes {
                merge(into.entry(name).or_insert_with(|| Value::Object(Map::new())), change);
            }
        }
        (into, change) => *into = change,
    }
}
