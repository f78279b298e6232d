//! LongTaskTemplates, tasks that name one, and inputs.

use crate::kubectl::{TEMPLATE, kubectl, task, try_apply};

/// The manifest of a template with these lines below `spec`.
fn template(name: &str, spec: &str) -> String {
    let pod = if spec.contains("template:") { "" } else { TEMPLATE };
    let lines = [pod].into_iter().chain(spec.lines()).filter(|line| !line.is_empty());
    let spec = lines.collect::<Vec<_>>().join("\n  ");
    format!("apiVersion: longtask.dev/v1alpha1\nkind: LongTaskTemplate\nmetadata: {{name: {name}}}\nspec:\n  {spec}\n")
}

/// The manifest of a task that names a template and that nobody manages.
fn thin(name: &str, more: &str) -> String {
    let more: String = more.lines().flat_map(|line| ["  ", line, "\n"]).collect();
    format!(
        "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {{name: {name}}}\nspec:\n  managedBy: tests.longtask.dev/nobody\n  templateRef: {{name: x}}\n{more}"
    )
}

#[test]
fn sound_templates_and_thin_tasks_are_accepted() {
    let longest = "x".repeat(63);
    for manifest in [
        template("least", ""),
        template(&longest, "segment: {duration: 2h, container: main}\nlimits: {wallTime: 8h}\nttlAfterFinished: 24h"),
        template(
            "schema",
            "inputSchema: {type: object, required: [file], properties: {file: {pattern: '^a', type: string}}}",
        ),
        template("volumes", "volumeClaimTemplates: [{metadata: {name: data}, spec: {}}]"),
        thin("thin", ""),
        thin("given", "input: {file: a, deep: {list: [1, null, true]}}\nlimits: {deadline: '2030-01-01T00:00:00Z'}"),
        thin("renewing", "restart: {token: v1, renew: true}"),
        task("input", "input: {file: a}"),
    ] {
        let answer = try_apply(&manifest);
        assert!(answer.is_ok, "{manifest}{}", answer.err);
    }
}

#[test]
fn what_makes_no_sense_is_refused_with_words_that_help() {
    for (manifest, words) in [
        (template("none", "template: null"), "spec.template: Required value"),
        (
            template("deadline", "limits: {deadline: '2030-01-01T00:00:00Z'}"),
            "spec.limits.deadline: Forbidden: belongs to a task: a template outlives it",
        ),
        (template("own", "suspend: true"), "unknown field \"spec.suspend\""),
        (template("own", "input: {a: 1}"), "unknown field \"spec.input\""),
        (template("rule", "segment: {container: other}"), "must be the name of one of spec.template.spec.containers"),
        (template("schema", "inputSchema: [1]"), "spec.inputSchema"),
        (template(&"x".repeat(64), ""), "metadata.name: Invalid value: must be at most 63 characters"),
        (
            task("both", "restart: {token: v1, renew: true}"),
            "spec.restart.renew: Invalid value: needs spec.templateRef",
        ),
        (task("list", "input: [1]"), "spec.input"),
        (
            "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {name: neither}\nspec: {suspend: true}\n"
                .to_owned(),
            "spec.template: Invalid value: write a pod template, or name a LongTaskTemplate in spec.templateRef",
        ),
    ] {
        let answer = try_apply(&manifest);
        assert!(
            !answer.is_ok && answer.err.contains(words),
            "{manifest}expected {words:?}: {}{}",
            answer.out,
            answer.err
        );
    }
}

#[test]
fn a_task_keeps_its_template_and_what_it_was_made_from() {
    kubectl(&["apply", "-f", "-"], &thin("filled", "")).expect_ok();
    let patch = |patch: &str| kubectl(&["patch", "longtask", "filled", "--type=merge", "--patch", patch], "");
    let refused = |answer: crate::kubectl::Answer, words: &str| {
        assert!(!answer.is_ok && answer.err.contains(words), "{words}: {}{}", answer.out, answer.err);
    };
    refused(patch(r#"{"spec":{"templateRef":{"name":"y"}}}"#), "spec.templateRef: Invalid value: is immutable");
    refused(
        patch(r#"{"spec":{"templateRef":null,"template":{"spec":{"containers":[{"name":"main"}]}}}}"#),
        "spec.templateRef: Invalid value: is immutable",
    );
    patch(r#"{"spec":{"template":{"spec":{"containers":[{"name":"main","image":"x"}]}}}}"#).expect_ok();
    refused(
        patch(r#"{"spec":{"template":null}}"#),
        "spec.template: Invalid value: cannot be removed: the task runs from it",
    );
    refused(kubectl(&["replace", "-f", "-"], &thin("filled", "")), "cannot be removed: the task runs from it");
    // What the operator has filled in is no difference for who applies the manifest again.
    let again = kubectl(&["apply", "-f", "-"], &thin("filled", "")).expect_ok();
    assert!(again.ends_with(" unchanged\n"), "{again}");
    let named =
        kubectl(&["get", "longtasks", "--field-selector=spec.templateRef.name=x", "-o", "name"], "").expect_ok();
    assert!(named.contains("longtask.longtask.dev/filled"), "{named}");
}

#[test]
fn an_input_changes_only_with_another_run() {
    kubectl(&["apply", "-f", "-"], &task("owned", "input: {n: 1}")).expect_ok();
    let words =
        "spec.input: Invalid value: belongs to a run: change it with a new spec.restart.token when the task has ended";
    let patch = |patch: &str| kubectl(&["patch", "longtask", "owned", "--type=merge", "--patch", patch], "");
    for change in [
        r#"{"spec":{"input":{"n":2}}}"#,
        r#"{"spec":{"input":null}}"#,
        r#"{"spec":{"input":{"n":2},"restart":{"token":"v2"}}}"#,
    ] {
        let answer = patch(change);
        assert!(!answer.is_ok && answer.err.contains(words), "{change}: {}{}", answer.out, answer.err);
    }
    let ended = r#"{"status":{"phase":"Failed"}}"#;
    kubectl(&["patch", "longtask", "owned", "--subresource=status", "--type=merge", "--patch", ended], "").expect_ok();
    assert!(!patch(r#"{"spec":{"input":{"n":2}}}"#).is_ok, "a new token belongs to it");
    patch(r#"{"spec":{"input":{"n":2},"restart":{"token":"v2"}}}"#).expect_ok();
    let nothing_new = kubectl(&["annotate", "longtask", "owned", "a=b"], "");
    nothing_new.expect_ok();
}

#[test]
fn a_template_is_printed_with_its_image() {
    kubectl(&["apply", "-f", "-"], &template("printed", "")).expect_ok();
    let printed = kubectl(&["get", "ltt", "printed"], "").expect_ok();
    assert!(
        printed.contains("NAME") && printed.contains("IMAGE") && printed.contains("registry.example/x"),
        "{printed}"
    );
}
