//! From settings to working controllers, and back down in good order.

use std::{io, sync::Arc, time::Duration};

use futures::{FutureExt, future};
use kube::Client;
use tokio::{
    pin, select,
    signal::unix::{SignalKind, signal},
    time,
};
use tracing::{error, info, warn};

use super::{
    Error, KindController, OperatorContext, RuntimeMetrics, Shutdown,
    client::{self, Clients},
    leader::{self, Leadership},
    served,
};
use crate::{
    cli::{Settings, TraceSettings},
    clock::Clock,
    telemetry::{
        admin,
        api_calls::CountApiCalls,
        health::{Health, Stage},
        logs,
        metrics::Registry,
        server,
        traces::Traces,
    },
};

/// How long reconciles in flight may take to finish after a stop was asked for. Well below the 30 s that a pod has.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long the last spans may take to reach the collector.
const LAST_SPANS_LIMIT: Duration = Duration::from_secs(2);

/// The resources that the runtime itself calls, written as those of [`KindController::calls`].
const CALLS: [&str; 2] = ["events", "leases"];

/// The controllers of an operator. They start when their kinds are served and the lease is held.
pub type Controllers = Vec<Box<dyn KindController>>;

/// Runs controllers until SIGTERM or SIGINT, with all they need set up before and taken down after.
///
/// `controllers` makes them, and registers their metrics. Asked to stop, they have ten seconds to finish what they are
/// at; then the lease is released.
///
/// # Errors
/// When something cannot be set up, and when leadership is lost: then the controllers are dropped at once, and the
/// process must end, since what they spawned may still run.
pub async fn run(settings: Settings, controllers: impl FnOnce(&mut Registry) -> Controllers) -> Result<(), Error> {
    let filter = logs::init(&settings.log);
    info!(version = env!("CARGO_PKG_VERSION"), "starting");
    let shutdown = stop_signal()?;
    let (health, mut registry) = (Health::new(), Registry::new());
    let metrics = RuntimeMetrics::register(&mut registry);
    let controllers = controllers(&mut registry);
    let calls = controllers.iter().flat_map(|controller| controller.calls()).copied();
    let count = CountApiCalls::register(&mut registry, CALLS.into_iter().chain(calls));
    let (traces, sending) = match &settings.traces {
        Some(TraceSettings { endpoint, .. }) => {
            let (traces, sending) = Traces::to(endpoint, &mut registry)?;
            (traces, tokio::spawn(sending))
        }
        None => (Traces::off(), tokio::spawn(future::ready(()))),
    };
    let serving = server::serve(settings.listen, health.clone(), Arc::new(registry)).await?;
    let admin = match settings.admin_listen {
        Some(address) => admin::serve(address, filter).await?.boxed(),
        None => future::pending().boxed(),
    };
    let working = async {
        let config = client::config(settings.context.as_deref()).await?;
        let Clients { work, lease } = Clients::new(&config, &settings, &count)?;
        let operator = OperatorContext { client: work, settings, metrics, traces, health, clock: Clock::wall() };
        Replica { operator, lease_client: lease, controllers }.work(shutdown).await
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
    /// What its controllers share.
    pub operator: OperatorContext,
    /// A client of its own for the lease, so that renewals never wait behind the work.
    pub lease_client: Client,
    /// What works.
    pub controllers: Controllers,
}

impl Replica {
    /// Works from the moment that it may until `shutdown`.
    ///
    /// # Errors
    /// When leadership is lost, and when a controller ends by itself.
    pub async fn work(self, shutdown: Shutdown) -> Result<(), Error> {
        let Self { operator, lease_client, controllers } = self;
        let OperatorContext { client, settings, metrics, health, .. } = &operator;
        let starting = async {
            for controller in &controllers {
                for kind in controller.kinds(settings) {
                    served::wait_until_served(client, &kind, &settings.scope, health).await;
                }
            }
            health.reached(Stage::Standby);
            lead(lease_client, settings, operator.clock.clone()).await
        };
        let leadership = select! {
            biased;
            () = shutdown.clone() => return Ok(()),
            leadership = starting => leadership,
        };
        metrics.leader.set(1);
        health.reached(Stage::FillingCaches);
        let running = run_all(controllers, &operator, &leadership, &shutdown);
        let ended = until_stopped(running, &leadership, shutdown.clone(), health).await;
        metrics.leader.set(0);
        health.reached(Stage::Stopping);
        // Nothing writes any more. If leadership was lost, there is nothing to release, and this returns at once.
        leadership.release().await;
        info!("stopped");
        ended
    }
}

/// Runs all controllers until each has ended, on `shutdown`. Ends at once with an error when one ends by itself.
async fn run_all(
    controllers: Controllers,
    operator: &OperatorContext,
    leadership: &Leadership,
    shutdown: &Shutdown,
) -> Result<(), Error> {
    let running = controllers.into_iter().map(|controller| async move {
        controller.run(operator.clone(), leadership.clone(), shutdown.clone()).await;
        shutdown.clone().now_or_never().ok_or(Error::ControllersEnded)
    });
    future::try_join_all(running).await.map(|_| ())
}

/// Waits until the controllers have ended, or must be left behind. They are dropped when this returns.
async fn until_stopped(
    controllers: impl Future<Output = Result<(), Error>>,
    leadership: &Leadership,
    shutdown: Shutdown,
    health: &Health,
) -> Result<(), Error> {
    let overdue = async {
        shutdown.await;
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
        ended = &mut controllers => ended,
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

    use futures::future::BoxFuture;
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::core::ApiResource;
    use tokio::time::Instant;

    use super::*;
    use crate::runtime::leader::Loss;

    const REQUESTED: fn() -> Shutdown = || future::ready(()).boxed().shared();
    const NOT_REQUESTED: fn() -> Shutdown = || future::pending().boxed().shared();

    #[tokio::test(start_paused = true)]
    async fn reconciles_in_flight_get_ten_seconds() {
        let (health, start) = (Health::new(), Instant::now());
        let ended = until_stopped(time::sleep(9 * SECOND).map(Ok), &Leadership::sole(), REQUESTED(), &health).await;
        assert!(ended.is_ok());
        assert_eq!(start.elapsed(), 9 * SECOND);
        assert_eq!(health.stage(), Stage::Stopping);

        let start = Instant::now();
        let ended = until_stopped(future::pending(), &Leadership::sole(), REQUESTED(), &health).await;
        assert!(ended.is_ok());
        assert_eq!(start.elapsed(), DRAIN_LIMIT);
    }

    /// A controller that ends after a time, whatever it is asked.
    struct EndsAfter(Duration);

    impl KindController for EndsAfter {
        fn kinds(&self, _: &Settings) -> Vec<ApiResource> {
            vec![ApiResource::erase::<ConfigMap>(&())]
        }

        fn calls(&self) -> &'static [&'static str] {
            &[]
        }

        fn run(self: Box<Self>, _: OperatorContext, _: Leadership, _: Shutdown) -> BoxFuture<'static, ()> {
            time::sleep(self.0).boxed()
        }

        fn fill_metrics(&self) {}
    }

    /// How two controllers end, of which the second takes longer, and when.
    async fn both_end(shutdown: Shutdown) -> (Result<(), Error>, Duration) {
        let (start, leadership) = (Instant::now(), Leadership::sole());
        let controllers: Controllers = vec![Box::new(EndsAfter(SECOND)), Box::new(EndsAfter(2 * SECOND))];
        let ended = run_all(controllers, &OperatorContext::for_tests(), &leadership, &shutdown).await;
        (ended, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_ends_unasked_is_an_error_at_once() {
        let (ended, after) = both_end(NOT_REQUESTED()).await;
        assert!(matches!(ended, Err(Error::ControllersEnded)));
        assert_eq!(after, SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn all_controllers_may_finish_what_they_are_at() {
        let (ended, after) = both_end(REQUESTED()).await;
        assert!(ended.is_ok());
        assert_eq!(after, 2 * SECOND);
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
