//! What any controller needs: the client, the lease, events, and what remembers between reconciles. It knows no kind.

pub(crate) mod call;
pub mod client;
pub(crate) mod error;
pub(crate) mod events;
pub mod fanout;
pub(crate) mod filled;
pub(crate) mod key;
pub mod leader;
mod metrics;
pub(crate) mod mutation_cache;
pub mod operator;
pub(crate) mod pace;
pub(crate) mod queue_depth;
mod served;
pub(crate) mod status;
pub(crate) mod watch;

use std::io;

use futures::future::{BoxFuture, Shared};
use kube::{
    Api, Client, Resource,
    config::{InferConfigError, KubeconfigError},
    core::{ApiResource, NamespaceResourceScope},
};

use self::leader::{Leadership, Loss};
pub use self::metrics::RuntimeMetrics;
use crate::{
    cli::{Scope, Settings},
    clock::Clock,
    telemetry::{
        health::Health,
        server::ListenError,
        traces::{ExporterBuildError, Traces},
    },
};

/// The controller of a kind.
///
/// It is made before anything is served, so that it can register its metrics, and runs once the lease is held.
pub trait KindController: Send + Sync {
    /// The kinds that must be served before the controller runs.
    fn kinds(&self, settings: &Settings) -> Vec<ApiResource>;

    /// The resources that it calls, in the words of RBAC: the plural, with the subresource after a slash.
    fn calls(&self) -> &'static [&'static str];

    /// Works until `shutdown`, then finishes what it is at.
    ///
    /// Check [`Leadership::remaining`] before whatever must not come late.
    fn run(
        self: Box<Self>,
        operator: OperatorContext,
        leadership: Leadership,
        shutdown: Shutdown,
    ) -> BoxFuture<'static, ()>;

    /// Gives each metric a value.
    #[cfg(test)]
    fn fill_metrics(&self);
}

/// What the controllers share.
#[derive(Clone)]
pub struct OperatorContext {
    /// The API server. Calls are counted. They are neither retried nor timed here: the caller decides.
    pub client: Client,
    /// How to work.
    pub settings: Settings,
    /// What is counted of the operator as a whole.
    pub metrics: RuntimeMetrics,
    /// Where spans of traces are sent.
    pub traces: Traces,
    /// The operator's health. The controllers report [`Working`](crate::telemetry::health::Stage::Working) when their
    /// caches are filled.
    pub health: Health,
    /// The time.
    pub clock: Clock,
}

impl OperatorContext {
    /// The objects of a kind, in the namespaces that the operator works on.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope, DynamicType = ()>,
    {
        match &self.settings.scope {
            Scope::AllNamespaces => Api::all(self.client.clone()),
            Scope::Namespace(namespace) => Api::namespaced(self.client.clone(), namespace),
        }
    }

    /// A context with an API server that never answers.
    #[cfg(test)]
    pub(crate) fn for_tests() -> Self {
        use std::{convert::Infallible, future};

        use crate::telemetry::metrics::Registry;

        let silent = tower::service_fn(|_: http::Request<kube::client::Body>| {
            future::pending::<Result<http::Response<kube::client::Body>, Infallible>>()
        });
        Self {
            client: Client::new(silent, "default"),
            settings: Settings::for_tests(),
            metrics: RuntimeMetrics::register(&mut Registry::new()),
            traces: Traces::off(),
            health: Health::new(),
            clock: Clock::wall(),
        }
    }
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
