//! What reaches the status while a program runs, and from whom.

use std::{net::SocketAddr, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::DeleteParams,
    runtime::{
        conditions::{is_deleted, is_pod_running},
        wait::await_condition,
    },
};
use longtask::{
    api::task::{LongTaskStatus, Phase},
    clock::Clock,
    contract::agent::{Post, TOKEN_AUDIENCE},
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::{completed, live, uid, until_completed};
use crate::{
    leader::holder,
    support::{Change, Lab, Task, manifest, pod, story, story_of_reports},
};

/// The statuses that were written while the first attempt was under way.
fn written_while_it_ran(task: &Task<'_>) -> Vec<LongTaskStatus> {
    let statuses = task.statuses().into_iter();
    statuses.filter(|status| status.totals.attempts == 0).collect()
}

#[tokio::test]
async fn progress_and_checkpoints_move_while_the_program_runs_and_not_more_often_than_is_wanted() {
    story_of_reports(async |lab| {
        let task = lab.submit(manifest("moves", &["--steps=50", "--step-time=1s"]).and(live())).await;
        let status = task.ends_as(Phase::Succeeded, 100).await;
        assert_eq!((status.totals.attempts, completed(&status)), (1, 50));
        let written = written_while_it_ran(&task);
        let mut seen: Vec<_> = written.iter().map(completed).filter(|steps| *steps > 0).collect();
        seen.dedup();
        println!("while it ran, the status said {seen:?} of 50 steps, in {} writes", written.len());
        assert!(seen.len() >= 8 && seen.is_sorted(), "{seen:?}");
        assert!(written.len() <= 14, "{}", written.len());
        assert!(written.iter().any(|status| status.checkpoint.is_some()));
    })
    .await;
}

#[tokio::test]
async fn what_is_said_again_every_second_is_written_once() {
    story_of_reports(async |lab| {
        let again = r#"step: ignore; report {"checkpoint": {"step": 1}, "progress": {"completed": 1, "total": 2}}"#;
        let says_nothing_else = ["--steps=25", "--step-time=1s", again, "end: ignore"];
        let task = lab.submit(manifest("again", &says_nothing_else).and(live())).await;
        task.ends_as(Phase::Succeeded, 60).await;
        let written = written_while_it_ran(&task);
        let of_running: Vec<_> = written.iter().skip_while(|status| status.phase != Some(Phase::Running)).collect();
        println!("{} writes, {} of them since it ran", written.len(), of_running.len());
        assert_eq!(of_running.last().map(|status| completed(status)), Some(1), "its report was written");
        assert!(of_running.len() <= 2, "that it runs, and what it reports: {of_running:#?}");
    })
    .await;
}

#[tokio::test]
async fn a_result_that_only_an_agent_can_bring_arrives() {
    story_of_reports(async |lab| {
        const LARGEST: usize = 16 * 1024;
        let frame = json!({ "data": "" }).to_string().len();
        let result = json!({ "data": "x".repeat(LARGEST - frame) });
        let rule = format!("end: report {}; ignore", json!({ "result": result, "done": true }));
        let task = lab.submit(manifest("large", &["--steps=2", "--step-time=1s", &rule]).and(live())).await;
        let status = task.ends_as(Phase::Succeeded, 60).await;
        let arrived = status.result.map(|result| result.to_string().len());
        assert_eq!((arrived, status.totals.attempts), (Some(LARGEST), 1));
    })
    .await;
}

/// From the death of a leader until the other one has written what an agent posted to it.
const REACHED: Duration = Duration::from_mins(1);

#[tokio::test]
async fn reports_reach_the_other_replica_when_the_leader_is_killed() {
    story(async |lab| {
        lab.kill_operator().await;
        lab.keep_authority().await;
        let (one, other) = (lab.free_address().await, lab.free_address().await);
        let replica = |name: &str, own: SocketAddr, others: SocketAddr| {
            let mut arguments = lab.taking_reports(own, &[own, others]);
            arguments.extend(["--leader-elect=on".into(), format!("--lease-identity={name}")]);
            lab.new_operator(&arguments.iter().map(String::as_str).collect::<Vec<_>>())
        };
        let (first, second) = (replica("first", one, other), replica("second", other, one));
        let task = lab.submit(manifest("handed-on", &["--steps=300", "--step-time=1s"]).and(live())).await;
        until_completed(&task, 1, 40).await;
        let (leader, standby) = if holder(lab).await.starts_with("first_") { (first, second) } else { (second, first) };
        leader.kill().await;
        let killed = Instant::now();
        let done = task.journal().steps().last().copied().unwrap_or(0);
        let status = until_completed(&task, done + 1, REACHED.as_secs()).await;
        println!("the other replica wrote step {} {:?} after the kill", completed(&status), killed.elapsed());
        assert!(killed.elapsed() <= REACHED);
        assert!(standby.answers("accepted").await > 0);
        assert_eq!(status.totals.attempts, 0, "nothing has ended");
        standby.kill().await;
        lab.start_operator();
    })
    .await;
}

/// A report that no program has made. Its revision is that of an hour later, so that none of an agent's replaces it.
fn forged(steps: i64) -> Post {
    let lines = format!("{}\n", json!({ "progress": { "completed": steps } }));
    Post { revision: Clock::wall().now().as_millisecond() + 3_600_000, lines, ..Post::default() }
}

#[tokio::test]
async fn a_report_counts_only_with_the_token_of_the_pod_that_it_is_about() {
    story_of_reports(async |lab| {
        // Two attempts, of which the second one is silent.
        let waits = ["attempt=1: exit 75", "start: sleep forever"];
        let task = lab.submit(manifest("ours", &waits).and(live())).await;
        let neighbour = lab.submit(manifest("neighbour", &["start: sleep forever"]).and(live())).await;
        for name in ["somebodys", "deleted"] {
            lab.create_pod(pod(name, &["start: sleep forever"])).await;
            let runs = await_condition(lab.api::<Pod>(), name, is_pod_running());
            timeout(Duration::from_mins(1), runs).await.expect("in time").expect("it runs");
        }
        task.until("its second attempt runs", 40, |status| status.phase == Some(Phase::Running) && status.segment == 2)
            .await;
        neighbour.until_phase(Phase::Running, 30).await;
        let of_deleted = lab.token(TOKEN_AUDIENCE, Some("deleted")).await;
        delete_pod(lab, "deleted").await;
        let tokens = [
            ("of the attempt before", lab.token(TOKEN_AUDIENCE, Some("ours-1")).await, 410),
            ("of a pod that is no task's", lab.token(TOKEN_AUDIENCE, Some("somebodys")).await, 503),
            ("of a deleted pod", of_deleted, 401),
            ("for another audience", lab.token("https://kubernetes.default.svc", Some("ours-2")).await, 401),
            ("of no pod", lab.token(TOKEN_AUDIENCE, None).await, 401),
            ("made up", "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl".into(), 401),
            ("of another task's pod", lab.token(TOKEN_AUDIENCE, Some("neighbour-1")).await, 200),
        ];
        for (whose, token, wanted) in &tokens {
            let answered = lab.post(token, &forged(999)).await;
            println!("a token {whose} is answered {answered}");
            assert_eq!(answered, *wanted, "a token {whose}");
        }
        // Posted later: when this has arrived, so would have what was posted before.
        let own = lab.token(TOKEN_AUDIENCE, Some("ours-2")).await;
        assert_eq!(lab.post(&own, &forged(7)).await, 200, "posts of this kind are taken");
        until_completed(&task, 7, 20).await;
        assert_eq!(task.statuses().iter().map(completed).max(), Some(7), "nothing else was ever recorded");
        until_completed(&neighbour, 999, 20).await;
    })
    .await;
}

async fn delete_pod(lab: &Lab, name: &str) {
    let pods: Api<Pod> = lab.api();
    let pod = pods.get(name).await.expect("it is there");
    pods.delete(name, &DeleteParams::default().grace_period(1)).await.expect("delete it");
    let gone = await_condition(pods, name, is_deleted(uid(&pod)));
    timeout(Duration::from_mins(1), gone).await.expect("in time").expect("it is gone");
}
