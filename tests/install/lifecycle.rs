//! Install, upgrade, rollback, the loss of the leader, uninstall.

use std::time::{Duration, Instant};

use super::support::{
    Namespace, Release, SYSTEM, apply, eventually, first_manifest, get, helm, items, kubectl, run, scratch, stderr,
};

/// A killed leader is replaced within this time.
const TAKEN_OVER: Duration = Duration::from_secs(15);

#[test]
fn the_readmes_first_task_succeeds_on_the_chart_as_it_comes() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-first");
    let output = apply(&first_manifest(), &["--namespace", &namespace.name]);
    assert!(output.status.success(), "{}", stderr(&output));
    namespace.succeeds("import-orders");
    assert_eq!(release.pods().len(), 2, "two replicas");
    let pod = &get(&["pod", "import-orders-1", "--namespace", &namespace.name])["spec"];
    assert_eq!(pod["automountServiceAccountToken"], false);
    let has_token = pod["volumes"].to_string().contains("serviceAccountToken");
    assert!(!has_token, "the program has no token for the API: {:#}", pod["volumes"]);
}

#[test]
fn an_upgrade_and_a_rollback_lose_and_double_no_attempt_of_a_running_chain() {
    let folder = scratch("charts");
    let folder = folder.to_str().expect("UTF-8");
    // There is no earlier release yet: the chart under an earlier version, with other values.
    helm(&["package", "charts/longtask", "--version=0.0.1", "--destination", folder]);
    let release = Release::install(&format!("{folder}/longtask-0.0.1.tgz"), &["operator.concurrency=8"]);
    let namespace = Namespace::create(&release, "install-upgrade");
    namespace.start_chain("chained", 40);
    namespace.until_attempt("chained", 2);

    let before = release.pods();
    release.upgrade("charts/longtask", &[]);
    let after = release.pods();
    assert!(after.len() == 2 && after.iter().all(|pod| !before.contains(pod)), "{before:?} were replaced: {after:?}");
    let reached = namespace.attempt("chained");
    namespace.until_attempt("chained", reached + 1);

    release.roll_back();
    assert!(release.pods().iter().all(|pod| !after.contains(pod)), "{after:?} were replaced");
    let history = helm(&["history", "longtask", "--namespace", SYSTEM]);
    assert!(history.contains("Rollback to 1"), "{history}");
    let reached = namespace.attempt("chained");
    namespace.until_attempt("chained", reached + 1);
    namespace.succeeds("chained");
}

#[test]
fn another_replica_goes_on_within_15_seconds_when_the_leaders_pod_is_gone() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-leader");
    namespace.start_chain("handed-on", 25);
    namespace.until_attempt("handed-on", 2);
    let leader = release.leader();
    assert!(release.pods().contains(&leader), "{leader} is a pod of the operator");

    let killed = Instant::now();
    kubectl(&["delete", "pod", &leader, "--namespace", SYSTEM, "--grace-period=0", "--force"]);
    eventually("another replica leads", TAKEN_OVER, || {
        let now = release.leader();
        (now != leader && !now.is_empty()).then_some(())
    });
    println!("another replica led {:?} after the kill", killed.elapsed());
    namespace.succeeds("handed-on");
}

#[test]
fn an_uninstall_keeps_the_tasks_and_another_install_goes_on_with_them() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-uninstall");
    namespace.start_chain("kept", 25);
    namespace.until_attempt("kept", 2);

    helm(&["uninstall", "longtask", "--namespace", SYSTEM, "--wait"]);
    let mine = "--selector=app.kubernetes.io/instance=longtask";
    let left = get(&["all,roles,rolebindings,leases,poddisruptionbudgets", "--namespace", SYSTEM, mine]);
    let left: Vec<_> = items(&left).filter(|object| object["kind"] != "Pod").collect();
    assert!(left.is_empty(), "{left:#?}");
    assert_eq!(items(&get(&["clusterroles,clusterrolebindings", mine])).count(), 0);
    kubectl(&["get", "crd", "longtasks.longtask.dev"]);
    assert!(namespace.attempt("kept") >= 2, "the task is still there");

    // A segment ends without an operator: the kubelet keeps its time.
    eventually("the segment's pod has ended", Duration::from_secs(30), || {
        let pods = get(&["pods", "--namespace", &namespace.name]);
        let is_over =
            |pod: &serde_json::Value| ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or(""));
        items(&pods).all(is_over).then_some(())
    });
    release.install_again();
    namespace.succeeds("kept");
}

#[test]
fn the_api_server_accepts_the_plain_manifests() {
    let _release = Release::install("charts/longtask", &[]);
    let output = run(
        "kubectl",
        &["apply", "--dry-run=server", "--filename=deploy/longtask.yaml", "--server-side", "--force-conflicts"],
    );
    assert!(output.status.success(), "{}", stderr(&output));
}
