//! The operator may die at any moment.

use std::time::Duration;

use longtask::api::task::Phase;
use serde_json::json;
use tokio::time::timeout;

use super::support::{Change, Random, manifest, story};

const KILLS: u32 = 10;

#[tokio::test]
async fn ten_kills_of_the_operator_lose_nothing_and_count_nothing_twice() {
    story(async |lab| {
        let mut random = Random::seeded();
        let arguments = ["--steps=18", "--step-time=1s", "attempt=2: exit 1", "attempt=4: exit 3"];
        let change = json!({ "spec": { "segment": { "duration": "5s" }, "podHistoryLimit": 100 } });
        let task = lab.submit(manifest("survivor", &arguments).and(change)).await;
        let has_ended = |status: &longtask::api::task::LongTaskStatus| status.phase.is_some_and(Phase::is_terminal);
        for kill in 1..=KILLS {
            let moment = Duration::from_millis(300 + random.next() % 2700);
            let ended = timeout(moment, task.until("it has ended", 60, has_ended)).await;
            assert!(ended.is_err(), "the task ended before kill {kill}");
            lab.kill_operator().await;
            lab.start_operator();
        }
        let status = task.ends_as(Phase::Succeeded, 45).await;
        let journal = task.journal();
        assert_eq!(journal.steps(), (1..=18).collect::<Vec<_>>(), "no checkpoint was lost");
        let failed = journal.all("exit").iter().filter(|exit| matches!(exit.code, Some(1 | 3))).count();
        assert_eq!((failed, status.totals.failures), (2, 2), "each failure is counted once");
        let started = i64::try_from(journal.all("start").len()).expect("a small number");
        assert_eq!(status.totals.attempts, started, "each attempt is counted once");
        let numbers: Vec<_> = task.pods().iter().map(|pod| pod.attempt).collect();
        assert_eq!(numbers, (1..=started).collect::<Vec<_>>(), "each attempt has one pod");
        println!("{started} attempts in {} segments", status.segment);
    })
    .await;
}
