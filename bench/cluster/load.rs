//! The objects of a scenario: made, counted when they have ended, removed.

use std::{
    pin::pin,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{StreamExt, TryStreamExt, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject, GroupVersionKind, PartialObjectMeta, PostParams},
    runtime::{WatchStreamExt, watcher},
};
use serde_json::{Value, json};

/// How many requests the load itself has under way.
const AT_ONCE: usize = 16;

/// Objects of one kind in a namespace of their own.
pub(crate) struct Load {
    pub(crate) client: Client,
    pub(crate) namespace: String,
    resource: ApiResource,
    /// Selects those that have ended well.
    ended: &'static str,
}

impl Load {
    pub(crate) async fn of_tasks(client: &Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("longtask.dev", "v1alpha1", "LongTask");
        Self::open(client, namespace, ApiResource::from_gvk(&kind), "status.phase=Succeeded").await
    }

    pub(crate) async fn of_jobs(client: &Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("batch", "v1", "Job");
        Self::open(client, namespace, ApiResource::from_gvk(&kind), "status.successful=1").await
    }

    async fn open(client: &Client, namespace: &str, resource: ApiResource, ended: &'static str) -> Result<Self> {
        super::rig::delete_namespace(client, namespace).await?;
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { client: client.clone(), namespace: namespace.into(), resource, ended })
    }

    pub(crate) fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &self.resource)
    }

    /// Creates that many, as fast as the API server takes them. Names are numbered.
    pub(crate) async fn create(&self, count: usize, manifest: impl Fn(usize) -> Value) -> Result<()> {
        let api = self.api();
        let create = |number| {
            let (api, manifest) = (api.clone(), manifest(number));
            async move {
                let object: DynamicObject = serde_json::from_value(manifest)?;
                api.create(&PostParams::default(), &object).await.context("create an object of the load")?;
                anyhow::Ok(())
            }
        };
        stream::iter(0..count).map(create).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    /// Waits until that many have ended well; tells every tenth on the way.
    pub(crate) async fn until_ended(&self, count: usize, limit: Duration) -> Result<()> {
        let began = Instant::now();
        let wait = async {
            let config = watcher::Config::default().fields(self.ended);
            let api: Api<PartialObjectMeta<DynamicObject>> =
                Api::namespaced_with(self.client.clone(), &self.namespace, &self.resource);
            let mut ended = pin!(watcher(api, config).default_backoff().applied_objects());
            let mut names = std::collections::HashSet::new();
            while names.len() < count {
                let Some(object) = ended.try_next().await? else { break };
                let is_new = names.insert(object.metadata.name);
                if is_new && names.len() % (count / 10).max(1) == 0 {
                    println!("    {:>6} of {count} after {:.1} s", names.len(), began.elapsed().as_secs_f64());
                }
            }
            anyhow::Ok(())
        };
        tokio::time::timeout(limit, wait).await.with_context(|| format!("not all ended within {limit:?}"))?
    }
}

/// A task whose pods run that long, as one segment.
pub(crate) fn task(name: &str, run: &str) -> Value {
    task_of(name, &json!({ "bench.longtask.dev/run": run }))
}

/// A task of so many segments, each that long.
pub(crate) fn chain(name: &str, run: &str, segments: usize) -> Value {
    let annotations = json!({ "bench.longtask.dev/run": run, "bench.longtask.dev/segments": segments.to_string() });
    task_of(name, &annotations)
}

/// A task whose pods are as these annotations say; see stages.yaml.
pub(crate) fn task_of(name: &str, annotations: &Value) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name },
        "spec": { "segment": { "duration": "1h" }, "template": template(annotations, None) },
    })
}

/// A Job of one pod that runs that long.
pub(crate) fn job(name: &str, run: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "template": template(&json!({ "bench.longtask.dev/run": run }), Some("Never")) },
    })
}

fn template(annotations: &Value, restart_policy: Option<&str>) -> Value {
    let mut spec = json!({
        "automountServiceAccountToken": false,
        "containers": [{ "name": "main", "image": "kwok", "command": ["work"],
                         "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } } }],
    });
    if let Some(policy) = restart_policy {
        spec["restartPolicy"] = json!(policy);
    }
    json!({ "metadata": { "annotations": annotations }, "spec": spec })
}
