//! What any controller needs: the client, the lease, events, and what remembers between reconciles. It knows no kind.

pub(crate) mod call;
pub mod client;
pub(crate) mod error;
pub(crate) mod events;
pub(crate) mod key;
pub mod leader;
pub(crate) mod mutation_cache;
pub mod operator;
pub(crate) mod queue_depth;
mod served;

use std::io;

use futures::future::{BoxFuture, Shared};
use kube::{
    Client,
    config::{InferConfigError, KubeconfigError},
};

use self::leader::{Leadership, Loss};
use crate::{
    cli::Settings,
    clock::Clock,
    telemetry::{
        health::Health,
        metrics::Metrics,
        server::ListenError,
        traces::{ExporterBuildError, Traces},
    },
};

/// What the controllers need to work.
#[derive(Clone)]
pub struct OperatorContext {
    /// The API server. Its calls are counted, and none is retried: each is timed and judged by the one who makes it.
    pub client: Client,
    /// How to work.
    pub settings: Settings,
    /// What is counted.
    pub metrics: Metrics,
    /// Where spans are told.
    pub traces: Traces,
    /// Where signs of life go. The controllers report [`Working`](crate::telemetry::health::Stage::Working) when their
    /// caches are filled.
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
