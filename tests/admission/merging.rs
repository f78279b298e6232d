//! Two appliers of one task: lists of the template merge by the keys of core, as those of a Deployment do.

use serde_json::{Value, json};

use crate::kubectl::{Answer, kubectl, task};

fn apply(manager: &str, spec: &str) -> Answer {
    let manager = format!("--field-manager={manager}");
    kubectl(&["apply", "--server-side", &manager, "-f", "-"], &task("merged", spec))
}

#[test]
fn lists_of_the_template_merge_by_the_keys_of_core() {
    apply(
        "team",
        "template: {spec: {
           containers: [{name: main, image: x, env: [{name: A, value: a}], ports: [{containerPort: 80}],
             volumeMounts: [{name: data, mountPath: /data}]}],
           volumes: [{name: data, emptyDir: {}}]}}",
    )
    .expect_ok();
    apply(
        "platform",
        "template: {spec: {
           containers: [{name: main, env: [{name: B, value: b}], ports: [{containerPort: 80, protocol: UDP}],
             volumeMounts: [{name: tmp, mountPath: /tmp}]}, {name: proxy, image: p}],
           initContainers: [{name: setup, image: z}],
           volumes: [{name: tmp, emptyDir: {}}]}}",
    )
    .expect_ok();
    let stored = kubectl(&["get", "longtask", "merged", "-o", "json"], "").expect_ok();
    let stored: Value = serde_json::from_str(&stored).expect("JSON");
    assert_eq!(
        stored["spec"]["template"]["spec"],
        json!({
            "containers": [
                {
                    "name": "main",
                    "image": "x",
                    "env": [{ "name": "A", "value": "a" }, { "name": "B", "value": "b" }],
                    "ports": [
                        { "containerPort": 80, "protocol": "TCP" },
                        { "containerPort": 80, "protocol": "UDP" },
                    ],
                    "volumeMounts": [
                        { "name": "data", "mountPath": "/data" },
                        { "name": "tmp", "mountPath": "/tmp" },
                    ],
                },
                { "name": "proxy", "image": "p" },
            ],
            "initContainers": [{ "name": "setup", "image": "z" }],
            "volumes": [{ "name": "data", "emptyDir": {} }, { "name": "tmp", "emptyDir": {} }],
        })
    );
    let conflict = apply("platform", "template: {spec: {containers: [{name: main, image: other}]}}");
    assert!(
        conflict.err.contains("conflict with \"team\": .spec.template.spec.containers[name=\"main\"].image"),
        "{}",
        conflict.err
    );
}
