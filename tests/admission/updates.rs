//! Changes of a task that exists.

use crate::kubectl::{kubectl, task, try_apply};

fn create(name: &str, spec: &str) {
    kubectl(&["apply", "-f", "-"], &task(name, spec)).expect_ok();
}

#[test]
fn cancel_is_taken_back_only_with_a_new_restart_token() {
    create("cancelled", "cancel: true");
    let refused = try_apply(&task("cancelled", "cancel: false")).err;
    let words =
        "spec.cancel: Invalid value: is for good and can be taken back only together with a new spec.restart.token";
    assert!(refused.contains(words), "{refused}");
    let dropped = try_apply(&task("cancelled", "")).err;
    assert!(dropped.contains(words), "{dropped}");
    try_apply(&task("cancelled", "cancel: true\npodHistoryLimit: 9")).expect_ok();
    let both = try_apply(&task("cancelled", "cancel: true\nrestart: {token: v2}")).err;
    assert!(both.contains("spec.restart.token: Invalid value: a new token starts another run"), "{both}");
    try_apply(&task("cancelled", "cancel: false\nrestart: {token: v2}")).expect_ok();
}

#[test]
fn managed_by_is_immutable() {
    create("managed", "");
    let refused = try_apply(&task("managed", "managedBy: longtask.dev/operator")).err;
    assert!(refused.contains("spec.managedBy: Invalid value: is immutable: delete the task"), "{refused}");
}

#[test]
fn everything_else_may_change() {
    create("changed", "suspend: true");
    let change = "segment: {duration: 2h, container: other}\nlimits: {segments: 3}\nretry: {budgets: {failures: 0}}\n\
        checkpoint: {source: External}\npodHistoryLimit: 1\nsuspend: false\ncancel: true\n\
        template: {spec: {containers: [{name: other, image: x}]}}";
    try_apply(&task("changed", change)).expect_ok();
}

#[test]
fn the_status_is_written_only_by_itself() {
    create("separate", "");
    let patch = r#"{"status": {"phase": "Succeeded"}}"#;
    kubectl(&["patch", "longtask", "separate", "--type=merge", "--patch", patch], "").expect_ok();
    let phase = kubectl(&["get", "longtask", "separate", "-o", "jsonpath={.status.phase}"], "").expect_ok();
    assert_eq!(phase, "");
}
