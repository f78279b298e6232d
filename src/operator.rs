//! From settings to a working operator, and back down in good order.

use std::{io, time::Duration};

use futures::{
    FutureExt,
    future::{self, BoxFuture, Shared},
};
use kube::{
    Api, Client, Config,
    api::ListParams,
    client::ClientBuilder,
    config::{InferConfigError, KubeConfigOptions, KubeconfigError},
    core::{ApiResource, DynamicObject},
};
use tokio::{
    pin, select,
    signal::unix::{SignalKind, signal},
    time,
};
use tower::{limit::RateLimitLayer, timeout::TimeoutLayer};
use tracing::{error, info, warn};

use crate::{
    api::LongTask,
    cli::{Scope, Settings, TraceSettings},
    clock::Clock,
    controller::leader::{self, Leadership, Loss},
    telemetry::{
        admin,
        api_calls::CountApiCalls,
        health::{Health, Stage},
        logs,
        metrics::Metrics,
        server::{self, ListenError},
        traces::{ExporterBuildError, Traces},
    },
};

/// How long reconciles in flight may take to finish after a stop was asked for. Well below the 30 s that a pod has.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// How long the last spans may take to reach the collector.
const LAST_SPANS_LIMIT: Duration = Duration::from_secs(2);
/// How long the API server may take to begin its answer, to the longest list too. Without a limit, a list whose answer got
/// lost on the way would keep the operator from working for ever.
pub const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// How long an answer may pause on its way. Longer than a watch lasts, 290 s, in which nothing may happen.
const SILENCE_LIMIT: Duration = Duration::from_secs(295);

/// Pause between looks at an API server that does not answer or does not serve LongTask yet.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long one look may take.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// What the controllers need to work.
#[derive(Clone)]
pub struct Operator {
    /// The API server. Its calls are counted, and none is retried: each is timed and judged by the one who makes it.
    pub client: Client,
    /// How to work.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// Where spans are told.
    pub traces: Traces,
    /// Where signs of life go. The controllers report [`Stage::Working`] when their caches are filled.
    pub health: Health,
    /// The right to write. Check [`Leadership::remaining`] before whatever must not come late.
    pub leadership: Leadership,
    /// The time.
    pub clock: Clock,
}

/// Ends when the operator has been asked to stop. Can be cloned and awaited any number of times.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// Why the operator could not start, or had to stop without being asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Neither a kubeconfig nor a service account was found.
    #[error("find out how to reach the cluster")]
    Infer(#[source] Box<InferConfigError>),
    /// The context that was asked for cannot be used.
    #[error("use context {context} of the kubeconfig")]
    Context {
        /// Its name.
        context: String,
        /// What is wrong with it.
        #[source]
        source: Box<KubeconfigError>,
    },
    /// Certificates or credentials cannot be used.
    #[error("set up the client of the API server")]
    Client(#[source] Box<kube::Error>),
    /// The address for health and metrics is taken.
    #[error("serve health and metrics")]
    Listen(#[from] ListenError),
    /// The server for health and metrics broke down.
    #[error("serve health and metrics")]
    Serve(#[source] io::Error),
    /// The address of the collector cannot be used.
    #[error("send traces")]
    Traces(#[from] ExporterBuildError),
    /// Signals cannot be received.
    #[error("listen for signals")]
    Signals(#[source] io::Error),
    /// Another replica works now, or may do so soon.
    #[error("stopped, since leadership was lost")]
    LeadershipLost(#[from] Loss),
    /// The controllers stopped although nobody asked them to.
    #[error("the controllers ended by themselves")]
    ControllersEnded,
}

/// Runs `controllers` until SIGTERM or SIGINT, with all they need set up before and taken down after.
///
/// They start when the LongTask resource is served and the lease is held. Asked to stop, by the second argument, they
/// have ten seconds to finish what they are at; then the lease is released.
///
/// # Errors
/// When something cannot be set up, and when leadership is lost: then the controllers are dropped at once, and the
/// process must end, since what they spawned may still run.
pub async fn run<C, F>(settings: Settings, controllers: C) -> Result<(), Error>
where
    C: FnOnce(Operator, Shutdown) -> F,
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
    let working = work(settings, health, metrics, traces, shutdown, controllers);
    let ended = select! {
        ended = working => ended,
        broken = serving => Err(Error::Serve(broken.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))),
        broken = admin => Err(Error::Serve(broken.err().unwrap_or_else(|| io::ErrorKind::BrokenPipe.into()))),
    };
    // Nobody tells spans any more. Those of the last reconciles are on their way.
    let _ = time::timeout(LAST_SPANS_LIMIT, sending).await;
    ended
}

async fn work<C, F>(
    settings: Settings,
    health: Health,
    metrics: Metrics,
    traces: Traces,
    shutdown: Shutdown,
    controllers: C,
) -> Result<(), Error>
where
    C: FnOnce(Operator, Shutdown) -> F,
    F: Future<Output = ()>,
{
    let config = config(settings.context.as_deref()).await?;
    let clients = Clients::new(&config, &settings, &metrics)?;
    Replica { clients, settings, health, metrics, traces, clock: Clock::wall() }.work(shutdown, controllers).await
}

/// One replica, connected: it stands by for the lease, works, and releases the lease.
pub struct Replica {
    /// How it reaches the API server.
    pub clients: Clients,
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
        C: FnOnce(Operator, Shutdown) -> F,
        F: Future<Output = ()>,
    {
        let Self { clients, settings, health, metrics, traces, clock } = self;
        let starting = async {
            wait_until_served(&clients.work, &settings.scope, &health).await;
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
        let operator = Operator {
            client: clients.work,
            settings,
            metrics: metrics.clone(),
            traces,
            health: health.clone(),
            leadership: leadership.clone(),
            clock,
        };
        let ended = until_stopped(controllers(operator, shutdown.clone()), &leadership, shutdown, &health).await;
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

async fn config(context: Option<&str>) -> Result<Config, Error> {
    let mut config = match context {
        None => Config::infer().await.map_err(|source| Error::Infer(Box::new(source)))?,
        Some(context) => {
            let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
            Config::from_kubeconfig(&options)
                .await
                .map_err(|source| Error::Context { context: context.to_owned(), source: Box::new(source) })?
        }
    };
    // A create that is sent again after its answer was lost, minutes later, could bring back an old attempt. The
    // controllers have a backoff of their own, and know what may be repeated.
    config.default_retry = false;
    // The client waits for ever by itself.
    config.read_timeout = Some(SILENCE_LIMIT);
    config.reset_reader_on_write = true;
    Ok(config)
}

/// Two clients, so that renewals of the lease never queue behind the work that depends on them.
pub struct Clients {
    /// For all else.
    pub work: Client,
    /// For the lease.
    pub lease: Client,
}

impl Clients {
    fn new(config: &Config, settings: &Settings, metrics: &Metrics) -> Result<Self, Error> {
        let count = CountApiCalls::new(metrics.clone());
        let stack = || {
            let stack = ClientBuilder::try_from(config.clone()).map_err(|source| Error::Client(Box::new(source)))?;
            Ok::<_, Error>(stack.with_layer(&TimeoutLayer::new(ANSWER_LIMIT)))
        };
        let work = match settings.api_qps {
            None => stack()?.with_layer(&count).build(),
            Some(qps) => {
                let cap = RateLimitLayer::new(qps.get().into(), Duration::from_secs(1));
                stack()?.with_layer(&count).with_layer(&cap).build()
            }
        };
        Ok(Self { work, lease: stack()?.with_layer(&count).build() })
    }
}

/// Waits until tasks can be listed in the scope of the operator.
///
/// That needs no right but the one to list tasks, which is needed anyway, and is what counts: a definition that exists
/// may not be served yet.
async fn wait_until_served(client: &Client, scope: &Scope, health: &Health) {
    // As untyped objects: a task that does not fit our types must not keep the operator from starting.
    let resource = ApiResource::erase::<LongTask>(&());
    let tasks: Api<DynamicObject> = match scope {
        Scope::AllNamespaces => Api::all_with(client.clone(), &resource),
        Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
    };
    let mut told = None;
    loop {
        let stage = match time::timeout(LOOK_LIMIT, tasks.list(&ListParams::default().limit(1))).await {
            Ok(Ok(_)) => return,
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                tell_once(&mut told, Stage::WaitingForCrd.to_string());
                Stage::WaitingForCrd
            }
            Ok(Err(error)) => {
                tell_once(&mut told, format!("could not list tasks: {error}"));
                Stage::Connecting
            }
            Err(_) => {
                tell_once(&mut told, format!("could not list tasks: no answer within {LOOK_LIMIT:?}"));
                Stage::Connecting
            }
        };
        health.reached(stage);
        time::sleep(LOOK_AGAIN).await;
    }
}

/// Logs a state of affairs when it is new, not at every look.
fn tell_once(told: &mut Option<String>, words: String) {
    if told.as_ref() != Some(&words) {
        warn!("{words}");
        *told = Some(words);
    }
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
    use std::{
        convert::Infallible,
        future,
        sync::{
            Arc,
            atomic::{AtomicU32, Ordering},
        },
    };

    use http::{Request, Response};
    use kube::client::Body;
    use tokio::time::Instant;
    use tower::service_fn;

    use super::*;

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

    /// An API server that answers with these codes, one after the other, and lists nothing in the end.
    fn api_server(codes: &'static [u16], calls: &Arc<AtomicU32>) -> Client {
        let calls = calls.clone();
        let service = service_fn(move |request: Request<Body>| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(request.uri().path(), "/apis/longtask.dev/v1alpha1/namespaces/a/longtasks");
            let code = usize::try_from(call).ok().and_then(|call| codes.get(call)).copied().unwrap_or(200);
            let body = match code {
                200 => r#"{"apiVersion": "v1", "kind": "List", "metadata": {}, "items": []}"#,
                // What an API server says about a group that it does not know is not a Status.
                _ => "404 page not found",
            };
            let response = Response::builder().status(code).body(Body::from(body.as_bytes().to_vec()));
            future::ready(Ok::<_, Infallible>(response.expect("a response")))
        });
        Client::new(service, "default")
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_for_the_crd_and_says_so() {
        let (health, calls) = (Health::new(), Arc::default());
        let client = api_server(&[503, 404, 404], &calls);
        let scope = Scope::Namespace("a".to_owned());
        let waiting = wait_until_served(&client, &scope, &health);
        pin!(waiting);
        time::timeout(SECOND, &mut waiting).await.expect_err("the API server is not well");
        assert_eq!(health.stage(), Stage::Connecting);
        time::timeout(2 * SECOND, &mut waiting).await.expect_err("no CRD");
        assert_eq!(health.stage(), Stage::WaitingForCrd);
        time::timeout(5 * SECOND, waiting).await.expect("the CRD has come");
        assert_eq!(calls.load(Ordering::Relaxed), 4);
    }
}
