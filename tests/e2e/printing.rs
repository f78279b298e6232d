//! What people and scripts see through kubectl.

use longtask::api::task::Phase;
use serde_json::json;

use super::support::{manifest, story};

#[tokio::test]
async fn kubectl_wait_for_complete_works() {
    story(async |lab| {
        lab.submit(manifest("waited-for", &["--steps=2", "--step-time=0", "segment=1 before=2: exit 75"])).await;
        let wait = ["wait", "--for=condition=Complete", "longtask/waited-for", "--timeout=40s"];
        assert!(lab.kubectl_output(&wait).await.contains("condition met"));
    })
    .await;
}

#[tokio::test]
async fn columns_tell_where_a_task_stands() {
    story(async |lab| {
        let arguments = [
            "--steps=5",
            "--step-time=0",
            "attempt=1 before=3: exit 1",
            r#"attempt=2 before=5: report {"resumeAfter": "1h"}; exit 75"#,
        ];
        let task = lab.submit(manifest("printed", &arguments)).await;
        let status = task.until_phase(Phase::Waiting, 20).await;
        let status = if status.totals.attempts == 2 {
            status
        } else {
            task.until("it waits for its hour", 30, |status| status.reason == "ResumeAfter").await
        };
        let table = lab.kubectl_output(&["get", "lt"]).await;
        let (header, row) = table.trim_end().split_once('\n').expect("a header and a row");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(words(header), ["NAME", "PHASE", "SEGMENT", "PROGRESS", "CHECKPOINT", "RETRIES", "AGE"]);
        let row = words(row);
        assert_eq!(row[..5], ["printed", "Waiting", "2", "4/5", "steps"], "{row:?}");
        assert!(row[5].ends_with('s') && row[6] == "1" && row[7].ends_with('s'), "{row:?}");
        let wide = lab.kubectl_output(&["get", "longtask", "-o", "wide"]).await;
        let (header, row) = wide.trim_end().split_once('\n').expect("a header and a row");
        assert_eq!(words(header)[7..], ["ATTEMPT", "POD", "NEXT", "REASON"]);
        let next = status.next_attempt_time.expect("it waits").to_string();
        assert_eq!(words(row)[8..], ["2", "printed-2", next.as_str(), "ResumeAfter"]);
        let all = lab.kubectl_output(&["get", "all", "-o", "name"]).await;
        assert!(all.contains("longtask.longtask.dev/printed"), "the category all: {all}");
        let selected = lab.kubectl_output(&["get", "lt", "--field-selector=status.phase=Waiting", "-o", "name"]).await;
        assert_eq!(selected.trim(), "longtask.longtask.dev/printed");
        let explained = lab.kubectl_output(&["explain", "longtask.spec.segment.duration"]).await;
        assert!(explained.contains("SIGTERM") || explained.contains("checkpoint"), "{explained}");
    })
    .await;
}

#[tokio::test]
async fn a_task_of_another_controller_is_left_alone() {
    story(async |lab| {
        let mut others = manifest("others", &["--steps=0"]);
        others["spec"]["managedBy"] = json!("example.com/controller");
        let others = lab.submit(others).await;
        let ours = lab.submit(manifest("ours", &["--steps=1", "--step-time=2s"])).await;
        ours.ends_as(Phase::Succeeded, 30).await;
        assert!(others.statuses().is_empty() && others.pods().is_empty());
    })
    .await;
}
