//! Writes of the operator that a policy refuses: told in the policy's words, and made when it is gone.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use longtask::api::task::{ConditionType, LongTaskStatus, Outcome, Phase};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    blocked::{asks_for, resource},
    support::{Change, Lab, PodExt, Sightings, Writes, manifest, message_of, refuse, story},
};

const WORDS: &str = "pods of this namespace are not to be changed";

/// How long it may take until a refusal is shown.
const SHOWN: Duration = Duration::from_secs(20);
/// How long it may take until what was refused is tried again: a minute, and what the write itself takes.
const TRIED_AGAIN: Duration = Duration::from_secs(65);

/// Changes of pods; of those whose names begin so.
fn changes_of(named: &str) -> Writes<'_> {
    Writes { group: "", resource: "pods", operations: &["UPDATE"], named }
}

/// Whatever could stop a pod.
const STOPS: Writes<'_> = Writes { group: "", resource: "pods", operations: &["UPDATE", "DELETE"], named: "" };

/// A task whose program works until it is stopped.
fn works_on(name: &str) -> Value {
    let grace = json!({ "spec": { "segment": { "duration": "10m", "gracePeriod": "1s" } } });
    manifest(name, &["--steps=999", "--step-time=1s"]).and(grace)
}

fn refused(status: &LongTaskStatus) -> Option<(String, String)> {
    message_of(status, ConditionType::WriteRefused)
}

fn assert_in_time(what: &str, since: Instant, limit: Duration) {
    let took = since.elapsed();
    println!("{what} after {took:?}");
    assert!(took < limit, "{what} took {took:?}, more than {limit:?}");
}

/// By a delete, which stops the pod as gracefully; it is let go when it may be.
#[tokio::test]
async fn a_pause_is_made_though_a_policy_refuses_to_have_the_deadline_lowered_and_that_is_told() {
    story(async |lab| {
        let invalid = lab.submit(works_on("invalid")).await;
        let forbidden = lab.submit(works_on("forbidden")).await;
        invalid.until_phase(Phase::Running, 20).await;
        forbidden.until_phase(Phase::Running, 20).await;
        let by_422 = refuse(lab, &changes_of("invalid"), "Invalid", WORDS).await;
        let by_403 = refuse(lab, &changes_of("forbidden"), "Forbidden", WORDS).await;
        let asked = Instant::now();
        for task in [&invalid, &forbidden] {
            task.change(json!({ "suspend": true })).await;
        }
        for task in [&invalid, &forbidden] {
            let status = task.until_phase(Phase::Suspended, 20).await;
            assert_in_time("the pause came", asked, SHOWN);
            let ended = &status.recent_attempts[0];
            assert_eq!((ended.outcome, ended.reason.as_str()), (Outcome::Stopped, "Suspend"));
            let told: Vec<_> = task.statuses().iter().filter_map(refused).collect();
            let (reason, words) = told.first().expect("it is told");
            assert!(reason == "StopRefused" && words.contains(WORDS), "{reason}: {words}");
            let note = lab.until_event_of(&task.name, "WriteRefused").await;
            assert!(note.contains(WORDS), "{note}");
            assert!(status.checkpoint.is_some(), "the program was asked to stop");
        }
        by_422.remove().await;
        by_403.remove().await;
        let allowed = Instant::now();
        for task in [&invalid, &forbidden] {
            all_gone(lab, &task.uid).await;
            task.until("nothing is refused any more", 65, |status| refused(status).is_none()).await;
        }
        assert_in_time("the pods were let go", allowed, TRIED_AGAIN);
    })
    .await;
}

#[tokio::test]
async fn a_stop_that_a_policy_refuses_in_every_way_is_told_and_made_when_it_may_be() {
    story(async |lab| {
        let task = lab.submit(works_on("kept-on")).await;
        task.until_phase(Phase::Running, 20).await;
        let policy = refuse(lab, &STOPS, "Invalid", WORDS).await;
        let asked = Instant::now();
        task.change(json!({ "suspend": true })).await;
        let status = task.until("it is told what keeps it from a pause", 20, |status| refused(status).is_some()).await;
        assert_in_time("the refusal was shown", asked, SHOWN);
        let (reason, words) = refused(&status).expect("just seen");
        assert!(reason == "StopRefused" && words.contains(WORDS), "{reason}: {words}");
        assert_eq!((status.phase, status.reason.as_str()), (Some(Phase::Stopping), "Suspend"));
        policy.remove().await;
        let allowed = Instant::now();
        let status = task.until_phase(Phase::Suspended, 65).await;
        assert_in_time("the pause came", allowed, TRIED_AGAIN);
        assert_eq!((refused(&status), status.recent_attempts[0].outcome), (None, Outcome::Stopped));
        assert_eq!(lab.events_of("kept-on", "WriteRefused").await, 1, "it is said once");
    })
    .await;
}

#[tokio::test]
async fn a_slice_ends_in_its_time_though_a_policy_refuses_to_have_the_deadline_lowered() {
    story(async |lab| {
        let policy = refuse(lab, &changes_of(""), "Invalid", WORDS).await;
        let slice = json!({ "spec": { "segment": { "duration": "6s", "startTimeout": "2m" } } });
        let task = lab.submit(works_on("short").and(slice)).await;
        let status = task.until("it is told what is refused", 20, |status| refused(status).is_some()).await;
        let (reason, words) = refused(&status).expect("just seen");
        assert!(reason == "StopRefused" && words.contains(WORDS), "{reason}: {words}");
        let status = task.until("attempt 1 is counted", 30, |status| status.totals.attempts == 1).await;
        assert_eq!((status.recent_attempts[0].outcome, status.segment), (Outcome::TimeLimit, 2), "{status:#?}");
        let (start, end) = task.pods()[0].times_of("main");
        let lasted = end.as_second() - start.as_second();
        assert!((5..=11).contains(&lasted), "6s became {lasted}s");
        policy.remove().await;
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_may_not_be_stopped_is_overdue_without_a_word_about_its_node() {
    story(async |lab| {
        let task = lab.submit(works_on("overdue")).await;
        task.until_phase(Phase::Running, 20).await;
        let policy = refuse(lab, &STOPS, "Forbidden", WORDS).await;
        task.change(json!({ "suspend": true })).await;
        let overdue = |status: &LongTaskStatus| message_of(status, ConditionType::AttemptOverdue);
        let status = task.until("it is overdue", 80, |status| overdue(status).is_some()).await;
        let (reason, words) = overdue(&status).expect("just seen");
        assert!(reason == "WriteRefused" && !words.contains("node") && !words.contains("force"), "{reason}: {words}");
        let note = lab.until_event_of("overdue", "AttemptOverdue").await;
        assert!(note.contains("WriteRefused") && !note.contains("node"), "{note}");
        assert!(refused(&status).is_some_and(|(_, words)| words.contains(WORDS)), "{:?}", status.conditions);
        policy.remove().await;
    })
    .await;
}

async fn all_gone(lab: &Lab, uid: &str) {
    lab.until("the pods are gone", TRIED_AGAIN, |seen: &Sightings| {
        seen.pods_of(uid).all(|pod| pod.is_gone).then_some(())
    })
    .await;
}

#[tokio::test]
async fn pods_of_deleted_tasks_that_a_policy_holds_are_told_of_and_go_when_they_may() {
    story(async |lab| {
        let background = lab.submit(works_on("background")).await;
        let foreground = lab.submit(works_on("foreground")).await;
        background.until_phase(Phase::Running, 20).await;
        foreground.until_phase(Phase::Running, 20).await;
        let policy = refuse(lab, &changes_of(""), "Invalid", WORDS).await;
        background.delete(DeleteParams::background()).await;
        foreground.delete(DeleteParams::foreground()).await;
        let told = [
            lab.until_event_of_pod("background-1", "WriteRefused").await,
            lab.until_event_of("foreground", "WriteRefused").await,
        ];
        for note in told {
            assert!(note.contains(WORDS) && note.contains("longtask.dev/outcome"), "{note}");
        }
        for task in [&background, &foreground] {
            let is_held = |pod: &Pod| pod.metadata.deletion_timestamp.is_some() && pod.has_our_finalizer();
            task.until_pod(1, "is held", 20, is_held).await;
        }
        policy.remove().await;
        let allowed = Instant::now();
        all_gone(lab, &background.uid).await;
        all_gone(lab, &foreground.uid).await;
        assert_in_time("the pods went", allowed, TRIED_AGAIN);
    })
    .await;
}

#[tokio::test]
async fn a_deletion_that_a_policy_refuses_is_told_in_its_words_and_made_when_it_may_be() {
    story(async |lab| {
        let task = lab.submit(asks_for("queued", &resource(lab), "1")).await;
        task.until("it waits for room", 20, |status| status.reason == "Unschedulable").await;
        let deletions = Writes { operations: &["DELETE"], ..changes_of("") };
        let policy = refuse(lab, &deletions, "Forbidden", "pods of this namespace are not to be deleted").await;
        let asked = Instant::now();
        task.change(json!({ "suspend": true })).await;
        let status = task.until("it is told what keeps it from a pause", 20, |status| refused(status).is_some()).await;
        assert_in_time("the refusal was shown", asked, SHOWN);
        let (reason, words) = refused(&status).expect("just seen");
        assert!(reason == "DeletionRefused" && words.contains("not to be deleted"), "{reason}: {words}");
        policy.remove().await;
        let allowed = Instant::now();
        let status = task.until_phase(Phase::Suspended, 65).await;
        assert_in_time("the pause came", allowed, TRIED_AGAIN);
        assert_eq!((refused(&status), status.totals.attempts), (None, 0), "nothing ran");
    })
    .await;
}

#[tokio::test]
async fn what_ended_while_no_status_could_be_written_is_not_done_again_though_its_pod_was_deleted() {
    story(async |lab| {
        // Without the word done: only the order of the end and the deletion tells.
        let ends = "before=2: wait /journal/end; exit 0";
        let task = lab.submit(manifest("cleaned", &["--steps=9", "--step-time=0", ends])).await;
        task.until_phase(Phase::Running, 20).await;
        let status = Writes { group: "longtask.dev", resource: "longtasks/status", operations: &["UPDATE"], named: "" };
        let policy = refuse(lab, &status, "Forbidden", "no status is to be written").await;
        lab.touch("end");
        task.until_pod(1, "has ended", 20, |pod| pod.phase() == "Succeeded").await;
        let note = lab.until_event_of("cleaned", "WriteRefused").await;
        assert!(note.contains("no status is to be written") && note.contains("longtasks/status"), "{note}");
        lab.api::<Pod>().delete("cleaned-1", &DeleteParams::default()).await.expect("delete the finished pod");
        task.until_pod(1, "is on its way out", 10, |pod| pod.metadata.deletion_timestamp.is_some()).await;
        assert_eq!(task.statuses().last().expect("it has one").totals.attempts, 0, "nothing is written");
        policy.remove().await;
        let allowed = Instant::now();
        let status = task.ends_as(Phase::Succeeded, 65).await;
        assert_in_time("the end was recorded", allowed, TRIED_AGAIN);
        assert_eq!((status.totals.attempts, status.recent_attempts[0].outcome), (1, Outcome::Completed));
        assert_eq!(task.journal().all("start").len(), 1);
    })
    .await;
}
