//! The table of outcomes, row by row. Attempt 1 ran from 10:00:00; its slice ends at 11:00:00.

use serde_json::{Value, json};

use crate::support::{Given, PodBuilder, given, pod, t};

/// Attempt 1 runs, without jitter in what follows.
fn running() -> Given {
    given().spec(json!({ "retry": { "backoff": { "jitter": "None" } } })).running(1, "10:00:00")
}

/// A pod whose slice is set.
fn sliced() -> PodBuilder {
    pod(1).scheduled("09:59:59").deadline(3601)
}

fn checkpoint(n: i64) -> Value {
    json!({ "checkpoint": { "n": n } })
}

const SUCCEEDED: [&str; 7] = [
    "phase Succeeded",
    "attempt 1 Ended",
    "outcome Completed exit 0",
    "active 60",
    "Complete True Completed",
    "Finished True Completed",
    "release pod t-1",
];

fn succeeded() -> Vec<&'static str> {
    SUCCEEDED.into_iter().chain(["Normal Succeeded"]).collect()
}

#[test]
fn row_1_done_with_exit_0_is_success_even_when_the_pod_was_being_stopped() {
    let evicted = sliced().ran("10:00:00", "10:01:00", 0).disrupted("EvictionByEvictionAPI", "10:00:30");
    let done = evicted.reporting(&[json!({ "done": true })]).deleted("10:01:00", 30);
    running().pod(done).at("10:01:01").expect_all(&succeeded());
}

#[test]
fn row_1_done_with_another_exit_code_is_not_success() {
    let pod = sliced().ran("10:00:00", "10:01:00", 1).reporting(&[json!({ "done": true })]);
    running().pod(pod).at("10:01:01").expect([
        "phase Waiting Error",
        "attempt 1 Ended",
        "outcome Failed Error exit 1",
        "active 60",
        "failures 1",
        "next 10:01:11",
        "release pod t-1",
        "Warning AttemptFailed",
        "wake 10:01:11",
    ]);
}

#[test]
fn row_2_a_permanent_error_fails_at_once() {
    let error = json!({ "error": { "code": "Declined", "message": "card expired", "permanent": true } });
    let planned = running().pod(sliced().ran("10:00:00", "10:01:00", 3).reporting(&[error])).at("10:01:01").expect([
        "phase Failed PermanentError",
        "attempt 1 Ended",
        "outcome Failed Permanent exit 3",
        "active 60",
        "failures 1",
        "Failed True PermanentError",
        "Finished True PermanentError",
        "release pod t-1",
        "Warning Failed",
    ]);
    assert!(planned.note("Failed").contains("card expired"));
    let failure = planned.status().last_failure.expect("a failure");
    assert_eq!((failure.code.as_deref(), failure.message.as_str()), (Some("Declined"), "card expired"));
}

#[test]
fn row_2_a_permanent_error_with_exit_0_is_none() {
    let error = json!({ "error": { "permanent": true } });
    running().pod(sliced().ran("10:00:00", "10:01:00", 0).reporting(&[error])).at("10:01:01").expect_all(&succeeded());
}

#[test]
fn row_3_what_ended_before_the_cut_is_judged_by_its_exit_code() {
    let pod = sliced().ran("10:00:00", "10:01:00", 0).disrupted("DeletionByTaintManager", "10:01:01");
    running().pod(pod.deleted("10:01:31", 30)).at("10:01:02").expect_all(&succeeded());
}

#[test]
fn row_5a_a_pod_that_never_ran_and_was_taken_away_is_an_interruption() {
    let interrupted = |reason: &'static str| {
        [format!("phase Waiting {reason}"), "attempt 1 Ended".to_owned(), format!("outcome Interrupted {reason}")]
            .into_iter()
            .chain(
                ["interruptions 1", "next 10:00:11", "release pod t-1", "Normal AttemptInterrupted", "wake 10:00:11"]
                    .map(ToOwned::to_owned),
            )
            .collect::<Vec<_>>()
    };
    let bound = || pod(1).scheduled("10:00:01");
    for (pod, reason) in [
        (bound().phase("Failed").disrupted("EvictionByEvictionAPI", "10:00:05"), "Evicted"),
        (bound().phase("Failed").disrupted("TerminationByKubelet", "10:00:05"), "Evicted"),
        (bound().phase("Failed").disrupted("DeletionByTaintManager", "10:00:05"), "Evicted"),
        (bound().phase("Failed").disrupted("PreemptionByScheduler", "10:00:05"), "Preempted"),
        (bound().phase("Failed").disrupted("DeletionByPodGC", "10:00:05"), "NodeLost"),
        (bound().phase("Failed").deleted("10:00:05", 0), "Deleted"),
        (pod(1).deleted("10:00:05", 0), "Deleted"),
        (bound().because("OutOfcpu"), "Rejected"),
        (bound().because("OutOfpods"), "Rejected"),
        (bound().because("NodeAffinity"), "Rejected"),
        (bound().because("NodeShutdown"), "Rejected"),
        (bound().because("Evicted"), "Rejected"),
        (bound().because("UnexpectedAdmissionError"), "Rejected"),
        (bound().because("TopologyAffinityError"), "Rejected"),
        (bound().because("NodePorts"), "Rejected"),
        (bound().because("TaintToleration"), "Rejected"),
        (bound().because("OutOfexample.com/gpu"), "Rejected"),
        (bound().because("VolumeAttachmentLimitExceeded"), "Rejected"),
        (bound().because("NotYetInvented"), "Rejected"),
        (bound().waiting("ContainerCreating", "").turned_away("NotYetInvented"), "Rejected"),
        (bound().because("Terminated"), "Evicted"),
    ] {
        let pod = pod.merged(json!({ "metadata": { "creationTimestamp": "2026-11-24T09:59:00Z" } }));
        given().creating(1).pod(pod).at("10:00:10").expect_all(&interrupted(reason));
    }
}

#[test]
fn what_kueue_says_of_a_pod_that_it_deletes_is_told() {
    for (reason, told) in
        [("WorkloadEvictedDueToPreempted", "Preempted"), ("WorkloadEvictedDueToInactiveClusterQueue", "Evicted")]
    {
        let words = json!({ "type": "TerminationTarget", "status": "True", "reason": reason,
                            "message": "Preempted to accommodate a workload", "lastTransitionTime": "2026-11-24T10:00:30Z" });
        let taken = sliced().ran("10:00:00", "10:00:31", 1).condition(words).deleted("10:01:00", 30);
        let planned = running().pod(taken).at("10:00:32");
        let planned = planned.expect_containing(&[&format!("outcome Interrupted {told} exit 1")]);
        assert!(planned.note("AttemptInterrupted").contains("to accommodate a workload"));
    }
}

#[test]
fn row_5b_a_pod_that_never_ran_by_its_own_fault_is_a_failed_start() {
    let init = json!({ "status": { "initContainerStatuses": [{
        "name": "fetch", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
        "state": { "terminated": { "exitCode": 7, "reason": "Error", "message": "no such bucket" } },
    }] } });
    let bound = || pod(1).scheduled("10:00:01");
    for (pod, reason, words) in [
        (pod(1).start_error("StartError"), "StartError exit 128", "exec: no such file"),
        (bound().waiting("ErrImagePull", "not found").because("DeadlineExceeded"), "ErrImagePull", "not found"),
        (bound().merged(init).phase("Failed"), "InitContainerFailed", "fetch ended with exit code 7: no such bucket"),
        (bound().because("SysctlForbidden"), "SysctlForbidden", "the kubelet's words"),
        (bound().lost_track().because("DeadlineExceeded"), "StartTimeout", "the kubelet's words"),
        (bound().because("PodOSNotSupported"), "PodOSNotSupported", "the kubelet's words"),
        (bound().waiting("PodInitializing", "").because("Evicted"), "Evicted", "the kubelet's words"),
        (
            bound().waiting("Bored", "no wish").because("DeadlineExceeded"),
            "StartError",
            "cluster's reason: Bored: container main: no wish",
        ),
        (pod(1).start_error("ContainerCannotRun"), "StartError exit 128", "ContainerCannotRun: exec: no such file"),
        (bound().phase("Failed"), "StartError", ""),
    ] {
        let outcome = format!("outcome StartFailed {reason}");
        let planned = given().spec(json!({ "retry": { "backoff": { "jitter": "None" } } })).creating(1).pod(pod);
        let phase = format!("phase Waiting {}", reason.split(' ').next().expect("a word"));
        let planned = planned.at("10:00:10").expect_starting(&[&phase, "attempt 1 Ended", &outcome]);
        let status = planned.status();
        assert_eq!((status.active_seconds, status.consecutive.start_failures, status.consecutive.failures), (0, 1, 0));
        let failure = status.last_failure.expect("a failure");
        assert!(failure.message.contains(words), "{reason}: {}", failure.message);
    }
}

#[test]
fn row_6_a_run_that_the_cluster_cut_short_is_an_interruption() {
    for (pod, reason) in [
        // A program that traps SIGTERM and exits 0 is not done.
        (
            sliced()
                .ran("10:00:00", "10:01:00", 0)
                .disrupted("EvictionByEvictionAPI", "10:00:59")
                .deleted("10:01:29", 30),
            "Evicted exit 0",
        ),
        (
            sliced()
                .ran("10:00:00", "10:01:00", 0)
                .disrupted("PreemptionByScheduler", "10:01:00")
                .deleted("10:01:30", 30),
            "Preempted exit 0",
        ),
        (sliced().ran("10:00:00", "10:01:00", 143).deleted("10:01:20", 30), "Deleted exit 143"),
        (sliced().ran("10:00:00", "10:01:00", 75).deleted("10:01:01", 0), "Deleted exit 75"),
        (sliced().runs("10:00:00").phase("Failed").disrupted("DeletionByPodGC", "10:01:00"), "NodeLost"),
        (sliced().runs("10:00:00").phase("Failed"), "Unknown"),
        (sliced().lost_track(), "Unknown"),
    ] {
        let outcome = format!("outcome Interrupted {reason}");
        let planned = running().pod(pod).at("10:01:02");
        let phase = format!("phase Waiting {}", reason.split(' ').next().expect("a word"));
        let planned = planned.expect_starting(&[&phase, "attempt 1 Ended", &outcome]);
        let status = planned.status();
        assert_eq!(
            (status.consecutive.interruptions, status.consecutive.failures, status.segment),
            (1, 0, 1),
            "{reason}"
        );
    }
}

/// A machine that boots again is back before it is missed: no disruption, only the runtime's own words. The file with
/// the report is still there.
#[test]
fn row_6_a_container_that_the_runtime_lost_is_an_interruption_and_its_report_counts() {
    let report = json!({ "checkpoint": { "step": 2 }, "error": { "message": "not now" } });
    let rebooted = || sliced().ran("10:00:00", "10:01:00", 255).called("Unknown");
    let planned = running().pod(rebooted().reporting(&[report])).at("10:01:02");
    let planned = planned.expect_starting(&["phase Waiting Unknown", "attempt 1 Ended", "outcome Interrupted Unknown"]);
    let status = planned.status();
    assert_eq!((status.totals.interruptions, status.totals.failures, status.active_seconds), (1, 0, 60));
    assert_eq!(status.checkpoint.and_then(|checkpoint| checkpoint.data), Some(json!({ "step": 2 })));
    let told = status.last_failure.expect("it is told");
    assert!(told.message.contains("lost track"), "{}", told.message);
    assert_eq!((told.exit_code, status.recent_attempts[0].exit_code), (None, None), "255 was nobody's exit code");

    let own = running().pod(sliced().ran("10:00:00", "10:01:00", 255)).at("10:01:02");
    own.expect_starting(&["phase Waiting Error", "attempt 1 Ended", "outcome Failed Error exit 255"]);
    let rule = json!({ "name": "fatal", "onExitCodes": { "operator": "In", "values": [255] }, "action": "Fail" });
    let ruled = running().spec(json!({ "failurePolicy": { "rules": [rule] } })).pod(rebooted()).at("10:01:02");
    ruled.expect_starting(&["phase Waiting Unknown", "attempt 1 Ended", "outcome Interrupted Unknown"]);
}

#[test]
fn row_6_a_pod_that_is_gone_is_an_interruption() {
    let planned = running().at("10:05:00").expect([
        "phase Waiting Deleted",
        "attempt 1 Ended",
        "outcome Interrupted Deleted",
        "active 300",
        "interruptions 1",
        "next 10:05:01",
        "Normal AttemptInterrupted",
        "wake 10:05:01",
    ]);
    assert_eq!(planned.status().totals.work_lost_seconds, 300);
}

#[test]
fn row_7_the_time_limit_is_followed_by_the_next_segment_at_once() {
    let pod = sliced().ran("10:00:00", "11:00:05", 0).reporting(&[checkpoint(1)]).because("DeadlineExceeded");
    running().pod(pod).at("11:00:07").expect([
        "phase Pending",
        "segment 2",
        "attempt 2 Creating",
        "started -",
        "outcome TimeLimit exit 0",
        "active 3605",
        "checkpoint 1",
        "create pod t-2",
        "release pod t-1",
        "Normal SegmentEnded",
        "Normal AttemptStarting",
        "wake 11:00:37",
    ]);
}

#[test]
fn row_7_without_progress_it_is_a_stall() {
    let pod = sliced().ran("10:00:00", "11:00:05", 143).because("DeadlineExceeded");
    running().pod(pod).at("11:00:07").expect([
        "phase Pending",
        "segment 2",
        "attempt 2 Creating",
        "started -",
        "outcome TimeLimit exit 143",
        "active 3605",
        "stalls 1",
        "create pod t-2",
        "release pod t-1",
        "Normal SegmentEnded",
        "Normal AttemptStarting",
        "wake 11:00:37",
    ]);
}

#[test]
fn row_7_a_slice_that_a_limit_cut_fails_the_task_with_that_limit() {
    for (limit, reason) in
        [("activeTime", "ActiveTimeExceeded"), ("wallTime", "WallTimeExceeded"), ("deadline", "DeadlinePassed")]
    {
        let cut_by = serde_json::from_value(json!(limit[..1].to_uppercase() + &limit[1..])).expect("a limit");
        let pod = pod(1).ran("10:00:00", "10:30:01", 0).deadline(1801).because("DeadlineExceeded");
        let planned = running().status(|status| status.current_attempt.as_mut().expect("one").cut_by = Some(cut_by));
        let phase = format!("phase Failed {reason}");
        planned.pod(pod).at("10:30:02").expect_starting(&[&phase, "attempt 1 Ended"]);
    }
}

#[test]
fn row_8_exit_0_is_success() {
    running().pod(sliced().ran("10:00:00", "10:01:00", 0)).at("10:01:01").expect_all(&succeeded());
}

#[test]
fn row_8_an_exit_in_time_is_success_although_the_deadline_hit_between_exit_and_status() {
    // kubernetes/kubernetes#115688
    let pod = pod(1).ran("10:00:00", "10:01:00", 0).deadline(62).because("DeadlineExceeded");
    running().pod(pod).at("10:01:02").expect_all(&succeeded());
}

#[test]
fn row_8_an_out_of_memory_child_does_not_spoil_exit_0() {
    let pod = sliced().ran("10:00:00", "10:01:00", 0).called("OOMKilled");
    running().pod(pod).at("10:01:01").expect_all(&succeeded());
}

#[test]
fn row_8_success_keeps_the_result() {
    let pod = sliced().ran("10:00:00", "10:01:00", 0).reporting(&[json!({ "result": { "rows": 5 } })]);
    let planned = running().pod(pod).at("10:01:01");
    assert_eq!(planned.status().result, Some(json!({ "rows": 5 })));
}

#[test]
fn row_9_a_yield_is_followed_by_the_next_segment_at_once() {
    let pod = sliced().ran("10:00:00", "10:01:00", 75).reporting(&[checkpoint(1)]);
    running().pod(pod).at("10:01:01").expect([
        "phase Pending",
        "segment 2",
        "attempt 2 Creating",
        "started -",
        "outcome Yielded exit 75",
        "active 60",
        "checkpoint 1",
        "create pod t-2",
        "release pod t-1",
        "Normal SegmentEnded",
        "Normal AttemptStarting",
        "wake 10:01:31",
    ]);
}

#[test]
fn row_9_a_yield_may_name_the_time_to_go_on_and_costs_nothing() {
    let pod = sliced().ran("10:00:00", "10:01:00", 75).reporting(&[json!({ "resumeAfter": "10m" })]);
    running().pod(pod).at("10:01:01").expect([
        "phase Waiting ResumeAfter",
        "segment 2",
        "attempt 1 Ended",
        "outcome Yielded exit 75",
        "active 60",
        "next 10:11:01",
        "release pod t-1",
        "Normal SegmentEnded",
        "wake 10:11:01",
    ]);
}

#[test]
fn row_9_a_yield_that_asks_to_go_on_at_once_can_stall() {
    for after in ["0s", "2026-11-24T09:00:00Z"] {
        let pod = sliced().ran("10:00:00", "10:00:01", 75).reporting(&[json!({ "resumeAfter": after })]);
        let planned = running().pod(pod).at("10:00:02");
        assert_eq!(planned.status().consecutive.stalls, 1, "resumeAfter {after}");
    }
}

#[test]
fn row_9_the_codes_are_the_users() {
    let yields = json!({ "segment": { "continueExitCodes": [3] } });
    for (code, outcome) in [(3, "outcome Yielded exit 3"), (75, "outcome Failed Error exit 75")] {
        let planned = running().spec(yields.clone()).pod(sliced().ran("10:00:00", "10:01:00", code)).at("10:01:01");
        planned.expect_containing(&[outcome]);
    }
}

#[test]
fn row_10_out_of_memory_is_a_failure() {
    let pod = sliced().ran("10:00:00", "10:01:00", 137).called("OOMKilled");
    running().pod(pod).at("10:01:01").expect_containing(&["outcome Failed OOMKilled exit 137", "failures 1"]);
}

#[test]
fn row_11_any_other_exit_is_a_failure_with_the_programs_words() {
    let pod = sliced().ran("10:00:00", "10:01:00", 2).saying("panic: no such table");
    let planned = running().pod(pod).at("10:01:01").expect_containing(&["outcome Failed Error exit 2", "failures 1"]);
    assert_eq!(planned.status().last_failure.expect("one").message, "panic: no such table");
    assert!(planned.note("AttemptFailed").contains("no such table"));
    assert!(planned.note("AttemptFailed").ends_with("retrying at 2026-11-24T10:01:11Z."));
}

#[test]
fn an_eviction_for_local_storage_waits_for_the_kubelets_last_word_and_its_report() {
    let evicted = || sliced().runs("10:00:00").because("Evicted").unready("10:01:00");
    let early = running().pod(evicted()).at("10:01:01");
    early.expect_without(&["outcome"]);
    let told = sliced().ran("10:00:00", "10:01:02", 137).because("Evicted").unready("10:01:00");
    running().pod(told).at("10:01:02").expect_containing(&["outcome Failed Evicted exit 137"]);
    running().pod(evicted()).at("10:01:50").expect_containing(&["outcome Failed Evicted"]);
}

#[test]
fn an_eviction_for_local_storage_began_when_the_pod_stopped_being_ready_and_not_when_another_condition_did() {
    let other = json!({ "type": "Other", "status": "False", "lastTransitionTime": crate::support::t("10:00:05") });
    let evicted = sliced().runs("10:00:00").because("Evicted").having(other).unready("10:01:00");
    running().pod(evicted).at("10:01:01").expect_without(&["outcome"]);
}

#[test]
fn row_11_too_much_local_storage_is_the_programs_failure() {
    for exit_code in [0, 137] {
        let pod = sliced().ran("10:00:00", "10:01:00", exit_code).because("Evicted");
        let outcome = format!("outcome Failed Evicted exit {exit_code}");
        running().pod(pod).at("10:01:01").expect_containing(&[&outcome, "failures 1"]);
    }
}

#[test]
fn running_time_counts_at_least_a_second_and_only_when_the_program_ran() {
    let run =
        |from, to| running().pod(pod(1).scheduled("09:59:00").ran(from, to, 1)).at("10:01:01").status().active_seconds;
    assert_eq!((run("10:00:00", "10:00:00"), run("10:00:00", "10:00:59")), (1, 59));
    assert_eq!(given().creating(1).pod(pod(1).start_error("StartError")).at("10:01:01").status().active_seconds, 0);
}

#[test]
fn an_end_that_nobody_saw_is_charged_up_to_the_cut() {
    let lost = |pod: PodBuilder| running().pod(pod).at("18:00:00").status().active_seconds;
    assert_eq!(lost(sliced().runs("10:00:00").phase("Failed").disrupted("DeletionByPodGC", "10:10:00")), 600);
    assert_eq!(lost(sliced().runs("10:00:00").phase("Failed")), 3600, "up to the deadline");
    assert_eq!(running().at("18:00:00").status().active_seconds, 3630, "slice and grace at the most");
}

#[test]
fn a_lost_attempt_that_had_been_stopped_is_charged_up_to_the_stop() {
    let stopped =
        running().stopping(longtask::api::task::StopReason::Suspend, "10:10:00").edited(json!({ "suspend": true }));
    let lost = stopped.pod(pod(1).runs("10:00:00").phase("Failed").deadline(1));
    assert_eq!(lost.at("12:00:00").status().active_seconds, 600);
}

#[test]
fn a_program_that_ended_before_anybody_saw_it_run_has_run() {
    let planned = given().creating(1).pod(pod(1).ran("10:00:01", "10:00:02", 1)).at("10:00:03");
    planned.expect_containing(&["outcome Failed Error exit 1", "failures 1"]).expect_without(&["startFailures"]);
}

#[test]
fn the_main_container_that_ended_as_its_pod_was_told_to_stop_is_judged_by_its_exit_code() {
    let stopping = running().stopping(longtask::api::task::StopReason::MainEnded, "10:01:00");
    let pod = sliced().ran("10:00:00", "10:01:00", 0).deleted("10:01:30", 30);
    stopping.pod(pod).at("10:01:05").expect_containing(&["phase Succeeded", "outcome Completed exit 0"]);
}

#[test]
fn a_container_that_the_kubelet_lost_before_it_ran_lends_its_reason_to_nobody() {
    let planned = given().creating(1).pod(pod(1).scheduled("10:00:01").lost_track()).at("10:00:05");
    planned.expect_containing(&["outcome StartFailed StartError"]);
}

#[test]
fn what_kept_a_pod_from_starting_is_told_after_the_pod_has_forgotten_it() {
    let slow = given().creating(1).pod(pod(1).scheduled("10:00:01").waiting("ErrImagePull", "no such image"));
    let given_up = slow.at("10:10:01").then();
    let gone = given_up.only(pod(1).scheduled("10:00:01").phase("Failed").deleted("10:10:02", 0)).at("10:10:03");
    assert!(gone.note("StartFailed").contains("no such image"), "{}", gone.note("StartFailed"));
}

#[test]
fn what_once_kept_a_pod_from_starting_is_not_told_of_its_eviction() {
    let waiting = given().creating(1).pod(pod(1).unschedulable("no room")).at("10:05:00").then();
    let evicted = pod(1).scheduled("10:05:01").phase("Failed").disrupted("EvictionByEvictionAPI", "10:05:05");
    let planned = waiting.only(evicted).at("10:05:06");
    assert!(planned.note("AttemptInterrupted").contains("the cluster's words"));
}

#[test]
fn an_interruption_is_not_told_in_the_json_of_a_report() {
    let pod = sliced().ran("10:00:00", "10:01:00", 143).reporting(&[checkpoint(1)]).deleted("10:01:20", 30);
    let planned = running().pod(pod).at("10:01:01").expect_containing(&["outcome Interrupted Deleted exit 143"]);
    assert!(!planned.note("AttemptInterrupted").contains('{'), "{}", planned.note("AttemptInterrupted"));
}

#[test]
fn a_part_of_a_report_that_cannot_be_used_is_told() {
    let pod = sliced().ran("10:00:00", "10:01:00", 0).reporting(&[json!({ "checkpoint": [1] })]);
    let planned = running().pod(pod).at("10:01:01").expect_containing(&["phase Succeeded", "Warning ReportIgnored"]);
    assert!(planned.note("ReportIgnored").contains("checkpoint is not a JSON object"));
}

#[test]
fn the_end_of_a_segment_is_told_with_its_exit_code_and_when_it_goes_on() {
    for (after, when) in [("0s", "going on at once."), ("10m", "going on at 2026-11-24T10:11:01Z.")] {
        let pod = sliced().ran("10:00:00", "10:01:00", 75).reporting(&[json!({ "resumeAfter": after })]);
        let planned = running().pod(pod).at("10:01:01");
        let note = planned.note("SegmentEnded");
        assert!(note.contains(", exit 75") && note.ends_with(when), "{note}");
    }
}

#[test]
fn a_deadline_that_had_passed_before_a_stop_was_asked_for_is_not_forgotten() {
    for exit_code in [0, 1, 75] {
        let suspended = running().stopping(longtask::api::task::StopReason::Suspend, "11:30:00");
        let ended = pod(1).ran("10:00:00", "11:00:05", exit_code).deadline(1).because("DeadlineExceeded");
        let outcome = format!("outcome Stopped Suspend exit {exit_code}");
        suspended.spec(json!({ "suspend": true })).pod(ended).at("11:30:10").expect_containing(&[&outcome]);
    }
}

#[test]
fn an_eviction_by_a_kubelet_that_nobody_heard_of_comes_before_what_others_did_later() {
    let ended = sliced().ran("10:00:00", "10:20:00", 143).because("Evicted");
    let preempted = ended.disrupted("PreemptionByScheduler", "10:25:00").deleted("10:26:00", 30);
    running().pod(preempted).at("10:30:00").expect_containing(&["outcome Interrupted Preempted exit 143"]);
}

#[test]
fn an_unknown_refusal_keeps_the_clusters_own_reason_in_its_message() {
    let planned = given().creating(1).pod(pod(1).scheduled("10:00:01").because("NotYetInvented")).at("10:00:05");
    let planned = planned.expect_containing(&["outcome Interrupted Rejected", "interruptions 1"]);
    let failure = planned.expect_without(&["startFailures"]).status().last_failure.expect("it is told");
    assert_eq!(failure.message, "the cluster's reason: NotYetInvented: the kubelet's words");
}

/// A kubelet that starts again asks of each pod anew whether it may stay, and its answer names no container.
#[test]
fn a_program_that_a_restarted_kubelet_turns_away_is_interrupted() {
    for reason in ["Evicted", "NodeAffinity", "SysctlForbidden", "NotYetInvented"] {
        let planned = running().pod(sliced().turned_away(reason)).at("10:01:01");
        planned.expect_containing(&["outcome Interrupted Rejected", "interruptions 1"]).expect_without(&["failures"]);
    }
}

#[test]
fn a_start_that_only_took_too_long_is_recorded_so_and_trouble_by_its_own_reason() {
    for (reason, recorded) in [
        ("CrashLoopBackOff", "CrashLoopBackOff"),
        ("RunContainerError", "RunContainerError"),
        ("ContainerCreating", "StartTimeout"),
        ("Bored", "StartTimeout"),
    ] {
        let slow = given().creating(1).pod(pod(1).scheduled("10:00:01").waiting(reason, "words"));
        let given_up = slow.at("10:10:01").then();
        let gone = given_up.only(pod(1).scheduled("10:00:01").phase("Failed").deleted("10:10:02", 0)).at("10:10:03");
        let gone = gone.expect_containing(&[&format!("outcome StartFailed {recorded}")]);
        let told = gone.status().last_failure.expect("it is told").message;
        assert_eq!(told.contains("the cluster's reason: Bored"), reason == "Bored", "{told}");
    }
}

/// What is stopped with its pod says that it failed.
#[test]
fn an_init_container_that_ended_when_the_time_was_up_is_not_why_the_start_failed() {
    for (ended, reason) in
        [("10:01:00", "InitContainerFailed"), ("10:01:01", "StartTimeout"), ("10:01:02", "StartTimeout")]
    {
        let stopped = json!({ "status": { "initContainerStatuses": [{
            "name": "fetch", "image": "i", "imageID": "", "ready": false, "restartCount": 0,
            "state": { "terminated": { "exitCode": 143, "reason": "Error", "finishedAt": t(ended) } },
        }] } });
        let pod = pod(1).scheduled("10:00:01").deadline(60).merged(stopped).because("DeadlineExceeded");
        let outcome = format!("outcome StartFailed {reason}");
        given().creating(1).pod(pod).at("10:01:05").expect_containing(&[&outcome]);
    }
}

#[test]
fn the_checkpoint_of_the_attempt_before_saves_nothing_of_the_work_of_one_that_failed() {
    let yielded = sliced().ran("10:00:00", "10:10:00", 75).reporting(&[checkpoint(1)]);
    let next = running().pod(yielded).at("10:10:01").then().running(2, "10:10:05");
    let failed = next.only(pod(2).ran("10:10:05", "10:20:05", 1)).at("10:20:06");
    assert_eq!(failed.status().totals.work_lost_seconds, 600);
}
