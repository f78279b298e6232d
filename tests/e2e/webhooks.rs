//! A webhook that must see each new pod, and is away.

use std::{net::TcpListener, time::Duration};

use longtask::api::task::{ConditionType, LongTaskStatus, Phase};
use tokio::time::Instant;

use super::support::{Lab, NOBODY, Obstacle, Task, ask_webhook, manifest, message_of, story};

/// Waits until it is shown that a webhook keeps the pod from being made, within that time; nothing is counted for it.
async fn webhook_is_named(lab: &Lab, task: &Task<'_>, since: Instant, within: u64) {
    let blocked = |status: &LongTaskStatus| message_of(status, ConditionType::Blocked);
    let status = task.until("it is told what keeps it", within, |status| blocked(status).is_some()).await;
    let took = since.elapsed();
    println!("{}: shown after {took:?}", task.name);
    assert!(took < Duration::from_secs(within), "{took:?}");
    let (reason, words) = blocked(&status).expect("just seen");
    assert!(!status.reason.is_empty() && words.contains("webhook"), "{reason}: {words}");
    let note = lab.until_event_of(&task.name, "Blocked").await;
    assert!(note.contains("webhook"), "{note}");
    assert_eq!((status.totals.attempts, task.pods().len()), (0, 0));
}

async fn goes_on_without(obstacle: Obstacle<'_>, lab: &Lab, task: &Task<'_>) {
    obstacle.remove().await;
    let back = Instant::now();
    let status = task.ends_as(Phase::Succeeded, 65).await;
    assert!(back.elapsed() < Duration::from_secs(65), "{:?}", back.elapsed());
    let totals = &status.totals;
    assert_eq!((totals.attempts, totals.start_failures, totals.interruptions), (1, 0, 0), "{totals:?}");
    assert_eq!(lab.events_of(&task.name, "Blocked").await, 1, "it is said once");
}

#[tokio::test]
async fn a_webhook_that_nobody_answers_for_is_named_and_waited_for() {
    story(async |lab| {
        let away = ask_webhook(lab, NOBODY, 2).await;
        let submitted = Instant::now();
        let task = lab.submit(manifest("checked", &["--steps=1", "--step-time=0"])).await;
        webhook_is_named(lab, &task, submitted, 20).await;
        goes_on_without(away, lab, &task).await;
    })
    .await;
}

#[tokio::test]
async fn a_webhook_that_listens_and_never_answers_is_named_and_waited_for() {
    story(async |lab| {
        // The system takes the connections, and nobody reads.
        let deaf = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = deaf.local_addr().expect("it has one").to_string();
        let away = ask_webhook(lab, &address, 10).await;
        let submitted = Instant::now();
        let task = lab.submit(manifest("checked", &["--steps=1", "--step-time=0"])).await;
        webhook_is_named(lab, &task, submitted, 35).await;
        goes_on_without(away, lab, &task).await;
    })
    .await;
}
