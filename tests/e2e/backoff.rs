//! Retries: how soon, how often, and when it is enough.

use std::ops::RangeInclusive;

use longtask::api::task::{LongTaskStatus, Phase};
use serde_json::{Value, json};

use super::support::{Change, Task, manifest, story};

/// How late a reaction may be, in seconds: the pod's phase turns a second after its container, times are whole
/// seconds, and many tests run on few cores.
const LATE: i64 = 4;

fn retry(retry: &Value) -> Value {
    json!({ "spec": { "retry": retry } })
}

#[tokio::test]
async fn delays_grow_as_declared_and_stay_within_the_jitters_bounds() {
    story(async |lab| {
        // With 2s, doubled up to 6s, the delays before jitter are 2, 4 and 6 seconds.
        let bounds: [(&str, [RangeInclusive<i64>; 3]); 4] = [
            ("None", [2..=2, 4..=4, 6..=6]),
            ("Full", [1..=2, 1..=4, 1..=6]),
            ("Equal", [1..=2, 2..=4, 3..=6]),
            ("Additive", [2..=4, 4..=6, 6..=8]),
        ];
        let mut tasks = Vec::new();
        for (jitter, bounds) in bounds {
            let backoff = json!({ "initial": "2s", "multiplier": 2, "max": "6s", "jitter": jitter });
            let change = retry(&json!({ "budgets": { "failures": 3 }, "backoff": backoff }));
            let failing = manifest(&jitter.to_lowercase(), &["before=1: exit 1"]).and(change);
            tasks.push((lab.submit(failing).await, bounds));
        }
        let healthy = lab.submit(manifest("healthy", &["--steps=0"])).await;
        for (task, bounds) in &tasks {
            let status = task.ends_as(Phase::Failed, 58).await;
            assert_eq!(status.reason, "FailureBudgetExhausted");
            assert_eq!((status.totals.failures, status.retries), (4, 3), "a budget of 3 allows 4 tries");
            let delays = delays(task);
            println!("{}: {delays:?}", task.name);
            assert_eq!(delays.len(), 3, "{delays:?}");
            for (delay, bounds) in delays.iter().zip(bounds) {
                assert!(is_within(*delay, bounds), "{}: {delays:?} is out of bounds {bounds:?}", task.name);
            }
            assert_starts_follow_the_delays(task);
        }
        healthy.ends_as(Phase::Succeeded, 20).await;
        let selector = "--field-selector=status.reason=FailureBudgetExhausted";
        let found = lab.kubectl_output(&["get", "lt", selector, "-o", "name"]).await;
        let mut found: Vec<_> = found.lines().map(|line| line.trim_start_matches("longtask.longtask.dev/")).collect();
        found.sort_unstable();
        assert_eq!(found, ["additive", "equal", "full", "none"]);
    })
    .await;
}

/// The operator and the API server each cut the moment of the same write to whole seconds, so it can look a second late.
fn is_within(delay: i64, bounds: &RangeInclusive<i64>) -> bool {
    (bounds.start() - 1..=*bounds.end()).contains(&delay)
}

/// The delay after each attempt that has one: from the write that records its end, whose moment the API server notes,
/// to `nextAttemptTime`.
fn delays(task: &Task<'_>) -> Vec<i64> {
    let mut counted = 0;
    let mut delays = Vec::new();
    for (written_at, status) in task.writes() {
        if status.totals.attempts > counted
            && let Some(next) = status.next_attempt_time
        {
            counted = status.totals.attempts;
            delays.push(next.as_second() - written_at.as_second());
        }
    }
    delays
}

/// The task waited that long, in seconds, after each attempt that was followed by a wait.
pub(crate) fn assert_delays(task: &Task<'_>, expected: &[i64]) {
    let delays = delays(task);
    let are_right = delays.iter().zip(expected).all(|(delay, expected)| is_within(*delay, &(*expected..=*expected)));
    assert!(delays.len() == expected.len() && are_right, "{delays:?}, not {expected:?}");
}

/// No attempt is made before its time, nor much later.
pub(crate) fn assert_starts_follow_the_delays(task: &Task<'_>) {
    let planned: Vec<_> = task.statuses().iter().filter_map(|status| status.next_attempt_time).collect();
    for pod in task.pods().iter().skip(1) {
        let creation_time = pod.creation_time();
        let is_planned =
            |next: &&k8s_openapi::jiff::Timestamp| (0..=LATE).contains(&(creation_time.as_second() - next.as_second()));
        assert!(
            planned.iter().any(|next| is_planned(&next)),
            "{} was created at {creation_time}: {planned:?}",
            pod.name
        );
    }
}

#[tokio::test]
async fn the_next_attempt_time_outlives_the_operator() {
    story(async |lab| {
        let change = retry(&json!({ "backoff": { "initial": "20s", "jitter": "Equal" } }));
        let task = lab.submit(manifest("patient", &["--steps=0", "attempt=1: exit 1"]).and(change)).await;
        let next = task.until_phase(Phase::Waiting, 20).await.next_attempt_time.expect("a waiting task has one");
        for _ in 0..3 {
            lab.kill_operator().await;
            lab.start_operator();
            lab.operator_is_ready().await;
        }
        let status = task.ends_as(Phase::Succeeded, 45).await;
        let all: Vec<_> = task.statuses().iter().filter_map(|status| status.next_attempt_time).collect();
        assert!(all.iter().all(|time| *time == next), "{all:?}");
        let late = task.pods()[1].creation_time().as_second() - next.as_second();
        assert!((0..=LATE).contains(&late), "{late}s after the time");
        assert_eq!((status.totals.failures, status.consecutive.failures), (1, 1), "counted once");
    })
    .await;
}

#[tokio::test]
async fn progress_sets_the_counter_back() {
    story(async |lab| {
        // Each attempt does one step more and crashes: with a budget of 1, only progress keeps it alive.
        let crashes = ["--steps=4", "--step-time=0", "step<4: checkpoint; exit 1"];
        let resets =
            lab.submit(manifest("resets", &crashes).and(retry(&json!({ "budgets": { "failures": 1 } })))).await;
        let change = retry(&json!({ "budgets": { "failures": 1 }, "resetOnProgress": false }));
        let does_not = lab.submit(manifest("does-not", &crashes).and(change)).await;
        let status = resets.ends_as(Phase::Succeeded, 40).await;
        assert_eq!((status.totals.failures, status.retries), (3, 3));
        assert_eq!(resets.journal().steps(), [1, 2, 3, 4]);
        let status = does_not.ends_as(Phase::Failed, 40).await;
        assert_eq!((status.reason.as_str(), status.totals.failures), ("FailureBudgetExhausted", 2));
    })
    .await;
}

#[tokio::test]
async fn a_delay_that_the_program_asks_for_is_kept() {
    story(async |lab| {
        let asks = r#"attempt=1: report {"error": {"message": "busy", "retryAfter": "6s"}}; exit 1"#;
        let task = lab.submit(manifest("asks", &["--steps=0", asks])).await;
        task.ends_as(Phase::Succeeded, 40).await;
        assert_delays(&task, &[6]);
        assert_starts_follow_the_delays(&task);
        let failure = |status: &LongTaskStatus| status.last_failure.as_ref().map(|failure| failure.message.clone());
        assert_eq!(task.statuses().last().and_then(failure).as_deref(), Some("busy"));
    })
    .await;
}
