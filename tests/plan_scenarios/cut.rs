//! The cut: the moment at which stopping began. A program that traps SIGTERM may exit 0; that is not success.

use longtask::api::task::StopReason;
use serde_json::json;

use crate::support::{Given, PodBuilder, given, pod};

fn running() -> Given {
    given().running(1, "10:00:00")
}

/// A pod whose slice ends at 11:00:00.
fn sliced() -> PodBuilder {
    pod(1).scheduled("09:59:59").deadline(3601)
}

/// The outcome of attempt 1, seen at that time.
fn outcome(given: Given, at: &str) -> String {
    let status = given.at(at).status();
    let ended = status.recent_attempts.first().expect("an ended attempt");
    format!("{} {}", ended.outcome, ended.reason).trim_end().to_owned()
}

#[test]
fn the_kubelet_publishes_its_eviction_late_so_the_end_counts_as_cut() {
    let pod = sliced().ran("10:00:00", "10:10:00", 0).disrupted("TerminationByKubelet", "10:10:01").because("Evicted");
    assert_eq!(outcome(running().pod(pod), "10:10:02"), "Interrupted Evicted");
}

#[test]
fn an_eviction_begins_at_its_condition() {
    for (ended, expected) in [("10:09:59", "Completed"), ("10:10:00", "Interrupted Evicted")] {
        let pod = sliced().ran("10:00:00", ended, 0).disrupted("EvictionByEvictionAPI", "10:10:00");
        assert_eq!(outcome(running().pod(pod.deleted("10:10:30", 30)), "10:10:31"), expected, "{ended}");
    }
}

#[test]
fn a_deletion_begins_a_grace_before_its_time() {
    for (ended, expected) in [("10:09:59", "Completed"), ("10:10:00", "Interrupted Deleted")] {
        let pod = sliced().ran("10:00:00", ended, 0).deleted("10:10:30", 30);
        assert_eq!(outcome(running().pod(pod), "10:10:31"), expected, "{ended}");
    }
}

#[test]
fn a_deletion_that_the_kubelet_rewrote_began_up_to_a_whole_grace_earlier() {
    let pod = sliced().ran("10:00:00", "10:10:00", 0).deleted("10:10:02", 0);
    assert_eq!(outcome(running().pod(pod), "10:10:03"), "Interrupted Deleted");
    let long_before = sliced().ran("10:00:00", "10:10:00", 0).deleted("10:11:00", 0);
    assert_eq!(outcome(running().pod(long_before), "10:11:03"), "Completed");
}

/// A pod that tells that its end was told when its kubelet did not know of its deletion yet.
fn told_first(pod: PodBuilder) -> PodBuilder {
    pod.merged(json!({ "metadata": { "generation": 2 }, "status": { "observedGeneration": 1 } }))
}

#[test]
fn what_had_ended_before_its_kubelet_knew_of_a_deletion_ended_by_itself_whoever_deleted_it() {
    let ended = || told_first(sliced().ran("10:00:00", "10:10:00", 3).deleted("10:10:01", 0));
    assert_eq!(outcome(running().pod(ended()), "10:10:03"), "Failed Error");
    for (by, expected) in [
        ("EvictionByEvictionAPI", "Failed Error"),
        ("PreemptionByScheduler", "Failed Error"),
        ("DeletionByTaintManager", "Failed Error"),
        ("TerminationByKubelet", "Interrupted Evicted"),
        ("DeletionByPodGC", "Interrupted NodeLost"),
    ] {
        let pod = ended().disrupted(by, "10:10:00");
        assert_eq!(outcome(running().pod(pod), "10:10:03"), expected, "{by}");
    }
    let claimed = ended().because("Evicted").disrupted("EvictionByEvictionAPI", "10:10:01");
    assert_eq!(outcome(running().pod(claimed), "10:10:03"), "Interrupted Evicted", "the kubelet was first");
}

#[test]
fn what_had_ended_before_its_kubelet_knew_of_a_deletion_ended_for_the_reason_that_it_tells() {
    let deleted = |pod: PodBuilder| told_first(pod.deleted("11:00:04", 0));
    let at_deadline = deleted(sliced().ran("10:00:00", "11:00:02", 0).because("DeadlineExceeded"));
    assert_eq!(outcome(running().pod(at_deadline), "11:00:05"), "TimeLimit");
    let evicted = deleted(sliced().ran("10:00:00", "11:00:00", 137).because("Evicted"));
    assert_eq!(outcome(running().pod(evicted), "11:00:05"), "Failed Evicted", "its own limit of storage");
    let by_itself = deleted(sliced().ran("10:00:00", "11:00:00", 0));
    assert_eq!(outcome(running().pod(by_itself), "11:00:05"), "Completed", "at the very second of its deadline");
    let not_started = given().creating(1).pod(deleted(pod(1).start_error("StartError")));
    assert_eq!(outcome(not_started, "11:00:05"), "StartFailed StartError");
}

#[test]
fn a_deletion_counts_although_the_pod_was_disrupted_after_it() {
    for (at, grace) in [("10:10:30", 30), ("10:10:04", 0)] {
        for (disruption, expected) in [("DeletionByPodGC", "NodeLost"), ("EvictionByEvictionAPI", "Evicted")] {
            let pod = sliced().ran("10:00:00", "10:10:01", 0).deleted(at, grace).disrupted(disruption, "10:10:03");
            assert_eq!(outcome(running().pod(pod), "10:10:05"), format!("Interrupted {expected}"));
        }
    }
}

#[test]
fn a_requested_stop_begins_with_the_request() {
    let outcome_of = |pod: PodBuilder| {
        let given = running().stopping(StopReason::Suspend, "10:10:00").edited(json!({ "suspend": true }));
        outcome(given.pod(pod), "10:10:03")
    };
    for (ended, expected) in [("10:09:59", "Completed"), ("10:10:00", "Stopped Suspend")] {
        assert_eq!(outcome_of(sliced().ran("10:00:00", ended, 0).deadline(1)), expected, "{ended}");
    }
    let timed_out = sliced().ran("10:00:00", "10:09:59", 0).deadline(1).because("DeadlineExceeded");
    assert_eq!(outcome_of(timed_out), "Stopped Suspend", "the kubelet's word counts for more than two clocks");
}

#[test]
fn a_stop_that_is_asked_for_after_the_deadline_began_with_the_deadline() {
    let silent = running().pod(sliced().runs("10:00:00")).edited(json!({ "suspend": true })).at("11:00:10").then();
    let lost = silent.each_pod(|pod| {
        pod.main_ended("10:00:00", "11:00:02", 143).phase("Failed").disrupted("DeletionByPodGC", "11:05:00")
    });
    assert_eq!(outcome(lost, "11:05:01"), "Stopped Suspend", "not Failed: the program was told to stop at 11:00:00");
}

#[test]
fn a_slice_ends_at_the_deadline() {
    for (ended, expected) in [("10:59:59", "Completed"), ("11:00:00", "TimeLimit")] {
        let pod = sliced().ran("10:00:00", ended, 0).because("DeadlineExceeded");
        assert_eq!(outcome(running().pod(pod), "11:00:03"), expected, "{ended}");
    }
}

#[test]
fn a_pod_stopped_by_its_deadline_and_removed_later_has_not_completed() {
    // A drain removes finished pods as well; the operator may have been away for both.
    let pod = sliced().ran("10:00:00", "11:00:02", 0).because("DeadlineExceeded").deleted("11:30:00", 0);
    assert_eq!(outcome(running().pod(pod), "11:30:01"), "Interrupted Deleted");
}

#[test]
fn a_pod_stopped_on_request_and_removed_later_has_not_completed() {
    let pod = sliced().ran("10:00:00", "10:10:02", 0).deadline(1).because("DeadlineExceeded").deleted("11:30:00", 0);
    let given = running().stopping(StopReason::Suspend, "10:10:00").edited(json!({ "suspend": true })).pod(pod);
    assert_eq!(outcome(given, "11:30:01"), "Stopped Suspend");
}

#[test]
fn the_earliest_of_two_causes_is_the_cut() {
    let stopped = || running().stopping(StopReason::Suspend, "10:10:00").edited(json!({ "suspend": true }));
    let evicted_later =
        sliced().ran("10:00:00", "10:10:05", 0).deadline(1).disrupted("EvictionByEvictionAPI", "10:10:06");
    assert_eq!(outcome(stopped().pod(evicted_later), "10:10:07"), "Stopped Suspend");
    let evicted_before =
        sliced().ran("10:00:00", "10:10:05", 0).deadline(1).disrupted("EvictionByEvictionAPI", "10:09:00");
    assert_eq!(outcome(stopped().pod(evicted_before), "10:10:07"), "Stopped Suspend");
}

#[test]
fn a_sidecar_that_outlives_a_stopped_program_does_not_make_it_a_success() {
    let main_traps = |pod: PodBuilder| running().pod(pod.beside("proxy"));
    for (given, phase, expected) in [
        (main_traps(sliced().main_ended("10:00:00", "11:00:02", 0)), "DeadlineExceeded", "TimeLimit"),
        (
            main_traps(
                sliced()
                    .main_ended("10:00:00", "11:00:02", 0)
                    .disrupted("EvictionByEvictionAPI", "11:00:00")
                    .deleted("11:00:30", 30),
            ),
            "",
            "Interrupted Evicted",
        ),
        (main_traps(sliced().main_ended("10:00:00", "11:00:02", 0).deleted("11:00:30", 30)), "", "Interrupted Deleted"),
    ] {
        // The operator looks while the sidecar is still writing, and again when it is done.
        let waited = given.at("11:00:10").then();
        let over = waited.each_pod(|pod| pod.merged(json!({ "status": { "phase": "Failed", "reason": phase } })));
        assert_eq!(outcome(over, "11:00:31"), expected, "{phase}");
    }
}

#[test]
fn a_stop_for_the_sake_of_a_sidecar_leaves_the_programs_own_outcome() {
    for (exit_code, expected) in [(0, "Completed"), (1, "Failed Error"), (75, "Yielded")] {
        let asked =
            running().pod(sliced().main_ended("10:00:00", "10:10:00", exit_code).beside("proxy")).at("10:10:06");
        let asked = asked.expect([
            "phase Stopping MainEnded",
            "attempt 1 Stopping",
            "stop MainEnded",
            "lower deadline of t-1 to 1",
            "Normal StopRequested",
            "wake 10:11:36",
        ]);
        let over = asked.then().each_pod(|pod| pod.because("DeadlineExceeded"));
        assert_eq!(outcome(over, "10:10:08"), expected, "{exit_code}");
    }
}

#[test]
fn a_pod_whose_only_container_has_ended_is_left_to_end() {
    let ended = running().pod(sliced().main_ended("10:00:00", "10:10:00", 0)).at("10:10:20");
    ended.expect_without(&["stop", "lower", "delete"]);
}

#[test]
fn a_kubelets_eviction_with_a_slow_sidecar_is_an_interruption() {
    let slow = sliced().main_ended("10:00:00", "10:10:00", 0).beside("proxy");
    let asked = running().pod(slow).at("10:10:06").expect_containing(&["stop MainEnded"]).then();
    let over = asked.each_pod(|pod| pod.because("Evicted").disrupted("TerminationByKubelet", "10:10:09"));
    assert_eq!(outcome(over, "10:10:10"), "Interrupted Evicted");
}

#[test]
fn a_program_that_ended_before_its_pod_was_deleted_keeps_its_outcome_through_the_grace_of_a_sidecar() {
    for (asked, expected) in [("10:10:31", "Failed Error"), ("10:10:30", "Interrupted Deleted")] {
        let main_failed = sliced().main_ended("10:00:00", "10:10:00", 3);
        let going = running().pod(main_failed.deleted(asked, 30)).at("10:10:02").then();
        let gone = going.each_pod(|pod| pod.phase("Failed").deleted("10:10:33", 0));
        assert_eq!(outcome(gone, "10:10:34"), expected, "{asked}");
    }
}

#[test]
fn an_eviction_or_a_deadline_before_the_deletion_counts_although_the_program_ended_before_it() {
    let going = |pod: PodBuilder| running().pod(pod.main_ended("10:00:00", "11:00:02", 0).deleted("11:00:33", 30));
    let gone = |pod: PodBuilder| pod.phase("Failed").deleted("11:00:35", 0);
    let evicted = going(sliced().disrupted("EvictionByEvictionAPI", "11:00:00")).at("11:00:04").then();
    assert_eq!(outcome(evicted.each_pod(gone), "11:00:36"), "Interrupted Evicted");
    for seen in ["11:00:04", "10:59:58"] {
        let late = going(sliced()).at(seen).then();
        let gone = late.each_pod(|pod| gone(pod).because("DeadlineExceeded"));
        assert_eq!(outcome(gone, "11:00:36"), "Interrupted Deleted", "our clock says {seen}");
    }
}

/// The kubelet's last delete overwrites when somebody asked for the first one.
#[test]
fn the_kubelets_last_delete_is_no_evidence_that_a_program_had_ended_before_its_pod_was_deleted() {
    let deleted = sliced().main_ended("10:00:00", "10:10:00", 0).deleted("10:10:02", 0);
    let seen = running().pod(deleted).at("10:10:03").expect_without(&["stop"]).then();
    assert_eq!(outcome(seen.each_pod(|pod| pod.phase("Succeeded")), "10:10:04"), "Interrupted Deleted");
}
