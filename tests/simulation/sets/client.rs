//! An operator's process, and its connection to the API server with all that can happen on the way.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    num::{NonZeroU16, NonZeroU32},
    sync::Arc,
    time::Duration,
};

use axum::body::Body;
use futures::{FutureExt, future};
use http::{Request, Response};
use kube::Client;
use longtask::{
    cli::{LogFormat, LogSettings, Scope, Settings},
    operator::controllers,
    runtime::{OperatorContext, RuntimeMetrics, operator::Replica},
    telemetry::{health::Health, metrics::Registry, traces::Traces},
};
use serde_json::{Value, json};
use tokio::{
    select,
    sync::{Notify, oneshot},
    time::{self, Instant},
};
use tower::service_fn;

use super::world::{SetDefect, Shared, World};
use crate::{
    connection::{Call, Next, Verb, Watched, read, response, told},
    objects::{Kind, failure},
};

/// Starts the process of a slot.
pub(super) fn start(shared: &Shared, slot: usize) {
    let (process, killed, clock) = {
        let mut world = shared.lock();
        if world.slots[slot].is_alive {
            return;
        }
        let killed = Arc::<Notify>::default();
        let place = &mut world.slots[slot];
        (place.process, place.is_alive, place.killed) = (place.process + 1, true, Arc::clone(&killed));
        let process = place.process;
        world.tell("operator", format!("{slot} starts process {process}"));
        (process, killed, world.clock())
    };
    let settings = Settings {
        scope: Scope::Namespace("n".into()),
        context: None,
        api_qps: None,
        concurrency: NonZeroU16::new(32).expect("not zero"),
        task_metrics: 0,
        fill_in: false,
        reports: None,
        agent_image: None,
        live_writes: NonZeroU32::MIN,
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        admin_listen: None,
        log: LogSettings { format: LogFormat::Text, filter: "off".into() },
        traces: None,
        lease: None,
    };
    let mut registry = Registry::new();
    let operator = OperatorContext {
        client: client(shared, slot, process),
        settings,
        metrics: RuntimeMetrics::register(&mut registry),
        traces: Traces::off(),
        health: Health::new(),
        clock,
    };
    let controllers = controllers(&mut registry);
    let replica = Replica { operator, lease_client: client(shared, slot, process), controllers };
    let world = shared.clone();
    tokio::spawn(async move {
        let never = future::pending().boxed().shared();
        select! {
            biased;
            () = killed.notified() => return,
            _ = replica.work(never) => {}
        }
        let mut world = world.lock();
        if world.is_running(slot, process) {
            world.crash(slot, "by itself");
        }
    });
}

fn client(world: &Shared, slot: usize, process: u32) -> Client {
    let world = world.clone();
    let service = service_fn(move |request| {
        let world = world.clone();
        async move { answer(world, slot, process, request).await }
    });
    Client::new(service, "n")
}

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    Lost,
    NoAnswer,
    Refused(u16),
    CrashAfter,
}

async fn answer(
    world: Shared,
    slot: usize,
    process: u32,
    request: Request<kube::client::Body>,
) -> Result<Response<Body>, io::Error> {
    let call = read(slot, process, request).await;
    let fate = {
        let mut world = world.lock();
        world.is_running(slot, process).then(|| fate(&mut world, &call))
    };
    let Some((trouble, there, back)) = fate else { return future::pending().await };
    if call.verb == Verb::Watch {
        time::sleep(Duration::from_millis(there)).await;
        return Ok(watch(world, call));
    }
    let (send, receive) = oneshot::channel();
    let network = world.clone();
    // On its own: a request that is under way arrives even when nobody waits for its answer any more.
    tokio::spawn(async move {
        time::sleep(Duration::from_millis(there)).await;
        let answer = match trouble {
            Trouble::Lost => None,
            Trouble::Refused(code) => Some(failure(code, "", "it has been drawn")),
            Trouble::None | Trouble::NoAnswer | Trouble::CrashAfter => {
                let mut world = network.lock();
                let answer = world.serve(&call);
                if call.is_write() && call.kind.is_some() {
                    let (verb, name, kind) = (call.verb, &call.name, call.kind);
                    let status = short(&call.body["status"]);
                    let code = answer.0;
                    world.tell("apiserver", format!("op-{slot}.{process} {verb:?} {kind:?} {name} {status}-> {code}"));
                }
                Some(answer)
            }
        };
        if trouble == Trouble::CrashAfter {
            let mut world = network.lock();
            if world.is_running(slot, process) {
                world.crash(slot, "after a write");
            }
        }
        time::sleep(Duration::from_millis(back)).await;
        let result = match (trouble, answer) {
            (Trouble::NoAnswer, _) | (_, None) => {
                time::sleep(Duration::from_secs(30)).await;
                Err(io::ErrorKind::TimedOut.into())
            }
            (_, Some(answer)) => Ok(response(&answer)),
        };
        // Nobody may wait any more.
        let _ = send.send(result);
    });
    match receive.await {
        Ok(result) if world.lock().is_running(slot, process) => result,
        _ => future::pending().await,
    }
}

fn short(status: &Value) -> String {
    if status.is_null() {
        return String::new();
    }
    if status["holders"].is_array() {
        return format!("{} {} ", status["summary"], status["holders"]);
    }
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    let lists = ["succeeded", "failed", "waiting"].map(|list| text(&status[list]["indexes"]));
    format!(
        "{} {} {} round {}{} next {} {} ",
        text(&status["phase"]),
        text(&status["reason"]),
        if status["queue"].is_object() { status["queue"].to_string() } else { String::new() },
        status["round"]["number"],
        status["run"]["round"],
        status["next"],
        lists.join("/")
    )
}

fn fate(world: &mut World, call: &Call) -> (Trouble, u64, u64) {
    let is_bad = !world.is_peace && world.weather.requests > 0;
    let mut travel = || match world.dice.between(0, 99) {
        0..3 if is_bad => world.dice.between(1000, 8000),
        _ => world.dice.between(1, 15),
    };
    let (there, back) = (travel(), travel());
    let is_write = call.is_write();
    let trouble = if world.is_peace {
        Trouble::None
    } else if is_write && world.dice.happens(world.weather.crashes) {
        Trouble::CrashAfter
    } else if world.dice.happens(world.weather.requests) {
        world.dice.one_of(&[
            Trouble::Lost,
            Trouble::NoAnswer,
            Trouble::Refused(500),
            Trouble::Refused(429),
            Trouble::Refused(503),
        ])
    } else {
        Trouble::None
    };
    (trouble, there, back)
}

/// A watch under way.
struct Watch {
    world: Shared,
    call: Call,
    kind: Kind,
    /// The version up to which everything was told.
    told: u64,
    closes_at: u64,
}

fn watch(world: Shared, call: Call) -> Response<Body> {
    let now = world.lock().now();
    let (kind, version, closes_at) = call.watched(now);
    told(Watch { world, call, kind, told: version, closes_at })
}

impl Watched for Watch {
    fn changed(&self) -> Arc<Notify> {
        Arc::clone(&self.world.lock().store.changed)
    }

    fn instant(&self, at: u64) -> Instant {
        self.world.lock().instant(at)
    }

    fn next(&mut self) -> Next {
        next(self)
    }
}

fn next(watch: &mut Watch) -> Next {
    let mut guard = watch.world.lock();
    let world = &mut *guard;
    let now = world.now();
    if !world.is_running(watch.call.slot, watch.call.process) {
        return Next::WaitUntil(u64::MAX / 2_000_000);
    }
    if now >= watch.closes_at {
        return Next::Close;
    }
    if watch.told < world.store.oldest {
        let (_, status) = failure(410, "Expired", "too old resource version");
        return Next::Tell { line: json!({ "type": "ERROR", "object": status }), at: now, is_last: true };
    }
    let Some(change) = world.store.change_after(watch.kind, watch.told).cloned() else {
        return Next::WaitUntil(watch.closes_at);
    };
    let (is_late, breaks) = if world.is_peace {
        (false, false)
    } else {
        (world.dice.happens(world.weather.watches), world.dice.happens(world.weather.watches / 5))
    };
    if breaks {
        return Next::Close;
    }
    watch.told = change.version;
    let delay = if is_late { world.dice.between(100, 15_000) } else { world.dice.between(0, 20) };
    let mut object = (*change.object).clone();
    if world.defect == Some(SetDefect::BelievesALowerRound) && watch.kind == Kind::Task {
        // To a task that has taken part in no round no reading of its set is old.
        if let Some(run) = object["status"]["run"].as_object_mut() {
            run.remove("round");
        }
    }
    if watch.call.wants_metadata {
        object =
            json!({ "apiVersion": "meta.k8s.io/v1", "kind": "PartialObjectMetadata", "metadata": object["metadata"] });
    }
    Next::Tell {
        line: json!({ "type": change.type_, "object": object }),
        at: now.max(change.at + delay),
        is_last: false,
    }
}
