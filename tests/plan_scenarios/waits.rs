//! What a pod waits for before its program runs: each such state is shown after its patience, and names what to look at.

use longtask::task::plan::EventType;
use serde_json::{Value, json};

use crate::support::{Given, PodBuilder, given, pod};

fn init(name: &str, state: Value) -> Value {
    json!({ "name": name, "image": "i", "imageID": "", "ready": false, "restartCount": 0, "state": state })
}

fn running() -> Value {
    json!({ "running": { "startedAt": "2026-11-24T10:00:02Z" } })
}

fn with_init(statuses: Value, specs: Value) -> PodBuilder {
    pod(1).scheduled("10:00:01").merged(json!({
        "spec": { "initContainers": specs }, "status": { "initContainerStatuses": statuses },
    }))
}

fn preparing() -> PodBuilder {
    pod(1).scheduled("10:00:01").having(json!({ "type": "PodReadyToStartContainers", "status": "False" }))
}

fn silent_kubelet() -> PodBuilder {
    pod(1).merged(json!({ "spec": { "nodeName": "node-9" } }))
}

fn initialized(at: &str) -> Value {
    json!({ "type": "Initialized", "status": "True", "lastTransitionTime": crate::support::t(at) })
}

fn crashing() -> Value {
    let mut status = init("proxy", running());
    status["restartCount"] = json!(3);
    status["lastState"] = json!({ "terminated": { "exitCode": 7 } });
    status
}

/// The state, how long it lasts before it is shown, the reason, and words that the condition has.
fn states() -> Vec<(&'static str, PodBuilder, &'static str, &'static str, [&'static str; 2])> {
    let sidecar = json!([{ "name": "proxy", "restartPolicy": "Always" }]);
    vec![
        (
            "no scheduler",
            pod(1).merged(json!({ "spec": { "schedulerName": "volcanoo" } })),
            "10:00:10",
            "NotScheduled",
            ["scheduler volcanoo has said nothing about pod t-1", "schedulerName"],
        ),
        (
            "no room",
            pod(1).unschedulable("0/1 nodes are available"),
            "10:00:03",
            "Unschedulable",
            ["0/1 nodes are available", "make room"],
        ),
        (
            "a gate",
            pod(1).having(json!({ "type": "PodScheduled", "status": "False", "reason": "SchedulingGated" })),
            "10:00:03",
            "SchedulingGated",
            ["", "scheduling gates"],
        ),
        (
            "a scheduler of few words",
            pod(1).having(json!({ "type": "PodScheduled", "status": "False" })),
            "10:00:03",
            "Unschedulable",
            ["", "make room"],
        ),
        (
            "no kubelet",
            silent_kubelet(),
            "10:00:10",
            "NodeNotResponding",
            ["kubelet of node node-9 has said nothing", "kubectl get node"],
        ),
        (
            "volumes",
            preparing(),
            "10:00:11",
            "NotReadyToStart",
            ["volumes, the network or the devices", "kubectl describe pod t-1"],
        ),
        (
            "an init container",
            with_init(json!([init("wait-for-db", running())]), json!([{ "name": "wait-for-db" }])),
            "10:00:17",
            "PodInitializing",
            ["init container wait-for-db has not ended", "kubectl logs t-1 -c wait-for-db"],
        ),
        (
            "a sidecar's probe",
            with_init(json!([init("proxy", running())]), sidecar.clone()),
            "10:00:17",
            "PodInitializing",
            ["sidecar proxy has not passed its startup probe", "kubectl describe pod t-1"],
        ),
        (
            "a crashing sidecar",
            with_init(json!([crashing()]), sidecar),
            "10:00:00",
            "CrashLoopBackOff",
            ["container proxy ended with exit code 7", "log"],
        ),
        (
            "an image",
            pod(1).scheduled("10:00:01").waiting("ContainerCreating", ""),
            "10:00:16",
            "ContainerCreating",
            ["an image is being pulled, or a postStart hook runs", "kubectl describe pod t-1"],
        ),
        (
            "an image, behind an init container",
            pod(1).scheduled("10:00:01").having(initialized("10:00:20")).waiting("ContainerCreating", ""),
            "10:00:35",
            "ContainerCreating",
            ["an image is being pulled, or a postStart hook runs", "kubectl describe pod t-1"],
        ),
        (
            "a missing ConfigMap",
            pod(1).scheduled("10:00:01").waiting("CreateContainerConfigError", "configmap absent"),
            "10:00:00",
            "CreateContainerConfigError",
            ["container main: configmap absent", "create what is missing"],
        ),
    ]
}

fn waiting(pod: &PodBuilder) -> Given {
    given().creating(1).pod(pod.clone())
}

fn before(time: &str) -> String {
    (crate::support::t(time) - jiff::SignedDuration::from_secs(1)).to_string()[11..19].to_owned()
}

#[test]
fn each_state_is_shown_after_its_patience_with_what_it_waits_for_and_where_to_look() {
    for (what, pod, from, reason, says) in states() {
        if from != "10:00:00" {
            let early = waiting(&pod).at(&before(from)).expect_without(&["Blocked", "phase"]);
            assert!(early.plan.events.is_empty(), "{what}");
        }
        let shown = waiting(&pod).at(from);
        let message =
            shown.status().conditions.into_iter().find(|known| known.type_ == "Blocked").map(|known| known.message);
        let message = message.unwrap_or_else(|| panic!("{what}: nothing is shown: {:?}", shown.plan));
        assert!(says.iter().all(|says| message.contains(says)), "{what}: {message}");
        let (phase, blocked) = (format!("phase Pending {reason}"), format!("Blocked True {reason}"));
        let shown = shown.expect_containing(&[&phase, &blocked]);
        assert_eq!(
            (shown.plan.events.len(), shown.status().totals.attempts),
            (1, 0),
            "{what}: told once, nothing counted"
        );
    }
}

/// Two operators with different clocks would else take turns in showing it and taking it back.
#[test]
fn what_is_shown_is_not_taken_back_by_a_clock_that_is_behind() {
    for (what, pod, from, _, _) in states() {
        let shown = waiting(&pod).at(from).then();
        let behind = shown.at("10:00:02");
        assert!(behind.plan.status.is_none() && behind.plan.events.is_empty(), "{what}: {:?}", behind.plan);
    }
}

#[test]
fn what_may_be_work_in_progress_is_no_warning() {
    for (what, pod, from, reason, _) in states() {
        let shown = waiting(&pod).at(from);
        let is_warning = shown.plan.events.iter().any(|event| event.type_ == EventType::Warning);
        assert_eq!(is_warning, !matches!(reason, "PodInitializing" | "ContainerCreating"), "{what}");
    }
}

/// A timeout that ends what every start goes through is a timeout; one that ends a trouble has that trouble's name. Either
/// way the words say what was waited for, and promise nothing.
#[test]
fn a_start_that_took_too_long_says_what_it_waited_for_and_promises_nothing() {
    for (what, pod, from, reason, says) in states() {
        let segment = json!({ "segment": { "startTimeout": "30s", "schedulingTimeout": "30s" } });
        let shown =
            waiting(&pod).spec(segment).spec(json!({ "retry": { "budgets": { "startFailures": 0 } } })).at(from).then();
        let stopped = shown.at("10:00:45").then();
        let over = stopped.each_pod(|pod| pod.lost_track().deleted("10:00:46", 0)).at("10:00:47");
        let status = over.status();
        let failure = status.last_failure.as_ref().unwrap_or_else(|| panic!("{what}: {status:?}"));
        let is_stage = ["NotScheduled", "NodeNotResponding", "NotReadyToStart", "PodInitializing", "ContainerCreating"];
        let timeouts = ["StartTimeout", "SchedulingTimeout"];
        assert_eq!(
            timeouts.contains(&failure.reason.as_str()),
            is_stage.contains(&reason),
            "{what}: {}",
            failure.reason
        );
        let message = &failure.message;
        assert!(message.contains(says[0]) && !message.starts_with("the cluster's reason"), "{what}: {message}");
        let failed = status.conditions.iter().find(|known| known.type_ == "Failed").map(|known| known.message.clone());
        for words in [failure.message.clone(), failed.expect("the budget is used up")] {
            assert!(
                !["by itself", "tried again", "What to do"].iter().any(|promise| words.contains(promise)),
                "{what}: {words}"
            );
        }
    }
}

/// The time to start may be shorter than the patience, and an earlier attempt may have failed for another reason.
#[test]
fn a_timeout_names_what_this_attempt_waited_for() {
    for (what, pod, _, _, says) in states() {
        let earlier = given().creating(1).only(crate::support::pod(1).start_error("StartError")).at("10:00:00").then();
        let segment = json!({ "segment": { "startTimeout": "2s", "schedulingTimeout": "2s" } });
        let waiting = earlier.creating(1).only(pod).spec(segment);
        let stopped = waiting.at("10:00:05");
        assert!(stopped.note("StopRequested").contains(says[0]), "{what}: {}", stopped.note("StopRequested"));
        let over = stopped.then().each_pod(|pod| pod.lost_track().deleted("10:00:06", 0)).at("10:00:07");
        let failure = over.status().last_failure.expect("a failure");
        assert!(failure.message.contains(says[0]) && failure.reason != "StartError", "{what}: {failure:?}");
    }
}

#[test]
fn a_pod_that_names_a_silent_node_has_its_start_timeout() {
    let planned = waiting(&silent_kubelet()).spec(json!({ "segment": { "startTimeout": "20s" } })).at("10:00:20");
    planned.expect_containing(&["stop StartTimeout", "delete pod t-1"]);
}

#[test]
fn an_init_container_that_ran_before_is_no_trouble_unless_it_is_a_sidecar_that_starts_again() {
    let started = || {
        let mut status = crashing();
        status["started"] = json!(true);
        status
    };
    let not_restarted = || {
        let mut status = crashing();
        status["restartCount"] = json!(0);
        status
    };
    let sidecar = json!([{ "name": "proxy", "restartPolicy": "Always" }]);
    for (status, specs) in
        [(started(), sidecar.clone()), (not_restarted(), sidecar), (crashing(), json!([{ "name": "proxy" }]))]
    {
        waiting(&with_init(json!([status]), specs)).at("10:00:05").expect_without(&["Blocked", "Warning"]);
    }
}

#[test]
fn what_a_pod_waits_for_is_not_shown_once_somebody_has_deleted_it() {
    for (what, pod, _, _, _) in states() {
        let leaving = waiting(&pod.deleted("10:01:30", 30)).at("10:01:00").expect_without(&["Blocked", "phase"]);
        assert!(leaving.plan.events.is_empty(), "{what}: {:?}", leaving.plan.events);
    }
}
