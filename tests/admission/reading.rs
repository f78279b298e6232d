//! What a user reads: kubectl explain, kubectl get.

use longtask::api::crd;
use serde_json::Value;

use crate::kubectl::{kubectl, task};

fn spec_schema() -> Value {
    let mut definition = serde_json::to_value(crd::definition().expect("the definition")).expect("JSON");
    definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].take()
}

/// Text with its line breaks and indentation taken out.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Every field below a schema, with its depth, the template's inner ones aside.
fn fields(schema: &Value, depth: usize) -> Vec<(usize, String)> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties
        .flat_map(|(name, property)| {
            let inner = if name == "template" { Vec::new() } else { fields(property, depth + 1) };
            [(depth, name.clone())].into_iter().chain(inner)
        })
        .collect()
}

#[test]
fn explain_lists_every_field() {
    let listed = kubectl(&["explain", "longtask.spec", "--recursive"], "").expect_ok();
    let fields = fields(&spec_schema(), 1);
    assert!(fields.len() > 25, "{fields:?}");
    for (depth, name) in fields {
        let line = format!("\n{}{name}\t<", "  ".repeat(depth));
        assert!(listed.contains(&line), "{line:?} is not in {listed}");
    }
    assert!(listed.contains("terminationMessagePath\t<string>"), "the template's fields are listed as well");
}

#[test]
fn explain_reads_as_a_manual() {
    for field in ["segment.duration", "retry.backoff.jitter", "limits.deadline", "template", "retry"] {
        let explained = kubectl(&["explain", &format!("longtask.spec.{field}")], "").expect_ok();
        let pointer = format!("/properties/{}", field.replace('.', "/properties/"));
        let schema = spec_schema();
        let words = schema.pointer(&pointer).and_then(|field| field["description"].as_str()).expect(field);
        assert!(flat(&explained).contains(&flat(words)), "{explained}");
    }
    let duration = flat(&kubectl(&["explain", "longtask.spec.segment.duration"], "").expect_ok());
    for words in ["Default 1h, at least 5s.", "Counted from the moment the main container runs"] {
        assert!(duration.contains(words), "{duration}");
    }
}

#[test]
fn get_prints_the_state_of_a_task_in_a_line() {
    let status = r#"{"status": {
        "phase": "Waiting", "reason": "Backoff", "segment": 7, "retries": 2, "nextAttemptTime": "2026-11-25T06:00:00Z",
        "progress": {"completed": 1200, "total": 5000, "unit": "rows", "summary": "1200/5000 rows"},
        "currentAttempt": {"number": 9, "segment": 7, "state": "Ended", "podName": "import-9", "generation": 1,
            "creationTime": "2026-11-25T05:00:00Z"}}}"#;
    kubectl(&["apply", "-f", "-"], &task("import", "")).expect_ok();
    kubectl(&["patch", "lt", "import", "--subresource=status", "--type=merge", "--patch", status], "").expect_ok();
    let table = kubectl(&["get", "lt", "import"], "").expect_ok();
    let mut lines = table.lines().map(flat);
    assert_eq!(lines.next().as_deref(), Some("NAME PHASE SEGMENT PROGRESS CHECKPOINT RETRIES AGE"));
    let line = lines.next().expect("the task");
    assert!(line.starts_with("import Waiting 7 1200/5000 rows 2 "), "{line}");
    let wide = flat(&kubectl(&["get", "lt", "import", "-o", "wide"], "").expect_ok());
    assert!(
        wide.contains("ATTEMPT POD NEXT REASON") && wide.ends_with("9 import-9 2026-11-25T06:00:00Z Backoff"),
        "{wide}"
    );
    let selected = |selector: &str| kubectl(&["get", "lt", "-o", "name", "--field-selector", selector], "").expect_ok();
    assert_eq!(selected("status.phase=Waiting,status.reason=Backoff"), "longtask.longtask.dev/import\n");
    assert_eq!(selected("status.phase=Waiting,status.reason=Held"), "");
}

#[test]
fn a_plain_apply_of_the_definition_is_accepted() {
    let definition = crd::yaml().expect("the definition");
    kubectl(&["apply", "--dry-run=server", "-f", "-"], &definition).expect_ok();
}
