//! Who may start which template, what the operator may write, and what the policies for images make of templates.

use std::{process::Output, time::Duration};

use serde_json::{Value, json};

use super::support::{Namespace, Release, SYSTEM, apply, chain, eventually, kubectl, run, scratch, stderr};

fn template(name: &str) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTaskTemplate", "metadata": { "name": name },
        "spec": chain("any", 1)["spec"],
    })
}

fn thin(name: &str, template: &str) -> Value {
    json!({
        "apiVersion": "longtask.dev/v1alpha1", "kind": "LongTask", "metadata": { "name": name },
        "spec": { "templateRef": { "name": template } },
    })
}

fn refused(output: &Output, words: &str) -> Option<()> {
    (!output.status.success() && stderr(output).contains(words)).then_some(())
}

#[test]
fn a_user_who_may_start_one_template_starts_it_and_writes_none() {
    let release = Release::install(
        "charts/longtask",
        &["admissionPolicies.startRight.required=true", "admissionPolicies.definitionRight.required=true"],
    );
    let namespace = Namespace::create(&release, "install-start");
    let within = ["--namespace", namespace.name.as_str()];
    for name in ["allowed", "other"] {
        let output = apply(&template(name), &within);
        assert!(output.status.success(), "{}", stderr(&output));
    }
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": { "name": "starter" },
        "rules": [
            { "apiGroups": ["longtask.dev"], "resources": ["longtasks"], "verbs": ["get", "list", "watch", "create"] },
            { "apiGroups": ["longtask.dev"], "resources": ["longtasktemplates"], "verbs": ["get", "create"] },
            { "apiGroups": ["longtask.dev"], "resources": ["longtasktemplates/start"], "resourceNames": ["allowed"], "verbs": ["create"] },
        ],
    });
    assert!(apply(&role, &within).status.success());
    kubectl(&["create", "rolebinding", "starter", "--role=starter", "--user=starter", within[0], within[1]]);
    let create = |manifest: &Value| {
        let file = scratch("start.json");
        std::fs::write(&file, manifest.to_string()).expect("write a manifest");
        let file = file.to_str().expect("UTF-8").to_owned();
        run("kubectl", &["create", "--as=starter", "--filename", &file, within[0], within[1]])
    };
    // A policy takes some seconds to act.
    eventually("another template is refused", Duration::from_secs(30), || {
        refused(&create(&thin("not-this", "other")), "needs the right to create longtasktemplates/start")
    });
    eventually("a definition of one's own is refused", Duration::from_secs(30), || {
        refused(&create(&chain("own", 1)), "needs the right to create longtasks/definition")
    });
    let written = create(&template("mine"));
    assert!(refused(&written, "needs the right to create longtasks/definition").is_some(), "{}", stderr(&written));
    let started = create(&thin("this", "allowed"));
    assert!(started.status.success(), "{}", stderr(&started));
    namespace.succeeds("this");
}

#[test]
fn the_operators_token_fills_tasks_in_and_changes_nothing_else_of_them() {
    let release = Release::install("charts/longtask", &[]);
    let namespace = Namespace::create(&release, "install-writes");
    let within = ["--namespace", namespace.name.as_str()];
    let mut paused = chain("paused", 1);
    paused["spec"]["suspend"] = json!(true);
    assert!(apply(&paused, &within).status.success());
    let operator = format!("--as=system:serviceaccount:{SYSTEM}:longtask");
    let replace = |change: &dyn Fn(&mut Value)| {
        let text = kubectl(&["get", "longtask", "paused", "--output=json", within[0], within[1]]);
        let mut task: Value = serde_json::from_str(&text).expect("JSON");
        change(&mut task);
        let file = scratch("replace.json");
        std::fs::write(&file, task.to_string()).expect("write a manifest");
        let file = file.to_str().expect("UTF-8").to_owned();
        run("kubectl", &["replace", &operator, "--filename", &file, within[0], within[1]])
    };
    eventually("a change of suspend is refused", Duration::from_secs(30), || {
        refused(&replace(&|task| task["spec"]["suspend"] = json!(false)), "operator-writes")
    });
    let relabelled = replace(&|task| task["metadata"]["labels"] = json!({ "mine": "now" }));
    assert!(refused(&relabelled, "operator-writes").is_some(), "{}", stderr(&relabelled));
    let renewed =
        replace(&|task| task["metadata"]["annotations"] = json!({ "longtask.dev/renewed-for": "never-asked" }));
    assert!(refused(&renewed, "operator-writes").is_some(), "{}", stderr(&renewed));
    assert!(apply(&template("there"), &within).status.success());
    assert!(apply(&thin("filled", "there"), &within).status.success());
    namespace.succeeds("filled");
}

#[test]
fn a_policy_of_images_lets_thin_tasks_in_and_refuses_templates() {
    let release = Release::install("charts/longtask", &["admissionPolicies.allowedImages.prefixes={localhost/}"]);
    let namespace = Namespace::create(&release, "install-images");
    let within = ["--namespace", namespace.name.as_str()];
    let mut foreign = template("foreign");
    foreign["spec"]["template"]["spec"]["containers"][0]["image"] = json!("elsewhere.example/x:1");
    eventually("a template is refused", Duration::from_secs(30), || {
        refused(&apply(&foreign, &[&within[..], &["--dry-run=server"]].concat()), "images begin with localhost/")
    });
    assert!(apply(&template("ours"), &within).status.success());
    let started = apply(&thin("thin", "ours"), &within);
    assert!(started.status.success(), "{}", stderr(&started));
    namespace.succeeds("thin");
}
