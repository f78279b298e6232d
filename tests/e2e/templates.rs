//! Tasks that get their definition from a LongTaskTemplate, and their input.

use std::{process::Output, time::Duration};

use kube::api::{DynamicObject, ListParams, PostParams};
use longtask::api::task::{ConditionType, FailureReason, LongTaskStatus, Phase};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::{
    plugin::run,
    support::{Change, Lab, manifest, message_of, story, story_alone, thin},
};

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The task as the API server has it, with all its fields.
async fn stored(lab: &Lab, name: &str) -> DynamicObject {
    lab.raw_tasks().get(name).await.expect("the task")
}

fn is_blocked_by(reason: &'static str) -> impl Fn(&LongTaskStatus) -> bool {
    move |status| message_of(status, ConditionType::Blocked).is_some_and(|(shown, _)| shown == reason)
}

/// A mark of an edition of a template, on the pods that are made from it.
fn of_edition(edition: &str) -> Value {
    json!({ "template": { "metadata": { "annotations": { "edition": edition } } } })
}

#[tokio::test]
async fn a_thin_task_runs_and_tools_that_apply_see_no_difference() {
    story(async |lab| {
        lab.write_template("hello", &["--steps=1"], json!({})).await;
        let file = lab.file("thin.json", &thin("thin", "hello", &json!({ "file": "a" })));
        lab.kubectl_output(&["apply", "-f", &file]).await;
        lab.kubectl_output(&["wait", "lt/thin", "--for=condition=Complete", "--timeout=60s"]).await;
        let filled = stored(lab, "thin").await;
        let annotations = filled.metadata.annotations.clone().expect("annotations");
        assert!(annotations.contains_key("kubectl.kubernetes.io/last-applied-configuration"), "{annotations:?}");
        assert_eq!(annotations["longtask.dev/template-generation"], "1");
        assert_eq!(filled.metadata.generation, Some(2), "one write");

        let diff = lab.kubectl(&["diff", "-f", &file]).await;
        assert_eq!(diff.status.code(), Some(0), "{}", String::from_utf8_lossy(&diff.stdout));
        lab.kubectl_output(&["apply", "-f", &file]).await;
        lab.kubectl_output(&["apply", "--server-side", "--force-conflicts", "-f", &file]).await;
        let again = stored(lab, "thin").await;
        assert_eq!(again.data["spec"], filled.data["spec"], "nothing has changed");
        lab.kubectl_output(&["apply", "--server-side", "--force-conflicts", "-f", &file]).await;
        let third = stored(lab, "thin").await;
        assert_eq!(third.metadata.resource_version, again.metadata.resource_version, "and nothing was written");
        let replaced = lab.kubectl(&["replace", "-f", &file]).await;
        assert!(
            !replaced.status.success() && stderr(&replaced).contains("cannot be removed: the task runs from it"),
            "{}",
            stderr(&replaced)
        );
    })
    .await;
}

#[tokio::test]
async fn an_edit_of_the_template_reaches_a_run_only_when_it_is_renewed() {
    story(async |lab| {
        let arguments = [
            "--steps=8",
            "--step-time=200ms",
            "--report=checkpoint",
            "run=1 step=3: checkpoint; exit 1",
            "run=2 step=5: checkpoint; exit 1",
        ];
        let once = json!({ "retry": { "budgets": { "failures": 0 } } });
        lab.write_template("edited", &arguments, once.clone().and(of_edition("old"))).await;
        let task = lab.submit(thin("renewed", "edited", &json!({}))).await;
        task.ends_as(Phase::Failed, 30).await;
        lab.write_template("edited", &arguments, once.and(of_edition("new"))).await;
        let edition = |attempt: i64| {
            let pods = task.pods();
            let pod = pods.iter().find(|pod| pod.attempt == attempt).expect("its pod");
            pod.latest().metadata.annotations.clone().unwrap_or_default().get("edition").cloned().unwrap_or_default()
        };
        let ended =
            |run: i64| move |status: &LongTaskStatus| status.run.number == run && status.completion_time.is_some();

        run_verb(lab, &["restart", "renewed"]).await;
        task.until("its second run has ended", 30, ended(2)).await;
        assert_eq!((edition(1), edition(2)), ("old".to_owned(), "old".to_owned()), "the copy that it has");
        assert_eq!(task.journal().start_of(2).step, 3, "from its checkpoint");
        run_verb(lab, &["restart", "renewed", "--renew"]).await;
        let status = task.until("its third run has ended", 30, ended(3)).await;
        assert_eq!((edition(3), status.phase), ("new".to_owned(), Some(Phase::Succeeded)));
        assert_eq!(task.journal().start_of(3).step, 5, "from its checkpoint");
        let annotations = stored(lab, "renewed").await.metadata.annotations.expect("annotations");
        assert_eq!(annotations["longtask.dev/template-generation"], "2");
    })
    .await;
}

async fn run_verb(lab: &Lab, arguments: &[&str]) {
    let output = run(lab, arguments).await;
    assert!(output.status.success(), "{arguments:?}: {}", stderr(&output));
}

#[tokio::test]
async fn a_task_without_its_template_waits_and_goes_on_at_its_return() {
    story(async |lab| {
        let waiting = lab.submit(thin("waiting", "late", &json!({}))).await;
        let given_up = lab.submit(thin("given-up", "late", &json!({}))).await;
        for task in [&waiting, &given_up] {
            let status = task.until("it is blocked", 15, is_blocked_by("TemplateNotFound")).await;
            assert_eq!((status.phase, status.reason.as_str()), (Some(Phase::Pending), "TemplateNotFound"));
        }
        given_up.change(json!({ "cancel": true })).await;
        given_up.ends_as(Phase::Cancelled, 15).await;

        let written = Instant::now();
        lab.write_template("late", &["--steps=1"], json!({})).await;
        waiting.until("an attempt is decided", 15, |status| status.current_attempt.is_some()).await;
        println!("decided {:?} after the template came", written.elapsed());
        waiting.ends_as(Phase::Succeeded, 30).await;

        lab.delete_template("late").await;
        let again = lab.submit(thin("again", "late", &json!({}))).await;
        again.until("it is blocked", 15, is_blocked_by("TemplateNotFound")).await;
    })
    .await;
}

#[tokio::test]
async fn a_field_of_the_definition_that_the_operator_does_not_know_is_copied() {
    story_alone(async |lab| {
        lab.change_definitions(|definition| {
            let schema = &mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            schema["properties"]["spec"]["properties"]["ofANewerRelease"] = json!({ "type": "string" });
        })
        .await;
        lab.write_template("newer", &["--steps=1"], json!({ "ofANewerRelease": "kept" })).await;
        let task = lab.submit(thin("copied", "newer", &json!({}))).await;
        task.ends_as(Phase::Succeeded, 30).await;
        assert_eq!(stored(lab, "copied").await.data["spec"]["ofANewerRelease"], "kept");
        lab.change_definitions(|_| {}).await;
    })
    .await;
}

/// An input of that size as compact JSON, with what a shell, the kubelet or a parser could stumble over.
fn input_of_size(size: usize) -> Value {
    let rest = json!({ "a": "quotes \" ' \\ and $(X) $$ ü €", "z": "" }).to_string().len();
    json!({ "a": "quotes \" ' \\ and $(X) $$ ü €", "z": "z".repeat(size - rest) })
}

#[tokio::test]
async fn sixteen_kib_of_input_arrive_byte_for_byte_and_one_byte_more_starts_nothing() {
    story(async |lab| {
        lab.write_template("inputs", &["--steps=1"], json!({})).await;
        let largest = input_of_size(16 * 1024);
        let task = lab.submit(thin("largest", "inputs", &largest)).await;
        task.ends_as(Phase::Succeeded, 30).await;
        let env = task.journal().start_of(1).env;
        assert_eq!(env["LONGTASK_INPUT"], largest.to_string());
        assert_eq!(env["LONGTASK_INPUT_a"], largest["a"].as_str().expect("a text"));
        assert!(!env.contains_key("LONGTASK_INPUT_z"), "it is too long");

        let too_large = lab.submit(thin("too-large", "inputs", &input_of_size(16 * 1024 + 1))).await;
        lab.write_template("referring", &["--steps=1", "start: checkpoint $(LONGTASK_INPUT_file)"], json!({})).await;
        let without = lab.submit(thin("without", "referring", &json!({ "other": 1 }))).await;
        for (task, words) in [(&too_large, "16385 bytes"), (&without, "/file: is required")] {
            let status = task.ends_as(Phase::Failed, 20).await;
            assert_eq!(status.reason, FailureReason::InvalidInput.to_string());
            let (_, message) = message_of(&status, ConditionType::Failed).expect("it failed");
            assert!(message.contains(words), "{message}");
            assert!(task.pods().is_empty(), "no pod");
        }
    })
    .await;
}

#[tokio::test]
async fn an_input_changes_only_with_a_new_run() {
    story(async |lab| {
        let once = json!({ "spec": { "input": { "n": 1 }, "retry": { "budgets": { "failures": 0 } } } });
        let stops = ["--steps=2", "run=1 start: exit 1"];
        let task = lab.submit(manifest("owned", &stops).and(once)).await;
        task.ends_as(Phase::Failed, 30).await;
        let patch = |spec: Value| json!({ "spec": spec }).to_string();
        let words = "belongs to a run: change it with a new spec.restart.token when the task has ended";
        for spec in [json!({ "input": { "n": 2 } }), json!({ "input": null })] {
            let refused = lab.kubectl(&["patch", "lt/owned", "--type=merge", "--patch", &patch(spec)]).await;
            assert!(stderr(&refused).contains(words), "{}", stderr(&refused));
        }
        task.change(json!({ "input": { "n": 2 }, "restart": { "token": "v2" } })).await;
        task.until("its second run has ended", 30, |status| status.run.number == 2 && status.completion_time.is_some())
            .await;
        let told = [1, 2].map(|attempt| task.journal().start_of(attempt).env["LONGTASK_INPUT_n"].clone());
        assert_eq!(told, ["1", "2"]);

        let waits = r#"attempt=1 start: report {"resumeAfter": "5s"}; exit 75"#;
        let waiting = lab
            .submit(manifest("renamed", &["--steps=1", waits]).and(json!({ "spec": { "input": { "a": 1 } } })))
            .await;
        waiting.until_phase(Phase::Waiting, 30).await;
        let running = lab
            .kubectl(&[
                "patch",
                "lt/renamed",
                "--type=merge",
                "--patch",
                &patch(json!({ "input": { "a": 2 }, "restart": { "token": "v2" } })),
            ])
            .await;
        assert!(stderr(&running).contains(words), "a new token alone is not enough: {}", stderr(&running));
        // The definition overlooks it.
        waiting.change(json!({ "input": { "a": null, "b": 1 } })).await;
        waiting.until("it is blocked", 30, is_blocked_by("InputChanged")).await;
        waiting.change(json!({ "input": { "b": null, "a": 1 } })).await;
        waiting.ends_as(Phase::Succeeded, 30).await;
    })
    .await;
}

#[tokio::test]
async fn two_hundred_thin_starts_under_kills_of_the_operator_are_two_hundred_tasks() {
    story(async |lab| {
        lab.write_template("many", &["--steps=0"], json!({})).await;
        let starts = async {
            for number in 0..200 {
                let mut task = thin(&format!("many-{number}"), "many", &json!({ "number": number }));
                // Filled in, and then paused: two hundred pods would be another test.
                task["spec"]["suspend"] = json!(true);
                let object: DynamicObject = serde_json::from_value(task).expect("a task");
                lab.raw_tasks().create(&PostParams::default(), &object).await.expect("create a task");
            }
        };
        let kills = async {
            loop {
                sleep(Duration::from_millis(500)).await;
                lab.kill_operator().await;
                lab.start_operator();
            }
        };
        let _ = timeout(Duration::from_secs(20), async { tokio::join!(starts, kills) }).await;
        // The time may have come between a kill and the start behind it.
        lab.kill_operator().await;
        lab.start_operator();
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            let all = lab.raw_tasks().list(&ListParams::default()).await.expect("list tasks").items;
            let is_done = |task: &&DynamicObject| task.data["status"]["phase"] == "Suspended";
            if all.iter().filter(is_done).count() == 200 {
                for task in &all {
                    assert_eq!(task.metadata.generation, Some(2), "filled in once");
                    assert_eq!(task.data["status"]["run"]["number"], 1);
                    assert!(task.data["spec"]["template"].is_object());
                }
                break;
            }
            assert!(Instant::now() < deadline, "{} of {} are filled in", all.iter().filter(is_done).count(), all.len());
            sleep(Duration::from_millis(500)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_key_starts_one_task_and_another_input_for_it_is_refused() {
    story(async |lab| {
        let schema = json!({ "inputSchema": { "required": ["file"] } });
        lab.write_template("keyed", &["--steps=1"], schema).await;
        let start = async |input: &str, key: &str| run(lab, &["start", "keyed", "--input", input, "--key", key]).await;
        let first = start(r#"{"file": "a"}"#, "k").await;
        let said = String::from_utf8_lossy(&first.stdout).into_owned();
        assert!(first.status.success() && said.ends_with(" started\n"), "{said}{}", stderr(&first));
        let second = start(r#"{"file": "a"}"#, "k").await;
        let repeated = String::from_utf8_lossy(&second.stdout).into_owned();
        assert_eq!((second.status.code(), repeated), (Some(0), said.replace(" started", " started before")));
        for (input, key, code) in [(r#"{"file": "b"}"#, "k", 2), ("{}", "l", 2), ("{", "l", 2)] {
            let refused = start(input, key).await;
            assert_eq!(refused.status.code(), Some(code), "{input} {key}: {}", stderr(&refused));
        }
        assert_eq!(run(lab, &["start", "absent"]).await.status.code(), Some(2));
        let ended = run(lab, &["start", "keyed", "--arg", "file=c", "--wait"]).await;
        assert!(ended.status.success(), "{}", stderr(&ended));
        let tasks = lab.raw_tasks().list(&ListParams::default()).await.expect("list tasks").items;
        assert_eq!(tasks.len(), 2, "one for the key, one without");
    })
    .await;
}

#[tokio::test]
async fn an_operator_that_fills_nothing_in_says_so() {
    story(async |lab| {
        lab.kill_operator().await;
        let operator = lab.new_operator(&["--leader-elect=off", "--no-fill-in"]);
        lab.write_template("there", &["--steps=1"], json!({})).await;
        let task = lab.submit(thin("refused", "there", &json!({}))).await;
        task.until("it is blocked", 20, is_blocked_by("FillInOff")).await;
        operator.kill().await;
        lab.start_operator();
        task.ends_as(Phase::Succeeded, 30).await;
    })
    .await;
}
