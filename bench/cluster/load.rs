//! The objects of a scenario: made, counted when they have ended, removed.

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};
use futures::{Stream, StreamExt, TryStreamExt, future, stream};
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
    ended: Ended,
}

/// What an object that has ended well is known by.
#[derive(Clone, Copy)]
enum Ended {
    Field(&'static str),
    Successes(usize),
    Label(&'static str),
}

impl Load {
    pub(crate) async fn of_tasks(client: &Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("longtask.dev", "v1alpha1", "LongTask");
        Self::open(client, namespace, ApiResource::from_gvk(&kind), Ended::Field("status.phase=Succeeded")).await
    }

    pub(crate) async fn of_jobs(client: &Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("batch", "v1", "Job");
        Self::open(client, namespace, ApiResource::from_gvk(&kind), Ended::Field("status.successful=1")).await
    }

    pub(crate) async fn of_workflows(client: &Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Workflow");
        // Its definitions have no selectable fields; its controller tells the phase by a label.
        Self::open(
            client,
            namespace,
            ApiResource::from_gvk(&kind),
            Ended::Label("workflows.argoproj.io/phase=Succeeded"),
        )
        .await
    }

    pub(crate) async fn of_sets(client: &Client, namespace: &str) -> Result<Self> {
        let kind = GroupVersionKind::gvk("longtask.dev", "v1alpha1", "LongTaskSet");
        Self::open(client, namespace, ApiResource::from_gvk(&kind), Ended::Field("status.phase=Succeeded")).await
    }

    /// Jobs that have ended well when so many of their pods have.
    pub(crate) async fn of_indexed_jobs(client: &Client, namespace: &str, count: usize) -> Result<Self> {
        let kind = GroupVersionKind::gvk("batch", "v1", "Job");
        Self::open(client, namespace, ApiResource::from_gvk(&kind), Ended::Successes(count)).await
    }

    async fn open(client: &Client, namespace: &str, resource: ApiResource, ended: Ended) -> Result<Self> {
        super::rig::delete_namespace(client, namespace).await?;
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        Api::<Namespace>::all(client.clone()).create(&PostParams::default(), &object).await?;
        Ok(Self { client: client.clone(), namespace: namespace.into(), resource, ended })
    }

    pub(crate) fn api(&self) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &self.namespace, &self.resource)
    }

    /// Creates an object of ours that the load needs: a template, a queue.
    pub(crate) async fn create_beside(&self, manifest: Value) -> Result<()> {
        let object: DynamicObject = serde_json::from_value(manifest)?;
        let kind = object.types.as_ref().context("a manifest has a kind")?.kind.clone();
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("longtask.dev", "v1alpha1", &kind));
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &self.namespace, &resource);
        api.create(&PostParams::default(), &object).await.with_context(|| format!("create a {kind}"))?;
        Ok(())
    }

    /// Creates that many, as fast as the API server takes them. Names are numbered.
    pub(crate) async fn create(&self, count: usize, manifest: impl Fn(usize) -> Value) -> Result<()> {
        let create = |number| self.create_one(manifest(number));
        stream::iter(0..count).map(create).buffer_unordered(AT_ONCE).try_collect::<()>().await
    }

    fn create_one(&self, manifest: Value) -> impl Future<Output = Result<()>> + use<> {
        let api = self.api();
        async move {
            let object: DynamicObject = serde_json::from_value(manifest)?;
            api.create(&PostParams::default(), &object).await.context("create an object of the load")?;
            Ok(())
        }
    }

    /// Creates that many, so many at a time: each of the others when one before it has ended well. Waits for all; tells every tenth on
    /// the way.
    pub(crate) async fn run(
        &self,
        count: usize,
        at_a_time: usize,
        manifest: impl Fn(usize) -> Value,
        limit: Duration,
    ) -> Result<()> {
        self.create(at_a_time.min(count), &manifest).await?;
        let mut others = at_a_time..count;
        let next = |()| {
            let create = others.next().map(|number| self.create_one(manifest(number)));
            async move { if let Some(create) = create { create.await } else { Ok(()) } }
        };
        within(limit, self.ended(count).map_ok(next).try_buffer_unordered(AT_ONCE).try_collect()).await
    }

    /// Waits until that many have ended well; tells every tenth on the way.
    pub(crate) async fn until_ended(&self, count: usize, limit: Duration) -> Result<()> {
        within(limit, self.ended(count).try_collect()).await
    }

    /// An item for each object that has ended well, up to that many.
    fn ended(&self, count: usize) -> impl Stream<Item = Result<()>> + use<> {
        let began = Instant::now();
        let config = match self.ended {
            Ended::Field(selector) => watcher::Config::default().fields(selector),
            Ended::Successes(count) => watcher::Config::default().fields(&format!("status.successful={count}")),
            Ended::Label(selector) => watcher::Config::default().labels(selector),
        };
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::namespaced_with(self.client.clone(), &self.namespace, &self.resource);
        let mut names = HashSet::new();
        let is_new = move |object: &PartialObjectMeta<DynamicObject>| {
            let is_new = names.insert(object.metadata.name.clone());
            if is_new && names.len() % (count / 10).max(1) == 0 {
                println!("    {:>6} of {count} after {:.1} s", names.len(), began.elapsed().as_secs_f64());
            }
            future::ready(is_new)
        };
        watcher(api, config).default_backoff().applied_objects().err_into().try_filter(is_new).map_ok(drop).take(count)
    }
}

async fn within(limit: Duration, work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::time::timeout(limit, work).await.with_context(|| format!("not all ended within {limit:?}"))?
}

/// A task whose pods run that long, as one segment.
pub(crate) fn task(name: &str, run: &str) -> Value {
    task_of(name, &json!({ "bench.longtask.dev/run": run }))
}

/// A task of so many segments.
pub(crate) fn chain(name: &str, run: &Value, segments: usize) -> Value {
    let mut annotations = run.clone();
    annotations["bench.longtask.dev/segments"] = json!(segments.to_string());
    task_of(name, &annotations)
}

/// The annotations of a pod that runs for so many seconds or up to half as long again: what is real does not end in step.
pub(crate) fn about(seconds: u32) -> Value {
    json!({
        "bench.longtask.dev/run": format!("{seconds}s"),
        "bench.longtask.dev/run-at-most": format!("{}s", seconds + seconds / 2),
    })
}

/// A task whose pods are as these annotations say; see stages.yaml.
pub(crate) fn task_of(name: &str, annotations: &Value) -> Value {
    task_with(name, &template(annotations, None))
}

/// A task whose pods are made from that.
pub(crate) fn task_with(name: &str, template: &Value) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name },
        "spec": { "segment": { "duration": "1h" }, "template": template },
    })
}

/// The task, but its program reports while it runs: the status is written every so many seconds at most.
pub(crate) fn live(mut task: Value, interval: u32) -> Value {
    task["spec"]["reporting"] = json!({ "mode": "Live", "interval": format!("{interval}s") });
    task
}

/// The task, but it waits in the queue of that name.
pub(crate) fn queued(mut task: Value, queue: &str) -> Value {
    task["spec"]["queueName"] = json!(queue);
    task
}

/// A queue of so many places.
pub(crate) fn queue(name: &str, places: usize) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "TaskQueue", "metadata": { "name": name },
        "spec": { "maxActive": places },
    })
}

/// A Job of one pod that runs that long.
pub(crate) fn job(name: &str, run: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": name },
        "spec": { "template": template(&json!({ "bench.longtask.dev/run": run }), Some("Never")) },
    })
}

/// A Job of so many pods that run that long, each with an index, so many at a time.
pub(crate) fn indexed_job(name: &str, run: &str, count: usize, parallel: usize) -> Value {
    let mut job = job(name, run);
    job["spec"]["completionMode"] = json!("Indexed");
    job["spec"]["completions"] = json!(count);
    job["spec"]["parallelism"] = json!(parallel);
    job
}

/// The definition of tasks whose pods run that long.
pub(crate) fn template_of(name: &str, run: &str) -> Value {
    template_with(name, &json!({ "bench.longtask.dev/run": run }))
}

/// The definition of tasks whose pods are as these annotations say.
pub(crate) fn template_with(name: &str, annotations: &Value) -> Value {
    let pod = template(annotations, None);
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": name },
        "spec": { "segment": { "duration": "1h" }, "template": pod },
    })
}

/// A task of the template of that name.
pub(crate) fn thin_task(name: &str, template: &str) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name },
        "spec": { "templateRef": { "name": template } },
    })
}

/// So many tasks of the template of that name, so many at a time.
pub(crate) fn set(name: &str, count: usize, parallel: usize) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskSet", "metadata": { "name": name },
        "spec": { "templateRef": { "name": name }, "count": count, "maxParallel": parallel },
    })
}

/// What runs in a pod, if a kubelet were there.
pub(crate) fn container() -> Value {
    json!({
        "name": "main", "image": "kwok", "command": ["work"],
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" } },
    })
}

fn template(annotations: &Value, restart_policy: Option<&str>) -> Value {
    let mut spec = json!({ "automountServiceAccountToken": false, "containers": [container()] });
    if let Some(policy) = restart_policy {
        spec["restartPolicy"] = json!(policy);
    }
    json!({ "metadata": { "annotations": annotations }, "spec": spec })
}
