//! What is installed in a cluster: the chart, and `deploy/longtask.yaml`, which is rendered from it.
//!
//! Needs helm 4: `make tools` builds it into a directory that `make test` has on its PATH.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Output},
};

use serde_json::Value;

/// All that the operator asks of the API server. A call that is not here fails in a real cluster; a right that nothing
/// needs does not belong here.
const RIGHTS: [&str; 17] = [
    "longtask.dev/longtasks get",
    "longtask.dev/longtasks list",
    "longtask.dev/longtasks watch",
    // For ttlAfterFinished.
    "longtask.dev/longtasks delete",
    // The status is replaced, never patched: a merge would mix an old checkpoint's keys into the new one.
    "longtask.dev/longtasks/status update",
    // To block the deletion of a task until its pods are gone, where an admission plugin guards that.
    "longtask.dev/longtasks/finalizers update",
    // `get` confirms that a pod is gone; `patch` lowers the deadline and drops the finalizer.
    "/pods get",
    "/pods list",
    "/pods watch",
    "/pods create",
    "/pods patch",
    "/pods delete",
    // `patch` counts an event of which there was one already.
    "events.k8s.io/events create",
    "events.k8s.io/events patch",
    "coordination.k8s.io/leases create",
    "coordination.k8s.io/leases/longtask get",
    "coordination.k8s.io/leases/longtask update",
];

fn helm(args: &[&str]) -> Output {
    Command::new("helm")
        .args(args)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap_or_else(|error| panic!("run helm: {error}. `make tools` installs it; `make test` finds it"))
}

fn rendered(settings: &[&str]) -> String {
    let mut args = vec!["template", "longtask", "charts/longtask", "--namespace", "longtask-system"];
    for setting in settings {
        args.extend(["--set", setting]);
    }
    let Output { status, stdout, stderr } = helm(&args);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).expect("manifests are text")
}

fn objects(manifests: &str) -> Vec<Value> {
    manifests
        .split("\n---\n")
        .map(|text| serde_saphyr::from_str::<Value>(text).expect("each document is YAML"))
        .filter(|object| !object.is_null())
        .collect()
}

fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
    objects
        .iter()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("no {kind} {name}"))
}

fn strings(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

/// The rules of a role as lines like those of [`RIGHTS`].
fn rights(role: &Value) -> BTreeSet<String> {
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().expect("a role has rules") {
        for group in strings(&rule["apiGroups"]) {
            for resource in strings(&rule["resources"]) {
                let names: Vec<_> = strings(&rule["resourceNames"]).map(|name| format!("/{name}")).collect();
                let names = if names.is_empty() { vec![String::new()] } else { names };
                for verb in strings(&rule["verbs"]) {
                    rights.extend(names.iter().map(|name| format!("{group}/{resource}{name} {verb}")));
                }
            }
        }
    }
    rights
}

/// The rights of all roles that are bound to the operator's service account.
fn operator_rights(objects: &[Value]) -> BTreeSet<String> {
    let bindings =
        objects.iter().filter(|object| object["kind"].as_str().is_some_and(|kind| kind.ends_with("Binding")));
    bindings
        .flat_map(|binding| {
            assert_eq!(binding["subjects"][0]["name"], "longtask");
            assert_eq!(binding["subjects"][0]["namespace"], "longtask-system");
            let role = &binding["roleRef"];
            let (kind, name) = (role["kind"].as_str().expect("a kind"), role["name"].as_str().expect("a name"));
            rights(named(objects, kind, name))
        })
        .collect()
}

fn expected_rights() -> BTreeSet<String> {
    RIGHTS.into_iter().map(str::to_owned).collect()
}

#[test]
fn deploy_is_what_the_chart_renders() {
    let rendered = rendered(&["namespace.create=true"]);
    let committed = fs::read_to_string("deploy/longtask.yaml").expect("deploy/longtask.yaml");
    assert!(rendered == committed, "deploy/longtask.yaml is out of date; `make generate` writes it");
}

#[test]
fn the_chart_has_the_generated_definition() {
    let generated = fs::read_to_string("crds/longtask.dev_longtasks.yaml").expect("the definition");
    let in_chart = fs::read_to_string("charts/longtask/files/crd.yaml").expect("the chart's copy");
    assert!(generated == in_chart, "charts/longtask/files/crd.yaml is out of date; `make generate` writes it");
}

#[test]
fn the_chart_follows_the_version_of_the_crate() {
    let chart = fs::read_to_string("charts/longtask/Chart.yaml").expect("Chart.yaml");
    let chart: Value = serde_saphyr::from_str(&chart).expect("YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_chart_has_nothing_to_lint() {
    let Output { status, stdout, .. } = helm(&["lint", "--strict", "--quiet", "charts/longtask"]);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stdout));
}

#[test]
fn the_operator_may_do_what_it_does_and_no_more() {
    assert_eq!(operator_rights(&objects(&rendered(&[]))), expected_rights());
}

#[test]
fn with_one_namespace_no_right_reaches_beyond_it() {
    let objects = objects(&rendered(&["watch.namespace=team-a"]));
    assert_eq!(operator_rights(&objects), expected_rights());
    assert!(objects.iter().all(|object| !object["kind"].as_str().unwrap_or_default().starts_with("ClusterRole")));
    assert_eq!(named(&objects, "Role", "longtask")["metadata"]["namespace"], "team-a");
    assert_eq!(named(&objects, "RoleBinding", "longtask")["metadata"]["namespace"], "team-a");
    assert_eq!(named(&objects, "Role", "longtask-lease")["metadata"]["namespace"], "longtask-system");
    let args = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"]["containers"][0]["args"];
    assert!(strings(args).any(|arg| arg == "--namespace=team-a"), "{args}");
}

#[test]
fn the_definition_survives_an_uninstall_and_can_be_left_out() {
    let definition = |settings: &[&str]| {
        let all = objects(&rendered(settings));
        all.into_iter().find(|object| object["kind"] == "CustomResourceDefinition")
    };
    let keep = |definition: &Value| definition["metadata"]["annotations"]["helm.sh/resource-policy"].clone();
    assert_eq!(definition(&[]).as_ref().map(keep), Some(Value::from("keep")));
    assert_eq!(definition(&["crds.keep=false"]).as_ref().map(keep), Some(Value::Null));
    assert_eq!(definition(&["crds.install=false"]), None);
}

#[test]
fn the_pods_meet_the_restricted_pod_security_standard() {
    let objects = objects(&rendered(&["namespace.create=true"]));
    let namespace = named(&objects, "Namespace", "longtask-system");
    assert_eq!(namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"], "restricted");
    let pod = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(pod["securityContext"]["runAsUser"], 65532);
    assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
    let container = &pod["containers"][0]["securityContext"];
    assert_eq!(container["allowPrivilegeEscalation"], false);
    assert_eq!(container["readOnlyRootFilesystem"], true);
    assert_eq!(strings(&container["capabilities"]["drop"]).collect::<Vec<_>>(), ["ALL"]);
}

#[test]
fn an_image_is_pinned_by_its_digest() {
    let image = |settings: &[&str]| {
        let objects = objects(&rendered(settings));
        let pod = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"];
        pod["containers"][0]["image"].as_str().expect("an image").to_owned()
    };
    assert_eq!(image(&["image.tag=1.2"]), "longtask/longtask:1.2");
    assert_eq!(image(&["image.tag=1.2", "image.digest=sha256:ab"]), "longtask/longtask@sha256:ab");
}

/// The arguments of the Deployment are understood by the program that it runs.
#[test]
fn the_program_accepts_the_charts_arguments() {
    let objects = objects(&rendered(&["watch.namespace=team-a", "operator.apiQps=50"]));
    let args = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"]["containers"][0]["args"];
    let words = ["longtask"].into_iter().chain(strings(args));
    <longtask::cli::Cli as clap::Parser>::try_parse_from(words).expect("valid arguments");
}
