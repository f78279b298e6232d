//! Reports of programs that run: posted by the agents in their pods, kept in memory, shown to the plan.
//!
//! Only the leader takes reports. What it keeps may be lost at any time: agents hold the newest word, and the kubelet the
//! last one.

mod certificates;
mod desk;
mod identity;
mod memory;
mod server;

use std::sync::Arc;

use futures::{FutureExt, Stream, future::BoxFuture, stream};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    runtime::reflector::{ObjectRef, Store},
};
use tokio::sync::mpsc;
use tracing::error;

pub(super) use self::memory::{LiveReports, ReportsFrom};
use self::{
    certificates::Certificates,
    identity::Identities,
    server::{ReportServer, Takes},
};
pub use self::{desk::Desk, identity::PodIdentity, server::Verdict};
use super::{metrics::TaskMetrics, pod_index::PodIndex, watches::Guarded};
use crate::{
    cli::ReportSettings,
    runtime::OperatorContext,
    task::render::{self, AgentConfig},
};

/// The Secret with the certificate authority.
const AUTHORITY: &str = "longtask-reports-ca";

/// What is kept of reports, the tasks that have reported, and the taking of reports, which goes on for as long as it is
/// polled. They are taken at the desk, if there is one, else over the network as the settings say.
pub(super) async fn set_up(
    operator: &OperatorContext,
    metrics: &TaskMetrics,
    pods: PodIndex,
    tasks: Store<Guarded>,
    desk: Option<Desk>,
) -> (LiveReports, impl Stream<Item = ObjectRef<Guarded>> + Send + use<>, BoxFuture<'static, ()>) {
    let (touched, mut reported) = mpsc::unbounded_channel();
    let settings = &operator.settings;
    let certificates = match settings.reports.as_ref().filter(|_| desk.is_none()) {
        Some(settings) => authority(operator, settings).await,
        None => None,
    };
    let posts = settings.reports.as_ref().zip(certificates.as_ref());
    let over_network = posts.map(|(settings, certificates)| render::ReportServer {
        addresses: settings.addresses.clone(),
        certificate_authority: certificates.authority.clone(),
    });
    let reports = over_network.or_else(|| desk.as_ref().map(|_| render::ReportServer::default()));
    let agent = settings.agent_image.as_ref().map(|image| Arc::new(AgentConfig { image: image.clone(), reports }));
    let live = LiveReports::new(ReportsFrom { agent, writes_per_second: settings.live_writes.get() });
    let takes = Takes {
        identities: Identities::new(operator.client.clone(), operator.clock.clone(), settings.api_qps.map(Into::into)),
        pods,
        tasks,
        live: live.clone(),
        clock: operator.clock.clone(),
        metrics: metrics.clone(),
        touched,
    };
    let taking = match (desk, settings.reports.clone(), certificates) {
        (Some(desk), ..) => desk.serve(takes).boxed(),
        (None, Some(settings), Some(certificates)) => take_reports(settings, certificates, takes).boxed(),
        // The sender stays, so that the stream does not end.
        (None, None, _) | (None, _, None) => async move {
            let _takes = takes;
            std::future::pending::<()>().await;
        }
        .boxed(),
    };
    (live, stream::poll_fn(move |cx| reported.poll_recv(cx)), taking)
}

async fn authority(operator: &OperatorContext, settings: &ReportSettings) -> Option<Certificates> {
    let namespace = settings.namespace.clone().unwrap_or_else(|| operator.client.default_namespace().to_owned());
    let secrets: Api<Secret> = Api::namespaced(operator.client.clone(), &namespace);
    match Certificates::in_secret(&secrets, AUTHORITY, operator.clock.now()).await {
        Ok(certificates) => Some(certificates),
        Err(problem) => {
            error!(%problem, "no reports can be taken");
            None
        }
    }
}

async fn take_reports(settings: ReportSettings, certificates: Certificates, takes: Takes) {
    if let Err(problem) = (ReportServer { certificates, takes }).serve(settings.listen).await {
        error!(%problem, "no reports can be taken any more");
    }
    std::future::pending::<()>().await;
}
