//! What the templates make of the values.

use std::fs;

use serde_json::Value;

use super::support::{helm, named, objects, rendered, stderr, strings};

#[test]
fn the_chart_follows_the_version_of_the_crate() {
    let chart = fs::read_to_string("charts/longtask/Chart.yaml").expect("Chart.yaml");
    let chart: Value = serde_saphyr::from_str(&chart).expect("YAML");
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_chart_has_nothing_to_lint() {
    let output = helm(&["lint", "--strict", "--quiet", "charts/longtask"]);
    assert!(output.status.success(), "{} {}", String::from_utf8_lossy(&output.stdout), stderr(&output));
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
    assert_eq!(definition(&["crds.enabled=false"]), None);
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
    let digest = format!("sha256:{}", "ab".repeat(32));
    let pinned = image(&["image.tag=1.2", &format!("image.digest={digest}")]);
    assert_eq!(pinned, format!("longtask/longtask@{digest}"));
}

/// The arguments of the Deployment are understood by the program that it runs.
#[test]
fn the_program_accepts_the_charts_arguments() {
    let objects = objects(&rendered(&["watch.namespace=team-a", "operator.apiQps=50", "metrics.tasks=200"]));
    let args = &named(&objects, "Deployment", "longtask")["spec"]["template"]["spec"]["containers"][0]["args"];
    let words = ["longtask"].into_iter().chain(strings(args));
    <longtask::cli::Cli as clap::Parser>::try_parse_from(words).expect("valid arguments");
}

#[test]
fn a_budget_is_made_only_where_a_drain_can_keep_it() {
    let budget = |settings: &[&str]| {
        let all = objects(&rendered(settings));
        all.into_iter().find(|object| object["kind"] == "PodDisruptionBudget")
    };
    assert_eq!(budget(&[]).expect("with two replicas")["spec"]["maxUnavailable"], 1);
    assert_eq!(budget(&["replicaCount=1"]), None);
    assert_eq!(budget(&["podDisruptionBudget.enabled=false"]), None);
}

#[test]
fn the_former_names_of_values_are_understood() {
    let objects = objects(&rendered(&["replicas=1", "crds.install=false"]));
    assert_eq!(named(&objects, "Deployment", "longtask")["spec"]["replicas"], 1);
    let kinds: Vec<_> = objects.iter().filter_map(|object| object["kind"].as_str()).collect();
    assert!(!kinds.contains(&"CustomResourceDefinition") && !kinds.contains(&"PodDisruptionBudget"), "{kinds:?}");
}

/// Objects find their pods by labels that a change of version must not change: a Deployment's selector is immutable.
#[test]
fn selectors_outlive_an_upgrade() {
    let every =
        ["networkPolicy.enabled=true", "metrics.serviceMonitor.enabled=true", "metrics.podMonitor.enabled=true"];
    let objects = objects(&rendered(&every));
    let expected = serde_json::json!({
        "app.kubernetes.io/name": "longtask",
        "app.kubernetes.io/instance": "longtask",
    });
    let deployment = &named(&objects, "Deployment", "longtask")["spec"];
    for selector in [
        &deployment["selector"]["matchLabels"],
        &deployment["template"]["spec"]["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
        &named(&objects, "PodDisruptionBudget", "longtask")["spec"]["selector"]["matchLabels"],
        &named(&objects, "NetworkPolicy", "longtask")["spec"]["podSelector"]["matchLabels"],
        &named(&objects, "ServiceMonitor", "longtask")["spec"]["selector"]["matchLabels"],
        &named(&objects, "PodMonitor", "longtask")["spec"]["selector"]["matchLabels"],
        &named(&objects, "Service", "longtask-metrics")["spec"]["selector"],
    ] {
        assert_eq!(*selector, expected);
    }
}

#[test]
fn policies_for_users_are_made_only_when_asked_for_and_keep_to_the_watched_namespace() {
    let policies = |settings: &[&str]| {
        let mut all = objects(&rendered(settings));
        all.retain(|object| object["kind"].as_str().is_some_and(|kind| kind.starts_with("ValidatingAdmissionPolicy")));
        all
    };
    let of_operator = policies(&[]);
    let names: Vec<_> = of_operator.iter().filter_map(|object| object["metadata"]["name"].as_str()).collect();
    let each = ["longtask-operator-writes", "longtask-operator-creates"];
    let is_expected =
        names.len() == 4 && each.iter().all(|name| names.iter().filter(|found| *found == name).count() == 2);
    assert!(is_expected, "the policies that hold the operator, and their bindings: {names:?}");
    assert_eq!(policies(&["admissionPolicies.operatorWrites.enabled=false"]), [Value::Null; 0]);
    let cluster_wide =
        ["admissionPolicies.startRight.required=true", "admissionPolicies.definitionRight.required=true"];
    assert_eq!(policies(&cluster_wide).len(), 8);
    let of_one_namespace = [&cluster_wide[..], &["watch.namespace=team-a"]].concat();
    assert_eq!(policies(&of_one_namespace), [Value::Null; 0], "nothing cluster-wide");
    let bound = policies(&["admissionPolicies.hostPath.forbidden=true", "watch.namespace=team-a"]);
    let binding = &named(&bound, "ValidatingAdmissionPolicyBinding", "longtask-no-host-path")["spec"];
    assert_eq!(binding["policyName"], bound[0]["metadata"]["name"]);
    let within = &binding["matchResources"]["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"];
    assert_eq!(within, "team-a");
}
