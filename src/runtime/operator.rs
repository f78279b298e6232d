//! From settings to working controllers, and back down in good order.

use std::{io, time::Duration};

use futures::{FutureExt, future};
use kube::{Client, core::ApiResource};
use tokio::{
    pin, select,
    signal::unix::{SignalKind, signal},
    time,
};
use tracing::{error, info, warn};

use super::{
    Error, OperatorContext, Shutdown,
    client::{self, Clients},
    leader::{self, Leadership},
    served,
};
use crate::{
    cli::{Settings, TraceSettings},
    clock::Clock,
    telemetry::{
        admin,
        health::{Health, Stage},
        logs,
        metrics::Metrics,
        server,
        traces::Traces,
    },
};

/// How long reconciles in flight may take to finish after a stop was asked for. Well below the 30 s that a pod has.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long the last spans may take to reach the collector.
const LAST_SPANS_LIMIT: Duration = Duration::from_secs(2);

/// Runs `controllers` until SIGTERM or SIGINT, with all they need set up before and taken down after.
///
/// They start when `resources` are served and the lease is held. Asked to stop, by the second argument, they have ten
/// seconds to finish what they are at; then the lease is released.
///
/// # Errors
/// When something cannot be set up, and when leadership is lost: then the controllers are dropped at once, and the
/// process must end, since what they spawned may still run.
pub async fn run<C, F>(settings: Settings, resources: Vec<ApiResource>, controllers: C) -> Result<(), Error>
where
    C: FnOnce(OperatorContext, Shutdown) -> F,
    F: Future<Output = ()>,
{
    let filter = logs::init(&settings.log);
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let shutdown = stop_signal()?;
    let (health, metrics) = (Health::new(), Metrics::new());
    let serving = server::serve(settings.listen, health.clone(), metrics.clone()).await?;
    let admin = match settings.admin_listen {
        Some(address) => admin::serve(address, filter).await?.boxed(),
        None => future::pending().boxed(),
    };
    let (traces, sending) = match &settings.traces {
        Some(TraceSettings { endpoint, .. }) => {
            let (traces, sending) = Traces::to(endpoint, metrics.clone())?;
            (traces, tokio::spawn(sending))
        }
        None => (Traces::off(), tokio::spawn(future::ready(()))),
    };
    let working = async {
        let config = client::config(settings.context.as_deref()).await?;
        let clients = Clients::new(&config, &settings, &metrics)?;
        let replica = Replica { clients, resources, settings, health, metrics, traces, clock: Clock::wall() };
        replica.work(shutdown, controllers).await
    };
    let ended = select! {
        ended = working => ended,
        broken = serving => Err(Error::Serve(broken.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))),
        broken = admin => Err(Error::Serve(broken.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))),
    };
    // Nobody tells spans any more. Those of the last reconciles are on their way.
    let _ = time::timeout(LAST_SPANS_LIMIT, sending).await;
    ended
}

/// One replica, connected: it stands by for the lease, works, and releases the lease.
pub struct Replica {
    /// How it reaches the API server.
    pub clients: Clients,
    /// The kinds that must be served before it works.
    pub resources: Vec<ApiResource>,
    /// How to work.
    pub settings: Settings,
    /// Where signs of life go.
    pub health: Health,
    /// What is counted.
    pub metrics: Metrics,
    /// Where spans are told.
    pub traces: Traces,
    /// The time.
    pub clock: Clock,
}

impl Replica {
    /// Works from the moment that it may until `shutdown`.
    ///
    /// # Errors
    /// When leadership is lost, and when the controllers end by themselves.
    pub async fn work<C, F>(self, shutdown: Shutdown, controllers: C) -> Result<(), Error>
    where
        C: FnOnce(OperatorContext, Shutdown) -> F,
        F: Future<Output = ()>,
    {
        let Self { clients, resources, settings, health, metrics, traces, clock } = self;
        let starting = async {
            for resource in &resources {
                served::wait_until_served(&clients.work, resource, &settings.scope, &health).await;
            }
            health.reached(Stage::Standby);
            lead(clients.lease, &settings, clock.clone()).await
        };
        let leadership = select! {
            biased;
            () = shutdown.clone() => return Ok(()),
            leadership = starting => leadership,
        };
        metrics.leads(true);
        health.reached(Stage::FillingCaches);
        let context = OperatorContext {
            client: clients.work,
            settings,
            metrics: metrics.clone(),
            traces,
            health: health.clone(),
            leadership: leadership.clone(),
            clock,
        };
        let ended = until_stopped(controllers(context, shutdown.clone()), &leadership, shutdown, &health).await;
        metrics.leads(false);
        health.reached(Stage::Stopping);
        // Nothing writes any more. If leadership was lost, there is nothing to release, and this returns at once.
        leadership.release().await;
        info!("stopped");
        ended
    }
}

/// Waits until the controllers have ended, or must be left behind. They are dropped when this returns.
async fn until_stopped(
    controllers: impl Future<Output = ()>,
    leadership: &Leadership,
    shutdown: Shutdown,
    health: &Health,
) -> Result<(), Error> {
    let overdue = async {
        shutdown.clone().await;
        info!("stopping");
        health.reached(Stage::Stopping);
        time::sleep(DRAIN_LIMIT).await;
    };
    pin!(controllers);
    select! {
        biased;
        loss = leadership.lost() => {
            error!(%loss, "stopping at once");
            Err(loss.into())
        }
        () = &mut controllers => match shutdown.now_or_never() {
            Some(()) => Ok(()),
            None => Err(Error::ControllersEnded),
        },
        () = overdue => {
            warn!(limit = ?DRAIN_LIMIT, "reconciles did not finish in time; leaving them behind");
            Ok(())
        }
    }
}

fn stop_signal() -> Result<Shutdown, Error> {
    let mut terminate = signal(SignalKind::terminate()).map_err(Error::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(Error::Signals)?;
    let either = async move {
        select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(either.boxed().shared())
}

async fn lead(client: Client, settings: &Settings, clock: Clock) -> Leadership {
    match &settings.lease {
        None => Leadership::sole(),
        Some(lease) => {
            info!(lease = lease.name, identity = lease.identity, "waiting for the lease");
            leader::acquire(client, lease.clone(), clock).await
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future;

    use tokio::time::Instant;

    use super::*;
    use crate::runtime::leader::Loss;

    const REQUESTED: fn() -> Shutdown = || future::ready(()).boxed().shared();
    const NOT_REQUESTED: fn() -> Shutdown = || future::pending().boxed().shared();

    #[tokio::test(start_paused = true)]
    async fn reconciles_in_flight_get_ten_seconds() {
        let (health, start) = (Health::new(), Instant::now());
        let ended = until_stopped(time::sleep(9 * SECOND), &Leadership::sole(), REQUESTED(), &health).await;
        assert!(ended.is_ok());
        assert_eq!(start.elapsed(), 9 * SECOND);
        assert_eq!(health.stage(), Stage::Stopping);

        let start = Instant::now();
        let ended = until_stopped(future::pending(), &Leadership::sole(), REQUESTED(), &health).await;
        assert!(ended.is_ok());
        assert_eq!(start.elapsed(), DRAIN_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn controllers_that_end_unasked_are_an_error() {
        let ended = until_stopped(time::sleep(SECOND), &Leadership::sole(), NOT_REQUESTED(), &Health::new()).await;
        assert!(matches!(ended, Err(Error::ControllersEnded)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lost_lease_stops_everything_at_once_even_while_draining() {
        for shutdown in [REQUESTED(), NOT_REQUESTED()] {
            let start = Instant::now();
            let leadership = Leadership::ended_by(Loss::Removed);
            let ended = until_stopped(future::pending(), &leadership, shutdown, &Health::new()).await;
            assert!(matches!(ended, Err(Error::LeadershipLost(Loss::Removed))));
            assert_eq!(start.elapsed(), Duration::ZERO);
        }
    }

    const SECOND: Duration = Duration::from_secs(1);
}
