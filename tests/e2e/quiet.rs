//! A quiet cluster gets no writes.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use longtask::api::task::Phase;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::support::{Change, Lab, manifest, story};

/// How long nothing must happen.
const QUIET: Duration = Duration::from_secs(20);

#[tokio::test]
async fn tasks_to_which_nothing_happens_are_not_written() {
    story(async |lab| {
        let finished = lab.submit(manifest("finished", &["--steps=2", "--step-time=0"])).await;
        let failed = lab
            .submit(manifest("failed", &["start: exit 1"]).and(json!({
                "spec": { "retry": { "budgets": { "failures": 0 } } }
            })))
            .await;
        let waiting = lab.submit(manifest("waiting", &[r#"start: report {"resumeAfter": "1h"}; exit 75"#])).await;
        let suspended = lab.submit(manifest("suspended", &[]).and(json!({ "spec": { "suspend": true } }))).await;
        let running = lab.submit(manifest("running", &["start: sleep forever"])).await;
        let mut huge = manifest("pending", &[]);
        huge["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1000" } });
        let pending = lab.submit(huge).await;

        finished.ends_as(Phase::Succeeded, 25).await;
        failed.ends_as(Phase::Failed, 25).await;
        waiting.until_phase(Phase::Waiting, 25).await;
        suspended.until_phase(Phase::Suspended, 25).await;
        pending.until("it is unschedulable", 25, |status| status.reason == "Unschedulable").await;
        running.until_phase(Phase::Running, 25).await;
        let has_its_slice = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds) < Some(600);
        running.until_pod(1, "has its deadline lowered from the time for its start", 10, has_its_slice).await;
        let limit = Duration::from_secs(10);
        lab.until("finished pods are released", limit, |seen| (seen.held_pods().len() == 2).then_some(())).await;

        let (writes, versions) = (settled_writes(lab).await, versions(lab).await);
        sleep(QUIET).await;
        assert_eq!(lab.operators_writes().await, writes, "the operator wrote something");
        assert_eq!(self::versions(lab).await, versions, "a task was written");
        assert!(!writes.is_empty(), "the operator's writes are not counted");
    })
    .await;
}

#[tokio::test]
async fn a_state_that_lasts_is_one_event() {
    story(async |lab| {
        let mut huge = manifest("huge", &[]);
        huge["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "requests": { "cpu": "1000" } });
        let huge = lab.submit(huge).await;
        let mut unknown = manifest("unknown", &[]);
        unknown["spec"]["template"]["spec"]["containers"][0]["image"] = json!("localhost:1/no/such:image");
        let unknown = lab.submit(unknown).await;
        let mut refused = manifest("refused", &[]);
        refused["spec"]["template"]["spec"]["nodeSelector"] = json!({ "not a label!": "x" });
        let refused = lab.submit(refused).await;
        for (task, reason) in [(&huge, "Unschedulable"), (&unknown, "ErrImagePull"), (&refused, "Invalid")] {
            task.until(&format!("{reason} is shown"), 25, |status| status.reason == reason).await;
        }
        sleep(QUIET).await;
        for task in [&huge, &unknown, &refused] {
            assert_eq!(lab.events_of(&task.name, "Blocked").await, 1, "{}", task.name);
        }
    })
    .await;
}

/// The count of writes once nothing has been added for a second: a step is taken again when the news of the first time
/// is late.
async fn settled_writes(lab: &Lab) -> Vec<(String, u64)> {
    let deadline = Instant::now() + Duration::from_secs(15);
    let mut writes = lab.operators_writes().await;
    loop {
        sleep(Duration::from_secs(1)).await;
        let later = lab.operators_writes().await;
        if later == writes {
            return writes;
        }
        assert!(Instant::now() < deadline, "the operator does not stop writing: {writes:?}, then {later:?}");
        writes = later;
    }
}

/// The resource versions of all tasks.
async fn versions(lab: &Lab) -> String {
    lab.kubectl_output(&["get", "lt", "-o", "jsonpath={.items[*].metadata.resourceVersion}"]).await
}
