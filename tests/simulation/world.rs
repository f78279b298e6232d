//! Everything outside the operator, in one place: time, chance, what is going to happen, and what has happened.

use std::{
    collections::{BTreeMap, btree_map::OccupiedEntry},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;
use tokio::{
    sync::Notify,
    time::{self, Instant},
};

use crate::{
    connection::Call, defects::Defect, dice::Dice, faults::Weather, judge::Judge, kubelet::PodLife, mail::Mail,
    objects::Store, policies::Policies, replica::Slot, store::bucket::Bucket, templates::Templates,
};

/// When every simulation begins, in seconds since 1970.
const BEGINNING: i64 = 1_795_000_000;

/// The world, shared by the operators' connections and the loop that moves it on.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub(crate) fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is going to happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// The scheduler looks at a pod.
    Schedule(String),
    /// The kubelet looks at a pod.
    Kubelet(String),
    /// The kubelet tells the API server of a pod.
    Publish(String),
    /// The kubelet of a pod works again.
    KubeletBack(String),
    /// The node of a pod is gone, and the garbage collector has noticed.
    PodGc(String),
    /// The garbage collector looks after the pods of a task that is gone or going.
    Collect(String),
    /// A replica's process starts.
    Start(usize),
    /// The controller of nodes has not heard of the pod's node for a while.
    NodeSilent(String),
    /// Somebody or something makes trouble.
    Trouble,
    /// The user saves the task.
    BackUp,
    /// The user writes it back.
    WriteBack,
    /// Somebody deletes all pods that have ended.
    CleanUp,
    /// What is asked of the operators about refusals is asked.
    Inspect,
    /// The process of an agent starts.
    StartAgent(String),
    /// Something happens to agents and posts.
    MailTrouble,
    /// The container of a pod starts that restores.
    StartRestore(String),
    /// Something happens to the store.
    StoreTrouble,
    /// The user applies the manifest again.
    Apply,
    /// Somebody does something to the template or the input.
    TemplateTrouble,
}

pub(crate) struct World {
    pub(crate) dice: Dice,
    pub(crate) weather: Weather,
    pub(crate) policies: Policies,
    pub(crate) mail: Mail,
    pub(crate) templates: Templates,
    /// Where checkpoints are stored.
    pub(crate) bucket: Bucket,
    /// The task as the user has saved it.
    pub(crate) saved: Option<Value>,
    pub(crate) defect: Option<Defect>,
    /// What an operator with a defect is going to write later.
    pub(crate) late: Option<Call>,
    /// The revision that an operator with a defect has thought of last.
    pub(crate) forged: i64,
    began: Instant,
    queue: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    woken: Arc<Notify>,
    pub(crate) store: Store,
    /// Every pod that there ever was, by UID.
    pub(crate) lives: BTreeMap<String, PodLife>,
    pub(crate) slots: Vec<Slot>,
    pub(crate) judge: Judge,
    /// Nobody makes trouble any more.
    pub(crate) is_peace: bool,
    /// How many UIDs were given out.
    pub(crate) uids: u64,
    /// How many restart tokens the user has thought of.
    pub(crate) tokens: u64,
    pub(crate) trace: Vec<String>,
    /// The first invariant that did not hold.
    pub(crate) violation: Option<String>,
}

impl World {
    pub(crate) fn shared(seed: u64, mail: Mail, templates: Templates, defect: Option<Defect>) -> Shared {
        let mut dice = Dice::from_seed(seed);
        let weather = Weather::draw(&mut dice);
        let policies = Policies::draw(seed, &weather);
        let slots = (0..weather.replicas).map(|_| Slot::default()).collect();
        Shared(Arc::new(Mutex::new(Self {
            dice,
            weather,
            policies,
            mail,
            templates,
            bucket: Bucket::draw(seed),
            saved: None,
            defect,
            late: None,
            forged: 0,
            began: Instant::now(),
            queue: BTreeMap::new(),
            scheduled: 0,
            woken: Arc::default(),
            store: Store::default(),
            lives: BTreeMap::new(),
            slots,
            judge: Judge::default(),
            is_peace: false,
            uids: 0,
            tokens: 1,
            trace: Vec::new(),
            violation: None,
        })))
    }

    /// Milliseconds since the beginning.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).expect("not that long")
    }

    pub(crate) fn instant(&self, at: u64) -> Instant {
        self.began + Duration::from_millis(at)
    }

    pub(crate) fn began(&self) -> Instant {
        self.began
    }

    /// The API server's clock, as it is written into objects.
    pub(crate) fn stamp(&self) -> String {
        second_of(self.now(), 0).to_string()
    }

    pub(crate) fn happen_in(&mut self, milliseconds: u64, event: Event) {
        self.happen_at(self.now() + milliseconds, event);
    }

    pub(crate) fn happen_at(&mut self, at: u64, event: Event) {
        self.scheduled += 1;
        self.queue.insert((at.max(self.now()), self.scheduled), event);
        self.woken.notify_one();
    }

    pub(crate) fn uid(&mut self, of: &str) -> String {
        self.uids += 1;
        format!("{of}-{}", self.uids)
    }

    pub(crate) fn tell(&mut self, who: &str, what: impl std::fmt::Display) {
        let now = self.now();
        self.trace.push(format!("{:>6}.{:03} {who:<10} {what}", now / 1000, now % 1000));
    }

    /// Reports that something is not as it must be. The first report counts.
    pub(crate) fn accuse(&mut self, what: String) {
        self.tell("VIOLATION", &what);
        self.violation.get_or_insert(what);
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Schedule(uid) => self.schedule(&uid),
            Event::Kubelet(uid) => self.sync_pod(&uid),
            Event::Publish(uid) => self.publish(&uid),
            Event::KubeletBack(uid) => self.kubelet_back(&uid),
            Event::PodGc(uid) => self.collect_lost(&uid),
            Event::Collect(uid) => self.collect_owned(&uid),
            Event::Start(_) | Event::StartAgent(_) | Event::StartRestore(_) => {}
            Event::NodeSilent(uid) => self.call_node_silent(&uid),
            Event::BackUp => self.back_up(),
            Event::WriteBack => self.write_back(),
            Event::CleanUp => self.clean_up(),
            Event::Inspect => self.inspect(),
            Event::Trouble => self.make_trouble(),
            Event::MailTrouble => self.trouble_the_mail(),
            Event::StoreTrouble => self.trouble_the_store(),
            Event::Apply => self.apply_manifest(),
            Event::TemplateTrouble => self.trouble_the_templates(),
        }
    }
}

/// A moment by a clock that is this many milliseconds ahead, cut to the second.
pub(crate) fn second_of(at: u64, ahead: i64) -> Timestamp {
    let seconds = (i64::try_from(at).expect("not that long") + ahead).div_euclid(1000);
    Timestamp::from_second(BEGINNING + seconds).expect("in range")
}

/// Likewise, to the millisecond.
pub(crate) fn moment_of(at: u64, ahead: i64) -> Timestamp {
    let milliseconds = BEGINNING * 1000 + i64::try_from(at).expect("not that long") + ahead;
    Timestamp::from_millisecond(milliseconds).expect("in range")
}

/// Lets the world go on until `until`, in milliseconds, or `is_enough`, or a violation.
pub(crate) async fn run(world: &Shared, until: u64, is_enough: impl Fn(&World) -> bool) {
    loop {
        let (next, woken, end) = {
            let world = world.lock();
            if world.violation.is_some() || is_enough(&world) || world.now() >= until {
                return;
            }
            let next = world.queue.keys().next().map_or(until, |(at, _)| *at).min(until);
            (world.instant(next), Arc::clone(&world.woken), until)
        };
        // Something may come to be that happens earlier.
        if time::timeout_at(next, woken.notified()).await.is_ok() {
            continue;
        }
        let start = {
            let mut world = world.lock();
            let now = world.now();
            match world.queue.first_entry().filter(|first| first.key().0 <= now && now < end).map(OccupiedEntry::remove)
            {
                Some(start @ (Event::Start(_) | Event::StartAgent(_) | Event::StartRestore(_))) => Some(start),
                Some(event) => {
                    world.handle(event);
                    None
                }
                None => None,
            }
        };
        match start {
            Some(Event::Start(slot)) => crate::replica::start(world, slot),
            Some(Event::StartAgent(uid)) => crate::agent::start(world, &uid),
            Some(Event::StartRestore(uid)) => crate::restoring::start(world, &uid),
            Some(_) | None => {}
        }
    }
}
