//! What a rule raised is bounded by what rules say now.

use k8s_openapi::api::core::v1::{LimitRange, Pod};
use kube::api::PostParams;
use longtask::api::task::{ConditionType, Phase};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::support::{Change, Task, manifest, message_of, story};

fn rules(max: &str) -> Value {
    let memory = json!({ "factor": 4, "max": max });
    json!([{ "name": "out-of-memory", "onReasons": ["OOMKilled"], "action": "Retry", "delay": "1s", "memory": memory }])
}

async fn memory_of(task: &Task<'_>, attempt: i64) -> String {
    let pod: Pod = task.until_pod(attempt, "is made", 10, |_| true).await;
    let limits = pod.spec.and_then(|spec| spec.containers[0].resources.clone()).and_then(|resources| resources.limits);
    limits.and_then(|limits| limits.get("memory").map(|memory| memory.0.clone())).expect("a limit")
}

#[tokio::test]
async fn a_raise_beyond_what_the_namespace_allows_is_taken_back_with_its_rule() {
    story(async |lab| {
        let most = json!({
            "metadata": { "name": "most" }, "spec": { "limits": [{ "type": "Container", "max": { "memory": "96Mi" } }] },
        });
        let most: LimitRange = serde_json::from_value(most).expect("a limit range");
        lab.api().create(&PostParams::default(), &most).await.expect("create the limit range");
        let greedy = ["--steps=1", "--step-time=0", "attempt=1: allocate forever", "attempt=2: wait /journal/go; exit 75"];
        let mut task = manifest("greedy", &greedy).and(json!({ "spec": { "failurePolicy": { "rules": rules("1Gi") } } }));
        task["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "40Mi" } });
        let task = lab.submit(task).await;
        let is_refused = |status: &longtask::api::task::LongTaskStatus| status.reason == "Forbidden";
        let blocked = task.until("the raise is refused", 40, is_refused).await;
        let (_, words) = message_of(&blocked, ConditionType::Blocked).expect("it is shown");
        assert!(words.contains("96Mi") && words.contains("rule out-of-memory"), "{words}");
        task.change(json!({ "failurePolicy": { "rules": rules("90Mi") } })).await;
        let lowered = Instant::now();
        assert_eq!(memory_of(&task, 2).await, "90Mi");
        assert!(lowered.elapsed().as_secs() < 10, "{:?}", lowered.elapsed());
        task.until_phase(Phase::Running, 20).await;
        task.change(json!({ "failurePolicy": { "rules": [] } })).await;
        task.until("it knows of the edit", 10, |status| status.observed_generation == 3).await;
        lab.touch("go");
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(memory_of(&task, 3).await, "40Mi");
        assert_eq!((status.memory, status.totals.attempts), (None, 3));
    })
    .await;
}
