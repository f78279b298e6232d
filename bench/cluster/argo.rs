//! Argo Workflows, the peer whose retries are what people chain pods with today: its controller, its definitions, and a
//! workflow whose one step is tried again until it succeeds.
//!
//! Settings: those of its guides on scaling, with the limits that the other sides have, plus a re-queue time of 10 ms
//! instead of 10 s. Its pods are deleted as they end, as ours are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use k8s_openapi::api::{
    core::v1::{ConfigMap, Namespace},
    rbac::v1::{Role, RoleBinding},
};
use kube::{Api, Client, api::PostParams};
use serde_json::{Value, json};

use crate::{
    load,
    rig::{OPERATOR_NAMESPACE, Running, create_unless_there, define},
};

/// Where its controller finds its settings: in its own namespace.
const SETTINGS: &str = "workflow-controller-configmap";
const DEFINITIONS: [&str; 8] = [
    "clusterworkflowtemplates",
    "cronworkflows",
    "workflowartifactgctasks",
    "workfloweventbindings",
    "workflows",
    "workflowtaskresults",
    "workflowtasksets",
    "workflowtemplates",
];

/// What `make bench` has built: the controller, and the definitions that its manifests install.
fn folder() -> Result<PathBuf> {
    let folder = env::var("ARGO").context("ARGO names the folder with Argo's controller; `make bench` sets it")?;
    Ok(folder.into())
}

/// Its definitions, of the kind that its quick start installs, and its settings.
pub(crate) async fn install(client: &Client) -> Result<()> {
    for kind in DEFINITIONS {
        let file = folder()?.join(format!("crds/argoproj.io_{kind}.yaml"));
        let text = std::fs::read_to_string(&file).with_context(|| file.display().to_string())?;
        define(client, &format!("{kind}.argoproj.io"), &text).await?;
    }
    let namespace: Namespace = serde_json::from_value(json!({ "metadata": { "name": OPERATOR_NAMESPACE } }))?;
    create_unless_there(Api::all(client.clone()), &namespace).await?;
    let settings: ConfigMap = serde_json::from_value(json!({
        "metadata": { "name": SETTINGS }, "data": { "metricsConfig": "enabled: false\n" },
    }))?;
    create_unless_there(Api::namespaced(client.clone(), OPERATOR_NAMESPACE), &settings).await
}

/// What its documentation gives to the account of a workflow's pods: they write down what became of them.
pub(crate) async fn let_pods_report(client: &Client, namespace: &str) -> Result<()> {
    let name = "executor";
    let role: Role = serde_json::from_value(json!({
        "metadata": { "name": name },
        "rules": [{ "apiGroups": ["argoproj.io"], "resources": ["workflowtaskresults"], "verbs": ["create", "patch"] }],
    }))?;
    let binding: RoleBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name },
        "subjects": [{ "kind": "ServiceAccount", "name": "default", "namespace": namespace }],
    }))?;
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &role).await?;
    Api::namespaced(client.clone(), namespace).create(&PostParams::default(), &binding).await?;
    Ok(())
}

/// The controller.
pub(crate) fn start(kubeconfig: &Path, log: &Path) -> Result<Running> {
    let kubeconfig_argument = format!("--kubeconfig={}", kubeconfig.display());
    let namespace = format!("--namespace={OPERATOR_NAMESPACE}");
    let line = [
        kubeconfig_argument.as_str(),
        namespace.as_str(),
        "--qps=1000",
        "--burst=1000",
        "--workflow-workers=50",
        "--pod-cleanup-workers=50",
        "--loglevel=error",
        "--executor-image=localhost/argoexec:bench",
        "--executor-image-pull-policy=IfNotPresent",
    ];
    let variables =
        [("DEFAULT_REQUEUE_TIME", "10ms"), ("LEADER_ELECTION_DISABLE", "true"), ("LEADER_ELECTION_IDENTITY", "bench")];
    Running::start(&folder()?.join("workflow-controller"), &line.map(str::to_owned), &variables, log, kubeconfig)
}

/// A workflow of one step in so many attempts, of which all but the last fail; see stages.yaml.
///
/// Its attempts carry the labels by which a bystander knows a task's, counted from 0.
pub(crate) fn chain(name: &str, run: &Value, attempts: usize) -> Value {
    let mut annotations = run.clone();
    annotations["bench.longtask.dev/segments"] = json!((attempts - 1).to_string());
    let labels = json!({ "longtask.dev/task": "{{workflow.name}}", "longtask.dev/attempt": "{{retries}}" });
    let mut workflow = tried_again(name, &load::container(), &json!([]));
    workflow["spec"]["templates"][0]["metadata"] = json!({ "annotations": annotations, "labels": labels });
    workflow
}

/// A workflow of one step that is tried again until it succeeds.
pub(crate) fn tried_again(name: &str, container: &Value, volumes: &Value) -> Value {
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": { "name": name },
        "spec": {
            "entrypoint": "main",
            "podGC": { "strategy": "OnPodCompletion", "deleteDelayDuration": "0s" },
            "volumes": volumes,
            "templates": [{
                "name": "main",
                "retryStrategy": { "limit": "100", "retryPolicy": "Always" },
                "container": container,
            }],
        },
    })
}

/// A workflow with a step for each item of a list, whose pods run that long, so many at a time.
pub(crate) fn fan_out(name: &str, run: &str, count: usize, parallel: usize) -> Value {
    let items: Vec<_> = (0..count).collect();
    json!({
        "apiVersion": "argoproj.io/v1alpha1", "kind": "Workflow", "metadata": { "name": name },
        "spec": {
            "entrypoint": "all",
            "parallelism": parallel,
            "podGC": { "strategy": "OnPodCompletion", "deleteDelayDuration": "0s" },
            "templates": [
                { "name": "all", "steps": [[{
                    "name": "one", "template": "one", "withParam": json!(items).to_string(),
                    "arguments": { "parameters": [{ "name": "item", "value": "{{item}}" }] },
                }]] },
                {
                    "name": "one",
                    "inputs": { "parameters": [{ "name": "item" }] },
                    "metadata": { "annotations": { "bench.longtask.dev/run": run } },
                    "container": load::container(),
                },
            ],
        },
    })
}
