//! How the API server is reached.

use std::time::Duration;

use kube::{Client, Config, client::ClientBuilder, config::KubeConfigOptions};
use tower::{limit::RateLimitLayer, timeout::TimeoutLayer};

use super::Error;
use crate::{cli::Settings, telemetry::api_calls::CountApiCalls};

/// How long the API server may take to begin its answer, to the longest list too. Without a limit, a list whose answer got
/// lost on the way would keep the operator from working for ever.
pub const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// How long an answer may pause on its way. Longer than a watch lasts, 290 s, in which nothing may happen.
const SILENCE_LIMIT: Duration = Duration::from_secs(295);

pub(super) async fn config(context: Option<&str>) -> Result<Config, Error> {
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
pub(super) struct Clients {
    /// For all else.
    pub(super) work: Client,
    /// For the lease.
    pub(super) lease: Client,
}

impl Clients {
    pub(super) fn new(config: &Config, settings: &Settings, count: &CountApiCalls) -> Result<Self, Error> {
        let stack = || {
            let stack = ClientBuilder::try_from(config.clone()).map_err(|source| Error::Client(Box::new(source)))?;
            Ok::<_, Error>(stack.with_layer(&TimeoutLayer::new(ANSWER_LIMIT)))
        };
        let work = match settings.api_qps {
            None => stack()?.with_layer(count).build(),
            Some(qps) => {
                let cap = RateLimitLayer::new(qps.get().into(), Duration::from_secs(1));
                stack()?.with_layer(count).with_layer(&cap).build()
            }
        };
        Ok(Self { work, lease: stack()?.with_layer(count).build() })
    }
}
