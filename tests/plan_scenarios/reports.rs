//! What a user sees of a report that is not as the contract has it, and of text that is no report.

use serde_json::{Value, json};

use super::support::{Given, Planned, PodBuilder, given, pod};

fn running() -> Given {
    given().running(1, "10:00:00")
}

fn ended(exit_code: i32, message: &str) -> PodBuilder {
    pod(1).ran("10:00:00", "10:01:00", exit_code).saying(message)
}

/// What becomes of a program that ends with this exit code and termination message.
fn told(exit_code: i32, message: &str) -> Planned {
    running().pod(ended(exit_code, message)).at("10:01:01")
}

/// Likewise, where the kubelet may take the log for the report.
fn told_or_logged(exit_code: i32, message: &str) -> Planned {
    let containers = json!([{ "name": "main", "terminationMessagePolicy": "FallbackToLogsOnError" }]);
    let pod = ended(exit_code, message).merged(json!({ "spec": { "containers": containers } }));
    running().pod(pod).at("10:01:01")
}

fn checkpoint(planned: &Planned) -> Option<Value> {
    planned.status().checkpoint.and_then(|checkpoint| checkpoint.data)
}

fn message(planned: &Planned) -> String {
    planned.status().last_failure.expect("it is told").message
}

#[test]
fn an_unusable_delay_loses_nothing_of_the_error() {
    let error = r#"{"error":{"code":"BadInput","message":"no such table","permanent":true,"retryAfter":"soon"}}"#;
    let planned = told(1, error).expect_containing(&["phase Failed PermanentError", "Warning ReportIgnored"]);
    let failure = planned.status().last_failure.expect("it is told");
    assert_eq!((failure.code.as_deref(), failure.message.as_str()), (Some("BadInput"), "no such table"));
    let note = planned.note("ReportIgnored");
    assert!(note.contains("error.retryAfter") && note.contains("\"30s\""), "{note}");
}

#[test]
fn a_delay_may_be_a_number_of_seconds() {
    let planned = told(1, r#"{"error":{"code":"RateLimited","retryAfter":30}}"#);
    let planned = planned.expect_containing(&["next 10:01:31"]).expect_without(&["Warning ReportIgnored"]);
    assert_eq!(planned.status().last_failure.expect("it is told").code.as_deref(), Some("RateLimited"));
}

#[test]
fn a_line_that_is_no_json_is_named_with_its_fault() {
    let planned = told(75, "{\"checkpoint\":{\"step\":5,\"loss\":NaN},\"progress\":{\"completed\":5}}\n");
    let note = planned.note("ReportIgnored");
    for part in ["line 1", "near \"NaN\"", "write null or a string"] {
        assert!(note.contains(part), "{part}: {note}");
    }
    assert_eq!(checkpoint(&planned), None);
}

#[test]
fn lines_of_the_log_are_words_and_no_reports() {
    for log in [
        "{\"level\":\"info\",\"msg\":\"starting\"}\n{\"level\":\"error\",\"msg\":\"db.internal refused\"}\n",
        "{\"level\":\"info\",\"checkpoint\":{\"path\":\"/tmp/a\"},\"progress\":{\"completed\":3}}\npanic: refused\n",
        "{\"level\":\"error\",\"error\":\"refused\",\"progress\":\"50%\"}\n",
        "{\"checkpoint\":{\"n\":1}}\nrefused\n",
        "{\"error\":\"refused\"}\n",
        "{\"done\": NaN}\nrefused\n",
    ] {
        let planned = told_or_logged(1, log).expect_without(&["Warning ReportIgnored"]);
        assert_eq!(message(&planned), log.trim());
        assert!(checkpoint(&planned).is_none() && planned.status().progress.is_none(), "{log}");
    }
}

#[test]
fn a_report_counts_although_the_log_might_have_been_taken() {
    let report = "{\"checkpoint\":{\"n\":1}}\n{\"checkpoint\":{\"n\":2},\"progress\":{\"completed\":2}}\n{\"checkp";
    assert_eq!(checkpoint(&told_or_logged(1, report)), Some(json!({ "n": 2 })));
    // Of a program that ended well the kubelet takes no log.
    let with_more = "{\"checkpoint\":{\"n\":2},\"level\":\"info\"}\nand more\n";
    assert_eq!(checkpoint(&told_or_logged(0, with_more)), Some(json!({ "n": 2 })));
}

#[test]
fn a_json_line_without_a_key_of_the_contract_is_the_programs_word() {
    let line = r#"{"level":"error","msg":"connection refused"}"#;
    let planned = told(1, line).expect_without(&["Warning ReportIgnored"]);
    assert_eq!(message(&planned), line);
}

#[test]
fn null_is_as_absent() {
    let planned = told(75, "{\"checkpoint\":{\"n\":1}}\n{\"checkpoint\":null,\"progress\":null,\"result\":null}\n");
    let planned = planned.expect_without(&["Warning ReportIgnored"]);
    assert_eq!(checkpoint(&planned), Some(json!({ "n": 1 })));
}

#[test]
fn a_number_that_will_be_rounded_is_kept_and_named() {
    let planned = told(75, r#"{"checkpoint":{"id":9007199254740993,"hash":9223372036854775809}}"#);
    assert!(checkpoint(&planned).is_some());
    let note = planned.note("ReportIgnored");
    assert!(note.contains("checkpoint.hash") && note.contains("as a string"), "{note}");
    assert!(!note.contains("checkpoint.id"), "{note}");
}

#[test]
fn a_result_of_three_kib_is_kept_where_no_more_than_three_containers_share_the_room() {
    let message = json!({ "result": { "rows": "x".repeat(3000) }, "done": true }).to_string();
    let of = |containers: &[&str]| {
        let containers: Vec<_> = containers.iter().map(|name| json!({ "name": name })).collect();
        let beside = json!({ "spec": { "containers": [{ "name": "main" }], "initContainers": containers } });
        running().pod(ended(0, &message).merged(beside)).at("10:01:01").expect_containing(&["phase Succeeded"])
    };
    let few = of(&["fetch", "proxy"]).expect_without(&["Warning ReportIgnored"]);
    assert!(few.status().result.is_some());
    let many = of(&["fetch", "proxy", "logs"]);
    assert_eq!(many.status().result, None);
    let note = many.note("ReportIgnored");
    assert!(note.contains("the limit is 1024 (since the 4 containers of the pod share 12 KiB"), "{note}");
}

#[test]
fn a_key_in_another_spelling_is_named_with_the_right_one() {
    let planned = told(75, r#"{"progress":{"completed":1},"resume_after":"10m"}"#);
    let note = planned.note("ReportIgnored");
    assert!(note.contains("resume_after") && note.contains("resumeAfter"), "{note}");
    planned.expect_without(&["next 10:11:01"]);
}
