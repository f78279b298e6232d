//! The agents in pods: the real mailbox and the real office, beside a kubelet that starts, stops and restarts them.

use std::{future, sync::Arc, time::Duration};

use jiff::Timestamp;
use longtask::{
    contract::{
        agent::{self, Settings},
        report::{Report, ReportedCheckpoint, Via},
    },
    task::controller::PodIdentity,
};
use serde_json::{Value, json};
use tokio::{
    select,
    sync::{Notify, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep_until, timeout_at},
};

use crate::{
    clock::Clock,
    defects,
    kept::Kept,
    kubelet::{Main, Node, PodLife, SHORTEST_GRACE},
    mail::{Luck, Word},
    mailbox::Mailbox,
    office::{Known, Newest, Office},
    posts::Line,
    program::Sign,
    report_file::{Reading, ReportFile},
    restoring::{settings_of, uid_of_saves},
    store::{
        directory::place_in,
        open::Opened,
        saver::{Demand, Saver, Standing},
        way::Way,
    },
    world::{Event, Shared, World, moment_of},
};

/// How long the kubelet waits before it starts an agent again that has died, the second time, in milliseconds. It doubles.
const BACK_OFF: u64 = 10_000;
/// The longest that it waits.
const LONGEST_BACK_OFF: u64 = 300_000;

/// The agent in a pod.
#[derive(Clone, Debug)]
pub(crate) struct AgentLife {
    settings: Settings,
    pub(crate) luck: Luck,
    pub(crate) file: ReportFile,
    /// Up to when the program has written what it writes.
    written_to: u64,
    state: State,
    /// When it was told to stop, and when it is killed if it does not.
    told: Option<Told>,
    /// How often it was started.
    process: u32,
    signals: Arc<Signals>,
    /// What it keeps for the next one.
    kept: Option<Kept>,
    /// Its termination message.
    word: String,
    /// That of the one before it.
    word_before: Option<String>,
    deaths: u32,
    /// Whether its last word has been told to the API server, as it is or cut.
    pub(crate) is_word_told: bool,
    /// Whether the operator has told it to post no more.
    pub(crate) is_told_off: bool,
    /// Whether its process has heard that.
    pub(crate) has_heard_off: bool,
    /// What it knows.
    pub(crate) knows: Report,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It starts then, unless its pod ends before; none while no kubelet has seen the pod.
    Starts {
        at: Option<u64>,
    },
    Runs {
        since: u64,
    },
    Ended {
        at: u64,
        code: Option<i32>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    at: u64,
    kill_at: u64,
}

/// What the kubelet sends to an agent's process.
#[derive(Debug, Default)]
struct Signals {
    terminate: Notify,
    kill: Notify,
}

impl AgentLife {
    /// The agent that a pod was made with.
    pub(crate) fn of(pod: &Value, luck: Luck) -> Option<Self> {
        Some(Self {
            settings: settings_of(pod, agent::CONTAINER)?,
            luck,
            file: ReportFile::default(),
            written_to: 0,
            state: State::Starts { at: None },
            told: None,
            process: 0,
            signals: Arc::default(),
            kept: None,
            word: String::new(),
            word_before: None,
            deaths: 0,
            is_word_told: false,
            is_told_off: false,
            has_heard_off: false,
            knows: Report::default(),
        })
    }

    /// The kubelet starts it when it has seen the pod.
    pub(crate) fn starts_at(&mut self, at: u64) {
        self.state = State::Starts { at: Some(at) };
    }

    fn runs(&self) -> bool {
        matches!(self.state, State::Runs { .. })
    }

    pub(crate) fn has_store(&self) -> bool {
        self.settings.store.is_some()
    }

    /// When it had ended for good.
    pub(crate) fn ended_at(&self) -> Option<u64> {
        match self.state {
            State::Ended { at, .. } => Some(at),
            State::Starts { .. } | State::Runs { .. } => None,
        }
    }

    /// What of it the kubelet tells when it changes.
    pub(crate) fn shown(&self) -> (u32, u32, bool) {
        (self.process, self.deaths, self.ended_at().is_some())
    }

    /// The checkpoint that it knows.
    pub(crate) fn checkpoint(&self) -> Option<u64> {
        match self.knows.checkpoint.as_ref()? {
            ReportedCheckpoint::Data(data) => data["n"].as_u64(),
            ReportedCheckpoint::Reference { path, .. } => place_in(path.as_ref()?),
        }
    }

    /// Its status in the pod, as the kubelet tells it.
    pub(crate) fn status(&mut self, by_node: &impl Fn(u64) -> Value) -> Value {
        let ended = |message: &str| json!({ "exitCode": 137, "reason": "Error", "message": message });
        let unknown = json!({ "terminated": {
            "exitCode": 137, "reason": "ContainerStatusUnknown", "message": "The container could not be located",
        } });
        let is_absent = self.luck.word == Word::Absent;
        let state = match self.state {
            State::Starts { .. } if self.deaths > 0 => json!({ "waiting": { "reason": "CrashLoopBackOff" } }),
            State::Starts { .. } => json!({ "waiting": { "reason": "PodInitializing" } }),
            State::Runs { since } => json!({ "running": { "startedAt": by_node(since) } }),
            // What has never run is not lost. Of a pod without a store, the kubelet says so all the same here.
            State::Ended { code: None, .. } if self.process == 0 && self.has_store() => {
                json!({ "waiting": { "reason": "PodInitializing" } })
            }
            State::Ended { code: None, .. } => unknown,
            State::Ended { .. } if is_absent => unknown,
            State::Ended { at, code: Some(code) } => {
                self.is_word_told = true;
                json!({ "terminated": {
                    "exitCode": code, "reason": if code == 0 { "Completed" } else { "Error" },
                    "message": self.kept_of(&self.word), "finishedAt": by_node(at),
                } })
            }
        };
        let before = self.word_before.as_ref().filter(|_| !is_absent).map(|word| ended(&self.kept_of(word)));
        json!({
            "name": agent::CONTAINER, "image": "i", "imageID": "", "ready": self.runs(), "started": self.runs(),
            "restartCount": self.deaths, "state": state, "lastState": before.map_or(json!({}), |end| json!({ "terminated": end })),
        })
    }

    /// What the kubelet keeps of a message.
    fn kept_of(&self, message: &str) -> String {
        match self.luck.word {
            Word::Cut(bytes) => message.get(..bytes).unwrap_or(message).to_owned(),
            Word::Whole | Word::Absent => message.to_owned(),
        }
    }

    fn wait_after_death(&self) -> u64 {
        match self.deaths {
            0 | 1 => 1000,
            more => (BACK_OFF << (more - 2).min(10)).min(LONGEST_BACK_OFF),
        }
    }
}

impl PodLife {
    pub(crate) fn agent_runs(&self) -> bool {
        self.agent.as_ref().is_some_and(AgentLife::runs)
    }

    /// The program has written all that it writes up to this moment.
    pub(crate) fn speak(&mut self, now: u64) {
        let (since, until) = match &self.main {
            Main::Waiting { .. } => return,
            Main::Running { since } => (*since, self.main_ends_at(*since).map_or(now, |(at, _)| at.min(now))),
            Main::Ended(end) => (end.since.unwrap_or(end.at), end.at.min(now)),
        };
        let Some(agent) = &mut self.agent else { return };
        let from = agent.written_to.max(since);
        for (at, sign) in self.program.signs(since, from, until) {
            match sign {
                Sign::Line(line) => agent.file.write(at, &line),
                Sign::Touch => agent.file.touch(at),
            }
        }
        agent.written_to = until.max(from);
    }

    /// The program has ended, and has written its last lines.
    pub(crate) fn speak_last(&mut self) {
        let Main::Ended(end) = &self.main else { return };
        let (at, lines) = (end.at, self.program.last_lines(end));
        self.speak(at);
        if let Some(agent) = &mut self.agent {
            for line in &lines {
                agent.file.write(at, line);
            }
        }
    }

    /// When the kubelet tells the agent to stop: behind all others, or with a program that uses up its grace.
    fn agent_told_at(&self) -> Option<u64> {
        let luck = self.agent.as_ref()?.luck;
        match &self.main {
            Main::Waiting { .. } => self.stop.map(|stop| stop.at),
            Main::Running { since } => {
                let stop = self.stop.filter(|_| !self.program.has_sidecar)?;
                let (ends_at, is_own) = self.main_ends_at(*since)?;
                let uses_it_up = !is_own && ends_at >= stop.kill_at;
                uses_it_up.then(|| stop.kill_at.saturating_sub(luck.told_before).max(stop.at))
            }
            Main::Ended(_) => {
                let regular_end = self.regular_end_at()?;
                let is_stopped = self.stop.is_some_and(|stop| stop.at <= regular_end);
                Some(regular_end + if is_stopped { luck.told_after / 10 } else { luck.told_after })
            }
        }
    }

    /// When something happens to the agent next.
    pub(crate) fn next_of_agent(&self) -> Option<u64> {
        let agent = self.agent.as_ref()?;
        match (agent.state, agent.told) {
            (State::Ended { .. }, _) => None,
            (State::Starts { at }, _) => [at, self.regular_end_at()].into_iter().flatten().min(),
            (State::Runs { .. }, Some(told)) => Some(told.kill_at),
            (State::Runs { .. }, None) => self.agent_told_at(),
        }
    }
}

impl World {
    /// What the kubelet does about the agent in a pod.
    pub(crate) fn keep_agent(&mut self, uid: &str, life: &mut PodLife, now: u64) {
        let (told_at, regular_end) = (life.agent_told_at(), life.regular_end_at().filter(|at| *at <= now));
        let (stop, grace, name) = (life.stop, life.grace, life.name.clone());
        let Some(agent) = &mut life.agent else { return };
        match agent.state {
            State::Starts { .. } if regular_end.is_some() => agent.state = State::Ended { at: now, code: None },
            State::Starts { at: Some(at) } if at <= now && stop.is_none() => {
                agent.state = State::Runs { since: now };
                agent.process += 1;
                agent.signals = Arc::default();
                agent.has_heard_off = false;
                self.tell("kubelet", format!("{name}: agent runs"));
                self.happen_in(0, Event::StartAgent(uid.to_owned()));
            }
            State::Runs { .. } if agent.told.is_none() && told_at.is_some_and(|at| at <= now) => {
                let kill_at = match stop.filter(|stop| stop.at <= now) {
                    Some(stop) => stop.kill_at.max(now + SHORTEST_GRACE),
                    None => now + grace,
                };
                agent.told = Some(Told { at: now, kill_at });
                agent.signals.terminate.notify_one();
                self.tell("kubelet", format!("{name}: SIGTERM to the agent"));
            }
            State::Runs { .. } if agent.told.is_some_and(|told| told.kill_at <= now) => {
                agent.state = State::Ended { at: now, code: Some(137) };
                agent.signals.kill.notify_one();
                self.tell("kubelet", format!("{name}: SIGKILL to the agent"));
            }
            State::Starts { .. } | State::Runs { .. } | State::Ended { .. } => {}
        }
    }

    /// The agent dies. The kubelet starts another one, unless the pod is on its way out.
    pub(crate) fn kill_agent(&mut self, uid: &str) {
        let now = self.now();
        let Some(life) = self.lives.get_mut(uid) else { return };
        let is_leaving = life.stop.is_some() || matches!(life.main, Main::Ended(_));
        let name = life.name.clone();
        let Some(agent) = life.agent.as_mut().filter(|agent| agent.runs()) else { return };
        agent.signals.kill.notify_one();
        agent.deaths += 1;
        if is_leaving {
            agent.state = State::Ended { at: now, code: Some(137) };
        } else {
            agent.state = State::Starts { at: Some(now + agent.wait_after_death()) };
            agent.word_before = Some(std::mem::take(&mut agent.word));
        }
        self.tell("agent", format!("of {name} is killed"));
        self.happen_in(0, Event::Kubelet(uid.to_owned()));
        self.happen_in(20, Event::Publish(uid.to_owned()));
    }

    fn agent_ends(&mut self, uid: &str, process: u32) {
        let now = self.now();
        let Some(life) = self.lives.get_mut(uid) else { return };
        let Some(agent) = life.agent.as_mut().filter(|agent| agent.process == process && agent.runs()) else { return };
        agent.state = State::Ended { at: now, code: Some(0) };
        let name = life.name.clone();
        self.tell("agent", format!("of {name} ends"));
        self.happen_in(0, Event::Kubelet(uid.to_owned()));
    }
}

/// Starts the process of an agent.
pub(crate) fn start(world: &Shared, uid: &str) {
    let (process, saver, signals) = {
        let shared = world.lock();
        let Some(life) = shared.lives.get(uid) else { return };
        let Some(agent) = life.agent.as_ref().filter(|agent| agent.runs()) else { return };
        let pod = PodIdentity { namespace: "n".into(), name: life.name.clone(), uid: uid.to_owned() };
        let mut settings = agent.settings.clone();
        if let Some(store) = &mut settings.store {
            defects::misread(store, shared.defect);
        }
        let kept = agent.kept.clone().unwrap_or_default();
        let process = Process {
            world: world.clone(),
            pod,
            number: agent.process,
            mailbox: Mailbox::of(&kept, settings.store.is_some()),
            reading: Reading::from(kept.position),
            left: None,
            told: None,
            newest: watch::Sender::new(Newest::default()),
            demand: watch::Sender::new(Demand::default()),
            settings,
        };
        let (began, ahead) = (shared.began(), shared.weather.nodes_ahead);
        let clock = Clock::from_fn(move || {
            moment_of(u64::try_from(began.elapsed().as_millis()).expect("not that long"), ahead)
        });
        let saver = process.settings.store.as_ref().map(|store| {
            let opened = Opened { store: Arc::new(Way::new(world, uid)) };
            Saver::with(store, &uid_of_saves(uid), &clock, move || Ok(opened.clone()))
        });
        (process, saver, Arc::clone(&agent.signals))
    };
    tokio::spawn(async move {
        select! {
            biased;
            () = signals.kill.notified() => {}
            () = process.run(saver, &signals) => {}
        }
    });
}

/// One process of an agent. What its `run.rs` does, on files in memory.
struct Process {
    world: Shared,
    pod: PodIdentity,
    number: u32,
    settings: Settings,
    mailbox: Mailbox,
    reading: Reading,
    /// The revision that the last word has.
    left: Option<i64>,
    /// The checkpoint that the program was told of as safe.
    told: Option<String>,
    newest: watch::Sender<Newest>,
    demand: watch::Sender<Demand>,
}

impl Process {
    async fn run(mut self, saver: Option<Saver>, signals: &Signals) {
        self.look();
        let office = self.settings.posts.as_ref().map(|posts| Office::new(posts, Line::new(&self.world, &self.pod)));
        let newest = self.newest.subscribe();
        let (delivering, known) = match office {
            Some((office, known)) => (Some(office.deliver(newest)), Some(known)),
            None => (None, None),
        };
        let delivering = async {
            match delivering {
                Some(delivering) => delivering.await,
                None => future::pending().await,
            }
        };
        let (standing, seen) = watch::channel(Standing::default());
        let (demand, of_known) = (self.demand.subscribe(), known.clone());
        let saving = async move {
            // Without a saver, the sender is kept: nothing ever comes of it.
            let _kept = standing.clone();
            if let Some(saver) = saver {
                saver.run(demand, standing, of_known).await;
            }
            future::pending::<()>().await;
        };
        let (world, uid, number) = (self.world.clone(), self.pod.uid.clone(), self.number);
        select! {
            biased;
            () = delivering => {}
            () = saving => {}
            () = self.work(known, seen, signals) => {}
        }
        world.lock().agent_ends(&uid, number);
    }

    async fn work(
        &mut self,
        known: Option<watch::Receiver<Known>>,
        mut standing: watch::Receiver<Standing>,
        signals: &Signals,
    ) {
        let (mut looks, mut looked) = (interval(Duration::from_secs(1)), Instant::now());
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            select! {
                biased;
                () = signals.terminate.notified() => break,
                _ = looks.tick() => {
                    let now = Instant::now();
                    self.mailbox.wait(now - looked);
                    looked = now;
                    self.look();
                }
                Ok(()) = standing.changed() => {
                    let now = standing.borrow_and_update().clone();
                    self.take_standing(now, false);
                }
            }
        }
        let deadline = Instant::now() + self.grace();
        self.demand.send_modify(|demand| demand.is_last = true);
        self.look();
        self.until_saved(known.clone(), &mut standing, &mut looks, deadline).await;
        self.until_result_is_known(known.clone(), deadline).await;
        self.look();
        self.until_saved(known, &mut standing, &mut looks, deadline).await;
    }

    fn grace(&self) -> Duration {
        let of_posts = self.settings.posts.as_ref().map(|posts| posts.grace_seconds);
        let of_store = self.settings.store.as_ref().map(|store| store.grace_seconds);
        Duration::from_secs(of_posts.max(of_store).unwrap_or_default().into())
    }

    async fn until_saved(
        &mut self,
        known: Option<watch::Receiver<Known>>,
        standing: &mut watch::Receiver<Standing>,
        looks: &mut Interval,
        deadline: Instant,
    ) {
        let superseded = Known::until_superseded(known);
        tokio::pin!(superseded);
        while let Some(wanted) = self.mailbox.wanted().cloned() {
            let now = standing.borrow_and_update().clone();
            self.take_standing(now, true);
            if self.mailbox.wanted() != Some(&wanted) {
                continue;
            }
            select! {
                biased;
                () = &mut superseded => return,
                () = sleep_until(deadline) => return,
                Ok(()) = standing.changed() => {}
                _ = looks.tick() => self.look(),
            }
        }
    }

    async fn until_result_is_known(&mut self, known: Option<watch::Receiver<Known>>, deadline: Instant) {
        let (Some(result), Some(mut known)) = (self.mailbox.held_back(self.settings.word_bytes), known) else { return };
        self.newest.send_modify(|newest| newest.is_last = true);
        let is_known = |known: &Known| known.is_superseded || known.revision >= Some(result.revision);
        // Whether or not it was taken, this was the end.
        let _ = timeout_at(deadline, known.wait_for(is_known)).await;
    }

    /// Looks at the report file, and passes on what is new.
    fn look(&mut self) {
        let shared = self.world.clone();
        let mut world = shared.lock();
        let (now, clock) = (world.now(), clock_of(&world));
        let Some(life) = world.lives.get_mut(&self.pod.uid).filter(|life| life.node != Node::Lost) else { return };
        life.speak(now);
        let Some(agent) = life.agent.as_mut().filter(|agent| agent.process == self.number && agent.runs()) else {
            return;
        };
        let look = self.reading.look(&agent.file);
        self.mailbox.take(&look, clock);
        world.judge_look(&self.pod.uid, self.mailbox.post(clock).silent_seconds);
        self.pass_on(&mut world);
    }

    /// Takes what the saver has come to.
    fn take_standing(&mut self, standing: Standing, is_end: bool) {
        let shared = self.world.clone();
        let mut world = shared.lock();
        let clock = clock_of(&world);
        let failing = standing.failing.filter(|_| is_end);
        self.mailbox.take_save_report(failing.or(standing.report), clock);
        if let Some((saved, checkpoint)) = standing.saved {
            self.mailbox.take_saved(&saved, &checkpoint, clock);
        }
        self.pass_on(&mut world);
    }

    fn pass_on(&mut self, world: &mut World) {
        let post = self.mailbox.post(clock_of(world));
        let Some(life) = world.lives.get_mut(&self.pod.uid).filter(|life| life.node != Node::Lost) else { return };
        let Some(agent) = life.agent.as_mut().filter(|agent| agent.process == self.number && agent.runs()) else {
            return;
        };
        if self.left != Some(self.mailbox.revision()) {
            agent.word = self.mailbox.last_word(self.settings.word_bytes);
            agent.kept = Some(self.mailbox.kept(self.reading.position));
            agent.knows = Report::read(&post.lines, Via::Agent);
            self.left = Some(self.mailbox.revision());
        }
        if let Some(path) = self.mailbox.safe_path().filter(|path| self.told.as_deref() != Some(path)) {
            let path = path.to_owned();
            world.judge_told(&self.pod.uid, &path);
            self.told = Some(path);
        }
        self.newest.send_modify(|newest| newest.post = post);
        let wanted = self.mailbox.wanted();
        self.demand.send_if_modified(|demand| {
            let is_new = demand.wanted.as_ref() != wanted;
            if is_new {
                demand.wanted = wanted.cloned();
            }
            is_new
        });
    }
}

/// What the clocks of nodes say.
fn clock_of(world: &World) -> Timestamp {
    moment_of(world.now(), world.weather.nodes_ahead)
}
