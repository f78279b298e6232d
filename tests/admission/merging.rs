//! Two appliers of one task: lists of the template merge by the keys of core, as those of a Deployment do; ports do not.

use serde_json::{Value, json};

use crate::kubectl::{Answer, kubectl, task};

fn apply(manager: &str, name: &str, spec: &str) -> Answer {
    let manager = format!("--field-manager={manager}");
    kubectl(&["apply", "--server-side", &manager, "-f", "-"], &task(name, spec))
}

#[test]
fn lists_of_the_template_merge_by_the_keys_of_core() {
    apply(
        "team",
        "merged",
        "template: {spec: {
           containers: [{name: main, image: x, env: [{name: A, value: a}],
             volumeMounts: [{name: data, mountPath: /data}]}],
           volumes: [{name: data, emptyDir: {}}]}}",
    )
    .expect_ok();
    apply(
        "platform",
        "merged",
        "template: {spec: {
           containers: [{name: main, env: [{name: B, value: b}], ports: [{containerPort: 80}],
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
                    "ports": [{ "containerPort": 80 }],
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
    let conflict = apply("platform", "merged", "template: {spec: {containers: [{name: main, image: other}]}}");
    assert!(
        conflict.err.contains("conflict with \"team\": .spec.template.spec.containers[name=\"main\"].image"),
        "{}",
        conflict.err
    );
}

#[test]
fn the_ports_of_a_container_have_one_owner() {
    let ports = |number| {
        format!("template: {{spec: {{containers: [{{name: main, image: x, ports: [{{containerPort: {number}}}]}}]}}}}")
    };
    apply("team", "ports", &ports(80)).expect_ok();
    let conflict = apply("platform", "ports", &ports(81));
    assert!(
        conflict.err.contains("conflict with \"team\": .spec.template.spec.containers[name=\"main\"].ports"),
        "{}",
        conflict.err
    );
}
