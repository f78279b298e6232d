//! The agent in its pod: beside whatever program, for whatever user, wherever pods must be of a certain kind.

use std::fs;

use k8s_openapi::{
    api::core::v1::{LimitRange, Pod},
    jiff::SignedDuration,
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
};
use longtask::api::task::{ConditionType, Outcome, Phase};
use serde_json::{Value, json};

use super::{completed, live, until_completed};
use crate::support::{
    Change, PROGRAM, PROGRAM_OF_ROOT, PROGRAM_OF_USER_1000, PodExt, inject, manifest, message_of, set_on_the_node,
    story_of_reports, story_of_the_node,
};

/// From 64 KiB of lines until they take no memory any more.
const DRAINED: SignedDuration = SignedDuration::from_secs(2);

#[tokio::test]
async fn of_64_kib_at_once_the_newest_of_each_field_arrives_and_the_memory_is_free_again() {
    story_of_reports(async |lab| {
        // Each line has more than 100 bytes.
        let padding = "x".repeat(64);
        let checkpoints = format!(r#"lines 400 {{"checkpoint": {{"line": %n, "padding": "{padding}"}}}}"#);
        let progress = format!(r#"lines 400 {{"progress": {{"completed": %n, "message": "{padding}"}}}}"#);
        let flood = format!(r#"step=1: ignore; {checkpoints}; {progress}; lines 1 {{"result": {{"n": %n}}}}; drained"#);
        let waits = "step=1: log nothing is left; wait /journal/seen";
        let task = lab.submit(manifest("flood", &["--steps=2", "--step-time=1s", &flood, waits]).and(live())).await;
        let status = until_completed(&task, 400, 40).await;
        let newest = status.checkpoint.and_then(|checkpoint| checkpoint.data).expect("it arrived with the progress");
        assert_eq!((&newest["line"], status.result), (&json!(400), Some(json!({ "n": 1 }))));
        let rules = task.journal().all("rule");
        let drained = rules[1].time.duration_since(rules[0].time);
        println!("written and read within {drained:#}");
        assert!(drained <= DRAINED, "{drained:#}");
        lab.touch("seen");
        task.ends_as(Phase::Succeeded, 30).await;
    })
    .await;
}

/// With this setting, which systemd sets, a kernel refuses to open another user's file for appending in a folder that is
/// open to all.
#[tokio::test]
async fn programs_of_any_user_append_where_the_kernel_protects_files_of_others() {
    story_of_the_node(async |lab| {
        let undo = set_on_the_node("fs.protected_regular", "2");
        let of = |name: &str, image: &str| {
            let mut task = manifest(name, &["--steps=8", "--step-time=1s"]).and(live());
            task["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
            task
        };
        let nonroot = lab.submit(of("user-1000", PROGRAM_OF_USER_1000)).await;
        let root = lab.submit(of("root", PROGRAM_OF_ROOT)).await;
        let same = lab.submit(of("the-agents", PROGRAM)).await;
        for task in [&nonroot, &root, &same] {
            let status = task.ends_as(Phase::Succeeded, 60).await;
            assert_eq!((completed(&status), status.totals.attempts), (8, 1), "{}", task.name);
            let is_early = task.statuses().iter().any(|status| status.totals.attempts == 0 && completed(status) > 0);
            assert!(is_early, "{}: some of it while it ran", task.name);
        }
        let setting = fs::read_to_string("/proc/sys/fs/protected_regular").expect("a setting");
        assert_eq!(setting.trim(), "2", "it was set for the whole time");
        undo.now().await;
    })
    .await;
}

fn quality_of_service(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.qos_class.as_deref()
}

#[tokio::test]
async fn a_guaranteed_pod_stays_guaranteed_beside_an_agent() {
    story_of_reports(async |lab| {
        let all = json!({ "cpu": "100m", "memory": "64Mi" });
        let resources = json!({ "requests": all, "limits": all });
        let arguments = ["--steps=2", "--step-time=1s"];
        let mut by_container = manifest("by-container", &arguments).and(live());
        by_container["spec"]["template"]["spec"]["containers"][0]["resources"] = resources.clone();
        let by_pod = manifest("by-pod", &arguments).and(live());
        let by_pod = by_pod.and(json!({ "spec": { "template": { "spec": { "resources": resources } } } }));
        for (task, wanted) in [
            (lab.submit(by_container).await, "Guaranteed"),
            (lab.submit(by_pod).await, "Guaranteed"),
            (lab.submit(manifest("without", &arguments).and(live())).await, "Burstable"),
        ] {
            let status = task.ends_as(Phase::Succeeded, 40).await;
            assert_eq!((completed(&status), status.totals.attempts), (2, 1), "{}", task.name);
            let pod = task.pods()[0].latest().clone();
            assert_eq!(quality_of_service(&pod), Some(wanted), "{}", task.name);
            assert!(pod.end_of("longtask-agent").is_some(), "{} had an agent", task.name);
        }
    })
    .await;
}

#[tokio::test]
async fn where_a_limit_range_asks_for_more_the_agent_gets_what_the_user_says() {
    story_of_reports(async |lab| {
        let range: LimitRange = serde_json::from_value(json!({
            "metadata": { "name": "at-least" },
            "spec": { "limits": [{ "type": "Container", "min": { "memory": "40Mi" }, "max": { "memory": "1Gi" } }] },
        }))
        .expect("a range");
        lab.api::<LimitRange>().create(&PostParams::default(), &range).await.expect("limit the namespace");
        let mut small = manifest("small", &["--steps=2", "--step-time=1s"]).and(live());
        small["spec"]["template"]["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "64Mi" } });
        let task = lab.submit(small).await;
        let is_refused = |status: &_| message_of(status, ConditionType::Blocked).is_some();
        let blocked = task.until("its pod is refused", 20, is_refused).await;
        let (_, words) = message_of(&blocked, ConditionType::Blocked).expect("just seen");
        assert!(words.contains("minimum memory usage per Container is 40Mi"), "{words}");
        task.change(json!({ "agent": { "resources": { "limits": { "memory": "48Mi" } } } })).await;
        let status = task.ends_as(Phase::Succeeded, 40).await;
        assert_eq!((completed(&status), status.totals.failures, status.totals.start_failures), (2, 0, 0));
    })
    .await;
}

/// As many chains of five segments make fifty starts.
const CHAINS: usize = 10;

/// A shell, which ends as soon as it has reported: 66 if it finds no report file.
fn five_short_segments(name: &str) -> Value {
    let script = r#"
        [ -w "$LONGTASK_REPORT" ] || exit 66
        echo '{"checkpoint": {"n": '$LONGTASK_SEGMENT'}, "progress": {"completed": '$LONGTASK_SEGMENT'}}' >> "$LONGTASK_REPORT"
        [ "$LONGTASK_SEGMENT" = 5 ] || exit 75
    "#;
    let mut task = manifest(name, &[]).and(live());
    task["spec"]["template"]["spec"]["containers"][0] = json!({
        "name": "main", "image": "localhost/longtask-example-shell:dev", "command": ["/bin/busybox", "sh", "-euc", script],
    });
    task
}

#[tokio::test]
async fn in_fifty_starts_the_report_file_is_there_before_the_program() {
    story_of_reports(async |lab| {
        let mut tasks = Vec::new();
        for number in 1..=CHAINS {
            tasks.push(lab.submit(five_short_segments(&format!("chain-{number}"))).await);
        }
        for task in &tasks {
            let status = task.ends_as(Phase::Succeeded, 90).await;
            assert_eq!((completed(&status), status.totals.attempts, status.totals.failures), (5, 5, 0), "{status:#?}");
        }
    })
    .await;
}

/// Four containers, two of which the operator did not know of when it told the agent how long its last word may be: the
/// kubelet keeps the front of it.
#[tokio::test]
async fn checkpoint_and_progress_arrive_beside_an_injected_proxy_and_a_debugger() {
    story_of_reports(async |lab| {
        let proxy = format!(
            r#"Object.spec.initContainers{{
                name: "proxy", image: "{PROGRAM}", restartPolicy: "Always",
                args: ["start: sleep forever", "term: fill 4000; exit 0"],
                env: [Object.spec.initContainers.env{{ name: "LONGTASK_REPORT", value: "/dev/termination-log" }}]
            }}"#
        );
        let injected = inject(lab, &proxy).await;
        // Nothing of it is posted: only the last word tells.
        let change = json!({ "spec": { "reporting": { "interval": "1h" } } });
        let long = format!(r#"report {{"result": {{"data": "{}"}}}}; fill 2000"#, "x".repeat(2000));
        let ends = format!("attempt=1 before=5: wait /journal/debugged; {long}; exit 75");
        let task = lab.submit(manifest("meshed", &["--steps=6", "--step-time=0", &ends]).and(live()).and(change)).await;
        task.until_phase(Phase::Running, 30).await;
        debug(&lab.api(), "meshed-1").await;
        task.until_pod(1, "has a debugger that has ended", 30, has_debugger_ended).await;
        lab.touch("debugged");
        let status = task.ends_as(Phase::Succeeded, 60).await;
        let ends: Vec<_> = status.recent_attempts.iter().rev().map(|end| end.outcome).collect();
        assert_eq!(ends, [Outcome::Yielded, Outcome::Completed]);
        let pod = task.pods()[0].latest().clone();
        let kept = |name: &str| pod.end_of(name).and_then(|end| end.message.as_ref()).map_or(0, String::len);
        println!("the kubelet kept {} bytes of the agent and {} of the proxy", kept("longtask-agent"), kept("proxy"));
        assert!(kept("longtask-agent") > 2500 && kept("proxy") > 2500, "there was little room");
        let at_end_of_first =
            task.statuses().into_iter().find(|status| status.totals.attempts == 1).expect("it was seen");
        assert_eq!((completed(&at_end_of_first), task.journal().start_of(2).step), (4, 4));
        injected.now().await;
    })
    .await;
}

/// Adds a debugger to a pod, as `kubectl debug` does; it says much and ends.
async fn debug(pods: &Api<Pod>, name: &str) {
    let debugger = json!({
        "name": "debugger", "image": PROGRAM, "args": ["--steps=0", "end: ignore; fill 4000"],
        "env": [{ "name": "LONGTASK_REPORT", "value": "/dev/termination-log" }],
    });
    let patch = Patch::Strategic(json!({ "spec": { "ephemeralContainers": [debugger] } }));
    pods.patch_ephemeral_containers(name, &PatchParams::default(), &patch).await.expect("debug the pod");
}

fn has_debugger_ended(pod: &Pod) -> bool {
    let status = pod.status.iter().flat_map(|status| status.ephemeral_container_statuses.iter().flatten());
    status.filter_map(|debugger| debugger.state.as_ref()).any(|state| state.terminated.is_some())
}
