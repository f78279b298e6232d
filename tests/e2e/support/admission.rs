//! What stories have the API server refuse in their namespace, by a policy or since a webhook is away, or add to pods.

use std::{fmt::Debug, time::Duration};

use k8s_openapi::api::{
    admissionregistration::v1::{
        MutatingAdmissionPolicy, MutatingAdmissionPolicyBinding, ValidatingAdmissionPolicy,
        ValidatingAdmissionPolicyBinding, ValidatingWebhookConfiguration,
    },
    coordination::v1::Lease,
    core::v1::Pod,
};
use kube::{
    Api, Client, Resource, ResourceExt,
    api::{DeleteParams, ListParams, ObjectMeta, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    lab::{Lab, PATIENCE, RUN_LABEL, has_run_ended, is_not_found, this_run},
    outage::Undo,
};

/// Something that makes the API server refuse; taken away when this goes, be it in a panic.
#[must_use = "it is taken away when this is dropped"]
pub(crate) struct Obstacle<'a> {
    lab: &'a Lab,
    name: String,
    undo: Undo,
}

/// Writes that a policy refuses.
pub(crate) struct Writes<'a> {
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) operations: &'a [&'a str],
    /// How the names of the objects begin; all when it is empty.
    pub(crate) named: &'a str,
}

impl Obstacle<'_> {
    /// Takes it away, and returns when the API server heeds it no more.
    pub(crate) async fn remove(self) {
        self.undo.now().await;
        until_probed(self.lab, &self.name, false).await;
    }
}

/// Has a policy refuse these writes, with that reason and in these words; returns when it does.
pub(crate) async fn refuse<'a>(lab: &'a Lab, writes: &Writes<'_>, reason: &str, words: &str) -> Obstacle<'a> {
    let name = format!("{}-{}", short_name(lab), reason.to_lowercase());
    let undo = undo("validatingadmissionpolicybindings,validatingadmissionpolicies", &name);
    let Writes { group, resource, operations, named } = writes;
    let allows = format!(
        "request.resource.resource == 'leases' ? request.name != '{name}' : !request.name.startsWith('{named}')"
    );
    let policy = json!({ "metadata": metadata(&name), "spec": {
        "failurePolicy": "Fail",
        "matchConstraints": {
            "namespaceSelector": only_in(lab), "resourceRules": [rule(group, operations, resource), rule_of_probe()],
        },
        "validations": [{ "expression": allows, "message": words, "reason": reason }],
    } });
    let binding = json!({
        "metadata": metadata(&name), "spec": { "policyName": name, "validationActions": ["Deny"] },
    });
    create::<ValidatingAdmissionPolicy>(lab, policy).await;
    create::<ValidatingAdmissionPolicyBinding>(lab, binding).await;
    until_probed(lab, &name, true).await;
    Obstacle { lab, name, undo }
}

/// Has each new pod be shown to a webhook at that address first; returns when it is.
pub(crate) async fn ask_webhook<'a>(lab: &'a Lab, address: &str, timeout_seconds: i32) -> Obstacle<'a> {
    let name = short_name(lab);
    let undo = undo("validatingwebhookconfigurations", &name);
    let webhook = |name: &str, address: &str, timeout_seconds: i32, rule: Value| {
        json!({
            "name": name, "admissionReviewVersions": ["v1"], "sideEffects": "None", "failurePolicy": "Fail",
            "timeoutSeconds": timeout_seconds, "namespaceSelector": only_in(lab), "rules": [rule],
            "clientConfig": { "url": format!("https://{address}/check") },
        })
    };
    let configuration = json!({ "metadata": metadata(&name), "webhooks": [
        webhook("pods.example.com", address, timeout_seconds, rule("", &["CREATE"], "pods")),
        webhook("probe.example.com", NOBODY, 1, rule_of_probe()),
    ] });
    create::<ValidatingWebhookConfiguration>(lab, configuration).await;
    until_probed(lab, &name, true).await;
    Obstacle { lab, name, undo }
}

/// Has each new pod that has init containers get another one, before them, as a service mesh does; returns when it does. It
/// is written in CEL.
pub(crate) async fn inject(lab: &Lab, container: &str) -> Undo {
    let name = short_name(lab);
    let undo = undo("mutatingadmissionpolicybindings,mutatingadmissionpolicies", &name);
    let add = format!(r#"[JSONPatch{{ op: "add", path: "/spec/initContainers/0", value: {container} }}]"#);
    let policy = json!({ "metadata": metadata(&name), "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": { "namespaceSelector": only_in(lab), "resourceRules": [rule("", &["CREATE"], "pods")] },
        "matchConditions": [{ "name": "has-others", "expression": "has(object.spec.initContainers)" }],
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": add } }],
    } });
    let binding = json!({ "metadata": metadata(&name), "spec": { "policyName": name } });
    create::<MutatingAdmissionPolicy>(lab, policy).await;
    create::<MutatingAdmissionPolicyBinding>(lab, binding).await;
    until_injected(lab).await;
    undo
}

/// Takes away what runs of the tests left behind that were killed: it would hold their namespaces and pods for ever, and
/// stories that look at the whole cluster would see them.
pub(super) async fn remove_obstacles_of_killed_runs(client: &Client) {
    remove_left_behind::<ValidatingAdmissionPolicyBinding>(client).await;
    remove_left_behind::<ValidatingAdmissionPolicy>(client).await;
    remove_left_behind::<ValidatingWebhookConfiguration>(client).await;
    remove_left_behind::<MutatingAdmissionPolicyBinding>(client).await;
    remove_left_behind::<MutatingAdmissionPolicy>(client).await;
}

async fn remove_left_behind<K>(client: &Client)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    let obstacles: Api<K> = Api::all(client.clone());
    let of_tests = ListParams::default().labels(RUN_LABEL);
    for left in obstacles.list(&of_tests).await.expect("list obstacles") {
        let run = left.labels().get(RUN_LABEL).map_or("", String::as_str);
        if has_run_ended(run) {
            println!("left behind by {run}, and removed: {}", left.name_any());
            let deleted = obstacles.delete(&left.name_any(), &DeleteParams::default()).await;
            assert!(deleted.is_ok() || is_not_found(deleted.as_ref().err()), "remove an obstacle: {deleted:?}");
        }
    }
}

/// Where nobody listens.
pub(crate) const NOBODY: &str = "127.0.0.1:9";

/// Short: it stands in the API server's words, of which a condition keeps a part.
fn short_name(lab: &Lab) -> String {
    format!("e2e-{}", lab.namespace.rsplit('-').next().unwrap_or_default())
}

fn metadata(name: &str) -> Value {
    json!({ "name": name, "labels": { RUN_LABEL: this_run() } })
}

fn only_in(lab: &Lab) -> Value {
    json!({ "matchLabels": { "kubernetes.io/metadata.name": lab.namespace } })
}

fn rule(group: &str, operations: &[&str], resource: &str) -> Value {
    json!({ "apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": [resource] })
}

/// What nobody else creates there, and is refused as well: tells from when on an obstacle is heeded, and until when.
fn rule_of_probe() -> Value {
    rule("coordination.k8s.io", &["CREATE"], "leases")
}

async fn create<K>(lab: &Lab, object: Value)
where
    K: Resource<DynamicType = ()> + Clone + Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).expect("an object");
    Api::all(lab.client.clone()).create(&PostParams::default(), &object).await.expect("create the obstacle");
}

/// The API server tells nobody when it has taken in a policy, so this asks often.
async fn until_probed(lab: &Lab, name: &str, is_refused: bool) {
    let leases: Api<Lease> = lab.api();
    let metadata = ObjectMeta { name: Some(name.to_owned()), ..ObjectMeta::default() };
    let probe = Lease { metadata, ..Lease::default() };
    let dry_run = PostParams { dry_run: true, ..PostParams::default() };
    let limit = Duration::from_secs(15) * PATIENCE;
    let deadline = Instant::now() + limit;
    while leases.create(&dry_run, &probe).await.is_err() != is_refused {
        assert!(Instant::now() < deadline, "whether {name} refuses is not {is_refused} within {limit:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

/// Likewise, with a pod that is not made.
async fn until_injected(lab: &Lab) {
    let container = |name: &str| json!({ "name": name, "image": "probe" });
    let spec = json!({ "initContainers": [container("init")], "containers": [container("main")] });
    let probe = json!({ "metadata": { "name": "probe" }, "spec": spec });
    lab.until_pods_are_admitted(&probe).await;
    let probe: Pod = serde_json::from_value(probe).expect("a pod");
    let (pods, dry_run) = (lab.api::<Pod>(), PostParams { dry_run: true, ..PostParams::default() });
    let limit = Duration::from_secs(15) * PATIENCE;
    let deadline = Instant::now() + limit;
    loop {
        let made = pods.create(&dry_run, &probe).await.expect("such a pod is admitted");
        if made.spec.and_then(|spec| spec.init_containers).is_some_and(|containers| containers.len() > 1) {
            return;
        }
        assert!(Instant::now() < deadline, "pods get no other container within {limit:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn undo(resources: &str, name: &str) -> Undo {
    Undo::by(&["kubectl", "delete", "--ignore-not-found", resources, name])
}
