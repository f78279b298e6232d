//! What the cluster's policies refuse: one sort of write for a while, and now and then a single request.
//!
//! Drawn from dice of their own, as is all that came later than the rest of the weather: what the first dice decide in a
//! seed stays as it was.

use crate::{
    connection::{Call, Verb},
    dice::Dice,
    faults::Weather,
    objects::{Answer, Kind, failure},
    world::World,
};

/// The codes by which policies, webhooks, proxies and quotas refuse.
const CODES: [u16; 10] = [400, 401, 403, 404, 409, 413, 422, 429, 500, 503];

/// What the API server says of a single request that it refuses.
pub(crate) const DRAWN: &str = "it has been drawn";

/// What else a seed has.
#[derive(Clone, Debug)]
pub(crate) struct Policies {
    dice: Dice,
    /// Of a thousand requests, those that are refused by themselves.
    one_off: u64,
    pub(crate) all: Vec<Policy>,
    /// Whether pods have generations that their kubelets tell of: not before Kubernetes 1.35.
    pub(crate) has_generations: bool,
    /// When the user saves the task, and when he writes it back as it was.
    pub(crate) backup: Option<(u64, u64)>,
    /// How often somebody deletes all pods that have ended.
    pub(crate) clean_up: Option<u64>,
}

/// What refuses writes of one sort for a while.
#[derive(Clone, Debug)]
pub(crate) struct Policy {
    sort: Sort,
    from: u64,
    pub(crate) until: u64,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    CreatePod,
    PatchPod,
    DeletePod,
    ReplaceStatus,
    DeleteTask,
    WritePods,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Refuses(u16),
    /// It answers 200, and the change is not there.
    TakesBack,
}

impl Policies {
    pub(crate) fn draw(seed: u64, weather: &Weather) -> Self {
        let mut dice = Dice::from_seed(seed ^ 0x0001_9057_ac75_f0e3);
        let has_generations = dice.happens(750);
        let one_off = dice.one_of(&[0, 0, 10, 40]);
        let number = if dice.happens(500) { dice.between(1, 4) } else { 0 };
        let all = (0..number).map(|_| Policy::draw(&mut dice, weather.peace_at)).collect();
        let backup = dice.happens(150).then(|| {
            let saved = dice.between(10_000, weather.peace_at);
            (saved, dice.between(saved, weather.peace_at))
        });
        let clean_up = dice.happens(250).then(|| dice.between(3000, 60_000));
        Self { dice, one_off, all, has_generations, backup, clean_up }
    }

    /// Whether a task is deleted when it has ended: where that is refused for a while.
    pub(crate) fn has_ttl(&self) -> bool {
        self.all.iter().any(|policy| policy.sort == Sort::DeleteTask)
    }
}

impl Policy {
    fn draw(dice: &mut Dice, peace_at: u64) -> Self {
        let sort = dice.one_of(&[
            Sort::CreatePod,
            Sort::PatchPod,
            Sort::PatchPod,
            Sort::DeletePod,
            Sort::ReplaceStatus,
            Sort::DeleteTask,
            Sort::WritePods,
        ]);
        let from = dice.between(0, peace_at);
        let lasts = dice.one_of(&[5000, 30_000, 90_000, 300_000]);
        let takes_back = sort == Sort::PatchPod && dice.happens(250);
        let code = dice.one_of(&CODES);
        let form = if takes_back { Form::TakesBack } else { Form::Refuses(code) };
        Self { sort, from, until: (from + lasts).min(peace_at), form }
    }

    fn forbids(&self, call: &Call) -> bool {
        let is_of = |kind, verb| call.kind == Some(kind) && call.verb == verb;
        match self.sort {
            Sort::CreatePod => is_of(Kind::Pod, Verb::Create),
            Sort::PatchPod => is_of(Kind::Pod, Verb::Patch),
            Sort::DeletePod => is_of(Kind::Pod, Verb::Delete),
            Sort::ReplaceStatus => is_of(Kind::Task, Verb::Replace) && call.is_status,
            Sort::DeleteTask => is_of(Kind::Task, Verb::Delete),
            Sort::WritePods => call.kind == Some(Kind::Pod) && call.is_write(),
        }
    }
}

impl World {
    /// Which policy does not let this happen, if one does, and what it answers.
    pub(crate) fn policy_against(&self, call: &Call) -> Option<(usize, Answer)> {
        let now = self.now();
        let is_at_work = |policy: &Policy| (policy.from..policy.until).contains(&now) && !self.is_peace;
        let (number, policy) =
            self.policies.all.iter().enumerate().find(|(_, one)| is_at_work(one) && one.forbids(call))?;
        let answer = match policy.form {
            Form::Refuses(code) => failure(code, "", &format!("policy {number} does not allow this")),
            Form::TakesBack => self.get(Kind::Pod, &call.name),
        };
        Some((number, answer))
    }

    /// The code by which this very request is refused, if it is. A read is not answered with 404: what is not there is a
    /// fact, and nobody refuses by it.
    pub(crate) fn one_off_refusal(&mut self, is_write: bool) -> Option<u16> {
        let policies = &mut self.policies;
        let is_refused = policies.one_off > 0 && policies.dice.happens(policies.one_off);
        is_refused.then(|| policies.dice.one_of(&CODES)).filter(|code| is_write || *code != 404)
    }
}
