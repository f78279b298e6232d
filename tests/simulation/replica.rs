//! The operator's processes: the real controllers, each with a connection and a clock of its own.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use futures::FutureExt;
use longtask::{
    cli::{LeaseSettings, LogFormat, LogSettings, Scope, Settings},
    clock::Clock,
    runtime::{OperatorContext, RuntimeMetrics, operator::Replica},
    task::controller::{Desk, TaskController},
    telemetry::{health::Health, metrics::Registry, traces::Traces},
};
use tokio::{select, sync::Notify};

use crate::{
    connection::client,
    world::{Event, Shared, World, moment_of},
};

/// A place for one process; a process that died is followed by another.
#[derive(Default)]
pub(crate) struct Slot {
    /// The number of the process; what an earlier one still asks for has no effect on a later one.
    pub(crate) process: u32,
    pub(crate) is_alive: bool,
    /// Until when nothing gets through to it or from it.
    pub(crate) cut_off_until: u64,
    /// By how many milliseconds its clock is ahead.
    pub(crate) ahead: Arc<AtomicI64>,
    /// Where its process takes reports while it leads.
    pub(crate) desk: Desk,
    killed: Arc<Notify>,
}

impl World {
    pub(crate) fn is_running(&self, slot: usize, process: u32) -> bool {
        self.slots[slot].is_alive && self.slots[slot].process == process
    }

    /// The process ends here and now; another one takes its place later.
    pub(crate) fn crash(&mut self, slot: usize, why: &str) {
        if !self.slots[slot].is_alive {
            return;
        }
        self.tell(&name(slot, self.slots[slot].process), format!("crashes {why}"));
        self.slots[slot].is_alive = false;
        self.disturb();
        self.slots[slot].killed.notify_one();
        let pause = if self.is_peace { 1000 } else { self.dice.between(1000, 30_000) };
        self.happen_in(pause, Event::Start(slot));
    }

    /// How far a replica's clock is ahead, in milliseconds.
    pub(crate) fn ahead(&self, slot: usize) -> i64 {
        self.slots[slot].ahead.load(Ordering::Relaxed)
    }
}

pub(crate) fn name(slot: usize, process: u32) -> String {
    format!("op-{slot}.{process}")
}

/// Starts the process of a slot.
pub(crate) fn start(world: &Shared, slot: usize) {
    let (replica, killed, process) = {
        let mut shared = world.lock();
        if shared.slots[slot].is_alive {
            return;
        }
        let killed = Arc::<Notify>::default();
        let place = &mut shared.slots[slot];
        place.process += 1;
        place.is_alive = true;
        place.desk = Desk::default();
        place.killed = Arc::clone(&killed);
        let process = place.process;
        shared.tell(&name(slot, process), "starts");
        // It fills its caches, and may have to wait for a lease that is held.
        let now = shared.now();
        shared.disturb_until(now + 30_000);
        (replica(world, &shared, slot), killed, process)
    };
    let world = world.clone();
    tokio::spawn(async move {
        let never = futures::future::pending().boxed().shared();
        let end = select! {
            biased;
            () = killed.notified() => return,
            end = replica.work(never) => end,
        };
        let mut world = world.lock();
        if world.is_running(slot, process) {
            let why = end.err().map_or_else(String::new, |error| format!("by itself: {error}"));
            world.crash(slot, &why);
        }
    });
}

fn replica(shared: &Shared, world: &World, slot: usize) -> Replica {
    let process = world.slots[slot].process;
    let lease = world.weather.has_lease.then(|| LeaseSettings {
        namespace: Some("n".into()),
        name: "operator".into(),
        identity: name(slot, process),
        duration: Duration::from_secs(15),
        renew_deadline: Duration::from_secs(10),
        retry_period: Duration::from_secs(3),
    });
    let settings = Settings {
        scope: if world.weather.has_scope { Scope::Namespace("n".into()) } else { Scope::AllNamespaces },
        context: None,
        api_qps: None,
        concurrency: NonZeroU16::new(32).expect("not zero"),
        task_metrics: 0,
        fill_in: world.templates.is_thin,
        reports: None,
        agent_image: Some("longtask".into()),
        live_writes: NonZeroU32::MIN,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin_listen: None,
        log: LogSettings { format: LogFormat::Text, filter: "off".into() },
        traces: None,
        lease,
    };
    let (ahead, began) = (Arc::clone(&world.slots[slot].ahead), world.began());
    let clock = Clock::from_fn(move || {
        let now = u64::try_from(began.elapsed().as_millis()).expect("not that long");
        moment_of(now, ahead.load(Ordering::Relaxed))
    });
    let client = || client(shared, slot, process);
    let mut registry = Registry::new();
    let operator = OperatorContext {
        client: client(),
        settings,
        metrics: RuntimeMetrics::register(&mut registry),
        traces: Traces::off(),
        health: Health::new(),
        clock,
    };
    let controller = TaskController::with_desk(&mut registry, world.slots[slot].desk.clone());
    Replica { operator, lease_client: client(), controllers: vec![Box::new(controller)] }
}
