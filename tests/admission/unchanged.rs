//! What is applied a second time is as it was: tools that compare a manifest with what is stored, such as `kubectl apply`
//! and Argo CD, compare lists whole, and a default that the server writes into one is a difference for ever.

use crate::{
    kubectl::{Namespace, task},
    manifests,
};

/// What is special, and what stands below `spec`: list items that leave out what has a default.
const LEAVING_OUT: &[(&str, &str)] = &[
    (
        "the status of a condition",
        "failurePolicy: {rules: [{name: a, onPodConditions: [{type: DisruptionTarget}], action: Ignore}]}",
    ),
    (
        "the factor of a memory raise",
        "failurePolicy: {rules: [{name: a, onReasons: [OOMKilled], action: Retry, memory: {max: 1Gi}}]}",
    ),
    (
        "the protocol of a port",
        "template: {spec: {containers: [{name: main, image: x, ports: [{containerPort: 8080}]}], \
         initContainers: [{name: proxy, image: x, restartPolicy: Always, ports: [{containerPort: 8080}]}]}}",
    ),
    (
        "what core fills in",
        "template: {spec: {containers: [{name: main, image: x, livenessProbe: {httpGet: {port: 80}}, \
         env: [{name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}], volumeMounts: [{name: a, mountPath: /a}]}], \
         volumes: [{name: a, configMap: {name: a}}], \
         topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: ScheduleAnyway}]}}",
    ),
];

/// What the second apply of a manifest says, when that is not that nothing has changed.
fn change_by_second_apply(namespace: &Namespace, manifest: &str) -> Option<String> {
    let apply = || namespace.kubectl(&["apply", "-f", "-"], manifest).expect_ok();
    apply();
    let second = apply();
    (!second.ends_with(" unchanged\n")).then_some(second)
}

#[test]
fn a_second_apply_of_what_is_documented_changes_nothing() {
    let namespace = Namespace::without_pods("documented");
    let manifests = manifests::all();
    assert!(manifests.len() > 8, "{}", manifests.len());
    let changed: Vec<_> = manifests
        .iter()
        .filter_map(|manifest| Some((&manifest.file, change_by_second_apply(&namespace, &manifest.text)?)))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
}

#[test]
fn a_second_apply_of_items_that_leave_out_defaults_changes_nothing() {
    let namespace = Namespace::without_pods("left-out");
    let changed: Vec<_> = LEAVING_OUT
        .iter()
        .filter_map(|(what, spec)| Some((what, change_by_second_apply(&namespace, &task("left-out", spec))?)))
        .collect();
    assert!(changed.is_empty(), "{changed:?}");
}
