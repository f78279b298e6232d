//! Waiting until the API server serves the resources of the controllers.

use std::time::Duration;

use kube::{
    Api, Client,
    api::ListParams,
    core::{ApiResource, DynamicObject},
};
use tokio::time;
use tracing::warn;

use super::call::call;
use crate::{
    cli::Scope,
    telemetry::health::{Health, Stage},
};

/// Pause between looks at an API server that does not answer or does not serve a kind yet.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// Waits until objects of this kind can be listed in the scope of the operator.
///
/// That needs no right but the one to list them, which is needed anyway, and is what counts: a definition that exists
/// may not be served yet.
pub(super) async fn wait_until_served(client: &Client, resource: &ApiResource, scope: &Scope, health: &Health) {
    // As untyped objects: one that does not fit our types must not keep the operator from starting.
    let objects: Api<DynamicObject> = match scope {
        Scope::AllNamespaces => Api::all_with(client.clone(), resource),
        Scope::Namespace(namespace) => Api::namespaced_with(client.clone(), namespace, resource),
    };
    let (what, one) = (format!("list {}", resource.plural), ListParams::default().limit(1));
    let mut told = None;
    loop {
        let stage = match call(&what, objects.list(&one)).await {
            Ok(_) => return,
            Err(error) if error.code() == Some(404) => {
                warn_once(
                    &mut told,
                    format!("{}: {}.{} is missing", Stage::WaitingForCrd, resource.plural, resource.group),
                );
                Stage::WaitingForCrd
            }
            Err(error) => {
                warn_once(&mut told, format!("could not {error}"));
                Stage::Connecting
            }
        };
        health.reached(stage);
        time::sleep(LOOK_AGAIN).await;
    }
}

/// Logs a state of affairs when it is new, not at every look.
fn warn_once(told: &mut Option<String>, words: String) {
    if told.as_ref() != Some(&words) {
        warn!("{words}");
        *told = Some(words);
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
    use k8s_openapi::api::core::v1::ConfigMap;
    use kube::client::Body;
    use tokio::pin;
    use tower::service_fn;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// An API server that answers with these codes, one after the other, and lists nothing in the end.
    fn api_server(codes: &'static [u16], calls: &Arc<AtomicU32>) -> Client {
        let calls = calls.clone();
        let service = service_fn(move |request: Request<Body>| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            assert_eq!(request.uri().path(), "/api/v1/namespaces/a/configmaps");
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
        let resource = ApiResource::erase::<ConfigMap>(&());
        let scope = Scope::Namespace("a".to_owned());
        let waiting = wait_until_served(&client, &resource, &scope, &health);
        pin!(waiting);
        time::timeout(SECOND, &mut waiting).await.expect_err("the API server is not well");
        assert_eq!(health.stage(), Stage::Connecting);
        time::timeout(2 * SECOND, &mut waiting).await.expect_err("no CRD");
        assert_eq!(health.stage(), Stage::WaitingForCrd);
        time::timeout(5 * SECOND, waiting).await.expect("the CRD has come");
        assert_eq!(calls.load(Ordering::Relaxed), 4);
    }
}
