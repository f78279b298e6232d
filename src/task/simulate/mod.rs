//! A history tried out: how a task would fare if its attempts ended as a script says, without a cluster and in virtual
//! time.
//!
//! Nothing is decided here. A model cluster shows the planner real pod objects and does what it plans, so that the
//! answer is the operator's own.

mod agent;
mod cluster;
mod history;
mod manifest;
mod pod;
mod saves;
mod script;
mod table;

use jiff::Timestamp;

use self::{cluster::Cluster, history::Stop, script::Edit};
pub use self::{
    history::History,
    manifest::{ManifestError, read_task},
    script::{Problem, Script, ScriptError},
};
use super::plan::{Plan, Step, Wake};
use crate::{
    api::task::{LongTask, Phase},
    types::GoDuration,
};

/// How long the user leaves a task at rest before an edit when the script does not say, in seconds.
const USUAL_REST: i64 = 60;

/// Where a simulation begins and ends.
#[derive(Clone, Debug)]
pub struct Setup {
    /// The task's UID; jitter is drawn from it.
    pub uid: String,
    /// When the task is applied, in whole seconds.
    pub start: Timestamp,
    /// After how many attempts to stop, whatever the script says.
    pub most_attempts: u32,
}

/// What becomes of a task whose attempts end as the script says.
pub fn simulate(task: LongTask, script: Script, setup: &Setup) -> History {
    let cluster = Cluster::new(task, &setup.uid, setup.start);
    let history = History::new(setup.start);
    let mut run = Simulation { cluster, script, history, attempts_left: setup.most_attempts, next_edit: None };
    let stop = loop {
        if let Some(stop) = run.look() {
            break stop;
        }
    };
    run.history.close(&run.cluster.task, run.cluster.now, stop, &run.script);
    run.history
}

struct Simulation {
    cluster: Cluster,
    script: Script,
    history: History,
    attempts_left: u32,
    /// What the user, finding the task at rest, is going to do, and when.
    next_edit: Option<(Timestamp, Edit)>,
}

impl Simulation {
    /// One look of the operator, and what happens after it. Tells when it was the last one.
    fn look(&mut self) -> Option<Stop> {
        let plan = self.cluster.plan();
        let is_quiet = plan.status.is_none() && plan.steps.is_empty();
        let wake = plan.wake;
        self.record(&plan);
        if let Some(stop) = self.carry_out(plan) {
            return Some(stop);
        }
        if is_quiet {
            return self.let_time_pass(wake);
        }
        self.let_happen();
        None
    }

    fn record(&mut self, plan: &Plan) {
        let now = self.cluster.now;
        if let Some(status) = &plan.status {
            let before = self.cluster.status();
            self.history.attempt_ended(&before, status, &self.cluster.task.spec, &plan.why, now);
        }
        self.history.events(&plan.events, now);
    }

    /// Status first, then the steps in order.
    fn carry_out(&mut self, plan: Plan) -> Option<Stop> {
        let Plan { status, steps, events: _, wake: _, why: _ } = plan;
        if let Some(status) = status {
            self.cluster.write(status);
        }
        for step in steps {
            match step {
                Step::CreatePod(pod) => {
                    if self.attempts_left == 0 {
                        return Some(Stop::TooManyAttempts);
                    }
                    let Some((word, fate)) = self.script.next_end() else { return Some(Stop::ScriptEnded) };
                    self.attempts_left -= 1;
                    self.history.attempt_began(&word);
                    self.cluster.create(*pod, &word, fate);
                }
                other => self.cluster.take(&other),
            }
        }
        self.cluster.is_task_gone.then_some(Stop::TaskEnded)
    }

    /// Nothing is left to do now: on to the next moment at which there is.
    fn let_time_pass(&mut self, wake: Wake) -> Option<Stop> {
        let pods = self.cluster.next_moment();
        if pods.is_none()
            && let Some(stop) = self.reason_to_stop(wake)
        {
            return Some(stop);
        }
        let wake = if let Wake::At(time) = wake { Some(time) } else { None };
        let edit = self.next_edit.map(|(time, _)| time);
        let now = self.cluster.now;
        let next = [pods, wake, edit].into_iter().flatten().filter(|next| *next > now).min();
        let Some(next) = next else { return Some(Stop::AtRest) };
        self.cluster.now = next;
        self.let_happen();
        None
    }

    /// No pod runs: whether the history is over, or it is known how it goes on.
    fn reason_to_stop(&mut self, wake: Wake) -> Option<Stop> {
        let status = self.cluster.status();
        let has_ended = status.phase.is_some_and(Phase::is_terminal);
        let is_at_rest = has_ended || status.phase == Some(Phase::Suspended);
        if is_at_rest && self.user_acts() {
            return None;
        }
        match wake {
            _ if has_ended => Some(Stop::TaskEnded),
            Wake::OnChange => Some(Stop::AtRest),
            // A limit of the task, or the next attempt.
            Wake::At(_) if is_at_rest || self.script.has_end() => None,
            Wake::At(time) if status.next_attempt_time.is_some_and(|next| time < next) => None,
            Wake::At(_) => Some(Stop::ScriptEnded),
        }
    }

    /// Whether the user does something about a task at rest.
    fn user_acts(&mut self) -> bool {
        if self.next_edit.is_none()
            && let Some((word, edit)) = self.script.next_edit()
        {
            let rest = word.after.map_or(USUAL_REST, GoDuration::as_secs);
            self.next_edit = Some((pod::later(self.cluster.now, rest), edit));
        }
        self.next_edit.is_some()
    }

    fn let_happen(&mut self) {
        let now = self.cluster.now;
        let due = self.next_edit.take_if(|(time, _)| *time <= now).map(|(_, edit)| edit);
        for edit in [due, self.cluster.go_on()].into_iter().flatten() {
            self.history.edited(edit, now);
            self.cluster.edit(edit);
        }
    }
}
