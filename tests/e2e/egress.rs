//! Programs whose reports do not get out: they are never ended for that.
//!
//! One story takes three minutes whatever is done. Stories begin in the order of the alphabet, and those that want the
//! cluster for themselves wait for all that have begun: so this file has a name between two of theirs that are far apart.

use std::time::Duration;

use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::json;
use tokio::time::Instant;

use super::{
    live::{completed, watched},
    support::{Change, manifest, message_of, story_of_relayed_reports, story_of_reports},
};

/// From the program's start until it is told that nothing is heard.
const MISSED: Duration = Duration::from_mins(4);

fn assert_undisturbed(status: &LongTaskStatus) {
    let ends: Vec<_> = status.recent_attempts.iter().map(|end| (end.outcome, end.reason.as_str())).collect();
    assert_eq!((ends, status.totals.failures, status.totals.interruptions), (vec![(Outcome::Completed, "")], 0, 0));
}

#[tokio::test]
async fn reports_that_cannot_be_posted_are_missed_and_the_program_ends_as_ever() {
    story_of_relayed_reports(async |lab, relay| {
        relay.cut();
        let ends = ["--steps=3", "--step-time=1s", "end: wait /journal/missed"];
        let task = lab.submit(manifest("blocked", &ends).and(watched())).await;
        task.until_phase(Phase::Running, 30).await;
        let began = Instant::now();
        let are_missing = |status: &LongTaskStatus| message_of(status, ConditionType::ReportsMissing).is_some();
        let status = task.until("its reports are missed", MISSED.as_secs(), are_missing).await;
        println!("missed {:?} after its start", began.elapsed());
        assert!(began.elapsed() <= MISSED);
        let (reason, words) = message_of(&status, ConditionType::ReportsMissing).expect("just seen");
        assert_eq!(reason, "NeverHeard");
        for words_of_help in ["NetworkPolicy", "DNS", "kubectl logs blocked-1 -c longtask-agent"] {
            assert!(words.contains(words_of_help), "{words}");
        }
        lab.touch("missed");
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_undisturbed(&status);
        assert_eq!((completed(&status), status.result), (3, Some(json!({ "steps": 3 }))));
        assert_eq!(lab.events_of("blocked", "ReportsMissing").await, 1);
    })
    .await;
}

/// The API server vouches no more for a token whose service account is gone. What it said of it before it may believe for
/// ten seconds, and the operator for as long as it lives.
#[tokio::test]
async fn a_program_whose_token_is_refused_is_read_at_its_end() {
    story_of_reports(async |lab| {
        lab.kubectl_output(&["create", "serviceaccount", "reporter"]).await;
        let change = json!({ "spec": { "template": { "spec": { "serviceAccountName": "reporter" } } } });
        let arguments = ["--steps=60", "--step-time=1s"];
        let task = lab.submit(manifest("refused", &arguments).and(watched()).and(change)).await;
        task.journal().until_step(1, Duration::from_secs(30)).await;
        lab.kill_operator().await;
        lab.kubectl_output(&["delete", "serviceaccount", "reporter"]).await;
        let done = task.journal().steps().last().copied().expect("it did some");
        task.journal().until_step(done + 12, Duration::from_secs(15)).await;
        lab.start_operator();
        let status = task.ends_as(Phase::Succeeded, 70).await;
        let (refused, taken) = (lab.operators_answers("refused").await, lab.operators_answers("accepted").await);
        println!("{refused} posts were refused, {taken} were taken");
        assert!(refused > 0 && taken == 0);
        assert_undisturbed(&status);
        assert_eq!((completed(&status), status.result), (60, Some(json!({ "steps": 60 }))));
    })
    .await;
}
