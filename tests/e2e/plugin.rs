//! What people see and do through `kubectl longtask`.

use std::{
    env, fs,
    os::unix::fs::symlink,
    process::{Output, Stdio},
    time::Duration,
};

use longtask::api::{
    set::{LongTaskSet, SetPhase},
    task::Phase,
    template::LongTaskTemplate,
};
use serde_json::{Value, json};
use tokio::{
    process::{Child, Command},
    time::timeout,
};

use super::{
    sets,
    support::{Change, Lab, PROGRAM, manifest, story},
};

/// kubectl, with the program in its PATH under the names that `make install-plugin` links.
fn kubectl(lab: &Lab) -> Command {
    let folder = lab.folder().join("bin");
    fs::create_dir_all(&folder).expect("create a folder for the plugin");
    for name in ["kubectl-longtask", "kubectl_complete-longtask"] {
        let link = folder.join(name);
        if !link.exists() {
            symlink(env!("CARGO_BIN_EXE_longtask"), &link).expect("link the plugin");
        }
    }
    let path = env::var("PATH").expect("there is a PATH");
    let mut command = Command::new("kubectl");
    command.env("PATH", format!("{}:{path}", folder.display())).stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// A call of the plugin in the story's namespace.
fn plugin(lab: &Lab, arguments: &[&str]) -> Command {
    let mut command = kubectl(lab);
    command.args(["longtask", "--namespace", &lab.namespace]).args(arguments);
    command
}

pub(crate) async fn run(lab: &Lab, arguments: &[&str]) -> Output {
    let ended = timeout(Duration::from_mins(2), plugin(lab, arguments).output()).await;
    ended.expect("the plugin ends").expect("kubectl is installed")
}

/// What the plugin prints; it must succeed.
async fn said(lab: &Lab, arguments: &[&str]) -> String {
    let output = run(lab, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    println!("$ kubectl longtask {}\n{}", arguments.join(" "), String::from_utf8_lossy(&output.stdout));
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Why the plugin refuses.
async fn refusal(lab: &Lab, arguments: &[&str]) -> String {
    let output = run(lab, arguments).await;
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    String::from_utf8(output.stderr).expect("UTF-8")
}

/// The steps in the log of the program, as it prints its journal.
fn steps(log: &[u8]) -> Vec<i64> {
    let lines = String::from_utf8_lossy(log).lines().map(str::to_owned).collect::<Vec<_>>();
    let entries = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    entries.filter(|entry| entry["event"] == "step").filter_map(|entry| entry["step"].as_i64()).collect()
}

async fn end_of(child: Child) -> Output {
    timeout(Duration::from_mins(2), child.wait_with_output()).await.expect("it ends with the task").expect("it ran")
}

#[tokio::test]
async fn a_drill_resumes_from_the_checkpoint_and_the_log_goes_on_across_pods() {
    story(async |lab| {
        let arguments = ["--steps=12", "--step-time=1s", "attempt=2 step=8: exit 1"];
        let task = lab.submit(manifest("drilled", &arguments)).await;
        let mut follow = plugin(lab, &["logs", "drilled", "--follow"]);
        let follow = follow.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("start to follow");
        task.journal().until_step(3, Duration::from_secs(25)).await;

        let drill = said(lab, &["drill", "drilled"]).await;
        assert!(drill.contains("Evicted pod drilled-1.") && drill.contains("It left checkpoint 1"), "{drill}");
        assert!(drill.contains("Attempt 2 runs in pod drilled-2") && drill.contains("given checkpoint 1."), "{drill}");
        assert!(drill.contains("Resumed from its checkpoint. Work lost: 0s."), "{drill}");

        let status = task.ends_as(Phase::Succeeded, 60).await;
        let ends: Vec<_> = status.recent_attempts.iter().rev().map(|end| end.outcome.to_string()).collect();
        assert_eq!(ends, ["Interrupted", "Failed", "Completed"]);
        let shown = said(lab, &["status", "drilled"]).await;
        assert!(shown.starts_with("drilled  Succeeded  run 1, segment 1, ended"), "{shown}");
        for row in ["Interrupted Evicted", "Failed Error, exit 1", "Completed", "Next  nothing: it is done"] {
            assert!(shown.contains(row), "{row}: {shown}");
        }
        assert!(!shown.contains('\u{1b}'), "colours are for terminals");

        let followed = end_of(follow).await;
        let (log, notes) = (followed.stdout, String::from_utf8_lossy(&followed.stderr).into_owned());
        assert!(followed.status.success(), "{notes}");
        assert_eq!(steps(&log), task.journal().steps(), "every step of every attempt, in order: {notes}");
        for attempt in 1..=3 {
            let head = format!("── attempt {attempt}, segment 1, pod drilled-{attempt} ──");
            assert!(notes.contains(&head), "{head}: {notes}");
        }
        let refused = refusal(lab, &["drill", "drilled"]).await;
        assert!(refused.contains("nothing of drilled runs that could be interrupted (it is Succeeded)"), "{refused}");
        lab.until_event_of("drilled", "Succeeded").await;
        let events = said(lab, &["events", "drilled"]).await;
        let at = |word: &str| events.find(word).unwrap_or_else(|| panic!("{word}: {events}"));
        assert!(at("AttemptInterrupted") < at("AttemptFailed") && at("AttemptFailed") < at("Succeeded"), "{events}");
    })
    .await;
}

#[tokio::test]
async fn a_followed_log_tells_of_attempts_that_never_started() {
    story(async |lab| {
        let tries = json!({ "segment": { "startTimeout": "2s" }, "retry": { "budgets": { "startFailures": 1 } } });
        let mut silent = manifest("silent", &["--steps=1"]).and(json!({ "spec": tries }));
        silent["spec"]["template"]["spec"]["containers"][0]["image"] = json!("localhost/longtask-there-is-none:dev");
        let task = lab.submit(silent).await;
        let followed = run(lab, &["logs", "silent", "-f"]).await;
        task.ends_as(Phase::Failed, 5).await;
        let notes = String::from_utf8_lossy(&followed.stderr).into_owned();
        assert!(followed.status.success() && followed.stdout.is_empty(), "{notes}");
        // The operator deletes a pod that never ran: it is seen on its way, or gone already.
        let each = notes.contains("── attempt 1: ") && notes.contains("── attempt 2: ");
        assert!(each || notes.contains("── attempts 1 to 2: their pods are gone"), "{notes}");
        assert!(notes.ends_with("── the task is Failed ──\n"), "{notes}");
    })
    .await;
}

#[tokio::test]
async fn a_drill_of_a_program_that_leaves_no_checkpoint_does_not_pass() {
    story(async |lab| {
        let task =
            lab.submit(manifest("careless", &["--steps=60", "--step-time=1s", "step: ignore", "term: exit 1"])).await;
        task.journal().until_step(1, Duration::from_secs(25)).await;
        let drill = run(lab, &["drill", "careless", "--delete", "-o", "json"]).await;
        assert_eq!(drill.status.code(), Some(1), "{}", String::from_utf8_lossy(&drill.stderr));
        let facts: Value = serde_json::from_slice(&drill.stdout).expect("JSON");
        assert_eq!((&facts["verdict"], &facts["next"]["attempt"]), (&json!("BeganAgain"), &json!(2)), "{facts}");
        assert!(facts["workLostSeconds"].as_i64() >= Some(1), "{facts}");
    })
    .await;
}

#[tokio::test]
async fn a_task_is_paused_cancelled_and_run_again_by_the_plugin() {
    story(async |lab| {
        let task =
            lab.submit(manifest("steered", &["--steps=4", "--step-time=1s", "run=1 step>=2: sleep forever"])).await;
        task.journal().until_step(2, Duration::from_secs(25)).await;
        let refused = refusal(lab, &["restart", "steered"]).await;
        assert!(refused.contains("steered has not ended (it is Running)"), "{refused}");
        assert_eq!(said(lab, &["suspend", "steered"]).await, "longtask.longtask.dev/steered suspended\n");
        task.until_phase(Phase::Suspended, 20).await;
        let shown = said(lab, &["status", "steered"]).await;
        assert!(shown.contains("Next  `kubectl longtask resume steered` lets it go on from checkpoint 1"), "{shown}");
        assert_eq!(said(lab, &["suspend", "steered"]).await, "longtask.longtask.dev/steered is suspended already\n");
        assert_eq!(said(lab, &["resume", "steered"]).await, "longtask.longtask.dev/steered resumed\n");
        task.until_phase(Phase::Running, 20).await;
        said(lab, &["cancel", "steered"]).await;
        task.until_phase(Phase::Cancelled, 20).await;
        let unknown = refusal(lab, &["restart", "steered", "--from", "9"]).await;
        assert!(unknown.contains("steered has no checkpoint 9; it has "), "{unknown}");
        let again = said(lab, &["restart", "steered", "--from", "beginning"]).await;
        assert_eq!(again, "longtask.longtask.dev/steered restarted from the beginning\n");
        let ended =
            |status: &longtask::api::task::LongTaskStatus| status.run.number == 2 && status.completion_time.is_some();
        assert_eq!(task.until("its second run has ended", 30, ended).await.phase, Some(Phase::Succeeded));
        let managers = lab.kubectl_output(&["get", "lt", "steered", "-o", "yaml", "--show-managed-fields"]).await;
        assert!(managers.contains("manager: kubectl-longtask"), "{managers}");
    })
    .await;
}

#[tokio::test]
async fn dead_letters_and_top_list_what_there_is() {
    story(async |lab| {
        assert!(said(lab, &["dead-letters"]).await.starts_with("No task has failed or is held in namespace e2e-"));
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        let says = r#"step=1: report {"error": {"code": "Bad", "message": "row 7 is bad"}}; exit 3"#;
        let dead = lab.submit(manifest("dead", &["--steps=3", "--step-time=0", says]).and(once)).await;
        let done = lab.submit(manifest("done", &["--steps=1", "--step-time=1s"])).await;
        dead.ends_as(Phase::Failed, 30).await;
        done.ends_as(Phase::Succeeded, 30).await;
        let letters: Value = serde_json::from_str(&said(lab, &["dead-letters", "-o", "json"]).await).expect("JSON");
        assert_eq!(letters.as_array().map(Vec::len), Some(1), "{letters}");
        assert_eq!(letters[0]["reason"], "FailureBudgetExhausted");
        assert_eq!(letters[0]["message"], "row 7 is bad");
        let top = said(lab, &["top"]).await;
        assert!(top.contains("dead") && top.contains("done") && top.contains("GOODPUT"), "{top}");
        let missing = refusal(lab, &["status", "deed"]).await;
        assert!(missing.contains("there is no LongTask deed in namespace e2e-"), "{missing}");
        assert!(missing.contains("there are dead, done"), "{missing}");
    })
    .await;
}

#[tokio::test]
async fn a_failed_set_is_a_dead_letter_in_place_of_its_members() {
    story(async |lab| {
        let fails = sets::template("fails", &["--steps=3", "--step-time=0", "step=1: exit 3"]);
        let once = json!({ "spec": { "retry": { "budgets": { "failures": 0 } } } });
        sets::create::<LongTaskTemplate>(lab, fails.and(once)).await;
        let spec = json!({ "templateRef": { "name": "fails" }, "count": 2 });
        sets::create::<LongTaskSet>(lab, sets::set("broken", &spec)).await;
        sets::ends_as(lab, "broken", SetPhase::Failed, 60).await;
        let names = async |arguments: &[&str]| {
            let letters = said(lab, &[&["dead-letters", "-o", "json"], arguments].concat()).await;
            let letters: Vec<Value> = serde_json::from_str(&letters).expect("JSON");
            letters.iter().map(|letter| letter["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]).await, ["lts/broken"]);
        let mut members = names(&["--selector", "longtask.dev/set=broken"]).await;
        members.sort_unstable();
        assert_eq!(members, ["broken-0", "broken-1"]);
        let top = said(lab, &["top", "--sets"]).await;
        assert!(top.contains("Failed (MembersFailed)") && top.contains("0/2"), "{top}");
    })
    .await;
}

const JOB: &str = "
apiVersion: batch/v1
kind: Job
metadata: {name: converted}
spec:
  backoffLimit: 2
  activeDeadlineSeconds: 3600
  ttlSecondsAfterFinished: 600
  completions: 3
  podFailurePolicy:
    rules:
    - {action: FailJob, onExitCodes: {containerName: main, operator: In, values: [2]}}
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget}]}
  template:
    metadata: {labels: {app: converted}}
    spec:
      restartPolicy: Never
      terminationGracePeriodSeconds: 5
      containers:
      - name: main
        image: localhost/longtask-e2e-program:dev
        args: [--steps=2, --step-time=0]
        resources: {requests: {cpu: 10m}}
";

#[tokio::test]
async fn a_job_is_converted_to_a_task_that_the_api_server_takes_and_that_runs() {
    story(async |lab| {
        let job = lab.folder().join("job.yaml");
        fs::write(&job, JOB).expect("write the Job");
        let job = job.display().to_string();
        let yaml = said(lab, &["convert", "-f", &job]).await;
        assert!(yaml.starts_with("# spec.completions: dropped; a task runs one pod at a time"), "{yaml}");
        let task: Value = serde_saphyr::from_str(&yaml).expect("YAML");
        let task = lab.submit(task).await;
        let status = task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(status.totals.attempts, 1);
        let stored = lab.kubectl_output(&["get", "lt", "converted", "-o", "jsonpath={.spec}"]).await;
        let spec: Value = serde_json::from_str(&stored).expect("JSON");
        assert_eq!((&spec["retry"]["budgets"]["failures"], &spec["limits"]["wallTime"]), (&json!(2), &json!("1h")));
        assert_eq!(spec["failurePolicy"]["rules"][0]["onExitCodes"]["values"], json!([2]));
        assert_eq!((&spec["ttlAfterFinished"], &spec["ttlAfterFailed"]), (&json!("10m"), &json!("10m")));
    })
    .await;
}

#[tokio::test]
async fn a_task_is_created_from_flags_and_kubectl_completes_its_name() {
    story(async |lab| {
        let flags = [
            "create",
            "flagged",
            "--image",
            PROGRAM,
            "--segment",
            "1m",
            "--grace-period",
            "5s",
            "--failures",
            "0",
            "--env",
            "COLOUR=blue",
            "--suspend",
        ];
        let dry = said(lab, &[&flags[..], &["--dry-run", "server"]].concat()).await;
        assert_eq!(dry, "longtask.longtask.dev/flagged created (server dry run)\n");
        assert_eq!(said(lab, &flags).await, "longtask.longtask.dev/flagged created\n");
        let again = refusal(lab, &flags).await;
        assert!(again.contains("create LongTask flagged:") && again.contains("already exists"), "{again}");
        let stored = lab.kubectl_output(&["get", "lt", "flagged", "-o", "jsonpath={.spec}"]).await;
        let spec: Value = serde_json::from_str(&stored).expect("JSON");
        assert_eq!((&spec["segment"]["duration"], &spec["suspend"]), (&json!("1m"), &json!(true)));
        assert_eq!(spec["template"]["spec"]["containers"][0]["env"], json!([{ "name": "COLOUR", "value": "blue" }]));
        let wrong = refusal(lab, &["create", "UPPER", "--image", PROGRAM]).await;
        assert!(wrong.contains("create LongTask UPPER:") && !wrong.contains("Status {"), "{wrong}");

        let mut complete = kubectl(lab);
        complete.args(["__complete", "longtask", "status", "--namespace", &lab.namespace, "fl"]);
        let offered = timeout(Duration::from_mins(1), complete.output()).await.expect("it ends").expect("it runs");
        assert_eq!(String::from_utf8_lossy(&offered.stdout), "flagged\n:4\n");
    })
    .await;
}
