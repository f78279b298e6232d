//! What keeps a task from starting is shown, and costs nothing when it is not the task's fault.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Node, Pod, ResourceQuota};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
};
use longtask::api::task::{ConditionType, LongTaskStatus, Phase};
use serde_json::{Value, json};

use super::support::{Change, Lab, PodExt, Task, container, manifest, message_of, pod, story};

/// Waits until the task is blocked for that reason, and returns the message for the user.
async fn blocked(task: &Task<'_>, reason: &str) -> String {
    let is_shown = |status: &LongTaskStatus| {
        status.reason == reason && message_of(status, ConditionType::Blocked).is_some_and(|(why, _)| why == reason)
    };
    let status = task.until(&format!("it is blocked by {reason}"), 30, is_shown).await;
    message_of(&status, ConditionType::Blocked).expect("just seen").1
}

/// The task went on by itself, and nothing was counted against it.
async fn assert_nothing_was_charged(task: &Task<'_>) {
    let status = task.ends_as(Phase::Succeeded, 50).await;
    assert!(message_of(&status, ConditionType::Blocked).is_none(), "{:?}", status.conditions);
    let totals = &status.totals;
    assert_eq!((totals.failures, totals.start_failures, totals.stalls, status.retries), (0, 0, 0, 0), "{totals:?}");
}

// === the task's own fault: each burns the budget of starts

fn one_start() -> Value {
    json!({ "spec": { "retry": { "budgets": { "startFailures": 0 } } } })
}

#[tokio::test]
async fn an_unknown_image_is_named_while_it_is_tried_and_when_it_is_given_up() {
    story(async |lab| {
        let change = one_start().and(json!({ "spec": { "segment": { "startTimeout": "8s" } } }));
        let mut unknown = manifest("unknown-image", &[]).and(change);
        unknown["spec"]["template"]["spec"]["containers"][0]["image"] = json!("localhost:1/no/such:image");
        let task = lab.submit(unknown).await;
        let message = blocked(&task, "ErrImagePull").await;
        assert!(message.contains("localhost:1/no/such:image"), "{message}");
        let columns = lab.kubectl_output(&["get", "lt", "unknown-image", "-o", "wide", "--no-headers"]).await;
        assert!(columns.contains("Pending") && columns.contains("ErrImagePull"), "{columns}");
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!(status.reason, "StartBudgetExhausted");
        let failure = status.last_failure.expect("it is told");
        assert!(matches!(failure.reason.as_str(), "ErrImagePull" | "ImagePullBackOff"), "{failure:?}");
        assert!(failure.message.contains("localhost:1/no/such:image"), "{failure:?}");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_does_not_exist_is_named() {
    story(async |lab| {
        let mut bad = manifest("bad-command", &[]).and(one_start());
        bad["spec"]["template"]["spec"]["containers"][0]["command"] = json!(["/no/such/program"]);
        let task = lab.submit(bad).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!(status.reason, "StartBudgetExhausted");
        let failure = status.last_failure.clone().expect("it is told");
        assert!(failure.message.contains("/no/such/program"), "{failure:?}");
        let (_, message) = message_of(&status, ConditionType::Failed).expect("it failed");
        assert!(message.contains("/no/such/program"), "{message}");
        assert_eq!((status.active_seconds, status.totals.start_failures), (0, 1), "it never ran");
    })
    .await;
}

#[tokio::test]
async fn a_failing_init_container_is_named_with_its_exit_code() {
    story(async |lab| {
        let init = container("prepare", &["start: exit 9"]);
        let change = one_start().and(json!({ "spec": { "template": { "spec": { "initContainers": [init] } } } }));
        let task = lab.submit(manifest("bad-init", &[]).and(change)).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        assert_eq!(status.reason, "StartBudgetExhausted");
        let failure = status.last_failure.expect("it is told");
        assert_eq!(failure.reason, "InitContainerFailed");
        assert!(failure.message.contains("prepare") && failure.message.contains('9'), "{failure:?}");
    })
    .await;
}

#[tokio::test]
async fn a_missing_config_map_is_named_and_waited_for_as_long_as_a_start_may_take() {
    story(async |lab| {
        let wants = |name: &str| {
            let mut wants = manifest(name, &["--steps=1", "--step-time=0"]).and(one_start());
            let source = json!({ "configMapKeyRef": { "name": name, "key": "key" } });
            wants["spec"]["template"]["spec"]["containers"][0]["env"] =
                json!([{ "name": "WANTED", "valueFrom": source }]);
            wants
        };
        let short = json!({ "spec": { "segment": { "startTimeout": "5s" } } });
        let never = lab.submit(wants("never").and(short)).await;
        let late = lab.submit(wants("late")).await;
        let message = blocked(&late, "CreateContainerConfigError").await;
        assert!(message.contains("configmap \"late\" not found"), "{message}");
        lab.kubectl_output(&["create", "configmap", "late", "--from-literal=key=value"]).await;
        assert_nothing_was_charged(&late).await;
        let status = never.ends_as(Phase::Failed, 40).await;
        let failure = status.last_failure.expect("it is told");
        assert_eq!(
            (status.reason.as_str(), failure.reason.as_str()),
            ("StartBudgetExhausted", "CreateContainerConfigError")
        );
        assert!(failure.message.contains("configmap \"never\" not found"), "{failure:?}");
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_no_kubelet_may_run_is_a_failed_start() {
    story(async |lab| {
        let unsafe_one = json!({ "sysctls": [{ "name": "kernel.msgmax", "value": "65536" }] });
        let change = json!({ "spec": { "template": { "spec": { "securityContext": unsafe_one } } } });
        let task = lab.submit(manifest("unsafe", &[]).and(one_start()).and(change)).await;
        let status = task.ends_as(Phase::Failed, 40).await;
        let failure = status.last_failure.expect("it is told");
        assert_eq!((status.reason.as_str(), failure.reason.as_str()), ("StartBudgetExhausted", "SysctlForbidden"));
        assert!(failure.message.contains("kernel.msgmax"), "{failure:?}");
    })
    .await;
}

#[tokio::test]
async fn a_failed_start_is_retried_with_backoff_within_its_budget() {
    story(async |lab| {
        let init = container("prepare", &["attempt<3: exit 9"]);
        let change = json!({ "spec": {
            "retry": { "budgets": { "startFailures": 2, "failures": 0 } },
            "template": { "spec": { "initContainers": [init] } },
        } });
        let task = lab.submit(manifest("slow-luck", &["--steps=1", "--step-time=0"]).and(change)).await;
        let status = task.ends_as(Phase::Succeeded, 45).await;
        assert_eq!((status.totals.start_failures, status.retries, status.totals.attempts), (2, 2, 3));
    })
    .await;
}

// === the cluster's doing, or the manifest's: no attempt is made, and none is charged

/// A resource of the node that no other test asks for.
pub(crate) fn resource(lab: &Lab) -> String {
    format!("longtask.dev/{}", lab.namespace.rsplit('-').next().unwrap_or_default())
}

/// How many of it the node has to give; `None` takes it away again.
pub(crate) async fn nodes_offer(lab: &Lab, resource: &str, number: Option<&str>) {
    let nodes: Api<Node> = Api::all(lab.client.clone());
    let offer = json!({ resource: number });
    let patch = Patch::Merge(json!({ "status": { "capacity": offer, "allocatable": offer } }));
    for node in nodes.list(&ListParams::default()).await.expect("list nodes") {
        nodes.patch_status(&node.name_any(), &PatchParams::default(), &patch).await.expect("offer the resource");
    }
}

pub(crate) fn asks_for(name: &str, resource: &str, number: &str) -> Value {
    let mut manifest = manifest(name, &["--steps=1", "--step-time=0"]);
    let resources = json!({ "requests": { resource: number }, "limits": { resource: number } });
    manifest["spec"]["template"]["spec"]["containers"][0]["resources"] = resources;
    manifest
}

#[tokio::test]
async fn a_task_waits_for_room_in_a_full_cluster_and_goes_on_by_itself() {
    story(async |lab| {
        let resource = resource(lab);
        let task = lab.submit(asks_for("squeezed", &resource, "1")).await;
        let message = blocked(&task, "Unschedulable").await;
        assert!(message.contains(&resource), "the scheduler's own words: {message}");
        nodes_offer(lab, &resource, Some("1")).await;
        assert_nothing_was_charged(&task).await;
        nodes_offer(lab, &resource, None).await;
        assert_eq!(task.pods().len(), 1, "it waited in one pod");
    })
    .await;
}

#[tokio::test]
async fn an_edit_reaches_a_task_that_no_node_can_take() {
    story(async |lab| {
        let task = lab.submit(asks_for("too-big", "cpu", "1000")).await;
        let message = blocked(&task, "Unschedulable").await;
        assert!(message.contains("cpu"), "{message}");
        let smaller = asks_for("too-big", "cpu", "1m");
        let mut containers = smaller["spec"]["template"]["spec"]["containers"].clone();
        containers[0]["args"] = json!(["--steps=1", "--step-time=0"]);
        task.change(json!({ "template": { "spec": { "containers": containers } } })).await;
        assert_nothing_was_charged(&task).await;
    })
    .await;
}

#[tokio::test]
async fn a_template_that_the_api_server_refuses_is_no_attempt_and_an_edit_mends_it_at_once() {
    story(async |lab| {
        let mut refused = manifest("refused", &["--steps=1", "--step-time=0"]);
        refused["spec"]["template"]["spec"]["nodeSelector"] = json!({ "not a label!": "x" });
        let task = lab.submit(refused).await;
        let message = blocked(&task, "Invalid").await;
        assert!(message.contains("nodeSelector"), "the API server's own words: {message}");
        let columns = lab.kubectl_output(&["get", "lt", "refused", "-o", "wide", "--no-headers"]).await;
        assert!(columns.contains("Invalid"), "{columns}");
        lab.until_event_of("refused", "Blocked").await;
        assert!(task.pods().is_empty());
        task.change(json!({ "template": { "spec": { "nodeSelector": null } } })).await;
        task.until_pod(1, "is made", 5, |_| true).await;
        assert_nothing_was_charged(&task).await;
        assert_eq!(task.statuses().last().map(|status| status.totals.attempts), Some(1));
    })
    .await;
}

#[tokio::test]
async fn an_exceeded_quota_is_waited_for() {
    story(async |lab| {
        let quotas: Api<ResourceQuota> = lab.api();
        let none: ResourceQuota = serde_json::from_value(json!({
            "metadata": { "name": "no-pods" }, "spec": { "hard": { "pods": "0" } },
        }))
        .expect("a quota");
        quotas.create(&PostParams::default(), &none).await.expect("create the quota");
        // It holds once its controller has counted.
        let counted = |quota: Option<&ResourceQuota>| {
            quota.is_some_and(|quota| quota.status.as_ref().is_some_and(|status| status.used.is_some()))
        };
        let is_counted = kube::runtime::wait::await_condition(quotas.clone(), "no-pods", counted);
        tokio::time::timeout(Duration::from_secs(20), is_counted)
            .await
            .expect("in time")
            .expect("the quota is counted");
        let task = lab.submit(manifest("over-quota", &["--steps=1", "--step-time=0"])).await;
        let message = blocked(&task, "QuotaExceeded").await;
        assert!(message.contains("no-pods"), "{message}");
        let next = task.until("it says when it tries again", 5, |status| status.next_attempt_time.is_some()).await;
        assert_eq!(next.totals.attempts, 0, "no attempt was made");
        assert!(task.pods().is_empty());
        quotas.delete("no-pods", &DeleteParams::default()).await.expect("delete the quota");
        assert_nothing_was_charged(&task).await;
        let pods = task.pods();
        assert_eq!(pods.len(), 1);
        assert!(pods[0].latest().phase() == "Succeeded" && pods[0].attempt == 1, "the attempt that was decided first");
    })
    .await;
}

/// Somebody's pod has the name that an attempt needs.
#[tokio::test]
async fn a_pod_of_another_owner_with_the_name_is_left_alone_and_waited_for() {
    story(async |lab| {
        let pods: Api<Pod> = lab.api();
        lab.create_pod(pod("taken-1", &["start: sleep forever", "term: exit 0"])).await;
        let task = lab.submit(manifest("taken", &["--steps=0"])).await;
        let message = blocked(&task, "NameTaken").await;
        assert!(message.contains("taken-1"), "{message}");
        pods.delete("taken-1", &DeleteParams::default()).await.expect("delete somebody's pod");
        assert_nothing_was_charged(&task).await;
    })
    .await;
}
