//! What a seed has of reports that come while the program runs: whether its task wants them, how its programs speak, and
//! what happens to agents and to posts.
//!
//! Drawn from dice of their own: a seed without such a task is the seed that it was before there were any.

use serde_json::{Value, json};

use crate::{
    dice::Dice,
    objects::Kind,
    program::Manner,
    troubles::TASK,
    world::{Event, World},
};

/// Where a task can store its checkpoints.
pub(crate) const STORES: [&str; 2] = ["s3://bucket/runs", "s3://other"];

/// What a seed has of reports.
#[derive(Clone, Debug)]
pub(crate) struct Mail {
    dice: Dice,
    /// Whether the task is to report while it runs.
    pub(crate) is_live: bool,
    /// Whether the task is to store its checkpoints. Drawn from dice of their own again, as all that goes with it.
    pub(crate) has_store: bool,
    history_limit: u64,
    start_timeout: u64,
    interval: u64,
    heartbeat_timeout: Option<u64>,
    duration: u64,
    /// Of a thousand posts, those that something happens to.
    posts: u64,
    /// Of a thousand agents, those that have no luck.
    agents: u64,
    /// Of a thousand programs, those that fall silent.
    programs: u64,
    /// The longest pause between two troubles of this sort, in milliseconds.
    pause: u64,
    /// Whether posts reach an operator that the API server does not.
    reaches_those_cut_off: bool,
    /// Until when no post gets through.
    cut_until: u64,
}

/// How an agent fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Luck {
    /// Nothing that it posts arrives.
    pub(crate) is_never_heard: bool,
    pub(crate) word: Word,
    /// How long after the last program the kubelet tells it to stop, in milliseconds.
    pub(crate) told_after: u64,
    /// How long before a program that uses up its grace.
    pub(crate) told_before: u64,
}

/// What becomes of an agent's last word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Whole,
    /// Other containers have taken so much of the room for it that no more than so many bytes are kept.
    Cut(usize),
    /// The container runtime knows nothing of it.
    Absent,
}

/// What happens to a post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PostFate {
    Arrives,
    Lost,
    /// It arrives so many milliseconds later, when nobody waits for an answer any more.
    Late(u64),
    /// It arrives, and so many milliseconds later once more.
    Twice(u64),
    /// It arrives, and its answer does not.
    Unanswered,
}

impl Mail {
    pub(crate) fn draw(seed: u64) -> Self {
        let mut dice = Dice::from_seed(seed ^ 0x0047_ab31_9e5d_c2f7);
        let mut of_store = Dice::from_seed(seed ^ 0x0018_d6f2_5b07_e94c);
        Self {
            has_store: of_store.happens(333),
            history_limit: of_store.one_of(&[0, 1, 3]),
            start_timeout: of_store.one_of(&[20, 60, 120]),
            is_live: dice.happens(500),
            interval: dice.one_of(&[5, 5, 10, 30]),
            heartbeat_timeout: dice.happens(600).then(|| dice.one_of(&[30, 30, 45, 90])),
            duration: dice.between(20, 300),
            posts: dice.one_of(&[0, 50, 150, 400]),
            agents: dice.one_of(&[0, 200, 500]),
            programs: dice.one_of(&[0, 200, 500]),
            pause: dice.one_of(&[10_000, 40_000, 120_000]),
            reaches_those_cut_off: dice.happens(500),
            cut_until: 0,
            dice,
        }
    }

    /// Of a seed whose task reports when its attempts end, and stores nothing.
    pub(crate) fn none(seed: u64) -> Self {
        Self { is_live: false, has_store: false, ..Self::draw(seed) }
    }

    /// Whether its pods have agents.
    pub(crate) fn has_agents(&self) -> bool {
        self.is_live || self.has_store
    }

    /// Writes what the task wants into its specification.
    pub(crate) fn ask_for(&self, spec: &mut Value) {
        if self.has_store {
            spec["checkpoint"] = json!({ "store": { "url": STORES[0] }, "historyLimit": self.history_limit });
            spec["segment"]["startTimeout"] = json!(format!("{}s", self.start_timeout));
        }
        if !self.is_live {
            return;
        }
        spec["reporting"] = json!({ "mode": "Live", "interval": format!("{}s", self.interval) });
        spec["segment"]["duration"] = json!(format!("{}s", self.duration));
        if let Some(timeout) = self.heartbeat_timeout {
            spec["segment"]["heartbeatTimeout"] = json!(format!("{timeout}s"));
        }
    }

    /// How a program speaks that has an agent.
    pub(crate) fn draw_manner(&mut self, is_peace: bool) -> Manner {
        let (programs, dice) = (if is_peace { 0 } else { self.programs }, &mut self.dice);
        let hangs_after = dice.happens(programs / 2).then(|| dice.between(0, 60_000));
        let silence = dice.happens(programs).then(|| {
            let from = dice.between(0, 60_000);
            (from, from + dice.between(20_000, 150_000))
        });
        Manner {
            hangs_after,
            obeys_when_hung: dice.happens(500),
            silence,
            announces: dice.happens(600),
            touches: dice.happens(300),
            result: dice.one_of(&[None, Some(20), Some(3200), Some(6000)]),
            has_result_early: dice.happens(300),
            ends_in_message: dice.happens(150),
        }
    }

    pub(crate) fn draw_luck(&mut self, is_peace: bool) -> Luck {
        let (agents, dice) = (if is_peace { 0 } else { self.agents }, &mut self.dice);
        let (is_never_heard, is_unlucky) = (dice.happens(agents / 3), dice.happens(agents));
        let word = if is_unlucky {
            dice.one_of(&[Word::Whole, Word::Cut(3072), Word::Cut(1024), Word::Absent])
        } else {
            Word::Whole
        };
        Luck { is_never_heard, word, told_after: dice.between(150, 2300), told_before: dice.between(0, 1000) }
    }
}

impl World {
    /// What happens to a post of this pod to the operator in that slot, and how long it takes on its way and back.
    pub(crate) fn post_fate(&mut self, uid: &str, slot: usize) -> (u64, u64, PostFate) {
        let is_never_heard =
            self.lives.get(uid).and_then(|life| life.agent.as_ref()).is_some_and(|agent| agent.luck.is_never_heard);
        let now = self.now();
        let is_cut_off = now < self.slots[slot].cut_off_until && !self.mail.reaches_those_cut_off;
        let is_cut = is_cut_off || is_never_heard || now < self.mail.cut_until;
        let (is_peace, Mail { dice, posts, .. }) = (self.is_peace, &mut self.mail);
        let mut travel = || if !is_peace && dice.happens(100) { dice.between(100, 4000) } else { dice.between(1, 15) };
        let (there, back) = (travel(), travel());
        let fate = if is_peace || !(is_cut || dice.happens(*posts)) {
            PostFate::Arrives
        } else if is_cut {
            PostFate::Lost
        } else {
            let later = dice.one_of(&[6000, 20_000, 120_000]);
            let later = dice.between(1, later);
            dice.one_of(&[
                PostFate::Lost,
                PostFate::Late(later),
                PostFate::Late(later),
                PostFate::Twice(later),
                PostFate::Unanswered,
            ])
        };
        (there, back, fate)
    }

    /// Something happens to an agent or on the way from it, or the user changes what he wants of reports.
    pub(crate) fn trouble_the_mail(&mut self) {
        if self.is_peace {
            return;
        }
        let pause = self.mail.dice.between(200, self.mail.pause);
        self.happen_in(pause, Event::MailTrouble);
        match self.mail.dice.between(0, 11) {
            0..=3 => {
                let running =
                    self.lives.iter().filter(|(_, life)| life.agent_runs()).max_by_key(|(_, life)| life.serial);
                if let Some(uid) = running.map(|(uid, _)| uid.clone()) {
                    self.kill_agent(&uid);
                }
            }
            4 | 5 => {
                self.mail.cut_until = self.now() + self.mail.dice.between(1000, 120_000);
                let until = self.mail.cut_until;
                self.tell("network", format!("takes no posts until {until}"));
            }
            6 | 7 => {
                let timeout = self.mail.dice.one_of(&[30, 45, 90, 300]);
                if self.wants_live() && self.mail.heartbeat_timeout.is_some() {
                    self.edit(&format!("sets heartbeatTimeout {timeout}s"), |spec| {
                        spec["segment"]["heartbeatTimeout"] = json!(format!("{timeout}s"));
                    });
                }
            }
            8 => {
                let interval = self.mail.dice.one_of(&[5, 10, 30]);
                self.edit(&format!("sets interval {interval}s"), |spec| {
                    spec["reporting"]["interval"] = json!(format!("{interval}s"));
                });
            }
            9 if self.wants_live() => self.edit("wants reports at the end only", |spec| {
                spec["reporting"]["mode"] = json!("AtExit");
                if let Some(segment) = spec["segment"].as_object_mut() {
                    segment.remove("heartbeatTimeout");
                }
            }),
            9 => self.edit("wants reports while it runs", |spec| spec["reporting"]["mode"] = json!("Live")),
            _ => {}
        }
    }

    fn wants_live(&self) -> bool {
        self.store.get(Kind::Task, TASK).is_some_and(|task| task["spec"]["reporting"]["mode"] == "Live")
    }

    /// Posts get through again.
    pub(crate) fn mend_the_mail(&mut self) {
        self.mail.cut_until = 0;
    }
}
