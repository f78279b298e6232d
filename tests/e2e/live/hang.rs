//! Programs that hang, and programs that only seem to.

use std::time::Duration;

use k8s_openapi::jiff::SignedDuration;
use longtask::api::task::{LongTaskStatus, Outcome, Phase, StopReason};
use serde_json::json;
use tokio::time::Instant;

use super::{SILENCE, length_of_a_cut, uid, until_completed, watched};
use crate::support::{Change, Lab, Task, freeze, manifest, process_of, story_of_relayed_reports, story_of_reports};

/// From the last sign of life until a hung program is stopped: a quarter more than it may be silent, and 10 seconds.
const FOUND: SignedDuration = SignedDuration::from_secs(48);

#[tokio::test]
async fn a_program_that_hangs_is_stopped_and_resumed_from_its_last_checkpoint() {
    story_of_reports(async |lab| {
        let hangs = ["--steps=8", "--step-time=1s", "attempt=1 before=5: wait /journal/never"];
        let change = json!({ "spec": { "segment": { "gracePeriod": "1s" } } });
        let task = lab.submit(manifest("hangs", &hangs).and(watched()).and(change)).await;
        task.journal().until_step(4, Duration::from_secs(30)).await;
        let pod = task.until_pod(1, "runs", 10, |_| true).await;
        process_of(uid(&pod), "program").signal("STOP");
        let is_hung = |status: &LongTaskStatus| requested(status) == Some(StopReason::Hung);
        let status = task.until("it is being stopped", 60, is_hung).await;
        let silent_since = task.journal().all("step").last().expect("it did some").time;
        let stop = status.current_attempt.and_then(|attempt| attempt.stop).expect("just seen");
        let found = stop.request_time.duration_since(silent_since);
        let status = task.until("attempt 1 is counted", 30, |status| status.totals.attempts == 1).await;
        let over = status.recent_attempts[0].finished_at.duration_since(silent_since);
        println!("found {found:#} after its last sign of life, ended {over:#} after it");
        assert!(found <= FOUND, "{found:#}");
        let ended = &status.recent_attempts[0];
        assert_eq!((ended.outcome, ended.reason.as_str()), (Outcome::Failed, "Hung"));
        let failure = status.last_failure.expect("it is told");
        for words in ["heartbeatTimeout is 30s", "last word: 4/8 steps"] {
            assert!(failure.message.contains(words), "{failure:?}");
        }
        task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(task.journal().start_of(2).step, 4);
    })
    .await;
}

fn requested(status: &LongTaskStatus) -> Option<StopReason> {
    let stop = status.current_attempt.as_ref().and_then(|attempt| attempt.stop.as_ref());
    stop.map(|stop| stop.reason)
}

/// A third task, which is as silent and has no excuse, tells when the two would have been stopped.
#[tokio::test]
async fn a_silence_that_was_announced_or_allowed_in_time_is_no_hang() {
    story_of_reports(async |lab| {
        let silent = |name: &str, before: &str| {
            let rule = format!("before=2: {before}wait /journal/over");
            manifest(name, &["--steps=3", "--step-time=1s", &rule]).and(watched())
        };
        let announced = lab.submit(silent("announced", r#"report {"quiet": "10m"}; "#)).await;
        let allowed = lab.submit(silent("allowed", "")).await;
        let hung =
            lab.submit(silent("hung", "").and(json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } }))).await;
        for task in [&announced, &allowed, &hung] {
            task.journal().until_step(1, Duration::from_secs(30)).await;
        }
        let silent_since = Instant::now();
        until_completed(&allowed, 1, 20).await;
        allowed.change(json!({ "segment": { "heartbeatTimeout": "10m" } })).await;
        let failed = hung.ends_as(Phase::Failed, 60).await;
        assert_eq!(failed.last_failure.map(|failure| failure.reason).as_deref(), Some("Hung"));
        println!("the one without an excuse had ended {:?} after its last sign of life", silent_since.elapsed());
        assert!(silent_since.elapsed() >= SILENCE);
        lab.touch("over");
        for task in [&announced, &allowed] {
            assert_only_attempt(&task.ends_as(Phase::Succeeded, 30).await);
        }
    })
    .await;
}

fn assert_only_attempt(status: &LongTaskStatus) {
    let ends: Vec<_> = status.recent_attempts.iter().map(|end| (end.outcome, end.reason.as_str())).collect();
    assert_eq!((ends, status.totals.failures), (vec![(Outcome::Completed, "")], 0));
}

/// A program with much to do, which has done some of it, and that the status knows.
async fn at_work<'a>(lab: &'a Lab, name: &str) -> Task<'a> {
    let task = lab.submit(manifest(name, &["--steps=1000", "--step-time=1s"]).and(watched())).await;
    until_completed(&task, 1, 40).await;
    task
}

fn steps_of(task: &Task<'_>) -> i64 {
    task.journal().steps().last().copied().expect("it did some")
}

/// Nothing has ended and nothing was told to stop.
fn assert_undisturbed(task: &Task<'_>) {
    let statuses = task.statuses();
    let disturbed = statuses.iter().find(|status| status.totals.attempts > 0 || requested(status).is_some());
    assert!(disturbed.is_none(), "{disturbed:#?}");
    assert_eq!(task.journal().all("term").len(), 0);
}

#[tokio::test]
async fn a_program_whose_reports_are_cut_off_for_longer_than_it_may_be_silent_has_not_hung() {
    story_of_relayed_reports(async |lab, relay| {
        let task = at_work(lab, "unheard").await;
        let written = task.statuses().len();
        relay.cut();
        let cut = Instant::now();
        let missed = steps_of(&task) + i64::try_from(length_of_a_cut().as_secs()).expect("not so long");
        task.journal().until_step(missed, length_of_a_cut()).await;
        println!(
            "cut for {:?}, in which the status was written {} times",
            cut.elapsed(),
            task.statuses().len() - written
        );
        assert_undisturbed(&task);
        relay.mend();
        let mended = Instant::now();
        until_completed(&task, missed, 60).await;
        println!("the status knew of what had been done {:?} after the way was mended", mended.elapsed());
        assert_undisturbed(&task);
    })
    .await;
}

#[tokio::test]
async fn a_pod_that_is_frozen_for_longer_than_its_program_may_be_silent_has_not_hung() {
    story_of_reports(async |lab| {
        let task = at_work(lab, "frozen").await;
        let thaw = freeze(uid(task.pods()[0].latest()));
        tokio::time::sleep(length_of_a_cut()).await;
        thaw.now().await;
        until_completed(&task, steps_of(&task) + 15, 40).await;
        assert_undisturbed(&task);
        let times: Vec<_> = task.journal().all("step").iter().map(|step| step.time).collect();
        let longest = times.windows(2).map(|pair| pair[1].duration_since(pair[0])).max().expect("steps");
        println!("the longest time between two steps was {longest:#}");
        assert!(longest >= SignedDuration::try_from(length_of_a_cut()).expect("not so long"), "it was not frozen");
    })
    .await;
}
