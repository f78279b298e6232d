//! What is asked of an operator whose writes a policy refuses: it says so, it tries again in time, it takes it back.
//!
//! Asked only where nothing else keeps it from that: no lost request, no late watch, no crash, no jump of a clock.

use longtask::api::task::ConditionType;
use serde_json::Value;

use crate::{
    connection::{Call, Verb},
    judge::status_of,
    objects::{Kind, has_finalizers, is_going, is_terminal},
    troubles::TASK,
    world::{Event, World},
};

/// How soon a refusal must be told, in milliseconds.
const TOLD_WITHIN: u64 = 20_000;
/// How soon a write must be tried again that is not refused any more, and what was told taken back; with what a plan takes.
const TRIED_WITHIN: u64 = 65_000 + 3000;
/// How often that is asked.
const ASKED_EVERY: u64 = 5000;

/// The writes that were refused and not tried since.
#[derive(Default)]
pub(crate) struct Refusals {
    open: Vec<Refused>,
    /// Until when something else than a policy may keep the operators from what is asked of them.
    disturbed_until: u64,
    /// When a status was refused last.
    status_refused_at: u64,
    /// When any write was refused last.
    refused_at: u64,
}

/// A write that was refused.
#[derive(Clone)]
struct Refused {
    call: Call,
    since: u64,
    policy: usize,
    /// The object that it is about, or the task of the pod that it would make, as it was when it was last refused.
    object: Value,
}

impl Refused {
    fn is_same(&self, call: &Call) -> bool {
        self.call.verb == call.verb
            && self.call.kind == call.kind
            && self.call.name == call.name
            && self.call.asked_deadline().is_some() == call.asked_deadline().is_some()
    }
}

impl World {
    /// Something else than a policy is in an operator's way, up to this moment.
    pub(crate) fn disturb_until(&mut self, until: u64) {
        let refusals = &mut self.judge.refusals;
        refusals.disturbed_until = refusals.disturbed_until.max(until);
    }

    pub(crate) fn disturb(&mut self) {
        self.disturb_until(self.now());
    }

    /// A write of an operator is answered, by a policy or by what came of it.
    pub(crate) fn note_answer(&mut self, call: &Call, policy: Option<usize>) {
        let now = self.now();
        let refusals = &mut self.judge.refusals;
        let known = refusals.open.iter().find(|refused| refused.is_same(call)).map(|refused| refused.since);
        let in_the_way = refusals.disturbed_until.max(refusals.status_refused_at);
        let since = known.filter(|since| *since > in_the_way).unwrap_or(now);
        refusals.open.retain(|refused| !refused.is_same(call));
        let Some(policy) = policy else { return };
        let object = match call.verb {
            Verb::Create => self.store.get(Kind::Task, TASK),
            _ => call.kind.and_then(|kind| self.store.get(kind, &call.name)),
        };
        let object = object.cloned().unwrap_or_default();
        let refusals = &mut self.judge.refusals;
        refusals.refused_at = now;
        if call.kind == Some(Kind::Task) && call.is_status {
            refusals.status_refused_at = now;
        }
        refusals.open.push(Refused { call: call.clone(), since, policy, object });
    }

    /// Whether what was refused is still to be done, as far as that is certain.
    fn is_needed(&self, refused: &Refused) -> bool {
        let Refused { call, object, .. } = refused;
        let Some(kind) = call.kind else { return false };
        if call.verb == Verb::Create {
            return self.is_to_be_created(refused);
        }
        let Some(now) =
            self.store.get(kind, &call.name).filter(|now| now["metadata"]["uid"] == object["metadata"]["uid"])
        else {
            return false;
        };
        let is_as_it_was = now == object;
        match (kind, call.verb) {
            (Kind::Pod, Verb::Patch) => match call.asked_deadline() {
                Some(asked) => {
                    let is_lowered = now["spec"]["activeDeadlineSeconds"].as_i64().is_some_and(|has| has <= asked);
                    !is_lowered && !is_going(now) && !is_terminal(now)
                }
                None => has_finalizers(now),
            },
            // How many ended pods are too many hangs on the others.
            (Kind::Pod, Verb::Delete) => is_as_it_was && !is_going(now) && !is_terminal(now),
            // From an old reading, it may not be needed any more when the newer one is there.
            (Kind::Task, Verb::Replace) => {
                is_as_it_was
                    && !is_going(now)
                    && call.body["metadata"]["resourceVersion"] == now["metadata"]["resourceVersion"]
            }
            _ => is_as_it_was && !is_going(now),
        }
    }

    fn is_to_be_created(&self, refused: &Refused) -> bool {
        let Some(task) = self.store.get(Kind::Task, TASK).filter(|task| !is_going(task)) else { return false };
        let attempt = &task["status"]["currentAttempt"];
        task["spec"] == refused.object["spec"]
            && attempt["state"] == "Creating"
            && attempt["podName"] == refused.call.name.as_str()
            && self.store.all(Kind::Pod).all(is_terminal)
    }

    /// Asks all of it, every now and then.
    pub(crate) fn inspect(&mut self) {
        self.happen_in(ASKED_EVERY, Event::Inspect);
        self.miss_agents();
        let now = self.now();
        let quiet_since = self.judge.refusals.disturbed_until;
        let is_task_there = self.store.get(Kind::Task, TASK).is_some_and(|task| !is_going(task));
        for refused in self.judge.refusals.open.clone() {
            let over_since = self.policies.all[refused.policy].until;
            if !self.is_needed(&refused) {
                continue;
            }
            let what = format!("{:?} {} {}", refused.call.verb, refused.call.name, refused.call.body);
            // Whatever it is, the status comes first.
            let in_the_way = quiet_since.max(self.judge.refusals.status_refused_at);
            if now > in_the_way.max(over_since) + TRIED_WITHIN {
                self.accuse(format!(
                    "I15: {what:.120} is not tried again, although it is not refused since {over_since}"
                ));
            }
            let is_change_of_pod = refused.call.kind == Some(Kind::Pod) && refused.call.verb != Verb::Create;
            let could_be_told = quiet_since < refused.since && self.judge.refusals.status_refused_at < refused.since;
            if is_change_of_pod
                && is_task_there
                && could_be_told
                && now > refused.since + TOLD_WITHIN
                // In whatever words: those of an earlier refusal of the same change stay.
                && self.shown_refusal().is_none()
            {
                self.accuse(format!(
                    "I15: {what:.120} is refused since {}, and the status does not say so",
                    refused.since
                ));
            }
        }
        let is_quiet = now > quiet_since.max(self.judge.refusals.refused_at) + TRIED_WITHIN;
        if is_quiet && is_task_there && self.shown_refusal().is_some() {
            self.accuse("I15: the status tells of a refused write although nothing is refused any more".to_owned());
        }
    }

    /// What the status tells of a write that is refused.
    pub(crate) fn shown_refusal(&self) -> Option<String> {
        let status = status_of(self.store.get(Kind::Task, TASK)?);
        let shown = longtask::types::find_condition(&status.conditions, ConditionType::WriteRefused);
        shown.filter(|shown| shown.status == "True").map(|shown| shown.message.clone())
    }
}
