//! Of two replicas, one works.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use longtask::api::task::Phase;
use serde_json::json;
use tokio::time::Instant;

use super::support::{Change, Lab, OperatorProcess, manifest, story};

/// A killed leader is replaced within this time.
const TAKEN_OVER: Duration = Duration::from_secs(15);

#[tokio::test]
async fn the_other_replica_goes_on_when_the_leader_is_killed() {
    story(async |lab| {
        lab.kill_operator().await;
        let (first, second) = (replica(lab, "first"), replica(lab, "second"));
        let change = json!({ "spec": { "segment": { "duration": "5s" }, "podHistoryLimit": 100 } });
        let task = lab.submit(manifest("handed-on", &["--steps=14", "--step-time=1s"]).and(change)).await;
        task.until_pod(2, "was made", 30, |_| true).await;
        let (leader, standby) = if holder(lab).await.starts_with("first_") { (first, second) } else { (second, first) };
        assert!(!leader.writes().await.is_empty());
        assert_eq!(standby.writes().await, [], "the one that stands by writes nothing");

        leader.kill().await;
        let killed = Instant::now();
        let before = task.statuses().len();
        lab.until("the other replica writes", TAKEN_OVER, |seen| {
            (seen.statuses(&task.uid).len() > before).then_some(())
        })
        .await;
        println!("the other replica's first write came {:?} after the kill", killed.elapsed());
        assert!(killed.elapsed() <= TAKEN_OVER);
        let status = task.ends_as(Phase::Succeeded, 45).await;
        assert!(!standby.writes().await.is_empty());
        assert_eq!(task.journal().steps(), (1..=14).collect::<Vec<_>>());
        let started = i64::try_from(task.journal().all("start").len()).expect("a small number");
        assert_eq!((status.totals.attempts, status.totals.failures), (started, 0), "nothing is doubled");
        standby.kill().await;
        lab.start_operator();
    })
    .await;
}

fn replica(lab: &Lab, name: &str) -> OperatorProcess {
    let namespace = format!("--lease-namespace={}", lab.namespace);
    lab.new_operator(&["--leader-elect=on", &namespace, &format!("--lease-identity={name}")])
}

/// The identity of the replica that leads.
pub(crate) async fn holder(lab: &Lab) -> String {
    let lease = lab.api::<Lease>().get("longtask-operator").await.expect("there is a lease");
    lease.spec.and_then(|spec| spec.holder_identity).expect("somebody holds it")
}
