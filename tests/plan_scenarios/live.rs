//! A program that reports while it runs: what reaches the status and when, what a hang is, and what counts at the end.

use longtask::{
    api::task::{ConditionType, RecordedReport, StopReason},
    types::{mark_false, mark_true},
};
use serde_json::{Value, json};

use super::support::{Given, Planned, PodBuilder, given, given_live, pod, t};

fn steps(completed: i64) -> Value {
    json!({ "checkpoint": { "n": completed }, "progress": { "completed": completed, "total": 9 } })
}

/// A pod with an agent whose program runs since 10:00:00, kept to its slice.
fn runs() -> PodBuilder {
    pod(1).runs("10:00:00").deadline(3601).with_agent()
}

/// Attempt 1 runs since 10:00:00.
fn running() -> Given {
    given_live().running(1, "10:00:00").pod(runs())
}

/// What was recorded while it ran.
fn recorded(revision: i64, at: &str, progress_at: Option<&str>) -> RecordedReport {
    RecordedReport { revision, record_time: t(at), progress_time: progress_at.map(t) }
}

fn with_recorded(given: Given, recorded: RecordedReport) -> Given {
    given.status(|status| status.current_attempt.as_mut().expect("an attempt").report = Some(recorded))
}

// === what reaches the status, and when

#[test]
fn a_report_reaches_the_status_an_interval_after_the_start() {
    let given = running().posted(5, "10:00:07", 0, &[steps(3)]);
    let before = given.clone().at("10:00:07");
    before.expect_containing(&["wake 10:00:32"]).expect_without(&["progress", "checkpoint"]);
    let planned = given.at("10:00:30").expect_containing(&["checkpoint 1", "progress 3/9"]);
    let report = planned.status().current_attempt.expect("an attempt").report;
    assert_eq!(report, Some(recorded(5, "10:00:30", Some("10:00:30"))));
    assert_eq!(planned.status().checkpoint.expect("recorded").record_time, t("10:00:30"));
}

#[test]
fn what_came_too_early_to_be_written_waits_a_little_for_the_newer_word_that_was_asked_for() {
    let early = running().posted(5, "10:00:07", 0, &[steps(3)]);
    early.clone().at("10:00:29").expect_containing(&["wake 10:00:32"]).expect_without(&["progress"]);
    early.clone().at("10:00:32").expect_containing(&["progress 3/9"]);
    let written = early.posted(6, "10:00:30", 0, &[steps(4)]).at("10:00:30").expect_containing(&["progress 4/9"]);
    let next = written.then().posted(7, "10:01:00", 0, &[steps(5)]);
    next.at("10:01:00").expect_containing(&["progress 5/9"]);
}

#[test]
fn many_programs_share_the_writes() {
    let given = running().posted(5, "10:00:07", 0, &[steps(3)]).live(|live| live.turn = Some(t("10:03:20")));
    given.clone().at("10:00:30").expect_containing(&["wake 10:03:20"]).expect_without(&["progress"]);
    given.at("10:03:20").expect_containing(&["progress 3/9"]);
}

#[test]
fn the_interval_counts_from_the_last_write() {
    let first = running().posted(5, "10:00:30", 0, &[steps(3)]).at("10:00:30");
    let next = first.then().posted(6, "10:00:35", 0, &[steps(4)]);
    next.clone().at("10:00:35").expect_containing(&["wake 10:01:02"]).expect_without(&["progress"]);
    next.at("10:01:00").expect_containing(&["progress 4/9", "checkpoint 2"]);
}

#[test]
fn what_is_said_again_or_says_nothing_new_is_not_written() {
    let first = running().posted(5, "10:00:30", 0, &[steps(3)]).at("10:00:30").then();
    for (revision, lines) in [(5, vec![steps(3)]), (9, vec![steps(3)]), (9, vec![json!({ "error": { "code": "X" } })])]
    {
        let planned = first.clone().posted(revision, "10:10:00", 0, &lines).at("10:10:00");
        assert_eq!((&planned.plan.status, &planned.plan.steps), (&None, &vec![]), "{revision}");
    }
}

#[test]
fn a_report_that_was_late_sets_nothing_back() {
    let given = with_recorded(running(), recorded(7, "10:05:00", None)).posted(6, "10:06:00", 0, &[steps(1)]);
    given.at("10:06:00").expect_without(&["progress", "checkpoint"]);
}

#[test]
fn progress_while_it_runs_sets_the_counters_back() {
    let given = running().status(|status| status.consecutive.failures = 2).posted(5, "10:00:30", 0, &[steps(3)]);
    given.at("10:00:30").expect_containing(&["failures 0"]);
}

#[test]
fn when_the_work_last_moved_on_is_kept_through_reports_that_are_no_progress() {
    let said = |words: &str| json!({ "progress": { "message": words } });
    let report = |planned: &Planned| planned.status().current_attempt.expect("an attempt").report;
    let loads = running().posted(5, "10:00:30", 0, &[said("loading")]).at("10:00:30");
    assert_eq!(report(&loads), Some(recorded(5, "10:00:30", None)));
    let works = loads.then().posted(6, "10:01:00", 0, &[steps(3)]).at("10:01:00");
    assert_eq!(report(&works), Some(recorded(6, "10:01:00", Some("10:01:00"))));
    let saves = works.then().posted(7, "10:01:30", 0, &[steps(3), said("saving")]).at("10:01:30");
    assert_eq!(report(&saves), Some(recorded(7, "10:01:30", Some("10:01:00"))));
    let ended = saves.then().only(ends(75).agent_left(json!({ "revision": 7 }), &[steps(3)])).at("10:10:01");
    ended.expect_containing(&["segment 2"]).expect_without(&["stalls"]);
}

/// A program that has reported all of its progress.
fn with_progress() -> Given {
    let all = json!({ "progress": { "completed": 3, "total": 9, "unit": "rows", "message": "loading" } });
    running().posted(5, "10:00:30", 0, &[all]).at("10:00:30").then()
}

#[test]
fn each_part_of_progress_is_news_by_itself_and_none_when_it_is_known() {
    let is_written = |progress: &Value| {
        let next = with_progress().posted(6, "10:10:00", 0, &[json!({ "progress": progress })]);
        next.at("10:10:00").plan.status.is_some()
    };
    let news = [("completed", json!(4)), ("completed", json!(2)), ("total", json!(10))];
    for (part, value) in news.into_iter().chain([("unit", json!("files")), ("message", json!("saving"))]) {
        assert!(is_written(&json!({ part: value })), "{part} {value}");
    }
    let known = [("completed", json!(3)), ("total", json!(9)), ("unit", json!("rows")), ("message", json!("loading"))];
    for (part, value) in known {
        assert!(!is_written(&json!({ part: value })), "{part} {value}");
    }
}

#[test]
fn work_that_is_done_again_behind_a_dropped_checkpoint_is_progress_again() {
    let dropped = with_progress().status(|status| {
        status.run.high_water = None;
        status.consecutive.failures = 2;
    });
    let again = dropped.posted(6, "10:10:00", 0, &[json!({ "progress": { "completed": 3 } })]).at("10:10:00");
    let again = again.expect_containing(&["failures 0"]);
    assert_eq!(again.status().run.high_water, Some(3));
}

#[test]
fn an_error_while_it_runs_may_lapse_and_counts_only_at_the_end() {
    let error = json!({ "error": { "code": "Bad", "message": "no such table", "permanent": true } });
    let given = running().posted(5, "10:00:30", 0, &[steps(3), error]);
    let planned = given.at("10:00:30").expect_containing(&["progress 3/9"]).expect_without(&["phase", "stop"]);
    let ended = planned.then().only(runs().ran("10:00:00", "10:01:00", 1)).at("10:01:20");
    ended.expect_containing(&["phase Failed PermanentError"]);
}

#[test]
fn the_estimate_counts_the_attempt_that_runs() {
    let planned = running().posted(5, "10:03:00", 0, &[steps(3)]).at("10:03:00");
    let progress = planned.status().progress.expect("progress");
    assert_eq!(progress.estimated_completion_time, Some(t("10:09:00")), "6 of 9 are left, 3 took three minutes");
}

#[test]
fn without_live_reports_a_post_is_not_there_and_nothing_changes() {
    let at_exit = given().running(1, "10:00:00").pod(pod(1).runs("10:00:00").deadline(3601));
    at_exit.at("10:10:00").expect(["wake 11:01:30"]);
}

// === hangs

fn may_be_silent(given: Given, timeout: &str) -> Given {
    given.spec(json!({ "segment": { "heartbeatTimeout": timeout } }))
}

#[test]
fn a_program_that_its_agent_calls_silent_for_too_long_is_stopped() {
    let given = may_be_silent(running(), "30s").posted(5, "10:20:00", 31, &[steps(3)]);
    let planned = given.at("10:20:00");
    let planned = planned.expect_containing(&["stop Hung", "phase Stopping Hung", "lower deadline of t-1 to 1"]);
    let note = planned.note("StopRequested").to_owned();
    assert!(note.contains("no sign of life for 31s, segment.heartbeatTimeout is 30s; last word: 3/9"), "{note}");
    for exit_code in [0, 1, 75, 143] {
        let ended = runs().ran("10:00:00", "10:20:05", exit_code).agent_left(json!({ "revision": 5 }), &[steps(3)]);
        let ended = planned.then_clone().only(ended).at("10:20:08");
        let outcome = format!("outcome Failed Hung exit {exit_code}");
        let ended = ended.expect_containing(&[outcome.as_str(), "failures 1"]);
        let failure = ended.status().last_failure.expect("it is told");
        assert!(failure.message.contains("no sign of life for 31s"), "{failure:?}");
    }
}

#[test]
fn a_hung_program_that_says_done_after_all_and_exits_0_is_done() {
    let given = may_be_silent(running(), "30s").stopping(StopReason::Hung, "10:20:00");
    let done = runs().ran("10:00:00", "10:20:05", 0).agent_left(json!({ "revision": 8 }), &[json!({ "done": true })]);
    given.only(done).at("10:20:40").expect_containing(&["phase Succeeded"]);
}

#[test]
fn an_announced_silence_is_no_hang_and_neither_is_a_shorter_one() {
    let quiet = json!({ "quiet": "2h" });
    let given = || may_be_silent(running(), "30s");
    given().posted(5, "10:20:00", 1200, &[steps(3), quiet.clone()]).at("10:20:00").expect_without(&["stop"]);
    given().posted(5, "12:20:00", 7200, &[quiet]).at("12:20:00").expect_containing(&["stop Hung"]);
    given().posted(5, "10:20:00", 29, &[steps(3)]).at("10:20:00").expect_without(&["stop"]);
    given().posted(5, "10:00:10", 300, &[]).at("10:00:10").expect_without(&["stop"]);
}

#[test]
fn silence_of_the_agent_is_no_evidence_however_long() {
    let given = may_be_silent(running(), "30s").posted(5, "10:00:30", 5, &[steps(3)]);
    given.at("10:50:00").expect_without(&["stop"]);
    may_be_silent(running(), "30s").at("10:50:00").expect_without(&["stop"]);
}

#[test]
fn what_an_agent_said_of_a_silence_a_while_ago_says_nothing_of_now() {
    let given = || may_be_silent(running(), "30s").posted(5, "10:20:00", 31, &[steps(3)]);
    given().at("10:20:37").expect_containing(&["stop Hung"]);
    given().at("10:20:38").expect_without(&["stop"]);
    let lowered = may_be_silent(running(), "10m").posted(5, "10:20:00", 31, &[steps(3)]);
    lowered.edited(json!({ "segment": { "heartbeatTimeout": "30s" } })).at("10:50:00").expect_without(&["stop"]);
}

#[test]
fn a_timeout_that_is_raised_in_time_saves_the_program() {
    let given = may_be_silent(running(), "30s").posted(5, "10:20:00", 31, &[steps(3)]);
    given.edited(json!({ "segment": { "heartbeatTimeout": "10m" } })).at("10:20:00").expect_without(&["stop"]);
}

// === the end

fn ends(exit_code: i32) -> PodBuilder {
    runs().ran("10:00:00", "10:10:00", exit_code)
}

#[test]
fn the_last_word_counts_where_no_post_came_through() {
    let left = ends(75).agent_left(json!({ "revision": 9 }), &[steps(5)]);
    let planned = given_live().running(1, "10:00:00").pod(left).at("10:10:01");
    planned.expect_containing(&["outcome Yielded exit 75", "checkpoint 1", "progress 5/9", "segment 2"]);
}

#[test]
fn the_newest_of_last_word_and_post_counts() {
    for (left, posted, newest) in [(9, 8, "progress 5/9"), (8, 9, "progress 6/9"), (9, 9, "progress 6/9")] {
        let pod = ends(75).agent_left(json!({ "revision": left }), &[steps(5)]);
        let given = given_live().running(1, "10:00:00").pod(pod).posted(posted, "10:09:59", 0, &[steps(6)]);
        given.at("10:10:01").expect_containing(&[newest]);
    }
}

#[test]
fn words_older_than_what_is_recorded_set_nothing_back() {
    let pod = ends(75).agent_left(json!({ "revision": 6 }), &[steps(1)]);
    let given = with_recorded(given_live().running(1, "10:00:00").pod(pod), recorded(7, "10:05:00", Some("10:05:00")));
    given.at("10:10:01").expect_containing(&["segment 2"]).expect_without(&["progress", "checkpoint", "stalls"]);
}

#[test]
fn a_post_older_than_what_is_recorded_sets_nothing_back() {
    let given = given_live().running(1, "10:00:00").pod(ends(75)).posted(6, "10:04:00", 0, &[steps(1)]);
    let given = with_recorded(given, recorded(7, "10:05:00", Some("10:05:00")));
    given.at("10:10:01").expect_containing(&["segment 2"]).expect_without(&["progress", "checkpoint", "stalls"]);
}

#[test]
fn at_the_end_of_a_slice_the_agents_last_word_is_waited_for() {
    let stopped = || runs().main_ended("10:00:00", "11:00:05", 143).because("DeadlineExceeded");
    let given = |pod: PodBuilder| given_live().running(1, "10:00:00").pod(pod);
    given(stopped()).at("11:00:06").expect_containing(&["wake 11:00:50"]).expect_without(&["outcome"]);
    let told = given(stopped().agent_left(json!({ "revision": 9 }), &[steps(5)])).at("11:00:06");
    told.expect_containing(&["outcome TimeLimit exit 143", "progress 5/9"]);
}

#[test]
fn the_log_of_a_program_that_failed_is_told_beside_what_its_agent_left() {
    let containers = json!([{ "name": "main", "terminationMessagePolicy": "FallbackToLogsOnError" }]);
    let pod = ends(1).merged(json!({ "spec": { "containers": containers } })).saying("panic: no such table\n");
    let given = given_live().running(1, "10:00:00").pod(pod.agent_left(json!({ "revision": 9 }), &[steps(5)]));
    let planned = given.at("10:10:01").expect_containing(&["progress 5/9"]);
    assert_eq!(planned.status().last_failure.expect("it is told").message, "panic: no such table");
}

#[test]
fn the_main_containers_own_message_counts_on_top() {
    let pod = ends(1)
        .agent_left(json!({ "revision": 9 }), &[steps(5)])
        .saying(&format!("panic: no such table\n{}\n", steps(6)));
    let planned = given_live().running(1, "10:00:00").pod(pod).at("10:10:01").expect_containing(&["progress 6/9"]);
    assert_eq!(planned.status().last_failure.expect("it is told").message, "panic: no such table");
}

#[test]
fn a_segment_that_progressed_while_it_ran_is_no_stall() {
    let first = running().posted(5, "10:00:30", 0, &[steps(3)]).at("10:00:30").then();
    let ended = first.only(ends(75).agent_left(json!({ "revision": 5 }), &[steps(3)])).at("10:10:01");
    ended.expect_containing(&["segment 2"]).expect_without(&["stalls"]);
}

#[test]
fn only_the_work_since_the_last_checkpoint_is_lost() {
    let left = json!({ "revision": 9, "checkpointTime": t("10:08:00") });
    let lost = |pod: PodBuilder| {
        let planned = given_live().running(1, "10:00:00").pod(pod).at("10:10:01");
        planned.status().totals.work_lost_seconds
    };
    assert_eq!(lost(ends(1).agent_left(left, &[steps(5)])), 120);
    assert_eq!(lost(ends(1).agent_left(json!({ "revision": 9 }), &[json!({ "progress": { "completed": 1 } })])), 600);
}

#[test]
fn a_result_that_nobody_took_is_lost_and_asked_for_again() {
    let left = |result: i64| {
        let header = json!({ "revision": 9, "result": { "bytes": 9000, "revision": result } });
        given_live().running(1, "10:00:00").pod(ends(0).agent_left(header, &[json!({ "done": true })]))
    };
    let planned = left(8).at("10:10:01").expect_containing(&["outcome Failed ResultLost exit 0", "failures 1"]);
    assert!(planned.status().last_failure.expect("it is told").message.contains("did not reach the operator"));
    let result = json!({ "result": { "rows": "x".repeat(9000) } });
    for posted in [8, 9] {
        let done = left(8).posted(posted, "10:09:59", 0, std::slice::from_ref(&result)).at("10:10:01");
        let done = done.expect_containing(&["phase Succeeded"]);
        assert_eq!(done.status().result, Some(result["result"].clone()), "{posted}");
    }
    with_recorded(left(8), recorded(8, "10:05:00", None)).at("10:10:01").expect_containing(&["phase Succeeded"]);
}

#[test]
fn a_program_that_failed_is_told_in_its_own_words_although_its_result_is_lost_as_well() {
    let header = json!({ "revision": 9, "result": { "bytes": 9000, "revision": 8 } });
    let pod = ends(1).agent_left(header, &[]).saying("panic: no such table");
    let planned = given_live().running(1, "10:00:00").pod(pod).at("10:10:01");
    assert_eq!(planned.status().last_failure.expect("it is told").message, "panic: no such table");
}

#[test]
fn a_result_that_the_last_word_has_is_not_lost() {
    let left = |lines: &[Value]| {
        let header = json!({ "revision": 9, "bytes": 9000, "result": { "bytes": 3000, "revision": 9 } });
        given_live().running(1, "10:00:00").pod(ends(0).agent_left(header, lines)).at("10:10:01")
    };
    let result = json!({ "result": { "rows": 7 } });
    let planned = left(&[json!({ "done": true }), result.clone()]).expect_containing(&["phase Succeeded"]);
    assert_eq!(planned.status().result, Some(result["result"].clone()));
    let cut_off = left(&[json!({ "done": true })]);
    cut_off.expect_containing(&["outcome Failed ResultLost exit 0"]);
}

#[test]
fn the_agent_may_finish_when_the_program_has_ended_and_no_other_container_may() {
    let ended = runs().main_ended("10:00:00", "10:10:00", 0);
    let given = |pod: PodBuilder| given_live().running(1, "10:00:00").pod(pod);
    given(ended.clone()).at("10:10:20").expect_without(&["stop"]);
    given(ended.beside("proxy")).at("10:10:20").expect_containing(&["stop MainEnded"]);
}

#[test]
fn what_ended_before_the_stop_was_asked_for_is_done_whatever_the_kubelet_calls_the_pod() {
    let pod = ends(0).agent_left(json!({ "revision": 9 }), &[]).because("DeadlineExceeded");
    let given = given_live().running(1, "10:00:00").stopping(StopReason::Suspend, "10:10:05").pod(pod);
    given.at("10:10:30").expect_containing(&["phase Succeeded"]);
}

#[test]
fn of_a_pod_that_the_kubelet_evicted_the_agents_word_counts() {
    let evicted = runs().main_lost().agent_left(json!({ "revision": 9 }), &[steps(5)]).because("Evicted");
    let planned = given_live().creating(1).pod(evicted).at("10:10:01");
    planned.expect_containing(&["outcome Failed Evicted", "progress 5/9"]);
}

/// Of a pod that the kubelet evicted, the main container's end can be lost.
#[test]
fn a_program_has_run_of_which_its_agent_has_heard_or_the_kubelet_has_lost_track() {
    let waits = |pod: PodBuilder| pod.waiting("PodInitializing", "");
    let heard = |revision: i64| waits(runs()).agent_left(json!({ "revision": revision }), &[]);
    let alone = || pod(1).runs("10:00:00");
    for (pod, outcome) in [
        (heard(1), "outcome Failed Evicted"),
        (heard(0), "outcome StartFailed Evicted"),
        (alone().main_lost(), "outcome Failed Evicted"),
        (waits(alone()), "outcome StartFailed Evicted"),
    ] {
        given_live().creating(1).pod(pod.because("Evicted")).at("10:10:01").expect_containing(&[outcome]);
    }
}

#[test]
fn a_pod_that_the_kubelet_evicted_has_run_though_nothing_is_left_of_its_containers() {
    let planned = given_live().creating(1).pod(runs().all_lost().because("Evicted")).at("10:10:01");
    planned.expect_containing(&["outcome Failed Evicted"]);
}

#[test]
fn faults_in_reports_are_told_at_the_end() {
    let header = json!({ "revision": 9, "problems": ["line 3 is no JSON"] });
    let planned = given_live().running(1, "10:00:00").pod(ends(75).agent_left(header, &[steps(1)])).at("10:10:01");
    assert!(planned.note("ReportIgnored").contains("line 3 is no JSON"));
}

#[test]
fn faults_are_told_also_when_the_last_post_said_as_much_as_the_last_word() {
    let header = json!({ "revision": 9, "problems": ["line 3 is no JSON"] });
    let given = given_live().running(1, "10:00:00").pod(ends(75).agent_left(header, &[steps(1)]));
    let planned = given.posted(9, "10:09:59", 0, &[steps(1)]).at("10:10:01");
    assert!(planned.note("ReportIgnored").contains("line 3 is no JSON"));
}

// === reports that do not come

#[test]
fn reports_that_never_came_are_missed_after_three_minutes() {
    running().at("10:02:59").expect_containing(&["wake 10:03:00"]).expect_without(&["ReportsMissing"]);
    let planned =
        running().at("10:03:00").expect_containing(&["ReportsMissing True NeverHeard", "Warning ReportsMissing"]);
    let note = planned.note("ReportsMissing").to_owned();
    assert!(note.contains("kubectl logs t-1 -c longtask-agent") && note.contains("NetworkPolicy"), "{note}");
    let heard = planned.then().posted(5, "10:04:00", 0, &[]).at("10:04:00");
    heard.expect_containing(&["ReportsMissing False"]);
}

#[test]
fn reports_that_stop_are_missed_after_three_signs_of_life() {
    let given = running().posted(5, "10:00:30", 0, &[steps(3)]);
    given.clone().at("10:16:29").expect_without(&["ReportsMissing"]);
    given.clone().at("10:16:30").expect_containing(&["ReportsMissing True Silent"]);
    let sooner = may_be_silent(given, "1m");
    sooner.at("10:02:15").expect_containing(&["ReportsMissing True Silent"]);
    let said_nothing = running().posted(5, "10:00:30", 0, &[]);
    said_nothing.at("10:16:30").expect_containing(&["ReportsMissing True Silent"]);
}

#[test]
fn no_reports_are_missed_of_a_pod_that_somebody_has_deleted() {
    let shown = running().at("10:03:00").expect_containing(&["ReportsMissing True NeverHeard"]).then();
    let leaving = shown.only(runs().deleted("10:03:40", 30)).at("10:03:11");
    leaving.expect_containing(&["ReportsMissing False"]);
}

#[test]
fn an_operator_misses_nothing_before_it_has_listened_long_enough() {
    let given = running().live(|live| live.listening_since = Some(t("10:30:00")));
    given.clone().at("10:32:59").expect_without(&["ReportsMissing"]);
    given.at("10:33:00").expect_containing(&["ReportsMissing True NeverHeard"]);
}

#[test]
fn an_operator_that_takes_over_misses_nothing_before_three_signs_of_life_were_due() {
    let given = with_recorded(running(), recorded(5, "10:05:00", None));
    let given = given.live(|live| live.listening_since = Some(t("10:30:00")));
    given.clone().at("10:45:59").expect_containing(&["wake 10:46:00"]).expect_without(&["ReportsMissing"]);
    given.at("10:46:00").expect_containing(&["ReportsMissing True Silent"]);
}

#[test]
fn an_operator_that_takes_no_reports_says_so_whoever_made_the_pod() {
    for pod in [pod(1).runs("10:00:00").deadline(3601), runs()] {
        let given = given_live().live(|live| (live.agent, live.listening_since) = (None, None));
        let planned = given.running(1, "10:00:00").pod(pod).at("10:00:01");
        let planned = planned.expect_containing(&["ReportsMissing True NotConfigured"]);
        assert!(planned.note("ReportsMissing").contains("--agent-image"));
    }
}

#[test]
fn an_operator_that_takes_reports_at_last_says_when_it_hears_nothing_all_the_same() {
    let deaf = running().live(|live| (live.agent, live.listening_since) = (None, None)).at("10:00:01").then();
    let listens = deaf.live(|live| live.listening_since = Some(t("10:05:00"))).at("10:05:00");
    let hears_nothing = listens.expect_containing(&["ReportsMissing False", "wake 10:08:00"]).then().at("10:08:00");
    hears_nothing.expect_containing(&["ReportsMissing True NeverHeard", "Warning ReportsMissing"]);
}

#[test]
fn operators_that_do_not_agree_whether_reports_come_do_not_write_in_turns() {
    let hears_nothing = running();
    let takes_none = running().live(|live| live.listening_since = None).live(|live| live.agent = None);
    for (given, reason) in [(hears_nothing, "NeverHeard"), (takes_none, "NotConfigured")] {
        let taken_back = given.clone().status(|status| {
            mark_true(&mut status.conditions, ConditionType::ReportsMissing, "NeverHeard", "", t("10:19:00"));
            mark_false(&mut status.conditions, ConditionType::ReportsMissing, "Heard", "", t("10:20:00"));
        });
        taken_back.clone().at("10:20:01").expect_containing(&["wake 10:21:00"]).expect_without(&["ReportsMissing"]);
        taken_back.at("10:21:00").expect_containing(&[format!("ReportsMissing True {reason}").as_str()]);
        let told_by_another = given.status(|status| {
            mark_true(&mut status.conditions, ConditionType::ReportsMissing, "Silent", "", t("10:19:00"));
        });
        told_by_another.at("10:20:01").expect_without(&["ReportsMissing"]);
    }
}
