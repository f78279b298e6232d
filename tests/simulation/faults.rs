//! What a seed lets go wrong on the way between an operator and the API server.

use crate::{dice::Dice, world::World};

/// What can go wrong in this simulation, and how often. Drawn once, so that some seeds are calm and others are not.
#[derive(Clone, Debug)]
pub(crate) struct Weather {
    pub(crate) replicas: usize,
    pub(crate) has_lease: bool,
    pub(crate) has_scope: bool,
    /// Until when there is trouble, in milliseconds.
    pub(crate) peace_at: u64,
    /// Of a thousand requests, those that go wrong.
    pub(crate) requests: u64,
    /// Of a thousand requests, those after or before which the operator crashes.
    pub(crate) crashes: u64,
    /// Of a thousand events of a watch, those that come late, and those after which it breaks.
    pub(crate) watches: u64,
    /// Of a thousand pods, those that go wrong by themselves.
    pub(crate) programs: u64,
    /// The longest pause between two troubles, in milliseconds.
    pub(crate) pause: u64,
    /// Whether clocks jump.
    pub(crate) has_wrong_clocks: bool,
    /// How many seconds the program has to run in all.
    pub(crate) work: u64,
    /// By how much the nodes' clock is ahead, in milliseconds.
    pub(crate) nodes_ahead: i64,
}

impl Weather {
    pub(crate) fn draw(dice: &mut Dice) -> Self {
        let has_lease = dice.happens(700);
        let has_wrong_clocks = dice.happens(250);
        let ahead = i64::try_from(dice.between(0, 10_000)).expect("small") - 5000;
        Self {
            replicas: if dice.happens(400) { 2 } else { 1 },
            has_lease,
            has_scope: dice.happens(500),
            peace_at: dice.between(60, 900) * 1000,
            requests: dice.one_of(&[0, 20, 60, 150]),
            crashes: dice.one_of(&[0, 5, 15, 40]),
            watches: dice.one_of(&[0, 30, 100, 250]),
            programs: dice.one_of(&[0, 200, 500]),
            pause: dice.one_of(&[10_000, 40_000, 120_000]),
            has_wrong_clocks,
            work: dice.between(5, 300),
            nodes_ahead: if has_wrong_clocks { ahead } else { 0 },
        }
    }
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Fate {
    /// How long it takes to arrive, and how long its answer takes, in milliseconds.
    pub(crate) there: u64,
    pub(crate) back: u64,
    pub(crate) trouble: Trouble,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// The operator crashes instead of sending it.
    CrashBefore,
    /// It takes effect, and the operator crashes before it hears of it.
    CrashAfter,
    /// It takes effect, and no answer comes.
    NoAnswer,
    /// It takes effect, and the connection breaks.
    Broken,
    /// It never arrives.
    Lost,
    /// The API server refuses it without any effect.
    Refused(u16),
}

/// How long an operator may wait for an answer, in milliseconds.
const LONGEST_CALL: u64 = 12_000;

impl World {
    pub(crate) fn fate(&mut self, slot: usize, is_write: bool) -> Fate {
        let (there, back) = (self.travel(), self.travel());
        let trouble = if self.is_peace {
            Trouble::None
        } else if self.now() < self.slots[slot].cut_off_until {
            Trouble::Lost
        } else if self.dice.happens(self.weather.crashes) {
            self.dice.one_of(&[Trouble::CrashBefore, Trouble::CrashAfter])
        } else if self.dice.happens(self.weather.requests) {
            let refusals = if is_write { &[409, 429, 500, 503, 504][..] } else { &[429, 500, 503, 504][..] };
            let refused = Trouble::Refused(self.dice.one_of(refusals));
            self.dice.one_of(&[Trouble::NoAnswer, Trouble::Broken, Trouble::Lost, refused, refused, refused])
        } else {
            self.one_off_refusal(is_write).map_or(Trouble::None, Trouble::Refused)
        };
        if trouble != Trouble::None || there + back > 1000 {
            self.disturb_until(self.now() + there + back + LONGEST_CALL);
        }
        Fate { there, back, trouble }
    }

    /// Mostly fast. Seldom so slow that whoever waits may give up; but not as slow as to outlive a lease, and without
    /// a lease not so slow that a process could be gone and another at work: a create that comes that late is what
    /// leases are for.
    fn travel(&mut self) -> u64 {
        let is_bad = !self.is_peace && self.weather.requests > 0;
        match self.dice.between(0, 99) {
            0 if is_bad && self.weather.has_lease => self.dice.between(1000, 8000),
            0..10 if is_bad => self.dice.between(100, 900),
            _ => self.dice.between(1, 15),
        }
    }
}
