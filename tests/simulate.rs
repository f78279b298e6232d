//! `longtask simulate`: whole histories as they are printed, the program itself, and its page in the documentation.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use longtask::{
    api::task::{AttemptReason, LongTask, Outcome},
    task::simulate::{History, Script, Setup, simulate},
};
use serde_json::Value;
use strum::IntoEnumIterator;

const NO_JITTER: &str = "retry: {backoff: {jitter: None}}";
const DECLINED: &str = "failurePolicy: {rules: [{name: declined, onErrorCodes: [PaymentDeclined], action: Retry, \
                        delay: 5s, limit: 3, resetOnProgress: false}]}";

/// A task with these fields in its spec, beside the template.
fn task(spec: &str) -> LongTask {
    let manifest = format!(
        "apiVersion: longtask.dev/v1alpha1\nkind: LongTask\nmetadata: {{name: t}}\nspec:\n  template: {{spec: \
         {{containers: [{{name: main, image: i}}]}}}}\n  {spec}\n"
    );
    serde_saphyr::from_str(&manifest).unwrap_or_else(|error| panic!("{spec}: {error}"))
}

fn history(spec: &str, script: &str) -> History {
    history_of(task(spec), script)
}

fn history_of(task: LongTask, script: &str) -> History {
    let setup = Setup {
        uid: "simulated".to_owned(),
        start: "2026-11-24T10:00:00Z".parse().expect("a time"),
        most_attempts: 1000,
    };
    let script: Script = script.parse().unwrap_or_else(|error| panic!("{script}: {error}"));
    simulate(task, script, &setup)
}

/// The table is exactly this.
#[track_caller]
fn expect(spec: &str, script: &str, expected: &str) {
    let table = history(spec, script).table(false);
    assert_eq!(table.trim_end(), expected.trim(), "\n{table}");
}

/// The table's last line begins like this.
#[track_caller]
fn expect_end(spec: &str, script: &str, expected: &str) {
    let table = history(spec, script).table(false);
    assert!(table.lines().last().is_some_and(|line| line.starts_with(expected)), "\n{table}");
}

fn json_lines(spec: &str, script: &str, kind: &str) -> Vec<Value> {
    let lines = history(spec, script).json_lines(true).expect("JSON");
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("a JSON object"));
    lines.filter(|line| line["kind"] == kind).collect()
}

fn attempts(spec: &str, script: &str) -> Vec<Value> {
    json_lines(spec, script, "attempt")
}

fn words<'a>(attempts: &'a [Value], field: &str) -> Vec<&'a str> {
    attempts.iter().filter_map(|attempt| attempt[field].as_str()).collect()
}

#[test]
fn a_declined_payment_is_tried_again_three_times_five_seconds_apart() {
    expect(
        DECLINED,
        "error:PaymentDeclined+progress*",
        r"
BEGAN   ENDED   ATTEMPT  SEGMENT  OUTCOME              THEN                                       IN A ROW
+0s     +1m     1        1        Failed Error exit 1  rule declined: retry after 5s              rule declined 1
+1m5s   +2m5s   2        1        Failed Error exit 1  rule declined: retry after 5s              rule declined 2
+2m10s  +3m10s  3        1        Failed Error exit 1  rule declined: retry after 5s              rule declined 3
+3m15s  +4m15s  4        1        Failed Error exit 1  rule declined: Failed (RuleLimitExceeded)  rule declined 4

Attempt 4 of segment 1 was number 4 in a row for rule declined (Error, exit 1)
Failed (RuleLimitExceeded) after 4 attempts, at +4m15s with 4m of running time
",
    );
}

#[test]
fn a_rule_is_named_though_progress_sets_its_counter_back() {
    let forgiving = DECLINED.replace(", resetOnProgress: false", "");
    let attempts = attempts(&forgiving, "error:PaymentDeclined+progress*5,fail:1");
    assert_eq!(words(&attempts, "rule"), ["declined"; 5]);
    assert!(attempts[..5].iter().all(|attempt| attempt["ruleCounters"][0]["count"] == 1));
    assert_eq!(attempts[5]["rule"], Value::Null, "the last one is the budget's");
}

#[test]
fn the_usual_budget_allows_seven_tries() {
    expect(
        NO_JITTER,
        "fail:1*",
        r"
BEGAN    ENDED    ATTEMPT  SEGMENT  OUTCOME              THEN                             IN A ROW
+0s      +1m      1        1        Failed Error exit 1  retry after 10s                  failures 1/6
+1m10s   +2m10s   2        1        Failed Error exit 1  retry after 20s                  failures 2/6
+2m30s   +3m30s   3        1        Failed Error exit 1  retry after 40s                  failures 3/6
+4m10s   +5m10s   4        1        Failed Error exit 1  retry after 1m20s                failures 4/6
+6m30s   +7m30s   5        1        Failed Error exit 1  retry after 2m40s                failures 5/6
+10m10s  +11m10s  6        1        Failed Error exit 1  retry after 5m                   failures 6/6
+16m10s  +17m10s  7        1        Failed Error exit 1  Failed (FailureBudgetExhausted)  failures 7/6

Attempt 7 of segment 1 was try 7 in a row without progress (Error, exit 1)
Failed (FailureBudgetExhausted) after 7 attempts, at +17m10s with 7m of running time
",
    );
}

#[test]
fn progress_sets_the_counters_back() {
    let failures = |spec: &str| {
        let attempts = attempts(spec, "fail*2,fail+progress,fail");
        attempts.iter().filter_map(|attempt| attempt["consecutive"]["failures"].as_i64()).collect::<Vec<_>>()
    };
    assert_eq!(failures("retry: {}"), [1, 2, 1, 2]);
    assert_eq!(failures("retry: {resetOnProgress: false}"), [1, 2, 3, 4]);
}

#[test]
fn a_mixed_history_succeeds() {
    expect(
        NO_JITTER,
        "fail:1*3,oom,evict,75,done",
        r"
BEGAN   ENDED   ATTEMPT  SEGMENT  OUTCOME                    THEN                  IN A ROW
+0s     +1m     1        1        Failed Error exit 1        retry after 10s       failures 1/6
+1m10s  +2m10s  2        1        Failed Error exit 1        retry after 20s       failures 2/6
+2m30s  +3m30s  3        1        Failed Error exit 1        retry after 40s       failures 3/6
+4m10s  +5m10s  4        1        Failed OOMKilled exit 137  retry after 1m20s     failures 4/6
+6m30s  +7m30s  5        1        Interrupted Evicted        resume after 1s       failures 4/6, interruptions 1
+7m31s  +8m31s  6        1        Yielded exit 75            next segment at once  failures 4/6, stalls 1/3, interruptions 1
+8m31s  +9m31s  7        2        Completed                  Succeeded             failures 4/6, stalls 1/3, interruptions 1

Succeeded after 2 segments and 7 attempts, 420s of running time.
Succeeded (Completed) after 7 attempts, at +9m31s with 7m of running time
",
    );
}

#[test]
fn segments_without_progress_are_few_and_with_it_many() {
    expect(
        "segment: {duration: 15m}",
        "timeout*",
        r"
BEGAN  ENDED  ATTEMPT  SEGMENT  OUTCOME    THEN                  IN A ROW
+0s    +15m   1        1        TimeLimit  next segment at once  stalls 1/3
+15m   +30m   2        2        TimeLimit  next segment at once  stalls 2/3
+30m   +45m   3        3        TimeLimit  next segment at once  stalls 3/3
+45m   +1h    4        4        TimeLimit  Failed (NoProgress)   stalls 4/3

4 segments in a row ended without progress; report a checkpoint or progress to $LONGTASK_REPORT, or set spec.checkpoint.source to External if the program keeps its own
Failed (NoProgress) after 4 attempts, at +1h with 1h of running time
",
    );
    let fifteen = "segment: {duration: 15m}";
    expect_end(fifteen, "timeout+progress*20,done", "Succeeded (Completed) after 21 attempts, at +5h1m");
    expect_end("checkpoint: {source: External}", "timeout*9,done", "Succeeded (Completed) after 10 attempts, at +9h1m");
}

#[test]
fn work_that_is_done_again_after_its_checkpoints_were_dropped_is_no_stall() {
    let over = "failurePolicy: {rules: [{name: o, onExitCodes: {operator: In, values: [66]}, action: StartOver}]}";
    expect_end(over, "timeout+progress*6,fail:66,timeout+progress*6,done", "Succeeded (Completed) after 14 attempts");
    let back = "failurePolicy: {rules: [{name: o, onExitCodes: {operator: In, values: [66]}, action: Rollback}]}";
    expect_end(back, "timeout+progress*6,fail:66*3,timeout+progress*6,done", "Succeeded (Completed) after 16 attempts");
    for spec in [over, back] {
        let stalls = attempts(spec, "timeout+progress*6,fail:66*3,timeout+progress*6,done");
        assert!(stalls.len() > 12, "{stalls:#?}");
        assert!(stalls.iter().all(|attempt| attempt["consecutive"]["stalls"] == 0), "{stalls:#?}");
    }
}

#[test]
fn what_rules_change_for_the_next_attempt_is_shown() {
    let memory = include_str!("../examples/failures/memory.yaml");
    let task =
        memory.replace("memory: {factor: 2, max: 1Gi}", "memory: {factor: 2, max: 300Mi}\n      avoidNode: true");
    let task = serde_saphyr::from_str(&task).expect("a task");
    let history = history_of(task, "oom*3,done").table(false);
    let then: Vec<_> = history.lines().filter(|line| line.contains("OOMKilled")).collect();
    assert!(then[0].contains("rule out-of-memory: retry after 1s, with 200Mi, off node-1"), "{history}");
    assert!(then[1].contains(", with 300Mi, off node-2 and node-1"), "{history}");
    assert!(then[2].contains("  retry after 1s (4s before jitter), with 300Mi"), "no rule matches any more: {history}");
}

#[test]
fn a_poison_record_ends_after_three_rollbacks() {
    expect(
        "failurePolicy: {rules: [{name: poison, onExitCodes: {operator: In, values: [65]}, action: Rollback, delay: 9s}]}",
        "75+progress*2,fail:65+progress*",
        r"
BEGAN   ENDED   ATTEMPT  SEGMENT  OUTCOME               THEN                                           IN A ROW
+0s     +1m     1        1        Yielded exit 75       next segment at once
+1m     +2m     2        2        Yielded exit 75       next segment at once
+2m     +3m     3        3        Failed Error exit 65  rule poison: retry from checkpoint 2 after 9s  rule poison 1
+3m9s   +4m9s   4        3        Failed Error exit 65  rule poison: retry from checkpoint 2 after 9s  rule poison 2
+4m18s  +5m18s  5        3        Failed Error exit 65  rule poison: retry from checkpoint 2 after 9s  rule poison 3
+5m27s  +6m27s  6        3        Failed Error exit 65  rule poison: Failed (RuleLimitExceeded)        rule poison 4

Attempt 6 of segment 3 was number 4 in a row for rule poison (Error, exit 65)
Failed (RuleLimitExceeded) after 6 attempts, at +6m27s with 6m of running time
",
    );
}

#[test]
fn interruptions_go_on_until_something_bounds_them() {
    expect_end(
        "retry: {budgets: {interruptions: 2}}",
        "lost*",
        "Failed (InterruptionBudgetExhausted) after 3 attempts",
    );
    expect_end("limits: {attempts: 5}", "evict*", "Failed (AttemptLimitReached) after 5 attempts");
    expect_end("limits: {wallTime: 1h}", "preempt*", "Failed (WallTimeExceeded) after 42 attempts, at +1h with");
    expect_end("retry: {}", "evict*", "Pending after 1000 attempts");
}

#[test]
fn jitter_is_drawn_from_the_uid_and_shown_beside_what_it_is_drawn_from() {
    let table = history("retry: {}", "fail*2").table(false);
    let shown = table.lines().nth(1).is_some_and(|line| line.contains("retry after 9s (10s before jitter)"));
    assert!(shown && table.contains("Jitter (Full) is drawn from the task's UID"), "\n{table}");
    assert_eq!(table, history("retry: {}", "fail*2").table(false), "the same each time");
}

#[test]
fn a_script_that_ends_early_says_where_the_task_stands() {
    expect(
        NO_JITTER,
        "fail:1*2",
        r"
BEGAN   ENDED   ATTEMPT  SEGMENT  OUTCOME              THEN             IN A ROW
+0s     +1m     1        1        Failed Error exit 1  retry after 10s  failures 1/6
+1m10s  +2m10s  2        1        Failed Error exit 1  retry after 20s  failures 2/6

The script does not say how the next attempt ends. Attempt 3 of segment 1 starts at +2m30s.
Budgets left: failures 4 of 6, stalls 3 of 3, startFailures 5 of 5, interruptions unlimited.
Waiting (Error) after 2 attempts, at +2m10s with 2m of running time
",
    );
    let [end] = json_lines(NO_JITTER, "fail,75+progress,done*2", "end").try_into().expect("one end");
    assert_eq!((end["stoppedBy"].as_str(), end["unusedScript"].as_str()), (Some("TaskEnded"), Some("done")));
}

#[test]
fn the_user_acts_when_the_task_is_at_rest() {
    expect(
        NO_JITTER,
        "suspend+progress,resume@10m,permanent,restart@1h,fail:3+after:2m,75+after:10m,cancel",
        r"
BEGAN   ENDED   ATTEMPT  SEGMENT  OUTCOME                  THEN                         IN A ROW
        +1m     the user sets suspend: true
+0s     +1m     1        1        Stopped Suspend          Suspended (SuspendedByUser)
        +11m    the user sets suspend: false
+11m    +12m    2        1        Failed Permanent exit 1  Failed (PermanentError)      failures 1/6
        +1h12m  the user sets a new restart.token
+1h12m  +1h13m  3        1        Failed Error exit 3      retry after 2m               failures 1/6
+1h15m  +1h16m  4        1        Yielded exit 75          next segment after 10m       failures 1/6
        +1h27m  the user sets cancel: true
+1h26m  +1h27m  5        2        Stopped Cancel           Cancelled                    failures 1/6

cancelled by the user
Cancelled after 5 attempts, at +1h27m with 3m of running time
",
    );
}

#[test]
fn a_held_task_waits_for_a_token() {
    let hold = "failurePolicy: {rules: [{name: look, onReasons: [OOMKilled], action: Hold}]}";
    let table = history(hold, "oom,done").table(false);
    assert!(table.contains("rule look: Suspended (Held)") && table.contains("until the user acts"), "\n{table}");
    assert!(table.contains("Not used of the script: done"), "\n{table}");
    expect_end(hold, "oom,restart,done", "Succeeded (Completed) after 2 attempts, at +3m");
}

#[test]
fn a_limit_cuts_what_the_script_says() {
    let deadline = "limits: {deadline: 2026-11-24T10:30:00Z}";
    let attempts = attempts(deadline, "done@45m");
    assert_eq!((words(&attempts, "outcome"), words(&attempts, "reason")), (vec!["TimeLimit"], vec!["Deadline"]));
    expect_end(deadline, "done@45m", "Failed (DeadlinePassed) after 1 attempt, at +30m");
    expect_end("limits: {deadline: 2026-11-24T09:00:00Z}", "done", "Failed (DeadlinePassed) after 0 attempts, at +0s");
    expect_end("limits: {activeTime: 90s}", "fail*", "Failed (ActiveTimeExceeded) after 2 attempts");
    let hold = "failurePolicy: {onExhausted: Hold}\n  limits: {deadline: 2026-11-24T10:30:00Z}";
    expect_end(hold, "fail*7", "Failed (DeadlinePassed) after 7 attempts, at +30m");
    expect_end(
        "limits: {wallTime: 65s}\n  retry: {backoff: {jitter: None}}",
        "fail",
        "Failed (WallTimeExceeded) after 1",
    );
}

#[test]
fn a_program_ends_within_its_segment_unless_the_script_says_otherwise() {
    let short = "segment: {duration: 15s}";
    expect_end(short, "done", "Succeeded (Completed) after 1 attempt, at +14s");
    assert_eq!(words(&attempts(short, "fail@20s"), "outcome"), ["TimeLimit"]);
}

#[test]
fn a_task_of_another_operator_is_left_alone() {
    let table = history("managedBy: example.com/other", "done").table(false);
    assert!(table.contains("leaves this task alone: its spec.managedBy is example.com/other"), "\n{table}");
}

#[test]
fn a_task_with_no_time_to_live_is_deleted_when_it_ends() {
    expect_end("ttlAfterFinished: 0s", "done,restart,done", "Succeeded (Completed) after 1 attempt, at +1m");
    let script = "fail*7,restart@1h,done";
    expect_end("ttlAfterFailed: 10s", script, "Failed (FailureBudgetExhausted) after 7 attempts");
    expect_end("ttlAfterFailed: 2h", script, "Succeeded (Completed) after 8 attempts");
    expect_end("ttlAfterFinished: 10s", script, "Succeeded (Completed) after 8 attempts");
}

#[test]
fn events_are_printed_when_they_are_asked_for() {
    let table = history(NO_JITTER, "done").table(true);
    let events: Vec<_> = table.lines().filter(|line| line.contains("Normal ")).map(str::trim_start).collect();
    assert_eq!(
        events,
        [
            "+0s    Normal AttemptStarting: Starting attempt 1 of segment 1.",
            "+0s    Normal AttemptStarted: Attempt 1 of segment 1 runs on node-1.",
            "+1m    Normal Succeeded: Succeeded after 1 segment and 1 attempt, 60s of running time.",
        ],
        "\n{table}"
    );
    assert_eq!(
        words(&json_lines(NO_JITTER, "done", "event"), "reason"),
        ["AttemptStarting", "AttemptStarted", "Succeeded"]
    );
}

#[test]
fn every_word_ends_an_attempt_as_it_says() {
    for (word, outcome, reason) in [
        ("done", "Completed", ""),
        ("0", "Completed", ""),
        ("75", "Yielded", ""),
        ("2", "Failed", "Error"),
        ("fail", "Failed", "Error"),
        ("fail:75", "Yielded", ""),
        ("error:X", "Failed", "Error"),
        ("permanent", "Failed", "Permanent"),
        ("permanent:X", "Failed", "Permanent"),
        ("oom", "Failed", "OOMKilled"),
        ("storage", "Failed", "Evicted"),
        ("timeout", "TimeLimit", ""),
        ("hang", "TimeLimit", ""),
        ("evict", "Interrupted", "Evicted"),
        ("pressure", "Interrupted", "Evicted"),
        ("preempt", "Interrupted", "Preempted"),
        ("delete", "Interrupted", "Deleted"),
        ("lost", "Interrupted", "NodeLost"),
        ("unknown", "Interrupted", "Unknown"),
        ("reject", "Interrupted", "Rejected"),
        ("image", "StartFailed", "ErrImagePull"),
        ("config", "StartFailed", "CreateContainerConfigError"),
        ("starterror", "StartFailed", "StartError"),
        ("init", "StartFailed", "InitContainerFailed"),
        ("unreadable", "TimeLimit", ""),
        ("nostart:CrashLoopBackOff", "StartFailed", "CrashLoopBackOff"),
        ("nostart:AppArmor", "StartFailed", "AppArmor"),
        ("suspend", "Stopped", "Suspend"),
        ("cancel", "Stopped", "Cancel"),
    ] {
        let attempts = attempts("segment: {}", word);
        assert_eq!((words(&attempts, "outcome"), words(&attempts, "reason")), (vec![outcome], vec![reason]), "{word}");
    }
}

#[test]
fn a_program_that_hangs_is_stopped_when_it_has_been_silent_for_as_long_as_it_may() {
    let live =
        "reporting: {mode: Live}\n  segment: {duration: 1h, heartbeatTimeout: 10m}\n  retry: {backoff: {jitter: None}}";
    expect(
        live,
        "hang,hang+progress@20m,timeout+progress,done",
        r"
BEGAN      ENDED      ATTEMPT  SEGMENT  OUTCOME               THEN                  IN A ROW
+0s        +11m       1        1        Failed Hung exit 143  retry after 10s       failures 1/6
+11m10s    +41m10s    2        1        Failed Hung exit 143  retry after 10s       failures 1/6
+41m20s    +1h41m20s  3        1        TimeLimit             next segment at once
+1h41m20s  +1h42m20s  4        2        Completed             Succeeded

Succeeded after 2 segments and 4 attempts, 6120s of running time.
Succeeded (Completed) after 4 attempts, at +1h42m20s with 1h42m of running time
",
    );
}

#[test]
fn without_a_timeout_or_without_live_reports_a_program_that_hangs_runs_to_its_time_limit() {
    let segment =
        |fields: &str, mode: &str| format!("segment: {{duration: 2h{fields}}}\n  reporting: {{mode: {mode}}}");
    for spec in [segment("", "Live"), segment("", "AtExit"), segment(", heartbeatTimeout: 10m", "AtExit")] {
        expect_end(&spec, "hang+progress@30m,done", "Succeeded (Completed) after 2 attempts, at +2h1m");
    }
    let long = segment(", heartbeatTimeout: 100m", "Live");
    assert_eq!(words(&attempts(&long, "hang@30m"), "outcome"), ["TimeLimit"], "its time is up before that");
}

#[test]
fn what_a_program_reports_before_it_hangs_is_kept() {
    let live = "reporting: {mode: Live}\n  segment: {duration: 1h, heartbeatTimeout: 10m}";
    let attempts = attempts(live, "fail*2,hang+progress@5m,fail");
    let failures: Vec<_> = attempts.iter().map(|attempt| attempt["consecutive"]["failures"].clone()).collect();
    assert_eq!(failures, [1, 2, 1, 2]);
    assert_eq!(attempts[2]["checkpoint"], 1);
    let hung = json_lines(live, "hang", "event").into_iter().find(|event| event["reason"] == "StopRequested");
    let note = hung.expect("it is told")["note"].as_str().unwrap_or_default().to_owned();
    assert!(note.contains("no sign of life for 10m, segment.heartbeatTimeout is 10m"), "{note}");
}

const STORE: &str = "checkpoint: {store: {url: \"s3://bucket/runs\"}}\n  segment: {duration: 1h}";

#[test]
fn from_a_checkpoint_that_cannot_be_read_the_task_falls_back_by_one_and_then_fails() {
    expect(
        STORE,
        "timeout+progress*3,unreadable*2,timeout+progress,unreadable*2,done",
        r"
BEGAN  ENDED  ATTEMPT  SEGMENT  OUTCOME                           THEN                             IN A ROW
+0s    +1h    1        1        TimeLimit                         next segment at once
+1h    +2h    2        2        TimeLimit                         next segment at once
+2h    +3h    3        3        TimeLimit                         next segment at once
+3h    +3h    4        4        StartFailed CheckpointUnreadable  retry from checkpoint 2 at once  startFailures 1/5
+3h    +3h    5        4        StartFailed CheckpointUnreadable  retry from checkpoint 1 at once  startFailures 2/5
+3h    +4h    6        4        TimeLimit                         next segment at once
+4h    +4h    7        5        StartFailed CheckpointUnreadable  retry from checkpoint 1 at once  startFailures 1/5
+4h    +4h    8        5        StartFailed CheckpointUnreadable  Failed (CheckpointUnreadable)    startFailures 2/5

Not used of the script: done
checkpoint 1 (step-1), the last one that is recorded, cannot be read: the checkpoint cannot be restored: s3://bucket/runs/default/t/simulated/1-simulate/1/manifest.json is not what was saved. To begin anew, set a new spec.restart.token with from: Beginning
Failed (CheckpointUnreadable) after 8 attempts, at +4h with 4h of running time
",
    );
}

#[test]
fn a_rule_decides_what_follows_a_checkpoint_that_cannot_be_read() {
    let spec = format!(
        "{STORE}\n  failurePolicy: {{rules: [{{name: look, onReasons: [CheckpointUnreadable], action: Hold}}]}}"
    );
    let attempts = attempts(&spec, "timeout+progress,unreadable");
    assert_eq!(
        (words(&attempts, "rule"), words(&attempts, "outcome")),
        (vec!["look"], vec!["TimeLimit", "StartFailed"])
    );
    assert_eq!(attempts[1]["checkpoint"], 1, "it is kept");
}

#[test]
fn without_a_store_or_a_checkpoint_there_is_nothing_to_read_and_the_program_runs_to_its_time_limit() {
    for (spec, script) in [("segment: {duration: 1h}", "timeout+progress,unreadable"), (STORE, "unreadable")] {
        let attempts = attempts(spec, script);
        assert!(words(&attempts, "outcome").iter().all(|outcome| *outcome == "TimeLimit"), "{script}");
    }
}

#[test]
fn every_other_word_means_the_same_with_a_store() {
    let spec = |store: &str| format!("segment: {{duration: 1h}}\n  checkpoint: {{historyLimit: 3{store}}}");
    for script in ["timeout+progress*2,fail+progress,evict+progress,init,done", "fail+progress*", "lost,oom,done"] {
        let of = |store: &str| history(&spec(store), script).table(true);
        assert_eq!(of(", store: {url: \"s3://bucket/runs\"}"), of(""), "{script}");
    }
}

#[test]
fn every_other_word_means_the_same_with_live_reports() {
    let words = Script::WORDS.into_iter().filter(|word| *word != "hang").map(|word| match word {
        "error" => "error:X",
        "nostart" => "nostart:CrashLoopBackOff",
        plain => plain,
    });
    let scripts = words.flat_map(|word| [format!("{word}*3"), format!("fail,{word}+progress*2,{word}")]);
    let scripts: Vec<_> = scripts.filter(|script| script.parse::<Script>().is_ok()).collect();
    assert!(scripts.len() > 30, "{scripts:?}");
    for script in scripts {
        let of = |mode: &str| history(&format!("reporting: {{mode: {mode}}}"), &script).table(true);
        assert_eq!(of("Live"), of("AtExit"), "{script}");
    }
}

#[test]
fn each_reason_of_a_failed_start_can_be_tried() {
    let starts = AttemptReason::iter().filter(|reason| reason.outcomes().contains(&Outcome::StartFailed));
    for reason in starts.map(|reason| reason.to_string()) {
        let rule = format!("failurePolicy: {{rules: [{{name: named, onReasons: [{reason}], action: Hold}}]}}");
        let attempts = attempts(&rule, &format!("nostart:{reason}"));
        let ended = (words(&attempts, "outcome"), words(&attempts, "reason"), words(&attempts, "rule"));
        assert_eq!(ended, (vec!["StartFailed"], vec![reason.as_str()], vec!["named"]));
    }
}

/// Runs the program in a folder, with this on its standard input.
fn longtask(folder: &Path, args: &[&str], input: &str) -> Output {
    let mut program = Command::new(env!("CARGO_BIN_EXE_longtask"))
        .args(args)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    program.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
    program.wait_with_output().expect("it ends")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_program_tries_every_example() {
    for example in ["count", "import", "train", "postgres", "primes", "shell"] {
        let manifest = format!("examples/{example}/longtask.yaml");
        let args = ["simulate", "-f", &manifest, "--script", "timeout+progress*3,evict,done"];
        let output = longtask(Path::new("."), &args, "");
        assert!(output.status.success(), "{example}: {}", text(&output.stderr));
        let printed = text(&output.stdout);
        let last = printed.lines().last().unwrap_or_default();
        assert!(last.starts_with("Succeeded (Completed) after 5 attempts, at +"), "{example}: {printed}");
    }
}

#[test]
fn a_failed_task_is_no_failure_of_the_program() {
    let manifest = fs::read_to_string("examples/primes/longtask.yaml").expect("readable");
    let output = longtask(Path::new("."), &["simulate", "-f", "-", "--script", "permanent", "-o", "json"], &manifest);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let end: Value = serde_json::from_str(text(&output.stdout).lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!((end["kind"].as_str(), end["reason"].as_str()), (Some("end"), Some("PermanentError")));
}

#[test]
fn what_is_wrong_with_the_arguments_is_said_with_exit_code_2() {
    let task = "examples/primes/longtask.yaml";
    for (args, expected) in [
        (["-f", task, "--script", "done,crash"], "error: --script: word 2, \"crash\": no such word; write"),
        (["-f", "missing.yaml", "--script", "done"], "error: read missing.yaml: "),
        (["-f", "Makefile", "--script", "done"], "error: Makefile: the manifest is not YAML: "),
        (
            ["-f", "examples/primes/image.yaml", "--script", "done"],
            "error: examples/primes/image.yaml: the manifest has 0",
        ),
        (["-f", task, "--max-attempts", "0"], "error: invalid value '0' for '--max-attempts"),
    ] {
        let output = longtask(Path::new("."), &[&["simulate"], &args[..]].concat(), "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert!(said.starts_with(expected) && output.stdout.is_empty(), "{args:?}: {said}");
    }
}

#[test]
fn the_words_are_explained_in_the_help_and_in_the_documentation() {
    let help = text(&longtask(Path::new("."), &["simulate", "--help"], "").stdout);
    let page = page();
    for word in Script::WORDS.into_iter().chain(["@DURATION", "+progress", "+after:DURATION", "*N"]) {
        assert!(help.contains(word), "{word} is not in the help");
        assert!(page.contains(&format!("`{word}")), "{word} is not in docs/simulate.md");
    }
}

fn page() -> String {
    fs::read_to_string("docs/simulate.md").expect("the page")
}

/// The fenced blocks of a page in this language.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(&fence).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn the_page_shows_what_the_program_prints() {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("docs-simulate");
    fs::create_dir_all(&folder).expect("a folder");
    let page = page();
    let [manifest] = blocks(&page, "yaml").try_into().expect("one manifest");
    fs::write(folder.join("task.yaml"), manifest).expect("written");
    let sessions = blocks(&page, "console");
    assert!(!sessions.is_empty());
    for session in sessions {
        let (command, expected) = session.split_once('\n').expect("a command and what it prints");
        let args: Vec<_> = command.strip_prefix("$ longtask ").expect("a command").split(' ').collect();
        let args: Vec<_> = args.iter().map(|arg| arg.trim_matches('\'')).collect();
        assert_eq!(text(&longtask(&folder, &args, "").stdout), expected, "{command}");
    }
}
