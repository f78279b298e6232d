//! What an attempt has said when it ends, whatever became of its agent and of the operator.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::core::v1::Pod;
use longtask::api::task::{LongTaskStatus, Outcome, Phase, StopReason};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{completed, live, restarts_of_agent, uid};
use crate::support::{Change, PodExt, Process, Task, container, manifest, process_of, story_of_reports};

fn ends(status: &LongTaskStatus) -> Vec<(Outcome, &str)> {
    status.recent_attempts.iter().rev().map(|attempt| (attempt.outcome, attempt.reason.as_str())).collect()
}

/// So seldom that what is posted reaches no status within a story.
fn seldom() -> Value {
    json!({ "spec": { "reporting": { "interval": "1h" } } })
}

fn agent_of(pod: &Pod) -> Process {
    process_of(uid(pod), "longtask-agent")
}

/// Waits until an agent has written down what its program has said. A file has no watch, so this looks often.
async fn until_kept(agent: &Process, words: &str) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !agent.read("/longtask/run/.agent").is_some_and(|kept| kept.contains(words)) {
        assert!(Instant::now() < deadline, "the agent has not heard {words} in 10s");
        sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn an_agent_that_is_killed_loses_nothing_that_was_reported() {
    story_of_reports(async |lab| {
        let task = lab.submit(manifest("killed-agent", &["--steps=20", "--step-time=1s"]).and(live())).await;
        task.journal().until_step(5, Duration::from_secs(30)).await;
        agent_of(task.pods()[0].latest()).signal("KILL");
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!((status.totals.attempts, status.totals.failures, completed(&status)), (1, 0, 20));
        assert_eq!(restarts_of_agent(task.pods()[0].latest()), 1, "the kubelet has started it again");
    })
    .await;
}

/// The kubelet rarely has the time to start another agent, which could tell of the last step as well.
#[tokio::test]
async fn what_an_agent_knew_when_it_was_killed_right_before_the_end_counts_and_nobody_blames_it() {
    story_of_reports(async |lab| {
        let last = r#"attempt=1 before=5: wait /journal/killed; checkpoint {"step": 100}; sleep 50ms; exit 75"#;
        let change = live().and(seldom());
        let task = lab.submit(manifest("killed-late", &["--steps=6", "--step-time=0", last]).and(change)).await;
        task.journal().until("it waits", Duration::from_secs(30), |entry| entry.event == "rule").await;
        let pod = task.until_pod(1, "has its agent", 10, |pod| pod.phase() == "Running").await;
        let agent = agent_of(&pod);
        until_kept(&agent, r#"\"step\":4"#).await;
        agent.signal("KILL");
        lab.touch("killed");
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(ends(&status), [(Outcome::Yielded, ""), (Outcome::Completed, "")], "{status:#?}");
        assert_eq!((status.totals.failures, status.totals.start_failures, status.retries), (0, 0, 0));
        let (resumed, restarts) = (task.journal().start_of(2).step, restarts_of_agent(task.pods()[0].latest()));
        println!("the agent was started again {restarts} times, and the next attempt resumed at step {resumed}");
        assert!(resumed == 4 || (restarts > 0 && resumed == 100), "{resumed}");
    })
    .await;
}

/// How often a task is suspended while the operator does not know yet that its program has ended: the kubelet takes up to a
/// second and a half to tell.
const SUSPENDED: usize = 5;

/// Such a pod is told to stop while its agent and a proxy are being stopped, and its phase then tells of nothing but that.
#[tokio::test]
async fn a_program_that_ended_before_its_task_was_suspended_is_done() {
    story_of_reports(async |lab| {
        let proxy = container("proxy", &["start: sleep forever", "term: sleep 4s; exit 0"]);
        let change = json!({ "spec": {
            "segment": { "gracePeriod": "10s" },
            "template": { "spec": { "initContainers": [proxy.and(json!({ "restartPolicy": "Always" }))] } },
        } });
        let ends_without_a_word = ["--steps=3", "--step-time=1s", "end: ignore"];
        let mut tasks = Vec::new();
        for number in 1..=SUSPENDED {
            let name = format!("paused-late-{number}");
            tasks.push(lab.submit(manifest(&name, &ends_without_a_word).and(live()).and(change.clone())).await);
        }
        let asked = join_all(tasks.iter().map(is_done_though_suspended)).await;
        println!("{} of {SUSPENDED} pods were told to stop", asked.iter().filter(|asked| **asked).count());
    })
    .await;
}

/// Suspends a task as soon as its program has ended. Says whether its pod was told to stop.
async fn is_done_though_suspended(task: &Task<'_>) -> bool {
    let exit = task.journal().until("it has ended", Duration::from_secs(40), |entry| entry.event == "exit").await;
    // The cluster's times are whole seconds: an end within the second of the request counts as its consequence. The
    // container ends some milliseconds after its program's last line.
    let into_second = u64::try_from((exit.time.as_millisecond() + 50).rem_euclid(1000)).expect("positive");
    sleep(Duration::from_millis(1050 - into_second)).await;
    task.change(json!({ "suspend": true })).await;
    let status = task.ends_as(Phase::Succeeded, 40).await;
    assert_eq!(ends(&status), [(Outcome::Completed, "")], "{}", task.name);
    let pod = task.pods()[0].latest().clone();
    let reason = pod.status.as_ref().and_then(|status| status.reason.as_deref());
    println!("{}: its pod is called {} {reason:?}", task.name, pod.phase());
    task.statuses().iter().any(|status| {
        let stop = status.current_attempt.as_ref().and_then(|attempt| attempt.stop.as_ref());
        stop.is_some_and(|stop| stop.reason == StopReason::Suspend)
    })
}

/// Of such a pod the kubelet may lose how the main container ended. A busy one has removed all containers before it looks: then
/// it makes up how they ended, and the agent's word is lost as well.
#[tokio::test]
async fn a_pod_that_exceeds_the_limit_of_a_volume_while_the_operator_is_away_has_failed() {
    story_of_reports(async |lab| {
        let obedient = lab.submit(that_fills_its_volume("obedient", "term: exit 75")).await;
        let deaf = lab.submit(that_fills_its_volume("deaf", "term: ignore")).await;
        for task in [&obedient, &deaf] {
            task.until_pod(1, "was made", 20, |_| true).await;
        }
        lab.kill_operator().await;
        for task in [&obedient, &deaf] {
            task.until_pod(1, "was evicted", 60, |pod| pod.phase() == "Failed").await;
        }
        lab.start_operator();
        for task in [&obedient, &deaf] {
            let status = task.ends_as(Phase::Succeeded, 40).await;
            let pod = task.pods()[0].latest().clone();
            let told = |name: &str| pod.end_of(name).map(|end| (end.exit_code, end.reason.clone().unwrap_or_default()));
            let (main, agent) = (told("main"), told("longtask-agent"));
            println!("{}: the kubelet says of the program {main:?}, of its agent {agent:?}", task.name);
            assert_eq!(ends(&status), [(Outcome::Failed, "Evicted"), (Outcome::Completed, "")], "{}", task.name);
            assert_eq!((status.totals.failures, status.totals.start_failures), (1, 0), "{}", task.name);
            let is_word_lost = agent.is_none_or(|(_, reason)| reason == "ContainerStatusUnknown");
            assert_eq!(task.journal().start_of(2).step, if is_word_lost { 0 } else { 2 }, "{}", task.name);
        }
    })
    .await;
}

/// A task whose first attempt does two steps and then exceeds the limit of a volume.
fn that_fills_its_volume(name: &str, when_stopped: &str) -> Value {
    let fills = ["--steps=3", "--step-time=0", "attempt=1 before=3: store 32Mi; sleep forever", when_stopped];
    let mut task = manifest(name, &fills).and(live()).and(seldom());
    let pod = &mut task["spec"]["template"]["spec"];
    pod["volumes"] = json!([{ "name": "scratch", "emptyDir": { "sizeLimit": "8Mi" } }]);
    let main = &mut pod["containers"][0];
    main["volumeMounts"] = json!([{ "name": "scratch", "mountPath": "/scratch" }]);
    main["env"] = json!([{ "name": "TMPDIR", "value": "/scratch" }]);
    task
}

#[tokio::test]
async fn an_operator_that_was_away_for_a_whole_segment_goes_on_from_its_last_line() {
    story_of_reports(async |lab| {
        let change = json!({ "spec": { "segment": { "duration": "10s" } } });
        let task = lab.submit(manifest("away", &["--steps=15", "--step-time=1s"]).and(live()).and(change)).await;
        let deadline = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        task.until_pod(1, "has its deadline lowered", 30, |pod| deadline(pod).is_some_and(|seconds| seconds < 60))
            .await;
        lab.kill_operator().await;
        task.until_pod(1, "has ended", 60, |pod| pod.phase() == "Succeeded" || pod.phase() == "Failed").await;
        let done = task.journal().all("step").iter().map(|entry| entry.step).max().unwrap_or(0);
        lab.start_operator();
        let status = task.until("the segment is counted", 30, |status| status.totals.attempts == 1).await;
        assert_eq!((status.recent_attempts[0].outcome, completed(&status)), (Outcome::TimeLimit, done));
        task.ends_as(Phase::Succeeded, 60).await;
    })
    .await;
}

#[tokio::test]
async fn a_result_that_nobody_took_in_time_is_lost_and_reported_again() {
    story_of_reports(async |lab| {
        let result = json!({ "result": { "data": "x".repeat(12_000) }, "done": true });
        let rule = format!("end: wait /journal/away; report {result}; ignore");
        let task = lab.submit(manifest("lost", &["--steps=1", "--step-time=0", &rule]).and(live())).await;
        task.until_phase(Phase::Running, 30).await;
        task.journal().until_step(1, Duration::from_secs(20)).await;
        lab.kill_operator().await;
        lab.touch("away");
        let pod = task.until_pod(1, "has ended", 60, |pod| pod.phase() == "Succeeded").await;
        let ended = |name: &str| pod.end_of(name).and_then(|end| Some(end.finished_at.as_ref()?.0)).expect("it ended");
        let stayed = ended("longtask-agent").duration_since(ended("main"));
        println!("the agent stayed {stayed:#} longer than its program, whose grace is 5s");
        lab.start_operator();
        let status = task.ends_as(Phase::Succeeded, 60).await;
        assert_eq!(ends(&status), [(Outcome::Failed, "ResultLost"), (Outcome::Completed, "")]);
        assert_eq!(status.result.map(|result| result["data"].as_str().map(str::len)), Some(Some(12_000)));
    })
    .await;
}
